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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.learners.descent import DescentConfiguration
from closura.learners.state import Metrics
from closura.reduced._refined import RefinedClosure, refined_loss, untrained_parts
from closura.reduced._refiner import Refiner, Work, stratified
from closura.reduced.learned import LearnedRecipe
from closura.reduced.reconstruction import register
from closura.reduced.working_grid import WorkingGrid
from closura.settings import Count, Natural, Share

Method = Literal["euler", "heun"]
METHODS: tuple[Method, ...] = get_args(Method)


class FlowClosure(RefinedClosure):
    """A flow from noise to residuals on a working grid."""

    grid: WorkingGrid
    refiner: Refiner
    method: Method = eqx.field(static=True)
    sampling_steps: int = eqx.field(static=True)

    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        start = self.refiner.noise(self.grid, key=key)

        def velocity(x: Array, time: Float[Array, ""]) -> Array:
            return self.refiner(self.grid, seen, mean, x, angle_at(time))

        return integrate(velocity, start, self.sampling_steps, self.method)

    def noised(self, missed: Work, noise: Work, moment: Float[Array, ""]) -> tuple[Work, Work, Float[Array, ""]]:
        return (1 - moment) * noise + moment * missed, missed - noise, angle_at(moment)

    def with_sampler(self, method: Method, steps: int) -> "FlowClosure":
        """The same closure, integrated otherwise.

        Raises
        ------
        ValueError
            If the method is unknown or there are no steps.
        """
        check_method(method, steps)
        return FlowClosure(self.grid, self.refiner, method, steps)

    def settings(self) -> dict[str, Any]:
        return {"method": self.method, "sampling_steps": self.sampling_steps}

    @classmethod
    def untrained(cls, facts: Mapping[str, Any], *, key: PRNGKeyArray) -> "FlowClosure":
        return cls(*untrained_parts(facts, key=key), facts["method"], facts["sampling_steps"])


def angle_at(time: Float[Array, ""]) -> Float[Array, ""]:
    """How noisy a field is at a time between 0 (noise, pi/2) and 1 (data, 0)."""
    return (1 - time) * (jnp.pi / 2)


def integrate(
    velocity: Callable[[Array, Float[Array, ""]], Array], start: Array, steps: int, method: Method = "heun"
) -> Array:
    """Follow a velocity from time 0 to 1 in equal steps: Euler (one evaluation each) or Heun (two).

    Raises
    ------
    ValueError
        If the method is unknown or there are no steps.
    """
    check_method(method, steps)

    def step(x: Array, time: Array) -> tuple[Array, None]:
        v = velocity(x, time)
        if method == "heun":
            v = (v + velocity(x + v / steps, time + 1 / steps)) / 2
        return x + v / steps, None

    return jax.lax.scan(step, start, jnp.arange(steps, dtype=jnp.float32) / steps)[0]


def check_method(method: str, steps: int) -> None:
    """Refuse integrations that do not exist.

    Raises
    ------
    ValueError
        If the method is unknown or there are no steps.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; valid: {', '.join(METHODS)}")
    if steps < 1:
        raise ValueError(f"sampling needs at least one step; got {steps}")


@dataclass(frozen=True)
class FlowRecipe(LearnedRecipe):
    """Settings of the flow-matching closure.

    Parameters
    ----------
    channels, layers
        Size of each network.
    first_guess
        Carry noise to what a first guess misses, not to the whole residual.
    method, sampling_steps
        How the velocity is integrated; two evaluations per step of "heun". Fewer make ensembles too narrow.
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
    method: Method = "heun"
    sampling_steps: Count = 3
    flatness: Share = 0.5
    working_points: Natural = 0
    symmetries: bool = True
    descent: DescentConfiguration = field(default_factory=DescentConfiguration)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_method(self.method, self.sampling_steps)

    def initial(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> FlowClosure:
        """The untrained closure."""
        refiner = Refiner(grid, first_guess=self.first_guess, channels=self.channels, layers=self.layers, key=key)
        return FlowClosure(grid, refiner, self.method, self.sampling_steps)

    def loss(
        self,
        closure: FlowClosure,
        filtered: Float[Array, "batch 2 x y"],
        residuals: Float[Array, "batch 2 X Y"],
        *,
        key: PRNGKeyArray,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Square error of the velocity at random times [Lipman2023, eq. 23], and the loss of the first guess."""
        moments, draws = jax.random.split(key)
        times = stratified(filtered.shape[0], key=moments)
        return refined_loss(closure, filtered, residuals, times, self.flatness, key=draws)


register("flow", FlowRecipe, FlowClosure)
