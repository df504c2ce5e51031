"""Policies: a closure that explores. The mean of its actions is the closure's answer; beside it are spread and value.

Every cell (or interface) acts by itself, and all share one network (Closure-RL, section 4 of
`arXiv:2402.00972 <https://arxiv.org/abs/2402.00972>`_).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._checks import check_observation, count_parameters
from closura.closures._members import apply_by_member
from closura.closures.dense import Dense, Perceptron
from closura.closures.networks import Convolution, ConvolutionNetwork
from closura.closures.program import Pass, Program, chained, layer_of
from closura.core import ClosureSpec

SMALLEST_STD = 1e-6

LOGIT_STD = 0.3
"""First spread of answers at interfaces, which are logits: weights then vary by about a third of themselves."""


class Normal(eqx.Module):
    """Independent normal distributions of the actions of all agents.

    Parameters
    ----------
    mean, std
        Mean and standard deviation of each component of the action, in the action's units.
    """

    mean: Float[Array, "a *grid"]
    std: Float[Array, "a *grid"]

    def sample(self, key: PRNGKeyArray) -> Float[Array, "a *grid"]:
        """Draw one action for every agent."""
        return self.mean + self.std * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: Float[Array, "a *grid"]) -> Float[Array, "*grid"]:
        """Logarithm of the density of each agent's action, summed over the components of the action."""
        z = (action - self.mean) / self.std
        return jnp.sum(-0.5 * z * z - jnp.log(self.std) - 0.5 * math.log(2 * math.pi), axis=0)

    def entropy(self) -> Float[Array, "*grid"]:
        """Entropy of each agent's action in nats, summed over the components of the action."""
        return jnp.sum(jnp.log(self.std) + 0.5 * math.log(2 * math.pi * math.e), axis=0)


