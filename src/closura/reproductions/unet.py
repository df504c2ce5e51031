"""The U-Net of the published diffusion closure: five levels of double convolutions with skips between them.

Channels come last inside, and convolutions are XLA's own: zero padding has no faster form here. On CPUs their gradients
are slow inside compiled loops; their values are not.

.. code-block:: bibtex

    @inproceedings{Ronneberger2015,
      title = {{U-Net}: Convolutional Networks for Biomedical Image Segmentation},
      author = {Ronneberger, Olaf and Fischer, Philipp and Brox, Thomas},
      booktitle = {Medical Image Computing and Computer-Assisted Intervention}, pages = {234--241}, year = {2015}
    }
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray

LEVELS = 5


class ZeroPadded(eqx.Module):
    """One convolution with zeros beyond the edge; begins as PyTorch's does."""

    kernel: Float[Array, "k k c_in c_out"]
    bias: Float[Array, " c_out"]

    def __init__(self, c_in: int, c_out: int, *, size: int = 3, key: PRNGKeyArray) -> None:
        limit = 1 / math.sqrt(c_in * size**2)
        kernel, bias = jax.random.split(key)
        self.kernel = jax.random.uniform(kernel, (size, size, c_in, c_out), jnp.float32, -limit, limit)
        self.bias = jax.random.uniform(bias, (c_out,), jnp.float32, -limit, limit)

    def __call__(self, x: Float[Array, "x y c_in"]) -> Float[Array, "x y c_out"]:
        layout = ("NXYC", "XYIO", "NXYC")
        answer = lax.conv_general_dilated(
            x[None], self.kernel, (1, 1), "SAME", dimension_numbers=layout, precision=lax.Precision.HIGHEST
        )
        return answer[0] + self.bias


Double = tuple[ZeroPadded, ZeroPadded]


class UNet(eqx.Module):
    """A U-Net for fields of two components, without any notion of how noisy its input is.

    The first level has ``width`` channels, and each further one twice as many.
    """

    down: tuple[Double, ...]
    up: tuple[Double, ...]
    last: ZeroPadded

    def __init__(self, c_in: int = 4, c_out: int = 2, *, width: int = 64, key: PRNGKeyArray) -> None:
        widths = [width * 2**level for level in range(LEVELS)]
        keys = jax.random.split(key, 2 * LEVELS)
        before = [c_in, *widths[:-1]]
        self.down = tuple(_double(a, b, key=k) for a, b, k in zip(before, widths, keys[:LEVELS], strict=True))
        self.up = tuple(
            _double(widths[level + 1] + widths[level], widths[level], key=keys[LEVELS + level])
            for level in reversed(range(LEVELS - 1))
        )
        self.last = ZeroPadded(width, c_out, size=1, key=keys[-1])

    def __call__(self, x: Float[Array, "c_in x y"]) -> Float[Array, "c_out x y"]:
        """Answer to a field whose points per side are a multiple of sixteen."""
        if x.shape[1] % 2 ** (LEVELS - 1) or x.shape[2] % 2 ** (LEVELS - 1):
            raise ValueError(f"a U-Net of {LEVELS} levels needs multiples of 16 points; got {x.shape[1:]}")
        h = _twice(self.down[0], jnp.moveaxis(x, 0, -1))
        skips = []
        for layers in self.down[1:]:
            skips.append(h)
            h = _twice(layers, _pool(h))
        for layers in self.up:
            h = _twice(layers, jnp.concatenate([skips.pop(), _double_size(h)], axis=-1))
        return jnp.moveaxis(self.last(h), -1, 0)


def _double(c_in: int, c_out: int, *, key: PRNGKeyArray) -> Double:
    first, second = jax.random.split(key)
    return ZeroPadded(c_in, c_out, key=first), ZeroPadded(c_out, c_out, key=second)


def _twice(layers: Double, h: Array) -> Array:
    for layer in layers:
        h = jax.nn.relu(layer(h))
    return h


def _pool(h: Float[Array, "x y c"]) -> Float[Array, "X Y c"]:
    """The largest of every 2 x 2 points."""
    return jnp.max(h.reshape(h.shape[0] // 2, 2, h.shape[1] // 2, 2, h.shape[2]), axis=(1, 3))


def _double_size(h: Float[Array, "x y c"]) -> Float[Array, "X Y c"]:
    """Linear interpolation to twice the points, the corners staying where they are."""
    along_x, along_y = (jnp.asarray(_between(n), h.dtype) for n in h.shape[:2])
    return jnp.einsum("Xx,Yy,xyc->XYc", along_x, along_y, h, precision=lax.Precision.HIGHEST)


def _between(points: int) -> np.ndarray:
    place = np.linspace(0, points - 1, 2 * points)
    left = np.minimum(place.astype(int), max(points - 2, 0))
    matrix = np.zeros((2 * points, points))
    rows = np.arange(2 * points)
    matrix[rows, left] += 1 - (place - left)
    matrix[rows, np.minimum(left + 1, points - 1)] += place - left
    return matrix
