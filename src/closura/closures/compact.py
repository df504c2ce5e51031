"""A small closure: a narrow view, few channels, and an answer in the form that errors of schemes have.

One 3 x 3 layer looks at a cell's neighbours, layers of size 1 combine what it saw, and the head answers with
the weights of a 7 x 7 stencil on the field that is acted on (``output="stencil"``), or with the action itself
(``output="action"``, as IRCNN does). With its 8,000 parameters it is 22 times smaller than IRCNN.

With ``view="flow"`` cells turn their neighbourhood along their velocity first: :mod:`closura.closures.aligned`.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
from jaxtyping import PRNGKeyArray

from closura.closures.aligned import AlignedClosure
from closura.closures.convolutional import ConvolutionalClosure
from closura.closures.networks import ConvolutionStack
from closura.closures.registry import closure
from closura.closures.stencil import StencilClosure
from closura.core import ClosureSpec
from closura.settings import Count, Natural, Settings


@dataclass(frozen=True)
class CompactConfiguration(Settings):
    """Size and form of the compact closure.

    Parameters
    ----------
    channels
        Channels of each layer.
    layers
        Layers before the head.
    wide_layers
        How many of them, from the first, see neighbouring cells; the others work cell by cell.
    radius
        Reach of the stencil that the head answers with, in cells.
    activation
        "relu", "gelu", "silu", "tanh", "glu" or "bilinear".
    output
        Whether the head answers with a stencil's weights or with the action itself.
    by_speed
        Measure velocities and weights of stencils in units of the local speed.
    view
        "grid": convolutions; "flow": every cell turns its neighbourhood to where its velocity comes from, and all
        layers work cell by cell (two axes, stencils; wide_layers and by_speed are not used).
    look
        How far a closure with view "flow" sees the field, in cells; 0: velocities only.
    """

    channels: Count = 48
    layers: Count = 3
    wide_layers: Natural = 1
    radius: Natural = 3
    activation: str = "relu"
    output: Literal["stencil", "action"] = "stencil"
    by_speed: bool = False
    view: Literal["grid", "flow"] = "grid"
    look: Natural = 2


@closure("compact", settings=CompactConfiguration, zero_start=True)
def compact(
    spec: ClosureSpec, *, key: PRNGKeyArray, **settings: Any
) -> ConvolutionalClosure | StencilClosure | AlignedClosure:
    """A small convolutional network: about 8,000 parameters for two-dimensional advection."""
    s = CompactConfiguration(**settings)
    if s.wide_layers > s.layers:
        raise ValueError(f"wide_layers must lie between 0 and layers={s.layers}; got {s.wide_layers}")
    if s.by_speed and s.output != "stencil":
        raise ValueError(f"by_speed scales the weights of a stencil; got output={s.output!r}")
    if s.view == "flow":
        if s.output != "stencil":
            raise ValueError("view flow is for closures that answer with a stencil (output stencil)")
        hidden = (s.channels,) * s.layers
        return AlignedClosure(spec, hidden=hidden, radius=s.radius, look=s.look, activation=s.activation, key=key)
    backbone_key, head_key = jax.random.split(key)
    backbone = ConvolutionStack(
        len(spec.observation) + s.by_speed,
        (s.channels,) * s.layers,
        spec.boundary,
        sizes=(3,) * s.wide_layers + (1,) * (s.layers - s.wide_layers),
        activation=s.activation,
        key=backbone_key,
    )
    if s.output == "action":
        return ConvolutionalClosure(spec, backbone)
    return StencilClosure(spec, backbone, radius=s.radius, by_speed=s.by_speed, key=head_key)
