"""The network of the closures that learn by gradients: residual layers of dilated, periodic convolutions."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._members import apply_by_member
from closura.closures.networks import Convolution
from closura.grids import Boundary

PERIODIC: tuple[Boundary, Boundary] = ("periodic", "periodic")
DILATIONS = (1, 2, 4, 1, 2, 4, 2, 1)
"""Repeated for deeper networks. Eight layers see 35 points across: all of a working grid of 32."""


class DilatedNetwork(eqx.Module):
    """``h <- h + conv(silu(h)) / 2`` with kernels of 3 x 3 points whose spacing grows and shrinks."""

    first: Convolution
    inner: tuple[Convolution, ...]
    last: Convolution

    def __init__(self, c_in: int, c_out: int, *, channels: int = 48, layers: int = 8, key: PRNGKeyArray) -> None:
        first, last, *inner = jax.random.split(key, layers + 2)
        self.first = _scaled(Convolution(c_in, channels, PERIODIC, key=first), 1.7)
        self.inner = tuple(
            _scaled(Convolution(channels, channels, PERIODIC, dilation=DILATIONS[i % len(DILATIONS)], key=k), 2.4)
            for i, k in enumerate(inner)
        )
        # Small first answers: what is learned first is not washed out by random ones.
        self.last = _scaled(Convolution(channels, c_out, PERIODIC, key=last), 0.2)

    def __call__(self, x: Float[Array, "c_in x y"]) -> Float[Array, "c_out x y"]:
        """Answer to a field; under ``vmap`` members take turns, which is faster on CPUs."""
        return apply_by_member(_answer, self, x)


def _scaled(layer: Convolution, factor: float) -> Convolution:
    """With kernels ``factor`` times PyTorch's, whose variance is 1 / (3 fan_in), and no bias."""
    return eqx.tree_at(lambda c: (c.kernel, c.bias), layer, (factor * layer.kernel, jnp.zeros_like(layer.bias)))


def _answer(network: DilatedNetwork, x: Array) -> Array:
    h = network.first(jnp.moveaxis(x, 0, -1))
    for layer in network.inner:
        h = h + 0.5 * layer(jax.nn.silu(h))
    return jnp.moveaxis(network.last(jax.nn.silu(h)), -1, 0)
