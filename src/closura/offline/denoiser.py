"""What brings long runs back to the flow: a network that guesses which state of the flow a disturbed one came from.

The best guess of z from z + sigma * noise is the disturbed state moved along the score of the flow's (smoothed)
distribution [Vincent2011]. Where states of the flow lie close together, across the narrow range of their energy, say,
it moves a stray state back; along the directions in which they are spread out it moves next to nothing. A part of that
move at every step keeps errors from piling up over thousands of steps, as in [Pedersen2025], and leaves forecasts as
they are.

.. code-block:: bibtex

    @article{Vincent2011,
      title = {A connection between score matching and denoising autoencoders}, author = {Vincent, Pascal},
      journal = {Neural Computation}, volume = {23}, pages = {1661--1674}, year = {2011},
      doi = {10.1162/NECO_a_00142}
    }
    @misc{Pedersen2025,
      title = {Thermalizer: Stable autoregressive neural emulation of spatiotemporal chaos},
      author = {Pedersen, Christian and Zanna, Laure and Bruna, Joan}, year = {2025},
      eprint = {2503.18731}, archiveprefix = {arXiv}
    }
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.encoding import SpectralEncoding
from closura.offline.transformer import linear

SIZES = (0.02, 0.5)
"""Smallest and largest disturbance in training, in units of the latent numbers' size."""


class Denoiser(eqx.Module):
    """Residual layers on a latent vector, in the place along x that the encoding fixes, and the log of the noise."""

    first: eqx.nn.Linear
    inner: tuple[eqx.nn.Linear, ...]
    last: eqx.nn.Linear

    def __init__(self, latent: int, *, width: int = 256, layers: int = 2, key: PRNGKeyArray) -> None:
        first, last, *inner = jax.random.split(key, layers + 2)
        self.first = linear(latent + 1, width, key=first)
        self.inner = tuple(linear(width, width, key=k) for k in inner)
        self.last = linear(width, latent, key=last)

    def __call__(
        self, latent: Float[Array, " latent"], size: Float[Array, ""], encoding: SpectralEncoding
    ) -> Float[Array, " latent"]:
        """The guess for a latent vector disturbed by noise of a size."""
        place = encoding.place(latent)
        there = encoding.shift(latent, place)
        h = self.first(jnp.concatenate([there, jnp.log(size)[None]]))
        for layer in self.inner:
            h = h + layer(jax.nn.silu(h))
        return encoding.shift(there + size * self.last(jax.nn.silu(h)), -place)


def denoising_error(
    denoiser: Denoiser, latents: Float[Array, "sample latent"], encoding: SpectralEncoding, *, key: PRNGKeyArray
) -> Float[Array, ""]:
    """Mean squared error of guesses, in units of the disturbance, over sizes that are uniform in the logarithm."""
    sizes, noise = jax.random.split(key)
    low, high = np.log(SIZES[0]), np.log(SIZES[1])
    size = jnp.exp(jax.random.uniform(sizes, latents.shape[:1], latents.dtype, low, high))
    disturbed = latents + size[:, None] * jax.random.normal(noise, latents.shape, latents.dtype)
    guesses = jax.vmap(lambda z, s: denoiser(z, s, encoding))(disturbed, size)
    return jnp.mean(jnp.square((guesses - latents) / size[:, None]))
