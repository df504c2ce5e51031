"""What the agents of a conservation law are measured against.

``OneStep``
    From the agents' own current state, one step of a classical scheme (published: WENO-JS). It takes notice of the
    state, so it cannot be stored, and a reward for coming near to it can prefer nothing better than that scheme.
``Finer``
    A simulation on an odd multiple of the grid, whose centre cells are the coarse cells' centres: close to the
    entropy solution, after shocks too.
"""

from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from closura.problems.laws.dynamics import Parameters, WeightedFluxes
from closura.problems.laws.law import State
from closura.problems.problem import Ask, Draw, Dynamics, Target


class OneStep(Target):
    """One step of ``dynamics`` without agents from the state of the coarse simulation."""

    depends_on_state: ClassVar[bool] = True
    dynamics: WeightedFluxes

    def start(self, draw: Draw) -> State:
        """The initial state."""
        return self.dynamics.start(draw)[0]

    def advance(self, target: PyTree[Array], state: State, parameters: Parameters) -> State:
        """What the classical scheme makes of the state."""
        return self.dynamics.step(state, parameters, None)[0]

    def advance_beside(
        self, target: PyTree[Array], dynamics: Dynamics, state: State, parameters: Parameters, ask: Ask | None
    ) -> tuple[State, State, State]:
        """Both from the same stencils, where the simulation's solver is the target's."""
        if dynamics != self.dynamics:
            return super().advance_beside(target, dynamics, state, parameters, ask)
        following, target = self.dynamics.step_each(state, parameters, (ask, None))
        return following, state, target

    def observe(self, target: State) -> State:
        """The state itself."""
        return target


def centres(state: State, ratio: int, dimensions: int) -> Float[Array, "component *coarse"]:
    """The values in the centre cells of blocks of ``ratio`` (odd) cells along each axis."""
    keep = slice(ratio // 2, None, ratio)
    return state[(slice(None), *(keep,) * dimensions)]


class Finer(Target):
    """The same law on ``ratio`` times as many cells, with ``ratio`` steps for each coarse one."""

    depends_on_state: ClassVar[bool] = False
    dynamics: WeightedFluxes
    ratio: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.ratio < 1 or self.ratio % 2 == 0:
            raise ValueError(f"only odd ratios have cells at the centres of coarse ones; got {self.ratio}")

    def start(self, draw: Draw) -> State:
        """The fine initial state."""
        return draw.initial

    def advance(self, target: State, state: State, parameters: Parameters) -> State:
        """The fine steps of one coarse step."""
        fine = {
            **parameters,
            "spacing": parameters["spacing"] / self.ratio,
            "time_step": parameters["time_step"] / self.ratio,
        }
        step = lambda q, _: (self.dynamics.step(q, fine, None)[0], None)
        return jax.lax.scan(step, target, None, length=self.ratio)[0]

    def observe(self, target: State) -> State:
        """Values at the centres of the coarse cells."""
        return centres(target, self.ratio, self.dynamics.law.dimensions)
