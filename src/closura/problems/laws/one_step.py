"""A reference of a conservation law that follows the corrected state.

From the closure's own current state, one step of a classical scheme (published: WENO-JS). It cannot be stored, and a
reward for coming near to it can prefer nothing better than that scheme.
"""

from typing import ClassVar

from jaxtyping import Array, PyTree

from closura.core.case import Case
from closura.core.solver import Closure, Solver
from closura.problems.laws.law import State
from closura.problems.laws.weighted_fluxes import Parameters, WeightedFluxes
from closura.problems.reference import Reference, Step


class OneStep(Reference):
    """One step of ``solver`` without a closure from the state of the coarse simulation."""

    follows_state: ClassVar[bool] = True
    solver: WeightedFluxes

    def init(self, case: Case) -> State:
        """The initial state."""
        return self.solver.init(case)[0]

    def advance(self, reference: PyTree[Array], state: State, parameters: Parameters, dt: Step) -> State:
        """What the classical scheme makes of the state."""
        return self.solver.step(state, parameters, dt)

    def advance_beside(
        self,
        reference: PyTree[Array],
        coarse: Solver,
        state: State,
        parameters: Parameters,
        dt: Step,
        closure: Closure | None,
    ) -> tuple[State, State, State]:
        """Both from the same stencils, where the simulation's solver is the reference's."""
        if coarse != self.solver:
            return super().advance_beside(reference, coarse, state, parameters, dt, closure)
        following, reference = self.solver.step_each(state, parameters, dt, (closure, None))
        return following, state, reference

    def field(self, reference: State) -> State:
        """The state itself."""
        return reference
