"""Flow matching: an ordinary differential equation that carries noise to what is missing.

Noise and data are joined by straight lines, ``x_t = (1 - t) noise + t data``. A network learns the mean velocity
``data - noise`` of the lines through a point; integrating it from ``t = 0`` to 1 turns noise into samples
[Lipman2023; Liu2023]. As in ``diffusion.py``, noise has the size and colour of what a first guess misses, so the lines
are short: where the misses are Gaussian already, nothing needs to move.

.. code-block:: bibtex

    @inproceedings{Lipman2023,
      title = {Flow Matching for Generative Modeling},
      author = {Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matt},
      booktitle = {International Conference on Learning Representations}, year = {2023}
    }
    @inproceedings{Liu2023,
      title = {Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow},
      author = {Liu, Xingchao and Gong, Chengyue and Liu, Qiang},
      booktitle = {International Conference on Learning Representations}, year = {2023}
    }
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.coloured_noise import Work
from closura.offline.first_guess import RefinedSampler, RefinedSettings, stratified
from closura.offline.sampler import sampler
from closura.settings import Count

Method = Literal["euler", "heun"]


@dataclass(frozen=True)
class FlowMatchingSettings(RefinedSettings):
    """Settings of the flow-matching closure; its loss is the square error of the velocity [Lipman2023, eq. 23].

    Parameters
    ----------
    method, sampling_steps
        How the velocity is integrated; two evaluations per step of "heun". Fewer make ensembles too narrow.
    """

    method: Method = "heun"
    sampling_steps: Count = 3

    OF_NETWORK: ClassVar[tuple[str, ...]] = ("channels", "layers", "first_guess", "method", "sampling_steps")

    def moments(self, batch: int, *, key: PRNGKeyArray) -> Float[Array, " batch"]:
        return stratified(batch, key=key)


@sampler("flow", settings=FlowMatchingSettings)
class FlowMatchingSampler(RefinedSampler):
    """A flow from noise to residuals on a working grid."""

    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        start = self.refiner.noise(self.grid, key=key)

        def velocity(x: Array, time: Float[Array, ""]) -> Array:
            return self.refiner(self.grid, seen, mean, x, angle_at(time))

        return integrate(velocity, start, self.settings.sampling_steps, self.settings.method)

    def noised(self, missed: Work, noise: Work, moment: Float[Array, ""]) -> tuple[Work, Work, Float[Array, ""]]:
        return (1 - moment) * noise + moment * missed, missed - noise, angle_at(moment)


def angle_at(time: Float[Array, ""]) -> Float[Array, ""]:
    """How noisy a field is at a time between 0 (noise, pi/2) and 1 (data, 0)."""
    return (1 - time) * (jnp.pi / 2)


def integrate(
    velocity: Callable[[Array, Float[Array, ""]], Array], start: Array, steps: int, method: Method = "heun"
) -> Array:
    """Follow a velocity from time 0 to 1 in equal steps: Euler (one evaluation each) or Heun (two)."""

    def step(x: Array, time: Array) -> tuple[Array, None]:
        v = velocity(x, time)
        if method == "heun":
            v = (v + velocity(x + v / steps, time + 1 / steps)) / 2
        return x + v / steps, None

    return jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.float32) / steps)[0]
