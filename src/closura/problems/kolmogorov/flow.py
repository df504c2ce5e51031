"""Two-dimensional Kolmogorov flow: what solvers of it offer, and the pseudo-spectral one in velocity form.

    du/dt + div(u u) = -grad p + lap u / Re - a u + F sin(n y) e_x ,   div u = 0   on [0, 2 pi)^2, periodic.

The strength F is 1 and the linear drag a is 0 unless said otherwise; F = 0 is decaying flow. Drag stands for friction
at a boundary: without it energy that the inverse cascade brings to the largest waves leaves at the viscous rate alone,
and at a Reynolds number of 1000 a flow takes a thousand units of time to settle (Kochkov et al. 2021 have a = 0.1).

The pressure is eliminated by projecting convection and forcing on divergence-free fields. As the projection removes
gradients, v^2 may be subtracted from both diagonal products, u^2 and v^2: what is left of convection are the two
products u^2 - v^2 and u v, four transforms in all (two velocities back, two products forth) on a grid fine enough
that they are free of aliases (Canuto et al. 2006, section 3.3). The reference solver of the published data is KolSol
(https://github.com/MagriLab/KolSol), which takes twelve.

Without forcing waves the laminar flow is u = (Re / n^2) sin(n y). All is non-dimensional: unit of length is the box
over 2 pi, unit of velocity that of the forcing (times unit time).

Sources: Canuto, Hussaini, Quarteroni and Zang, Spectral Methods, Springer 2006; Kochkov et al., PNAS 118 (2021), doi
10.1073/pnas.2101784118.
"""

import abc
from collections.abc import Callable
from fractions import Fraction
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact, Int

from closura.numerics.fourier import Nyquist, Spectrum, divergence_free, refine, resolved, wavenumbers
from closura.problems.reference import Step

STRENGTH, ORDER = 2.0, 16
"""Of the filter."""

FASTEST = 0.76
"""Largest product of wavenumber and filter, over half the points: how fast waves are carried at most."""

Stage = int | Int[Array, ""]
"""Number of a stage of Runge-Kutta."""


def smooth_filter(points: int) -> Float[np.ndarray, "kx ky"]:
    """``exp(-2 ((k_x / K)^16 + (k_y / K)^16))`` with ``K = points / 2``, for a half spectrum, float64.

    Exponents and strength are those with the least error on flow at a Reynolds number of 1000 on 64 x 64 points
    (docs/turbulence.md), where the filter does more good than the padding that it replaces: transforms are 2.25 times
    smaller, and without the fastest waves, steps may be a third longer.
    """
    kx, ky = wavenumbers(points)
    along_x, along_y = np.abs(kx) / (points / 2), np.abs(ky) / (points / 2)
    return np.exp(-STRENGTH * (along_x**ORDER + along_y**ORDER))


def filtered_convection(spectrum: Spectrum, stage: Stage, nyquist: Nyquist = "zero") -> Spectrum:
    """-div(u u), up to a gradient, without padding: on the grid itself, filtered. Half spectrum of a velocity.

    A product of two waves that the grid cannot hold is mistaken for one that it can. On a grid shifted by half a
    spacing along both axes, an alias along one axis comes with the opposite sign, so that stages of a Runge-Kutta step
    that take turns between the two grids cancel it to first order in the step (Rogallo 1981, NASA TM 81315; Canuto et
    al. 2006, section 3.3, "phase shifts"); the weights of the classical method, 1/6 + 1/3 on either grid, suit. What is
    left, aliases along both axes at once and of second order, falls into the largest wavenumbers, where
    :func:`smooth_filter` is laid on convection (filters of this kind: Hou and Li 2007, doi 10.1016/j.jcp.2007.04.014):
    waves are carried ever more slowly the nearer they are to the end of the grid, and no wave is damped.
    """
    real = spectrum.real.dtype
    n = spectrum.shape[-2]
    kx, ky = wavenumbers(n)
    shift = np.exp(1j * np.pi / n * (kx + ky))
    turn = jnp.asarray(np.stack([np.ones_like(shift), shift]), spectrum.dtype)[jnp.asarray(stage) % 2]
    keep = resolved(n, nyquist)
    u, v = jnp.fft.irfft2(spectrum * jnp.asarray(keep, real) * turn, s=(n, n))
    products = jnp.fft.rfft2(jnp.stack([u * u - v * v, u * v])) * jnp.conj(turn)
    passed = smooth_filter(n) * keep
    along_x, along_y = jnp.asarray(kx * passed, real), jnp.asarray(ky * passed, real)
    return -1j * jnp.stack([along_x * products[0] + along_y * products[1], along_x * products[1]])


Velocity = Float[Array, "2 x y"]


