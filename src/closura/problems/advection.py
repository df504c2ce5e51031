"""Passive advection on a coarse grid against a finer one (Closure-RL, section 4.1).

    d psi / dt + u d psi / dx + v d psi / dy = 0,      psi in [0, 1], |u|, |v| <= 1, unit square, periodic.

* coarse (CGS): first-order upwind differences, forward Euler, 64 x 64 points, dt = 0.25 dx;
* trusted (FGS): second-order central differences, RK4, ``ratio`` times finer in space and time, subsampled;
* the closure sees (psi, u, v) and answers with a forcing A per cell: psi <- G(clip(psi - clip(A))).

This form does not conserve the total of psi: upwind differences never do, central ones only on their own grid and
with periodic velocities. :mod:`closura.problems.flux_form` has a solver that does, for the same dynamics and target;
:mod:`closura.problems.actions` has actions that add nothing themselves, whatever the solver does.

Source: J.-P. von Bassewitz, S. Kaltenbach, P. Koumoutsakos, "Closure Discovery for Coarse-Grained Partial
Differential Equations Using Grid-based Reinforcement Learning", CPAL 2025 (arXiv:2402.00972).
"""

import math
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.grids import Grid
from closura.numerics import Scheme, advective_derivative, get_integrator, get_scheme, pad_all, subsample
from closura.problems.actions import ActionForm, correction
from closura.problems.problem import Ask, Draw, Dynamics, Target

STATE_BOUND = 3.0
"""The published code clips the state that an action has made to [-3, 3]; the paper does not mention it.

A safety net for fields in [0, 1]: where it acts, it changes totals whatever the form of the action.
"""

Solver = Callable[[Float[Array, "component *grid"], Float[Array, "axis *grid"]], Float[Array, "component *grid"]]
"""``solver(psi, velocity)`` advances by one coarse time step."""

Restriction = Callable[[Float[Array, "component *fine"], int], Float[Array, "component *coarse"]]
"""``restriction(field, ratio)``: from the fine grid to the coarse one."""


def linear_factors(integrator: str, step: float) -> tuple[float, ...]:
    """``f_1 .. f_s`` of a step ``q + f_s T(q + f_{s-1} T( .. q + f_1 T(q)))``, T a linear and steady tendency.

    A Runge-Kutta step is then a polynomial of T, here by Horner's rule: it holds two fields where general stages
    hold four, which halves the time.
    """
    c = get_integrator(integrator).stability_polynomial
    return tuple(step * c[k] / c[k - 1] for k in range(len(c) - 1, 0, -1))


def linear_step(
    tendency: Callable[[Array], Array], psi: Float[Array, "component *grid"], factors: tuple[float, ...]
) -> Float[Array, "component *grid"]:
    """One step of a linear and steady tendency with the factors of :func:`linear_factors`."""
    if len(factors) == 1:
        return psi + factors[0] * tendency(psi)

    def stage(q: Array, factor: Array) -> tuple[Array, None]:
        return psi + factor * tendency(q), None

    # In a loop: unrolled, XLA on CPU merges neighbouring stages and computes each of them many times.
    return jax.lax.scan(stage, psi, jnp.asarray(factors, psi.dtype))[0]


