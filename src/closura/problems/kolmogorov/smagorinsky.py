"""The Smagorinsky model: an eddy viscosity from the resolved rate of strain, on the coarse grid.

    du/dt = ... + P div(2 nu_t S),      nu_t = (C Delta)^2 |S|,      |S| = sqrt(2 S_ij S_ij)

with S the rate of strain, Delta the spacing of the grid and P the projection on velocities without divergence. Products
are taken on the solver's finer grid (the root makes them no polynomial, so that aliases remain, small ones).

Source: J. Smagorinsky, "General circulation experiments with the primitive equations. I. The basic experiment", Monthly
Weather Review 91 (1963), 99-164.
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
from closura.problems.kolmogorov.eddies import StaggeredSmagorinsky
from closura.problems.kolmogorov.filtered import Stage
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.solver import FlowSolver, Velocity
from closura.problems.kolmogorov.staggered import StaggeredFlow


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
        """P div(2 nu_t S)."""
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
        """The solver's own and the model's."""
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

    Parameters
    ----------
    flow
        The coarse solver without a model.
    velocities
        True velocities as states of that solver at every coarse step: of training flow, if results are to be held out.
    reynolds
        Reynolds number.
    time_step, steps
        The coarse time step, and in how many steps it is taken.
    constants
        Values to try.

    Returns
    -------
    The constant with the longest mean time of a vorticity correlation above 0.8, of equal ones the one with the largest
    mean correlation; and the mean correlations over simulations.
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
