"""The published closures of scale separation that are networks: a dense autoencoder, and a diffusion model.

Both give full frames, in units of velocity, on the data's own grid.

**Autoencoder.** Both components at all points, ``[u | v]``, pass through layers of 512, 256, 128 and 64 units to six
latents and back. The encoder sees the filtered frame only, so that at prediction time sampling repeats the training: no
posterior is thrown away. Members differ by their latents; the noise that the squared error stands for is not part of
them, which is why published ensembles are far too narrow (19 % of the reference within one standard deviation).

**Diffusion.** A U-Net removes noise from full frames, given the filtered one. The process is that of Ho et al. (2020),
1000 steps, sampled in all of them. The network sees the noisy frame and the filtered one, in units of velocity, but not
the step; it has to tell the noise from the picture. Its padding with zeros does not know that the flow is periodic.
Published weights number 31,379,586; ``width`` makes smaller ones that a CPU can train.

The defaults of the settings are the published ones.
"""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from closura.offline.descent import DescentConfiguration, LossAndMetrics
from closura.offline.diffusion_process import DiffusionProcess, SamplingScheme
from closura.offline.filters import Filter
from closura.offline.learned_sampler import Filtered, LearnedSampler, LearnedSettings, Residuals
from closura.offline.sampler import Frames, sampler
from closura.offline.working_grid import WorkingGrid, prepare
from closura.reproductions.dense_autoencoder import DenseLayers
from closura.reproductions.unet import UNet
from closura.settings import Count, NotNegative

EPOCH = 40
"""Batches of 16 in the published 640 training frames."""


def published_descent(updates: int) -> DescentConfiguration:
    """Adam at 1e-5 with batches of 16, and nothing else."""
    return DescentConfiguration(
        updates=updates,
        batch=16,
        learning_rate=1e-5,
        schedule="constant",
        warmup=0,
        weight_decay=0.0,
        clip=0.0,
        average=0.0,
    )


class FullFieldGrid(WorkingGrid):
    """The data's grid, on which any field counts as a residual: answers are left as they are."""

    def _clean(self, modes: Complex[Array, "component kx ky"]) -> Complex[Array, "component kx ky"]:
        return modes

    def full(
        self, filtered: Float[Array, "*batch 2 x y"], residual: Float[Array, "*batch 2 x y"]
    ) -> Float[Array, "*batch 2 x y"]:
        """Full frames of residuals."""
        return filtered + self.residual_size * residual


@dataclass(frozen=True)
class FullFieldSettings(LearnedSettings):
    """Settings of a closure that gives full frames, on the grid of the data: 1000 epochs of 40 batches.

    Parameters
    ----------
    working_points
        Always the points of the data: 0.
    """

    symmetries: bool = False
    descent: DescentConfiguration = field(default_factory=lambda: published_descent(1000 * EPOCH))

    GRID: ClassVar[type[WorkingGrid]] = FullFieldGrid

    @classmethod
    def preset(cls, preset: str) -> dict[str, Any]:
        """The published fit: one trajectory, its first 80 % for training, the rest for the test; no calibration."""
        return {
            "settings": cls(),
            "split": {"by": "time", "shares": [0.8, 0.0, 0.2], "gap": 0, "only": [7], "allow_leak": True},
            "validation": {"frames": 20, "members": 4, "every": 1000},
            "calibrate": False,
        }

    def working_grid(
        self, filtered: Frames, full: Frames, *, forcing: int, filtering: Filter | None = None
    ) -> FullFieldGrid:
        """The data's grid."""
        points = full.shape[-1]
        if self.working_points not in (0, points):
            raise ValueError(f"published closures work on the data's {points} points; got {self.working_points}")
        pairs = np.asarray(filtered), np.asarray(full)
        found = prepare(*pairs, forcing=forcing, filtering=filtering, working_points=points)
        return FullFieldGrid.from_plain(found.plain())


class FullFieldSampler(LearnedSampler):
    """A network that gives full frames, in units of velocity, of filtered ones."""

    grid: FullFieldGrid

    @abstractmethod
    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        """One full frame; traceable."""

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        return (self.frame(filtered, key=key) - filtered) / self.grid.residual_size


