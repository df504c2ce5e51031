"""A problem from its solvers: what a file of a user's own describes."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.core import ClosureSpec, Metric
from closura.core.case import Case, CaseSampler
from closura.core.mistakes import in_words, told_as
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.measures import SquaredErrorReduction, relative_l2
from closura.problems.problem import EpisodeRules, Field, Methods, Problem, Quantity, SimulatedBegin
from closura.problems.reference import SolverReference

RELATIVE_L2 = Metric("error", relative_l2, "relative L2 error", percent=True)


def from_solvers(
    *,
    cases: CaseSampler,
    solver: Callable[[str, Grid], Solver],
    uncorrected: str,
    reference: tuple[str, Grid],
    grid: Grid,
    dt: float,
    baselines: tuple[str, ...] = (),
    substeps: int | None = None,
    horizon: int = 100,
    spec: ClosureSpec | None = None,
    error: Metric = RELATIVE_L2,
    reward: Callable[[Any], Float[Array, "*grid"]] | None = None,
    conserved: tuple[tuple[str, Callable[[Field], Float[Array, ""]]], ...] = (),
    components: tuple[str, ...] = ("u",),
    groups: tuple[str, ...] = (),
    threshold: float = 0.1,
    description: Mapping[str, str] | None = None,
) -> Problem:
    """A problem that is described by its solvers.

    Parameters
    ----------
    cases
        Draws initial conditions and parameters, on the reference's grid or a finer one.
    solver
        ``solver(name, grid)``: a method of the problem on a grid.
    uncorrected
        The method that closures correct.
    reference
        The method that errors are measured against, and its grid.
    grid
        The coarse grid.
    dt
        The coarse time step; a closure is called once in each (or as often as its solver says).
    baselines
        Classical methods on the coarse grid with the coarse step, beside the uncorrected one.
    substeps
        Steps of the reference in each coarse one (default: as many times as its grid is finer).
    horizon
        Coarse steps of a simulation: the longest episode of learning.
    spec
        What a closure observes and answers (default: every component of the state observed and corrected, actions of
        up to 1 in its units).
    error
        The metric that counts.
    reward
        ``reward(transition)`` per cell, for learners that explore (default: by how much less the squared error is).
    conserved
        Names and functions of what the equations conserve.
    components
        Names of the state's components.
    groups
        Names of the groups that cases fall into.
    threshold
        Error that still counts as low, for tables.
    description
        Where data come from, and what is drawn.

    Raises
    ------
    ValueError
        If a method has two roles or is no solver, or a part is of the wrong kind.
    """
    check_parts(
        cases=cases, solver=solver, uncorrected=uncorrected, reference=reference, grid=grid, dt=dt,
        baselines=baselines, horizon=horizon, error=error,
    )  # fmt: skip
    if len({uncorrected, *baselines}) <= len(baselines):
        raise ValueError(f"each method has one role; got {uncorrected}, {', '.join(baselines)}")
    made = {name: _made(solver, name, grid) for name in (uncorrected, *baselines)}
    called, fine = reference
    trusted = _made(solver, called, fine)
    coarse = made.pop(uncorrected)
    each_step = substeps if substeps is not None else max(1, -(-fine.shape[0] // grid.shape[0]))
    beside = SolverReference(trusted, coarse, each_step)
    quantities = tuple(Quantity(name, of) for name, of in conserved)
    channels = tuple(f"forcing {c}" if len(components) > 1 else "forcing" for c in components)
    return Problem(
        name="",
        begin=SimulatedBegin(cases, coarse, beside, quantities=quantities),
        coarse=coarse,
        reference=beside,
        baselines=made,
        reward=reward or SquaredErrorReduction(),
        error=error.of,
        spec=spec or ClosureSpec(components, channels, grid.boundary, tuple(range(len(components))), scale=0.01),
        episode=EpisodeRules(min(4, horizon), horizon, float("inf")),
        time_step=dt,
        grid=grid,
        components=components,
        quantities=quantities,
        groups=groups,
        names=(uncorrected, f"{called} {fine.shape[0]}" if called in (uncorrected, *baselines) else called),
        threshold=threshold,
        description=tuple((description or {}).items()),
        aggregate=error.aggregate,
        percent=error.percent,
        error_name=error.title,
        methods=Methods(solver),
    )


def check_parts(**parts: Any) -> None:
    """Refuse a part of a problem that is of the wrong kind."""
    dt, named, pair, horizon = (parts[name] for name in ("dt", "baselines", "reference", "horizon"))
    for name, good, wanted in (
        ("cases", isinstance(parts["cases"], CaseSampler), "a closura.CaseSampler, such as Bumps(grid)"),
        ("solver", callable(parts["solver"]), "a function of a method's name and a grid"),
        ("uncorrected", isinstance(parts["uncorrected"], str), "the name of a method"),
        (
            "reference",
            isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Grid),
            "the name of a method and its grid",
        ),
        ("grid", isinstance(parts["grid"], Grid), "a closura.Grid"),
        ("dt", isinstance(dt, SupportsFloat) and float(dt) > 0, "a positive number"),
        (
            "baselines",
            isinstance(named, tuple) and all(isinstance(each, str) for each in named),
            "a tuple of names of methods, such as ('upwind5',)",
        ),
        ("horizon", isinstance(horizon, int) and horizon > 0, "a positive whole number"),
        ("error", isinstance(parts["error"], Metric), "a closura.Metric"),
    ):
        if not good:
            raise ValueError(f"{name} of a closura.Problem must be {wanted}; got {in_words(parts[name])}")


def _made(solver: Callable[[str, Grid], Solver], method: str, grid: Grid) -> Solver:
    """A method on a grid, whose methods take what they are called with."""
    with told_as(f"solver({method!r}, grid)"):
        made = solver(method, grid)
    if not isinstance(made, Solver):
        raise ValueError(f"solver({method!r}, grid) must give a closura.Solver; got {in_words(made)}")
    if not isinstance(made.grid, Grid):
        raise ValueError(f"the solver of solver({method!r}, grid) has {in_words(made.grid)} as its grid: wrong order?")
    _check_methods(made)
    return made


def check_shapes(problem: Problem) -> None:
    """Refuse solvers and cases that do not fit together, before anything is compiled."""
    if not isinstance(problem.begin, SimulatedBegin) or not isinstance(problem.reference, SolverReference):
        return
    reference, cases = problem.reference, problem.begin.cases
    coarse, spec, said = reference.coarse, problem.spec, f"problem {problem.name}"

    def begun() -> None:
        with told_as(f"{said}: {type(cases).__name__}.sample(key=key)"):
            case = cases.sample(key=jax.random.key(0))
        if not isinstance(case, Case):
            raise ValueError(f"{said}: {type(cases).__name__}.sample must return a closura.Case; got {in_words(case)}")
        if not all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(case.initial)):
            raise ValueError(f"{said}: the initial field of a closura.Case must be an array; got other numbers")
        with told_as(f"{said}: the initial state"):
            state, parameters = coarse.init(case)
            initial = reference.init(case)
        check_like("its reference on the coarse grid", reference.field(initial), state)
        for method, solver in {problem.names[0]: coarse, **problem.baselines}.items():
            with told_as(f"{said}: a step of {method!r}"):
                begun = solver.begun(solver.adopt(state, coarse), parameters, key=jax.random.key(0))
                following = solver.step(begun, parameters, problem.time_step)
            of = f" (of {type(solver).__name__}.advance)"
            check_like(f"the state of {method!r} after a step", following, begun, of)
        with told_as(f"{said}: a step of the reference"):
            following = reference.advance(initial, state, parameters, problem.time_step)
        check_like("the state of its reference after a step", following, initial)
        if (rate := jnp.shape(coarse.rate(state, parameters))) != ():
            raise ValueError(f"{said}: {type(coarse).__name__}.rate must give one number; got shape {rate}")
        with told_as(f"{said}: {type(coarse).__name__}.observe"):
            seen = jnp.shape(coarse.observe(state, parameters))
        if seen != (expected := (len(spec.observation), *problem.grid.shape)):
            channels = ", ".join(spec.observation)
            raise ValueError(f"{said}: an observation must have shape {expected}, with channels {channels}; got {seen}")

    def check_like(what: str, found: Any, state: Any, of: str = "") -> None:
        shapes, others = (
            [
                f"{leaf.dtype} {leaf.shape}" if hasattr(leaf, "dtype") else in_words(leaf)
                for leaf in jax.tree.leaves(tree)
            ]
            for tree in (state, found)
        )
        if shapes != others:
            got = in_words(found) if found is None or isinstance(found, tuple) else ", ".join(others)
            raise ValueError(f"{said}: {what} must be like its initial state, {', '.join(shapes)}; got {got}{of}")

    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Explicitly requested dtype", UserWarning)  # what it does instead is float32
        eqx.filter_eval_shape(begun)


def _check_methods(solver: Solver) -> None:
    """Methods that a solver overrides must take the arguments that they are called with."""
    for method, of in vars(Solver).items():
        if inspect.isfunction(of) and not method.startswith("_") and hasattr(type(solver), method):
            takes = list(inspect.signature(of).parameters.values())[1:]
            wanted = [each.name for each in takes]
            words = {each.name: None for each in takes if each.kind is inspect.Parameter.KEYWORD_ONLY}
            try:
                inspect.signature(getattr(solver, method)).bind(*wanted[: len(wanted) - len(words)], **words)
            except TypeError as error:
                kind = type(solver).__name__
                raise ValueError(f"{kind}.{method} must take (self, {', '.join(wanted)}): {error}") from error
