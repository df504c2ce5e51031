"""Smooth periodic vector fields from a few random waves: a continuous family, so that held-out means new.

    u(x) = sum_m a_m e_m cos(2 pi (k_m . x) + phi_m),      k_m a vector of integers, e_m a unit vector,

scaled to a random size. Wave vectors, directions, amplitudes, phases and size are all random: fields are
anisotropic, and hardly ever come twice (the published family of Burgers, ``train2``, has 72 members).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

Velocity = Float[Array, "2 x y"]


class RandomWaves(eqx.Module):
    """Draws a vector field from a few plane waves.

    Parameters
    ----------
    shape
        Number of points along x and y, at ``i / N`` of the unit square.
    waves
        Least and largest number of waves.
    largest
        Wave numbers along each axis are integers from ``-largest`` to ``largest``, not both zero (the published
        family reaches 4).
    compression
        How far directions stray from being normal to the wave vector: 0 gives divergence-free fields (as the
        published ones), 1 any direction.
    size
        Range, uniform, of ``max |u| + max |v|``: what bounds the Courant number of a field, for all time, since
        each component of Burgers' equation obeys a maximum principle.
    dtype
        Type of the field. Parameters are drawn in float32, so that one key draws the same field in any type.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    waves: tuple[int, int] = eqx.field(static=True, kw_only=True, default=(3, 8))
    largest: int = eqx.field(static=True, kw_only=True, default=4)
    compression: float = eqx.field(static=True, kw_only=True, default=0.5)
    size: tuple[float, float] = eqx.field(static=True, kw_only=True, default=(0.4, 1.2))
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __check_init__(self) -> None:
        if not 1 <= self.waves[0] <= self.waves[1] or self.largest < 1:
            raise ValueError(
                f"need 1 <= waves and a largest wave number of at least 1; got {self.waves} and {self.largest}"
            )
        if not 0 <= self.compression <= 1:
            raise ValueError(f"compression lies between 0 and 1; got {self.compression}")
        if not 0 < self.size[0] <= self.size[1]:
            raise ValueError(f"expected a range of positive sizes; got {self.size}")

    def __call__(self, key: PRNGKeyArray) -> Velocity:
        """Draw a field ``(2, x, y)``."""
        keys = jax.random.split(key, 6)
        fewest, most = self.waves
        f32 = jnp.float32
        count = jax.random.randint(keys[0], (), fewest, most + 1, dtype=jnp.int32)
        active = (jnp.arange(most, dtype=jnp.int32) < count).astype(f32)
        # All wave vectors but zero, by a number that skips it.
        side = 2 * self.largest + 1
        number = jax.random.randint(keys[1], (most,), 0, side * side - 1, dtype=jnp.int32)
        number = number + (number >= side * side // 2)
        wave = jnp.stack([number // side, number % side]) - self.largest
        turn = jax.random.uniform(keys[2], (2, most), f32)
        amplitude = active * jax.random.normal(keys[3], (most,), f32)
        normal = jnp.arctan2(wave[0].astype(f32), -wave[1].astype(f32))
        direction = normal + self.compression * np.pi * (turn[0] - 0.5)
        weight = jnp.stack([amplitude * jnp.cos(direction), amplitude * jnp.sin(direction)]).astype(self.dtype)
        x, y = (jnp.arange(n, dtype=self.dtype) / n for n in self.shape)
        # cos(a + b) = cos a cos b - sin a sin b: sines per axis instead of per point.
        along_x = self._turns(wave[0], x) + turn[1].astype(self.dtype)[:, None]
        along_y = self._turns(wave[1], y)
        tau = jnp.asarray(2 * np.pi, self.dtype)
        with jax.default_matmul_precision("highest"):
            even = jnp.einsum("cm,mx,my->cxy", weight, jnp.cos(tau * along_x), jnp.cos(tau * along_y))
            odd = jnp.einsum("cm,mx,my->cxy", weight, jnp.sin(tau * along_x), jnp.sin(tau * along_y))
        field = even - odd
        largest = jnp.sum(jnp.max(jnp.abs(field), axis=(1, 2)))
        size = jax.random.uniform(keys[4], (), f32, *self.size).astype(self.dtype)
        return field * (size / jnp.maximum(largest, jnp.finfo(self.dtype).tiny))

    def _turns(self, wave: Array, x: Array) -> Float[Array, "wave x"]:
        """``k x`` modulo one, which keeps float32 accurate."""
        turns = wave.astype(self.dtype)[:, None] * x[None]
        return turns - jnp.round(turns)
