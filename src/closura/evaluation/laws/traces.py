"""Simulations kept at several times, with the solution beside them: what figures are drawn from."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.evaluation.laws.measure import cell_size, errors, total_variation
from closura.evaluation.laws.methods import Method
from closura.evaluation.laws.references import conserved, references
from closura.evaluation.laws.simulate import Simulated, snapshots, weights_at
from closura.evaluation.laws.study import Study
from closura.fields.initial import InitialCondition
from closura.problems.laws.law import ConservationLaw

MOMENTS = {1: 40, 2: 20}
"""Snapshots after the beginning, by dimensions."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One simulation at ``moment`` times, the beginning first; NaN after it has diverged.

    Parameters
    ----------
    condition
        Where it began.
    times
        Times.
    states, solution
        Primitive variables of the simulation and of the solution.
    variation, l1, l2
        Of the first conserved variable: total variation and errors.
    solution_variation
        Total variation of the solution.
    weights
        Weights at the last state along each axis, ``(side, r, component, *interfaces)``; None after a failure.
    """

    condition: InitialCondition
    times: Float64[np.ndarray, " moment"]
    states: Float64[np.ndarray, "moment component *grid"]
    solution: Float64[np.ndarray, "moment component *grid"]
    variation: Float64[np.ndarray, " moment"]
    solution_variation: Float64[np.ndarray, " moment"]
    l1: Float64[np.ndarray, " moment"]
    l2: Float64[np.ndarray, " moment"]
    weights: list[Float64[np.ndarray, "..."]] | None


Traces = dict[str, dict[str, Trace]]
"""By method, then by initial condition."""


def trace(study: Study, methods: Mapping[str, Method], *, report: Callable[[str], None] = lambda _: None) -> Traces:
    """Simulate everything once more on the grid of figures, stopping at snapshots.

    Errors differ in the fourth digit from those of runs in one go, whose steps no snapshot shortens.
    """
    cells, law = study.drawn_cells, study.problem.law
    count = MOMENTS[law.dimensions]
    names, conditions = list(study.initial), list(study.initial.values())
    times = [(np.linspace(0.0, 1.0, count + 1) * study.end(c)).tolist() for c in conditions]
    found: Traces = {}
    solutions: dict[str, list[np.ndarray]] = {}
    for method_name, method in methods.items():
        report(f"snapshots of {method_name}")
        runs = snapshots(method, conditions, cells, [t[1:] for t in times], study.steps)
        found[method_name] = {}
        for name, condition, run, moments in zip(names, conditions, runs, times, strict=True):
            points = condition.points(run[0].state.shape[1:])
            if name not in solutions:
                report(f"solution of {name}")
                solutions[name] = [conserved(law, condition(*points))]
                solutions[name] += references(law, condition, points, tuple(moments[1:]), customary=study.customary)
            found[method_name][name] = _trace(method, condition, run, moments, solutions[name])
    return found


def _trace(
    method: Method, condition: InitialCondition, run: list[Simulated], times: list[float], solution: list[np.ndarray]
) -> Trace:
    law = method.dynamics.law
    states = [solution[0]]
    states += [one.state if one.failed_step is None else np.full_like(one.state, np.nan) for one in run]
    size = cell_size(condition, states[0].shape[1:])
    differences = [errors(state[0] - exact[0], size) for state, exact in zip(states, solution, strict=True)]
    return Trace(
        condition,
        np.asarray(times),
        np.stack([_primitive(law, state) for state in states]),
        np.stack([_primitive(law, state) for state in solution]),
        np.asarray([total_variation(state[0], condition) for state in states]),
        np.asarray([total_variation(state[0], condition) for state in solution]),
        _finite([d[0] for d in differences]),
        _finite([d[1] for d in differences]),
        None if run[-1].failed_step is not None else weights_at(method, condition, run[-1].state),
    )


def _finite(values: list[float]) -> np.ndarray:
    return np.asarray([v if math.isfinite(v) else math.nan for v in values])


def _primitive(law: ConservationLaw, state: np.ndarray) -> np.ndarray:
    return np.asarray(law.primitive(jnp.asarray(state, jnp.float64)))
