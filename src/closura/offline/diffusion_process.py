r"""The diffusion process of denoising diffusion models: how data become noise, and two ways back.

With ``a_t = prod_s (1 - beta_s)`` a field after ``t`` steps is ``x_t = sqrt(a_t) x + sqrt(1 - a_t) noise`` [Ho2020].
The way back needs the mean of ``x`` given ``x_t``, which a network learns in one of two forms: the noise, or the
velocity ``v = sqrt(a_t) noise - sqrt(1 - a_t) x`` [Salimans2022], whose error does not grow where nearly all is noise.

.. code-block:: bibtex

    @inproceedings{Ho2020,
      title = {Denoising Diffusion Probabilistic Models}, author = {Ho, Jonathan and Jain, Ajay and Abbeel, Pieter},
      booktitle = {Advances in Neural Information Processing Systems}, volume = {33}, year = {2020}
    }
    @inproceedings{Song2021,
      title = {Denoising Diffusion Implicit Models}, author = {Song, Jiaming and Meng, Chenlin and Ermon, Stefano},
      booktitle = {International Conference on Learning Representations}, year = {2021}
    }
    @inproceedings{Salimans2022,
      title = {Progressive Distillation for Fast Sampling of Diffusion Models},
      author = {Salimans, Tim and Ho, Jonathan},
      booktitle = {International Conference on Learning Representations}, year = {2022}
    }
    @inproceedings{Nichol2021,
      title = {Improved Denoising Diffusion Probabilistic Models}, author = {Nichol, Alex and Dhariwal, Prafulla},
      booktitle = {International Conference on Machine Learning}, year = {2021}
    }
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.settings import Count, Settings

Schedule = Literal["linear", "cosine"]
Target = Literal["noise", "velocity"]
SamplingScheme = Literal["ancestral", "ddim"]

Answer = Callable[[Array, Int[Array, ""]], Array]
"""A network's answer to a noisy field and the index of its step, counted from 0."""


@dataclass(frozen=True)
class DiffusionProcess(Settings):
    """A diffusion process in discrete steps.

    Parameters
    ----------
    steps
        Number of steps.
    schedule
        "linear": ``beta`` rises from 1e-4 to 0.02, the steps being 1000 (for other numbers both are scaled)
        [Ho2020, section 4]. "cosine": ``a_t = cos(pi t / 2)^2`` with ``beta`` at most 0.999 [Nichol2021, section 3.2].
    target
        What the network answers: "noise" or "velocity".
    """

    steps: Count = 1000
    schedule: Schedule = "cosine"
    target: Target = "velocity"

    def __post_init__(self) -> None:
        super().__post_init__()
        least = 1 if self.schedule == "cosine" else 21
        if self.steps < least:
            raise ValueError(f"the schedule {self.schedule!r} needs at least {least} steps; got {self.steps}")

    def betas(self) -> Float[np.ndarray, " step"]:
        """Variance that each step adds, float64."""
        if self.schedule == "linear":
            return np.linspace(1e-4, 0.02, self.steps) * (1000 / self.steps)
        kept = np.cos(np.pi / 2 * np.arange(self.steps + 1) / self.steps) ** 2
        return np.minimum(1 - kept[1:] / kept[:-1], 0.999)

    def kept(self) -> Float[np.ndarray, " step"]:
        """``a_t``, the share of the data in the variance after each step, float64."""
        return np.cumprod(1 - self.betas())

    def parts(self, step: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Factors of data and noise after a step."""
        kept = self.kept()
        return jnp.asarray(np.sqrt(kept), jnp.float32)[step], jnp.asarray(np.sqrt(1 - kept), jnp.float32)[step]

    def mix(self, data: Array, noise: Array, step: Int[Array, ""]) -> tuple[Array, Array]:
        """The noisy field, and what a network should answer to it."""
        data_part, noise_part = self.parts(step)
        target = noise if self.target == "noise" else data_part * noise - noise_part * data
        return data_part * data + noise_part * noise, target

    def separate(self, x: Array, answer: Array, step: Int[Array, ""]) -> tuple[Array, Array]:
        """Data and noise in a noisy field, by a network's answer."""
        data_part, noise_part = self.parts(step)
        if self.target == "noise":
            return (x - noise_part * answer) / data_part, answer
        return data_part * x - noise_part * answer, noise_part * x + data_part * answer

    def ancestral(
        self, answer: Answer, start: Array, noise: Callable[[PRNGKeyArray], Array], key: PRNGKeyArray
    ) -> Array:
        """All steps back from noise, each adding noise of variance ``beta`` but the last [Ho2020, algorithm 2]."""
        kept, betas = self.kept(), self.betas()
        before = np.concatenate([[1.0], kept[:-1]])
        # The mean of the step before, given x and the data: [Ho2020, eq. 7].
        table = np.stack(
            [
                np.sqrt(before) * betas / (1 - kept),
                np.sqrt(1 - betas) * (1 - before) / (1 - kept),
                np.sqrt(betas) * (np.arange(self.steps) > 0),
            ],
            axis=1,
        ).astype(np.float32)

        def back(x: Array, now: tuple[Array, Array, PRNGKeyArray]) -> tuple[Array, None]:
            step, (of_data, of_x, of_noise), key = now
            data, _ = self.separate(x, answer(x, step), step)
            return of_data * data + of_x * x + of_noise * noise(key), None

        steps = np.arange(self.steps - 1, -1, -1, dtype=np.int32)
        order = jnp.asarray(steps), jnp.asarray(table[steps]), jax.random.split(key, self.steps)
        return jax.lax.scan(back, start, order)[0]

    def ddim(self, answer: Answer, start: Array, steps: int) -> Array:
        """Few steps back without new noise, equally far apart [Song2021, eq. 12 with sigma = 0]."""
        chosen = np.linspace(self.steps - 1, 0, min(steps, self.steps)).round().astype(np.int32)
        kept = np.append(self.kept()[chosen[1:]], 1.0)
        table = np.stack([np.sqrt(kept), np.sqrt(1 - kept)], axis=1).astype(np.float32)

        def back(x: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
            step, (data_part, noise_part) = now
            data, noise = self.separate(x, answer(x, step), step)
            return data_part * data + noise_part * noise, None

        return jax.lax.scan(back, start, (jnp.asarray(chosen), jnp.asarray(table)))[0]
