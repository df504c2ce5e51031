"""An actor-critic policy: a closure that also gives its spread, and the value of what it sees.

One agent sits at each grid point; all share one network (Closure-RL, section 4 of
`arXiv:2402.00972 <https://arxiv.org/abs/2402.00972>`_).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._members import apply_by_member
from closura.closures.closure import check_observation, describe_network
from closura.closures.networks import Convolution, ConvolutionStack
from closura.decision import Decision

SMALLEST_STD = 1e-6


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


class Policy(eqx.Module):
    """Actor and critic on one shared backbone.

    The actor's head gives ``2 a`` channels for ``a`` components of the action: the mean, as it is, and
    ``raw``, with the standard deviation ``softplus(raw) + 1e-6``. The critic's head gives the value of each
    agent's future. The problem's ``scale`` is not applied: a policy's outputs are the action itself, as
    published.

    Parameters
    ----------
    decision
        What the policy observes and how it acts.
    backbone
        The network's layers up to the heads.
    initial_std
        Standard deviation before training, in the units of the action; the mean is then close to zero (about
        a hundredth of it). ``None``: PyTorch's default initialisation as published, a spread near 0.69
        whatever the problem's scale.
    key
        Random key.

    Raises
    ------
    ValueError
        If ``initial_std`` is not above 1e-6.
    """

    backbone: ConvolutionStack
    actor: Convolution
    critic: Convolution
    decision: Decision = eqx.field(static=True)

    def __init__(
        self,
        decision: Decision,
        backbone: ConvolutionStack,
        *,
        initial_std: float | None = None,
        key: PRNGKeyArray,
    ) -> None:
        actor_key, critic_key = jax.random.split(key)
        width, components = backbone.channels[-1], len(decision.action)
        actor = Convolution(width, 2 * components, decision.boundary, key=actor_key)
        if initial_std is not None:
            actor = _with_spread(actor, initial_std)
        self.backbone, self.actor, self.decision = backbone, actor, decision
        self.critic = Convolution(width, 1, decision.boundary, key=critic_key)

    def evaluate(self, observation: Float[Array, "c *grid"]) -> tuple[Normal, Float[Array, "*grid"]]:
        """Distribution of the actions and value, with one pass through the backbone.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        check_observation(observation, self.decision)
        return apply_by_member(_evaluate, self, observation)

    def distribution(self, observation: Float[Array, "c *grid"]) -> Normal:
        """Distribution of the actions."""
        check_observation(observation, self.decision)
        return apply_by_member(_distribution, self, observation)

    def value(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid"]:
        """Expected sum of future (discounted) rewards of each agent."""
        check_observation(observation, self.decision)
        return apply_by_member(_value, self, observation)

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """The mean action, which is how a trained policy acts as a closure."""
        return self.distribution(observation).mean

    def describe(self) -> dict[str, Any]:
        """Number of parameters, channels, dilations and receptive field of each layer, head included."""
        return {"kind": "policy", **describe_network(self, self.backbone, self.actor)}


def _features(policy: Policy, observation: Array) -> Array:
    return policy.backbone(jnp.moveaxis(observation, 0, -1))


def _normal(policy: Policy, features: Array) -> Normal:
    mean, raw = jnp.split(jnp.moveaxis(policy.actor(features), -1, 0), 2)
    return Normal(mean, jax.nn.softplus(raw) + SMALLEST_STD)


def _evaluate(policy: Policy, observation: Array) -> tuple[Normal, Array]:
    features = _features(policy, observation)
    return _normal(policy, features), policy.critic(features)[..., 0]


def _distribution(policy: Policy, observation: Array) -> Normal:
    return _normal(policy, _features(policy, observation))


def _value(policy: Policy, observation: Array) -> Array:
    return policy.critic(_features(policy, observation))[..., 0]


def _with_spread(actor: Convolution, std: float) -> Convolution:
    """Make the actor's first spread ``std`` and its first mean about a hundredth of that."""
    if not std > SMALLEST_STD:
        raise ValueError(f"initial_std must be above {SMALLEST_STD}, the smallest spread of a policy; got {std}")
    components = actor.bias.size // 2
    target = std - SMALLEST_STD
    raw = target + math.log(-math.expm1(-target))  # inverse of softplus, without overflow or cancellation
    bias = jnp.concatenate([jnp.zeros(components, jnp.float32), jnp.full(components, raw, jnp.float32)])
    # The default head gives about 0.1 to 0.3: a tenth of the spread makes the mean small against the noise,
    # and a hundredth in `raw` changes the spread by about 0.1 % from cell to cell.
    shrink = jnp.concatenate([jnp.full(components, 0.1 * std, jnp.float32), jnp.full(components, 0.01, jnp.float32)])
    return eqx.tree_at(lambda a: (a.kernel, a.bias), actor, (actor.kernel * shrink, bias))
