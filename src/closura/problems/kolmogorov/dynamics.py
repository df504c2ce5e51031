"""A coarse Kolmogorov flow with a closure in the loop.

One coarse step is the solver's own, a few steps of RK4, and then the closure's correction, for which it was asked
before:

    q <- G(q) - dt P(A(q))

with the closure's answer A, a rate, and P the projection on velocities without divergence and without mean: neither
can be wrong here, so a closure has no say there. With the pseudo-spectral solver
(:mod:`closura.problems.kolmogorov.flow`) viscosity and forcing act on every wave by itself and are exact for the waves
that the grid holds: what is missing is div(u u) of the waves that it does not hold, alone. The finite volumes of
:mod:`closura.problems.kolmogorov.staggered` have an error in everything.

With ``action="interpolation"`` (finite volumes only) the answer is no correction: it gives the weights by which
velocities are interpolated to where they are carried, for all stages of the step [Kochkov2021, "learned
interpolation"].
"""

import math
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from closura.numerics.fourier import Spectrum, coarsen, refine, resolved
from closura.problems.actions import ActionForm, correction
from closura.problems.kolmogorov.solver import FlowSolver, Velocity
from closura.problems.kolmogorov.staggered import StaggeredFlow
from closura.problems.problem import Ask, Draw, Dynamics, Field

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


class KolmogorovDynamics(Dynamics):
    """The coarse solver; see the module's text. States are velocities on the grid, parameters hold ``reynolds``.

    A closure observes ``(u, v)`` in units of ``speed``, and with ``observe_forcing`` the phase of the forcing,
    ``sin(n y), cos(n y)``: a convolution cannot know where it is, and the flow is not the same everywhere. It answers
    in units of ``speed`` per unit time.
    """

    flow: FlowSolver
    time_step: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    bound: float = eqx.field(static=True, default=math.inf)
    action: FlowAction = eqx.field(static=True, default="forcing")
    observe_forcing: bool = eqx.field(static=True, default=True)
    speed: float = eqx.field(static=True, default=1.0)

    @property
    def asks(self) -> int:
        """One."""
        return 1

    def adopt(self, state: Velocity, of: Dynamics) -> Velocity:
        """The same waves on this solver's grid."""
        assert isinstance(of, KolmogorovDynamics)
        if self.flow.represents_as(of.flow):
            return state
        return self.flow.to_velocity(on_grid(of.flow.to_spectrum(state), self.flow.points)).astype(state.dtype)

    def advances_as(self, other: Dynamics) -> bool:
        """The same flow solver with as many steps."""
        if not isinstance(other, KolmogorovDynamics):
            return False
        same = (self.time_step, self.steps) == (other.time_step, other.steps)
        return same and bool(eqx.tree_equal(self.flow, other.flow))

    def start(self, draw: Draw) -> tuple[Velocity, Parameters]:
        """The waves of the fine spectrum that the coarse grid holds; the parameters as they are."""
        return self.flow.to_velocity(on_grid(draw.initial, self.flow.points)), draw.parameters

    def observe(self, state: Velocity, parameters: Parameters) -> Float[Array, "observation x y"]:
        """``(u, v)`` or ``(u, v, sin n y, cos n y)``, in float32."""
        seen = (state / self.speed).astype(jnp.float32)
        if not self.observe_forcing:
            return seen
        y = (2 * math.pi / self.flow.points) * jnp.arange(self.flow.points, dtype=jnp.float32)
        phase = jnp.stack([jnp.sin(self.flow.forcing * y), jnp.cos(self.flow.forcing * y)])
        return jnp.concatenate([seen, jnp.broadcast_to(phase[:, None, :], (2, *state.shape[1:]))])

    def step(self, state: Velocity, parameters: Parameters, ask: Ask | None) -> tuple[Velocity, Velocity]:
        """Advance, then correct; the second field is the state with this correction, before the solver."""
        reynolds = parameters["reynolds"].astype(state.dtype)
        step = self.time_step / self.steps
        if ask is None:
            return self.flow.advance(state, reynolds, step, self.steps), state
        answer = ask(self.observe(state, parameters)).astype(state.dtype)
        if self.action == "interpolation":
            assert isinstance(self.flow, StaggeredFlow)
            weights = jnp.clip(answer, -self.bound, self.bound)
            return self.flow.advance(state, reynolds, step, self.steps, weights), state
        answer = correction(answer, self.action, bound=self.bound)
        taken = self.flow.solenoidal(self.time_step * self.speed * answer)
        return self.flow.advance(state, reynolds, step, self.steps) - taken, state - taken


def rms_size(field: Field) -> Float[Array, ""]:
    """Root of the mean over the grid of the sum over components of squares."""
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(field), axis=0)))


def relative_l2(state: Field, truth: Field) -> Float[Array, ""]:
    """``|q - g| / |g|`` in the Euclidean norm over components and points, g the truth at the same time."""
    difference = jnp.mean(jnp.sum(jnp.square(state - truth), axis=0))
    # The root has no derivative at zero: far below rounding it is cut off.
    return jnp.sqrt(jnp.maximum(difference, 1e-24)) / rms_size(truth)
