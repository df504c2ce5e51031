"""From a problem that is described by its solvers to what learners and comparisons work with."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from closura.core import ClosureSpec
from closura.core.problem import Problem as Described
from closura.core.solver import Solver
from closura.problems.measures import SquaredErrorReduction
from closura.problems.problem import EpisodeRules, Problem, Quantity, SimulatedBegin
from closura.problems.reference import SolverReference


def from_solvers(name: str, described: Described, split: str = "train") -> Problem:
    """The problem that learners and comparisons work with.

    Parameters
    ----------
    name
        The problem's name.
    described
        What its author wrote.
    split
        Named in the description where the author says nothing of how data are kept apart.
    """
    d, spec = described, described.closure_spec()

    def on(method: str, grid: Any) -> Solver:
        made = d.solver(method, grid)
        if not isinstance(made, Solver):
            raise ValueError(f"{name}: solver({method!r}, grid) must give a closura.Solver; got {type(made).__name__}")
        return made

    coarse, (name_of_reference, fine) = on(d.uncorrected, d.grid), d.reference
    reference = SolverReference(on(name_of_reference, fine), coarse, d.reference_substeps)
    quantities = tuple(Quantity(what, of) for what, of in d.conserved)
    _check(name, d, coarse, reference, spec)
    reward: Callable[..., Any] = d.reward or SquaredErrorReduction()
    called = name_of_reference
    if called in (d.uncorrected, *d.baselines):
        called = f"{called} {fine.shape[0]}"
    return Problem(
        name=name,
        begin=SimulatedBegin(d.cases, coarse, reference, quantities=quantities),
        coarse=coarse,
        reference=reference,
        baselines={method: on(method, d.grid) for method in d.baselines},
        reward=reward,
        error=d.error.of,
        spec=spec,
        episode=EpisodeRules(min(4, d.horizon), d.horizon, float("inf")),
        time_step=d.dt,
        grid=d.grid,
        components=d.components,
        quantities=quantities,
        groups=d.groups,
        names=(d.uncorrected, called),
        threshold=d.threshold,
        description=tuple({"split": f"{split} set: drawn by its own random keys", **d.description}.items()),
        aggregate=d.error.aggregate,
        percent=d.error.percent,
        error_name=d.error.title,
    )


def _check(name: str, d: Described, coarse: Solver, reference: SolverReference, spec: ClosureSpec) -> None:
    """Shapes that do not fit are told before anything is compiled."""

    def begun() -> tuple[Any, ...]:
        case = d.cases.sample(key=jax.random.key(0))
        state, parameters = coarse.init(case)
        field = reference.field(reference.init(case))
        return state, field, coarse.step(state, parameters, d.dt), coarse.observe(state, parameters)

    state, field, after, seen = eqx.filter_eval_shape(begun)
    for what, found in (("its reference on the coarse grid", field), ("its state after a step", after)):
        shapes = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(state)]
        others = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(found)]
        if shapes != others:
            raise ValueError(f"problem {name}: {what} must be like its initial state, {shapes}; got {others}")
    expected = (len(spec.observation), *d.grid.shape)
    if seen.shape != expected:
        raise ValueError(
            f"problem {name}: an observation must have shape {expected}, with channels {', '.join(spec.observation)}; "
            f"got {seen.shape}"
        )
