"""Initial conditions of conservation laws on a grid, in float64: cases, cases in turn, and what is refused."""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Key, Scalar

from closura.core.case import Case, CaseSampler, stacked
from closura.core.method import Method
from closura.initial.condition import InitialCondition
from closura.numerics.integrators import INTEGRATORS
from closura.problems.laws.fluxes import end_index
from closura.problems.laws.law import ConservationLaw, State
from closura.problems.laws.weighted_fluxes import Parameters, WeightedFluxes, largest_courant


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


POSITIVE = 0.5
"""Largest Courant number of forward Euler steps whose limited fluxes keep states positive."""


def check_courant(courant: float, integrator: str, r: int) -> None:
    """Refuse Courant numbers that are not stable."""
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
    """Refuse Courant numbers at which limited fluxes do not keep density and pressure positive."""
    limit = positivity_limit(integrator)
    if limit is not None and courant > limit:
        raise ValueError(
            f"positivity holds up to a Courant number of {limit:g} with {integrator}; got {courant:.3g}: choose "
            f"--courant {limit:g} or less (or a shorter --time-step), or leave out --positivity"
        )


def smallest_grid(solver: WeightedFluxes) -> int:
    """Cells that an axis must have at least: ghost cells are made of as many at both ends."""
    return 2 * max(solver.r, 3)


def check_method(
    name: str, method: Method, conditions: Sequence[InitialCondition], cells: int, *, positive: bool = False
) -> None:
    """Refuse what a method cannot run; with ``positive`` also steps at which limited fluxes promise nothing."""
    solver = method.solver
    assert isinstance(solver, WeightedFluxes)

    def check(courant: float) -> None:
        check_courant(courant, solver.integrator, solver.r)
        if positive:
            check_positivity(courant, solver.integrator)

    if method.step.courant is not None:
        check(method.step.courant)
    for condition in conditions:
        shape = shape_of(condition, max(cells, 1))
        if cells < 1 or min(shape) < smallest_grid(solver):
            raise ValueError(
                f"a grid of {' x '.join(map(str, shape))} cells ({condition.name}) is too small for {name}: its "
                f"stencil needs at least {smallest_grid(solver)} cells along every axis; take more --cells"
            )
        state, parameters = place(solver.law, condition, cells)
        dt = method.step.dt
        number = 0.0 if dt is None else float(jnp.sum(solver.largest_speed(state) / parameters["spacing"])) * dt
        if number > 0:
            try:
                check(number)
            except ValueError as error:
                raise ValueError(f"--time-step {dt:g} on {cells} cells ({condition.name}): {error}") from None


class Schedule(CaseSampler):
    """Several initial conditions on one grid, in turn.

    ``initial`` are states on the fine grid, ``parameters`` the coarse ``spacing`` and the ``ends`` of each, ``rate``
    its ``sum_a speed_a / dx_a``: a Courant number divided by it is a time step. Steps have the length ``time_step``; 0
    draws a Courant number for each simulation from a range.
    """

    initial: Float[Array, "condition component *fine"]
    parameters: Parameters
    rate: Float[Array, " condition"]
    time_step: float = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        which, key = jax.random.split(key)
        return self.member(jax.random.randint(which, (), 0, self.rate.size, dtype=jnp.int32), key=key)

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        index = number % self.rate.size
        step = jnp.asarray(self.time_step, jnp.float64)
        if not self.time_step:
            step = jax.random.uniform(key, (), jnp.float64, *self.courant) / self.rate[index]
        own = jax.tree.map(lambda leaf: leaf[index], self.parameters)
        return Case(self.initial[index], {**own, "time_step": step})


def schedule(
    law: ConservationLaw,
    conditions: Sequence[InitialCondition],
    cells: int,
    *,
    ratio: int = 1,
    time_step: float = 0.0,
    courant: tuple[float, float] = (0.1, 0.1),
    integrator: str = "forward-euler",
    r: int = 3,
    reserve: float = 1.0,
) -> Schedule:
    """Put conditions on a grid of ``cells`` coarse and ``ratio`` times as many fine cells along the first axis.

    Time steps are checked against the limit of ``integrator`` and ``r``, with waves that become ``reserve`` times
    faster than they are at the start.
    """
    if not conditions:
        raise ValueError("a schedule needs at least one initial condition")
    states, parameters, rates = [], [], []
    for condition in conditions:
        state, own = place(law, condition, cells * ratio)
        own = {**own, "spacing": own["spacing"] * ratio}
        speeds = jnp.stack([jnp.max(law.speed(state, axis)) for axis in range(law.dimensions)])
        rate = reserve * jnp.sum(speeds / own["spacing"])
        if time_step:
            try:
                check_courant(time_step * float(rate), integrator, r)
            except ValueError as error:
                raise ValueError(f"{condition.name} with a time step of {time_step:g}: {error}") from error
        states.append(state)
        parameters.append(own)
        rates.append(jnp.maximum(rate, 1e-12))
    shapes = {state.shape for state in states}
    if len(shapes) > 1:
        raise ValueError(
            f"initial conditions of one batch need grids of one shape; {', '.join(c.name for c in conditions)} give "
            f"{sorted(shapes)}: train on them one by one"
        )
    return Schedule(
        jnp.stack(states),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *parameters),
        jnp.stack(rates),
        time_step,
        courant,
    )
