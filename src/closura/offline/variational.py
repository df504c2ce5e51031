"""A conditional variational autoencoder of what is missing, given the filtered field.

The residual is ``decoder(filtered, z) + noise`` with a Gaussian latent ``z`` [Kingma2014; Sohn2015]. In training an
encoder that sees the residual says which ``z`` it came from. Latents vary in space (or are one short vector), networks
are convolutional and periodic, and the noise has learned sizes: an ensemble has all of the spread that the model
believes in, not the latents' alone. The published closure of this kind is in ``published_variational.py``.

.. code-block:: bibtex

    @inproceedings{Kingma2014,
      title = {Auto-Encoding Variational {Bayes}}, author = {Kingma, Diederik P. and Welling, Max},
      booktitle = {International Conference on Learning Representations}, year = {2014}
    }
    @inproceedings{Sohn2015,
      title = {Learning Structured Output Representation using Deep Conditional Generative Models},
      author = {Sohn, Kihyuk and Lee, Honglak and Yan, Xinchen},
      booktitle = {Advances in Neural Information Processing Systems}, volume = {28}, year = {2015}
    }
"""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.coloured_noise import ColouredNoise, degrees_of_freedom
from closura.offline.descent import LossAndMetrics
from closura.offline.learned_sampler import DilatedNetwork, Filtered, LearnedSampler, LearnedSettings, Residuals
from closura.offline.sampler import sampler
from closura.offline.working_grid import WorkingGrid
from closura.settings import Count, NotNegative, Share

Latent = Float[Array, "latent X_ Y_"]


@dataclass(frozen=True)
class VariationalSettings(LearnedSettings):
    """Settings of the variational closure.

    Parameters
    ----------
    channels
        Channels within both networks.
    layers, encoder_layers
        Residual layers of the decoder and of the encoder, which only training runs.
    latent
        Latent channels.
    latent_points
        Points per side of the latents' grid; 1: one vector for the whole field.
    divergence_weight
        Weight of the latents' divergence from their prior; 1 is the bound on the likelihood itself.
    flatness
        How modes are weighed for the networks: 1 by the inverse of their noise (the bound itself), which spends them
        on the smallest waves; 0 all points alike.
    """

    channels: Count = 48
    layers: Count = 8
    encoder_layers: Count = 4
    latent: Count = 4
    latent_points: Count = 8
    divergence_weight: NotNegative = 1.0
    flatness: Share = 0.5

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("channels", "layers", "encoder_layers", "latent", "latent_points")

    def loss(
        self, closure: "VariationalSampler", filtered: Filtered, residuals: Residuals, *, key: Array
    ) -> LossAndMetrics:
        """Minus the bound on the logarithm of the likelihood, per degree of freedom of the residual.

        The sizes of the noise learn from it as it stands; for the networks it is multiplied by the noise's variance, so
        that gradients do not grow as errors fall.
        """
        grid = closure.grid
        colour: ColouredNoise = jax.lax.stop_gradient(closure.colour)
        size = colour.overall(grid)

        def one(frame: Array, residual: Array, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
            seen = grid.inputs(frame)
            mean, logarithm = closure.encode(seen, residual)
            z = mean + jnp.exp(logarithm / 2) * jax.random.normal(key, mean.shape, mean.dtype)
            error = residual - closure.decode(seen, z)
            surprise = closure.colour.surprise(grid, jax.lax.stop_gradient(error))
            return surprise, divergence(mean, logarithm), colour.square(grid, error, self.flatness)

        keys = jax.random.split(key, filtered.shape[0])
        surprise, apart, square = (jnp.mean(each) for each in jax.vmap(one)(filtered, residuals, keys))
        apart = apart / degrees_of_freedom(grid)
        networks = size ** (2 * self.flatness) * square / 2 + self.divergence_weight * size**2 * apart
        return networks + surprise, {"surprise": surprise, "divergence": apart, "noise": size}


@sampler("vae", settings=VariationalSettings)
class VariationalSampler(LearnedSampler):
    """Encoder, decoder and noise on a working grid."""

    encoder: DilatedNetwork
    decoder: DilatedNetwork
    colour: ColouredNoise

    def __check_init__(self) -> None:
        blocks = self.settings.latent_points
        if self.grid.working_points % blocks:
            raise ValueError(
                f"a working grid of {self.grid.working_points} points does not divide into {blocks} blocks: choose "
                "latent_points that divide it"
            )

    @classmethod
    def make(cls, grid: WorkingGrid, settings: VariationalSettings, *, key: PRNGKeyArray) -> "VariationalSampler":
        s, (up, down) = settings, jax.random.split(key)
        encoder = DilatedNetwork(grid.channels + 2, 2 * s.latent, channels=s.channels, layers=s.encoder_layers, key=up)
        decoder = DilatedNetwork(grid.channels + s.latent, 2, channels=s.channels, layers=s.layers, key=down)
        return cls(grid, settings, encoder, decoder, ColouredNoise(grid))

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        latents, noise = jax.random.split(key)
        size = (self.settings.latent, self.settings.latent_points, self.settings.latent_points)
        z = jax.random.normal(latents, size, jnp.float32)
        return self.decode(self.grid.inputs(filtered), z) + self.colour.noise(self.grid, key=noise)

    def encode(self, seen: Float[Array, "channel X Y"], residual: Float[Array, "2 X Y"]) -> tuple[Latent, Latent]:
        """Mean and logarithm of the variance of the latents that a residual may have come from."""
        answer = self.encoder(jnp.concatenate([seen, residual]))
        points = self.settings.latent_points
        side = self.grid.working_points // points
        blocks = answer.reshape(2 * self.settings.latent, points, side, points, side)
        mean, logarithm = jnp.split(jnp.mean(blocks, axis=(2, 4)), 2)
        return mean, jnp.clip(logarithm, -14.0, 7.0)

    def decode(self, seen: Float[Array, "channel X Y"], z: Latent) -> Float[Array, "2 X Y"]:
        """Mean of the residual, given latents."""
        side = self.grid.working_points // self.settings.latent_points
        spread = jnp.repeat(jnp.repeat(z, side, axis=1), side, axis=2)
        return self.grid.admissible(self.decoder(jnp.concatenate([seen, spread])))


def divergence(mean: Float[Array, "*latent"], logarithm: Float[Array, "*latent"]) -> Float[Array, ""]:
    """Kullback-Leibler divergence of a Gaussian from the standard one, summed over latents [Kingma2014, app. B]."""
    return jnp.sum(mean**2 + jnp.exp(logarithm) - 1 - logarithm) / 2
