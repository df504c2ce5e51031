"""The same flow by finite volumes of second order on a staggered grid, as engineering and ocean codes have them.

Cell (i, j) has its centre at (i d, j d), d the spacing; u stands on its face towards larger x, v on that towards larger
y: means over faces, so that the flow into a cell is exact. Momentum fluxes u u and v v stand in centres, u v in corners
(Harlow and Welch 1965); the pressure makes the discrete divergence zero (a discrete Poisson equation, by Fourier
transforms); classical Runge-Kutta in time, each stage projected.

``convection`` says how a velocity is interpolated to where it is carried:

* ``"central2"``: the mean of both neighbours. Keeps the kinetic energy (but for time integration); on coarse grids the
  smallest scales fill up.
* ``"quick"``: quadratic upstream interpolation (Leonard 1979), a third-order upwind scheme, whose dissipation stands in
  for a model of what the grid does not hold (implicit large-eddy simulation).

A half spectrum is turned into face means exactly (a factor sin(k d/2)/(k d/2) along each face, a shift by d/2 across):
a velocity without divergence has none on this grid either.

Sources: Harlow and Welch, Physics of Fluids 8 (1965), doi 10.1063/1.1761178; Leonard, Computer Methods in Applied
Mechanics and Engineering 19 (1979), doi 10.1016/0045-7825(79)90034-3.
"""

import math
from functools import partial
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.numerics import pad_all
from closura.numerics.fourier import Spectrum, resolved, wavenumbers
from closura.problems.kolmogorov.flow import FlowSolver, Velocity, runge_kutta
from closura.problems.reference import Step

Convection = Literal["central2", "quick"]
CONVECTIONS: tuple[Convection, ...] = get_args(Convection)

HALO = 2
"""Cells that stencils reach over: fields are padded by as many before anything is computed."""

Padded = Float[Array, "2 x_ y_"]


class Interpolated(NamedTuple):
    """Velocities where fluxes are: in centres and corners of the cells, each ``(x + 1, y + 1)``.

    Centres are those of cells 0 to n, corners the upper ones of cells -1 to n - 1.
    """

    u_centre: Float[Array, "x1 y1"]
    v_centre: Float[Array, "x1 y1"]
    u_corner: Float[Array, "x1 y1"]
    v_corner: Float[Array, "x1 y1"]


