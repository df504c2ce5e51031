"""Derivatives of periodic fields by the Fourier transform.

The derivative of a field with modes ``q_k exp(i kappa x)`` has modes ``(i kappa)^m q_k``, with
``kappa = 2 pi k / L`` [Canuto2006, section 2.1].

.. code-block:: bibtex

    @book{Canuto2006,
      title = {Spectral Methods: Fundamentals in Single Domains},
      author = {Canuto, Claudio and Hussaini, M. Yousuff and Quarteroni, Alfio and Zang, Thomas A.},
      publisher = {Springer}, year = {2006}, doi = {10.1007/978-3-540-30726-6}
    }
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.grids import Grid
from closura.numerics._checks import check_axis, check_field


def spectral_derivative(
    field: Float[Array, "component *grid"], axis: int, grid: Grid, *, order: int = 1
) -> Float[Array, "component *grid"]:
    """Derivative of a field along one periodic axis (0 = x), exact for the waves that the grid resolves.

    With an even number of points the Nyquist mode is real: it stands for a cosine whose odd derivatives vanish at
    every grid point, so it is set to zero when ``order`` is odd.

    Raises
    ------
    ValueError
        If the axis is not periodic or not one of the grid, ``order`` is not positive, or the field does not fit.
    """
    check_field(field, grid)
    check_axis(axis, grid)
    if grid.boundary[axis] != "periodic":
        raise ValueError(
            f"spectral derivatives need a periodic axis; axis {axis} is {grid.boundary[axis]!r}. "
            "Use a finite-difference scheme there"
        )
    if order < 1:
        raise ValueError(f"expected an order of the derivative >= 1; got {order}")
    size = grid.shape[axis]
    factor = (2j * np.pi / grid.extent[axis] * np.arange(size // 2 + 1)) ** order
    if size % 2 == 0 and order % 2 == 1:
        factor[-1] = 0.0
    modes = jnp.fft.rfft(field, axis=axis + 1)
    shape = [1] * field.ndim
    shape[axis + 1] = factor.size
    return jnp.fft.irfft(modes * jnp.asarray(factor.reshape(shape), modes.dtype), n=size, axis=axis + 1)


@dataclass(frozen=True)
class SpectralScheme:
    """The spectral first derivative as a scheme, next to the finite-difference ``Scheme``."""

    name: str = "spectral"
    order: float = math.inf
    upwind: bool = False

    def parts(
        self, field: Float[Array, "component *grid"], axis: int, grid: Grid
    ) -> tuple[Float[Array, "component *grid"], None]:
        """The derivative and no dissipative part (see ``Scheme.parts``)."""
        return spectral_derivative(field, axis, grid), None

    def symbol(self, theta: Float[np.ndarray, " angle"]) -> Complex[np.ndarray, " angle"]:
        """``i theta``: what the scheme, times the spacing, makes of ``exp(i theta j)``."""
        return 1j * theta
