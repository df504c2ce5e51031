"""What diffusion and flow matching share: noise becomes what a first guess of the residual misses.

A network sees a filtered frame, the first guess, a noisy field and how noisy it is. Noise has the size and colour of
what the first guess misses.
"""

from abc import abstractmethod
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.offline.coloured_noise import ColouredNoise, Work
from closura.offline.descent import LossAndMetrics
from closura.offline.learned_sampler import DilatedNetwork, Filtered, LearnedSampler, LearnedSettings, Residuals
from closura.offline.working_grid import WorkingGrid
from closura.settings import Count, Share

ANGLES = 7
"""Channels that :func:`angles_of` gives."""


class FirstGuess(eqx.Module):
    """A Gaussian closure: a mean from a network, and coloured noise around it.

    Where it is not ``learned`` the mean is zero, and the noise stays white, of the residual's size.
    """

    network: DilatedNetwork | None
    colour: ColouredNoise

    def __init__(
        self, grid: WorkingGrid, *, learned: bool = True, channels: int = 48, layers: int = 8, key: PRNGKeyArray
    ) -> None:
        self.network = DilatedNetwork(grid.channels, 2, channels=channels, layers=layers, key=key) if learned else None
        self.colour = ColouredNoise(grid)

    def mean(self, grid: WorkingGrid, seen: Float[Array, "channel X Y"]) -> Work:
        """Mean of the residual, given what :meth:`WorkingGrid.inputs` shows."""
        return jnp.zeros_like(seen[:2]) if self.network is None else grid.admissible(self.network(seen))

    def loss(self, grid: WorkingGrid, mean: Work, residual: Work, flatness: float) -> Float[Array, ""]:
        """Square error of the mean, modes weighed by ``flatness``, and the surprise that sizes are learned from."""
        if self.network is None:
            return jnp.zeros((), jnp.float32)
        error = residual - mean
        return self.colour.weighed(grid, error, flatness) + self.colour.surprise(grid, jax.lax.stop_gradient(error))


