r"""What is measured of a state: errors as sums over cells, variation, what is conserved, where shocks stand.

    L1 = sum |e_i| dx,      L2 = sqrt(sum e_i^2 dx),      Linf = max |e_i|,

with point values at cell centres and ``dx`` the size of a cell (area in two dimensions). On a domain of length 10,
L1 is an integral over it, no mean.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.core.metric import Metric
from closura.initial.condition import InitialCondition
from closura.problems.laws.simulations import Simulated

Field = Float64[np.ndarray, "*grid"]
NORMS = {"l2": "L2", "l1": "L1", "linf": "L∞"}
SHOCK_REACH = 3
"""Interfaces on either side of the steepest one that belong to a captured shock."""
SHOCK_SEARCH = 8
"""Cells on either side of the exact shock in which the captured one is looked for."""


@dataclass(frozen=True, eq=False)
class Solution:
    """The solution at the end of a simulation, on its grid.

    Parameters
    ----------
    initial, state
        Conserved variables at the beginning and at the end, ``(component, *grid)``.
    shocks
        Places of shocks, with the values of the first variable on their left and right.
    """

    initial: Float64[np.ndarray, "component *grid"]
    state: Float64[np.ndarray, "component *grid"]
    shocks: tuple[tuple[float, tuple[float, float]], ...] = ()


def cell_size(condition: InitialCondition, shape: tuple[int, ...]) -> float:
    """Length or area of a cell."""
    return math.prod(length / n for length, n in zip(condition.extent, shape, strict=True))


def errors(difference: Field, size: float) -> tuple[float, float, float]:
    """L1, L2, Linf; infinite where the difference is not finite."""
    if not np.isfinite(difference).all():
        return math.inf, math.inf, math.inf
    absolute = np.abs(difference)
    return float(size * absolute.sum()), float(math.sqrt(size * (absolute**2).sum())), float(absolute.max())


def total_variation(field: Field, condition: InitialCondition) -> float:
    """``sum |u_{i+1} - u_i|`` along every axis, times the size of the cells across it; round periodic ends too."""
    spacing = [length / n for length, n in zip(condition.extent, field.shape, strict=True)]
    total = 0.0
    for axis, end in enumerate(condition.ends):
        across = math.prod(spacing[:axis] + spacing[axis + 1 :])
        first = np.take(field, [0], axis=axis)
        closed = np.concatenate([field, first], axis=axis) if end == "periodic" else field
        with np.errstate(invalid="ignore", over="ignore"):
            total += across * float(np.abs(np.diff(closed, axis=axis)).sum())
    return total


def conservation_error(before: Field, after: Field, condition: InitialCondition) -> float | None:
    """Relative change of the total, where nothing passes the ends: periodic and reflecting ones.

    None with other ends. For the density of a gas and for u on periodic domains; u is not conserved by a wall.
    """
    if any(end not in ("periodic", "reflecting") for end in condition.ends):
        return None
    size = float(np.abs(before).sum())
    return float(abs(after.sum() - before.sum())) / size if size > 0 else float(abs(after.sum()))


def shock_position(
    field: Float64[np.ndarray, " x"], condition: InitialCondition, shock: float, sides: tuple[float, float]
) -> float:
    """Where a captured shock stands, with sub-cell resolution.

    The steepest step of the right sign within eight cells of the exact place is looked for; the shock is the centroid
    of the steps of that sign around it, which is where a sharp front would have the same area.

    Parameters
    ----------
    shock
        The exact place.
    sides
        Values of the solution on the left and right of it.
    """
    spacing = condition.extent[0] / field.size
    places = condition.lower[0] + spacing * np.arange(1, field.size)
    steps = np.maximum(np.diff(field) * np.sign(sides[1] - sides[0]), 0)
    near = np.abs(places - shock) <= SHOCK_SEARCH * spacing
    if not (near & (steps > 0)).any():
        return math.nan
    steepest = int(np.argmax(np.where(near, steps, -1)))
    part = slice(max(0, steepest - SHOCK_REACH), steepest + SHOCK_REACH + 1)
    return float((places[part] * steps[part]).sum() / steps[part].sum())


def _error(index: int) -> Callable[[InitialCondition, Simulated, Solution], float]:
    def of(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
        if found.failed_step is not None:
            return math.inf
        field = found.state[0]
        return errors(field - solution.state[0], cell_size(condition, field.shape))[index]

    return of


def _total_variation(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
    return total_variation(found.state[0], condition)


def _variation_excess(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
    return total_variation(found.state[0], condition) - total_variation(solution.state[0], condition)


def _conservation(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
    changed = conservation_error(solution.initial[0], found.state[0], condition)
    return math.nan if changed is None else changed


def _shock_position_error(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
    """The mean distance of captured shocks from the exact ones; NaN where there are none, or none is found."""
    places = [(shock_position(found.state[0], condition, at, sides), at) for at, sides in solution.shocks]
    missed = [abs(captured - at) for captured, at in places if math.isfinite(captured)]
    return float(np.mean(missed)) if missed else math.nan


def _steps(condition: InitialCondition, found: Simulated, solution: Solution) -> float:
    return float(found.steps)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(Metric(norm, _error(i), f"{NORMS[norm]} error", aggregate="geometric") for i, norm in
          enumerate(("l1", "l2", "linf"))),
        Metric("total_variation", _total_variation, better=""),
        Metric("total_variation_excess", _variation_excess, "total variation above the solution's", better=""),
        Metric("conservation", _conservation, "conservation error"),
        Metric("shock_position_error", _shock_position_error, unit="length"),
        Metric("steps", _steps, better=""),
    )
}  # fmt: skip
"""What is measured of every simulation at its end: ``of(condition, simulated, solution)``, in the first variable.

Errors are infinite for simulations that failed; what does not exist is NaN.
"""


def measured(condition: InitialCondition, found: Simulated, solution: Solution) -> dict[str, float]:
    """Every metric of one simulation; what failed has infinite errors and a number of steps, the rest is NaN."""
    lost = found.failed_step is not None
    known = ("l1", "l2", "linf", "steps")
    return {
        name: math.nan if lost and name not in known else float(metric.of(condition, found, solution))
        for name, metric in METRICS.items()
    }
