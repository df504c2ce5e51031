"""IRCNN: the network of Closure-RL, dilated convolutions after a denoiser.

Six 3x3 convolutions with 64 channels, dilations 1, 2, 3, 4, 3, 2, each followed by a ReLU; 3x3 heads. The
receptive field is 33 points. Table 4 of Closure-RL, `arXiv:2402.00972 <https://arxiv.org/abs/2402.00972>`_;
the backbone is that of Zhang, Zuo, Gu, Zhang: Learning deep CNN denoiser prior for image restoration, CVPR
2017.
"""

import jax
from jaxtyping import PRNGKeyArray

from closura.closures.closure import Closure
from closura.closures.networks import ConvolutionStack
from closura.closures.policy import Policy
from closura.decision import Decision

CHANNELS = (64,) * 6
DILATIONS = (1, 2, 3, 4, 3, 2)


def ircnn(
    decision: Decision, *, stochastic: bool = True, initial_std: float | None = None, key: PRNGKeyArray
) -> Policy | Closure:
    """Build the network of Closure-RL for any decision: 188,163 parameters for its advection.

    Parameters
    ----------
    decision
        What the closure observes and how it acts.
    stochastic
        A policy with a critic (as published), or a deterministic closure.
    initial_std
        Spread of the policy before training; see :class:`~closura.closures.Policy`.
    key
        Random key.

    Raises
    ------
    ValueError
        If ``initial_std`` is given for a deterministic closure.
    """
    backbone_key, head_key = jax.random.split(key)
    backbone = ConvolutionStack(
        len(decision.observation),
        CHANNELS,
        decision.boundary,
        dilations=DILATIONS,
        activation="relu",
        key=backbone_key,
    )
    return attach_head(decision, backbone, stochastic=stochastic, initial_std=initial_std, key=head_key)


def attach_head(
    decision: Decision,
    backbone: ConvolutionStack,
    *,
    stochastic: bool,
    initial_std: float | None,
    key: PRNGKeyArray,
) -> Policy | Closure:
    """Put the heads of a policy, or the head of a deterministic closure, on a backbone."""
    if stochastic:
        return Policy(decision, backbone, initial_std=initial_std, key=key)
    if initial_std is not None:
        raise ValueError(f"a deterministic closure has no spread; got initial_std={initial_std} (leave it out)")
    return Closure(decision, backbone, key=key)
