"""The published autoencoder of filtered frames: dense layers down to the mean and variance of 64 latents, and back.

Both components at all points, ``[u | v]``, pass through 512, 256 and 128 units to the latents, with ReLU between, none
after the last; two linear layers beside each other give mean and logarithm of the variance. The decoder mirrors it. No
convolution, no periodicity, and answers may have divergence.

Two variants were published: "big" (8 751 040 weights on 64 points; the one in use) and "deep" with one more layer of 64
units on either side of the latents (8 759 360). Published but without effect there: a dropout layer that is never
applied, and an option for a linear autoencoder.

Source: the repository that accompanies Zighed, Thome, Gallinari & Sayadi (2025), "Scale Separation and Stochastic
Closure for Chaotic Dynamics", arXiv 2510.24583; formulas and sizes only.
"""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.numerics.fourier import refine, resolved, restrict_spectrally
from closura.offline.transformer import linear

Variant = Literal["big", "deep"]
DEEP_UNITS = 64
"""Units of the additional layers of the deep variant."""


class DenseLayers(eqx.Module):
    """Dense layers down to the mean and variance of latents, and back up; ReLU between layers, none after the last."""

    down: tuple[eqx.nn.Linear, ...]
    mean: eqx.nn.Linear
    logarithm: eqx.nn.Linear
    up: tuple[eqx.nn.Linear, ...]

    @staticmethod
    def layers(sizes: Sequence[int], *, key: PRNGKeyArray) -> dict[str, Any]:
        """All of them by name, of the numbers of the input, the hidden units and the latents."""
        down, up, mean, logarithm = jax.random.split(key, 4)
        latent = sizes[-1]
        return {
            "down": _layers(sizes, key=down),
            "mean": linear(latent, latent, key=mean),
            "logarithm": linear(latent, latent, key=logarithm),
            "up": _layers(sizes[::-1], key=up),
        }

    def distribution_of(self, x: Float[Array, " number"]) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean of the latents and logarithm of their variance."""
        h = _through(self.down, x)
        return self.mean(h), self.logarithm(h)

    def numbers_of(self, latent: Float[Array, " latent"]) -> Float[Array, " number"]:
        """What latents stand for."""
        return _through(self.up, latent)


class DenseAutoencoder(DenseLayers):
    """Between frames of ``points`` per side and latents (their number is the published num_obs).

    Layers work on ``working_points`` per side; fewer lose nothing where these resolve the frames' waves. ``widths`` are
    the units of the encoder's hidden layers, which the decoder mirrors; "deep" has one more layer on either side of the
    latents. Weights begin uniform in +- 1 / sqrt(inputs), PyTorch's default.
    """

    points: int = eqx.field(static=True)
    working_points: int = eqx.field(static=True)
    widths: tuple[int, ...] = eqx.field(static=True)
    variant: Variant = eqx.field(static=True)

    def __init__(
        self,
        points: int,
        *,
        working_points: int = 0,
        widths: tuple[int, ...] = (512, 256, 128),
        latent: int = 64,
        variant: Variant = "big",
        key: PRNGKeyArray,
    ) -> None:
        self.points, self.working_points = points, working_points or points
        self.widths, self.variant = tuple(widths), variant
        if not 0 < self.working_points <= points:
            raise ValueError(f"layers work on 1 to {points} points; got {working_points}")
        inner = [2 * self.working_points**2, *widths, *([DEEP_UNITS] if variant == "deep" else [])]
        layers = self.layers((*inner, latent), key=key)
        self.down, self.mean, self.logarithm, self.up = (layers[name] for name in ("down", "mean", "logarithm", "up"))

    def encode(self, work: Float[Array, "2 X Y"]) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean of the latents, and logarithm of their variance, of a frame on the working grid."""
        return self.distribution_of(work.reshape(-1))

    def decode(self, latent: Float[Array, " latent"]) -> Float[Array, "2 X Y"]:
        """The frame of latents, on the working grid."""
        return self.numbers_of(latent).reshape(2, self.working_points, self.working_points)

    def to_work(self, frame: Float[Array, "2 x y"]) -> Float[Array, "2 X Y"]:
        """A frame on the working grid: the waves that it resolves."""
        return frame if self.points == self.working_points else restrict_spectrally(frame, self.working_points)

    def to_data(self, work: Float[Array, "2 X Y"]) -> Float[Array, "2 x y"]:
        """A frame of the working grid on that of the data."""
        if self.points == self.working_points:
            return work
        modes = jnp.fft.rfft2(work) * jnp.asarray(resolved(self.working_points), work.dtype)
        return jnp.fft.irfft2(refine(modes, self.points), s=(self.points, self.points))


def _layers(sizes: Sequence[int], *, key: PRNGKeyArray) -> tuple[eqx.nn.Linear, ...]:
    keys = jax.random.split(key, len(sizes) - 1)
    return tuple(linear(a, b, key=k) for (a, b), k in zip(itertools.pairwise(sizes), keys, strict=True))


def _through(layers: tuple[eqx.nn.Linear, ...], x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
    for layer in layers[:-1]:
        x = jax.nn.relu(layer(x))
    return layers[-1](x)
