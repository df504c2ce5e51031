"""The solution that errors are measured against: exact where a formula exists, else from a finer grid."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.initial.condition import InitialCondition
from closura.problems.laws.dynamics import WeightedFluxes
from closura.problems.laws.entropy import entropy_solution, plane_entropy_solution
from closura.problems.laws.entropy import shock_positions as entropy_shocks
from closura.problems.laws.euler import Euler
from closura.problems.laws.fluxes import Projection, Splitting
from closura.problems.laws.law import ConservationLaw
from closura.problems.laws.march import begin, march_to, place
from closura.problems.laws.riemann import exact_riemann, exact_riemann_plane
from closura.problems.laws.riemann import shock_positions as riemann_shocks

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
FINE_COURANT = 0.4


CUSTOMARY = {"shu-osher": ("weno5-js", 2000)}
"""Without an exact solution, the literature compares with this scheme, component by component, on so many cells."""


def reference(
    law: ConservationLaw,
    condition: InitialCondition,
    points: tuple[Points, ...],
    time: float,
    *,
    customary: bool = True,
) -> States:
    """The solution at cell centres and one time, in conserved variables.

    Parameters
    ----------
    law
        What is solved.
    condition
        The initial condition; its ``reference`` says how the solution is known.
    points
        Coordinates of all cell centres, one array per axis.
    time
        Time, not negative.
    customary
        Where the solution is known from simulations alone, take the one of :data:`CUSTOMARY`, which published numbers
        refer to, rather than a sharper one.

    Raises
    ------
    ValueError
        If a simulation of the reference fails, or the points are not those of a grid where it needs one.
    """
    return references(law, condition, points, (time,), customary=customary)[0]


def references(
    law: ConservationLaw,
    condition: InitialCondition,
    points: tuple[Points, ...],
    times: tuple[float, ...],
    *,
    customary: bool = True,
) -> list[States]:
    """:func:`reference` at several times that do not decrease; a fine simulation serves all."""
    if condition.reference == "fine" and max(times) > 0:
        if customary and condition.name in CUSTOMARY:
            return _customary_solutions(law, condition, points[0], times)
        shape = points[0].shape
        if any(not np.allclose(a, b) for a, b in zip(points, condition.points(shape), strict=True)):
            raise ValueError(f"{condition.name} is known on the centres of a grid only; got other points")
        return fine_solutions(law, condition, shape, times)
    found = []
    for time in times:
        if time == 0:
            primitive = condition(*points)
        elif condition.reference == "translation":
            primitive = condition(*_carried(condition, points, time))
        else:
            primitive = _EXACT[condition.reference, law.dimensions](condition, *points, time)
        found.append(conserved(law, primitive))
    return found


def conserved(law: ConservationLaw, primitive: States) -> States:
    """Conserved variables on the host."""
    return np.asarray(law.conserved(jnp.asarray(primitive, jnp.float64)))


def _carried(condition: InitialCondition, points: tuple[Points, ...], time: float) -> tuple[Points, ...]:
    """Where the values at ``points`` were at time zero, inside the domain along periodic axes."""
    moved = []
    for axis, (x, velocity) in enumerate(zip(points, condition.translation, strict=True)):
        x = x - velocity * time
        if condition.ends[axis] == "periodic":
            low, length = condition.lower[axis], condition.extent[axis]
            x = low + np.mod(x - low, length)
        moved.append(x)
    return tuple(moved)


def fine_ratio(cells: int, dimensions: int) -> int:
    """The smallest odd ratio, three at least, that gives a reference enough cells."""
    ratio = max(3, -(-FINE_CELLS[dimensions] // cells))
    return ratio + 1 - ratio % 2


def _customary_solutions(
    law: ConservationLaw, condition: InitialCondition, x: Points, times: tuple[float, ...]
) -> list[States]:
    """Linear between the centres of the fine cells: on an even multiple of a grid, the mean of the two middle ones."""
    scheme, cells = CUSTOMARY[condition.name]
    (places,) = condition.points((cells,))
    states = _kept(law, condition, cells, 1, times, scheme, "component")
    return [np.stack([np.interp(x, places, component) for component in state]) for state in states]


def fine_solutions(
    law: ConservationLaw,
    condition: InitialCondition,
    shape: tuple[int, ...],
    times: tuple[float, ...],
    *,
    scheme: str = "weno5-z",
) -> list[States]:
    """The solution from an odd multiple of the grid, at the centres of its cells; kept for the whole process.

    WENO5-Z, SSP-RK3, Courant number 0.4; characteristic variables in one dimension, where the law has them.

    Raises
    ------
    ValueError
        If the simulation fails, with step and cell.
    """
    ratio = fine_ratio(shape[0], law.dimensions)
    characteristic = isinstance(law, Euler) and law.dimensions == 1
    return _kept(law, condition, shape[0], ratio, times, scheme, "characteristic" if characteristic else "component")


_FOUND: dict[tuple[object, ...], dict[float, States]] = {}


def _kept(
    law: ConservationLaw,
    condition: InitialCondition,
    cells: int,
    ratio: int,
    times: tuple[float, ...],
    scheme: str,
    projection: Projection,
) -> list[States]:
    """States that were simulated before, or now: each is simulated once in a process."""
    known = _FOUND.setdefault((law, condition, cells, ratio, scheme, projection), {})
    if any(time not in known for time in times):
        states = simulated(law, condition, cells, ratio, times, scheme=scheme, projection=projection)
        for time, state in zip(times, states, strict=True):
            known.setdefault(time, state)
    return [known[time] for time in times]


def simulated(
    law: ConservationLaw,
    condition: InitialCondition,
    cells: int,
    ratio: int,
    times: tuple[float, ...],
    *,
    scheme: str,
    projection: Projection,
) -> list[States]:
    """States of a simulation on ``ratio`` times as many cells, at the centres of the coarse ones.

    Raises
    ------
    ValueError
        If the simulation fails, with step and cell.
    """
    splitting: Splitting = "global" if law.dimensions == 1 else "line"
    dynamics = WeightedFluxes(law=law, scheme=scheme, integrator="ssp-rk3", splitting=splitting, projection=projection)
    state, parameters = place(law, condition, ratio * cells)
    now, found = begin(state), []
    for time in times:
        now = march_to(dynamics, now, parameters, None, jnp.asarray(time, jnp.float64), courant=FINE_COURANT)
        if bool(now.failed):
            raise ValueError(
                f"the reference of {condition.name} failed on {ratio * cells} cells at step {int(now.failed_at)} in "
                f"cell {int(now.failed_cell)}: no error can be measured; choose another initial condition or time"
            )
        found.append(np.asarray(now.state)[(slice(None), *(slice(ratio // 2, None, ratio),) * law.dimensions)])
    return found


def shocks(condition: InitialCondition, time: float) -> Float64[np.ndarray, " shock"]:
    """Where the exact solution has shocks inside the domain, the strongest first; none where it is not known."""
    none = np.zeros(0)
    if condition.dimensions != 1 or not time > 0 or condition.reference not in ("entropy", "riemann"):
        return none
    if condition.reference == "entropy":
        places = entropy_shocks(condition, time, smallest=0.05)[0]
    else:
        places = np.asarray(riemann_shocks(condition, time), np.float64).reshape(-1)
    low, high = condition.lower[0], condition.upper[0]
    return np.asarray(places[(places > low) & (places < high)])
