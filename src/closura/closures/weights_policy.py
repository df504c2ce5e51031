r"""Agents at interfaces that explore: normal distributions of the logits of their weights, and a value for each agent.

The mean is a :class:`~closura.closures.weights.WeightsClosure`: what a policy has learned is a closure that learners
with gradients could have made. A second network of the same size gives the spread, ``softplus(raw) + 1e-6``, and the
value; it has no part in what the trained policy does.
"""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures.closure import check_observation, count_parameters
from closura.closures.dense import Perceptron
from closura.closures.policy import SMALLEST_STD, Normal
from closura.closures.weights import GATE, Form, WeightsClosure
from closura.decision import Decision

LOGIT_STD = 0.3
"""First spread of logits: weights then vary by about a third of themselves."""


class WeightsPolicy(eqx.Module):
    """A policy whose actions are the logits of the weights of both stencils.

    Parameters
    ----------
    closure
        The mean.
    initial_std
        Spread of the logits before training (default: 0.3), the same everywhere.
    key
        Random key of the network of spread and value.

    Raises
    ------
    ValueError
        If ``initial_std`` is not above 1e-6.
    """

    closure: WeightsClosure
    critic: Perceptron

    def __init__(self, closure: WeightsClosure, *, initial_std: float | None = None, key: PRNGKeyArray) -> None:
        std = LOGIT_STD if initial_std is None else initial_std
        if not std > SMALLEST_STD:
            raise ValueError(f"initial_std must be above {SMALLEST_STD}, the smallest spread of a policy; got {std}")
        outputs = len(closure.decision.action)
        layers = closure.network.layers
        critic = Perceptron(
            (len(closure.decision.observation), *(layer.weight.shape[1] for layer in layers[:-1]), outputs + 1),
            activation=closure.network.activation,
            zero_last=True,
            dtype=layers[0].weight.dtype,
            key=key,
        )
        raw = std + math.log(-math.expm1(-std))  # inverse of softplus
        bias = critic.layers[-1].bias.at[:outputs].set(raw)
        self.closure, self.critic = closure, eqx.tree_at(lambda c: c.layers[-1].bias, critic, bias)

    @property
    def decision(self) -> Decision:
        """What the policy observes and how it acts."""
        return self.closure.decision

    def evaluate(self, observation: Float[Array, "c agent"]) -> tuple[Normal, Float[Array, " agent"]]:
        """Distribution of the logits and value of each agent.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        check_observation(observation, self.decision)
        seen = observation.T.astype(self.critic.layers[0].weight.dtype)
        found = self.critic(seen).T.astype(observation.dtype)
        std = jax.nn.softplus(found[:-1]) + SMALLEST_STD
        return Normal(self.closure(observation), std), found[-1]

    def distribution(self, observation: Float[Array, "c agent"]) -> Normal:
        """Distribution of the logits."""
        return self.evaluate(observation)[0]

    def value(self, observation: Float[Array, "c agent"]) -> Float[Array, " agent"]:
        """Expected sum of future (discounted) rewards of each agent."""
        return self.evaluate(observation)[1]

    def __call__(self, observation: Float[Array, "c agent"]) -> Float[Array, "a agent"]:
        """The mean logits, which is how a trained policy acts as a closure."""
        return self.closure(observation)

    def describe(self) -> dict[str, Any]:
        """As the closure's own; all parameters are counted."""
        return {**self.closure.describe(), "kind": "policy", "parameters": count_parameters(self)}


def weighing_agents(
    decision: Decision,
    *,
    stochastic: bool,
    hidden: Sequence[int] = (32, 32),
    activation: str = "relu",
    form: Form = "guided",
    even: bool = False,
    largest: float = 0.0,
    gate: Sequence[float] = GATE,
    softening: float = 0.01,
    power: float = 1.0,
    double: bool = False,
    initial_std: float | None = None,
    key: PRNGKeyArray,
) -> WeightsClosure | WeightsPolicy:
    """Build agents that weigh stencils; options as in :class:`~closura.closures.weights.WeightsClosure`.

    Parameters
    ----------
    decision
        Of a problem whose agents stand at interfaces.
    stochastic
        A policy (for learners that explore), or a deterministic closure.
    hidden, activation, form, even, largest, gate, softening, power, double
        See there.
    initial_std
        Spread of a policy's logits before training (default: 0.3).
    key
        Random key.

    Raises
    ------
    ValueError
        As there, or if weights in float64 are asked for while 64-bit arrays are off.
    """
    if double and not jax.config.read("jax_enable_x64"):
        raise ValueError("weights in float64 need 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
    for_closure, for_critic = jax.random.split(key)
    closure = WeightsClosure(
        decision, hidden=tuple(hidden), activation=activation, form=form, even=even, largest=largest,
        gate=(gate[0], gate[1]), softening=softening, power=power, double=double, key=for_closure,
    )  # fmt: skip
    return WeightsPolicy(closure, initial_std=initial_std, key=for_critic) if stochastic else closure
