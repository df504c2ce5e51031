"""Finite differences on uniform grids: one table of stencils, one function that advects with any of them.

A scheme approximates the first derivative by ``sum_k w_k q_{i+k} / dx``; a biased stencil is given for
positive velocities and mirrored for negative ones. With its antisymmetric and symmetric parts, ``C`` and
``S``, the given stencil is ``C + S``, the mirrored one ``C - S``, and upwinding needs no branch:

    u dq/dx  ~  u C(q) + |u| S(q)

``S`` is a dissipation (a multiple of the second, fourth, sixth difference for the orders 1, 3, 5). It is
summed from ``q_{i+k} - 2 q_i + q_{i-k}``, so constant fields stay constant to the last bit.

Sources: Hirsch, Numerical Computation of Internal and External Flows, Butterworth-Heinemann 2007; Canuto, Hussaini,
Quarteroni and Zang, Spectral Methods, Springer 2006.
"""

import math
from dataclasses import dataclass
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.grids import Grid
from closura.numerics._checks import check_axis, check_dtype, check_field, check_velocity, named
from closura.numerics.padding import pad


@dataclass(frozen=True)
class Scheme:
    """A stencil for the first derivative.

    Parameters
    ----------
    name
        Name in the registry.
    order
        Order of accuracy on smooth periodic fields; checked against the coefficients. Points nearer than
        ``radius`` to an outflow boundary see repeated values: there the order is lower.
    coefficients
        Pairs of offset and weight for positive velocities, in units of one over the spacing.
    """

    name: str
    order: int
    coefficients: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        for power in range(self.order + 1):
            moment = sum(weight * offset**power for offset, weight in self.coefficients)
            if abs(moment - (power == 1)) > 1e-9:
                raise ValueError(
                    f"scheme {self.name!r} claims order {self.order}, but makes {moment:.3g} of the "
                    f"derivative of x^{power} at 0 (expected {int(power == 1)}): correct one of them"
                )

    @property
    def radius(self) -> int:
        """Largest distance, in cells, that the stencil reaches to either side."""
        return max(abs(offset) for offset, _ in self.coefficients)

    @property
    def upwind(self) -> bool:
        """Whether the stencil is biased, so that it must know the sign of the velocity."""
        return any(symmetric for _, _, symmetric in self._pairs())

    def _pairs(self) -> list[tuple[int, float, float]]:
        """Distance ``k``, weight of ``q_{i+k} - q_{i-k}`` (C) and of ``q_{i+k} - 2 q_i + q_{i-k}`` (S)."""
        weight = dict(self.coefficients)
        pairs = [(k, weight.get(k, 0.0), weight.get(-k, 0.0)) for k in range(1, self.radius + 1)]
        return [(k, (right - left) / 2, (right + left) / 2) for k, right, left in pairs]

    def parts(
        self, field: Float[Array, "component *grid"], axis: int, grid: Grid
    ) -> tuple[Float[Array, "component *grid"], Float[Array, "component *grid"] | None]:
        """The antisymmetric and the symmetric part of the derivative; no symmetric part for centred schemes.

        The derivative is their sum where the velocity is positive and their difference elsewhere.
        """
        spacing = grid.spacing[axis]
        padded = pad(field, self.radius, grid.boundary[axis], axis)
        antisymmetric, symmetric = [], []
        for k, odd, even in self._pairs():
            left, right = _shift(padded, -k, axis, self.radius), _shift(padded, k, axis, self.radius)
            if odd:
                antisymmetric.append((odd / spacing) * (right - left))
            if even:
                symmetric.append((even / spacing) * ((right + left) - 2 * field))
        return reduce(add, antisymmetric), reduce(add, symmetric) if symmetric else None

    def symbol(self, theta: Float[np.ndarray, " angle"]) -> Complex[np.ndarray, " angle"]:
        """What the stencil, times the spacing, makes of ``exp(i theta j)``, for positive velocities."""
        pairs = self._pairs()
        real = -4 * sum(even * np.sin(k * theta / 2) ** 2 for k, _, even in pairs)
        return real + 2j * sum(odd * np.sin(k * theta) for k, odd, _ in pairs)


