"""A small closure: few channels that multiply each other, and a narrow view.

Errors of a coarse scheme are local (differences over a few cells) and, in advection, products of the velocity
with differences of the field. A few gated layers express that with a twentieth of IRCNN's parameters.
"""

from collections.abc import Sequence

import jax
from jaxtyping import PRNGKeyArray

from closura.closures.closure import Closure
from closura.closures.ircnn import attach_head
from closura.closures.networks import ConvolutionStack
from closura.closures.policy import Policy
from closura.decision import Decision


def compact(
    decision: Decision,
    *,
    channels: int = 16,
    layers: int = 3,
    dilations: Sequence[int] | None = None,
    activation: str = "glu",
    stochastic: bool = False,
    initial_std: float | None = None,
    key: PRNGKeyArray,
) -> Policy | Closure:
    """Build a small network: about 10,000 parameters for two-dimensional advection.

    Parameters
    ----------
    decision
        What the closure observes and how it acts.
    channels
        Channels that leave each layer.
    layers
        Number of layers before the head; each widens the view by ``2 * dilation`` cells.
    dilations
        Dilation of each layer (default: 1).
    activation
        Activation of each layer; see :class:`~closura.closures.ConvolutionStack`.
    stochastic
        A policy with a critic, or a deterministic closure that starts from "no closure".
    initial_std
        Spread of the policy before training; see :class:`~closura.closures.Policy`.
    key
        Random key.

    Raises
    ------
    ValueError
        If the activation is unknown, the dilations disagree with the layers in number, a number is not
        positive, or ``initial_std`` is given for a deterministic closure.
    """
    backbone_key, head_key = jax.random.split(key)
    backbone = ConvolutionStack(
        len(decision.observation),
        (channels,) * layers,
        decision.boundary,
        dilations=None if dilations is None else tuple(dilations),
        activation=activation,
        key=backbone_key,
    )
    return attach_head(decision, backbone, stochastic=stochastic, initial_std=initial_std, key=head_key)