class FlowSolver(eqx.Module):
    """A solver on ``points`` per side (even), whose states are velocities on its own grid, ``(2, points, points)``.

    Grids may place velocities differently (in points, on faces of cells); the half spectrum of the velocity in points
    is the language that all of them share. The forcing has a wavenumber and a strength (0: decaying flow), the linear
    ``drag`` a rate.
    """

    points: int = eqx.field(static=True)
    forcing: int = eqx.field(static=True, default=4)
    drag: float = eqx.field(static=True, default=0.0, kw_only=True)
    strength: float = eqx.field(static=True, default=1.0, kw_only=True)

    @abc.abstractmethod
    def to_velocity(self, spectrum: Spectrum) -> Velocity:
        """The state that represents a velocity with this half spectrum, of this grid's number of points."""

    @abc.abstractmethod
    def to_spectrum(self, velocity: Velocity) -> Spectrum:
        """Half spectrum of the velocity in points that a state represents."""

    @property
    @abc.abstractmethod
    def scheme(self) -> str:
        """The name of its differences."""

    @abc.abstractmethod
    def solenoidal(self, velocity: Velocity) -> Velocity:
        """The part of a velocity, on this grid, that has neither divergence nor mean."""

    @abc.abstractmethod
    def advance(self, velocity: Velocity, reynolds: Float[Array, ""], time_step: Step, steps: int) -> Velocity:
        """A state after ``steps`` steps of length ``time_step``."""


def runge_kutta(
    tendency: Callable[[Inexact[Array, "component x y"], Int[Array, ""]], Inexact[Array, "component x y"]],
    state: Inexact[Array, "component x y"],
    time_step: float | Float[Array, ""],
) -> Inexact[Array, "component x y"]:
    """One step of the classical Runge-Kutta method, of a velocity or a spectrum.

    The tendency is told the number of the stage, 0 to 3: solvers may let errors of one stage cancel those of another.
    The tendency stands in a loop over the stages: compiled once, and a quarter of the program. No stage needs the slope
    of an earlier one, so that two arrays are carried (:mod:`closura.numerics.integrators` serves any tableau and tree).
    """

    def stage(
        carry: tuple[Array, Array], given: tuple[Float[Array, "2"], Int[Array, ""]]
    ) -> tuple[tuple[Array, Array], None]:
        point, total = carry
        factors, number = given
        slope = tendency(point, number)
        return (state + factors[0] * slope, total + factors[1] * slope), None

    onward = time_step * jnp.asarray([[0.5, 1 / 6], [0.5, 1 / 3], [1.0, 1 / 3], [0.0, 1 / 6]], state.real.dtype)
    (_, following), _ = jax.lax.scan(stage, (state, state), (onward, jnp.arange(4)))
    return following


Padding = Literal["3/2", "2", "none"]
FlowIntegrator = Literal["rk4", "euler"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)
FLOW_INTEGRATORS: tuple[FlowIntegrator, ...] = get_args(FlowIntegrator)


