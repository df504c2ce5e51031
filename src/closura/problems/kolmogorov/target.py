"""The trusted Kolmogorov flow, and coarse solvers on more points: both are looked at on the coarse grid's waves."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from closura.problems.kolmogorov.dynamics import Parameters, on_grid
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.solver import FlowSolver, Velocity
from closura.problems.problem import Draw, Target

FineState = tuple[Complex[Array, "2 kx ky"], Float[Array, ""]]
RivalState = tuple[Float[Array, "2 fine_x fine_y"], Float[Array, ""]]


class KolmogorovTarget(Target):
    """A finer pseudo-spectral simulation beside the coarse one, restricted to the coarse grid's waves.

    Its state is ``(spectrum, reynolds)``. It begins with the waves of the fine initial spectrum that its own grid
    holds.

    Parameters
    ----------
    flow
        Its solver.
    time_step, steps
        The coarse time step, and in how many steps it is taken.
    coarse
        The coarse solver, which says how a velocity is represented on its grid.
    """

    depends_on_state: ClassVar[bool] = False
    flow: KolmogorovFlow
    time_step: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    coarse: FlowSolver

    def start(self, draw: Draw) -> FineState:
        """The initial spectrum, cut to this grid."""
        return on_grid(draw.initial, self.flow.points), draw.parameters["reynolds"]

    def advance(self, target: FineState, state: Velocity, parameters: Parameters) -> FineState:
        """The steps of one coarse step."""
        spectrum, reynolds = target
        return self.flow.march(spectrum, reynolds, self.time_step / self.steps, self.steps), reynolds

    def observe(self, target: FineState) -> Velocity:
        """The velocity on the coarse grid, of the waves that it holds."""
        return self.coarse.to_velocity(on_grid(target[0], self.coarse.points))


class FinerFlow(Target):
    """A coarse solver on more points, as a rival: it begins with the waves of the fine initial state that it holds.

    Its state is ``(velocity, reynolds)`` on its own grid. Parameters are those of :class:`KolmogorovTarget`; ``flow``
    may be any solver.
    """

    depends_on_state: ClassVar[bool] = False
    flow: FlowSolver
    time_step: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    coarse: FlowSolver

    def start(self, draw: Draw) -> RivalState:
        """The initial velocity on this grid."""
        return self.flow.to_velocity(on_grid(draw.initial, self.flow.points)), draw.parameters["reynolds"]

    def advance(self, target: RivalState, state: Velocity, parameters: Parameters) -> RivalState:
        """The steps of one coarse step."""
        velocity, reynolds = target
        onward = self.flow.advance(velocity, reynolds.astype(velocity.dtype), self.time_step / self.steps, self.steps)
        return onward, reynolds

    def observe(self, target: RivalState) -> Velocity:
        """The velocity on the coarse grid, of the waves that both hold."""
        return self.coarse.to_velocity(on_grid(self.flow.to_spectrum(target[0]), self.coarse.points))


def in_points(flow: FlowSolver, velocity: Velocity) -> Velocity:
    """A state of a solver as the velocity in the points of its grid."""
    if flow.places == "points":
        return velocity
    return jnp.fft.irfft2(flow.to_spectrum(velocity), s=(flow.points, flow.points)).astype(velocity.dtype)
