"""Running a solver to a given time: fixed steps or steps by the Courant number, with failures as values.

The loop is compiled once per grid, law and method; members of a batch stop independently of each other, so one that
blows up neither ends nor poisons the others.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from closura.core.solver import Closure
from closura.initial.condition import InitialCondition
from closura.numerics.integrators import INTEGRATORS
from closura.problems.laws.dynamics import Parameters, WeightedFluxes, largest_courant
from closura.problems.laws.ends import end_index
from closura.problems.laws.law import ConservationLaw, State

POSITIVE = 0.5
"""Largest Courant number of forward Euler steps whose limited fluxes keep states positive."""


class March(eqx.Module):
    """Where a simulation stands.

    ``failed_at`` is the first step after which the state was none of the law's (negative pressure, not finite), or
    -1, ``failed_cell`` the first such cell, as an index into the flattened grid; the simulation stops there.
    """

    state: Float[Array, "component *grid"]
    time: Float[Array, ""]
    steps: Int[Array, ""]
    failed_at: Int[Array, ""]
    failed_cell: Int[Array, ""]

    @property
    def failed(self) -> Bool[Array, ""]:
        """Whether the simulation has failed."""
        return self.failed_at >= 0


def begin(state: State) -> March:
    """A simulation at time zero."""
    zero, none = jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32)
    return March(state, jnp.zeros((), state.dtype), zero, none, none)


def place(law: ConservationLaw, condition: InitialCondition, cells: int) -> tuple[State, Parameters]:
    """State and parameters of an initial condition on a grid of ``cells`` along each axis, in float64.

    Axes of other lengths than the first get cells of the same size.

    Raises
    ------
    ValueError
        If the law and the condition differ in dimensions, or the state is none of the law's (with the cell).
    """
    if condition.dimensions != law.dimensions:
        raise ValueError(f"{condition.name} has {condition.dimensions} dimensions, {law.name} here {law.dimensions}")
    shape = tuple(round(cells * length / condition.extent[0]) for length in condition.extent)
    points = condition.points(shape)
    state = law.conserved(jnp.asarray(condition(*points), jnp.float64))
    wrong = ~np.asarray(law.admissible(state))
    if wrong.any():
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        where = ", ".join(f"{float(x[first]):.4g}" for x in points)
        raise ValueError(
            f"{condition.name} is no state of {law.name} in cell {first} (x = {where}): {', '.join(law.primitives)} = "
            f"{[float(value[first]) for value in condition(*points)]}; density and pressure must be positive"
        )
    spacing = jnp.asarray([n / m for n, m in zip(condition.extent, shape, strict=True)], jnp.float64)
    return state, {"spacing": spacing, "ends": jnp.asarray(end_index(condition.ends))}


def courant_step(
    dynamics: WeightedFluxes, state: State, parameters: Parameters, courant: float | Float[Array, ""]
) -> Float[Array, ""]:
    """``C / sum_a (speed_a / dx_a)``."""
    return courant / dynamics.rate(state, parameters)


def check_courant(courant: float, integrator: str, r: int) -> None:
    """Refuse Courant numbers that are not stable.

    Raises
    ------
    ValueError
        With the limit.
    """
    if not 0 < courant < math.inf:
        raise ValueError(f"a Courant number must be positive; got {courant:g}")
    limit = largest_courant(integrator, r)
    if courant > limit:
        others = [name for name in INTEGRATORS if largest_courant(name, r) >= courant]
        raise ValueError(
            f"a Courant number of {courant:g} is not stable with {integrator} (limit {limit:.3g}): choose a smaller "
            f"one{', or another integrator: ' if others else ''}{', '.join(others)}"
        )


def positivity_limit(integrator: str) -> float | None:
    """Courant number up to which limited fluxes keep density and pressure positive; None: nothing is promised.

    The promise is made for a forward Euler step, of which the SSP methods are means (with coefficient one).
    """
    return POSITIVE if integrator in ("forward-euler", "ssp-rk2", "ssp-rk3") else None


def check_positivity(courant: float, integrator: str) -> None:
    """Refuse Courant numbers at which limited fluxes do not keep density and pressure positive.

    Raises
    ------
    ValueError
        With the limit.
    """
    limit = positivity_limit(integrator)
    if limit is not None and courant > limit:
        raise ValueError(
            f"positivity holds up to a Courant number of {limit:g} with {integrator}; got {courant:.3g}: choose "
            f"--courant {limit:g} or less (or a shorter --time-step), or leave out --positivity"
        )


@eqx.filter_jit
def march_to(
    dynamics: WeightedFluxes,
    now: March,
    parameters: Parameters,
    closure: Closure | None,
    end: Float[Array, ""],
    *,
    courant: float | Float[Array, ""] = 0.0,
    time_step: float | Float[Array, ""] = 0.0,
) -> March:
    """Advance to a time: by the Courant number, or by fixed steps where ``courant`` is 0; the last step lands on it.

    Works under ``vmap``: every member has its own steps and stops by itself.
    """
    courant, time_step = jnp.asarray(courant, now.state.dtype), jnp.asarray(time_step, now.state.dtype)
    nearly = end - 1e-12 * jnp.maximum(end, 1.0)

    def going(now: March) -> Bool[Array, ""]:
        return (now.time < nearly) & (now.failed_at < 0)

    def step(now: March) -> March:
        chosen = jnp.where(courant > 0, courant_step(dynamics, now.state, parameters, courant), time_step)
        chosen = jnp.minimum(chosen, end - now.time)
        state = dynamics.step(now.state, parameters, chosen, closure)
        wrong = ~dynamics.law.admissible(state).reshape(-1)
        failed = jnp.any(wrong)
        return March(
            state,
            now.time + chosen,
            now.steps + 1,
            jnp.where(failed, now.steps + 1, -1),
            jnp.where(failed, jnp.argmax(wrong).astype(jnp.int32), -1),
        )

    return jax.lax.while_loop(going, step, now)


def stacked(trees: list[PyTree[Array]]) -> PyTree[Array]:
    """Members of a batch, leaf by leaf."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
