"""Passive advection on a coarse grid against a finer one (Closure-RL, section 4.1).

    d psi / dt + u d psi / dx + v d psi / dy = 0,      psi in [0, 1], |u|, |v| <= 1, unit square, periodic.

* coarse (CGS): first-order upwind differences, forward Euler, 64 x 64 points, dt = 0.25 dx;
* reference (FGS): second-order central differences, RK4, ``ratio`` times finer in space and time, subsampled;
* the closure sees (psi, u, v) and answers with a forcing A per cell: psi <- G(clip(psi - clip(A))).

This form does not conserve the total of psi: upwind differences never do, central ones only on their own grid and
with periodic velocities. :mod:`closura.problems.flux_form` has a solver that does;
:mod:`closura.problems.actions` has actions that add nothing themselves, whatever the solver does.

Source: J.-P. von Bassewitz, S. Kaltenbach, P. Koumoutsakos, "Closure Discovery for Coarse-Grained Partial
Differential Equations Using Grid-based Reinforcement Learning", CPAL 2025 (arXiv:2402.00972).
"""

import abc
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from operator import add
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case, CaseSampler
from closura.core.solver import Closure, Solver
from closura.core.transfer import transfer
from closura.grids import Grid
from closura.numerics import Scheme, advective_derivative, courant_limit, get_integrator, get_scheme, pad_all
from closura.problems.actions import ActionForm, correction
from closura.problems.reference import Step

STATE_BOUND = 3.0
"""The published code clips the state that an action has made to [-3, 3]; the paper does not mention it.

A safety net for fields in [0, 1]: where it acts, it changes totals whatever the form of the action.
"""

Psi = Float[Array, "component *grid"]
Velocity = Float[Array, "axis *grid"]


def linear_factors(integrator: str, step: Step) -> tuple[Step, ...]:
    """``f_1 .. f_s`` of a step ``q + f_s T(q + f_{s-1} T( .. q + f_1 T(q)))``, T a linear and steady tendency.

    A Runge-Kutta step is then a polynomial of T, here by Horner's rule: it holds two fields where general stages
    hold four, which halves the time.
    """
    c = get_integrator(integrator).stability_polynomial
    return tuple(step * c[k] / c[k - 1] for k in range(len(c) - 1, 0, -1))


def linear_step(tendency: Callable[[Array], Array], psi: Psi, factors: tuple[Step, ...]) -> Psi:
    """One step of a linear and steady tendency with the factors of :func:`linear_factors`."""
    if len(factors) == 1:
        return psi + factors[0] * tendency(psi)

    def stage(q: Array, factor: Array) -> tuple[Array, None]:
        return psi + factor * tendency(q), None

    # In a loop: unrolled, XLA on CPU merges neighbouring stages and computes each of them many times.
    return jax.lax.scan(stage, psi, jnp.asarray(factors, psi.dtype))[0]


class PassiveScalar(Solver):
    """A field ``psi (1, x, y)`` in a stationary velocity ``(2, x, y)``, its parameters.

    A closure observes ``(psi, u, v)`` in float32 and corrects the field before a step: ``psi <- clip(psi - A, -3, 3)``.

    Parameters
    ----------
    grid, scheme, integrator
        Differences of the first derivatives, and the Runge-Kutta method.
    action
        How the answer becomes ``A``: as it is (published), without its mean, or as fluxes through faces; see
        :func:`~closura.problems.actions.correction`.
    """

    grid: Grid = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    integrator: str = eqx.field(static=True)
    action: ActionForm = eqx.field(static=True, default="forcing", kw_only=True)
    steady: ClassVar[bool] = True

    @abc.abstractmethod
    def tendency(self, psi: Psi, velocity: Velocity) -> Psi:
        """Time derivative of psi."""

    def alone(self) -> "PassiveScalar":
        """Without the form of the action."""
        return replace(self, action="forcing")

    @property
    def courant_limit(self) -> float:
        """That of a uniform flow."""
        return courant_limit(self.scheme, self.integrator)

    def rate(self, state: Psi, parameters: Velocity) -> Float[Array, ""]:
        """``max (|u| / dx + |v| / dy)``."""
        return jnp.max(sum(jnp.abs(u) / h for u, h in zip(parameters, self.grid.spacing, strict=True)))

    def observe(self, state: Psi, parameters: Velocity) -> Float[Array, "observation *grid"]:
        """``(psi, u, v)`` in float32, unscaled."""
        return jnp.concatenate([state, parameters]).astype(jnp.float32)

    def correct(self, state: Psi, parameters: Velocity, dt: Step, action: Float[Array, "action *grid"]) -> Psi:
        """Subtract what the action means, and clip."""
        change = correction(action.astype(state.dtype), self.action)
        return jnp.clip(state - change, -STATE_BOUND, STATE_BOUND)

    def advance(self, state: Psi, parameters: Velocity, dt: Step) -> Psi:
        return linear_step(lambda q: self.tendency(q, parameters), state, linear_factors(self.integrator, dt))


