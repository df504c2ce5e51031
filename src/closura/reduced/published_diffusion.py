"""The published diffusion closure: a U-Net that removes noise from full frames, given the filtered one.

The process is that of Ho et al. (2020), 1000 steps, sampled in all of them. The network sees the noisy frame and the
filtered one, in units of velocity, but not the step; it has to tell the noise from the picture. Its padding with zeros
does not know that the flow is periodic.

Published weights number 31,379,586; ``width`` makes smaller ones that a CPU can train.
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
from closura.reduced._noising import Noising, Sampler
from closura.reduced._unet import UNet
from closura.reduced._whole_frames import EPOCH, WholeFrames, WholeFramesRecipe, WholeGrid, published_descent
from closura.reduced.diffusion import check_sampler
from closura.reduced.reconstruction import register
from closura.reduced.working_grid import WorkingGrid
from closura.settings import Count, Natural


class PublishedDiffusionClosure(WholeFrames):
    """A diffusion model of full frames."""

    grid: WholeGrid
    network: UNet
    noising: Noising = eqx.field(static=True)
    sampler: Sampler = eqx.field(static=True)
    sampling_steps: int = eqx.field(static=True)

    def frame(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 x y"]:
        first, further = jax.random.split(key)

        def noise(key: PRNGKeyArray) -> Array:
            return jax.random.normal(key, self.shape, jnp.float32)

        def answer(x: Array, step: Array) -> Array:
            return self.network(jnp.concatenate([x, filtered]))

        if self.sampler == "ddim":
            return self.noising.ddim(answer, noise(first), self.sampling_steps)
        return self.noising.ancestral(answer, noise(first), noise, further)

    def with_sampler(self, sampler: Sampler, steps: int = 20) -> "PublishedDiffusionClosure":
        """The same closure, sampled otherwise: "ddim" in a number of steps, or "ancestral" in all.

        Raises
        ------
        ValueError
            If the sampler is unknown or there are no steps.
        """
        check_sampler(sampler, steps)
        return PublishedDiffusionClosure(self.grid, self.network, self.noising, sampler, steps)

    def facts(self) -> dict[str, Any]:
        return {
            "grid": self.grid.plain(),
            "width": self.network.last.kernel.shape[-2],
            "noise_steps": self.noising.steps,
            "sampler": self.sampler,
            "sampling_steps": self.sampling_steps,
        }

    @classmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "PublishedDiffusionClosure":
        grid = WholeGrid.from_plain(facts["grid"])
        if grid.points % 16:
            raise ValueError(f"the published U-Net needs a multiple of 16 points per side; got {grid.points}")
        noising = Noising(facts["noise_steps"], "linear", "noise")
        network = UNet(4, 2, width=facts["width"], key=key)
        return cls(grid, network, noising, facts["sampler"], facts["sampling_steps"])


@dataclass(frozen=True)
class PublishedDiffusionRecipe(WholeFramesRecipe):
    """Settings of the published diffusion closure; the defaults are the published ones.

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
    working_points
        Always the points of the data: 0.
    symmetries
        Move training frames by random symmetries of the flow.
    descent
        How it is trained: 1000 epochs of 40 batches.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of range.
    """

    width: Count = 64
    noise_steps: Count = 1000
    sampler: Sampler = "ancestral"
    sampling_steps: Count = 50
    working_points: Natural = 0
    symmetries: bool = False
    descent: DescentConfiguration = field(default_factory=lambda: published_descent(1000 * EPOCH))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampler(self.sampler, self.sampling_steps)
        Noising(self.noise_steps, "linear", "noise")

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> PublishedDiffusionClosure:
        """The untrained closure."""
        own = ("width", "noise_steps", "sampler", "sampling_steps")
        facts = {"grid": grid.plain(), **{name: getattr(self, name) for name in own}}
        return PublishedDiffusionClosure.untrained(facts, key=key)

    def loss(
        self,
        closure: PublishedDiffusionClosure,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Mean squared error of the noise [Ho2020, eq. 14]."""
        full = closure.grid.full(filtered, residuals)
        times, draws = jax.random.split(key)
        steps = jax.random.randint(times, (filtered.shape[0],), 0, closure.noising.steps, jnp.int32)
        noise = jax.random.normal(draws, full.shape, jnp.float32)
        x, _ = jax.vmap(closure.noising.mix)(full, noise, steps)
        answer = jax.vmap(closure.network)(jnp.concatenate([x, filtered], axis=1))
        error = jnp.mean(jnp.square(answer - noise))
        return error, {"error": error}


register("diffusion-published", PublishedDiffusionRecipe, PublishedDiffusionClosure)
