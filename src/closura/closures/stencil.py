"""A stencil with other weights in every cell: what learned discretisations end in.

    a_i = sum_k w_{k,i} (q_{i+k} - q_i),     k in a box of radius r around the cell.

Differences to the cell's own value make the sum blind to constants: whatever the weights, a uniform field is
left alone, as it is by every consistent scheme. Learned, cell-dependent stencils: Bar-Sinai et al., "Learning
data-driven discretizations for partial differential equations", PNAS 116 (2019).

The taps are visited by a loop, in the gradient too: written out, XLA's CPU back end fuses the slices with
their producers and computes these again for every tap (ten times slower, measured).
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.grids import Boundary
from closura.numerics.padding import pad_all


def stencil_size(radius: int, dimensions: int) -> int:
    """Number of cells in the box, the cell itself included (its weight has no effect)."""
    return (2 * radius + 1) ** dimensions


def apply_stencil(
    weights: Float[Array, "tap *grid"],
    field: Float[Array, "*grid"],
    *,
    radius: int,
    boundary: tuple[Boundary, ...],
) -> Float[Array, "*grid"]:
    """Weigh the differences between a cell's neighbours and itself.

    Weights are a field per tap, in the order of ``itertools.product(range(-radius, radius + 1), repeat=axes)``.
    """
    taps = stencil_size(radius, field.ndim)
    if weights.shape != (taps, *field.shape):
        raise ValueError(f"radius {radius} needs weights of shape {(taps, *field.shape)}; got {weights.shape}")
    return _apply(weights, field, radius, boundary)


def _offsets(radius: int, dimensions: int) -> Array:
    return jnp.asarray(np.array(list(itertools.product(range(2 * radius + 1), repeat=dimensions)), np.int32))


def _padded(field: Array, radius: int, boundary: tuple[Boundary, ...]) -> Array:
    return pad_all(field[None], radius, boundary)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _apply(weights: Array, field: Array, radius: int, boundary: tuple[Boundary, ...]) -> Array:
    padded = _padded(field, radius, boundary)

    def tap(total: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        weight, offset = item
        return total + weight * (_window(padded, offset, field.shape) - field), None

    return jax.lax.scan(tap, jnp.zeros_like(field), (weights, _offsets(radius, field.ndim)))[0]


def _window(padded: Array, offset: Array, shape: tuple[int, ...]) -> Array:
    return jax.lax.dynamic_slice(padded, [offset[i] for i in range(len(shape))], shape)


def _forward(
    weights: Array, field: Array, radius: int, boundary: tuple[Boundary, ...]
) -> tuple[Array, tuple[Array, Array]]:
    return _apply(weights, field, radius, boundary), (weights, field)


def _backward(
    radius: int, boundary: tuple[Boundary, ...], saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    weights, field = saved
    padded, unpad = jax.vjp(lambda f: _padded(f, radius, boundary), field)

    def tap(carry: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        around, own = carry
        weight, offset = item
        start = [offset[i] for i in range(field.ndim)]
        share = weight * cotangent
        window = jax.lax.dynamic_slice(around, start, field.shape) + share
        around = jax.lax.dynamic_update_slice(around, window, start)
        return (around, own - share), cotangent * (_window(padded, offset, field.shape) - field)

    zero = (jnp.zeros_like(padded), jnp.zeros_like(field))
    (around, own), weights_bar = jax.lax.scan(tap, zero, (weights, _offsets(radius, field.ndim)))
    return weights_bar, own + unpad(around)[0]


_apply.defvjp(_forward, _backward)