class AdvectionSolver(PassiveScalar):
    """``psi' = psi - dt (u . grad) psi`` by a scheme and an integrator.

    Initial fields on a finer grid are taken at its points; on a grid that is no part of theirs, psi is interpolated
    linearly and the velocity cubically, not across its seam where it has one.

    With ``published_boundary`` the last point along an axis takes, where the velocity is not positive, the
    difference ``psi_0 - psi_{N-2}`` over one spacing, as the published upwind code does (two cells wide: an
    oversight); otherwise ``psi_0 - psi_{N-1}``. Only meaningful with ``upwind1``.
    """

    published_boundary: bool = eqx.field(static=True, default=False, kw_only=True)
    seam: bool = eqx.field(static=True, default=False, kw_only=True)

    def init(self, case: Case) -> tuple[Psi, Velocity]:
        velocity = transfer(case.parameters, self.grid, kind="cubic", seam=self.seam)
        return transfer(case.initial, self.grid, kind="linear"), velocity

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

    def advance(self, state: Psi, parameters: Velocity, dt: Step) -> Psi:
        return self.march(state, parameters, dt, 1)

    def march(self, state: Psi, parameters: Velocity, dt: Step, steps: int, closure: Closure | None = None) -> Psi:
        """Several steps; centred schemes on periodic grids get the ghost points of all stages at once."""
        scheme = self._fast
        if closure is not None or (scheme is None and steps > 1):
            found: Array = super().march(state, parameters, dt, steps, closure)
            return found
        if scheme is None:
            return super().advance(state, parameters, dt)
        factors = linear_factors(self.integrator, dt)
        # Ghost points of the velocity for all stages but the last, made once.
        velocity = pad_all(parameters, scheme.radius * (len(factors) - 1), self.grid.boundary)
        if steps == 1:
            return self._centred_step(state, velocity, factors)
        return jax.lax.scan(lambda q, _: (self._centred_step(q, velocity, factors), None), state, None, length=steps)[0]

    @property
    def _fast(self) -> Scheme | None:
        """The scheme, if the short cut may be used."""
        scheme = get_scheme(self.scheme)
        periodic = set(self.grid.boundary) == {"periodic"} and not self.published_boundary
        return scheme if isinstance(scheme, Scheme) and not scheme.upwind and periodic else None

    def _centred_step(self, psi: Psi, velocity: Float[Array, "axis *padded"], factors: tuple[Step, ...]) -> Psi:
        """One step with a centred scheme on a periodic grid: the fine solver's.

        The field gets ghost points for all stages at once, and each stage uses up some of them. Padding
        before every stage copies fields four times as often: a quarter of the time, half of it for batches.
        """
        scheme = self._fast
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


class AdvectionCases(CaseSampler):
    """Independent draws of an initial field ``(1, x, y)`` and a velocity ``(2, x, y)`` on the fine grid."""

    image: Callable[..., Float[Array, "1 *fine"]]
    velocity: Callable[..., Float[Array, "axis *fine"]]

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        for_image, for_velocity = jax.random.split(key)
        return Case(self.image(for_image), self.velocity(for_velocity))


class MixedVelocity(eqx.Module):
    """One of several families of velocities at each draw, all equally likely."""

    families: tuple[Callable[..., Float[Array, "axis *grid"]], ...]

    def __call__(self, key: Key[Scalar, ""]) -> Float[Array, "axis *grid"]:
        for_family, for_velocity = jax.random.split(key)
        which = jax.random.randint(for_family, (), 0, len(self.families), jnp.int32)
        return jax.lax.switch(which, self.families, for_velocity)