@dataclass(frozen=True)
class SpectralScheme:
    """The first derivative by the Fourier transform, exact for the waves that a periodic grid resolves.

    Modes ``q_k exp(i kappa x)`` become ``i kappa q_k`` (Canuto et al. 2006, section 2.1). With an even number of points
    the Nyquist mode stands for a cosine whose derivative vanishes at every grid point: it is set to zero.
    """

    name: str = "spectral"
    order: float = math.inf
    upwind: bool = False

    def parts(
        self, field: Float[Array, "component *grid"], axis: int, grid: Grid
    ) -> tuple[Float[Array, "component *grid"], None]:
        """The derivative and no dissipative part (see :meth:`Scheme.parts`)."""
        if grid.boundary[axis] != "periodic":
            raise ValueError(
                f"spectral derivatives need a periodic axis; axis {axis} is {grid.boundary[axis]!r}. "
                "Use a finite-difference scheme there"
            )
        size = grid.shape[axis]
        factor = 2j * np.pi / grid.extent[axis] * np.arange(size // 2 + 1)
        if size % 2 == 0:
            factor[-1] = 0.0
        modes = jnp.fft.rfft(field, axis=axis + 1)
        shape = [1] * field.ndim
        shape[axis + 1] = factor.size
        return jnp.fft.irfft(modes * jnp.asarray(factor.reshape(shape), modes.dtype), n=size, axis=axis + 1), None

    def symbol(self, theta: Float[np.ndarray, " angle"]) -> Complex[np.ndarray, " angle"]:
        """``i theta``: what the scheme, times the spacing, makes of ``exp(i theta j)``."""
        return 1j * theta


AnyScheme = Scheme | SpectralScheme

SCHEMES: dict[str, AnyScheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("upwind1", 1, ((-1, -1.0), (0, 1.0))),
        Scheme("upwind2", 2, ((-2, 1 / 2), (-1, -2.0), (0, 3 / 2))),
        Scheme("upwind3", 3, ((-2, 1 / 6), (-1, -1.0), (0, 1 / 2), (1, 1 / 3))),
        Scheme("upwind5", 5, ((-3, -1 / 30), (-2, 1 / 4), (-1, -1.0), (0, 1 / 3), (1, 1 / 2), (2, -1 / 20))),
        Scheme("central2", 2, ((-1, -1 / 2), (1, 1 / 2))),
        Scheme("central4", 4, ((-2, 1 / 12), (-1, -2 / 3), (1, 2 / 3), (2, -1 / 12))),
        SpectralScheme(),
    )
}


def get_scheme(scheme: str | AnyScheme) -> AnyScheme:
    """The scheme of this name; a scheme is handed back as it is."""
    return named("scheme", SCHEMES, scheme)


def derivative(
    field: Float[Array, "component *grid"],
    axis: int,
    grid: Grid,
    scheme: str | AnyScheme,
    *,
    velocity: Float[Array, "*grid"] | None = None,
) -> Float[Array, "component *grid"]:
    """First derivative of a field along one axis (0 = x), by a scheme or its name.

    By the ``velocity`` along ``axis`` biased stencils lean to the left where it is positive and to the right elsewhere
    (zero included). Centred schemes do not look at it.

    Raises
    ------
    ValueError
        If an upwind scheme gets no velocity, or names, shapes or dtypes do not fit.
    """
    scheme = get_scheme(scheme)
    check_field(field, grid)
    check_axis(axis, grid)
    if scheme.upwind and velocity is None:
        raise ValueError(f"scheme {scheme.name!r} is biased: pass velocity=, the velocity along axis {axis}")
    antisymmetric, symmetric = scheme.parts(field, axis, grid)
    if symmetric is None or velocity is None:
        return antisymmetric
    if velocity.shape != grid.shape:
        raise ValueError(f"expected a velocity of the grid's shape {grid.shape}; got {velocity.shape}")
    check_dtype("velocity", velocity, field)
    return jnp.where(velocity[None] > 0, antisymmetric + symmetric, antisymmetric - symmetric)


def advective_derivative(
    field: Float[Array, "component *grid"],
    velocity: Float[Array, "dimension *grid"],
    grid: Grid,
    scheme: str | AnyScheme,
) -> Float[Array, "component *grid"]:
    """The advective derivative ``sum_i u_i dq/dx_i``, in the non-conservative form, by a scheme or its name.

    The right-hand side of an advection equation is its negative. For momentum, pass the same array twice.

    Raises
    ------
    ValueError
        If names, shapes or dtypes do not fit.
    """
    scheme = get_scheme(scheme)
    check_field(field, grid)
    check_velocity(velocity, field, grid)
    terms = []
    for axis in range(grid.dimensions):
        along = velocity[axis][None]
        antisymmetric, symmetric = scheme.parts(field, axis, grid)
        terms.append(along * antisymmetric)
        if symmetric is not None:
            terms.append(jnp.abs(along) * symmetric)
    return reduce(add, terms)


def second_derivative(field: Float[Array, "component *grid"], axis: int, grid: Grid) -> Float[Array, "component *grid"]:
    """Second derivative of a field along one axis (0 = x) by the centred stencil of three points, of order 2."""
    check_field(field, grid)
    check_axis(axis, grid)
    padded = pad(field, 1, grid.boundary[axis], axis)
    left, right = _shift(padded, -1, axis, 1), _shift(padded, 1, axis, 1)
    return (1.0 / grid.spacing[axis] ** 2) * ((right + left) - 2 * field)


def laplacian(field: Float[Array, "component *grid"], grid: Grid) -> Float[Array, "component *grid"]:
    """The Laplacian of every component: the sum of ``second_derivative`` over the axes of the grid."""
    return reduce(add, (second_derivative(field, axis, grid) for axis in range(grid.dimensions)))


def _shift(
    padded: Float[Array, "component *padded"], offset: int, axis: int, width: int
) -> Float[Array, "component *grid"]:
    """The field ``q_{i+offset}``, cut out of the field with ``width`` ghost points along ``axis``."""
    start = width + offset
    return jax.lax.slice_in_dim(padded, start, padded.shape[axis + 1] - 2 * width + start, axis=axis + 1)
