"""A problem seen as a partially observed decision process with one agent per cell (Closure-RL, section 3).

All functions are pure and work under ``jit``, ``vmap`` and ``scan``; batches come from ``vmap``.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Scalar

from closura.core.solver import Closure
from closura.problems.problem import InitialState, Problem, Transition


class EnvironmentState(eqx.Module):
    """A running episode: the coarse state with its parameters, the reference, and the number of steps taken.

    ``memory`` is what a closure carries from step to step (:mod:`closura.core.memory`); None for plain ones.
    """

    state: Float[Array, "component *grid"]
    parameters: PyTree[Array]
    reference: PyTree[Array]
    step: Int[Array, ""]
    quantities: Float[Array, " quantity"]
    memory: PyTree[Array] = None


class Timestep(NamedTuple):
    """What one step gives.

    ``reward`` is per agent, ``error`` is the problem's error after the step, ``terminated`` means that no value
    follows, ``truncated`` that the episode was cut off and its last state has a value; ``observation`` belongs
    to the state that was reached, also where the episode has ended and been reset.
    """

    reward: Float[Array, "*agents"]
    error: Float[Array, ""]
    terminated: Bool[Array, ""]
    truncated: Bool[Array, ""]
    observation: Float[Array, "observation *agents"]

    @property
    def done(self) -> Bool[Array, "*batch"]:
        """Whether the episode has ended for either reason (batches of time steps too)."""
        return self.terminated | self.truncated


class Environment(eqx.Module):
    """``reset`` and ``step`` of a problem.

    An episode ends as the problem's :class:`~closura.problems.EpisodeRules` say. The published code counts
    every ending as terminal, so that no value is bootstrapped even at the time limit
    (``ends_are_terminal=True``); by default endings are truncations, because neither the error's threshold
    nor the time limit is part of the physics.
    """

    problem: Problem
    ends_are_terminal: bool = eqx.field(static=True, default=False)

    def reset(self, *, key: Key[Scalar, ""]) -> EnvironmentState:
        """Begin an episode."""
        return _episode(self.problem.begin(key=key), jnp.zeros((), jnp.int32))

    def reset_batch(self, count: int, *, key: Key[Scalar, ""]) -> EnvironmentState:
        """Begin ``count`` episodes, with a leading axis; where initial data follow a schedule, by their number."""
        begin, start = self.problem.begin, jnp.zeros((), jnp.int32)
        numbers = jnp.arange(count, dtype=jnp.int32)
        return jax.vmap(lambda n, k: _episode(begin.member(n, key=k), start))(numbers, jax.random.split(key, count))

    def reset_batch_anywhere(
        self, count: int, room: int, *, early: float = 1.0, key: Key[Scalar, ""]
    ) -> EnvironmentState:
        """The same on the reference in the middle of simulations with ``room`` more steps, where the problem can."""
        begin, numbers = self.problem.begin, jnp.arange(count, dtype=jnp.int32)
        return jax.vmap(lambda n, k: _episode(*begin.anywhere(room, early=early, number=n, key=k)))(
            numbers, jax.random.split(key, count)
        )

    def observe(self, episode: EnvironmentState) -> Float[Array, "observation *grid"]:
        """What the agents see."""
        return self.problem.coarse.observe(episode.state, episode.parameters)

    def step(
        self, episode: EnvironmentState, action: Float[Array, "action *grid"]
    ) -> tuple[EnvironmentState, Timestep]:
        """Act and advance by one coarse step; the episode goes on whatever happens.

        Raises
        ------
        ValueError
            If the problem's solver calls a closure more than once a step: use :meth:`step_asking` with one.
        """
        if self.problem.coarse.calls_per_step != 1:
            raise ValueError(
                f"{self.problem.name!r} asks {self.problem.coarse.calls_per_step} times a step, so one action is not "
                "enough, and ppo and a2c cannot learn on it: set orientations to 1, or the integrator to one with one "
                "stage (forward-euler); learn with bptts; or use step_asking with a callable"
            )
        return self.step_asking(episode, lambda observation: action)

    def step_asking(self, episode: EnvironmentState, closure: Closure | None) -> tuple[EnvironmentState, Timestep]:
        """Advance by one coarse step with a closure that the solver calls as often as it needs to."""
        problem, rules = self.problem, self.problem.episode
        field = problem.reference.field(episode.reference).astype(episode.state.dtype)
        state, acted = problem.step(episode.state, episode.parameters, closure)
        dt = problem.dt_of(episode.parameters)
        reference = problem.reference.advance(episode.reference, episode.state, episode.parameters, dt)
        next_field = problem.reference.field(reference).astype(state.dtype)
        reward = problem.reward(
            Transition(episode.state, acted, state, field, next_field, episode.quantities, episode.parameters)
        )
        step = episode.step + 1
        error = problem.error(state, next_field)
        # A non-finite error compares false with everything: it must end the episode too.
        failed = ~(error < rules.error_threshold) & (step >= rules.minimum)
        done = failed | (step >= rules.maximum)
        following = EnvironmentState(state, episode.parameters, reference, step, episode.quantities)
        terminal = jnp.asarray(self.ends_are_terminal)
        return following, Timestep(reward, error, done & terminal, done & ~terminal, self.observe(following))


def _episode(initial: InitialState, step: Int[Array, ""]) -> EnvironmentState:
    state, parameters, reference, quantities, _ = initial
    return EnvironmentState(state, parameters, reference, step, quantities)
