"""The smallest closure: one network for every cell, which sees that cell or a few neighbours.

With a hundred weights or so it suits learners whose cost grows with the number of weights, and solvers in which a
closure has to be cheap.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from closura.closures.convolutional import ConvolutionalClosure
from closura.closures.networks import Convolution, ConvolutionStack
from closura.closures.registry import closure
from closura.core import ClosureSpec
from closura.settings import Count, Natural, Settings


@dataclass(frozen=True)
class PointwiseConfiguration(Settings):
    """Size of the pointwise closure.

    Parameters
    ----------
    hidden
        Sizes of the hidden layers.
    radius
        Neighbours that the first layer sees on each side of a cell along every axis; 0: the cell alone.
    activation
        "relu", "gelu", "silu", "tanh", "glu" or "bilinear".
    """

    hidden: tuple[Count, ...] = (8,)
    radius: Natural = 0
    activation: str = "tanh"


@closure("pointwise", settings=PointwiseConfiguration, zero_start=True)
def pointwise(
    spec: ClosureSpec, *, key: PRNGKeyArray, hidden: tuple[int, ...], radius: int, activation: str
) -> ConvolutionalClosure:
    """A small network in every cell: some ten to some hundred parameters."""
    if not hidden:
        raise ValueError("pointwise closures have at least one hidden layer; got none")
    sizes = (2 * radius + 1, *(1,) * (len(hidden) - 1))
    observed = len(spec.observation)
    backbone = ConvolutionStack(observed, hidden, spec.boundary, sizes=sizes, activation=activation, key=key)
    head = Convolution(hidden[-1], len(spec.action), spec.boundary, size=1, key=key)
    return ConvolutionalClosure(spec, backbone, head=jax.tree.map(jnp.zeros_like, head))
