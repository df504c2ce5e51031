"""A problem's own solvers as steppers: dynamics, alone or with a closure, and targets, at its coarse time step."""

from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from closura.problems.problem import Ask, Draw, Dynamics, Target
from closura.simulation.stepping import Seen, State, Stepper


class OwnStep(Stepper):
    """A coarse solver of a problem at its own time step, alone or with a closure that corrects it.

    The first ``burn_in`` steps are those of ``leader`` without a closure, as published evaluations begin.
    """

    steady: ClassVar[bool] = True
    dynamics: Dynamics
    ask: Ask | None
    leader: Dynamics
    to_comparison: Callable[[Array], Seen]
    burn_in: int = eqx.field(static=True, default=0)

    def start(self, draw: Draw) -> tuple[State, PyTree[Array]]:
        """As the problem starts it, after the burn-in."""
        state, parameters = self.dynamics.start(draw)
        for _ in range(self.burn_in):
            state, _ = self.leader.step(state, parameters, None)
        return state, parameters

    def rate(self, state: State, parameters: PyTree[Array]) -> Float[Array, ""]:
        """Not used: steps have the length that the solver was built with."""
        return jnp.ones((), jnp.float32)

    def prepare(self, parameters: PyTree[Array], dt: Float[Array, ""]) -> PyTree[Array]:
        """The parameters as they are."""
        return parameters

    def step(self, state: State, prepared: PyTree[Array]) -> State:
        """One coarse step."""
        return self.dynamics.step(state, prepared, self.ask)[0]

    def observe(self, state: State) -> Seen:
        """On the comparison grid."""
        return self.to_comparison(state)


class TargetStep(Stepper):
    """A target of a problem that takes no notice of the coarse state, in coarse time steps."""

    steady: ClassVar[bool] = True
    target: Target
    dynamics: Dynamics

    def start(self, draw: Draw) -> tuple[State, PyTree[Array]]:
        """The target's state; a coarse state and its parameters, which it asks for and does not look at."""
        return self.target.start(draw), self.dynamics.start(draw)

    def rate(self, state: State, parameters: PyTree[Array]) -> Float[Array, ""]:
        """Not used: steps are coarse ones."""
        return jnp.ones((), jnp.float32)

    def prepare(self, parameters: PyTree[Array], dt: Float[Array, ""]) -> PyTree[Array]:
        """The parameters as they are."""
        return parameters

    def step(self, state: State, prepared: PyTree[Array]) -> State:
        """One coarse step."""
        return self.target.advance(state, *prepared)

    def observe(self, state: State) -> Seen:
        """The truth on the coarse grid."""
        return self.target.observe(state)
