"""Gaussian noise on a working grid with one size per shell of wavenumbers.

What is missing in a filtered field falls by orders of magnitude from the largest to the smallest waves, and so does
what a network cannot know of it. White noise would drown the small waves, so noise here has learned sizes: those of
the errors of a mean (maximum likelihood), shell by shell.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.numerics.fourier import wavenumbers, weights_of_modes
from closura.offline.working_grid import WorkingGrid

PACE = 10.0
"""Logarithms of sizes are stored divided by it: Adam moves all numbers alike, and these have far to go."""

SMALLEST = 1e-5
"""Least size, in units of the residual's: about what float32 resolves."""

Work = Float[Array, "component X Y"]


class ColouredNoise(eqx.Module):
    """Noise ``size(|k|) * white`` in the space of admissible residuals.

    Parameters
    ----------
    grid
        The working grid; methods expect the same.
    """

    slow_logarithms: Float[Array, " shell"]

    def __init__(self, grid: WorkingGrid) -> None:
        self.slow_logarithms = jnp.zeros(grid.working_points, jnp.float32)

    def logarithms(self, grid: WorkingGrid) -> Float[Array, "kx ky"]:
        """Logarithm of the size of every mode."""
        shell, _ = modes_of(grid)
        return jnp.maximum(PACE * self.slow_logarithms, float(np.log(SMALLEST)))[shell]

    def overall(self, grid: WorkingGrid) -> Float[Array, ""]:
        """Root mean square of the noise over degrees of freedom; one before training."""
        share = jnp.asarray(modes_of(grid)[1], jnp.float32)
        return jnp.sqrt(jnp.sum(share * jnp.exp(2 * self.logarithms(grid))))

    def noise(self, grid: WorkingGrid, *, key: PRNGKeyArray) -> Work:
        """One field of noise."""
        n = grid.working_points
        white = jax.random.normal(key, (2, n, n), jnp.float32)
        return grid.admissible(jnp.fft.irfft2(jnp.fft.rfft2(white) * jnp.exp(self.logarithms(grid)), s=(n, n)))

    def surprise(self, grid: WorkingGrid, error: Work) -> Float[Array, ""]:
        """Minus the logarithm of the error's density, per degree of freedom, without the constant log(2 pi) / 2."""
        _, share = modes_of(grid)
        return jnp.sum(jnp.asarray(share, jnp.float32) * self.logarithms(grid)) + self.square(grid, error, 1.0) / 2

    def square(self, grid: WorkingGrid, error: Work, flatness: float = 0.0) -> Float[Array, ""]:
        """Mean square of an error over degrees of freedom, modes divided by ``size**flatness``.

        Flatness 0 is the mean square of points, where large waves are nearly all; with 1 every mode weighs the same.
        """
        n = grid.working_points
        _, share = modes_of(grid)
        degrees = np.where(share > 0, weights_of_modes(n), 0.0) / (n**2 * degrees_of_freedom(grid))
        power = jnp.sum(jnp.square(jnp.abs(jnp.fft.rfft2(error))), axis=0)
        return jnp.sum(power * jnp.asarray(degrees, jnp.float32) * jnp.exp(-2 * flatness * self.logarithms(grid)))

    def weighed(self, grid: WorkingGrid, error: Work, flatness: float) -> Float[Array, ""]:
        """:meth:`square`, times the noise's own size to the same power; no gradient passes to the sizes."""
        fixed: ColouredNoise = jax.lax.stop_gradient(self)
        return fixed.square(grid, error, flatness) * fixed.overall(grid) ** (2 * flatness)


def modes_of(grid: WorkingGrid) -> tuple[np.ndarray, np.ndarray]:
    """Shell of every mode of the half spectrum, and its share of the degrees of freedom of admissible residuals."""
    counts = _counts(grid)
    kx, ky = wavenumbers(grid.working_points)
    return np.floor(np.hypot(kx, ky) + 0.5).astype(np.int32), counts / counts.sum()


def degrees_of_freedom(grid: WorkingGrid) -> float:
    """Real numbers that an admissible residual consists of."""
    return float(_counts(grid).sum())


def _counts(grid: WorkingGrid) -> np.ndarray:
    n = grid.working_points
    keep = grid.missing_modes()
    directions = np.full(keep.shape, 1.0 if grid.solenoidal else 2.0)
    directions[0, 0] = 2.0
    return keep * directions * weights_of_modes(n)
