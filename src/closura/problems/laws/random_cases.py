"""Random simulations to train on: initial states on a fine grid, with boundary, spacing and time step."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from closura.core.case import Case, CaseSampler
from closura.initial.condition import ENDS
from closura.problems.laws.law import ConservationLaw

WAVES, KNOTS, FRONTS = 3, 3, 2
"""Numbers of each that are drawn."""
LARGEST_WAVE = 5
STEEPEST = 60.0
"""Largest wave number, and largest ``s`` of a front."""


class RandomProfile(eqx.Module):
    """Draws a profile with values between about -1 and 1, at ``cells`` points ``(i + 1/2) / cells``.

    It is one of these parts, or the sum of two:

    * waves ``sum_m a_m sin(2 pi k_m x + phi_m)`` of a few wave numbers,
    * a broken line: at each of a few knots the value jumps and the slope changes,
    * steep smooth fronts ``b tanh(s (x - x_0))``.

    Conservation laws have no length scale of their own, so grids, sizes and Courant numbers are random through wave
    numbers, slopes and the time step. The named initial conditions of evaluations are single points of this continuum,
    which random draws do not hit.
    """

    cells: int = eqx.field(static=True)

    def __call__(self, *, margin: Float[Array, ""] | float = 0.0, key: PRNGKeyArray) -> Float[Array, " x"]:
        """The profile, float64; constant within ``margin`` of the ends.

        What flows in over an outflow boundary is the value at the edge: grids agree on it where it is constant.
        """
        f64 = jnp.float64
        keys = iter(jax.random.split(key, 12))
        x = jnp.clip((jnp.arange(self.cells, dtype=f64) + 0.5) / self.cells, margin, 1 - margin)
        wave = jax.random.randint(next(keys), (WAVES,), 1, LARGEST_WAVE + 1, dtype=jnp.int32).astype(f64)
        phase = jax.random.uniform(next(keys), (WAVES,), f64)
        size = jax.random.normal(next(keys), (WAVES,), f64) / jnp.sqrt(wave)
        smooth = jnp.sum(size[:, None] * jnp.sin(2 * jnp.pi * (wave[:, None] * x + phase[:, None])), axis=0)

        knot = jax.random.uniform(next(keys), (KNOTS,), f64)
        jump = jax.random.normal(next(keys), (KNOTS,), f64)
        slope = 3 * jax.random.normal(next(keys), (KNOTS + 1,), f64)
        beyond = jnp.maximum(x - knot[:, None], 0)
        # Half of the broken lines are steps: constant between their knots.
        flat = jax.random.bernoulli(next(keys), 0.5)
        ramps = slope[0] * x + jnp.sum(slope[1:, None] * beyond, axis=0)
        broken = jnp.sum(jnp.where(beyond > 0, jump[:, None], 0), axis=0) + jnp.where(flat, 0, ramps)

        where = jax.random.uniform(next(keys), (FRONTS,), f64, 0.1, 0.9)
        steep = 5 * (STEEPEST / 5) ** jax.random.uniform(next(keys), (FRONTS,), f64)
        height = jax.random.normal(next(keys), (FRONTS,), f64)
        front = jnp.sum(height[:, None] * jnp.tanh(steep[:, None] * (x - where[:, None])), axis=0)

        parts = jnp.stack([smooth, broken, front])
        spans = jnp.max(parts, axis=1) - jnp.min(parts, axis=1)
        parts = parts / jnp.maximum(spans, 1e-3)[:, None]
        # One kind alone, or two of them.
        kinds = jnp.asarray([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], f64)
        kind = kinds[jax.random.randint(next(keys), (), 0, 6, dtype=jnp.int32)]
        share = jax.random.uniform(next(keys), (3,), f64, 0.2, 1.0)
        profile = jnp.sum((kind * share)[:, None] * parts, axis=0)
        low, high = jnp.min(profile), jnp.max(profile)
        return (2 * profile - low - high) / jnp.maximum(high - low, 1e-3)


MARGIN = 0.05
"""Share of the domain at each end that is constant at the start where the boundary is outflow."""
PERIODIC, OUTFLOW = ENDS.index("periodic"), ENDS.index("outflow")


class BurgersCases(CaseSampler):
    """A random profile plus an offset, periodic or with outflow; the Courant number of its largest value is random.

    Burgers' equation keeps its form when values are scaled (time then runs faster), so sizes need not vary: only the
    offset, in half sizes of the profile, does.
    """

    profile: RandomProfile
    ratio: int = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)
    offset: float = eqx.field(static=True, default=4.0)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        f64 = jnp.float64
        keys = jax.random.split(key, 5)
        periodic = jax.random.bernoulli(keys[3], 0.5)
        shape = self.profile(margin=jnp.where(periodic, 0.0, MARGIN), key=keys[0])
        # A third of all profiles change sign in the middle, where sonic points sit.
        far = jax.random.uniform(keys[1], (), f64, -self.offset, self.offset)
        offset = jnp.where(jax.random.bernoulli(keys[2], 1 / 3), 0.0, far)
        u = shape + offset
        end = jnp.where(periodic, PERIODIC, OUTFLOW).astype(jnp.int32)
        spacing = jnp.asarray([self.ratio / self.profile.cells], f64)
        courant = jax.random.uniform(keys[4], (), f64, *self.courant)
        step = courant * spacing[0] / jnp.max(jnp.abs(u))
        return Case(u[None], {"spacing": spacing, "ends": end[None], "time_step": step})


class GasCases(CaseSampler):
    """Random states of a gas: density and pressure are exponentials of profiles, the velocity is one in units of c.

    With some probability the profiles of all variables jump at the same places only (shock tubes).
    """

    profile: RandomProfile
    law: ConservationLaw
    ratio: int = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)
    contrast: float = eqx.field(static=True, default=1.6)
    mach: float = eqx.field(static=True, default=1.2)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        f64 = jnp.float64
        keys = iter(jax.random.split(key, 10))
        cells = self.profile.cells
        x = (jnp.arange(cells, dtype=f64) + 0.5) / cells
        which = jax.random.randint(next(keys), (), 0, 4, dtype=jnp.int32)
        margin = jnp.where(which == 0, 0.0, MARGIN)
        general = jnp.stack([self.profile(margin=margin, key=next(keys)) for _ in range(3)])
        # Tubes: two or three constant states.
        knots = jnp.sort(jax.random.uniform(next(keys), (2,), f64, 0.25, 0.75))
        levels = jax.random.uniform(next(keys), (3, 3), f64, -1.0, 1.0)
        two = jax.random.bernoulli(next(keys), 0.6)
        number = jnp.where(two, x > knots[0], (x > knots[0]).astype(jnp.int32) + (x > knots[1])).astype(jnp.int32)
        tube = levels[:, number]
        # Entropy waves ahead of or behind a tube's jump, as a shock meets them.
        wavy = tube.at[0].add(0.5 * general[0] * (x > knots[0]))
        shapes = jnp.where(which == 0, general, jnp.where(which == 1, wavy, tube))
        strength = jax.random.uniform(next(keys), (2,), f64, 0.2, 1.0)
        rho = jnp.exp(self.contrast * strength[0] * shapes[0])
        p = jnp.exp(self.contrast * strength[0] * shapes[2])
        v = self.mach * strength[1] * shapes[1]
        state = self.law.conserved(jnp.stack([rho, v, p]))
        end = jnp.where(which == 0, PERIODIC, OUTFLOW).astype(jnp.int32)
        spacing = jnp.asarray([self.ratio / cells], f64)
        courant = jax.random.uniform(next(keys), (), f64, *self.courant)
        # Waves that meet are faster than those of the initial state: a third of the limit is kept for them.
        step: Float[Array, ""] = courant * spacing[0] / (1.5 * jnp.max(self.law.speed(state, 0)))
        return Case(state, {"spacing": spacing, "ends": end[None], "time_step": step})


class PlaneBurgersCases(CaseSampler):
    """Two dimensions: random profiles along both axes, added, with an offset; both axes end alike."""

    profile: RandomProfile
    ratio: int = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)
    offset: float = eqx.field(static=True, default=3.0)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        f64 = jnp.float64
        keys = jax.random.split(key, 7)
        periodic = jax.random.bernoulli(keys[0], 0.5)
        margin = jnp.where(periodic, 0.0, MARGIN)
        along_x, along_y = (self.profile(margin=margin, key=k) for k in keys[1:3])
        share = jax.random.uniform(keys[3], (), f64)
        offset = jax.random.uniform(keys[4], (), f64, -self.offset, self.offset)
        offset = jnp.where(jax.random.bernoulli(keys[5], 1 / 3), 0.0, offset)
        u = share * along_x[:, None] + (1 - share) * along_y[None, :] + offset
        end = jnp.where(periodic, PERIODIC, OUTFLOW).astype(jnp.int32)
        spacing = jnp.full((2,), self.ratio / self.profile.cells, f64)
        courant = jax.random.uniform(keys[6], (), f64, *self.courant)
        step = courant / jnp.sum(jnp.max(jnp.abs(u)) / spacing)
        return Case(u[None], {"spacing": spacing, "ends": jnp.stack([end, end]), "time_step": step})


class PlaneGasCases(CaseSampler):
    """Two dimensions: four random states in the quadrants of a square, with a wave of density on top; outflow."""

    cells: int = eqx.field(static=True)
    law: ConservationLaw
    ratio: int = eqx.field(static=True)
    courant: tuple[float, float] = eqx.field(static=True)
    contrast: float = eqx.field(static=True, default=1.0)
    mach: float = eqx.field(static=True, default=0.8)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        f64 = jnp.float64
        keys = jax.random.split(key, 6)
        x = (jnp.arange(self.cells, dtype=f64) + 0.5) / self.cells
        middle = jax.random.uniform(keys[0], (2,), f64, 0.35, 0.65)
        right, upper = (x > middle[0]).astype(f64)[:, None], (x > middle[1]).astype(f64)[None, :]
        levels = jax.random.uniform(keys[1], (4, 4), f64, -1.0, 1.0)
        corners = jnp.stack([(1 - right) * (1 - upper), right * (1 - upper), (1 - right) * upper, right * upper])
        fields = jnp.tensordot(levels, corners, axes=1)
        wave = jax.random.randint(keys[2], (2,), 1, 4, dtype=jnp.int32).astype(f64)
        turn = wave[0] * x[:, None] + wave[1] * x[None, :] + jax.random.uniform(keys[3], (), f64)
        ripple = 0.3 * jax.random.uniform(keys[4], (), f64) * jnp.sin(2 * jnp.pi * turn)
        sound = jnp.sqrt(jnp.asarray(1.4, f64))
        primitive = jnp.stack([
            jnp.exp(self.contrast * fields[0] + ripple), self.mach * sound * fields[1], self.mach * sound * fields[2],
            jnp.exp(self.contrast * fields[3]),
        ])  # fmt: skip
        state = self.law.conserved(primitive)
        spacing = jnp.full((2,), self.ratio / self.cells, f64)
        courant = jax.random.uniform(keys[5], (), f64, *self.courant)
        speeds = jnp.stack([jnp.max(self.law.speed(state, axis)) for axis in range(2)])
        ends = jnp.full((2,), OUTFLOW, jnp.int32)
        return Case(state, {"spacing": spacing, "ends": ends, "time_step": courant / (1.5 * jnp.sum(speeds / spacing))})
