"""Stacks of convolutions: the backbone of every closure that acts on a grid."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.closures import dense
from closura.closures.convolution import convolve
from closura.closures.program import Layer, layer_of
from closura.grids import Boundary

Activation = Literal["relu", "gelu", "silu", "tanh", "glu", "bilinear"]

_GATED: dict[str, Callable[[Array, Array], Array]] = {
    "glu": lambda a, b: a * jax.nn.sigmoid(b),
    "bilinear": lambda a, b: a * b,
}
ACTIVATIONS: tuple[str, ...] = (*dense.ACTIVATIONS, *_GATED)


class Convolution(eqx.Module):
    """One convolution with bias, stride 1, that keeps the grid.

    The initial values are PyTorch's default, uniform in ``+-1 / sqrt(fan_in)`` for kernel and bias, with
    ``fan_in = c_in * size**dimensions``: the published networks were trained from it.
    """

    kernel: Float[Array, "*k c_in c_out"]
    bias: Float[Array, " c_out"]
    dilation: int = eqx.field(static=True)
    boundary: tuple[Boundary, ...] = eqx.field(static=True)

    def __init__(
        self,
        c_in: int,
        c_out: int,
        boundary: tuple[Boundary, ...],
        *,
        size: int = 3,
        dilation: int = 1,
        key: PRNGKeyArray,
    ) -> None:
        if min(c_in, c_out, dilation) < 1:
            raise ValueError(f"channels and dilation must be positive; got {c_in}, {c_out} and {dilation}")
        if size < 1 or size % 2 == 0:
            raise ValueError(f"the size of a kernel must be odd, so that it has a centre; got {size}")
        dimensions = len(boundary)
        limit = 1 / math.sqrt(c_in * size**dimensions)
        kernel_key, bias_key = jax.random.split(key)
        shape = (size,) * dimensions + (c_in, c_out)
        self.kernel = jax.random.uniform(kernel_key, shape, jnp.float32, -limit, limit)
        self.bias = jax.random.uniform(bias_key, (c_out,), jnp.float32, -limit, limit)
        self.dilation = dilation
        self.boundary = boundary

    @property
    def reach(self) -> int:
        """Cells that the convolution sees to each side of a point."""
        return self.dilation * (self.kernel.shape[0] // 2)

    def __call__(self, x: Float[Array, "*grid c_in"]) -> Float[Array, "*grid c_out"]:
        """Convolve a field, channels last, in the precision of the field."""
        kernel, bias = self.kernel.astype(x.dtype), self.bias.astype(x.dtype)
        return convolve(x, kernel, bias, dilation=self.dilation, boundary=self.boundary)


class ConvolutionStack(eqx.Module):
    """Convolutions, each followed by the same activation.

    Parameters
    ----------
    c_in
        Number of channels that enter.
    channels, dilations, sizes
        Of each layer: the channels that leave it, its dilation (default: 1), and the points of its kernel along each
        axis, odd (default: 3); 1 mixes channels cell by cell.
    boundary
        Boundary of the grid along each axis.
    activation
        ``"relu"``, ``"gelu"``, ``"silu"``, ``"tanh"``, or one that multiplies channels with each other:
        ``"glu"`` (``a * sigmoid(b)``) or ``"bilinear"`` (``a * b``), where the convolution gives the channels
        ``a`` and ``b``, twice as many as leave the layer. Products of the velocity with the field are what
        closures of advection consist of.
    key
        Random key.

    Raises
    ------
    ValueError
        If the activation is unknown, there is no layer, or there are not as many dilations and sizes as
        layers.
    """

    layers: tuple[Convolution, ...]
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        c_in: int,
        channels: tuple[int, ...],
        boundary: tuple[Boundary, ...],
        *,
        dilations: tuple[int, ...] | None = None,
        sizes: tuple[int, ...] | None = None,
        activation: str = "relu",
        key: PRNGKeyArray,
    ) -> None:
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}; valid: {', '.join(ACTIVATIONS)}")
        dilations = (1,) * len(channels) if dilations is None else dilations
        sizes = (3,) * len(channels) if sizes is None else sizes
        if not channels or len(dilations) != len(channels) or len(sizes) != len(channels):
            raise ValueError(
                f"a stack needs at least one layer, and one dilation and one size per layer; "
                f"got {len(channels)} layers, dilations {dilations} and sizes {sizes}"
            )
        gates = 2 if activation in _GATED else 1
        widths = (c_in, *channels)
        self.layers = tuple(
            Convolution(widths[i], gates * widths[i + 1], boundary, size=size, dilation=dilation, key=layer_key)
            for i, (size, dilation, layer_key) in enumerate(
                zip(sizes, dilations, jax.random.split(key, len(channels)), strict=True)
            )
        )
        self.activation = activation

    def convolutions(self) -> list[tuple[Int[np.ndarray, "_ _"], Layer]]:
        """The layers with the offsets of the cells that they see, for exports."""
        return [layer_of(layer, self.activation) for layer in self.layers]

    @property
    def receptive_field(self) -> list[int]:
        """Points along each axis that a point sees after the first layer, the second, and so on."""
        fields, field = [], 1
        for layer in self.layers:
            field += 2 * layer.reach
            fields.append(field)
        return fields

    @property
    def channels(self) -> list[int]:
        """Number of channels that leave each layer, after its activation."""
        gates = 2 if self.activation in _GATED else 1
        return [layer.kernel.shape[-1] // gates for layer in self.layers]

    def describe(self) -> dict[str, Any]:
        """Axes, boundary, channels, dilations and activation."""
        return {
            "dimensions": len(self.layers[0].boundary),
            "boundary": list(self.layers[0].boundary),
            "channels": self.channels,
            "dilations": [layer.dilation for layer in self.layers],
            "activation": self.activation,
        }

    def __call__(self, x: Float[Array, "*grid c_in"]) -> Float[Array, "*grid c_out"]:
        """Apply all layers to a field, channels last."""
        for layer in self.layers:
            x = layer(x)
            if self.activation in _GATED:
                a, b = jnp.split(x, 2, axis=-1)
                x = _GATED[self.activation](a, b)
            else:
                x = dense.ACTIVATIONS[self.activation](x)
        return x


class ConvolutionNetwork(eqx.Module):
    """A stack of convolutions, the first of size 3 and the others of size 1, and a pointwise linear head.

    Its answer before training is ``start``, a number for each channel that leaves.
    """

    backbone: ConvolutionStack
    head: Convolution

    def __init__(
        self,
        c_in: int,
        channels: tuple[int, ...],
        start: Sequence[float],
        boundary: tuple[Boundary, ...],
        *,
        key: PRNGKeyArray,
    ) -> None:
        sizes = (3, *(1,) * (len(channels) - 1))
        self.backbone = ConvolutionStack(c_in, channels, boundary, sizes=sizes, key=key)
        head = jax.tree.map(jnp.zeros_like, Convolution(channels[-1], len(start), boundary, size=1, key=key))
        self.head = eqx.tree_at(lambda h: h.bias, head, jnp.asarray(start, jnp.float32))

    def __call__(self, x: Float[Array, "*grid c_in"]) -> Float[Array, "*grid c_out"]:
        """Apply it to a field, channels last."""
        return self.head(self.backbone(x))
