"""What errors are measured against: a solver beside the coarse one, or what it once simulated."""

import abc
from typing import Any, ClassVar

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from closura.core.case import Case
from closura.core.solver import Closure, Parameters, Solver, State

Step = float | Float[Array, ""]
"""The length of a time step."""


class Reference(eqx.Module):
    """Something trusted that runs beside the coarse simulation, in coarse time steps.

    ``follows_state`` is false where it takes no notice of the coarse run: it can then be simulated once and stored
    (:mod:`closura.problems.stored`).
    """

    follows_state: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def init(self, case: Case) -> PyTree[Array]:
        """Its state at the start of a case."""

    @abc.abstractmethod
    def advance(self, reference: PyTree[Array], state: State, parameters: Parameters, dt: Step) -> PyTree[Array]:
        """Its state after a coarse time step; ``state`` and ``parameters`` are those of the coarse simulation."""

    @abc.abstractmethod
    def field(self, reference: PyTree[Array]) -> Float[Array, "component *grid"]:
        """As a state of the coarse solver."""

    def advance_beside(
        self,
        reference: PyTree[Array],
        coarse: Solver,
        state: State,
        parameters: Parameters,
        dt: Step,
        closure: Closure | None,
    ) -> tuple[State, State, PyTree[Array]]:
        """One step of a coarse simulation (:meth:`~closura.Solver.corrected_step`) and of the reference beside it."""
        following, corrected = coarse.corrected_step(state, parameters, dt, closure)
        return following, corrected, self.advance(reference, state, parameters, dt)


class SolverReference(Reference):
    """A solver with several steps in each coarse one; its state is ``(state, parameters)``.

    Fine-grid baselines are such references too: they begin with the same cases and are compared alike.

    Parameters
    ----------
    solver
        On its own grid.
    coarse
        The coarse solver, which says how fields are represented where they are compared.
    substeps
        Steps of ``solver`` in a coarse time step.
    """

    follows_state: ClassVar[bool] = False
    solver: Solver
    coarse: Solver
    substeps: int = eqx.field(static=True, default=1)

    def init(self, case: Case) -> tuple[State, Parameters]:
        return self.solver.init(case)

    def advance(
        self, reference: tuple[State, Parameters], state: Any, parameters: Any, dt: Step
    ) -> tuple[State, Parameters]:
        own, theirs = reference
        return self.solver.march(own, theirs, dt / self.substeps, self.substeps), theirs

    def field(self, reference: tuple[State, Parameters]) -> Float[Array, "component *grid"]:
        field: Array = self.coarse.adopt(reference[0], self.solver)
        return field
