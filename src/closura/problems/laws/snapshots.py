"""Simulations kept at several times, with the solution beside them: what figures of states are drawn from."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.core import Results
from closura.initial.condition import InitialCondition
from closura.problems.laws.evaluate import Study
from closura.problems.laws.law import ConservationLaw
from closura.problems.laws.methods import Method
from closura.problems.laws.metrics import cell_size, errors, total_variation
from closura.problems.laws.references import conserved, references
from closura.problems.laws.simulations import Simulated, snapshots, weights_at

MOMENTS = {1: 40, 2: 20}
"""Snapshots after the initial state, by dimensions."""
SOLUTION = "solution"


class Snapshots(NamedTuple):
    """All methods from one initial condition at several times, the initial state first; NaN once they have diverged.

    Parameters
    ----------
    times
        Times, ``(moment,)``.
    states
        Primitive variables of each method, and of the solution, ``(moment, component, *grid)``.
    variation, error
        Of the first conserved variable, ``(moment,)``: total variation of each and the solution, and the error that
        counts of each method.
    weights
        Of methods whose simulation went well, at the last state along x, ``(side, r, interface)`` of the first
        component.
    bounds
        Both ends of the domain along x.
    """

    times: np.ndarray
    states: Mapping[str, np.ndarray]
    variation: Mapping[str, np.ndarray]
    error: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]
    bounds: tuple[float, float]

    @property
    def x(self) -> np.ndarray:
        """Coordinates of cell centres along x."""
        faces = self.faces
        return (faces[1:] + faces[:-1]) / 2

    @property
    def faces(self) -> np.ndarray:
        """Coordinates of interfaces along x, both ends included."""
        return np.linspace(*self.bounds, self.states[SOLUTION].shape[2] + 1)


def snapshot_variables(
    study: Study, methods: Mapping[str, Method], *, report: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Variables of results: everything simulated once more on the grid of figures, stopping at snapshots.

    Errors differ in the fourth digit from those of runs in one go, whose steps no snapshot shortens. Initial conditions
    have grids of their own: their states are variables ``state_0``, ``state_1``, ... in the order of ``initial``.
    :func:`snapshots_of` reads them.
    """
    cells, law = study.drawn_cells, study.problem.law
    count = MOMENTS[law.dimensions]
    conditions = list(study.initial.values())
    times = np.asarray([np.linspace(0.0, 1.0, count + 1) * study.end(c) for c in conditions])
    runs = {}
    for name, method in methods.items():
        report(f"snapshots of {name}")
        runs[name] = snapshots(method, conditions, cells, times[:, 1:].tolist(), study.steps)
    drawn = [*(study.named(name, cells) for name in methods), SOLUTION]
    shape = (len(drawn), len(conditions), count + 1)
    variation, error = np.full(shape, np.nan), np.full(shape, np.nan)
    along, moments = ("pictured", "initial", "moment"), ("initial", "moment")
    variables: dict[str, Any] = {
        "pictured": ("pictured", drawn),
        "initial": ("initial", list(study.initial)),
        "moment_time": (moments, times),
        "bounds": (("initial", "end"), [(c.lower[0], c.upper[0]) for c in conditions]),
    }
    for k, (initial, condition) in enumerate(study.initial.items()):
        report(f"solution of {initial}")
        points = condition.points(next(iter(runs.values()))[k][0].state.shape[1:])
        solution = [conserved(law, condition(*points))]
        solution += references(law, condition, points, tuple(times[k, 1:].tolist()), customary=study.customary)
        series = [*(_states(runs[name][k], solution[0]) for name in methods), solution]
        for row, states in enumerate(series):
            variation[row, k] = [total_variation(state[0], condition) for state in states]
            error[row, k] = [_error(study, s, e, condition) for s, e in zip(states, solution, strict=True)]
        grid = tuple(f"{axis}_{k}" for axis in ("x", "y")[: law.dimensions])
        found = np.stack([[_primitive(law, state) for state in states] for states in series])
        variables[f"state_{k}"] = (("pictured", "moment", "component", *grid), found)
        if law.dimensions == 1:
            last = [(method, condition, runs[name][k][-1]) for name, method in methods.items()]
            variables[f"weights_{k}"] = (("pictured", "side", "stencil", f"face_{k}"), _weights(last))
    return {**variables, "moment_variation": (along, variation), "moment_error": (along, error)}


def snapshots_of(results: Results, initial: str) -> Snapshots:
    """What was kept from one initial condition; ValueError where nothing was kept."""
    data = results.data
    if "moment_time" not in data or initial not in data["initial"].values:
        raise ValueError(f"no snapshots from {initial} were kept")
    k = data["initial"].values.tolist().index(initial)

    def each(name: str) -> dict[str, np.ndarray]:
        found = data[name] if "initial" not in data[name].dims else data[name].isel(initial=k)
        return {str(method): found.sel(pictured=method).values for method in data["pictured"].values}

    weights = {}
    for method, values in (each(f"weights_{k}") if f"weights_{k}" in data else {}).items():
        known = ~np.isnan(values[0, :, 0])
        if known.any():
            weights[method] = values[:, known]
    low, high = data["bounds"].values[k].tolist()
    return Snapshots(
        data["moment_time"].values[k], each(f"state_{k}"), each("moment_variation"), each("moment_error"), weights,
        (low, high),
    )  # fmt: skip


def _states(run: list[Simulated], initial: np.ndarray) -> list[np.ndarray]:
    return [initial, *(one.state if one.failed_step is None else np.full_like(one.state, np.nan) for one in run)]


def _error(study: Study, state: np.ndarray, exact: np.ndarray, condition: InitialCondition) -> float:
    l1, l2, _ = errors(state[0] - exact[0], cell_size(condition, state.shape[1:]))
    found = l1 if study.problem.norm == "l1" else l2
    return found if math.isfinite(found) else math.nan


def _weights(runs: list[tuple[Method, InitialCondition, Simulated]]) -> Float64[np.ndarray, "method side stencil face"]:
    """Weights at the last states, NaN for sub-stencils that a method does not have, after failures, of the solution."""
    largest = max(method.r for method, *_ in runs)
    found = np.full((len(runs) + 1, 2, largest, runs[0][2].state.shape[1] + 1), np.nan)
    for row, (method, condition, one) in enumerate(runs):
        if one.failed_step is None:
            found[row, :, : method.r] = weights_at(method, condition, one.state)[0][:, :, 0]
    return found


def _primitive(law: ConservationLaw, state: np.ndarray) -> np.ndarray:
    return np.asarray(law.primitive(jnp.asarray(state, jnp.float64)))
