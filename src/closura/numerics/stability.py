"""How large a time step may be: Courant numbers, and their limit for each pair of scheme and integrator.

A linear advection scheme with constant velocity multiplies the wave with phase angles ``theta_i`` per cell
by ``R(z)``, ``z = - sum_i sigma_i d(theta_i)``, where ``d`` is the symbol of the scheme in one dimension,
``R`` the stability polynomial of the integrator and ``sigma_i`` the Courant number along axis ``i`` (von
Neumann analysis on a periodic grid; Hirsch 2007, chapter 7). Let ``sigma = sum_i sigma_i`` and let ``H`` be
the convex hull of the points ``-d(theta)``. Then

* ``z / sigma`` is a mean of points of ``H``, and so lies in ``H``, in any number of dimensions. (A negative
  velocity conjugates its term; ``H`` is symmetric about the real axis.) Hence ``|R| <= 1`` on ``sigma H`` is
  enough. In one dimension it can ask for slightly more than necessary, in three it is necessary too: each
  point of ``H`` is a mean of three points of the curve.
* ``R`` is a polynomial: if ``|R| <= 1`` on the boundary of ``sigma H``, it is so inside.
* ``H`` contains 0 (``d(0) = 0``), so smaller ``sigma`` give smaller sets: the limit is found by bisection.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Array, Complex, Float

from closura.arrays import real_numbers
from closura.grids import Grid
from closura.numerics.differences import AnyScheme, get_scheme
from closura.numerics.integrators import Integrator, get_integrator

# Growth of |R|^2 above 1 that is put down to rounding.
_ROUNDING = 1e-13
# A pair that is unstable for every time step grows so slowly for tiny ones that rounding hides it: limits
# found below this one are none (the smallest true one of the registered pairs is 0.5).
_SMALLEST_LIMIT = 0.1


def courant_number(
    velocity: Float[Array, "dimension *grid"] | Float[np.ndarray, "dimension *grid"], grid: Grid, dt: float
) -> float:
    """The total Courant number ``sum_i max|u_i| dt / dx_i`` of a concrete velocity, wherever the maxima are."""
    speed = np.abs(real_numbers(velocity, "the velocity").astype(np.float64))
    if speed.shape != (grid.dimensions, *grid.shape):
        raise ValueError(f"expected a velocity of shape {(grid.dimensions, *grid.shape)}; got {speed.shape}")
    return float(sum(speed[axis].max() * dt / spacing for axis, spacing in enumerate(grid.spacing)))


@lru_cache(maxsize=256)
def courant_limit(scheme: str | AnyScheme, integrator: str | Integrator) -> float:
    """The largest total Courant number at which a linear advection scheme is stable in 1, 2 and 3 dimensions.

    0 for pairs that are unstable at every time step (such as central2 + forward-euler).

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    symbol = get_scheme(scheme).symbol(np.linspace(-np.pi, np.pi, 4097))
    return symbol_limit(symbol, get_integrator(integrator))


def check_time_step(
    velocity: Float[Array, "dimension *grid"] | Float[np.ndarray, "dimension *grid"],
    grid: Grid,
    dt: float,
    scheme: str | AnyScheme,
    integrator: str | Integrator,
) -> float:
    """The total Courant number (see ``courant_number``), if the time step is stable for linear advection.

    Raises
    ------
    ValueError
        If the Courant number exceeds the limit or is not finite; the message gives both and the largest
        ``dt``.
    """
    scheme, integrator = get_scheme(scheme), get_integrator(integrator)
    pair = f"{scheme.name} + {integrator.name}"
    if not dt > 0:
        raise ValueError(f"{pair}: the time step must be positive; got dt = {dt:g}")
    number, limit = courant_number(velocity, grid, dt), courant_limit(scheme, integrator)
    if number <= limit * (1 + 1e-6):  # velocities and time steps carry rounding errors
        return number
    if not np.isfinite(number):
        raise ValueError(f"the Courant number is {number}: the velocity or dt = {dt} is not finite")
    if limit == 0:
        raise ValueError(
            f"{pair} is unstable at every time step (Courant number {number:.4g}, limit 0, largest dt 0): "
            "choose another scheme or integrator"
        )
    raise ValueError(
        f"{pair}: Courant number {number:.4g} at dt = {dt:.6g} exceeds the limit {limit:.4g}; the largest "
        f"stable dt is {dt * limit / number:.6g}. Lower dt, or take a coarser grid or another integrator"
    )


def symbol_limit(symbol: Complex[np.ndarray, " angle"], integrator: Integrator) -> float:
    """The limit of a scheme by its symbol at phase angles from -pi to pi; 0 where every time step is unstable."""
    boundary = _hull_boundary(-symbol)
    coefficients = np.array(integrator.stability_polynomial)
    coefficients[0] = 0.0  # |R|^2 - 1 is computed from R - 1: no cancellation

    def stable(number: float) -> bool:
        excess = np.polynomial.polynomial.polyval(number * boundary, coefficients)
        return bool(np.max(2 * excess.real + np.abs(excess) ** 2) <= _ROUNDING)

    low, high = 0.0, 1.0
    while stable(high):
        low, high = high, 2 * high
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if stable(middle) else (low, middle)
    return low if low > _SMALLEST_LIMIT else 0.0


def _hull_boundary(points: Complex[np.ndarray, " point"]) -> Complex[np.ndarray, " boundary"]:
    """Closely spaced points along the boundary of the convex hull of plane points (Andrew's algorithm)."""
    ordered = np.unique(points)  # sorted by real, then by imaginary part
    corners: list[complex] = []
    for chain in (ordered, ordered[::-1]):
        start = len(corners)
        for point in chain:
            while len(corners) >= start + 2 and _turn(corners[-2], corners[-1], point) <= 0:
                corners.pop()
            corners.append(point)
        corners.pop()  # the other chain begins with it
    edges = zip(corners, corners[1:] + corners[:1], strict=True)
    return np.concatenate([np.linspace(a, b, 2 + int(abs(b - a) / 0.002)) for a, b in edges])


def _turn(a: complex, b: complex, c: complex) -> float:
    """Positive if the path a, b, c turns left."""
    return (b.real - a.real) * (c.imag - b.imag) - (b.imag - a.imag) * (c.real - b.real)
