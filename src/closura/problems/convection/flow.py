"""Two-dimensional free convection into a stratified fluid, cooled from above.

    du/dt + u . grad u = -grad p + b e_z + nu lap u,   db/dt + u . grad b = nu lap b,   div u = 0

(Boussinesq, Prandtl number 1). Periodic in x; in z stress-free lids, a flux of buoyancy ``B`` out of the upper one and
the gradient of the initial stratification at the lower one. A mixed layer grows from the top: without entrainment to
the depth ``sqrt(2 B t) / N``, with it deeper (Turner 1973, "Buoyancy Effects in Fluids", section 9.2).

Second-order finite volumes on a staggered grid (Harlow and Welch 1965), which conserve buoyancy to rounding, with the
three-stage Runge-Kutta method ``q + dt/3, dt/2, dt`` (third order for linear equations, second for others) and a
projection in each stage: Fourier modes along x, cosines along z.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.core.case import Case
from closura.core.solver import Parameters, Solver, State
from closura.core.transfer import transfer
from closura.grids import Grid

Flow = tuple[Float[Array, "x z"], Float[Array, "x faces"], Float[Array, "x z"]]
"""Velocities at the left faces of cells and at lower and upper faces, buoyancy in cells."""

STAGES = (1 / 3, 1 / 2, 1.0)
STABLE = 1.7
"""Courant number on the imaginary axis up to which the Runge-Kutta method is stable."""


class Convection(Solver):
    """The flow in a box on a grid ``(x, z)`` of cells, z upwards.

    Parameters of a case are numbers: ``flux``, the flux of buoyancy through the surface (length^2 / time^3), and
    ``stratification``, the initial ``N^2`` (1 / time^2). Its initial data are amplitudes ``(2, waves)`` of cosines and
    sines along x, by which the buoyancy near the surface differs from the stratification: the same flow on any grid.

    Parameters
    ----------
    grid
        Cells along x and z.
    viscosity
        Viscosity and diffusivity, length^2 / time.
    """

    grid: Grid = eqx.field(static=True)
    viscosity: float = eqx.field(static=True)

    @property
    def courant_limit(self) -> float:
        return STABLE

    def init(self, case: Case) -> tuple[Flow, Parameters]:
        """At rest, stratified, with waves in a surface layer of 1/20 of the depth."""
        amplitudes, parameters = jnp.asarray(case.initial, jnp.float32), case.parameters
        nx, nz = self.grid.shape
        x = (jnp.arange(nx, dtype=jnp.float32) + 0.5) / nx
        z = heights(nz, self.grid.extent[1])
        phases = 2 * jnp.pi * x[:, None] * jnp.arange(1, amplitudes.shape[1] + 1)
        waves = jnp.cos(phases) @ amplitudes[0] + jnp.sin(phases) @ amplitudes[1]
        depth = (self.grid.extent[1] - z) / self.grid.extent[1]
        buoyancy = parameters["stratification"] * z + waves[:, None] * jnp.exp(-20 * depth)
        buoyancy = buoyancy.astype(jnp.float32)
        return (*_at_rest(nx, nz), buoyancy), parameters

    def to_grid(self, state: Flow, grid: Grid) -> Float[Array, "1 *grid"]:
        """The buoyancy: means over the cells of a grid with as many axes, or over layers of a column."""
        buoyancy = state[2]
        if grid.dimensions == 1:
            return layers(jnp.mean(buoyancy, axis=0), grid.shape[0])[None]
        return transfer(buoyancy[None], grid, centred=True)

    def adopt(self, state: State, of: Solver) -> Flow:
        """Of a column: the flow at rest with its profile."""
        (nx, nz), dz = self.grid.shape, self.grid.spacing[1]
        if isinstance(of, Convection):
            raise ValueError("flows of convection do not go from one grid to another, only their buoyancy does")
        column = of.to_grid(state, Grid((nz,), (nz * dz,), ("outflow",)))
        return (*_at_rest(nx, nz), jnp.tile(column, (nx, 1)))

    def is_valid(self, state: Flow) -> Array:
        return jnp.all(jnp.isfinite(state[2])) & jnp.all(jnp.isfinite(state[1]))

    def rate(self, state: Flow, parameters: Parameters) -> Float[Array, ""]:
        """``max |u| / dx + max |w| / dz``, or the diffusive limit where that is larger."""
        u, w, _ = state
        dx, dz = self.grid.spacing
        diffusive = STABLE / 2.5 * 4 * self.viscosity * (1 / dx**2 + 1 / dz**2)
        return jnp.maximum(jnp.max(jnp.abs(u)) / dx + jnp.max(jnp.abs(w)) / dz, diffusive)

    def advance(self, state: Flow, parameters: Parameters, dt: float | Float[Array, ""]) -> Flow:
        flux, stratification = parameters["flux"], parameters["stratification"]

        def stage(now: Flow, share: Array) -> tuple[Flow, None]:
            changes = self.tendency(now, flux, stratification)
            u, w, b = (q + (share * dt).astype(q.dtype) * dq for q, dq in zip(state, changes, strict=True))
            return (*self.project(u, w), b), None

        return jax.lax.scan(stage, state, jnp.asarray(STAGES, state[2].dtype))[0]

    def tendency(self, state: Flow, flux: Float[Array, ""], stratification: Float[Array, ""]) -> Flow:
        """Time derivatives without the pressure: divergences of fluxes, and buoyancy."""
        (u, w, b), (dx, dz), nu = state, self.grid.spacing, self.viscosity
        # Fluxes of buoyancy through left faces, and through lower and upper ones.
        through_x = u * (b + _left(b)) / 2 - nu * (b - _left(b)) / dx
        through_z = w[:, 1:-1] * (b[:, 1:] + b[:, :-1]) / 2 - nu * (b[:, 1:] - b[:, :-1]) / dz
        bottom, top = -nu * stratification, flux
        through_z = jnp.pad(through_z, ((0, 0), (1, 1)))
        through_z = through_z.at[:, 0].set(bottom).at[:, -1].set(top)
        db = -_across(through_x) / dx - _up(through_z) / dz
        # Momentum along x: fluxes in centres and at corners, without stress at the lids.
        middle = (u + _right(u)) / 2
        centre = middle * middle - nu * _across(u) / dx
        corner = (w + _left(w)) / 2
        beside = jnp.pad(u, ((0, 0), (1, 1)), mode="edge")
        upwards = corner * (beside[:, 1:] + beside[:, :-1]) / 2 - nu * _up(beside) / dz
        du = -(centre - _left(centre)) / dx - _up(upwards) / dz
        # Momentum along z, at the faces between the lids.
        inner = w[:, 1:-1]
        sideways = (u[:, 1:] + u[:, :-1]) / 2 * (inner + _left(inner)) / 2 - nu * (inner - _left(inner)) / dx
        rising = (w[:, 1:] + w[:, :-1]) / 2
        vertical = rising * rising - nu * _up(w) / dz
        dw = -_across(sideways) / dx - _up(vertical) / dz + (b[:, 1:] + b[:, :-1]) / 2
        return du, jnp.pad(dw, ((0, 0), (1, 1))), db

    def project(self, u: Float[Array, "x z"], w: Float[Array, "x faces"]) -> tuple[Array, Array]:
        """The velocity without its divergence: ``u - grad p`` with ``lap p = div u``."""
        nx, (dx, dz) = self.grid.shape[0], self.grid.spacing
        cosines, inverse = (jnp.asarray(of, u.dtype) for of in self._inverse())
        modes = jnp.fft.rfft(_across(u) / dx + _up(w) / dz, axis=0)
        # Real and imaginary parts side by side, so that products of matrices are real ones.
        parts = jnp.concatenate([modes.real, modes.imag])
        parts = (parts @ cosines.T * jnp.tile(inverse, (2, 1))) @ cosines
        real, imaginary = jnp.split(parts, 2)
        p = jnp.fft.irfft(jax.lax.complex(real, imaginary), n=nx, axis=0).astype(u.dtype)
        return u - (p - _left(p)) / dx, w.at[:, 1:-1].add(-_up(p) / dz)

    def _inverse(self) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal cosines ``(mode, z)``, and the inverse of the discrete Laplacian ``(wavenumber, mode)``."""
        (nx, nz), (dx, dz) = self.grid.shape, self.grid.spacing
        mode = np.arange(nz)
        cosines = np.sqrt(2 / nz) * np.cos(np.pi * mode[:, None] * (np.arange(nz) + 0.5) / nz)
        cosines[0] /= np.sqrt(2)
        along_x = (2 - 2 * np.cos(2 * np.pi * np.arange(nx // 2 + 1) / nx)) / dx**2
        laplacian = -(along_x[:, None] + (2 - 2 * np.cos(np.pi * mode / nz)) / dz**2)
        laplacian[0, 0] = 1.0
        inverse = 1 / laplacian
        inverse[0, 0] = 0.0  # the mean of the pressure is free
        return cosines, inverse


def _at_rest(nx: int, nz: int) -> tuple[Array, Array]:
    return jnp.zeros((nx, nz), jnp.float32), jnp.zeros((nx, nz + 1), jnp.float32)


def heights(n: int, depth: float) -> Float[Array, " z"]:
    """Heights of the middles of ``n`` cells."""
    return (jnp.arange(n, dtype=jnp.float32) + 0.5) * (depth / n)


def layers(profile: Float[Array, " z"], n: int) -> Float[Array, " layers"]:
    """Means of a profile of cells over ``n`` layers, which need not be whole cells; exact for constants in cells."""
    m = profile.shape[0]
    edges = np.arange(n + 1) * m / n
    share = np.clip(np.minimum(edges[1:, None], np.arange(1, m + 1)) - np.maximum(edges[:-1, None], np.arange(m)), 0, 1)
    return jnp.asarray(share * n / m, profile.dtype) @ profile


def _left(q: Array) -> Array:
    return jnp.concatenate([q[-1:], q[:-1]])


def _right(q: Array) -> Array:
    return jnp.concatenate([q[1:], q[:1]])


def _across(q: Array) -> Array:
    return _right(q) - q


def _up(q: Array) -> Array:
    return q[:, 1:] - q[:, :-1]
