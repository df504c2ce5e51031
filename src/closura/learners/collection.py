"""Playing a policy in environments on the device; advantages of what was seen, and its minibatches."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Scalar

from closura.closures import ActorCritic
from closura.closures.memory_policy import Seen, begun, evaluate_seen, with_memory
from closura.core.memory import remembers
from closura.environment import Environment, EnvironmentState
from closura.learners.state import choose


class Trajectory(NamedTuple):
    """What a learner sees of the world: arrays ``(time, environment, ...)``.

    ``observation`` is ``(time, environment, channel, *grid)``, with the memory of the step before where policies have
    one (:class:`~closura.closures.memory_policy.Seen`). ``next_value`` belongs to the state that a step reached, also
    where the episode ended there. ``valid`` is false for padding, after the end of a whole episode that was shorter
    than the longest possible.
    """

    observation: Any
    action: Float[Array, "time environment action *grid"]
    log_prob: Float[Array, "time environment *grid"]
    value: Float[Array, "time environment *grid"]
    next_value: Float[Array, "time environment *grid"]
    reward: Float[Array, "time environment *grid"]
    std: Float[Array, "time environment"]
    error: Float[Array, "time environment"]
    age: Int[Array, "time environment"]
    terminated: Bool[Array, "time environment"]
    done: Bool[Array, "time environment"]
    valid: Bool[Array, "time environment"]


def _assemble(steps: Trajectory, last_value: Array) -> Trajectory:
    """Steps that were recorded one by one, of which ``next_value`` is known only where an episode ended."""
    following = jnp.concatenate([steps.value[1:], last_value[None]])
    ended = steps.done.reshape(steps.done.shape + (1,) * (following.ndim - steps.done.ndim))
    return steps._replace(next_value=jnp.where(ended, steps.next_value, following))


def collect_steps(
    environment: Environment,
    policy: ActorCritic,
    episodes: EnvironmentState,
    steps: int,
    *,
    key: Key[Scalar, ""],
) -> tuple[EnvironmentState, Trajectory]:
    """Play ``steps`` steps in a batch of running episodes, beginning anew where one ends.

    Returns the episodes as they stand and the trajectory, all of it valid.
    """
    count = episodes.step.shape[0]

    def step(episodes: EnvironmentState, key: Key[Scalar, ""]) -> tuple[EnvironmentState, Trajectory]:
        observation = jax.vmap(environment.observe)(episodes)
        seen = Seen(observation, episodes.memory) if remembers(policy) else observation
        normal, value = jax.vmap(lambda seen: evaluate_seen(policy, seen))(seen)
        action_key, reset_key = jax.random.split(key)
        action = jax.vmap(lambda n, k: n.sample(k))(normal, jax.random.split(action_key, count))
        log_prob = jax.vmap(lambda n, a: n.log_prob(a))(normal, action)
        following, timestep = jax.vmap(environment.step)(episodes, action)
        if remembers(policy):
            following = with_memory(following, jax.vmap(policy.remember)(episodes.memory, observation))
        done = timestep.done
        # The critic is asked about last states, and simulations begin anew, only where an episode has ended.
        end_value = jax.lax.cond(
            jnp.any(done),
            lambda: jax.vmap(policy.value)(timestep.observation),
            lambda: jnp.zeros_like(value),
        )

        def reset() -> EnvironmentState:
            fresh = jax.vmap(lambda k: environment.reset(key=k))(jax.random.split(reset_key, count))
            if remembers(policy):
                first = jax.vmap(environment.observe)(fresh)
                fresh = with_memory(fresh, begun(policy, first, key=jax.random.fold_in(reset_key, 1)))
            return choose(done, fresh, following)

        episodes = jax.lax.cond(jnp.any(done), reset, lambda: following)
        return episodes, Trajectory(
            seen, action, log_prob, value, end_value, timestep.reward.astype(value.dtype),
            _mean(normal.std), timestep.error.astype(jnp.float32), following.step,
            timestep.terminated, done, jnp.ones_like(done),
        )  # fmt: skip

    episodes, record = jax.lax.scan(step, episodes, jax.random.split(key, steps))
    last_value = jax.vmap(policy.value)(jax.vmap(environment.observe)(episodes))
    return episodes, _assemble(record, last_value)


def collect_episode(environment: Environment, policy: ActorCritic, *, key: Key[Scalar, ""]) -> Trajectory:
    """Play one whole episode in one environment, as the published training does before every update.

    The arrays have the length of the longest possible episode; steps after the end cost nothing and are not
    valid.
    """
    begin_key, key = jax.random.split(key)

    def play(episode: EnvironmentState, key: Key[Scalar, ""]) -> tuple[EnvironmentState, Trajectory]:
        observation = environment.observe(episode)
        normal, value = policy.evaluate(observation)
        action = normal.sample(key)
        following, timestep = environment.step(episode, action)
        end_value = jax.lax.cond(
            timestep.done, lambda: policy.value(timestep.observation), lambda: jnp.zeros_like(value)
        )
        return following, Trajectory(
            observation, action, normal.log_prob(action), value, end_value, timestep.reward.astype(value.dtype),
            jnp.mean(normal.std), timestep.error.astype(jnp.float32), following.step,
            timestep.terminated, timestep.done, jnp.ones((), bool),
        )  # fmt: skip

    episode = environment.reset(key=begin_key)
    shapes = jax.eval_shape(play, episode, key)[1]
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

    def step(
        carry: tuple[EnvironmentState, Bool[Array, ""]], key: Key[Scalar, ""]
    ) -> tuple[tuple[EnvironmentState, Bool[Array, ""]], Trajectory]:
        episode, over = carry
        episode, record = jax.lax.cond(over, lambda: (episode, nothing), lambda: play(episode, key))
        return (episode, over | record.done), record

    keys = jax.random.split(key, environment.problem.episode.maximum)
    _, record = jax.lax.scan(step, (episode, jnp.zeros((), bool)), keys)
    record = jax.tree.map(lambda x: x[:, None], record)
    return _assemble(record, jnp.zeros_like(record.value[0]))


def _mean(x: Float[Array, "environment ..."]) -> Float[Array, " environment"]:
    return jnp.mean(x, axis=tuple(range(1, x.ndim)))


class Minibatches(NamedTuple):
    """Indices of frames per minibatch, ``used`` where an entry counts, ``total`` minibatches are not empty."""

    frame: Int[Array, "minibatches size"]
    used: Bool[Array, "minibatches size"]
    total: Int[Array, ""]


def minibatches(order: Int[Array, " frames"], valid: Int[Array, ""] | int, size: int) -> Minibatches:
    """Cut the first ``valid`` entries of a permutation into minibatches of ``size`` frames.

    A last, partial one is merged into the one before it, as the published trainer does, so a minibatch has
    ``size`` to ``2 size - 1`` frames, or fewer than that if there are fewer in all. A static ``valid`` (an int)
    gives arrays without padding beyond the last one's surplus.
    """
    frames = order.shape[0]
    if isinstance(valid, int):
        most, widest = max(valid // size, 1), min(size + valid % size if valid >= size else valid, frames)
    else:
        most, widest = max(frames // size, 1), min(2 * size - 1, frames)
    total = jnp.asarray(valid, jnp.int32)
    count = jnp.maximum(total // size, 1)
    number = jnp.arange(most, dtype=jnp.int32)
    first = number * size
    last = jnp.where(number == count - 1, total, first + size)
    position = first[:, None] + jnp.arange(widest, dtype=jnp.int32)[None]
    used = (position < last[:, None]) & (number[:, None] < count)
    return Minibatches(order[jnp.clip(position, 0, frames - 1)], used, count)


def generalised_advantages(
    reward: Float[Array, "time *cells"],
    value: Float[Array, "time *cells"],
    next_value: Float[Array, "time *cells"],
    *,
    terminated: Bool[Array, " time"],
    done: Bool[Array, " time"],
    discount: float,
    trace: float,
) -> tuple[Float[Array, "time *cells"], Float[Array, "time *cells"]]:
    """Advantages A and returns R = A + V of one environment, one per cell (Schulman et al. 2016).

        delta_t = r_t + discount (1 - terminated_t) V'_t - V_t
        A_t     = delta_t + discount trace (1 - done_t) A_{t+1}

    ``next_value`` is that of the state which the step reached, before any reset.
    """
    shape = (-1,) + (1,) * (reward.ndim - 1)
    goes_on = (~terminated).astype(value.dtype).reshape(shape)
    connects = (~done).astype(value.dtype).reshape(shape)
    delta = reward.astype(value.dtype) + discount * goes_on * next_value - value

    def back(advantage: Array, item: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, connects = item
        advantage = delta + discount * trace * connects * advantage
        return advantage, advantage

    _, advantage = jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, connects), reverse=True)
    return advantage, advantage + value