class StaggeredFlow(FlowSolver):
    """A finite-volume solver; see the module's text."""

    convection: Convection = eqx.field(static=True, default="central2")

    def __check_init__(self) -> None:
        wavenumbers(self.points)
        if self.convection not in CONVECTIONS:
            raise ValueError(f"unknown convection {self.convection!r}; valid: {', '.join(CONVECTIONS)}")
        if not 1 <= self.forcing < self.points // 2:
            raise ValueError(
                f"{self.points} cells per side resolve forcing wavenumbers 1 to {self.points // 2 - 1}; "
                f"got {self.forcing}"
            )

    @property
    def spacing(self) -> float:
        """Side of a cell."""
        return 2 * math.pi / self.points

    @property
    def scheme(self) -> str:
        return self.convection

    def to_velocity(self, spectrum: Spectrum) -> Velocity:
        return jnp.fft.irfft2(spectrum * self._faces(spectrum.dtype), s=(self.points, self.points))

    def to_spectrum(self, velocity: Velocity) -> Spectrum:
        """Half spectrum of the velocity in points; Nyquist waves are left out."""
        spectrum = jnp.fft.rfft2(velocity)
        keep = jnp.asarray(resolved(self.points), velocity.dtype)
        return keep * spectrum / self._faces(spectrum.dtype)

    def _faces(self, dtype: jnp.dtype) -> Complex[Array, "2 kx ky"]:
        kx, ky = wavenumbers(self.points)
        half = self.spacing / 2
        u = np.exp(1j * half * kx) * np.sinc(ky * half / np.pi)
        v = np.exp(1j * half * ky) * np.sinc(kx * half / np.pi)
        return jnp.asarray(np.stack([u, v]), dtype)

    def interpolate(self, padded: Padded) -> Interpolated:
        """The mean of both neighbours, in centres and corners."""
        u, v = partial(_at, padded, 0), partial(_at, padded, 1)
        return Interpolated(
            0.5 * (u(-1, 0) + u(0, 0)),
            0.5 * (v(0, -1) + v(0, 0)),
            0.5 * (u(-1, -1) + u(-1, 0)),
            0.5 * (v(-1, -1) + v(0, -1)),
        )

    def strain(self, padded: Padded) -> tuple[Float[Array, "x1 y1"], Float[Array, "x1 y1"]]:
        """``du/dx - dv/dy`` in centres and ``du/dy + dv/dx`` in corners, of the same points as the fluxes."""
        u, v, d = partial(_at, padded, 0), partial(_at, padded, 1), self.spacing
        along = (u(0, 0) - u(-1, 0)) - (v(0, 0) - v(0, -1))
        across = (u(-1, 0) - u(-1, -1)) + (v(0, -1) - v(-1, -1))
        return along / d, across / d

    def carried(self, padded: Padded, at: Interpolated) -> tuple[Float[Array, "x1 y1"], ...]:
        """Convective fluxes of u along x and y and of v along x and y: (centre, corner, corner, centre)."""
        uu, vv = at.u_centre * at.u_centre, at.v_centre * at.v_centre
        uv = at.u_corner * at.v_corner
        if self.convection == "central2":
            return uu, uv, uv, vv

        def third(component: int, axis: int, first: tuple[int, int], speed: Array) -> Float[Array, "x1 y1"]:
            # -speed/16 (curvature on both sides) + |speed|/16 (their difference): quadratic upstream interpolation.
            q = _four_across(padded, component, axis, first)
            left, right = q[0] - 2 * q[1] + q[2], q[1] - 2 * q[2] + q[3]
            return -speed / 16 * (left + right) + jnp.abs(speed) / 16 * (right - left)

        return (
            uu + third(0, 0, (-1, 0), at.u_centre),
            uv + third(0, 1, (-1, -1), at.v_corner),
            uv + third(1, 0, (-1, -1), at.u_corner),
            vv + third(1, 1, (0, -1), at.v_centre),
        )

    def eddy_viscosity(
        self, padded: Padded, at: Interpolated, along: Float[Array, "x1 y1"], across: Float[Array, "x1 y1"]
    ) -> tuple[Float[Array, "x1 y1"], Float[Array, "x1 y1"]] | None:
        """Viscosities of a model in centres and corners; None: no model."""
        return None

    def tendency(
        self, velocity: Velocity, reynolds: Float[Array, ""], weights: Float[Array, "16 x y"] | None = None
    ) -> Velocity:
        """Change per unit time without the pressure. ``weights`` are learned ones, see :meth:`advance`."""
        n, d = self.points, self.spacing
        padded = pad_all(velocity, HALO, ("periodic", "periodic"))
        at = self.interpolate(padded)
        if weights is not None:
            at = _reweigh(padded, at, weights)
        along, across = self.strain(padded)
        uu, uv, vu, vv = self.carried(padded, at)
        viscosity = (1.0 / reynolds).astype(velocity.dtype)
        eddies = self.eddy_viscosity(padded, at, along, across)
        in_centres, in_corners = (viscosity, viscosity) if eddies is None else (viscosity + e for e in eddies)
        # The viscous stress without its trace, which is pressure.
        uu, vv = uu - in_centres * along, vv + in_centres * along
        uv, vu = uv - in_corners * across, vu - in_corners * across
        du = (uu[1:, :-1] - uu[:-1, :-1]) + (uv[1:, 1:] - uv[1:, :-1])
        dv = (vv[:-1, 1:] - vv[:-1, :-1]) + (vu[1:, 1:] - vu[:-1, 1:])
        change = jnp.stack([du, dv]) * (-1 / d)
        if self.strength:
            y = d * np.arange(n)
            wave = self.strength * np.sinc(self.forcing * d / 2 / np.pi) * np.sin(self.forcing * y)
            change = change.at[0].add(jnp.asarray(wave, velocity.dtype)[None, :])
        return change - self.drag * velocity if self.drag else change

    def project(self, velocity: Velocity) -> Velocity:
        """Without discrete divergence."""
        n, d = self.points, self.spacing
        u, v = velocity
        before_x = jnp.concatenate([u[-1:], u[:-1]])
        before_y = jnp.concatenate([v[:, -1:], v[:, :-1]], axis=1)
        divergence = (u - before_x) + (v - before_y)
        kx, ky = wavenumbers(n)
        symbol = 4 * (np.sin(kx * d / 2) ** 2 + np.sin(ky * d / 2) ** 2)
        symbol[0, 0] = np.inf
        pressure = jnp.fft.irfft2(
            jnp.fft.rfft2(divergence) * jnp.asarray(-1 / symbol, velocity.dtype), s=(n, n)
        ).astype(velocity.dtype)  # fmt: skip
        after_x = jnp.concatenate([pressure[1:], pressure[:1]])
        after_y = jnp.concatenate([pressure[:, 1:], pressure[:, :1]], axis=1)
        return jnp.stack([u - (after_x - pressure), v - (after_y - pressure)])

    def solenoidal(self, velocity: Velocity) -> Velocity:
        """Without discrete divergence and without mean."""
        return self.project(velocity - jnp.mean(velocity, axis=(1, 2), keepdims=True))

    def step(
        self,
        velocity: Velocity,
        reynolds: Float[Array, ""],
        time_step: Step,
        weights: Float[Array, "16 x y"] | None = None,
    ) -> Velocity:
        """One step of classical Runge-Kutta."""
        return runge_kutta(lambda point, _: self.project(self.tendency(point, reynolds, weights)), velocity, time_step)

    def advance(
        self,
        velocity: Velocity,
        reynolds: Float[Array, ""],
        time_step: Step,
        steps: int,
        weights: Float[Array, "16 x y"] | None = None,
    ) -> Velocity:
        """Several steps; ``weights`` replace the interpolation, see :data:`STENCILS`, and are held meanwhile."""
        if steps == 1:
            return self.step(velocity, reynolds, time_step, weights)
        return jax.lax.scan(
            lambda v, _: (self.step(v, reynolds, time_step, weights), None), velocity, None, length=steps
        )[0]