class AdvectionSolver(eqx.Module):
    """``psi' = psi - dt (u . grad) psi`` by a scheme and an integrator, with a stationary velocity.

    With ``published_boundary`` the last point along an axis takes, where the velocity is not positive, the
    difference ``psi_0 - psi_{N-2}`` over one spacing, as the published upwind code does (two cells wide: an
    oversight); otherwise ``psi_0 - psi_{N-1}``. Only meaningful with ``upwind1``.
    """

    grid: Grid = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    integrator: str = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True, default=1)
    published_boundary: bool = eqx.field(static=True, default=False)

    def tendency(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *grid"]
    ) -> Float[Array, "component *grid"]:
        """``-(velocity . grad) psi``, in units of psi per time."""
        change = -advective_derivative(psi, velocity, self.grid, self.scheme)
        if self.published_boundary:
            for axis, spacing in enumerate(self.grid.spacing):
                last = (slice(None),) * axis + (-1,)
                before = (slice(None),) * axis + (-2,)
                speed = jnp.minimum(velocity[axis][last], 0.0)
                jump = (psi[(slice(None), *last)] - psi[(slice(None), *before)]) / spacing
                change = change.at[(slice(None), *last)].add(-speed * jump)
        return change

    def __call__(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *grid"]
    ) -> Float[Array, "component *grid"]:
        """Advance by ``substeps`` steps of ``time_step / substeps``."""
        substep = self._substep
        if self._fast:
            substep = self._centred_substep
            # Ghost points of the velocity for all stages but the last, made once.
            radius = self._fast.radius
            velocity = pad_all(velocity, radius * (len(self._factors()) - 1), self.grid.boundary)
        if self.substeps == 1:
            return substep(psi, velocity)
        return jax.lax.scan(lambda q, _: (substep(q, velocity), None), psi, None, length=self.substeps)[0]

    @property
    def _fast(self) -> Scheme | None:
        """The scheme, if :meth:`_centred_substep` may be used."""
        scheme = get_scheme(self.scheme)
        periodic = set(self.grid.boundary) == {"periodic"} and not self.published_boundary
        return scheme if isinstance(scheme, Scheme) and not scheme.upwind and periodic else None

    def _factors(self) -> tuple[float, ...]:
        return linear_factors(self.integrator, self.time_step / self.substeps)

    def _substep(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *grid"]
    ) -> Float[Array, "component *grid"]:
        """One substep with any scheme."""
        return linear_step(lambda q: self.tendency(q, velocity), psi, self._factors())

    def _centred_substep(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *padded"]
    ) -> Float[Array, "component *grid"]:
        """One substep with a centred scheme on a periodic grid: the fine solver's.

        The field gets ghost points for all stages at once, and each stage uses up some of them. Padding
        before every stage copies fields four times as often: a quarter of the time, half of it for batches.
        """
        scheme, factors = self._fast, self._factors()
        assert scheme is not None
        q = padded = pad_all(psi, scheme.radius * len(factors), self.grid.boundary)
        for stage, factor in enumerate(factors):
            speed = _inner(velocity, scheme.radius * stage)
            slopes = []
            for axis, spacing in enumerate(self.grid.spacing):
                for k, weight in scheme.coefficients:
                    if k > 0:
                        right, left = (_inner(q, scheme.radius, axis, offset) for offset in (k, -k))
                        slopes.append(speed[axis][None] * ((factor * weight / spacing) * (right - left)))
            q = _inner(padded, scheme.radius * (stage + 1)) - reduce(add, slopes)
            # Keeps XLA from merging stages.
            q = jax.lax.optimization_barrier(q)
        return q


def _inner(
    field: Float[Array, "component *padded"], width: int, axis: int = 0, offset: int = 0
) -> Float[Array, "component *grid"]:
    """The field without ``width`` points at every end, moved by ``offset`` points along ``axis``."""
    starts = [width] * (field.ndim - 1)
    starts[axis] += offset
    cut = (slice(a, a + n - 2 * width) for a, n in zip(starts, field.shape[1:], strict=True))
    return field[(slice(None), *cut)]