class ActorCritic(eqx.Module):
    """A policy around any closure: its answer is the mean of the actions, with a spread and a value beside it.

    The spread is ``softplus(raw) + 1e-6``. Raw spread and value come from

    * heads on the closure's own features, where it has ``features(observation) -> (*grid, width)`` and
      ``respond(features, observation) -> action``: pointwise ones whose spread is the same everywhere at first, or
      those of its method ``exploring(initial_std, key=key) -> (closure, spread, critic)``;
    * a small network of their own otherwise, convolutions in cells and a perceptron at interfaces, or that of the
      closure's method ``critic_network(start, key=key)``, whose outputs are ``start`` at first. Such a network has no
      part in what the trained policy does.

    Parameters
    ----------
    spec
        What the closure observes and answers.
    closure
        The mean: any module ``observation -> action``.
    initial_std
        Standard deviation before training, in the units of the action; ``None`` is the closure's own choice, or the
        specification's scale in cells and 0.3 at interfaces.
    key
        Random key of spread and value.

    Raises
    ------
    ValueError
        If ``initial_std`` is not above 1e-6.
    """

    closure: Any
    spread: Any
    critic: Any
    spec: ClosureSpec = eqx.field(static=True)

    def __init__(self, spec: ClosureSpec, closure: Any, *, initial_std: float | None = None, key: PRNGKeyArray) -> None:
        if initial_std is not None and not initial_std > SMALLEST_STD:
            raise ValueError(
                f"initial_std must be above {SMALLEST_STD}, the smallest spread of a policy; got {initial_std}"
            )
        usual = LOGIT_STD if spec.where == "interfaces" else spec.scale
        std = usual if initial_std is None else initial_std
        spread = None
        if hasattr(closure, "exploring"):
            closure, spread, critic = closure.exploring(initial_std, key=key)
        elif hasattr(closure, "features"):
            spread, critic = _heads(spec, closure, std, key=key)
        else:
            raw = std + math.log(-math.expm1(-std))  # inverse of softplus
            make = getattr(closure, "critic_network", None) or _network(spec)
            critic = make((*(raw,) * len(spec.action), 0.0), key=key)
        self.closure, self.spread, self.critic, self.spec = closure, spread, critic, spec

    def evaluate(self, observation: Float[Array, "c *grid"]) -> tuple[Normal, Float[Array, "*grid"]]:
        """Distribution of the actions and value, with one pass through what they share."""
        check_observation(observation, self.spec)
        if self.spread is not None:
            return self._apply(_evaluate, observation)
        std, value = self._apply(_separate, observation)
        return Normal(self.closure(observation), std), value

    def value(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid"]:
        """Expected sum of future (discounted) rewards of each cell or interface."""
        check_observation(observation, self.spec)
        return self._apply(_separate if self.spread is None else _value, observation)[1]

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """The mean action, which is how a trained policy acts as a closure."""
        return self.closure(observation)

    def program(self) -> Program:
        """What it computes, for exports: the closure's answer, and the spread of the actions."""
        answer: Program = self.closure.program()
        count = len(self.spec.action)
        if self.spread is not None:
            offsets, layer = layer_of(self.spread)
            *before, last = answer.passes
            if len(last.layers) > 1:  # features are kept before the head, for both
                features = replace(last, layers=last.layers[:-1])
                before, last = [*before, features], Pass(0 * offsets[:1], last.layers[-1:])
            return replace(answer, passes=(*before, last), spread=(Pass(offsets, (layer,)),))
        if self.spec.where == "interfaces":
            return answer  # such policies act by their mean
        layers = [*self.critic.backbone.convolutions(), layer_of(self.critic.head)]
        *first, last = chained(layers, "observation")
        end = last.layers[-1]
        end = replace(end, weight=end.weight[:, :count], bias=end.bias[:count])
        return replace(answer, spread=(*first, replace(last, layers=(*last.layers[:-1], end))))

    def describe(self) -> dict[str, Any]:
        """What the closure says of itself; all parameters are counted."""
        own = self.closure.describe() if hasattr(self.closure, "describe") else {}
        return {**own, "kind": "policy", "parameters": count_parameters(self)}

    def _apply(self, function: Callable[["ActorCritic", Array], Any], observation: Array) -> Any:
        in_cells = self.spec.where == "cells"
        return apply_by_member(function, self, observation) if in_cells else function(self, observation)


def _evaluate(policy: ActorCritic, observation: Array) -> tuple[Normal, Array]:
    features = policy.closure.features(observation)
    mean = policy.closure.respond(features, observation)
    return Normal(mean, _std(policy, features, observation)), _applied(policy.critic, features, observation)[..., 0]


def _value(policy: ActorCritic, observation: Array) -> tuple[None, Array]:
    return None, _applied(policy.critic, policy.closure.features(observation), observation)[..., 0]


def _separate(policy: ActorCritic, observation: Array) -> tuple[Array, Array]:
    found = jnp.moveaxis(_applied(policy.critic, jnp.moveaxis(observation, 0, -1), observation), -1, 0)
    return jax.nn.softplus(found[:-1]) + SMALLEST_STD, found[-1]


def _std(policy: ActorCritic, features: Array, observation: Array) -> Array:
    return jax.nn.softplus(jnp.moveaxis(_applied(policy.spread, features, observation), -1, 0)) + SMALLEST_STD


def _applied(module: Any, x: Array, observation: Array) -> Array:
    """Convolutions compute in the precision of what they are given, dense layers in that of their weights."""
    if isinstance(module, Dense | Perceptron):
        x = x.astype(jax.tree.leaves(module)[0].dtype)
    return module(x).astype(observation.dtype)


def _heads(spec: ClosureSpec, closure: Any, std: float, *, key: PRNGKeyArray) -> tuple[Any, Any]:
    """Pointwise heads on a closure's features: of the spread, the same everywhere, and of the value."""
    shape = (len(spec.observation), *(16,) * spec.dimensions)  # a grid of any size has the same features
    width = jax.eval_shape(closure.features, jax.ShapeDtypeStruct(shape, jnp.float32)).shape[-1]
    _, spread_key, critic_key = jax.random.split(key, 3)

    def head(outputs: int, key: PRNGKeyArray) -> Any:
        if spec.where == "interfaces":
            return Dense(width, outputs, key=key)
        return Convolution(width, outputs, spec.boundary, size=1, key=key)

    spread = jax.tree.map(jnp.zeros_like, head(len(spec.action), spread_key))
    raw = jnp.full_like(spread.bias, jnp.log(jnp.expm1(jnp.asarray(std, jnp.float32))))  # inverse of softplus
    return eqx.tree_at(lambda s: s.bias, spread, raw), head(1, critic_key)


def _network(spec: ClosureSpec) -> Callable[..., Any]:
    """What makes a small network of spread and value for a place."""
    channels = len(spec.observation)
    if spec.where == "interfaces":
        return lambda start, *, key: Perceptron.starting_from(start, (channels, 32, 32), key=key)
    return lambda start, *, key: ConvolutionNetwork(channels, (32, 32), start, spec.boundary, key=key)
