"""The solution that errors are measured against: exact where a formula exists, else from a finer grid."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.fields.initial import InitialCondition
from closura.problems.laws.dynamics import WeightedFluxes
from closura.problems.laws.entropy import entropy_solution, plane_entropy_solution
from closura.problems.laws.entropy import shock_positions as entropy_shocks
from closura.problems.laws.euler import Euler
from closura.problems.laws.law import ConservationLaw
from closura.problems.laws.march import begin, march_to, place
from closura.problems.laws.riemann import exact_riemann
from closura.problems.laws.riemann import shock_positions as riemann_shocks
from closura.problems.laws.targets import centres

Points = Float64[np.ndarray, "*grid"]
States = Float64[np.ndarray, "component *grid"]

FINE_CELLS = {1: 2000, 2: 180}
"""Cells along the first axis that a reference has at least, by dimensions."""
FINE_COURANT = 0.4


def reference(law: ConservationLaw, condition: InitialCondition, points: tuple[Points, ...], time: float) -> States:
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

    Raises
    ------
    ValueError
        If a simulation of the reference fails, or the points are not those of a grid where it needs one.
    """
    return references(law, condition, points, (time,))[0]


def references(
    law: ConservationLaw, condition: InitialCondition, points: tuple[Points, ...], times: tuple[float, ...]
) -> list[States]:
    """:func:`reference` at several times that do not decrease; a fine simulation serves all."""
    if condition.reference == "fine" and max(times) > 0:
        shape = points[0].shape
        if any(not np.allclose(a, b) for a, b in zip(points, condition.points(shape), strict=True)):
            raise ValueError(f"{condition.name} is known on the centres of a grid only; got other points")
        return fine_solutions(law, condition, shape, times)
    found = []
    for time in times:
        if time == 0:
            primitive = condition(*points)
        elif condition.reference == "entropy":
            exact = entropy_solution if law.dimensions == 1 else plane_entropy_solution
            primitive = exact(condition, *points, time)
        elif condition.reference == "riemann":
            primitive = exact_riemann(condition, points[0], time)
        else:
            primitive = condition(*_carried(condition, points, time))
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


@lru_cache(maxsize=128)
def fine_solutions(
    law: ConservationLaw,
    condition: InitialCondition,
    shape: tuple[int, ...],
    times: tuple[float, ...],
    *,
    scheme: str = "weno5-z",
) -> list[States]:
    """The solution from an odd multiple of the grid, at the centres of its cells; kept for the whole process.

    WENO5-Z, characteristic variables where the law has them, SSP-RK3, Courant number 0.4.

    Raises
    ------
    ValueError
        If the simulation fails, with step and cell.
    """
    ratio = fine_ratio(shape[0], law.dimensions)
    return simulated(law, condition, shape[0], ratio, times, scheme=scheme)


def simulated(
    law: ConservationLaw,
    condition: InitialCondition,
    cells: int,
    ratio: int,
    times: tuple[float, ...],
    *,
    scheme: str,
    projection: str | None = None,
) -> list[States]:
    """States of a simulation on ``ratio`` times as many cells, at the centres of the coarse ones.

    Raises
    ------
    ValueError
        If the simulation fails, with step and cell.
    """
    chosen = projection or ("characteristic" if isinstance(law, Euler) else "component")
    splitting = "global" if law.dimensions == 1 else "line"
    dynamics = WeightedFluxes(law, scheme, "ssp-rk3", splitting, chosen)  # type: ignore[arg-type]
    state, parameters = place(law, condition, ratio * cells)
    now, found = begin(state), []
    for time in times:
        now = march_to(dynamics, now, parameters, None, jnp.asarray(time, jnp.float64), courant=FINE_COURANT)
        if bool(now.failed):
            raise ValueError(
                f"the reference of {condition.name} failed on {ratio * cells} cells at step {int(now.failed_at)} in "
                f"cell {int(now.failed_cell)}: no error can be measured; choose another initial condition or time"
            )
        found.append(np.asarray(jax.device_get(centres(now.state, ratio, law.dimensions))))
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
