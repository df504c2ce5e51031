"""A coarse Kolmogorov flow with a closure in the loop.

One coarse step is the solver's own, a few steps of RK4, and then the closure's correction, for which it was called
before:

    q <- G(q) - dt P(A(q))

with the closure's answer A, a rate, and P the projection on velocities without divergence and without mean: neither
can be wrong here, so a closure has no say there. With the pseudo-spectral solver
(:mod:`closura.problems.kolmogorov.flow`) viscosity and forcing act on every wave by itself and are exact for the waves
that the grid holds: what is missing is div(u u) of the waves that it does not hold, alone. The finite volumes of
:mod:`closura.problems.kolmogorov.staggered` have an error in everything.

With ``action="interpolation"`` (finite volumes only) the answer is no correction: it gives the weights by which
velocities are interpolated to where they are carried, for all stages of the step (Kochkov et al. 2021,
"learned interpolation").
"""

import abc
import math
from functools import lru_cache
from typing import Any, ClassVar, Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from closura.core.case import Case
from closura.core.solver import Closure, Solver, State
from closura.grids import Grid
from closura.numerics import get_integrator
from closura.numerics.fourier import Spectrum, coarsen, refine, resolved
from closura.numerics.stability import symbol_limit
from closura.problems.actions import ActionForm, correction
from closura.problems.kolmogorov.flow import ORDER, STRENGTH, FlowSolver, KolmogorovFlow, Velocity
from closura.problems.kolmogorov.staggered import StaggeredFlow
from closura.problems.reference import Step

FlowAction = ActionForm | Literal["interpolation"]
Parameters = dict[str, Any]
"""``reynolds ()``."""


def on_grid(spectrum: Spectrum, points: int) -> Complex[Array, "component kx_ ky_"]:
    """The waves that a grid of ``points`` per side holds, without its Nyquist waves (nor those of the one before)."""
    given = spectrum.shape[-2]
    if given < points:
        return refine(spectrum * jnp.asarray(resolved(given), spectrum.real.dtype), points)
    if given > points:
        spectrum = coarsen(spectrum, points)
    return spectrum * jnp.asarray(resolved(points), spectrum.real.dtype)


class FlowModel(Solver):
    """A solver of the flow on its own grid, compared by the waves that two grids hold.

    Finer solutions are cut off there, and what coarser ones do not hold is missing. Steps by a Courant number follow
    the speed at the start of each interval between two times, which are short. Flows faster than ``fastest`` are lost:
    unstable ones may stay finite, and would take ever more steps.
    """

    flow: FlowSolver
    fastest: float = eqx.field(static=True, default=math.inf, kw_only=True)
    steady: ClassVar[bool] = True

    @abc.abstractmethod
    def spectrum(self, state: State) -> Spectrum:
        """Half spectrum of the velocity in points."""

    @abc.abstractmethod
    def velocity(self, state: State) -> Velocity:
        """The velocity where the grid has it."""

    @property
    def grid(self) -> Grid:
        """``points`` per side of a square of ``2 pi``."""
        return Grid((self.flow.points,) * 2, (2 * math.pi,) * 2)

    def to_grid(self, state: State, grid: Grid) -> Velocity:
        """The velocity in the points of a grid, of the waves that both grids hold."""
        points = grid.shape[0]
        spectrum = self.spectrum(state)
        return jnp.fft.irfft2(on_grid(spectrum, points), s=(points, points)).astype(spectrum.real.dtype)

    @property
    def courant_limit(self) -> float:
        """That of a uniform flow without viscosity."""
        return limits(self.flow.scheme).carried

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        """``max(|u| + |v|) / dx + s 4 nu / dx^2``, with s such that a flow at rest has the limit of diffusion.

        No number where the flow is lost.
        """
        velocity = self.velocity(state)
        spacing = 2 * np.pi / self.flow.points
        largest = limits(self.flow.scheme)
        fastest = jnp.max(jnp.sum(jnp.abs(velocity), axis=0))
        diffusion = largest.carried / largest.damped * 4 / spacing**2
        rate = fastest / spacing + diffusion / parameters["reynolds"].astype(fastest.dtype)
        return jnp.where(fastest <= self.fastest, rate, jnp.nan)


