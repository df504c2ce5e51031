"""The trusted Kolmogorov flow: the same solver on more points, of which the coarse grid's waves are looked at."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import Array, Complex, Float

from closura.problems.kolmogorov.dynamics import Parameters, Velocity, on_grid
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.problem import Draw, Target

FineState = tuple[Complex[Array, "2 kx ky"], Float[Array, ""]]


class KolmogorovTarget(Target):
    """A finer simulation beside the coarse one, restricted to the coarse grid's waves.

    Its state is ``(spectrum, reynolds)``. It begins with the waves of the fine initial spectrum that its own grid
    holds: with fewer points than that it is a rival on a finer grid.

    Parameters
    ----------
    flow
        Its solver.
    time_step, steps
        The coarse time step, and in how many steps it is taken.
    points
        Points per side of the coarse grid.
    """

    depends_on_state: ClassVar[bool] = False
    flow: KolmogorovFlow
    time_step: float = eqx.field(static=True)
    steps: int = eqx.field(static=True)
    points: int = eqx.field(static=True)

    def start(self, draw: Draw) -> FineState:
        """The initial spectrum, cut to this grid."""
        return on_grid(draw.initial, self.flow.points), draw.parameters["reynolds"]

    def advance(self, target: FineState, state: Velocity, parameters: Parameters) -> FineState:
        """The steps of one coarse step."""
        spectrum, reynolds = target
        return self.flow.march(spectrum, reynolds, self.time_step / self.steps, self.steps), reynolds

    def observe(self, target: FineState) -> Velocity:
        """The velocity on the coarse grid, of the waves that it holds."""
        coarse = KolmogorovFlow(self.points, self.flow.forcing)
        return coarse.to_velocity(on_grid(target[0], self.points))
