"""Closures with memory and noise: what they carry is carried by the rollout beside the state.

A closure that is more than a function of one observation is a :class:`MemoryClosure`, with three methods:

* ``begin(observation, key=key) -> memory`` at the start of a simulation: a hidden state, past observations, the
  random numbers of this member. ``memory`` is any pytree of arrays.
* ``remember(memory, observation) -> memory`` once in each step, before the solver calls: hidden states move on, random
  numbers are drawn (a memory that needs them holds a key).
* ``answer(memory, observation) -> action`` as often as the solver calls in the step, always with the same memory: noise
  is held over the stages of a Runge-Kutta step, as stochastic parametrisations hold it (Wilks 2005).

:class:`WithMemory` makes one solver of a solver and such a closure, whose states hold the memory; a plain callable
never comes near it.
"""

import abc
from typing import Any, ClassVar, NamedTuple, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.core.case import Case
from closura.core.solver import Closure, Parameters, Solver
from closura.grids import Grid

Memory = PyTree[Array]
State = Any
"""Of a solver, alone or with the memory of its closure (:class:`Carried`)."""


class MemoryClosure(eqx.Module):
    """A closure that carries something from step to step."""

    @abc.abstractmethod
    def begin(self, observation: Float[Array, "observation *grid"], *, key: Key[Scalar, ""]) -> Memory:
        """The memory at the start of a simulation; members of an ensemble have different keys."""

    @abc.abstractmethod
    def remember(self, memory: Memory, observation: Float[Array, "observation *grid"]) -> Memory:
        """The memory in the step that begins with an observation."""

    @abc.abstractmethod
    def answer(self, memory: Memory, observation: Float[Array, "observation *grid"]) -> Float[Array, "action *grid"]:
        """The action."""

    def limited(self, bound: float) -> "LimitedMemory":
        """The same with its actions clipped to ``[-bound, bound]``."""
        return LimitedMemory(self, bound)

    def __call__(self, observation: Float[Array, "observation *grid"]) -> Float[Array, "action *grid"]:
        """The action in the first step of a simulation, with the random numbers of key 0: no rollout calls this."""
        begun = self.begin(observation, key=jax.random.key(0))
        return self.answer(self.remember(begun, observation), observation)


def remembers(closure: Any) -> TypeGuard[MemoryClosure]:
    """Whether a closure carries memory."""
    return isinstance(closure, MemoryClosure)


class LimitedMemory(MemoryClosure):
    """A closure with memory whose actions are clipped to ``[-bound, bound]``."""

    closure: MemoryClosure
    bound: float = eqx.field(static=True)

    def begin(self, observation: Float[Array, "observation *grid"], *, key: Key[Scalar, ""]) -> Memory:
        """That of the closure."""
        return self.closure.begin(observation, key=key)

    def remember(self, memory: Memory, observation: Float[Array, "observation *grid"]) -> Memory:
        """That of the closure."""
        return self.closure.remember(memory, observation)

    def answer(self, memory: Memory, observation: Float[Array, "observation *grid"]) -> Float[Array, "action *grid"]:
        """That of the closure, clipped."""
        return jnp.clip(self.closure.answer(memory, observation), -self.bound, self.bound)


class Carried(NamedTuple):
    """The state of a solver and the memory of its closure."""

    state: State
    memory: Memory


class Answered(Solver):
    """A solver with a plain closure, as one solver without.

    Parameters
    ----------
    solver
        Calls the closure.
    closure
        What it calls.
    """

    solver: Solver
    closure: Any

    @property
    def grid(self) -> Grid:
        """That of the solver."""
        return self.solver.grid

    def init(self, case: Case) -> tuple[State, Parameters]:
        """As the solver begins."""
        return self.solver.init(case)

    def adopt(self, state: State, of: Solver) -> State:
        """As the solver does."""
        return self.solver.adopt(state, of)

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *grid"]:
        """As the solver does."""
        return self.solver.to_grid(state, grid)

    def advance(self, state: State, parameters: Parameters, dt: float | Float[Array, ""]) -> State:
        """A step with the closure."""
        return self.corrected_step(state, parameters, dt, None)[0]

    def corrected_step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None
    ) -> tuple[State, State]:
        """A step of the solver with its own closure."""
        return self.solver.corrected_step(state, parameters, dt, self.closure)

    def observe(self, state: State, parameters: Parameters) -> Float[Array, "observation *grid"]:
        """What the solver shows."""
        return self.solver.observe(_alone(state), parameters)

    def is_valid(self, state: State) -> Bool[Array, ""]:
        """Whether the solver can go on."""
        return self.solver.is_valid(state)

    def valid_cells(self, state: State) -> Bool[Array, "*grid"] | None:
        """Those of the solver."""
        return self.solver.valid_cells(_alone(state))

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        """That of the solver."""
        return self.solver.rate(_alone(state), parameters)

    @property
    def steady(self) -> bool:  # type: ignore[override]
        """As the solver's."""
        return self.solver.steady

    @property
    def courant_limit(self) -> float:
        """That of the solver."""
        return self.solver.courant_limit

    @property
    def known_rate(self) -> float | None:
        """That of the solver."""
        return self.solver.known_rate

    @property
    def differentiable(self) -> bool:
        """Whether the solver is."""
        return self.solver.differentiable

    @property
    def side_by_side(self) -> int:
        """As many as of the solver."""
        return self.solver.side_by_side


class WithMemory(Answered):
    """A solver with a closure that remembers, as one solver whose states hold the memory."""

    random: ClassVar[bool] = True

    def begun(self, state: State, parameters: Parameters, *, key: Key[Scalar, ""]) -> Carried:
        """The initial state of a member with random numbers of its own."""
        plain = _alone(state)
        return Carried(plain, self.closure.begin(self.solver.observe(plain, parameters), key=key))

    def init(self, case: Case) -> tuple[Carried, Parameters]:
        """As the solver begins, with one and the same member in every case (:meth:`begun` has others)."""
        state, parameters = self.solver.init(case)
        return self.begun(state, parameters, key=jax.random.key(0)), parameters

    def adopt(self, state: State, of: Solver) -> State:
        """The state alone: :meth:`begun` gives it its memory."""
        return self.solver.adopt(state.state, of.solver) if isinstance(of, WithMemory) else self.solver.adopt(state, of)

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *grid"]:
        """The field of the state."""
        return self.solver.to_grid(state.state, grid)

    def corrected_step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None
    ) -> tuple[State, State]:
        """The memory moves on, then the solver steps with what the closure answers with it."""
        memory = self.closure.remember(state.memory, self.solver.observe(state.state, parameters))
        following, acted = self.solver.corrected_step(
            state.state, parameters, dt, lambda observation: self.closure.answer(memory, observation)
        )
        return Carried(following, memory), Carried(acted, memory)

    def is_valid(self, state: State) -> Bool[Array, ""]:
        """Whether the solver can go on, and the memory is finite."""
        fine = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state.memory)]
        return jnp.all(jnp.stack([self.solver.is_valid(state.state), *fine]))


def _alone(state: State) -> State:
    """The state without a memory."""
    return state.state if isinstance(state, Carried) else state
