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

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.learners.descent import DescentConfiguration
from closura.learners.state import Metrics
from closura.reduced._colour import Colour, degrees_of_freedom
from closura.reduced.learned import LearnedRecipe, LearnedReconstruction
from closura.reduced.network import DilatedNetwork
from closura.reduced.reconstruction import register
from closura.reduced.working_grid import WorkingGrid
from closura.settings import Count, Natural, NotNegative, Share

Latent = Float[Array, "latent X_ Y_"]


class VariationalClosure(LearnedReconstruction):
    """Encoder, decoder and noise on a working grid.

    Raises
    ------
    ValueError
        If the working grid is no multiple of the latents' grid.
    """

    grid: WorkingGrid
    encoder: DilatedNetwork
    decoder: DilatedNetwork
    colour: Colour
    latent: int = eqx.field(static=True)
    latent_points: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.grid.working_points % self.latent_points:
            raise ValueError(
                f"a working grid of {self.grid.working_points} points does not divide into {self.latent_points} "
                "blocks: choose latent_points that divide it"
            )

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        latents, noise = jax.random.split(key)
        z = jax.random.normal(latents, (self.latent, self.latent_points, self.latent_points), jnp.float32)
        return self.decode(self.grid.inputs(filtered), z) + self.colour.noise(self.grid, key=noise)

    def encode(self, seen: Float[Array, "channel X Y"], residual: Float[Array, "2 X Y"]) -> tuple[Latent, Latent]:
        """Mean and logarithm of the variance of the latents that a residual may have come from."""
        answer = self.encoder(jnp.concatenate([seen, residual]))
        side = self.grid.working_points // self.latent_points
        blocks = answer.reshape(2 * self.latent, self.latent_points, side, self.latent_points, side)
        mean, logarithm = jnp.split(jnp.mean(blocks, axis=(2, 4)), 2)
        return mean, jnp.clip(logarithm, -14.0, 7.0)

    def decode(self, seen: Float[Array, "channel X Y"], z: Latent) -> Float[Array, "2 X Y"]:
        """Mean of the residual, given latents."""
        side = self.grid.working_points // self.latent_points
        spread = jnp.repeat(jnp.repeat(z, side, axis=1), side, axis=2)
        return self.grid.admissible(self.decoder(jnp.concatenate([seen, spread])))

    def facts(self) -> dict[str, Any]:
        return {
            "grid": self.grid.plain(),
            "channels": self.decoder.first.kernel.shape[-1],
            "layers": len(self.decoder.inner),
            "encoder_layers": len(self.encoder.inner),
            "latent": self.latent,
            "latent_points": self.latent_points,
        }

    @classmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "VariationalClosure":
        grid = WorkingGrid.from_plain(facts["grid"])
        latent, channels = facts["latent"], facts["channels"]
        up, down = jax.random.split(key)
        encoder = DilatedNetwork(
            grid.channels + 2, 2 * latent, channels=channels, layers=facts["encoder_layers"], key=up
        )
        decoder = DilatedNetwork(grid.channels + latent, 2, channels=channels, layers=facts["layers"], key=down)
        return cls(grid, encoder, decoder, Colour(grid), latent, facts["latent_points"])


@dataclass(frozen=True)
class VariationalRecipe(LearnedRecipe):
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
    working_points
        Points per side of the network's grid; 0: as few as the flow needs.
    symmetries
        Move training frames by random symmetries of the flow.
    descent
        How it is trained.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    channels: Count = 48
    layers: Count = 8
    encoder_layers: Count = 4
    latent: Count = 4
    latent_points: Count = 8
    divergence_weight: NotNegative = 1.0
    flatness: Share = 0.5
    working_points: Natural = 0
    symmetries: bool = True
    descent: DescentConfiguration = field(default_factory=DescentConfiguration)

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> VariationalClosure:
        """The untrained closure."""
        own = ("channels", "layers", "encoder_layers", "latent", "latent_points")
        facts = {"grid": grid.plain(), **{name: getattr(self, name) for name in own}}
        return VariationalClosure.untrained(facts, key=key)

    def loss(
        self,
        closure: VariationalClosure,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Minus the bound on the logarithm of the likelihood, per degree of freedom of the residual.

        The sizes of the noise learn from it as it stands; for the networks it is multiplied by the noise's variance, so
        that gradients do not grow as errors fall.
        """
        grid = closure.grid
        colour: Colour = jax.lax.stop_gradient(closure.colour)
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


def divergence(mean: Float[Array, "*latent"], logarithm: Float[Array, "*latent"]) -> Float[Array, ""]:
    """Kullback-Leibler divergence of a Gaussian from the standard one, summed over latents [Kingma2014, app. B]."""
    return jnp.sum(mean**2 + jnp.exp(logarithm) - 1 - logarithm) / 2


register("vae", VariationalRecipe, VariationalClosure)
