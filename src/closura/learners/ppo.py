"""PPO with a ratio, an advantage and a return for every cell (Closure-RL, section 3.3 and its published code).

    L = -mean min(rho A, clip(rho, 1 - eps, 1 + eps) A) + c_v mean (R - V)^2 - c_e mean H

with rho = exp(log pi(a) - log pi_old(a)) of each cell's own action. The paper writes sums over the grid and a
squared norm for the critic; the published code takes means everywhere, and so do we.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from closura.core.citations import CLOSURE_RL
from closura.learners.on_policy import Frames, OnPolicyConfiguration, OnPolicyLearner, masked_mean
from closura.learners.state import Metrics, learner
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

    def policy_loss(
        self, log_prob: Float[Array, "frame *grid"], frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The clipped surrogate, and the share of ratios that are clipped."""
        clip = self.configuration.clip
        ratio = jnp.exp(log_prob - frames.log_prob)
        clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
        surrogate = -masked_mean(jnp.minimum(ratio * frames.advantage, clipped * frames.advantage), used)
        return surrogate, {"clipped": masked_mean((jnp.abs(ratio - 1.0) > clip).astype(jnp.float32), used)}
