r"""What is measured of a simulation at its end: errors, variation, what is conserved, where shocks stand.

    L1 = sum |e_i| dx,      L2 = sqrt(sum e_i^2 dx),      Linf = max |e_i|,

of the first variable, with point values at cell centres and ``dx`` the size of a cell (area in two dimensions). On a
domain of length 10, L1 is an integral over it, no mean. Errors are infinite for simulations that failed; what does not
exist is NaN.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64

from closura.core.case import Case
from closura.core.metric import Metric
from closura.initial.condition import ENDS
from closura.problems.laws.weighted_fluxes import Parameters

Field = Float64[np.ndarray, "*grid"]
Run = Any
"""A simulation as it was marched (:class:`closura.simulation.march.Marched`)."""
NORMS = {"l1": "L1", "l2": "L2", "linf": "L∞"}
SHOCK_REACH = 3
"""Interfaces on either side of the steepest one that belong to a captured shock."""
ROUND_OFF = 1e-12
"""Relative changes of totals that are only those of float64, after thousands of steps."""
SHOCK_SEARCH = 8
"""Cells on either side of the exact shock in which the captured one is looked for."""


def errors(difference: Field, size: float) -> tuple[float, float, float]:
    """L1, L2, Linf; infinite where the difference is not finite. ``size`` is that of a cell."""
    if not np.isfinite(difference).all():
        return math.inf, math.inf, math.inf
    absolute = np.abs(difference)
    return float(size * absolute.sum()), float(math.sqrt(size * (absolute**2).sum())), float(absolute.max())


def total_variation(field: Field, parameters: Parameters) -> float:
    """``sum |u_{i+1} - u_i|`` along every axis, times the size of the cells across it; round periodic ends too."""
    spacing, total = np.asarray(parameters["spacing"]).tolist(), 0.0
    for axis, end in enumerate(np.asarray(parameters["ends"])):
        across = math.prod(spacing[:axis] + spacing[axis + 1 :])
        first = np.take(field, [0], axis=axis)
        closed = np.concatenate([field, first], axis=axis) if ENDS[end] == "periodic" else field
        with np.errstate(invalid="ignore", over="ignore"):
            total += across * float(np.abs(np.diff(closed, axis=axis)).sum())
    return total


def conservation_error(before: Field, after: Field, parameters: Parameters) -> float:
    """Relative change of the total, where nothing passes the ends (periodic and reflecting ones); else NaN.

    For the density of a gas and for u on periodic domains; u is not conserved by a wall.
    """
    if any(ENDS[end] not in ("periodic", "reflecting") for end in np.asarray(parameters["ends"])):
        return math.nan
    size = float(np.abs(before).sum())
    return float(abs(after.sum() - before.sum())) / (size if size > 0 else 1.0)


def shock_position(
    field: Float64[np.ndarray, " x"], lower: float, spacing: float, shock: float, sides: tuple[float, float]
) -> float:
    """Where a captured shock stands, with sub-cell resolution.

    The steepest step of the right sign within eight cells of the exact place ``shock`` is looked for, ``sides`` being
    the values left and right of it; the captured one is the centroid of the steps of that sign around it, which is
    where a sharp front would have the same area.
    """
    places = lower + spacing * np.arange(1, field.size)
    steps = np.maximum(np.diff(field) * np.sign(sides[1] - sides[0]), 0)
    near = np.abs(places - shock) <= SHOCK_SEARCH * spacing
    if not (near & (steps > 0)).any():
        return math.nan
    steepest = int(np.argmax(np.where(near, steps, -1)))
    part = slice(max(0, steepest - SHOCK_REACH), steepest + SHOCK_REACH + 1)
    return float((places[part] * steps[part]).sum() / steps[part].sum())


def norm(index: int, run: Run, reference: Run, case: Case) -> float:
    """L1, L2 or Linf by number, at the end."""
    difference = np.asarray(run.fields[-1, 0] - reference.fields[-1, 0])
    return errors(difference, math.prod(case.parameters["spacing"]))[index]


def _at_end(of: Callable[[Field, Field, Case], float]) -> Callable[[Run, Run, Case], float]:
    """A function of the two fields of the first variable at the end, NaN for simulations that failed."""

    def at_end(run: Run, reference: Run, case: Case) -> float:
        own, other = (np.asarray(each.fields[-1, 0]) for each in (run, reference))
        return math.nan if run.failed[-1] else of(own, other, case)

    return at_end


def _shock_position_error(field: Field, solution: Field, case: Case) -> float:
    """The mean distance of captured shocks from the exact ones; NaN where there are none, or none is found."""
    p = case.parameters
    known = [(float(at), tuple(sides)) for at, sides in zip(p["shocks"], p["sides"], strict=True) if np.isfinite(at)]
    found = [shock_position(field, p["lower"], p["spacing"][0], *each) - each[0] for each in known]
    missed = [abs(distance) for distance in found if math.isfinite(distance)]
    return float(np.mean(missed)) if missed else math.nan


def _metrics() -> tuple[Metric, ...]:
    def of_run(name: str, of: Callable[..., Any], title: str = "", **about: Any) -> Metric:
        return Metric(name, of, title, run=True, **about)

    def norm_number(index: int) -> Callable[[Run, Run, Case], float]:
        return lambda run, other, case: norm(index, run, other, case)

    return (
        *(of_run(key, norm_number(i), f"{NORMS[key]} error", aggregate="geometric") for i, key in enumerate(NORMS)),
        of_run("total_variation", _at_end(lambda field, _, case: total_variation(field, case.parameters)), better=""),
        of_run(
            "total_variation_excess",
            _at_end(lambda a, b, case: total_variation(a, case.parameters) - total_variation(b, case.parameters)),
            "total variation above the solution's",
            better="",
        ),
        of_run(
            "conservation",
            _at_end(lambda field, _, case: conservation_error(case.initial[0], field, case.parameters)),
            "conservation error",
            floor=ROUND_OFF,
        ),
        of_run("shock_position_error", _at_end(_shock_position_error), unit="length"),
        of_run("steps", lambda run, *_: run.steps, better=""),
    )


METRICS = _metrics()
