"""The concept of a problem: a coarse simulation, something to trust, and a question put to a closure.

A :class:`Problem` is a record of parts, not a base class, and control is inverted: the dynamics *ask*. Whatever
answers - a network, a policy that samples and records, nothing at all - is handed to ``Dynamics.step`` as a
plain callable, so evaluation, gradients through time and reinforcement learning drive the very same solver.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar

from closura.decision import Decision

Ask = Callable[[Float[Array, "observation *grid"]], Float[Array, "action *grid"]]


class Draw(NamedTuple):
    """Initial state and parameters of one simulation, on the fine grid."""

    initial: PyTree[Array]
    parameters: PyTree[Array]


class Beginning(NamedTuple):
    """Where a simulation starts: coarse state, parameters on the coarse grid, state of the target.

    ``initial_total`` is the sum of the coarse initial state over the grid, before any burn-in, which the global
    term of the reward refers to.
    """

    state: Float[Array, "component *grid"]
    parameters: PyTree[Array]
    target: PyTree[Array]
    initial_total: Float[Array, " component"]


class Transition(NamedTuple):
    """One coarse step as a reward sees it; all fields are ``(component, *grid)`` on the coarse grid.

    ``acted`` is the state after the action and before the solver, ``truth`` belongs to the time of ``state``
    and ``next_truth`` to that of ``next_state``; ``initial_total`` is the sum of the state at the start.
    """

    state: Float[Array, "component *grid"]
    acted: Float[Array, "component *grid"]
    next_state: Float[Array, "component *grid"]
    truth: Float[Array, "component *grid"]
    next_truth: Float[Array, "component *grid"]
    initial_total: Float[Array, " component"]


class Dynamics(eqx.Module):
    """A coarse solver that asks a closure during its step; traceable by JAX.

    ``asks`` is the number of questions per step (a forcing asks once).
    """

    asks: eqx.AbstractClassVar[int]

    @abc.abstractmethod
    def start(self, draw: Draw) -> tuple[Float[Array, "component *grid"], PyTree[Array]]:
        """Coarse initial state and coarse parameters of a draw."""

    @abc.abstractmethod
    def observe(
        self, state: Float[Array, "component *grid"], parameters: PyTree[Array]
    ) -> Float[Array, "observation *grid"]:
        """What a closure is shown of a state."""

    @abc.abstractmethod
    def step(
        self, state: Float[Array, "component *grid"], parameters: PyTree[Array], ask: Ask | None
    ) -> tuple[Float[Array, "component *grid"], Float[Array, "component *grid"]]:
        """Advance by one coarse time step; returns the next state and the state that the action made.

        ``ask=None`` runs the solver alone.
        """


class Target(eqx.Module):
    """Something trusted that runs beside the coarse simulation.

    ``depends_on_state`` is false where the truth takes no notice of the coarse run: it can then be computed
    once and stored (:mod:`closura.problems.stored`).
    """

    depends_on_state: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def start(self, draw: Draw) -> PyTree[Array]:
        """State of the target at the time of the draw."""

    @abc.abstractmethod
    def advance(
        self, target: PyTree[Array], state: Float[Array, "component *grid"], parameters: PyTree[Array]
    ) -> PyTree[Array]:
        """Advance by one coarse time step."""

    @abc.abstractmethod
    def observe(self, target: PyTree[Array]) -> Float[Array, "component *grid"]:
        """The truth on the coarse grid."""


class Begin(eqx.Module):
    """Draws the beginning of a simulation from a random key."""

    @abc.abstractmethod
    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        """Coarse state, parameters and target, all at the same time."""

    def anywhere(self, room: int, *, key: Key[Scalar, ""]) -> tuple[Beginning, Int[Array, ""]]:
        """A beginning on the truth in the middle of a simulation, with ``room`` more steps, and its step.

        Where that is not possible, an ordinary beginning at step 0.
        """
        return self(key=key), jnp.zeros((), jnp.int32)


class SimulatedBegin(Begin):
    """Draw fine initial data, restrict them, and let both simulations burn in without a closure.

    Parameters
    ----------
    draw
        ``draw(key=key) -> Draw`` on the fine grid.
    burn_in
        Coarse steps that both simulations take before the first observation (published: 1).
    """

    draw: Callable[..., Draw]
    dynamics: Dynamics
    target: Target
    burn_in: int = eqx.field(static=True, default=0)

    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        return self.from_draw(self.draw(key=key))

    def from_draw(self, draw: Draw) -> Beginning:
        """The beginning that belongs to given fine initial data."""
        state, parameters = self.dynamics.start(draw)
        total = jnp.sum(state, axis=tuple(range(1, state.ndim)))
        target = self.target.start(draw)
        for _ in range(self.burn_in):
            target = self.target.advance(target, state, parameters)
            state, _ = self.dynamics.step(state, parameters, None)
        return Beginning(state, parameters, target, total)


class FixedBegin(Begin):
    """Always the same beginning, for example a user's own initial field."""

    beginning: Beginning

    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        return self.beginning


