"""A small closure: a narrow view, few channels, and an answer in the form that errors of schemes have.

One 3 x 3 layer looks at a cell's neighbours, layers of size 1 combine what it saw, and the head answers with
the weights of a 7 x 7 stencil on the field that is acted on (``output="stencil"``), or with the action itself
(``output="action"``, as IRCNN does). With its 8,000 parameters it is 22 times smaller than IRCNN.

With ``view="flow"`` cells turn their neighbourhood along their velocity first: :mod:`closura.closures.aligned`.
"""

from typing import Literal

import jax
from jaxtyping import PRNGKeyArray

from closura.closures.adaptive import StencilClosure, StencilPolicy
from closura.closures.aligned import AlignedClosure
from closura.closures.closure import Closure
from closura.closures.ircnn import attach_head
from closura.closures.networks import ConvolutionStack
from closura.closures.policy import Policy
from closura.decision import Decision


def compact(
    decision: Decision,
    *,
    channels: int = 48,
    layers: int = 3,
    wide_layers: int = 1,
    radius: int = 3,
    activation: str = "relu",
    output: Literal["stencil", "action"] = "stencil",
    by_speed: bool = False,
    view: Literal["grid", "flow"] = "grid",
    look: int = 2,
    stochastic: bool = False,
    initial_std: float | None = None,
    key: PRNGKeyArray,
) -> Policy | Closure | StencilClosure | StencilPolicy | AlignedClosure:
    """Build a small network: about 8,000 parameters for two-dimensional advection.

    Parameters
    ----------
    decision
        What the closure observes and how it acts.
    channels
        Channels that leave each layer.
    layers
        Number of layers before the head.
    wide_layers
        How many of them, from the first, see neighbouring cells (size 3); the others work cell by cell.
    radius
        Reach of the stencil in cells.
    activation
        Activation of each layer; see :class:`~closura.closures.ConvolutionStack`.
    output
        Whether the head answers with a stencil's weights or with the action.
    by_speed
        Measure velocities and weights in units of the local speed; see :mod:`closura.closures.speed`.
    view
        "grid": layers of convolutions, the first ``wide_layers`` of size 3; "flow": every cell turns its neighbourhood
        to where its velocity comes from, and all layers work cell by cell (deterministic, two axes,
        ``output="stencil"``; weights are in units of the local speed, ``wide_layers`` and ``by_speed`` are not used).
    look
        How far the network sees the field with ``view="flow"``, in cells; 0: velocities only.
    stochastic
        A policy with a critic, or a deterministic closure that starts from "no closure".
    initial_std
        Spread of the policy before training, in units of the action.
    key
        Random key.

    Raises
    ------
    ValueError
        If the activation or output is unknown, a number is not positive, there are more wide layers than
        layers, ``by_speed`` is asked for without observed velocities or stencils, ``initial_std`` is given for a
        deterministic closure, or the view is refused.
    """
    if output not in ("stencil", "action"):
        raise ValueError(f"unknown output {output!r}; valid: stencil, action")
    if not 0 <= wide_layers <= layers:
        raise ValueError(f"wide_layers must lie between 0 and layers={layers}; got {wide_layers}")
    if initial_std is not None and not stochastic:
        raise ValueError("initial_std is the spread of a policy: a deterministic closure has none")
    if by_speed and output != "stencil":
        raise ValueError(f"by_speed scales the weights of a stencil; got output={output!r}")
    if view not in ("grid", "flow"):
        raise ValueError(f"unknown view {view!r}; valid: grid, flow")
    if view == "flow":
        if stochastic or output != "stencil":
            raise ValueError(
                "view flow is for deterministic closures that answer with a stencil (learner bptts, output stencil)"
            )
        hidden = (channels,) * layers
        return AlignedClosure(decision, hidden=hidden, radius=radius, look=look, activation=activation, key=key)
    backbone_key, head_key = jax.random.split(key)
    backbone = ConvolutionStack(
        len(decision.observation) + by_speed,
        (channels,) * layers,
        decision.boundary,
        sizes=(3,) * wide_layers + (1,) * (layers - wide_layers),
        activation=activation,
        key=backbone_key,
    )
    if output == "action":
        return attach_head(decision, backbone, stochastic=stochastic, initial_std=initial_std, key=head_key)
    if stochastic:
        return StencilPolicy(
            decision, backbone, radius=radius, by_speed=by_speed, initial_std=initial_std, key=head_key
        )
    return StencilClosure(decision, backbone, radius=radius, by_speed=by_speed, key=head_key)
