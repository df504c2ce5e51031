"""A closure as a short program of dense layers on gathered neighbourhoods: what exports are made of.

A program is a list of passes. A pass gathers, for every cell, values of the cells at fixed offsets and takes them
through dense layers; its result is the features that the next pass gathers from, and the last one answers. Every
closure of the package has a method ``program()``; a closure of your own can be exported if it has one too.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from closura.core import ClosureSpec

GATED = ("glu", "bilinear")


@dataclass(frozen=True)
class Layer:
    """``activation(x W + b)``, W ``(inputs, outputs)``; gated ones multiply the outputs' halves."""

    weight: Float[np.ndarray, "_ _"]
    bias: Float[np.ndarray, " _"]
    activation: str = "none"

    @property
    def width(self) -> int:
        """Values that leave it."""
        return int(self.bias.size) // (2 if self.activation in GATED else 1)


@dataclass(frozen=True)
class Pass:
    """Dense layers on what is gathered around every cell.

    Parameters
    ----------
    offsets
        Of the gathered cells, ``(tap, axis)``; the inputs of the first layer are tap after tap, channel after channel.
    layers
        In their order.
    source
        "observation"; "relative", the same with velocities in units of the local speed
        (:func:`closura.closures.speed.relative_to_speed`); "features" of the pass before; or "aligned", velocities and
        the neighbourhood turned along them (:mod:`closura.closures.aligned`).
    """

    offsets: Int[np.ndarray, "_ _"]
    layers: tuple[Layer, ...]
    source: Literal["observation", "relative", "features", "aligned"] = "features"


@dataclass(frozen=True)
class Stencil:
    """The last pass answers with weights of differences to neighbours.

    ``a = f sum_k w_k (q_k - q_0)`` with ``f`` the factor, times the local speed where ``by_speed`` is set (but for the
    part ``constant``, which an observed diffusivity multiplies), or the cell's own speed where ``aligned`` is.
    """

    offsets: Int[np.ndarray, "_ _"]
    factor: float
    by_speed: bool = False
    constant: Float[np.ndarray, " _"] | None = None
    aligned: bool = False


@dataclass(frozen=True)
class Program:
    """What a closure computes.

    Parameters
    ----------
    spec
        What it observes and answers.
    passes
        In their order; the last one answers.
    stencil
        How its answer is read; None: it is the action, times ``factor``.
    factor
        See above.
    spread
        Passes whose last one gives, for each channel of the action, the raw standard deviation of a policy
        (``softplus(raw) + 1e-6``), gathered from the features before the answer, or from the observation.
    look
        How far an aligned pass sees the field.
    weights
        Of closures at interfaces: settings of the guided form, else None.
    """

    spec: ClosureSpec
    passes: tuple[Pass, ...]
    stencil: Stencil | None = None
    factor: float = 1.0
    spread: tuple[Pass, ...] = ()
    look: int = 0
    weights: Any = None


def offsets_of(sizes: Sequence[int], dilation: int = 1) -> Int[np.ndarray, "_ _"]:
    """Offsets of a box of cells around one, the last axis fastest."""
    steps = [dilation * np.arange(-(size // 2), size // 2 + 1) for size in sizes]
    return np.array(list(itertools.product(*steps)), np.int64)


def chained(layers: Sequence[tuple[Int[np.ndarray, "_ _"], Layer]], source: Any) -> tuple[Pass, ...]:
    """Passes of layers with their offsets: layers that see one cell join the pass before."""
    passes: list[Pass] = []
    for offsets, layer in layers:
        if passes and len(offsets) == 1:
            passes[-1] = Pass(passes[-1].offsets, (*passes[-1].layers, layer), passes[-1].source)
        else:
            passes.append(Pass(offsets, (layer,), "features" if passes else source))
    return tuple(passes)


def layer_of(module: Any, activation: str = "none") -> tuple[Int[np.ndarray, "_ _"], Layer]:
    """A convolution or a dense layer, with the offsets of the cells that it sees."""
    bias = np.asarray(module.bias)
    if hasattr(module, "kernel"):
        kernel = np.asarray(module.kernel)
        offsets = offsets_of(kernel.shape[:-2], module.dilation)
        return offsets, Layer(kernel.reshape(-1, kernel.shape[-1]), bias, activation)
    return np.zeros((1, 1), np.int64), Layer(np.asarray(module.weight), bias, activation)


def perceptron_layers(network: Any) -> tuple[Layer, ...]:
    """The layers of a perceptron; the last one is linear."""
    *hidden, last = network.layers
    return (*(layer_of(each, network.activation)[1] for each in hidden), layer_of(last)[1])
