"""A diffusion model of what is missing, given the filtered field.

A network learns to remove noise from the residual; sampling starts from noise alone and removes it in steps
[Ho2020; Song2021; see ``_noising.py``]. The published closure of this kind is in ``published_diffusion.py``. This one
differs in what made that one slow and inaccurate:

* The network is told how noisy its input is.
* It answers a velocity, not the noise, whose error is multiplied by up to 160 in the first steps back.
* A filtered field says nearly all about the residual, so that only a few percent of it are random. Noise is put on
  what a first guess (a second network, trained along with it) misses, in the size and colour of that.
* Tens of steps (DDIM), not a thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.learners.descent import DescentConfiguration
from closura.learners.state import Metrics
from closura.reduced._noising import SAMPLERS, Noising, Sampler, Schedule, Target
from closura.reduced._refined import RefinedClosure, refined_loss, untrained_parts
from closura.reduced._refiner import Refiner, Work, stratified
from closura.reduced.learned import LearnedRecipe
from closura.reduced.reconstruction import register
from closura.reduced.working_grid import WorkingGrid
from closura.settings import Count, Natural, Share


class DiffusionClosure(RefinedClosure):
    """A diffusion model on a working grid."""

    grid: WorkingGrid
    refiner: Refiner
    noising: Noising = eqx.field(static=True)
    sampler: Sampler = eqx.field(static=True)
    sampling_steps: int = eqx.field(static=True)

    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        first, further = jax.random.split(key)
        start = self.refiner.noise(self.grid, key=first)

        def answer(x: Array, step: Int[Array, ""]) -> Array:
            return self.refiner(self.grid, seen, mean, x, self.angle(step))

        if self.sampler == "ddim":
            return self.noising.ddim(answer, start, self.sampling_steps)
        return self.noising.ancestral(answer, start, lambda key: self.refiner.noise(self.grid, key=key), further)

    def noised(self, missed: Work, noise: Work, moment: Int[Array, ""]) -> tuple[Work, Work, Float[Array, ""]]:
        return *self.noising.mix(missed, noise, moment), self.angle(moment)

    def angle(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """How noisy a field is after a step of noising: 0 not at all, pi/2 entirely."""
        data_part, noise_part = self.noising.parts(step)
        return jnp.arctan2(noise_part, data_part)

    def with_sampler(self, sampler: Sampler, steps: int = 10) -> "DiffusionClosure":
        """The same closure, sampled otherwise: "ddim" in a number of steps, or "ancestral" in all.

        Raises
        ------
        ValueError
            If the sampler is unknown or there are no steps.
        """
        check_sampler(sampler, steps)
        return DiffusionClosure(self.grid, self.refiner, self.noising, sampler, steps)

    def settings(self) -> dict[str, Any]:
        noising = {name: getattr(self.noising, name) for name in ("steps", "schedule", "target")}
        return {"noising": noising, "sampler": self.sampler, "sampling_steps": self.sampling_steps}

    @classmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "DiffusionClosure":
        parts = untrained_parts(facts, key=key)
        return cls(*parts, Noising(**facts["noising"]), facts["sampler"], facts["sampling_steps"])


@dataclass(frozen=True)
class DiffusionRecipe(LearnedRecipe):
    """Settings of the diffusion closure.

    Parameters
    ----------
    channels, layers
        Size of each network.
    first_guess
        Diffuse what a first guess misses, not the whole residual.
    noise_steps, schedule, target
        The process; see :class:`closura.reduced._noising.Noising`.
    sampler
        "ddim", or "ancestral": as many steps as the process has.
    sampling_steps
        Steps of "ddim"; fewer make ensembles too narrow.
    flatness
        How modes are weighed in the loss: 0 as their size says, 1 all the same.
    working_points
        Points per side of the network's grid; 0: as few as the flow needs.
    symmetries
        Move training frames by random symmetries of the flow.
    descent
        How it is trained.

    Raises
    ------
    ValueError
        If a name is unknown or a number out of range.
    """

    channels: Count = 48
    layers: Count = 8
    first_guess: bool = True
    noise_steps: Count = 1000
    schedule: Schedule = "cosine"
    target: Target = "velocity"
    sampler: Sampler = "ddim"
    sampling_steps: Count = 10
    flatness: Share = 0.5
    working_points: Natural = 0
    symmetries: bool = True
    descent: DescentConfiguration = field(default_factory=DescentConfiguration)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sampler(self.sampler, self.sampling_steps)
        _ = self.noising

    @property
    def noising(self) -> Noising:
        """The diffusion process."""
        return Noising(self.noise_steps, self.schedule, self.target)

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> DiffusionClosure:
        """The untrained closure."""
        refiner = Refiner(grid, first_guess=self.first_guess, channels=self.channels, layers=self.layers, key=key)
        return DiffusionClosure(grid, refiner, self.noising, self.sampler, self.sampling_steps)

    def loss(
        self,
        closure: DiffusionClosure,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Square error of the network's answer at random steps, and the loss of the first guess."""
        times, draws = jax.random.split(key)
        steps = (stratified(filtered.shape[0], key=times) * self.noise_steps).astype(jnp.int32)
        return refined_loss(closure, filtered, residuals, steps, self.flatness, key=draws)


def check_sampler(sampler: str, steps: int) -> None:
    """Refuse samplers that do not exist.

    Raises
    ------
    ValueError
        If the sampler is unknown or there are no steps.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; valid: {', '.join(SAMPLERS)}")
    if steps < 1:
        raise ValueError(f"sampling needs at least one step; got {steps}")


register("diffusion", DiffusionRecipe, DiffusionClosure)