class Refiner(eqx.Module):
    """A first guess, and a network that turns noise into what the first guess misses.

    The noisy field is in units of what is missed, so that it is of order one however good the guess.

    Without a ``first_guess`` noise is turned into the whole residual.
    """

    guess: FirstGuess
    network: DilatedNetwork

    def __init__(self, grid: WorkingGrid, *, first_guess: bool, channels: int, layers: int, key: PRNGKeyArray) -> None:
        before, after = jax.random.split(key)
        self.guess = FirstGuess(grid, learned=first_guess, channels=channels, layers=layers, key=before)
        inputs = grid.channels + (4 if first_guess else 2) + ANGLES
        self.network = DilatedNetwork(inputs, 2, channels=channels, layers=layers, key=after)

    def __call__(self, grid: WorkingGrid, seen: Array, mean: Work, x: Work, angle: Float[Array, ""]) -> Work:
        """The network's answer to what the grid shows, the first guess ``mean``, and a noisy field ``x``.

        ``angle`` is 0 where there is no noise in it, pi/2 where there is nothing else.
        """
        known = [seen] if self.guess.network is None else [seen, mean]
        angles = jnp.broadcast_to(angles_of(angle)[:, None, None], (ANGLES, *x.shape[1:])).astype(x.dtype)
        return grid.admissible(self.network(jnp.concatenate([*known, x, angles])))

    def missed(self, grid: WorkingGrid, mean: Work, residual: Work) -> Work:
        """What the first guess misses, in units of its size; no gradient passes to the guess."""
        return jax.lax.stop_gradient((grid.admissible(residual) - mean) / self.guess.colour.overall(grid))

    def noise(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> Work:
        """Noise of the colour and size of what is missed; no gradient passes to the guess."""
        colour = self.guess.colour
        return jax.lax.stop_gradient(colour.noise(grid, key=key) / colour.overall(grid))


def angles_of(angle: Float[Array, ""]) -> Float[Array, " feature"]:
    """How noisy a field is, as a network can use it: waves of the angle, and the logarithm of noise / data."""
    multiples = jnp.asarray([1.0, 2.0, 4.0], jnp.float32) * angle
    ratio = jnp.log(jnp.tan(jnp.clip(angle, 1e-3, jnp.pi / 2 - 1e-3)))
    return jnp.concatenate([jnp.cos(multiples), jnp.sin(multiples), ratio[None] / 4]).astype(jnp.float32)


def stratified(batch: int, *, key: PRNGKeyArray) -> Float[Array, " batch"]:
    """Numbers between 0 and 1, one in each of ``batch`` equal parts: the loss varies less than with free ones."""
    return (jnp.arange(batch, dtype=jnp.float32) + jax.random.uniform(key, (batch,), jnp.float32)) / batch


@dataclass(frozen=True)
class RefinedSettings(LearnedSettings):
    """What the settings of diffusion and of flow matching share.

    Parameters
    ----------
    channels, layers
        Size of each network.
    first_guess
        Turn noise into what a first guess misses, not into the whole residual.
    flatness
        How modes are weighed in the loss: 0 as their size says, 1 all the same.
    """

    channels: Count = 48
    layers: Count = 8
    first_guess: bool = True
    flatness: Share = 0.5

    @abstractmethod
    def moments(self, batch: int, *, key: PRNGKeyArray) -> Array:
        """Random moments of the process."""

    def loss(
        self, closure: "RefinedSampler", filtered: Filtered, residuals: Residuals, *, key: Array
    ) -> LossAndMetrics:
        """Square error of the network's answers at some moments of the process, and the loss of the first guess."""
        grid, refiner = closure.grid, closure.refiner
        times, draws = jax.random.split(key)

        def one(frame: Array, residual: Array, moment: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
            seen = grid.inputs(frame)
            mean = refiner.guess.mean(grid, seen)
            missed, noise = refiner.missed(grid, mean, residual), refiner.noise(grid, key=key)
            x, target, angle = closure.noised(missed, noise, moment)
            answer = refiner(grid, seen, jax.lax.stop_gradient(mean), x, angle)
            first = refiner.guess.loss(grid, mean, residual, self.flatness)
            return first, refiner.guess.colour.weighed(grid, answer - target, self.flatness)

        moments = self.moments(filtered.shape[0], key=times)
        keys = jax.random.split(draws, filtered.shape[0])
        first, later = (jnp.mean(each) for each in jax.vmap(one)(filtered, residuals, moments, keys))
        return first + later, {"first_guess": first, "answer": later, "missed": refiner.guess.colour.overall(grid)}


class RefinedSampler(LearnedSampler):
    """A sampler whose noise becomes what its first guess misses; a subclass says how."""

    refiner: Refiner

    @classmethod
    def make(cls, grid: WorkingGrid, settings: RefinedSettings, *, key: PRNGKeyArray) -> "RefinedSampler":
        s = settings
        return cls(grid, s, Refiner(grid, first_guess=s.first_guess, channels=s.channels, layers=s.layers, key=key))

    @abstractmethod
    def missed(self, seen: Float[Array, "channel X Y"], mean: Work, *, key: PRNGKeyArray) -> Work:
        """One sample of what the first guess misses, in units of its size."""

    @abstractmethod
    def noised(self, missed: Work, noise: Work, moment: Array) -> tuple[Work, Work, Float[Array, ""]]:
        """A noisy field, what the network should answer to it, and how noisy it is, at a moment of the process."""

    def draw(self, filtered: Float[Array, "2 x y"], *, key: PRNGKeyArray) -> Float[Array, "2 X Y"]:
        seen = self.grid.inputs(filtered)
        mean = self.refiner.guess.mean(self.grid, seen)
        return mean + self.refiner.guess.colour.overall(self.grid) * self.missed(seen, mean, key=key)
