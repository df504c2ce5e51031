"""What an evaluation compares: the coarse solver, its baselines, and closures with the solvers that they correct."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from closura.core import Method, Role, StepRule
from closura.core.memory import WithMemory, remembers
from closura.core.solver import Closure, Solver
from closura.problems.problem import Problem


class Compared(NamedTuple):
    """Methods by name, at the problem's own step, in the order of tables."""

    classical: dict[str, Method]
    closures: dict[str, Method]


def compared(
    problem: Problem, closures: Mapping[str, Closure], own: Mapping[str, Problem], further: Collection[str] = ()
) -> Compared:
    """The methods of an evaluation on one grid.

    Parameters
    ----------
    problem
        The problem.
    closures
        Closures by name.
    own
        Problems of closures that correct another solver than the problem's: a closure is compared with the solver that
        it corrects, which is run too where it is no method of the problem (:meth:`Problem.uncorrected`).
    further
        Names of further methods.

    Raises
    ------
    ValueError
        If a closure has the name of another method, ``own`` names no closure, or an action does not fit.
    """
    uncorrected, reference = problem.names
    if unknown := set(own) - set(closures):
        raise ValueError(f"own problems are those of closures; got {', '.join(sorted(unknown))}")
    bases = {name: problem.uncorrected(each) for name, each in own.items()}
    known = {uncorrected, reference, *problem.baselines, *problem.finer, *further}
    others = {base: own[name].coarse for name, base in bases.items() if base not in known}
    taken = {*known, *others} & set(closures)
    if taken:
        raise ValueError(f"closures cannot be called {', '.join(sorted(taken))}: other methods have these names")
    step = StepRule(problem.time_step, exact=True)
    classical = {uncorrected: Method(problem.coarse, Role.UNCORRECTED, step)}
    classical |= {name: Method(each, Role.BASELINE, step) for name, each in {**problem.baselines, **others}.items()}
    learned = {}
    for name, closure in closures.items():
        theirs = own.get(name, problem)
        theirs.check_action(closure, f"closure {name}")
        limited = theirs.spec.limit(closure)
        own_solver: Solver
        asked: Closure | None
        if remembers(limited):
            own_solver, asked = WithMemory(theirs.coarse, limited), None
        else:
            own_solver, asked = theirs.coarse, limited
        learned[name] = Method(own_solver, Role.CLOSURE, step, asked, corrects=bases.get(name, ""))
    return Compared(classical, learned)
