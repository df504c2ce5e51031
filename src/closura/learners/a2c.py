"""A2C with an advantage for every cell, as in the published code (where it stands but cannot be chosen).

L = -mean log pi(a) A + c_v mean (R - V)^2 - c_e mean H
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from closura.closures import ActorCritic
from closura.core.citations import CLOSURE_RL
from closura.learners.on_policy import Frames, OnPolicyConfiguration, OnPolicyLearner, masked_mean
from closura.learners.registry import learner
from closura.learners.state import Metrics
from closura.settings import Count, NotNegative, Positive


@dataclass(frozen=True)
class A2CConfiguration(OnPolicyConfiguration):
    """Settings of A2C: those of :class:`OnPolicyConfiguration`, with a single pass over the frames.

    Nothing clips a step here, and the gradient grows as the spread of the policy shrinks: without the entropy
    bonus, which keeps the spread, trainings on advection were lost once it fell below a few thousandths.
    """

    epochs: Count = 1
    learning_rate: Positive = 1e-4
    entropy_weight: NotNegative = 0.02


@learner("a2c", settings=A2CConfiguration, sources=[CLOSURE_RL])
class A2C(OnPolicyLearner):
    """Advantage actor-critic: one step along the policy gradient for each batch of steps."""

    configuration: A2CConfiguration = eqx.field(static=True)

    def loss(
        self, policy: ActorCritic, frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The policy gradient, the critic's squared error and the entropy."""
        c = self.configuration
        normal, value = jax.vmap(policy.evaluate)(frames.observation)
        log_prob = jax.vmap(lambda n, a: n.log_prob(a))(normal, frames.action)
        gradient = -masked_mean(log_prob * frames.advantage, used)
        critic = masked_mean(jnp.square(frames.returns - value), used)
        entropy = masked_mean(jax.vmap(lambda n: n.entropy())(normal), used)
        total = gradient + c.value_weight * critic - c.entropy_weight * entropy
        return total, {"loss_policy": gradient, "loss_value": critic, "entropy": entropy}
