"""What diffusion and flow matching share: a network that sees a filtered frame, a noisy field and how noisy it is."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.reduced._colour import FirstGuess
from closura.reduced.network import DilatedNetwork
from closura.reduced.working_grid import WorkingGrid

Work = Float[Array, "component X Y"]
ANGLES = 7
"""Channels that :func:`angles_of` gives."""


class Refiner(eqx.Module):
    """A first guess, and a network that turns noise into what the first guess misses.

    The noisy field is in units of what is missed, so that it is of order one however good the guess.

    Parameters
    ----------
    grid
        The working grid.
    first_guess
        Whether there is a first guess; otherwise noise is turned into the whole residual.
    channels, layers
        Size of each of the two networks.
    key
        Random key.
    """

    guess: FirstGuess
    network: DilatedNetwork

    def __init__(self, grid: WorkingGrid, *, first_guess: bool, channels: int, layers: int, key: PRNGKeyArray) -> None:
        before, after = jax.random.split(key)
        self.guess = FirstGuess(grid, learned=first_guess, channels=channels, layers=layers, key=before)
        inputs = grid.channels + (4 if first_guess else 2) + ANGLES
        self.network = DilatedNetwork(inputs, 2, channels=channels, layers=layers, key=after)

    def __call__(self, grid: WorkingGrid, seen: Array, mean: Work, x: Work, angle: Float[Array, ""]) -> Work:
        """The network's answer.

        Parameters
        ----------
        grid
            The working grid.
        seen
            What :meth:`WorkingGrid.inputs` shows.
        mean
            The first guess.
        x
            The noisy field.
        angle
            0: no noise in it; pi/2: nothing else.
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

    def square(self, grid: WorkingGrid, error: Work, flatness: float) -> Float[Array, ""]:
        """Mean square of an error of an answer, modes weighed by ``flatness``."""
        colour = jax.lax.stop_gradient(self.guess.colour)
        return colour.square(grid, error, flatness) * colour.overall(grid) ** (2 * flatness)

    def close(self, grid: WorkingGrid, mean: Work, missed: Work) -> Work:
        """The residual."""
        return mean + self.guess.colour.overall(grid) * missed


def angles_of(angle: Float[Array, ""]) -> Float[Array, " feature"]:
    """How noisy a field is, as a network can use it: waves of the angle, and the logarithm of noise / data."""
    multiples = jnp.asarray([1.0, 2.0, 4.0], jnp.float32) * angle
    ratio = jnp.log(jnp.tan(jnp.clip(angle, 1e-3, jnp.pi / 2 - 1e-3)))
    return jnp.concatenate([jnp.cos(multiples), jnp.sin(multiples), ratio[None] / 4]).astype(jnp.float32)


def stratified(batch: int, *, key: PRNGKeyArray) -> Float[Array, " batch"]:
    """Numbers between 0 and 1, one in each of ``batch`` equal parts: the loss varies less than with free ones."""
    return (jnp.arange(batch, dtype=jnp.float32) + jax.random.uniform(key, (batch,), jnp.float32)) / batch
