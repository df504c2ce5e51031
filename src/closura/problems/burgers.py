"""Two-dimensional viscous vector Burgers on a coarse grid against a finer one (Closure-RL, section 4.2).

    d q / dt + u d q / dx + v d q / dy = nu (d^2 q / dx^2 + d^2 q / dy^2),      q = u, v;  unit square, periodic.

* coarse (CGS): first-order upwind differences, forward Euler, 30 x 30 points;
* trusted: ``ratio`` times finer, restricted by means over blocks (published: the coarse scheme; default: fifth
  order upwind differences with RK4);
* the closure sees (u, v) and answers with a forcing per component: q <- G(clip(q - dt clip(A))).

Not in flux form: the totals of u and v are not conserved by the equations.

Source: J.-P. von Bassewitz, S. Kaltenbach, P. Koumoutsakos, "Closure Discovery for Coarse-Grained Partial
Differential Equations Using Grid-based Reinforcement Learning", CPAL 2025 (arXiv:2402.00972).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.grids import Grid
from closura.numerics import advective_derivative, block_mean, get_integrator, laplacian
from closura.numerics.padding import pad
from closura.problems.actions import ActionForm, correction
from closura.problems.advection import STATE_BOUND
from closura.problems.problem import Ask, Draw, Dynamics, Target

Velocity = Float[Array, "2 x y"]
Parameters = dict[str, Any]
"""``viscosity ()``, and ``group ()`` where the initial fields fall into groups."""


class BurgersSolver(eqx.Module):
    """``q' = q + dt (-(q . grad) q + nu lap q)`` by a scheme for the first derivatives and an integrator.

    With ``published_switch`` the first-order difference of a component looks to the side that the sign of
    *that component* says, as the published code does, instead of the sign of the velocity along the axis: d u /
    dy is then downwind wherever u and v differ in sign (only with ``upwind1``).
    """

    grid: Grid = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    integrator: str = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True, default=1)
    published_switch: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if self.published_switch and self.scheme != "upwind1":
            raise ValueError(f"the published switch belongs to scheme upwind1; got {self.scheme}")

    def tendency(self, velocity: Velocity, viscosity: Float[Array, ""]) -> Velocity:
        """Time derivative of both components."""
        if self.published_switch:
            change = -_switched_by_itself(velocity, self.grid)
        else:
            change = -advective_derivative(velocity, velocity, self.grid, self.scheme)
        return change + viscosity * laplacian(velocity, self.grid)

    def __call__(self, velocity: Velocity, viscosity: Float[Array, ""]) -> Velocity:
        """Advance by ``substeps`` steps of ``time_step / substeps``."""
        viscosity = viscosity.astype(velocity.dtype)
        integrator = get_integrator(self.integrator)

        def substep(q: Velocity) -> Velocity:
            return integrator.step(lambda at: self.tendency(at, viscosity), q, self.time_step / self.substeps)

        if self.substeps == 1:
            return substep(velocity)
        return jax.lax.scan(lambda q, _: (substep(q), None), velocity, None, length=self.substeps)[0]


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


class BurgersDynamics(Dynamics):
    """The coarse solver with a forcing: ``q <- G(clip(q - dt A, -3, 3))``.

    ``A`` is the closure's answer, clipped to ``[-bound, bound]``, as its form says (:mod:`closura.problems.actions`).
    With several ``orientations`` it is the mean of the answers to the field turned by each, turned back: then it
    commutes with these turns, as the equation does. A field that is turned by half makes the opposite mean: the
    mean that a closure makes of both alike is an error, and nothing damps a mean.

    The closure observes ``(u, v)`` in float32, and the viscosity in units of ``reference`` as a third, uniform
    channel with ``observe_viscosity``.
    """

    solver: BurgersSolver
    ratio: int = eqx.field(static=True)
    bound: float = eqx.field(static=True, default=math.inf)
    observe_viscosity: bool = eqx.field(static=True, default=False)
    reference: float = eqx.field(static=True, default=1.0)
    action: ActionForm = eqx.field(static=True, default="forcing")
    orientations: int = eqx.field(static=True, default=1)

    @property
    def asks(self) -> int:
        """One per orientation."""
        return self.orientations

    def start(self, draw: Draw) -> tuple[Velocity, Parameters]:
        """Means over blocks of the fine initial state; the parameters as they are."""
        return block_mean(draw.initial, self.ratio), draw.parameters

    def observe(self, state: Velocity, parameters: Parameters) -> Float[Array, "observation x y"]:
        """``(u, v)``, or ``(u, v, viscosity / reference)``, in float32."""
        seen = state.astype(jnp.float32)
        if not self.observe_viscosity:
            return seen
        relative = (parameters["viscosity"] / self.reference).astype(jnp.float32)
        return jnp.concatenate([seen, jnp.broadcast_to(relative, (1, *state.shape[1:]))])

    def step(self, state: Velocity, parameters: Parameters, ask: Ask | None) -> tuple[Velocity, Velocity]:
        """Act, then advance."""
        acted = state
        if ask is not None:
            seen = self.observe(state, parameters)
            parts = []
            for turn in ORIENTATIONS[self.orientations]:
                answer = ask(turned(seen, turn)).astype(state.dtype)
                parts.append(turned(correction(answer, self.action, bound=self.bound), turn, back=True))
            forcing = sum(parts[1:], start=parts[0]) / len(parts) if len(parts) > 1 else parts[0]
            forced = state - self.solver.time_step * forcing
            acted = jnp.clip(forced, -STATE_BOUND, STATE_BOUND)
        return self.solver(acted, parameters["viscosity"]), acted


class BurgersTarget(Target):
    """The fine simulation, restricted by means over blocks. Its state is ``(velocity, viscosity)``."""

    depends_on_state: ClassVar[bool] = False
    solver: BurgersSolver
    ratio: int = eqx.field(static=True)

    def start(self, draw: Draw) -> tuple[Float[Array, "2 *fine"], Float[Array, ""]]:
        """The fine initial data themselves."""
        return draw.initial, draw.parameters["viscosity"]

    def advance(
        self, target: tuple[Float[Array, "2 *fine"], Float[Array, ""]], state: Velocity, parameters: Parameters
    ) -> tuple[Float[Array, "2 *fine"], Float[Array, ""]]:
        """The fine steps of one coarse step."""
        velocity, viscosity = target
        return self.solver(velocity, viscosity), viscosity

    def observe(self, target: tuple[Float[Array, "2 *fine"], Float[Array, ""]]) -> Velocity:
        """Means over blocks of the fine field."""
        return block_mean(target[0], self.ratio)


class BurgersDraw(eqx.Module):
    """Independent draws of a fine initial field ``(2, x, y)`` and of a viscosity.

    Viscosities are log-uniform in ``viscosities``. Families of fields that fall into groups have a method
    ``grouped(key) -> (field, group)``.
    """

    velocity: Callable[..., Float[Array, "2 *fine"]]
    viscosities: tuple[float, float] = eqx.field(static=True)

    def __call__(self, *, key: Key[Scalar, ""]) -> Draw:
        """Draw both from ``key``."""
        for_velocity, for_viscosity = jax.random.split(key)
        low, high = (math.log(value) for value in self.viscosities)
        share = jax.random.uniform(for_viscosity, (), jnp.float32)
        group: Parameters = {}
        if hasattr(self.velocity, "grouped"):
            field, group["group"] = self.velocity.grouped(for_velocity)
        else:
            field = self.velocity(for_velocity)
        viscosity = jnp.exp(low + share.astype(field.dtype) * (high - low))
        if low == high:
            viscosity = jnp.asarray(self.viscosities[0], field.dtype)
        return Draw(field, {"viscosity": viscosity, **group})