class KolmogorovFlow(FlowSolver):
    """A pseudo-spectral solver, which marches half spectra of the velocity, ``(2, points, points/2 + 1)``.

    Layout and scaling are those of :mod:`closura.numerics.fourier`.

    Parameters
    ----------
    padding
        Points of the grid of products over ``points``: "3/2" is enough, "2" is KolSol's. "none": products on the grid
        itself, shifted in every other stage, and filtered (:mod:`closura.problems.kolmogorov.flow`).
    nyquist
        Rule for Nyquist waves: "zero", or "kolsol" to repeat KolSol to rounding.
    """

    padding: Padding = eqx.field(static=True, default="3/2")
    nyquist: Nyquist = eqx.field(static=True, default="zero")

    def __check_init__(self) -> None:
        resolved(self.points, self.nyquist)
        if self.padding not in PADDINGS:
            raise ValueError(f"unknown padding {self.padding!r}; valid: {', '.join(PADDINGS)}")
        if not 1 <= self.forcing < self.points // 2:
            raise ValueError(
                f"{self.points} points per side resolve forcing wavenumbers 1 to {self.points // 2 - 1}; "
                f"got {self.forcing}"
            )

    @property
    def fine_points(self) -> int:
        """Points per side of the grid on which products are taken (even)."""
        factor = {"3/2": Fraction(3, 2), "2": Fraction(2), "none": Fraction(1)}[self.padding]
        exact = int(self.points * factor)
        return exact + exact % 2

    @property
    def scheme(self) -> str:
        return "filtered" if self.padding == "none" else "spectral"

    def to_spectrum(self, velocity: Float[Array, "2 x y"]) -> Spectrum:
        return jnp.fft.rfft2(velocity)

    def to_velocity(self, spectrum: Spectrum) -> Float[Array, "2 x y"]:
        return jnp.fft.irfft2(spectrum, s=(self.points, self.points))

    def project(self, spectrum: Spectrum) -> Spectrum:
        """Divergence-free part, without the waves that the rule for Nyquist waves leaves out."""
        return divergence_free(spectrum) * jnp.asarray(resolved(self.points, self.nyquist), spectrum.real.dtype)

    def convection(self, spectrum: Spectrum, stage: Stage = 0) -> Spectrum:
        """-div(u u), up to a gradient; free of aliases but with padding "none", where aliases depend on the stage.

        ``spectrum`` may hold any waves.
        """
        if self.padding == "none":
            return filtered_convection(spectrum, stage, self.nyquist)
        real = spectrum.real.dtype
        n, m = self.points, self.fine_points
        keep = resolved(n, self.nyquist)
        fine = jnp.fft.irfft2(refine(spectrum * jnp.asarray(keep, real), m), s=(m, m))
        u, v = fine[0], fine[1]
        products = jnp.fft.rfft2(jnp.stack([u * u - v * v, u * v]))
        half = n // 2
        rows = jnp.concatenate([products[:, :half, : half + 1], products[:, m - half :, : half + 1]], axis=1)
        kx, ky = wavenumbers(n)
        scale = keep * (n / m) ** 2
        along_x, along_y = jnp.asarray(kx * scale, real), jnp.asarray(ky * scale, real)
        return -1j * jnp.stack([along_x * rows[0] + along_y * rows[1], along_x * rows[1]])

    def tendency(self, spectrum: Spectrum, reynolds: Float[Array, ""], stage: Stage = 0) -> Spectrum:
        """d(spectrum)/dt in a stage of a step: projected convection and forcing, viscosity and drag."""
        real = spectrum.real.dtype
        kx, ky = wavenumbers(self.points)
        force = np.zeros((self.points, self.points // 2 + 1), np.complex128)
        force[0, self.forcing] = -0.5j * self.strength * self.points**2
        driven = self.convection(spectrum, stage).at[0].add(jnp.asarray(force, spectrum.dtype))
        square = jnp.asarray(kx**2 + ky**2, real)
        damped = divergence_free(driven) - square * spectrum / reynolds.astype(real)
        return damped - self.drag * spectrum if self.drag else damped

    def step(
        self,
        spectrum: Spectrum,
        reynolds: Float[Array, ""],
        time_step: Step,
        integrator: FlowIntegrator = "rk4",
    ) -> Spectrum:
        """Advance by one step: "rk4" (classical), or "euler" (forward; the published data)."""
        if integrator not in FLOW_INTEGRATORS:
            raise ValueError(f"unknown integrator {integrator!r}; valid: {', '.join(FLOW_INTEGRATORS)}")
        if integrator == "euler":
            return spectrum + time_step * self.tendency(spectrum, reynolds)

        return runge_kutta(lambda point, stage: self.tendency(point, reynolds, stage), spectrum, time_step)

    def march(
        self,
        spectrum: Spectrum,
        reynolds: Float[Array, ""],
        time_step: Step,
        steps: int,
        integrator: FlowIntegrator = "rk4",
    ) -> Spectrum:
        """Advance by several steps."""
        return jax.lax.fori_loop(0, steps, lambda _, s: self.step(s, reynolds, time_step, integrator), spectrum)

    def solenoidal(self, velocity: Float[Array, "2 x y"]) -> Float[Array, "2 x y"]:
        """The part of a velocity on the grid without divergence, mean and Nyquist waves."""
        return self.to_velocity(self.project(self.to_spectrum(velocity)).at[:, 0, 0].set(0)).astype(velocity.dtype)

    def advance(
        self, velocity: Float[Array, "2 x y"], reynolds: Float[Array, ""], time_step: Step, steps: int
    ) -> Float[Array, "2 x y"]:
        """Several steps of Runge-Kutta from a velocity on the grid to one."""
        return self.to_velocity(self.march(self.to_spectrum(velocity), reynolds, time_step, steps))

    def random_start(
        self,
        seed: int | np.random.Generator,
        *,
        magnitude: float = 1.0,
        scale: float = 2.0,
        offset: tuple[int, int] = (0, 0),
        project: bool = True,
    ) -> Complex[np.ndarray, "2 kx ky"]:
        """A random beginning with the spectrum of KolSol's: exponential in ``|k + offset|``, random phases.

        Amplitudes of the unnormalised coefficients are magnitude / sqrt(2 pi scale^2) exp(-|k + offset| / (2 scale^2)):
        a seed for instability, small beside the developed flow. Phases are those of NumPy's generator, not of KolSol's
        global one. With ``project`` the divergence-free part alone is kept and no mean velocity (which nothing would
        ever damp). KolSol does not; what is not divergence-free then fades at the viscous rate.
        """
        generator = np.random.default_rng(seed)
        n = self.points
        k = np.fft.fftfreq(n, 1.0 / n)
        distance = np.hypot(k[:, None] + offset[0], k[None, :] + offset[1])
        size = magnitude / np.sqrt(2 * np.pi * scale**2) * np.exp(-distance / (2 * scale**2))
        phases = np.exp(2j * np.pi * generator.random((2, n, n)))
        spectrum = np.fft.rfft2(np.fft.ifft2(size * phases).real)
        spectrum *= resolved(n, self.nyquist)
        if project:
            spectrum = np.array(divergence_free(jnp.asarray(spectrum)))
            spectrum[:, 0, 0] = 0.0
        return spectrum
