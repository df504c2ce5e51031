"""What the closures of diffusion and of flow matching share: noise becomes what a first guess misses."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.learners.state import Metrics
from closura.reduced._refiner import Refiner, Work
from closura.reduced.learned import LearnedReconstruction
from closura.reduced.working_grid import WorkingGrid


class RefinedClosure(LearnedReconstruction):
    """A closure whose noise becomes what its first guess misses; a subclass says how, and adds its settings."""

    grid: WorkingGrid
    refiner: Refiner

    @abstractmethod
    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        """One sample of what the first guess misses, in units of its size."""

    @abstractmethod
    def noised(self, missed: Work, noise: Work, moment: Array) -> tuple[Work, Work, Float[Array, ""]]:
        """A noisy field, what the network should answer to it, and how noisy it is, at a moment of the process."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Facts of the subclass: how it is sampled, and the rest of its settings."""

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        seen = self.grid.inputs(filtered)
        mean = self.refiner.guess.mean(self.grid, seen)
        return self.refiner.close(self.grid, mean, self.missed(seen, mean, key=key))

    def facts(self) -> dict[str, Any]:
        return {
            "grid": self.grid.plain(),
            "channels": self.refiner.network.first.kernel.shape[-1],
            "layers": len(self.refiner.network.inner),
            "first_guess": self.refiner.guess.network is not None,
            **self.settings(),
        }


def untrained_parts(facts: Mapping[str, Any], *, key: PRNGKeyArray) -> tuple[WorkingGrid, Refiner]:
    """Working grid and networks of what :meth:`RefinedClosure.facts` gave."""
    grid = WorkingGrid.from_plain(facts["grid"])
    sizes = {name: facts[name] for name in ("first_guess", "channels", "layers")}
    return grid, Refiner(grid, **sizes, key=key)


def refined_loss(
    closure: RefinedClosure,
    filtered: Float[Array, "batch 2 x y"],
    residuals: Float[Array, "batch 2 X Y"],
    moments: Array,
    flatness: float,
    *,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Metrics]:
    """Square error of the network's answers at some moments of the process, and the loss of the first guess."""
    grid, refiner = closure.grid, closure.refiner

    def one(frame: Array, residual: Array, moment: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        seen = grid.inputs(frame)
        mean = refiner.guess.mean(grid, seen)
        missed, noise = refiner.missed(grid, mean, residual), refiner.noise(grid, key=key)
        x, target, angle = closure.noised(missed, noise, moment)
        answer = refiner(grid, seen, jax.lax.stop_gradient(mean), x, angle)
        first = refiner.guess.loss(grid, mean, residual, flatness)
        return first, refiner.square(grid, answer - target, flatness)

    keys = jax.random.split(key, filtered.shape[0])
    first, later = (jnp.mean(each) for each in jax.vmap(one)(filtered, residuals, moments, keys))
    return first + later, {"first_guess": first, "answer": later, "missed": refiner.guess.colour.overall(grid)}
