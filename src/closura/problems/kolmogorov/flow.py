"""Two-dimensional Kolmogorov flow, pseudo-spectral in velocity form.

    du/dt + div(u u) = -grad p + lap u / Re - a u + F sin(n y) e_x ,   div u = 0   on [0, 2 pi)^2, periodic.

The strength F is 1 and the linear drag a is 0 unless said otherwise; F = 0 is decaying flow. Drag stands for friction
at a boundary: without it energy that the inverse cascade brings to the largest waves leaves at the viscous rate alone,
and at a Reynolds number of 1000 a flow takes a thousand units of time to settle [Kochkov2021 has a = 0.1].

The pressure is eliminated by projecting convection and forcing on divergence-free fields. As the projection removes
gradients, v^2 may be subtracted from both diagonal products, u^2 and v^2: what is left of convection are the two
products u^2 - v^2 and u v, four transforms in all (two velocities back, two products forth) on a grid fine enough
that they are free of aliases [Canuto2006, section 3.3]. The reference solver of the published data is KolSol
(https://github.com/MagriLab/KolSol), which takes twelve.

Without forcing waves the laminar flow is u = (Re / n^2) sin(n y). All is non-dimensional: unit of length is the box
over 2 pi, unit of velocity that of the forcing (times unit time).

.. code-block:: bibtex

    @book{Canuto2006,
      title = {Spectral Methods: Fundamentals in Single Domains},
      author = {Canuto, Claudio and Hussaini, M. Yousuff and Quarteroni, Alfio and Zang, Thomas A.},
      publisher = {Springer}, year = {2006}, doi = {10.1007/978-3-540-30726-6}
    }
    @article{Kochkov2021,
      title = {Machine learning--accelerated computational fluid dynamics},
      author = {Kochkov, Dmitrii and Smith, Jamie A. and Alieva, Ayya and Wang, Qing and Brenner, Michael P. and
                Hoyer, Stephan},
      journal = {Proceedings of the National Academy of Sciences}, volume = {118}, number = {21}, year = {2021},
      doi = {10.1073/pnas.2101784118}
    }
"""

from fractions import Fraction
from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.numerics.fourier import Nyquist, Spectrum, divergence_free, refine, resolved, wavenumbers
from closura.problems.kolmogorov.filtered import Stage, filtered_convection
from closura.problems.kolmogorov.solver import FlowSolver, runge_kutta
from closura.problems.reference import Step

Padding = Literal["3/2", "2", "none"]
FlowIntegrator = Literal["rk4", "euler"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)
FLOW_INTEGRATORS: tuple[FlowIntegrator, ...] = get_args(FlowIntegrator)


class KolmogorovFlow(FlowSolver):
    """A pseudo-spectral solver, which marches half spectra of the velocity, ``(2, points, points/2 + 1)``.

    Layout and scaling are those of :mod:`closura.numerics.fourier`.

    Parameters
    ----------
    points
        Points, and modes, per side: even.
    forcing
        Wavenumber n of the forcing.
    padding
        Points of the grid of products over ``points``: "3/2" is enough, "2" is KolSol's. "none": products on the grid
        itself, shifted in every other stage, and filtered (:mod:`closura.problems.kolmogorov.filtered`).
    nyquist
        Rule for Nyquist waves: "zero", or "kolsol" to repeat KolSol to rounding.
    drag
        Rate a of the linear drag.
    strength
        F, of the forcing; 0 for decaying flow.
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
    def places(self) -> str:
        """Points of the grid."""
        return "points"

    def to_spectrum(self, velocity: Float[Array, "2 x y"]) -> Spectrum:
        """Half spectrum of a velocity on the grid."""
        return jnp.fft.rfft2(velocity)

    def to_velocity(self, spectrum: Spectrum) -> Float[Array, "2 x y"]:
        """Velocity on the grid."""
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

        Amplitudes of the unnormalised coefficients are magnitude / sqrt(2 pi scale^2) exp(-|k + offset| /
        (2 scale^2)): a seed for instability, small beside the developed flow. Phases are those of NumPy's generator,
        not of KolSol's global one.

        Parameters
        ----------
        seed
            A number, or a generator that is advanced.
        magnitude, scale, offset
            Size, width in wavenumbers, and minus the centre of the spectrum.
        project
            Keep the divergence-free part alone and no mean velocity (which nothing would ever damp). KolSol does not;
            what is not divergence-free then fades at the viscous rate.
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