@dataclass(frozen=True)
class PublishedVariationalSettings(FullFieldSettings):
    """Settings of the published variational closure.

    Parameters
    ----------
    widths
        Units of the encoder's hidden layers; the decoder mirrors them.
    latent
        Latents.
    divergence_weight
        Weight of the divergence, which is a mean over latents, beside the mean squared error of the full frame.
    """

    widths: tuple[Count, ...] = (512, 256, 128, 64)
    latent: Count = 6
    divergence_weight: NotNegative = 0.01

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("widths", "latent")

    def loss(
        self, closure: "PublishedVariationalSampler", filtered: Filtered, residuals: Residuals, *, key: Array
    ) -> LossAndMetrics:
        """Mean squared error of the full frame, in units of velocity, and the weighted divergence."""
        full = closure.grid.full(filtered, residuals)
        keys = jax.random.split(key, filtered.shape[0])
        mean, logarithm = jax.vmap(closure.encode)(filtered)
        noise = jax.vmap(lambda k, m: jax.random.normal(k, m.shape, m.dtype))(keys, mean)
        square = jnp.mean(jnp.square(jax.vmap(closure.decode)(mean + jnp.exp(logarithm / 2) * noise) - full))
        apart = jnp.mean(mean**2 + jnp.exp(logarithm) - 1 - logarithm) / 2
        return square + self.divergence_weight * apart, {"square": square, "divergence": apart}


@sampler("vae-published", settings=PublishedVariationalSettings)
class PublishedVariationalSampler(DenseLayers, FullFieldSampler):
    """Dense layers down to a few latents, and back up."""

    @classmethod
    def make(
        cls, grid: Any, settings: PublishedVariationalSettings, *, key: PRNGKeyArray
    ) -> "PublishedVariationalSampler":
        layers = cls.layers((2 * grid.points**2, *settings.widths, settings.latent), key=key)
        return cls(grid=grid, settings=settings, **layers)

    def encode(self, filtered: Float[Array, "2 x y"]) -> tuple[Float[Array, " latent"], Float[Array, " latent"]]:
        """Mean of the latents and logarithm of their variance."""
        return self.distribution_of(filtered.reshape(-1))

    def decode(self, z: Float[Array, " latent"]) -> Float[Array, "2 x y"]:
        """The full frame of latents."""
        return self.numbers_of(z).reshape(self.shape)

    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        mean, logarithm = self.encode(filtered)
        return self.decode(mean + jnp.exp(logarithm / 2) * jax.random.normal(key, mean.shape, mean.dtype))


@dataclass(frozen=True)
class PublishedDiffusionSettings(FullFieldSettings):
    """Settings of the published diffusion closure.

    Parameters
    ----------
    width
        Channels of the U-Net's first level.
    noise_steps
        Steps of the process, whose ``beta`` rises linearly.
    sampler
        "ancestral": all steps, as published; or "ddim".
    sampling_steps
        Steps of "ddim".
    """

    width: Count = 64
    noise_steps: Count = 1000
    sampler: SamplingScheme = "ancestral"
    sampling_steps: Count = 50

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("width", "noise_steps", "sampler", "sampling_steps")

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.process

    @property
    def process(self) -> DiffusionProcess:
        """The diffusion process."""
        return DiffusionProcess(self.noise_steps, "linear", "noise")

    def loss(
        self, closure: "PublishedDiffusionSampler", filtered: Filtered, residuals: Residuals, *, key: Array
    ) -> LossAndMetrics:
        """Mean squared error of the noise [Ho2020, eq. 14]."""
        full = closure.grid.full(filtered, residuals)
        times, draws = jax.random.split(key)
        steps = jax.random.randint(times, (filtered.shape[0],), 0, self.noise_steps, jnp.int32)
        noise = jax.random.normal(draws, full.shape, jnp.float32)
        x, _ = jax.vmap(self.process.mix)(full, noise, steps)
        answer = jax.vmap(closure.network)(jnp.concatenate([x, filtered], axis=1))
        error = jnp.mean(jnp.square(answer - noise))
        return error, {"error": error}


@sampler("diffusion-published", settings=PublishedDiffusionSettings)
class PublishedDiffusionSampler(FullFieldSampler):
    """A diffusion model of full frames."""

    network: UNet

    @classmethod
    def make(cls, grid: Any, settings: PublishedDiffusionSettings, *, key: PRNGKeyArray) -> "PublishedDiffusionSampler":
        if grid.points % 16:
            raise ValueError(f"the published U-Net needs a multiple of 16 points per side; got {grid.points}")
        return cls(grid, settings, UNet(4, 2, width=settings.width, key=key))

    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        first, further = jax.random.split(key)
        process = self.settings.process

        def noise(key: PRNGKeyArray) -> Array:
            return jax.random.normal(key, self.shape, jnp.float32)

        def answer(x: Array, step: Array) -> Array:
            return self.network(jnp.concatenate([x, filtered]))

        if self.settings.sampler == "ddim":
            return process.ddim(answer, noise(first), self.settings.sampling_steps)
        return process.ancestral(answer, noise(first), noise, further)
