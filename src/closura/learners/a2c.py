"""A2C with an advantage for every cell, as in the published code (where it stands but cannot be chosen).

L = -mean log pi(a) A + c_v mean (R - V)^2 - c_e mean H
"""

from dataclasses import dataclass

import equinox as eqx
from jaxtyping import Array, Bool, Float

from closura.core.citations import CLOSURE_RL
from closura.learners.on_policy import Frames, OnPolicyConfiguration, OnPolicyLearner, masked_mean
from closura.learners.state import Metrics, learner
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

    def policy_loss(
        self, log_prob: Float[Array, "frame *grid"], frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The policy gradient."""
        return -masked_mean(log_prob * frames.advantage, used), {}
