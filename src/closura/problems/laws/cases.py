"""Initial conditions of conservation laws as cases on a grid, in float64."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from closura.core.case import Case, stacked
from closura.initial.condition import InitialCondition
from closura.problems.laws.ghost_cells import end_index
from closura.problems.laws.law import ConservationLaw, State
from closura.problems.laws.weighted_fluxes import Parameters


def shape_of(condition: InitialCondition, cells: int) -> tuple[int, ...]:
    """Cells along each axis: ``cells`` along the first, of the same size along the others."""
    return tuple(round(cells * length / condition.extent[0]) for length in condition.extent)


def place(law: ConservationLaw, condition: InitialCondition, cells: int) -> tuple[State, Parameters]:
    """State and parameters of an initial condition on a grid of ``cells`` along the first axis."""
    if condition.dimensions != law.dimensions:
        raise ValueError(f"{condition.name} has {condition.dimensions} dimensions, {law.name} here {law.dimensions}")
    shape = shape_of(condition, cells)
    points = condition.points(shape)
    state = conserved(law, condition(*points))
    wrong = ~np.asarray(law.admissible(jnp.asarray(state)))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = ", ".join(f"{float(x[first]):.4g}" for x in points)
        raise ValueError(
            f"{condition.name} is no state of {law.name} in cell {first} (x = {where}): {', '.join(law.primitives)} = "
            f"{[float(value[first]) for value in condition(*points)]}; density and pressure must be positive"
        )
    spacing = jnp.asarray([n / m for n, m in zip(condition.extent, shape, strict=True)], jnp.float64)
    return jnp.asarray(state), {"spacing": spacing, "ends": jnp.asarray(end_index(condition.ends))}


def law_cases(
    law: ConservationLaw,
    conditions: Sequence[InitialCondition],
    cells: int,
    *,
    ends: Sequence[float] = (),
    groups: Sequence[int] = (),
) -> Case:
    """Cases of several conditions, stacked; with ``ends`` times are shares of them.

    Parameters hold ``spacing``, ``ends`` (kinds of boundaries) and the ``number`` of each.
    """
    shapes = {shape_of(condition, cells) for condition in conditions}
    if len(shapes) > 1:
        raise ValueError(
            f"initial conditions of one batch need grids of one shape; {', '.join(c.name for c in conditions)} give "
            f"{sorted(shapes)}: take them one by one"
        )
    found = []
    for number, condition in enumerate(conditions):
        state, parameters = place(law, condition, cells)
        end = jnp.asarray(ends[number], jnp.float64) if len(ends) else None
        group = jnp.asarray(groups[number], jnp.int32) if len(groups) else None
        found.append(Case(state, {**parameters, "number": jnp.asarray(number, jnp.int32)}, group, end))
    return stacked(found)


def conserved(law: ConservationLaw, primitive: Float64[np.ndarray, "component *grid"]) -> np.ndarray:
    """Conserved variables on the host."""
    return np.asarray(law.conserved(jnp.asarray(primitive, jnp.float64)))