STENCILS = ("u in centres", "v in centres", "u in corners", "v in corners")
"""Interpolations with learned weights: four points each, across the place; 16 channels in this order.

Answers are added to the weights of the mean of both neighbours, after their mean over the four is taken off, so that
weights add up to one and a uniform flow stays what it is (consistency; Kochkov et al. 2021 do the same by an affine
map).
"""


def _reweigh(padded: Padded, at: Interpolated, weights: Float[Array, "16 x y"]) -> Interpolated:
    changes = weights.reshape(4, 4, *weights.shape[1:])
    changes = changes - changes.mean(axis=1, keepdims=True)
    # Corners are the upper ones of cells from -1 on, centres those of cells up to n.
    for_centres = jnp.pad(changes[:2], [(0, 0), (0, 0), (0, 1), (0, 1)], mode="wrap")
    for_corners = jnp.pad(changes[2:], [(0, 0), (0, 0), (1, 0), (1, 0)], mode="wrap")

    def add(value: Array, component: int, axis: int, first: tuple[int, int], by: Array) -> Array:
        for k, neighbour in enumerate(_four_across(padded, component, axis, first)):
            value = value + by[k] * neighbour
        return value

    return Interpolated(
        add(at.u_centre, 0, 0, (-1, 0), for_centres[0]),
        add(at.v_centre, 1, 1, (0, -1), for_centres[1]),
        add(at.u_corner, 0, 1, (-1, -1), for_corners[0]),
        add(at.v_corner, 1, 0, (-1, -1), for_corners[1]),
    )


def _at(padded: Padded, component: int, i: int, j: int) -> Float[Array, "x1 y1"]:
    """A component in cells i to i + n along x and j to j + n along y, of n cells per side."""
    n = padded.shape[1] - 2 * HALO + 1
    return padded[component, HALO + i : HALO + i + n, HALO + j : HALO + j + n]


def _four_across(padded: Padded, component: int, axis: int, first: tuple[int, int]) -> list[Float[Array, "x1 y1"]]:
    """The four values along an axis around each place; ``first`` is the cell before the first place."""
    i, j = first
    return [_at(padded, component, i + k, j) if axis == 0 else _at(padded, component, i, j + k) for k in (-1, 0, 1, 2)]
