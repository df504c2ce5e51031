"""Smagorinsky models: an eddy viscosity from the resolved rate of strain, of spectral and of staggered solvers.

    du/dt = ... + P div(2 nu_t S),      nu_t = (C Delta)^2 |S|,      |S| = sqrt(2 S_ij S_ij)

with S the rate of strain, Delta the spacing of the grid and P the projection on velocities without divergence. Products
are taken on the spectral solver's finer grid (the root makes them no polynomial, so that aliases remain, small ones).

Sources: Smagorinsky, Monthly Weather Review 91 (1963), 99-164; Germano et al., Physics of Fluids A 3 (1991), doi
10.1063/1.857955; Lilly, Physics of Fluids A 4 (1992), doi 10.1063/1.858280; San, International Journal of Computational
Fluid Dynamics 28 (2014), doi 10.1080/10618562.2014.963565.
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.metrics.ensembles import vorticity_correlation
from closura.numerics.fourier import Spectrum, divergence_free, refine, resolved, wavenumbers
from closura.problems.kolmogorov.flow import FlowSolver, KolmogorovFlow, Stage, Velocity
from closura.problems.kolmogorov.staggered import HALO, Interpolated, Padded, StaggeredFlow


class SmagorinskyFlow(KolmogorovFlow):
    """The solver with an eddy viscosity; ``constant`` is C, an array so that one program serves all values."""

    constant: Float[Array, ""] = eqx.field(kw_only=True, default_factory=lambda: jnp.asarray(0.1, jnp.float32))

    @property
    def width(self) -> float:
        """Delta: spacing of the grid."""
        return 2 * math.pi / self.points

    def strain(self, spectrum: Spectrum) -> Float[Array, "3 x_ y_"]:
        """S_xx (which is -S_yy), S_xy, and |S|, on the solver's finer grid."""
        real = spectrum.real.dtype
        m = self.fine_points
        kx, ky = (jnp.asarray(k, real) for k in wavenumbers(self.points))
        kept = spectrum * jnp.asarray(resolved(self.points, self.nyquist), real)
        rates = jnp.stack([1j * kx * kept[0], 0.5j * (ky * kept[0] + kx * kept[1])])
        s_xx, s_xy = jnp.fft.irfft2(refine(rates, m), s=(m, m))
        return jnp.stack([s_xx, s_xy, 2 * jnp.sqrt(s_xx**2 + s_xy**2)])

    def eddy_stress(self, spectrum: Spectrum) -> Spectrum:
        real = spectrum.real.dtype
        n, m, half = self.points, self.fine_points, self.points // 2
        s_xx, s_xy, size = self.strain(spectrum)
        viscosity = jnp.square(self.constant.astype(real) * self.width) * size
        stress = jnp.fft.rfft2(2 * viscosity * jnp.stack([s_xx, s_xy])) * (n / m) ** 2
        stress = jnp.concatenate([stress[:, :half, : half + 1], stress[:, m - half :, : half + 1]], axis=1)
        stress = stress * jnp.asarray(resolved(n, self.nyquist), real)
        kx, ky = (jnp.asarray(k, real) for k in wavenumbers(n))
        return divergence_free(1j * jnp.stack([kx * stress[0] + ky * stress[1], kx * stress[1] - ky * stress[0]]))

    def tendency(self, spectrum: Spectrum, reynolds: Float[Array, ""], stage: Stage = 0) -> Spectrum:
        return super().tendency(spectrum, reynolds, stage) + self.eddy_stress(spectrum)


def with_constant(flow: FlowSolver, constant: Float[Array, ""]) -> FlowSolver:
    """The same solver with a Smagorinsky model of a given constant."""
    same: dict[str, Any] = {"drag": flow.drag, "strength": flow.strength, "constant": constant}
    if isinstance(flow, StaggeredFlow):
        return StaggeredSmagorinsky(flow.points, flow.forcing, flow.convection, **same)
    if isinstance(flow, KolmogorovFlow):
        return SmagorinskyFlow(flow.points, flow.forcing, flow.padding, flow.nyquist, **same)
    raise TypeError(f"there is no Smagorinsky model for {type(flow).__name__}")


