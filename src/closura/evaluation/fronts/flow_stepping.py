"""Solvers of the Kolmogorov flow as steppers: finite volumes, spectral ones, and models, on any grid.

All are compared on one grid by the waves that it holds: finer ones are cut off there, what coarser ones do not hold is
missing. Finite volumes are seen as the velocity in points whose means over faces they carry.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.numerics import get_integrator
from closura.numerics.stability import symbol_limit
from closura.problems.kolmogorov.configuration import SCHEMES, KolmogorovConfiguration
from closura.problems.kolmogorov.dynamics import Parameters, on_grid
from closura.problems.kolmogorov.eddies import StaggeredSmagorinsky
from closura.problems.kolmogorov.filtered import ORDER, STRENGTH
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.rivals import coarse_solver
from closura.problems.kolmogorov.smagorinsky import with_constant
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.staggered import StaggeredFlow
from closura.problems.problem import Draw
from closura.simulation.stepping import Seen, State, Stepper


class Limits(NamedTuple):
    """How long a step of RK4 may be, by linear stability.

    ``carried`` is the largest Courant number (|u| + |v|) dt / dx of a uniform flow, ``damped`` the largest number
    4 nu dt / dx^2 of one at rest.
    """

    carried: float
    damped: float


@lru_cache
def limits(kind: str) -> Limits:
    """Limits of "spectral", "filtered", "central2" or "quick" from the symbols of their differences."""
    angle = np.linspace(-np.pi, np.pi, 4097)
    wave = np.exp(1j * angle)
    carried = {
        "spectral": 1j * angle,
        "filtered": 1j * angle * np.exp(-STRENGTH * np.abs(angle / np.pi) ** ORDER),
        "central2": 1j * np.sin(angle),
        # Differences of the values on both faces, 3/8 of the cell ahead, 6/8 of the one behind, -1/8 of that before.
        "quick": 0.375 * wave + 0.375 - 0.875 / wave + 0.125 / wave**2,
    }[kind]
    damped = angle**2 if kind in ("spectral", "filtered") else 2 - 2 * np.cos(angle)
    rk4 = get_integrator("rk4")
    # Along both axes at once a wave is damped twice as fast.
    return Limits(symbol_limit(carried, rk4), 2 * symbol_limit(damped.astype(np.complex128), rk4))


class Method(NamedTuple):
    """A classical method: its differences, and a model of what the grid does not hold."""

    scheme: str
    model: Literal["", "smagorinsky", "dynamic"] = ""


METHODS: dict[str, Method] = {
    **{scheme: Method(scheme) for scheme in ("central2", "quick", "spectral", "filtered")},
    "central2-smagorinsky": Method("central2", "smagorinsky"),
    "central2-dynamic": Method("central2", "dynamic"),
    "filtered-smagorinsky": Method("filtered", "smagorinsky"),
}
"""Classical methods by name. Upwind finite volumes (``quick``) need no model: their dissipation is one."""


CONSTANTS: dict[tuple[str, str], float] = {("turbulence", "filtered"): 0.04, ("turbulence", "central2"): 0.16}
"""Smagorinsky constants by problem and differences, tuned on training flow; elsewhere that of the settings."""


def smagorinsky_constant(c: KolmogorovConfiguration, scheme: str) -> float:
    """The constant for a solver: a tuned one, or that of the settings if they have another than the usual."""
    usual = type(c)().smagorinsky
    return CONSTANTS.get((c.problem, scheme), usual) if c.smagorinsky == usual else c.smagorinsky


def solver(c: KolmogorovConfiguration, name: str, points: int) -> FlowSolver:
    """A classical method of the flow on a grid, with its constant where it has one."""
    scheme, model = METHODS[name]
    kind, convection = SCHEMES[scheme]
    if model == "dynamic":
        return StaggeredSmagorinsky(points, c.forcing, convection, drag=c.drag, strength=c.strength, dynamic=True)
    plain = coarse_solver(replace(c, solver=kind, convection=convection), points)
    return with_constant(plain, jnp.asarray(smagorinsky_constant(c, scheme), c.precision)) if model else plain


def scheme_of(flow: FlowSolver) -> str:
    """The name of a solver's differences."""
    if isinstance(flow, StaggeredFlow):
        return flow.convection
    return "filtered" if isinstance(flow, KolmogorovFlow) and flow.padding == "none" else "spectral"


def seen(spectrum: Complex[Array, "2 kx ky"], points: int) -> Seen:
    """The velocity in the points of the grid of comparison, of the waves that both grids hold."""
    return jnp.fft.irfft2(on_grid(spectrum, points), s=(points, points))


class InPoints(eqx.Module):
    """How states of a solver are seen on the grid of comparison."""

    flow: FlowSolver
    points: int = eqx.field(static=True)

    def __call__(self, velocity: Float[Array, "2 x y"]) -> Seen:
        """The velocity in points."""
        return seen(self.flow.to_spectrum(velocity), self.points).astype(velocity.dtype)


class FlowStepper(Stepper):
    """A solver of the flow on its own grid.

    Spectral solvers march spectra, finite volumes velocities. Time steps follow the speed at the beginning of each
    interval between two times that are looked at, which are short. Flows faster than ``fastest`` are lost: unstable
    ones may stay finite, and would take ever more steps.
    """

    steady: ClassVar[bool] = True
    flow: FlowSolver
    comparison: int = eqx.field(static=True)
    fastest: float = eqx.field(static=True, default=math.inf)

    def start(self, draw: Draw) -> tuple[State, Float[Array, ""]]:
        """The waves of the draw that the grid holds, and the Reynolds number."""
        spectrum = on_grid(draw.initial, self.flow.points)
        parameters: Parameters = draw.parameters
        if isinstance(self.flow, KolmogorovFlow):
            return spectrum, parameters["reynolds"]
        return self.flow.to_velocity(spectrum).astype(spectrum.real.dtype), parameters["reynolds"]

    def rate(self, state: State, parameters: Float[Array, ""]) -> Float[Array, ""]:
        """``max(|u| + |v|) / dx + s 4 nu / dx^2``, with s such that a flow at rest has the limit of diffusion.

        No number where the flow is lost.
        """
        spectral = isinstance(self.flow, KolmogorovFlow)
        velocity = self.flow.to_velocity(state) if spectral else state
        spacing = 2 * np.pi / self.flow.points
        largest = limits(scheme_of(self.flow))
        fastest = jnp.max(jnp.sum(jnp.abs(velocity), axis=0))
        diffusion = largest.carried / largest.damped * 4 / spacing**2
        rate = fastest / spacing + diffusion / parameters.astype(fastest.dtype)
        return jnp.where(fastest <= self.fastest, rate, jnp.nan)

    def prepare(self, parameters: Float[Array, ""], dt: Float[Array, ""]) -> tuple[Array, Array]:
        """Reynolds number and time step."""
        return parameters, dt.astype(parameters.dtype)

    def step(self, state: State, prepared: tuple[Array, Array]) -> State:
        """One step of classical Runge-Kutta."""
        assert isinstance(self.flow, KolmogorovFlow | StaggeredFlow)
        return self.flow.step(state, *prepared)

    def observe(self, state: State) -> Seen:
        """In the points of the grid of comparison."""
        spectrum = state if isinstance(self.flow, KolmogorovFlow) else self.flow.to_spectrum(state)
        return seen(spectrum, self.comparison)
