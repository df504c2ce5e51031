"""The published variational closure: a dense autoencoder from the filtered frame to the full one.

Both components at all points, ``[u | v]``, pass through layers of 512, 256, 128 and 64 units to six latents and back.
The encoder sees the filtered frame only, so that at prediction time sampling repeats the training: no posterior is
thrown away. Members differ by their latents; the noise that the squared error stands for is not part of them, which is
why published ensembles are far too narrow (19 % of the truth within one standard deviation).

Widths, loss and optimiser are the defaults of :class:`PublishedVariationalRecipe`.
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
from closura.reduced._whole_frames import EPOCH, WholeFrames, WholeFramesRecipe, WholeGrid, published_descent
from closura.reduced.reconstruction import register
from closura.reduced.working_grid import WorkingGrid
from closura.settings import Count, Natural, NotNegative

Latent = Float[Array, " latent"]


class PublishedVariationalClosure(WholeFrames):
    """Dense layers down to a few latents, and back up."""

    grid: WholeGrid
    down: tuple[eqx.nn.Linear, ...]
    mean: eqx.nn.Linear
    logarithm: eqx.nn.Linear
    up: tuple[eqx.nn.Linear, ...]

    def encode(self, filtered: Float[Array, "2 x y"]) -> tuple[Latent, Latent]:
        """Mean of the latents and logarithm of their variance."""
        h = _through(self.down, filtered.reshape(-1))
        return self.mean(h), self.logarithm(h)

    def decode(self, z: Latent) -> Float[Array, "2 x y"]:
        """The full frame of latents."""
        return _through(self.up, z).reshape(self.shape)

    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        mean, logarithm = self.encode(filtered)
        return self.decode(mean + jnp.exp(logarithm / 2) * jax.random.normal(key, mean.shape, mean.dtype))

    def facts(self) -> dict[str, Any]:
        widths = [layer.out_features for layer in self.down]
        return {"grid": self.grid.plain(), "widths": widths[:-1], "latent": widths[-1]}

    @classmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "PublishedVariationalClosure":
        grid = WholeGrid.from_plain(facts["grid"])
        latent = int(facts["latent"])
        sizes = [2 * grid.points**2, *facts["widths"], latent]
        down, up, mean, logarithm = jax.random.split(key, 4)
        return cls(
            grid,
            _layers(sizes, key=down),
            eqx.nn.Linear(latent, latent, dtype=jnp.float32, key=mean),
            eqx.nn.Linear(latent, latent, dtype=jnp.float32, key=logarithm),
            _layers(sizes[::-1], key=up),
        )


def _layers(sizes: list[int], *, key: PRNGKeyArray) -> tuple[eqx.nn.Linear, ...]:
    # Equinox begins as PyTorch does, uniform in +-1 / sqrt(inputs).
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(sizes[:-1], sizes[1:], keys, strict=True)
    return tuple(eqx.nn.Linear(a, b, dtype=jnp.float32, key=k) for a, b, k in pairs)


def _through(layers: tuple[eqx.nn.Linear, ...], x: Float[Array, " inputs"]) -> Float[Array, " outputs"]:
    """ReLU between layers, none after the last."""
    for layer in layers[:-1]:
        x = jax.nn.relu(layer(x))
    return layers[-1](x)


@dataclass(frozen=True)
class PublishedVariationalRecipe(WholeFramesRecipe):
    """Settings of the published variational closure; the defaults are the published ones.

    Parameters
    ----------
    widths
        Units of the encoder's hidden layers; the decoder mirrors them.
    latent
        Latents.
    divergence_weight
        Weight of the divergence, which is a mean over latents, beside the mean squared error of the full frame.
    working_points
        Always the points of the data: 0.
    symmetries
        Move training frames by random symmetries of the flow.
    descent
        How it is trained: 1000 epochs of 40 batches.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    widths: tuple[Count, ...] = (512, 256, 128, 64)
    latent: Count = 6
    divergence_weight: NotNegative = 0.01
    working_points: Natural = 0
    symmetries: bool = False
    descent: DescentConfiguration = field(default_factory=lambda: published_descent(1000 * EPOCH))

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> PublishedVariationalClosure:
        """The untrained closure."""
        facts = {"grid": grid.plain(), "widths": self.widths, "latent": self.latent}
        return PublishedVariationalClosure.untrained(facts, key=key)

    def loss(
        self,
        closure: PublishedVariationalClosure,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Mean squared error of the full frame, in units of velocity, and the weighted divergence."""
        full = closure.grid.full(filtered, residuals)
        keys = jax.random.split(key, filtered.shape[0])
        mean, logarithm = jax.vmap(closure.encode)(filtered)
        noise = jax.vmap(lambda k, m: jax.random.normal(k, m.shape, m.dtype))(keys, mean)
        square = jnp.mean(jnp.square(jax.vmap(closure.decode)(mean + jnp.exp(logarithm / 2) * noise) - full))
        apart = jnp.mean(mean**2 + jnp.exp(logarithm) - 1 - logarithm) / 2
        return square + self.divergence_weight * apart, {"square": square, "divergence": apart}


register("vae-published", PublishedVariationalRecipe, PublishedVariationalClosure)
