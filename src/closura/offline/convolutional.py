"""A convolutional closure with random inputs, trained by a proper score: its members are equally likely references.

The network sees a filtered frame, the phase of the forcing and a few channels of white noise, and gives the residual.
Two or more members per frame are scored together by the fair continuous ranked probability score [Ferro2014], which
rewards members that lie near the reference and apart from each other; so noise is used exactly where the filtered field
does not say what is missing. A part ``1 - fairness`` of the ordinary score keeps members from drifting apart in pairs
[Lang2024].

Points are scored, and modes too: points alone leave the smallest waves, which hardly show in them, unscored.

.. code-block:: bibtex

    @article{Ferro2014,
      title = {Fair scores for ensemble forecasts}, author = {Ferro, Christopher A. T.},
      journal = {Quarterly Journal of the Royal Meteorological Society}, volume = {140}, pages = {1917--1923},
      year = {2014}, doi = {10.1002/qj.2270}
    }
    @misc{Lang2024,
      title = {{AIFS-CRPS}: Ensemble forecasting using a model trained with a loss function based on the Continuous
               Ranked Probability Score}, author = {Lang, Simon and others}, year = {2024},
      eprint = {2412.15832}, archiveprefix = {arXiv}
    }
"""

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.numerics.fourier import wavenumbers
from closura.offline.descent import DescentConfiguration, LossAndMetrics
from closura.offline.learned_sampler import DilatedNetwork, Filtered, LearnedSampler, LearnedSettings, Residuals
from closura.offline.sampler import sampler
from closura.offline.working_grid import WorkingGrid
from closura.settings import Count, Natural, NotNegative, Share


@dataclass(frozen=True)
class ConvolutionalSettings(LearnedSettings):
    """Settings of the convolutional closure.

    Parameters
    ----------
    channels, layers
        Size of the network.
    noise
        Random channels; 0 makes a deterministic closure, trained by the mean squared error.
    members
        Members per frame while training.
    fairness
        Share of the fair score in the score.
    modes
        Weight of the modes' score beside the points'.
    descent
        How it is trained.
    """

    channels: Count = 48
    layers: Count = 8
    noise: Natural = 4
    members: Count = 2
    fairness: Share = 0.95
    modes: NotNegative = 1.0
    descent: DescentConfiguration = field(default_factory=lambda: DescentConfiguration(updates=3000, batch=8))

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("channels", "layers", "noise")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise and self.members < 2:
            raise ValueError(f"random channels need at least two members; got noise {self.noise}, {self.members}")

    def loss(
        self, closure: "ConvolutionalSampler", filtered: Filtered, residuals: Residuals, *, key: Array
    ) -> LossAndMetrics:
        """Score of points and modes, or the mean squared error without noise."""
        members = self.members if self.noise else 1
        keys = jax.random.split(key, (filtered.shape[0] * members,))
        drawn = jax.vmap(lambda x, k: closure.draw(x, key=k))(jnp.repeat(filtered, members, axis=0), keys)
        drawn = jnp.moveaxis(drawn.reshape(filtered.shape[0], members, *residuals.shape[1:]), 1, 0)
        error = jnp.sqrt(jnp.mean(jnp.square(jnp.mean(drawn, axis=0) - residuals)))
        if not self.noise:
            return jnp.square(error), {"error": error}
        points = jnp.mean(ensemble_score(drawn, residuals, self.fairness))
        total, metrics = points, {"error": error, "points": points, "spread": jnp.mean(jnp.std(drawn, axis=0))}
        if self.modes:
            modes = mode_score(drawn, residuals, self.fairness)
            total, metrics["modes"] = total + self.modes * modes, modes
        return total, metrics


@sampler("conv", settings=ConvolutionalSettings)
class ConvolutionalSampler(LearnedSampler):
    """A network with random channels; without them it gives the mean (or median) alone."""

    network: DilatedNetwork

    @classmethod
    def make(cls, grid: WorkingGrid, settings: ConvolutionalSettings, *, key: PRNGKeyArray) -> "ConvolutionalSampler":
        inputs = grid.channels + settings.noise
        network = DilatedNetwork(inputs, 2, channels=settings.channels, layers=settings.layers, key=key)
        return cls(grid, settings, network)

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        seen = self.grid.inputs(filtered)
        if self.settings.noise:
            noise = jax.random.normal(key, (self.settings.noise, *seen.shape[1:]), seen.dtype)
            seen = jnp.concatenate([seen, noise])
        return self.grid.admissible(self.network(seen))


def ensemble_score(
    members: Float[Array, "member *shape"], reference: Float[Array, "*shape"], fairness: float = 1.0
) -> Float[Array, "*shape"]:
    """Ranked probability score of each number: ``E|x - y| - E|x - x'| / 2``, a share of it with fair second term."""
    count = members.shape[0]
    near = jnp.mean(jnp.abs(members - reference), axis=0)
    apart = sum(
        jnp.abs(members[i] - members[j]) for i in range(count) for j in range(i)
    )  # each pair once: half of the double sum
    return near - apart * (fairness / (count * (count - 1)) + (1 - fairness) / count**2)


def mode_score(
    members: Float[Array, "member batch 2 X Y"], reference: Float[Array, "batch 2 X Y"], fairness: float = 1.0
) -> Float[Array, ""]:
    """The same of the modes' real and imaginary parts, each shell's divided by the root of the reference's size there.

    Undivided, the largest waves are all of the score; divided by the size, waves would count that nobody sees.
    """
    n = reference.shape[-1]
    kx, ky = wavenumbers(n)
    shell = jnp.asarray(jnp.floor(jnp.hypot(kx, ky) + 0.5), jnp.int32)

    def parts(field: Array) -> Array:
        modes = jnp.fft.rfft2(field) / n
        return jnp.stack([modes.real, modes.imag])

    target = parts(reference)
    power = jnp.mean(jnp.square(target), axis=(0, 1, 2))
    shells = int(n)
    size = jnp.sqrt(
        jnp.zeros(shells, power.dtype).at[shell].add(power) / jnp.zeros(shells, power.dtype).at[shell].add(1.0)
    )[shell]
    largest = jnp.max(size)
    weight = jax.lax.stop_gradient(1 / jnp.sqrt(jnp.maximum(size, 1e-4 * largest) * largest))
    scores = ensemble_score(jax.vmap(parts)(members), target, fairness)
    return jnp.mean(scores * weight)