class SpectralFlow(FlowModel):
    """A pseudo-spectral solver that marches spectra."""

    flow: KolmogorovFlow

    def init(self, case: Case) -> tuple[Spectrum, Parameters]:
        """The waves of the initial spectrum that this grid holds."""
        return on_grid(case.initial, self.flow.points), case.parameters

    def spectrum(self, state: Spectrum) -> Spectrum:
        return state

    def velocity(self, state: Spectrum) -> Velocity:
        return self.flow.to_velocity(state)

    def adopt(self, state: State, of: Solver) -> Spectrum:
        """The same waves on this solver's grid."""
        assert isinstance(of, FlowModel)
        return on_grid(of.spectrum(state), self.flow.points)

    def advance(self, state: Spectrum, parameters: Parameters, dt: Step) -> Spectrum:
        return self.flow.step(state, parameters["reynolds"], dt)

    def march(
        self, state: Spectrum, parameters: Parameters, dt: Step, steps: int, closure: Closure | None = None
    ) -> Spectrum:
        assert closure is None, "closures correct velocities"
        return self.flow.march(state, parameters["reynolds"], dt, steps)


class CoarseFlow(FlowModel):
    """The solver that closures correct; see the module's text. States are velocities, parameters hold ``reynolds``.

    A closure observes ``(u, v)`` in units of ``speed``, and with ``observe_forcing`` the phase of the forcing,
    ``sin(n y), cos(n y)``: a convolution cannot know where it is, and the flow is not the same everywhere. It answers
    in units of ``speed`` per unit time. Each time step is taken in ``steps`` of RK4.
    """

    steps: int = eqx.field(static=True, default=1)
    action: FlowAction = eqx.field(static=True, default="forcing", kw_only=True)
    observe_forcing: bool = eqx.field(static=True, default=True, kw_only=True)
    speed: float = eqx.field(static=True, default=1.0, kw_only=True)

    def init(self, case: Case) -> tuple[Velocity, Parameters]:
        """The waves of the fine spectrum that the coarse grid holds; the parameters as they are."""
        return self.flow.to_velocity(on_grid(case.initial, self.flow.points)), case.parameters

    def spectrum(self, state: Velocity) -> Spectrum:
        return self.flow.to_spectrum(state)

    def velocity(self, state: Velocity) -> Velocity:
        return state

    def adopt(self, state: State, of: Solver) -> Velocity:
        """The same waves on this solver's grid."""
        assert isinstance(of, FlowModel)
        faces = [isinstance(flow, StaggeredFlow) for flow in (self.flow, of.flow)]
        if isinstance(of, CoarseFlow) and faces[0] == faces[1] and self.flow.points == of.flow.points:
            return state
        spectrum = of.spectrum(state)
        return self.flow.to_velocity(on_grid(spectrum, self.flow.points)).astype(spectrum.real.dtype)

    def alone(self) -> "CoarseFlow":
        """Without what closures see and do."""
        return CoarseFlow(self.flow, self.steps)

    def observe(self, state: Velocity, parameters: Parameters) -> Float[Array, "observation x y"]:
        seen = (state / self.speed).astype(jnp.float32)
        if not self.observe_forcing:
            return seen
        y = (2 * math.pi / self.flow.points) * jnp.arange(self.flow.points, dtype=jnp.float32)
        phase = jnp.stack([jnp.sin(self.flow.forcing * y), jnp.cos(self.flow.forcing * y)])
        return jnp.concatenate([seen, jnp.broadcast_to(phase[:, None, :], (2, *state.shape[1:]))])

    def advance(self, state: Velocity, parameters: Parameters, dt: Step) -> Velocity:
        return self.flow.advance(state, parameters["reynolds"].astype(state.dtype), dt / self.steps, self.steps)

    def corrected_step(
        self, state: Velocity, parameters: Parameters, dt: Step, closure: Closure | None
    ) -> tuple[Velocity, Velocity]:
        """Advance, then correct; the second field is the state with this correction, before the solver."""
        if closure is None:
            return self.advance(state, parameters, dt), state
        answer = closure(self.observe(state, parameters)).astype(state.dtype)
        if self.action == "interpolation":
            assert isinstance(self.flow, StaggeredFlow)
            reynolds = parameters["reynolds"].astype(state.dtype)
            return self.flow.advance(state, reynolds, dt / self.steps, self.steps, answer), state
        taken = self._taken(dt, answer)
        return self.advance(state, parameters, dt) - taken, state - taken

    def correct(
        self, state: Velocity, parameters: Parameters, dt: Step, action: Float[Array, "action x y"]
    ) -> Velocity:
        """The state with a correction alone; weights of the interpolation are none."""
        return state if self.action == "interpolation" else state - self._taken(dt, action.astype(state.dtype))

    def _taken(self, dt: Step, answer: Float[Array, "action x y"]) -> Velocity:
        """What an answer takes away in a step: without divergence and mean."""
        return self.flow.solenoidal(dt * self.speed * correction(answer, self.action))


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
