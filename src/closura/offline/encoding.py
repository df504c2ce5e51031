r"""Latent vectors of filtered fields by their modes: exact, linear, and every symmetry of the flow a rotation.

A filtered field without divergence and mean consists of the vorticity's modes inside the cut-off: a real and an
imaginary part for every pair k, -k. In units of their size over training data these parts are the latent vector z. A
shift by s along x turns each pair by the angle -k_x s; the flow's discrete symmetries exchange pairs and change signs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.numerics.fourier import velocity_of, vorticity, wavenumbers
from closura.offline.symmetries import Symmetry


class SpectralEncoding(eqx.Module):
    """Between frames of the velocity, ``(2, x, y)``, and latent vectors, ``(latent,)``.

    Waves with ``0 < |k| <= cutoff`` are kept: those of the filter. ``size`` is the root mean square of the vorticity's
    modes over training frames and symmetries, ``(pair,)``, an array without gradient.
    """

    points: int = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    forcing: int = eqx.field(static=True)
    size: tuple[float, ...] = eqx.field(static=True)

    @property
    def latent(self) -> int:
        """Length of a latent vector."""
        return 2 * len(self.pairs(self.points, self.cutoff))

    @staticmethod
    def pairs(points: int, cutoff: float) -> Int[np.ndarray, "pair 2"]:
        """Wavenumbers (k_x, k_y) of one wave of each pair, those with k_y > 0 or k_y = 0 and k_x > 0."""
        if not 1 <= cutoff < points / 2:
            raise ValueError(f"expected a cut-off from 1 to below {points // 2}, what the grid resolves; got {cutoff}")
        reach = int(cutoff)
        found = [
            (kx, ky)
            for ky in range(reach + 1)
            for kx in range(-reach, reach + 1)
            if (ky > 0 or kx > 0) and np.hypot(kx, ky) <= cutoff * (1 + 1e-12)
        ]
        return np.asarray(found)

    @classmethod
    def fitted(cls, frames: Float[np.ndarray, "time 2 x y"], cutoff: float, *, forcing: int = 4) -> "SpectralEncoding":
        """The encoding whose latent numbers have unit size over given frames and all they become by symmetries."""
        points = frames.shape[-1]
        k = cls.pairs(points, cutoff)
        kx, ky = wavenumbers(points)
        modes = np.fft.rfft2(frames.astype(np.float64))
        curl = 1j * (kx * modes[:, 1] - ky * modes[:, 0])
        power = np.mean(np.abs(curl[:, k[:, 0], k[:, 1]]) ** 2, axis=0) / 2
        # The symmetries exchange (k_x, k_y) with (-k_x, k_y): both get the mean of both.
        order = {(a, b): i for i, (a, b) in enumerate(map(tuple, k))}
        partner = [order[(-a, b) if b else (a, b)] for a, b in map(tuple, k)]
        power = (power + power[partner]) / 2
        return cls(
            points, float(cutoff), forcing, tuple(float(s) for s in np.sqrt(np.maximum(power, 1e-12 * power.max())))
        )

    def encode(self, frame: Float[Array, "2 x y"]) -> Float[Array, " latent"]:
        """Latent vector of a frame; what is not inside the cut-off, divergence and mean velocity are left out."""
        k = self.pairs(self.points, self.cutoff)
        modes = vorticity(jnp.fft.rfft2(frame))[k[:, 0], k[:, 1]]
        size = jnp.asarray(self.size, frame.dtype)
        return jnp.concatenate([modes.real / size, modes.imag / size])

    def decode(self, latent: Float[Array, " latent"]) -> Float[Array, "2 x y"]:
        """The frame of a latent vector."""
        k = self.pairs(self.points, self.cutoff)
        size = jnp.asarray(self.size, latent.dtype)
        real, imaginary = jnp.split(latent, 2)
        modes = (real + 1j * imaginary) * size
        n = self.points
        curl = jnp.zeros((n, n // 2 + 1), modes.dtype).at[k[:, 0], k[:, 1]].set(modes)
        # Waves with k_y = 0 stand in the half spectrum beside their conjugates.
        axis = k[:, 1] == 0
        curl = curl.at[-k[axis, 0], 0].set(jnp.conj(modes[axis]))
        return jnp.fft.irfft2(velocity_of(curl), s=(n, n))

    def largest(self, latents: Sequence[Float[np.ndarray, "_ latent"]], room: float = 1.0) -> tuple[float, ...]:
        """Largest modulus of each pair over given vectors and their symmetries, times ``room``, for both its parts."""
        k = self.pairs(self.points, self.cutoff)
        order = {(int(a), int(b)): i for i, (a, b) in enumerate(k)}
        partner = [order[(-a, b) if b else (a, b)] for a, b in order]
        half = len(k)
        modulus = np.max([np.max(np.hypot(z[:, :half], z[:, half:]), axis=0) for z in latents], axis=0)
        modulus = room * np.maximum(modulus, modulus[partner])
        return tuple(float(each) for each in (*modulus, *modulus))

    def velocity_weights(self) -> Float[np.ndarray, " latent"]:
        """Root-mean-square velocity of a latent number of one: squares of weighted latents sum to <|u|^2>."""
        k = self.pairs(self.points, self.cutoff)
        weight = np.sqrt(2.0) * np.asarray(self.size) / np.hypot(k[:, 0], k[:, 1]) / self.points**2
        return np.concatenate([weight, weight])

    def turns(self) -> Float[np.ndarray, "element latent latent"]:
        """Matrices of all products of slides and half turns, which act on latent vectors as on frames."""
        k = self.pairs(self.points, self.cutoff)
        # On the smallest grid that has all waves and whole slides: made once, on the host.
        least = 2 * int(self.cutoff) + 2
        n = -(-least // (2 * self.forcing)) * 2 * self.forcing
        small = SpectralEncoding(n, self.cutoff, self.forcing, self.size)
        with jax.ensure_compile_time_eval():
            frames = np.asarray(jax.vmap(small.decode)(jnp.eye(2 * len(k), dtype=jnp.float32)))
            encode = jax.jit(jax.vmap(small.encode))
            return np.stack(
                [
                    np.asarray(encode(jnp.asarray(Symmetry(0, m, r, forcing=self.forcing)(frames)))).T
                    for m in range(2 * self.forcing)
                    for r in range(2)
                ]
            )

    def shift(self, latent: Float[Array, "*time latent"], distance: Float[Array, ""]) -> Float[Array, "*time latent"]:
        """Latent vectors of fields shifted by any distance along x, in units of length."""
        k = self.pairs(self.points, self.cutoff)
        angle = -jnp.asarray(k[:, 0], latent.dtype) * distance
        real, imaginary = jnp.split(latent, 2, axis=-1)
        c, s = jnp.cos(angle), jnp.sin(angle)
        return jnp.concatenate([c * real - s * imaginary, s * real + c * imaginary], axis=-1)

    def place(self, latent: Float[Array, " latent"]) -> Float[Array, ""]:
        """Where along x the flow stands: the shift that makes the largest wave with k_x = 1 real and positive.

        Undoing it takes the continuous symmetry out of whatever is learned: the method of slices (``slices``).
        """
        k = self.pairs(self.points, self.cutoff)
        energy = np.where(k[:, 0] == 1, np.asarray(self.size) / np.hypot(k[:, 0], k[:, 1]), -1.0)
        largest = int(np.argmax(energy))
        return jnp.arctan2(latent[len(k) + largest], latent[largest])

    def plain(self) -> dict[str, Any]:
        """All settings, as JSON knows them."""
        return {"points": self.points, "cutoff": self.cutoff, "forcing": self.forcing, "size": list(self.size)}

    @staticmethod
    def from_plain(plain: Mapping[str, Any]) -> "SpectralEncoding":
        """Of a description that :meth:`plain` gave."""
        return SpectralEncoding(plain["points"], plain["cutoff"], plain["forcing"], tuple(plain["size"]))


def random_move(
    encoding: SpectralEncoding,
    turns: Float[Array, "element latent latent"],
    windows: Float[Array, "time latent"],
    *,
    key: PRNGKeyArray,
) -> Float[Array, "time latent"]:
    """A window of latent vectors, moved as one by a random symmetry: any shift, slide and half turn."""
    which, how_far = jax.random.split(key)
    chosen = turns[jax.random.randint(which, (), 0, turns.shape[0], jnp.int32)]
    distance = jax.random.uniform(how_far, (), windows.dtype, 0.0, 2 * np.pi)
    return encoding.shift(windows @ chosen.T, distance)
