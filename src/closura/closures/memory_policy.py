"""Policies with memory: an actor-critic around a closure that remembers, and policies that act by their draws."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.closures.actor_critic import ActorCritic, Normal
from closura.core.memory import MemoryClosure, remembers


class Seen(NamedTuple):
    """What an agent has at the start of a step: the observation, and the memory of the step before."""

    observation: Float[Array, "c *grid"]
    memory: PyTree[Array]


class MemoryPolicy(ActorCritic, MemoryClosure):
    """A policy whose mean remembers; its spread and value come from the observation alone."""

    def begin(self, observation: Float[Array, "c *grid"], *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """That of the closure."""
        return self.closure.begin(observation, key=key)

    def remember(self, memory: PyTree[Array], observation: Float[Array, "c *grid"]) -> PyTree[Array]:
        """That of the closure."""
        return self.closure.remember(memory, observation)

    def answer(self, memory: PyTree[Array], observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """The mean action."""
        return self.closure.answer(memory, observation)

    def evaluate_seen(self, seen: Seen) -> tuple[Normal, Float[Array, "*grid"]]:
        """Distribution of the actions and value; the gradient reaches back to what this step remembers."""
        normal, value = self.evaluate(seen.observation)
        memory = self.remember(seen.memory, seen.observation)
        return Normal(self.answer(memory, seen.observation), normal.std), value


class _Drawing(NamedTuple):
    own: PyTree[Array]
    numbers: Float[Array, "a *grid"]
    key: Array


class DrawnPolicy(MemoryClosure):
    """A policy that acts by draws from its distribution, once a step: its spread as a random closure."""

    policy: ActorCritic

    def begin(self, observation: Float[Array, "c *grid"], *, key: Key[Scalar, ""]) -> _Drawing:
        """The policy's memory, where it has one, and the key of a member."""
        own_key, key = jax.random.split(key)
        own = self.policy.begin(observation, key=own_key) if remembers(self.policy) else None
        shape = (len(self.policy.spec.action), *observation.shape[1:])
        return _Drawing(own, jnp.zeros(shape, observation.dtype), jax.random.key_data(key))

    def remember(self, memory: _Drawing, observation: Float[Array, "c *grid"]) -> _Drawing:
        """The next random numbers."""
        now, later = jax.random.split(jax.random.wrap_key_data(memory.key))
        own = self.policy.remember(memory.own, observation) if remembers(self.policy) else None
        drawn = jax.random.normal(now, memory.numbers.shape, memory.numbers.dtype)
        return _Drawing(own, drawn, jax.random.key_data(later))

    def answer(self, memory: _Drawing, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """Mean and spread times the random numbers."""
        normal, _ = self.policy.evaluate(observation)
        mean = self.policy.answer(memory.own, observation) if remembers(self.policy) else normal.mean
        return mean + normal.std * memory.numbers


def acting(closure: Any, members: int) -> Any:
    """A closure as it is run: policies act by draws where there are several members, else by their mean."""
    return DrawnPolicy(closure) if members > 1 and isinstance(closure, ActorCritic) else closure


def evaluate_seen(policy: Any, seen: Any) -> tuple[Normal, Array]:
    """Distribution and value of what a policy has seen: an observation, or one with a memory."""
    return policy.evaluate_seen(seen) if isinstance(seen, Seen) else policy.evaluate(seen)


def begun(policy: Any, observations: Float[Array, "e c *grid"], *, key: Key[Scalar, ""]) -> PyTree[Array]:
    """Memories of several episodes at their start; None of plain policies."""
    if not remembers(policy):
        return None
    keys = jax.random.split(key, observations.shape[0])
    return jax.vmap(lambda seen, key: policy.begin(seen, key=key))(observations, keys)


def with_memory(episodes: Any, memory: PyTree[Array]) -> Any:
    """Episodes with memories in the place of none or of others."""
    return eqx.tree_at(lambda e: e.memory, episodes, memory, is_leaf=lambda x: x is None)
