"""Which grids and time steps are refused: too small for a stencil, too long to be stable or to stay positive."""

import math
from collections.abc import Sequence

import jax.numpy as jnp

from closura.core.method import Method
from closura.initial.condition import InitialCondition
from closura.numerics.integrators import INTEGRATORS
from closura.problems.laws.cases import place, shape_of
from closura.problems.laws.weighted_fluxes import WeightedFluxes, largest_courant

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