def tune(
    flow: FlowSolver,
    velocities: Float[Array, "simulation times 2 x y"],
    reynolds: float,
    time_step: float,
    steps: int,
    *,
    constants: tuple[float, ...] = (0.0, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.25),
) -> tuple[float, Float[np.ndarray, "constant later"]]:
    """The constant whose runs stay correlated with the reference for longest, and mean correlations of all.

    ``velocities`` of training flow are states of the coarse solver at every coarse step, which is taken in ``steps``.
    The time counts with a vorticity correlation above 0.8; of equal ones the constant with the largest mean
    correlation.
    """
    seen = lambda velocity: jnp.fft.irfft2(flow.to_spectrum(velocity), s=(flow.points, flow.points))

    @jax.jit
    def forecast(constant: Float[Array, ""], start: Velocity) -> Float[Array, "later 2 x y"]:
        model = with_constant(flow, constant)

        def step(velocity: Velocity, _: None) -> tuple[Velocity, Velocity]:
            velocity = model.advance(velocity, jnp.asarray(reynolds, jnp.float32), time_step / steps, steps)
            return velocity, seen(velocity)

        return jax.lax.scan(step, start, None, length=velocities.shape[1] - 1)[1]

    def correlation(constant: float, one: Float[Array, "times 2 x y"]) -> Float[np.ndarray, " later"]:
        found, true = forecast(jnp.asarray(constant, jnp.float32), one[0]), jax.jit(jax.vmap(seen))(one[1:])
        with np.errstate(over="ignore", invalid="ignore"):
            return vorticity_correlation(np.asarray(found), np.asarray(true))

    simulations = velocities.astype(jnp.float32)
    each = np.asarray([[correlation(constant, one) for one in simulations] for constant in constants])
    ends = np.logical_and.accumulate(each > 0.8, axis=-1).sum(axis=-1).mean(axis=-1)
    means = np.where(np.isfinite(each), each, 0.0).mean(axis=(1, 2))
    best = max(range(len(constants)), key=lambda i: (ends[i], means[i]))
    return constants[best], each.mean(axis=1)


Plane = Float[Array, "x1 y1"]


