"""Simulations kept at several times, with the solution beside them: what figures of states are drawn from."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.core import Results
from closura.core.case import Case
from closura.core.method import Method
from closura.grids import Grid
from closura.problems.laws.cases import law_cases
from closura.problems.laws.evaluate import BATCH, SOLUTION, Study
from closura.problems.laws.methods import solver_of
from closura.problems.laws.metrics import NORMS, errors, total_variation
from closura.problems.laws.references import references
from closura.simulation.simulate import run

MOMENTS = {1: 40, 2: 20}
"""Snapshots after the initial state, by dimensions."""


class Snapshots(NamedTuple):
    """All methods from one initial condition at several times, the initial state first; NaN once they have diverged.

    By method, and for the solution: ``states``, primitive variables ``(moment, component, *grid)``; ``variation``, the
    total variation of the first conserved variable, and ``error``, the error that counts, ``(moment,)``; and for
    methods whose simulation went well ``weights`` at the last state along x, ``(side, r, interface)`` of the first
    component.
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

    Errors differ in the fourth digit from those of runs in one go, whose steps no snapshot shortens.
    :func:`snapshots_of` reads them.
    """
    cells, law = study.drawn_cells, study.problem.law
    conditions, grid = list(study.initial.values()), Grid((cells,) * law.dimensions)
    ends = [study.end(condition) for condition in conditions]
    shares = np.linspace(0.0, 1.0, MOMENTS[law.dimensions] + 1)
    times = np.outer(ends, shares)
    cases = law_cases(law, conditions, cells, ends=ends)
    found, weights = [], []
    for name, method in methods.items():
        report(f"snapshots of {name}")
        done = run(method, shares[1:].tolist(), grid, cases, batch=BATCH)
        found.append(np.asarray(done.fields))
        weights.append(_weights(method, found[-1][:, -1], cases, max(solver_of(m).r for m in methods.values())))
    report("solutions")
    known = [
        references(law, c, c.points(grid.shape), when, customary=study.customary)
        for c, when in zip(conditions, times.tolist(), strict=True)
    ]
    states = np.stack([*found, np.asarray(known)])
    own = [{key: np.asarray(value[k]) for key, value in cases.parameters.items()} for k in range(len(conditions))]
    which = list(NORMS).index(study.problem.norm)
    variation, error = (np.full(states.shape[:3], np.nan) for _ in range(2))
    for place in np.ndindex(variation.shape):
        field, parameters = states[place][0], own[place[1]]
        if np.isfinite(field).all():
            variation[place] = total_variation(field, parameters)
            error[place] = errors(field - states[-1][place[1:]][0], math.prod(parameters["spacing"]))[which]
    along = ("pictured", "initial", "moment")
    primitive = np.asarray(law.primitive(jnp.moveaxis(jnp.asarray(states), 3, 0)))
    variables: dict[str, Any] = {
        "pictured": ("pictured", [*(study.named(name, cells) for name in methods), SOLUTION]),
        "initial": ("initial", list(study.initial)),
        "moment_time": (("initial", "moment"), times),
        "bounds": (("initial", "end"), [(c.lower[0], c.upper[0]) for c in conditions]),
        "moment_state": ((*along, "component", *("x", "y")[: law.dimensions]), np.moveaxis(primitive, 0, 3)),
        "moment_variation": (along, variation),
        "moment_error": (along, error),
    }
    if law.dimensions == 1:
        # Of the solution there are none.
        weights.append(np.full_like(weights[0], np.nan))
        variables["last_weights"] = (("pictured", "initial", "side", "stencil", "face"), np.stack(weights))
    return variables


def snapshots_of(results: Results, initial: str) -> Snapshots:
    """What was kept from one initial condition; ValueError where nothing was kept."""
    if "moment_time" not in results.data or initial not in results.data["initial"].values:
        raise ValueError(f"no snapshots from {initial} were kept")
    data = results.data.sel(initial=initial)

    def each(name: str) -> dict[str, np.ndarray]:
        return {str(method): data[name].sel(pictured=method).values for method in data["pictured"].values}

    weights = {}
    for method, values in (each("last_weights") if "last_weights" in data else {}).items():
        known = ~np.isnan(values[0, :, 0])
        if known.any():
            weights[method] = values[:, known]
    low, high = data["bounds"].values.tolist()
    return Snapshots(
        data["moment_time"].values, each("moment_state"), each("moment_variation"), each("moment_error"), weights,
        (low, high),
    )  # fmt: skip


def _weights(
    method: Method, states: np.ndarray, cases: Case, largest: int
) -> Float64[np.ndarray, "initial side stencil face"]:
    """Weights at the last states, NaN after failures and for sub-stencils that a method does not have."""
    solver = solver_of(method)
    found = np.full((len(states), 2, largest, states.shape[-1] + 1), np.nan)
    if solver.law.dimensions > 1:
        return found
    for k, state in enumerate(states):
        if np.isfinite(state).all():
            parameters = {name: value[k] for name, value in cases.parameters.items()}
            weights = solver.weights(solver.sweeps(jnp.asarray(state), parameters), method.closure)
            found[k, :, : solver.r] = np.asarray(weights[0])[:, :, 0]
    return found
