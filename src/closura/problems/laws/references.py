"""The solution that errors are measured against: exact where a formula exists, else from a finer grid."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64

from closura.core.method import Method, Role, StepRule
from closura.grids import Grid
from closura.initial.condition import InitialCondition
from closura.problems.laws.cases import conserved, law_cases
from closura.problems.laws.entropy import entropy_solution, plane_entropy_solution
from closura.problems.laws.entropy import shock_positions as entropy_shocks
from closura.problems.laws.law import ConservationLaw, Euler
from closura.problems.laws.riemann import exact_riemann, exact_riemann_plane
from closura.problems.laws.riemann import shock_positions as riemann_shocks
from closura.problems.laws.weighted_fluxes import WeightedFluxes
from closura.simulation.simulate import run

Points = Float64[np.ndarray, "*grid"]
States = Float64[np.ndarray, "component *grid"]

_EXACT: dict[tuple[str, int], Callable[..., States]] = {
    ("entropy", 1): entropy_solution,
    ("entropy", 2): plane_entropy_solution,
    ("riemann", 1): exact_riemann,
    ("riemann", 2): exact_riemann_plane,
}
FINE_CELLS = {1: 2000, 2: 140}
"""Cells along the first axis that a reference has at least, by dimensions."""
FINE_STEP = StepRule(courant=0.4, even=False)
CUSTOMARY = {"shu-osher": ("weno5-js", 2000)}
"""Without an exact solution, the literature compares with this scheme, component by component, on so many cells."""


def references(
    law: ConservationLaw,
    condition: InitialCondition,
    points: tuple[Points, ...],
    times: Sequence[float],
    *,
    customary: bool = True,
) -> list[States]:
    """The solution at cell centres and several times that grow, in conserved variables.

    The condition's ``reference`` says how it is known; a fine simulation serves all times. With ``customary``, where
    the solution is known from simulations alone, it is the one of :data:`CUSTOMARY`, which published numbers refer to,
    rather than a sharper one.
    """
    if condition.reference != "fine" or not max(times) > 0:
        return [conserved(law, _exact(law, condition, points, time)) for time in times]
    start = [conserved(law, condition(*points))] if times[0] == 0 else []
    later = times[len(start) :]
    if customary and condition.name in CUSTOMARY:
        # Linear between the centres of the fine cells: on an even multiple of a grid, the mean of the middle two.
        scheme, cells = CUSTOMARY[condition.name]
        (places,) = condition.points((cells,))
        states = _simulated(law, condition, cells, 1, later, scheme, "component")
        return [*start, *(np.stack([np.interp(points[0], places, each) for each in state]) for state in states)]
    shape = points[0].shape
    if any(not np.allclose(a, b) for a, b in zip(points, condition.points(shape), strict=True)):
        raise ValueError(f"{condition.name} is known on the centres of a grid only; got other points")
    return [*start, *fine_solutions(law, condition, shape, later)]


def _exact(law: ConservationLaw, condition: InitialCondition, points: tuple[Points, ...], time: float) -> States:
    """Primitive variables where there is a formula."""
    if time == 0:
        return condition(*points)
    if condition.reference != "translation":
        return _EXACT[condition.reference, law.dimensions](condition, *points, time)
    moved = []
    for axis, (x, velocity) in enumerate(zip(points, condition.translation, strict=True)):
        x = x - velocity * time
        if condition.ends[axis] == "periodic":
            low, length = condition.lower[axis], condition.extent[axis]
            x = low + np.mod(x - low, length)
        moved.append(x)
    return condition(*moved)


def fine_ratio(cells: int, dimensions: int) -> int:
    """The smallest odd ratio, three at least, that gives a reference enough cells."""
    ratio = max(3, -(-FINE_CELLS[dimensions] // cells))
    return ratio + 1 - ratio % 2


def fine_solutions(
    law: ConservationLaw, condition: InitialCondition, shape: tuple[int, ...], times: Sequence[float]
) -> list[States]:
    """The solution from an odd multiple of the grid, at the centres of its cells; kept for the whole process.

    WENO5-Z, SSP-RK3, Courant number 0.4; characteristic variables in one dimension, where the law has them.
    """
    ratio = fine_ratio(shape[0], law.dimensions)
    characteristic = isinstance(law, Euler) and law.dimensions == 1
    projection = "characteristic" if characteristic else "component"
    return _simulated(law, condition, shape[0], ratio, times, "weno5-z", projection)


_FOUND: dict[tuple[object, ...], dict[float, States]] = {}


def _simulated(
    law: ConservationLaw,
    condition: InitialCondition,
    cells: int,
    ratio: int,
    times: Sequence[float],
    scheme: str,
    projection: str,
) -> list[States]:
    """States of a simulation on ``ratio`` times as many cells, at the coarse centres; once in a process."""
    known = _FOUND.setdefault((law, condition, cells, ratio, scheme, projection), {})
    if any(time not in known for time in times):
        splitting = "global" if law.dimensions == 1 else "line"
        solver = WeightedFluxes(law, scheme=scheme, splitting=splitting, projection=projection)  # type: ignore[arg-type]
        method = Method(solver, Role.REFERENCE, FINE_STEP)
        found = run(method, times, Grid((cells,) * law.dimensions), law_cases(law, [condition], ratio * cells))
        if found.failed.any():
            raise ValueError(
                f"the reference of {condition.name} failed on {ratio * cells} cells at step {found.failure.step[0]} in "
                f"cell {found.failure.cell[0]}: no error can be measured; choose another initial condition or time"
            )
        for time, state in zip(times, np.asarray(found.fields[0, 1:]), strict=True):
            known.setdefault(time, state)
    return [known[time] for time in times]


def shocks(condition: InitialCondition, time: float) -> Float64[np.ndarray, " shock"]:
    """Where the exact solution has shocks inside the domain, the strongest first; none where it is not known."""
    if condition.dimensions != 1 or not time > 0 or condition.reference not in ("entropy", "riemann"):
        return np.zeros(0)
    if condition.reference == "entropy":
        places = entropy_shocks(condition, time, smallest=0.05)[0]
    else:
        places = np.asarray(riemann_shocks(condition, time), np.float64).reshape(-1)
    low, high = condition.lower[0], condition.upper[0]
    return np.asarray(places[(places > low) & (places < high)])
