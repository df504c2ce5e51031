"""Stationary, divergence-free velocity fields for advection and Burgers problems, drawn inside compiled code.

All have ``|u|, |v| <= 1`` and are ``(component, x, y)`` on the unit square with component 0 along x.

Published families (code of Closure-RL, arXiv 2402.00972), on ``linspace(0, 1, N)`` with both end points, so
that the last point repeats the first one's place, and not periodic where a wavenumber is odd:

* ``train``: ``u = (t_u + sum_k s_k sin(pi k x) cos(pi k y)) / (n + 1)``,
  ``v = (t_v - sum_k s_k cos(pi k x) sin(pi k y)) / (n + 1)``, n in 1..4, n distinct k of {1..5}, s_k = +-1,
  t_u, t_v from U(-1, 1).
* ``train2``: the same without t_u, t_v; n in 2..4, k of {2, 4, 6, 8}: 72 fields in all, shared by training
  and evaluation.
* ``vortex``: ``u = s a sin^2(pi x) sin(2 pi y)``, ``v = -s a sin^2(pi y) sin(2 pi x)``, s = +-1, a from
  U(0.5, 1).

The paper states another ``train`` family: ``u = t_u + sum_k s_k cos(k x) sin(k y)``,
``v = t_v - sum_k s_k sin(k x) cos(k y)``, k in 1..6, without pi and without ``1 / (n + 1)``. It reaches ``|u|
= 5``, where the published time step breaks the CFL condition; the code's family made the published numbers.

Ours (the default) are periodic, on grid points ``i / N``.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Real

Velocity = Float[Array, "2 x y"]
_MODES = 4  # largest number of modes in every family


def _points(n: int, endpoint: bool) -> np.ndarray:
    return np.linspace(0.0, 1.0, n, endpoint=endpoint)


def _sin_pi(turns: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """``sin(pi turns)``, reduced to one period first, which keeps float32 accurate for large ``turns``."""
    return jnp.sin(jnp.asarray(np.pi, turns.dtype) * (turns - 2 * jnp.round(turns / 2)))


def train_field(
    shape: tuple[int, int],
    wavenumbers: Real[Array, "mode"],
    signs: Real[Array, "mode"],
    *,
    translation: Real[Array, "2"] | tuple[float, float] = (0.0, 0.0),
    active: Real[Array, "mode"] | None = None,
    phase: Real[Array, "mode 2"] | None = None,
    endpoint: bool = False,
    dtype: jnp.dtype | type = jnp.float32,
) -> Velocity:
    """The field of the published ``train`` formula for given parameters, with an optional shift of each mode.

    ``u = (t_u + sum_k s_k sin(pi k (x - x_k)) cos(pi k (y - y_k))) / (n + 1)``, ``v = (t_v - sum_k s_k cos(pi k (x -
    x_k)) sin(pi k (y - y_k))) / (n + 1)``, n the number of active modes. The field is periodic if all k are even.
    ``endpoint``: on the published points ``i / (N - 1)`` instead of ``i / N``.
    """
    k = jnp.asarray(wavenumbers, dtype)
    active = jnp.ones_like(k) if active is None else jnp.asarray(active, dtype)
    amplitude = jnp.asarray(signs, dtype) * active
    drift = jnp.asarray(translation, dtype)
    phase = jnp.zeros((*k.shape, 2), dtype) if phase is None else jnp.asarray(phase, dtype)
    half = jnp.asarray(0.5, dtype)

    # sin(pi k x) cos(pi k y) is a product: N sines per mode and axis instead of N x N, then one small GEMM.
    turns_x, turns_y = (
        k[:, None] * (jnp.asarray(_points(n, endpoint), dtype)[None, :] - phase[:, axis, None])
        for axis, n in enumerate(shape)
    )
    with jax.default_matmul_precision("highest"):
        u = (amplitude[:, None] * _sin_pi(turns_x)).T @ _sin_pi(turns_y + half)
        v = (amplitude[:, None] * _sin_pi(turns_x + half)).T @ _sin_pi(turns_y)
    return jnp.stack([drift[0] + u, drift[1] - v]) / (jnp.sum(active) + 1)


def vortex_field(
    shape: tuple[int, int],
    amplitude: Real[Array, ""] | float,
    *,
    endpoint: bool = False,
    dtype: jnp.dtype | type = jnp.float32,
) -> Velocity:
    """One vortex: ``u = a sin^2(pi x) sin(2 pi y)``, ``v = -a sin^2(pi y) sin(2 pi x)``.

    A positive amplitude turns clockwise with y upwards. ``endpoint``: as in :func:`train_field`.
    """
    x, y = (_points(n, endpoint) for n in shape)  # known when compiled: in float64, then rounded once
    profiles = (np.sin(np.pi * x) ** 2, np.sin(2 * np.pi * y), np.sin(2 * np.pi * x), np.sin(np.pi * y) ** 2)
    square_x, double_y, double_x, square_y = (jnp.asarray(profile, dtype) for profile in profiles)
    field = jnp.stack([square_x[:, None] * double_y[None, :], -double_x[:, None] * square_y[None, :]])
    return jnp.asarray(amplitude, dtype) * field


def _signs(key: PRNGKeyArray, n: int) -> Float[Array, "n"]:
    return 2.0 * jax.random.bernoulli(key, shape=(n,)).astype(jnp.float32) - 1.0


def _active(key: PRNGKeyArray, fewest: int) -> Float[Array, "mode"]:
    count = jax.random.randint(key, (), fewest, _MODES + 1, dtype=jnp.int32)
    return (jnp.arange(_MODES, dtype=jnp.int32) < count).astype(jnp.float32)


class TrainVelocity(eqx.Module):
    """The ``train`` families: those of Closure-RL's code, not periodic, and periodic relatives on points ``i / N``.

    The relatives have the same formula, number of modes and amplitudes, with two changes. Wavenumbers are even, which
    makes every field periodic; {2, 4} keeps the published ``train`` family's steepness (mean k^2 is 10, there 11; the
    shortest wavelength 2 / k is 1/2, there 2/5). Every mode has a random phase in x and y and its wavenumber is drawn
    independently, so that a field hardly ever comes twice where 72 (``train2``) or a few hundred sets of modes
    (``train``) would: held-out fields are new ones. The phase makes the sign superfluous. Parameters are drawn in
    float32, so that one key draws the same field in any type.

    Parameters
    ----------
    wavenumbers
        k to draw from; even ones where the field is periodic.
    fewest
        Least number of modes (the largest is 4): 1 for ``train``, 2 for ``train2``.
    translate
        Whether to add the constant ``(t_u, t_v) / (n + 1)``.
    published
        The published points ``i / (N - 1)``, distinct wavenumbers and random signs without phases.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    wavenumbers: tuple[int, ...] = eqx.field(static=True, kw_only=True, default=(2, 4))
    fewest: int = eqx.field(static=True, kw_only=True, default=1)
    translate: bool = eqx.field(static=True, kw_only=True, default=True)
    published: bool = eqx.field(static=True, kw_only=True, default=False)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __check_init__(self) -> None:
        odd = any(k <= 0 or k % 2 for k in self.wavenumbers)
        if not self.wavenumbers or (odd and not self.published):
            raise ValueError(f"periodic fields need even positive wavenumbers; got {self.wavenumbers}")
        if not 1 <= self.fewest <= _MODES:
            raise ValueError(f"expected fewest between 1 and {_MODES}, got {self.fewest}")

    def __call__(self, key: PRNGKeyArray) -> Velocity:
        return self.grouped(key)[0]

    def grouped(self, key: PRNGKeyArray) -> tuple[Velocity, Int[Array, ""]]:
        """Draw a field, and the index in :data:`TRAIN2_SETS` of its set of wavenumbers (0 in other families)."""
        for_count, for_wavenumbers, for_modes, *rest = jax.random.split(key, 4 if self.translate else 3)
        choices, active = jnp.asarray(self.wavenumbers, jnp.float32), _active(for_count, self.fewest)
        if self.published:
            wavenumbers = jax.random.permutation(for_wavenumbers, choices)[:_MODES]
            signs, phase = _signs(for_modes, _MODES), None
        else:
            drawn = jax.random.randint(for_wavenumbers, (_MODES,), 0, len(self.wavenumbers), dtype=jnp.int32)
            wavenumbers, signs = choices[drawn], jnp.ones((_MODES,), jnp.float32)
            phase = jax.random.uniform(for_modes, (_MODES, 2), jnp.float32)
        translation = jax.random.uniform(rest[0], (2,), jnp.float32, -1.0, 1.0) if rest else (0.0, 0.0)
        field = train_field(
            self.shape, wavenumbers, signs, translation=translation, active=active, phase=phase,
            endpoint=self.published, dtype=self.dtype,
        )  # fmt: skip
        bits = jnp.sum(active * 2.0 ** (wavenumbers / 2 - 1)).astype(jnp.int32)
        known = jnp.asarray([sum(1 << (k // 2 - 1) for k in found) for found in TRAIN2_SETS], jnp.int32)
        return field, jnp.argmax(known == bits).astype(jnp.int32)


TRAIN2_SETS: tuple[tuple[int, ...], ...] = tuple(
    sorted(
        (tuple(k for k in (2, 4, 6, 8) if bits >> (k // 2 - 1) & 1) for bits in range(16) if bits.bit_count() >= 2),
        key=lambda found: (len(found), found),
    )
)
"""The sets of wavenumbers that ``train2`` draws: six pairs (1/18 each), four triples (1/12 each), all (1/3)."""


class VortexVelocity(eqx.Module):
    """The ``vortex`` family: one vortex of random sense and of amplitude from U(0.5, 1)."""

    shape: tuple[int, int] = eqx.field(static=True)
    endpoint: bool = eqx.field(static=True, kw_only=True, default=False)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __call__(self, key: PRNGKeyArray) -> Velocity:
        key_sign, key_amplitude = jax.random.split(key)
        amplitude = jax.random.uniform(key_amplitude, (), jnp.float32, 0.5, 1.0)
        return vortex_field(self.shape, _signs(key_sign, 1)[0] * amplitude, endpoint=self.endpoint, dtype=self.dtype)


VelocitySampler = TrainVelocity | VortexVelocity
VELOCITIES: tuple[str, ...] = ("train", "vortex", "train2")


def make_velocity(
    name: str, shape: tuple[int, int], *, published: bool, dtype: jnp.dtype | type = jnp.float32
) -> VelocitySampler:
    """The sampler of a family of velocities; ``published``: that of the published code, else its periodic relative."""
    if name == "vortex":
        return VortexVelocity(shape, endpoint=published, dtype=dtype)
    if name == "train":
        wavenumbers = (1, 2, 3, 4, 5) if published else (2, 4)
        return TrainVelocity(shape, wavenumbers=wavenumbers, published=published, dtype=dtype)
    if name == "train2":
        return TrainVelocity(
            shape, wavenumbers=(2, 4, 6, 8), fewest=2, translate=False, published=published, dtype=dtype
        )
    raise ValueError(f"unknown velocity {name!r}; valid: {', '.join(VELOCITIES)}")


class RandomWaves(eqx.Module):
    """Smooth periodic vector fields from a few random waves: a continuous family, so that held-out means new.

        u(x) = sum_m a_m e_m cos(2 pi (k_m . x) + phi_m),      k_m a vector of integers, e_m a unit vector,

    scaled to a random size, at points ``i / N`` of the unit square. Fields are anisotropic, and hardly ever come twice
    (the published family of Burgers, ``train2``, has 72 members). Parameters are drawn in float32, so that one key
    draws the same field in any type.

    Parameters
    ----------
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
