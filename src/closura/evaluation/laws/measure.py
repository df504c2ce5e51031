r"""What is measured of a state: errors as sums over cells, variation, what is conserved, where shocks stand.

    L1 = sum |e_i| dx,      L2 = sqrt(sum e_i^2 dx),      Linf = max |e_i|,

with point values at cell centres and ``dx`` the size of a cell (area in two dimensions). On a domain of length 10,
L1 is an integral over it, no mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from closura.fields.initial import InitialCondition

Field = Float64[np.ndarray, "*grid"]
SHOCK_REACH = 3
"""Interfaces on either side of the steepest one that belong to a captured shock."""
SHOCK_SEARCH = 8
"""Cells on either side of the true shock in which its image is looked for."""


@dataclass(frozen=True)
class Score:
    """How one simulation ended, or the mean over shifted ones.

    Parameters
    ----------
    l1, l2, linf
        Errors at the end; infinite for a simulation that diverged.
    variation, variation_excess
        Total variation at the end, and what it has more than the solution's.
    conservation
        Relative change of the total of the measured variable; None where the boundary lets some of it through.
    shock
        Mean distance of captured shocks from the true ones; None where there are none, or none is known.
    steps
        Number of steps.
    diverged
        Whether it failed (or one of the shifted ones).
    failed_step, failed_cell, failure
        The first bad step, its first bad cell, and what was wrong there.
    simulations
        How many simulations this is the mean of.
    """

    l1: float
    l2: float
    linf: float
    variation: float = math.nan
    variation_excess: float = math.nan
    conservation: float | None = None
    shock: float | None = None
    steps: float = 0
    diverged: bool = False
    failed_step: int | None = None
    failed_cell: tuple[int, ...] | None = None
    failure: str | None = None
    simulations: int = 1

    def error(self, norm: str) -> float:
        """``l1``, ``l2`` or ``linf``."""
        return float(getattr(self, norm))


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

    The steepest step of the right sign within eight cells of the true place is looked for; the shock is the centroid
    of the steps of that sign around it, which is where a sharp front would have the same area.

    Parameters
    ----------
    shock
        The true place.
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


def observed_order(errors: Sequence[float], cells: Sequence[int]) -> list[float]:
    """Order between each grid and the next finer one, ``log(e_1 / e_2) / log(n_2 / n_1)``; NaN where undefined."""
    found = []
    for (e1, n1), (e2, n2) in zip(
        zip(errors[:-1], cells[:-1], strict=True), zip(errors[1:], cells[1:], strict=True), strict=True
    ):
        usable = 0 < e1 < math.inf and 0 < e2 < math.inf and n1 != n2
        found.append(math.log(e1 / e2) / math.log(n2 / n1) if usable else math.nan)
    return found


def geometric_mean(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """Infinite where a value is, 0 where one is 0, NaN of nothing."""
    array = np.asarray(values, np.float64)
    if array.size == 0:
        return math.nan
    if not np.isfinite(array).all():
        return math.inf
    return float(np.exp(np.log(array).mean())) if (array > 0).all() else 0.0


def mean_score(scores: Sequence[Score]) -> Score:
    """The mean over shifted simulations; one that diverged makes errors infinite and is named."""
    if len(scores) == 1:
        return scores[0]
    bad = next((score for score in scores if score.diverged), None)
    average = {name: float(np.mean([getattr(score, name) for score in scores])) for name in _AVERAGED}
    known = {
        name: [v for v in (getattr(s, name) for s in scores) if v is not None] for name in ("conservation", "shock")
    }
    partial = {name: float(np.mean(values)) if values else None for name, values in known.items()}
    values: dict[str, Any] = {**average, **partial, "simulations": len(scores)}
    return replace(bad or scores[0], **values)


_AVERAGED = ("l1", "l2", "linf", "variation", "variation_excess", "steps")
