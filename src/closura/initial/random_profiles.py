r"""Random one-dimensional profiles to train on: waves, ramps, jumps and steep fronts, hardly ever twice the same.

A profile on the unit interval is the sum of

* waves ``sum_m a_m sin(2 pi k_m x + phi_m)`` of a few wave numbers,
* a broken line: at each of a few knots the value jumps and the slope changes,
* steep smooth fronts ``b tanh(s (x - x_0))``,

of which each profile has some. Conservation laws have no length scale of their own, so grids, sizes and Courant
numbers are random through wave numbers, slopes and the time step. The named initial conditions of evaluations are
single points of this continuum, which random draws do not hit.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

WAVES, KNOTS, FRONTS = 3, 3, 2
"""Numbers of each that are drawn."""
LARGEST_WAVE = 5
STEEPEST = 60.0
"""Largest wave number, and largest ``s`` of a front."""


class RandomProfile(eqx.Module):
    """Draws a profile with values between about -1 and 1.

    Parameters
    ----------
    cells
        Number of points, at ``(i + 1/2) / cells``.
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
