"""Two-dimensional viscous vector Burgers on a coarse grid against a finer one (Closure-RL, section 4.2).

    d q / dt + u d q / dx + v d q / dy = nu (d^2 q / dx^2 + d^2 q / dy^2),      q = u, v;  unit square, periodic.

* coarse (CGS): first-order upwind differences, forward Euler, 30 x 30 points;
* reference: ``ratio`` times finer, restricted by means over blocks (published: the coarse scheme; default: fifth
  order upwind differences with RK4);
* the closure sees (u, v) and answers with a forcing per component: q <- G(clip(q - dt clip(A))).

Not in flux form: the totals of u and v are not conserved by the equations.

Source: J.-P. von Bassewitz, S. Kaltenbach, P. Koumoutsakos, "Closure Discovery for Coarse-Grained Partial
Differential Equations Using Grid-based Reinforcement Learning", CPAL 2025 (arXiv:2402.00972).
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case, CaseSampler
from closura.core.solver import Closure, Solver
from closura.core.transfer import transfer
from closura.grids import Grid
from closura.numerics import advective_derivative, courant_limit, get_integrator, laplacian
from closura.numerics.padding import pad
from closura.numerics.stability import symbol_limit
from closura.problems.actions import ActionForm, correction
from closura.problems.advection import STATE_BOUND
from closura.problems.reference import Step

Velocity = Float[Array, "2 x y"]
Parameters = dict[str, Any]
"""``viscosity ()``."""


class BurgersSolver(Solver):
    """``q' = q + dt (-(q . grad) q + nu lap q)`` by a scheme for the first derivatives and an integrator.

    Grid values are means over cells: grids that divide that of an initial field get means over blocks, others the
    trigonometric interpolant in the middle of their cells; fields are compared alike.

    A closure observes ``(u, v)`` in float32, and corrects with a forcing: ``q <- G(clip(q - dt A, -3, 3))``. ``A`` is
    its answer as its form says (:mod:`closura.problems.actions`). With several ``orientations`` it is the mean of the
    answers to the field turned by each, turned back: then it commutes with these turns, as the equation does. A field
    that is turned by half makes the opposite mean: the mean that a closure makes of both alike is an error, and nothing
    damps a mean.

    Parameters
    ----------
    grid, scheme, integrator
        Differences of the first derivatives, and the Runge-Kutta method.
    published_switch
        The first-order difference of a component looks to the side that the sign of *that component* says, as the
        published code does, instead of the sign of the velocity along the axis: d u / dy is then downwind wherever u
        and v differ in sign (only with ``upwind1``).
    action, orientations
        See above.
    observe_viscosity
        Show closures the viscosity in units of ``unit`` as a third, uniform channel.
    """

    grid: Grid = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    integrator: str = eqx.field(static=True)
    published_switch: bool = eqx.field(static=True, default=False, kw_only=True)
    action: ActionForm = eqx.field(static=True, default="forcing", kw_only=True)
    orientations: int = eqx.field(static=True, default=1, kw_only=True)
    observe_viscosity: bool = eqx.field(static=True, default=False, kw_only=True)
    unit: float = eqx.field(static=True, default=1.0, kw_only=True)

    def __check_init__(self) -> None:
        if self.published_switch and self.scheme != "upwind1":
            raise ValueError(f"the published switch belongs to scheme upwind1; got {self.scheme}")

    def tendency(self, velocity: Velocity, viscosity: Float[Array, ""]) -> Velocity:
        if self.published_switch:
            change = -_switched_by_itself(velocity, self.grid)
        else:
            change = -advective_derivative(velocity, velocity, self.grid, self.scheme)
        return change + viscosity * laplacian(velocity, self.grid)

    def advance(self, state: Velocity, parameters: Parameters, dt: Step) -> Velocity:
        viscosity = parameters["viscosity"].astype(state.dtype)
        return get_integrator(self.integrator).step(lambda at: self.tendency(at, viscosity), state, dt)

    def alone(self) -> "BurgersSolver":
        """Without what closures see and do."""
        return replace(self, action="forcing", orientations=1, observe_viscosity=False, unit=1.0)

    def init(self, case: Case) -> tuple[Velocity, Parameters]:
        return self.to_grid(case.initial, self.grid), case.parameters

    def to_grid(self, state: Velocity, grid: Grid) -> Float[Array, "2 a b"]:
        """Means over blocks, or the trigonometric interpolant in the middle of cells."""
        return transfer(state, grid, kind="trigonometric", centred=True)

    @property
    def courant_limit(self) -> float:
        """That of a uniform flow without viscosity."""
        return courant_limit(self.scheme, self.integrator)

    def rate(self, state: Velocity, parameters: Parameters) -> Float[Array, ""]:
        """``max(|u| + |v|) / dx + s 4 nu / dx^2``, with s such that a field at rest has the limit of diffusion."""
        spacing = self.grid.spacing[0]
        fastest = jnp.max(jnp.sum(jnp.abs(state), axis=0))
        diffusion = self.courant_limit / diffusion_limit(self.integrator)
        return fastest / spacing + diffusion * 4 * parameters["viscosity"].astype(state.dtype) / spacing**2

    @property
    def calls_per_step(self) -> int:
        return self.orientations

    def observe(self, state: Velocity, parameters: Parameters) -> Float[Array, "observation x y"]:
        seen = state.astype(jnp.float32)
        if not self.observe_viscosity:
            return seen
        relative = (parameters["viscosity"] / self.unit).astype(jnp.float32)
        return jnp.concatenate([seen, jnp.broadcast_to(relative, (1, *state.shape[1:]))])

    def correct(
        self, state: Velocity, parameters: Parameters, dt: Step, action: Float[Array, "action *grid"]
    ) -> Velocity:
        """Subtract the time step times what the action means, and clip."""
        return self._subtract(state, dt * correction(action.astype(state.dtype), self.action))

    def corrected_step(
        self, state: Velocity, parameters: Parameters, dt: Step, closure: Closure | None
    ) -> tuple[Velocity, Velocity]:
        """Correct with the mean over orientations, then advance."""
        if closure is not None:
            seen = self.observe(state, parameters)
            parts = []
            for turn in ORIENTATIONS[self.orientations]:
                answer = closure(turned(seen, turn)).astype(state.dtype)
                parts.append(turned(correction(answer, self.action), turn, back=True))
            forcing = sum(parts[1:], start=parts[0]) / len(parts) if len(parts) > 1 else parts[0]
            state = self._subtract(state, dt * forcing)
        return self.advance(state, parameters, dt), state

    def _subtract(self, state: Velocity, change: Velocity) -> Velocity:
        return jnp.clip(state - change, -STATE_BOUND, STATE_BOUND)


@lru_cache
def diffusion_limit(integrator: str) -> float:
    """The largest stable ``4 nu dt / dx^2`` of second-order differences in two dimensions.

    ``-8 nu dt / dx^2`` is the largest factor: half of what the integrator allows on the negative real axis.
    """
    angles = np.linspace(-np.pi, np.pi, 65)
    return 2 * symbol_limit((2 - 2 * np.cos(angles)).astype(np.complex128), get_integrator(integrator))


def _switched_by_itself(velocity: Velocity, grid: Grid) -> Velocity:
    """``(q . grad) q`` with the published switch; zero counts as positive, as there."""
    change = jnp.zeros_like(velocity)
    for axis, spacing in enumerate(grid.spacing):
        padded = pad(velocity, 1, grid.boundary[axis], axis)
        steps = jnp.diff(padded, axis=axis + 1) / spacing
        size = velocity.shape[axis + 1]
        left = jax.lax.slice_in_dim(steps, 0, size, axis=axis + 1)
        right = jax.lax.slice_in_dim(steps, 1, size + 1, axis=axis + 1)
        change = change + velocity[axis] * jnp.where(velocity >= 0, left, right)
    return change


Turn = tuple[bool, bool, bool]
"""One of the eight ways to turn and mirror the plane: x reversed, y reversed, then the axes exchanged."""

ORIENTATIONS: dict[int, tuple[Turn, ...]] = {
    1: ((False, False, False),),
    2: ((False, False, False), (True, True, False)),
    8: tuple(itertools.product((False, True), (False, True), (False, True))),
}
"""Groups of turns by their size: none, half a turn, all."""


def turned(field: Float[Array, "c x y"], turn: Turn, *, back: bool = False) -> Float[Array, "c x y"]:
    """A velocity (the first two components; any others are scalars) in another orientation, or ``back`` from there.

    A component changes its sign where its axis is reversed, and components change places with the axes. On a grid of
    means over cells reversing an axis maps cells onto cells.
    """

    def exchanged(q: Array) -> Array:
        return jnp.swapaxes(jnp.concatenate([q[1::-1], q[2:]]), 1, 2) if turn[2] else q

    if back:
        field = exchanged(field)
    for axis in (0, 1):
        if turn[axis]:
            field = jnp.flip(field, axis + 1).at[axis].multiply(-1)
    return field if back else exchanged(field)


class BurgersCases(CaseSampler):
    """Independent draws of a fine initial field ``(2, x, y)`` and of a viscosity.

    Viscosities are log-uniform in ``viscosities``. Families of fields that fall into groups have a method
    ``grouped(key) -> (field, group)``.
    """

    velocity: Callable[..., Float[Array, "2 *fine"]]
    viscosities: tuple[float, float] = eqx.field(static=True)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        for_velocity, for_viscosity = jax.random.split(key)
        low, high = (math.log(value) for value in self.viscosities)
        share = jax.random.uniform(for_viscosity, (), jnp.float32)
        group = None
        if hasattr(self.velocity, "grouped"):
            field, group = self.velocity.grouped(for_velocity)
        else:
            field = self.velocity(for_velocity)
        viscosity = jnp.exp(low + share.astype(field.dtype) * (high - low))
        if low == high:
            viscosity = jnp.asarray(self.viscosities[0], field.dtype)
        return Case(field, {"viscosity": viscosity}, group)
