"""From a problem that is described by its solvers to what learners and comparisons work with."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from closura.core.case import Case
from closura.core.mistakes import in_words, told_as
from closura.core.problem import Problem as Described
from closura.core.solver import Solver
from closura.grids import Grid
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
        with told_as(f"problem {name}: solver({method!r}, grid)"):
            made = d.solver(method, grid)
        if not isinstance(made, Solver):
            raise ValueError(
                f"problem {name}: solver({method!r}, grid) must give a closura.Solver; got {in_words(made)}"
            )
        if not isinstance(made.grid, Grid):
            got = in_words(made.grid)
            raise ValueError(
                f"problem {name}: the solver of solver({method!r}, grid) has {got} as its grid: wrong order?"
            )
        _check_methods(name, made)
        return made

    coarse, (name_of_reference, fine) = on(d.uncorrected, d.grid), d.reference
    reference = SolverReference(on(name_of_reference, fine), coarse, d.reference_substeps)
    quantities = tuple(Quantity(what, of) for what, of in d.conserved)
    baselines = {method: on(method, d.grid) for method in d.baselines}
    _check(name, d, reference, baselines)
    reward: Callable[..., Any] = d.reward or SquaredErrorReduction()
    called = name_of_reference
    if called in (d.uncorrected, *d.baselines):
        called = f"{called} {fine.shape[0]}"
    return Problem(
        name=name,
        begin=SimulatedBegin(d.cases, coarse, reference, quantities=quantities),
        coarse=coarse,
        reference=reference,
        baselines=baselines,
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


def _check(name: str, d: Described, reference: SolverReference, baselines: Mapping[str, Solver]) -> None:
    """What does not fit is told before anything is compiled."""
    coarse, spec, said = reference.coarse, d.closure_spec(), f"problem {name}"

    def begun() -> None:
        with told_as(f"{said}: {type(d.cases).__name__}.sample(key=key)"):
            case = d.cases.sample(key=jax.random.key(0))
        if not isinstance(case, Case):
            raise ValueError(
                f"{said}: {type(d.cases).__name__}.sample must return a closura.Case; got {in_words(case)}"
            )
        if not all(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(case.initial)):
            raise ValueError(f"{said}: the initial field of a closura.Case must be an array; got other numbers")
        with told_as(f"{said}: the initial state"):
            state, parameters = coarse.init(case)
            initial = reference.init(case)
        check_like("its reference on the coarse grid", reference.field(initial), state)
        for method, solver in {d.uncorrected: coarse, **baselines}.items():
            with told_as(f"{said}: a step of {method!r}"):
                begun = solver.adopt(state, coarse)
                following = solver.step(begun, parameters, d.dt)
            of = f" (of {type(solver).__name__}.advance)"
            check_like(f"the state of {method!r} after a step", following, begun, of)
        with told_as(f"{said}: a step of the reference"):
            following = reference.advance(initial, state, parameters, d.dt)
        check_like("the state of its reference after a step", following, initial)
        if (rate := jnp.shape(coarse.rate(state, parameters))) != ():
            raise ValueError(f"{said}: {type(coarse).__name__}.rate must give one number; got shape {rate}")
        with told_as(f"{said}: {type(coarse).__name__}.observe"):
            seen = jnp.shape(coarse.observe(state, parameters))
        if seen != (expected := (len(spec.observation), *d.grid.shape)):
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


def _check_methods(name: str, solver: Solver) -> None:
    """Methods that a solver overrides must take the arguments that they are called with."""
    for method, of in vars(Solver).items():
        if inspect.isfunction(of) and not method.startswith("_") and hasattr(type(solver), method):
            wanted = list(inspect.signature(of).parameters)[1:]
            try:
                inspect.signature(getattr(solver, method)).bind(*wanted)
            except TypeError as error:
                kind = type(solver).__name__
                raise ValueError(
                    f"problem {name}: {kind}.{method} must take (self, {', '.join(wanted)}): {error}"
                ) from error