@dataclass(frozen=True)
class EpisodeRules:
    """When an episode of learning ends.

    An episode ends when the error has reached ``error_threshold`` and at least ``minimum`` steps were taken,
    and in any case after ``maximum`` steps (Closure-RL, section "adaptive truncation").
    """

    minimum: int = 4
    maximum: int = 100
    error_threshold: float = 0.015

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"episodes need 1 <= minimum <= maximum steps; got {self.minimum} and {self.maximum}")


class Problem(eqx.Module):
    """Everything that a learner or an evaluation needs to know about a closure problem.

    Parameters
    ----------
    name
        The problem's name.
    begin
        Draws beginnings (from one split: training, validation or test).
    dynamics, target
        The coarse solver that asks and what it is measured against.
    rivals
        Classical methods on the same coarse grid by name, run without a closure from the same beginnings.
    reward
        ``reward(transition)``: per cell, ``(*grid)``; see :class:`Transition`.
    error
        ``error(state, truth)``: the scalar that counts.
    decision
        The question and the answer.
    episode
        When an episode of learning ends.
    time_step
        Length of a coarse step, in units of the problem.
    description
        Where the data come from, said beside every figure.
    """

    name: str = eqx.field(static=True)
    begin: Begin
    dynamics: Dynamics
    target: Target
    rivals: dict[str, Dynamics]
    reward: Callable[[Transition], Float[Array, "*grid"]]
    error: Callable[[Float[Array, "component *grid"], Float[Array, "component *grid"]], Float[Array, ""]] = eqx.field(
        static=True
    )
    decision: Decision = eqx.field(static=True)
    episode: EpisodeRules = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    grid_shape: tuple[int, ...] = eqx.field(static=True)
    description: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())


def relative_mae(state: Float[Array, "component *grid"], truth: Float[Array, "component *grid"]) -> Float[Array, ""]:
    """Mean absolute error relative to a field maximum of one (Closure-RL, equation 12 with psi_max = 1)."""
    return jnp.mean(jnp.abs(state - truth))


class SquaredErrorReduction(eqx.Module):
    """Reward per cell: by how much the action lowers the squared error (Closure-RL, equation 7 and appendix E).

    ``r = (psi - g)^2 - (psi_acted - g)^2``, summed over components, with the truth ``g`` at the same time as
    ``psi``. With ``mass_weight`` w a term common to all cells is added,
    ``w [(sum psi - M0)^2 - (sum psi_acted - M0)^2] / M0``.
    """

    mass_weight: float = eqx.field(static=True, default=0.0)

    def __call__(self, transition: Transition) -> Float[Array, "*grid"]:
        state, acted, truth = transition.state, transition.acted, transition.truth
        reward = jnp.sum(jnp.square(state - truth) - jnp.square(acted - truth), axis=0)
        if self.mass_weight:
            axes = tuple(range(1, state.ndim))
            initial = transition.initial_total
            before = jnp.square(jnp.sum(state, axis=axes) - initial)
            after = jnp.square(jnp.sum(acted, axis=axes) - initial)
            reward = reward + self.mass_weight * jnp.sum((before - after) / initial)
        return reward
