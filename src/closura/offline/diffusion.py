"""A diffusion model of what is missing, given the filtered field.

A network learns to remove noise from the residual; sampling starts from noise alone and removes it in steps
[Ho2020; Song2021; see ``diffusion_process.py``]. The published closure of this kind is in
:mod:`closura.reproductions.published_samplers`. This one differs in what made that one slow and inaccurate:

* The network is told how noisy its input is.
* It answers a velocity, not the noise, whose error is multiplied by up to 160 in the first steps back.
* A filtered field says nearly all about the residual, so that only a few percent of it are random. Noise is put on
  what a first guess (a second network, trained along with it) misses, in the size and colour of that.
* Tens of steps (DDIM), not a thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.offline.coloured_noise import Work
from closura.offline.diffusion_process import DiffusionProcess, SamplingScheme, Schedule, Target
from closura.offline.first_guess import RefinedSampler, RefinedSettings, stratified
from closura.offline.sampler import sampler
from closura.settings import Count


@dataclass(frozen=True)
class DiffusionSettings(RefinedSettings):
    """Settings of the diffusion closure.

    Parameters
    ----------
    noise_steps, schedule, target
        The process; see :class:`closura.offline.diffusion_process.DiffusionProcess`.
    sampler
        "ddim", or "ancestral": as many steps as the process has.
    sampling_steps
        Steps of "ddim"; fewer make ensembles too narrow.
    """

    noise_steps: Count = 1000
    schedule: Schedule = "cosine"
    target: Target = "velocity"
    sampler: SamplingScheme = "ddim"
    sampling_steps: Count = 10

    OF_NETWORK: ClassVar[tuple[str, ...]] = (
        *("channels", "layers", "first_guess", "noise_steps", "schedule", "target", "sampler", "sampling_steps"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.process

    @property
    def process(self) -> DiffusionProcess:
        """The diffusion process."""
        return DiffusionProcess(self.noise_steps, self.schedule, self.target)

    def facts(self) -> dict[str, Any]:
        own = ("channels", "layers", "first_guess", "sampler", "sampling_steps")
        process = {"steps": self.noise_steps, "schedule": self.schedule, "target": self.target}
        return {**{name: getattr(self, name) for name in own}, "noising": process}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "DiffusionSettings":
        own = dict(facts)
        process = own.pop("noising")
        return cls(**own, noise_steps=process["steps"], schedule=process["schedule"], target=process["target"])

    def moments(self, batch: int, *, key: PRNGKeyArray) -> Int[Array, " batch"]:
        return (stratified(batch, key=key) * self.noise_steps).astype(jnp.int32)


@sampler("diffusion", settings=DiffusionSettings)
class DiffusionSampler(RefinedSampler):
    """A diffusion model on a working grid."""

    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        first, further = jax.random.split(key)
        start = self.refiner.noise(self.grid, key=first)

        def answer(x: Array, step: Int[Array, ""]) -> Array:
            return self.refiner(self.grid, seen, mean, x, self.angle(step))

        if self.settings.sampler == "ddim":
            return self.settings.process.ddim(answer, start, self.settings.sampling_steps)
        return self.settings.process.ancestral(
            answer, start, lambda key: self.refiner.noise(self.grid, key=key), further
        )

    def noised(self, missed: Work, noise: Work, moment: Int[Array, ""]) -> tuple[Work, Work, Float[Array, ""]]:
        return *self.settings.process.mix(missed, noise, moment), self.angle(moment)

    def angle(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """How noisy a field is after a step of noising: 0 not at all, pi/2 entirely."""
        data_part, noise_part = self.settings.process.parts(step)
        return jnp.arctan2(noise_part, data_part)