class AdvectionDynamics(Dynamics):
    """The coarse solver with a closure's action: ``psi <- G(clip(psi - A, -3, 3))``.

    The state is ``(1, x, y)``, the parameters are the coarse velocity ``(2, x, y)``; the closure observes
    ``(psi, u, v)`` in float32.

    Parameters
    ----------
    solver
        Advances psi by one coarse step.
    ratio
        Fine points per coarse point and axis.
    bound
        Actions are clipped to ``[-bound, bound]``.
    action
        How the answer becomes ``A``: as it is (published), without its mean, or as fluxes through faces; see
        :func:`~closura.problems.actions.correction`.
    restrict, restrict_velocity
        From the fine initial data to the coarse ones (default: every ``ratio``-th point).
    """

    solver: Solver
    ratio: int = eqx.field(static=True)
    bound: float = eqx.field(static=True, default=math.inf)
    action: ActionForm = eqx.field(static=True, default="forcing")
    restrict: Restriction = eqx.field(static=True, default=subsample)
    restrict_velocity: Restriction = eqx.field(static=True, default=subsample)

    @property
    def asks(self) -> int:
        """One."""
        return 1

    def start(self, draw: Draw) -> tuple[Float[Array, "1 *grid"], Float[Array, "axis *grid"]]:
        """Restrict the fine initial state and velocity."""
        return self.restrict(draw.initial, self.ratio), self.restrict_velocity(draw.parameters, self.ratio)

    def observe(
        self, state: Float[Array, "1 *grid"], parameters: Float[Array, "axis *grid"]
    ) -> Float[Array, "observation *grid"]:
        """``(psi, u, v)`` in float32, unscaled."""
        return jnp.concatenate([state, parameters]).astype(jnp.float32)

    def step(
        self, state: Float[Array, "1 *grid"], parameters: Float[Array, "axis *grid"], ask: Ask | None
    ) -> tuple[Float[Array, "1 *grid"], Float[Array, "1 *grid"]]:
        """Act, then advance."""
        acted = state
        if ask is not None:
            answer = ask(self.observe(state, parameters)).astype(state.dtype)
            change = correction(answer, self.action, bound=self.bound)
            acted = jnp.clip(state - change, -STATE_BOUND, STATE_BOUND)
        return self.solver(acted, parameters), acted


class AdvectionTarget(Target):
    """The fine simulation, restricted. Its state is ``(psi, velocity)`` on the fine grid."""

    depends_on_state: ClassVar[bool] = False
    solver: Solver
    ratio: int = eqx.field(static=True)
    restrict: Restriction = eqx.field(static=True, default=subsample)

    def start(self, draw: Draw) -> tuple[Float[Array, "1 *fine"], Float[Array, "axis *fine"]]:
        """The fine initial data themselves."""
        return draw.initial, draw.parameters

    def advance(
        self,
        target: tuple[Float[Array, "1 *fine"], Float[Array, "axis *fine"]],
        state: Float[Array, "1 *grid"],
        parameters: Float[Array, "axis *grid"],
    ) -> tuple[Float[Array, "1 *fine"], Float[Array, "axis *fine"]]:
        """``ratio`` fine steps: one coarse step of time."""
        psi, velocity = target
        return self.solver(psi, velocity), velocity

    def observe(self, target: tuple[Float[Array, "1 *fine"], Float[Array, "axis *fine"]]) -> Float[Array, "1 *grid"]:
        """The fine field on the coarse grid (default: every ``ratio``-th point)."""
        return self.restrict(target[0], self.ratio)


class AdvectionDraw(eqx.Module):
    """Independent draws of an initial field ``(1, x, y)`` and a velocity ``(2, x, y)`` on the fine grid."""

    image: Callable[..., Float[Array, "1 *fine"]]
    velocity: Callable[..., Float[Array, "axis *fine"]]

    def __call__(self, *, key: Key[Scalar, ""]) -> Draw:
        """Draw both from ``key``."""
        for_image, for_velocity = jax.random.split(key)
        return Draw(self.image(for_image), self.velocity(for_velocity))


class MixedVelocity(eqx.Module):
    """One of several families of velocities at each draw, all equally likely."""

    families: tuple[Callable[..., Float[Array, "axis *grid"]], ...]

    def __call__(self, key: Key[Scalar, ""]) -> Float[Array, "axis *grid"]:
        """Draw a family, and a velocity of it."""
        for_family, for_velocity = jax.random.split(key)
        which = jax.random.randint(for_family, (), 0, len(self.families), jnp.int32)
        return jax.lax.switch(which, self.families, for_velocity)