class StaggeredSmagorinsky(StaggeredFlow):
    """The staggered solver with an eddy viscosity, by a constant or by the dynamic procedure.

    ``constant`` is the root of C in ``nu_t = C Delta^2 |S|``, an array so that one program serves all values, chosen on
    training flow. With ``dynamic`` C follows from the flow, for what the model says of the fluxes between the grid and
    a filter of twice its width has to be what they are there (Germano et al. 1991), by least squares over the box
    (Lilly 1992). In two dimensions it is the flux of vorticity w that has a forward cascade (that of momentum has C <=
    0 here, measured), so (San 2014)

        L_j = ^(u_j w) - ^u_j ^w ,   M_j = Delta^2 (^(|S| d_j w) - 4 |^S| d_j ^w) ,   C = max(0, <L M> / <M M>)

    The filter ^ is the trapezoidal rule over two cells (1/4, 1/2, 1/4) along both axes.
    """

    constant: Float[Array, ""] = eqx.field(kw_only=True, default_factory=lambda: jnp.asarray(0.1, jnp.float32))
    dynamic: bool = eqx.field(static=True, default=False, kw_only=True)

    def eddy_viscosity(self, padded: Padded, at: Interpolated, along: Plane, across: Plane) -> tuple[Plane, Plane]:
        """``nu_t`` in centres and corners; ``along`` and ``across`` are du/dx - dv/dy and du/dy + dv/dx."""
        # Squares of what stands in the other places, averaged over the four around.
        size_in_centres = jnp.sqrt(_square(along) + _four(_square(across), after=True))
        size_in_corners = jnp.sqrt(_square(across) + _four(_square(along), after=False))
        if self.dynamic:
            factor = self.coefficient(padded, at, along, across)
        else:
            factor = jnp.square(self.constant.astype(along.dtype))
        factor = factor * self.spacing**2
        return factor * size_in_centres, factor * size_in_corners

    def coefficient(self, padded: Padded, at: Interpolated, along: Plane, across: Plane) -> Float[Array, ""]:
        """C of the dynamic procedure, from velocities, vorticity and rates of strain in centres."""
        d = self.spacing
        u, v = at.u_centre[:-1, :-1], at.v_centre[:-1, :-1]
        inner = slice(HALO - 1, -HALO)
        # In corners -1 to n - 1, as the rates across.
        spin = (padded[1, HALO : 1 - HALO, inner] - padded[1, inner, inner]) / d
        spin = spin - (padded[0, inner, HALO : 1 - HALO] - padded[0, inner, inner]) / d
        low, high = spin[:-1], spin[1:]
        w = 0.25 * (low[:, :-1] + low[:, 1:] + high[:, :-1] + high[:, 1:])
        gradient = (
            0.5 * (high[:, :-1] + high[:, 1:] - low[:, :-1] - low[:, 1:]) / d,
            0.5 * (low[:, 1:] + high[:, 1:] - low[:, :-1] - high[:, :-1]) / d,
        )
        rates = along[:-1, :-1], _inner_four(across)
        size = jnp.sqrt(_square(rates[0]) + _square(rates[1]))
        size_of_filtered = jnp.sqrt(_square(_test_filter(rates[0])) + _square(_test_filter(rates[1])))
        product, square = jnp.zeros((), u.dtype), jnp.zeros((), u.dtype)
        for velocity, slope in zip((u, v), gradient, strict=True):
            leonard = _test_filter(velocity * w) - _test_filter(velocity) * _test_filter(w)
            model = d**2 * (_test_filter(size * slope) - 4 * size_of_filtered * _test_filter(slope))
            product, square = product + jnp.mean(leonard * model), square + jnp.mean(_square(model))
        return jnp.maximum(product / jnp.maximum(square, 1e-30), 0.0).astype(along.dtype)


def _square(field: Plane) -> Plane:
    return field * field


def _four(field: Plane, *, after: bool) -> Plane:
    """Mean of the four values around a place of the other kind; the last row and column are those of the period.

    Centres 0 to n lie between corners -1 to n - 1 (``after``: index i between i and i + 1), corners between centres.
    """
    if after:
        wide = jnp.pad(field, [(0, 1), (0, 1)])
        # Corner n is corner 0: index n + 1 stands for index 1.
        wide = wide.at[-1, :-1].set(field[1, :]).at[:-1, -1].set(field[:, 1]).at[-1, -1].set(field[1, 1])
    else:
        wide = jnp.pad(field, [(1, 0), (1, 0)])
        wide = wide.at[0, 1:].set(field[-2, :]).at[1:, 0].set(field[:, -2]).at[0, 0].set(field[-2, -2])
    return 0.25 * (wide[1:, 1:] + wide[1:, :-1] + wide[:-1, 1:] + wide[:-1, :-1])


def _inner_four(corners: Plane) -> Float[Array, "x y"]:
    """Means in centres 0 to n - 1 of the corners around them."""
    return 0.25 * (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1])


def _test_filter(field: Float[Array, "x y"]) -> Float[Array, "x y"]:
    rows = jnp.concatenate([field[-1:], field, field[:1]])
    field = 0.25 * rows[:-2] + 0.5 * rows[1:-1] + 0.25 * rows[2:]
    columns = jnp.concatenate([field[:, -1:], field, field[:, :1]], axis=1)
    return 0.25 * columns[:, :-2] + 0.5 * columns[:, 1:-1] + 0.25 * columns[:, 2:]
