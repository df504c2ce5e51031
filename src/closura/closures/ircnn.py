"""IRCNN: the network of Closure-RL, dilated convolutions after a denoiser.

Six 3x3 convolutions with 64 channels, dilations 1, 2, 3, 4, 3, 2, each followed by a ReLU; 3x3 heads. The
receptive field is 33 points. Table 4 of Closure-RL, `arXiv:2402.00972 <https://arxiv.org/abs/2402.00972>`_;
the backbone is that of Zhang, Zuo, Gu, Zhang: Learning deep CNN denoiser prior for image restoration, CVPR
2017.
"""

import jax
from jaxtyping import PRNGKeyArray

from closura.closures.convolutional import ConvolutionalClosure
from closura.closures.networks import ConvolutionStack
from closura.closures.registry import closure
from closura.core import ClosureSpec
from closura.core.citations import CLOSURE_RL

CHANNELS = (64,) * 6
DILATIONS = (1, 2, 3, 4, 3, 2)


@closure("ircnn", zero_start=True, sources=[CLOSURE_RL])
def ircnn(spec: ClosureSpec, *, key: PRNGKeyArray) -> ConvolutionalClosure:
    """The network of Closure-RL, for any specification: with a critic 188,163 parameters for its advection."""
    backbone = ConvolutionStack(
        len(spec.observation),
        CHANNELS,
        spec.boundary,
        dilations=DILATIONS,
        activation="relu",
        key=jax.random.split(key)[0],
    )
    return ConvolutionalClosure(spec, backbone)
