"""PPO with a ratio, an advantage and a return for every cell (Closure-RL, section 3.3 and its published code).

    L = -mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) + c_v mean (R - V)^2 - c_e mean H

with rho = exp(log pi(a) - log pi_old(a)) of each cell's own action. The paper writes sums over the grid and a
squared norm for the critic; the published code takes means everywhere, and so do we.
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
from closura.settings import Positive


@dataclass(frozen=True)
class PPOConfiguration(OnPolicyConfiguration):
    """Settings of PPO.

    Parameters
    ----------
    clip
        How far the ratio may leave one (eps).
    """

    clip: Positive = 0.2


@learner("ppo", settings=PPOConfiguration, sources=[CLOSURE_RL])
class PPO(OnPolicyLearner):
    """Proximal policy optimisation with a reward per cell; the solver is never differentiated."""

    configuration: PPOConfiguration = eqx.field(static=True)

    def loss(
        self, policy: ActorCritic, frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The clipped surrogate, the critic's squared error and the entropy."""
        c = self.configuration
        normal, value = jax.vmap(policy.evaluate)(frames.observation)
        log_prob = jax.vmap(lambda n, a: n.log_prob(a))(normal, frames.action)
        ratio = jnp.exp(log_prob - frames.log_prob)
        clipped = jnp.clip(ratio, 1.0 - c.clip, 1.0 + c.clip)
        surrogate = -masked_mean(jnp.minimum(ratio * frames.advantage, clipped * frames.advantage), used)
        critic = masked_mean(jnp.square(frames.returns - value), used)
        entropy = masked_mean(jax.vmap(lambda n: n.entropy())(normal), used)
        total = surrogate + c.value_weight * critic - c.entropy_weight * entropy
        outside = (jnp.abs(ratio - 1.0) > c.clip).astype(jnp.float32)
        parts = {
            "loss_policy": surrogate,
            "loss_value": critic,
            "entropy": entropy,
            "clipped": masked_mean(outside, used),
        }
        return total, parts
