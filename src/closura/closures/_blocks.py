"""Convolutions for CPUs as matrix products over blocks of rows that stay in the cache.

XLA's own CPU convolutions are several times slower inside ``lax.scan`` or for few output channels, and their
gradients an order of magnitude (``benchmarks/convolution.py`` measures it). Here a block of rows is gathered
into the matrix of all shifted copies ("im2col") and multiplied once; a loop goes over blocks. Everything
works on arrays ``(member, *grid, channel)`` that are padded already, and ``vmap`` over members lengthens the
loop (it would otherwise make the blocks larger than the cache).
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

# Bytes of one block's matrix: about two level-2 caches. Measured flat between 1.2 and 5 MB.
BLOCK_BYTES = 2_500_000


def correlate(
    padded: Float[Array, "member *padded c_in"], kernel: Float[Array, "*k c_in c_out"], dilation: int
) -> Float[Array, "member *grid c_out"]:
    """Cross-correlate padded fields with a kernel; the padding is used up."""
    return _correlate(dilation)(padded, kernel)


def kernel_gradient(
    padded: Float[Array, "member *padded c_in"],
    cotangent: Float[Array, "member *grid c_out"],
    sizes: tuple[int, ...],
    dilation: int,
) -> Float[Array, "*k c_in c_out"]:
    """Gradient of ``sum(correlate(padded, kernel) * cotangent)`` with respect to the kernel."""
    return _kernel_gradient(sizes, dilation)(padded, cotangent)


@functools.cache
def _correlate(dilation: int) -> Callable[[Array, Array], Array]:
    @custom_vmap
    def function(padded: Array, kernel: Array) -> Array:
        sizes, (c_in, c_out) = kernel.shape[:-2], kernel.shape[-2:]
        grid = _inner(padded.shape[1:-1], sizes, dilation)
        members = padded.shape[0]
        # The shifted copies are made of whichever side has fewer channels.
        scatter = c_out < c_in
        matrix = kernel.reshape(-1, c_in, c_out)
        taps = matrix.shape[0]
        if scatter:
            matrix = jnp.moveaxis(matrix, 0, 1).reshape(c_in, taps * c_out)
        else:
            matrix = matrix.reshape(taps * c_in, c_out)
        group, rows = _plan(members, grid, taps * min(c_in, c_out), padded.dtype.itemsize)
        reach = dilation * (sizes[0] - 1)
        loops = (-(-members // group), -(-grid[0] // rows))
        padded = _lengthen(padded, loops[0] * group, loops[1] * rows + reach)
        inner = (group, rows, *grid[1:])

        def block(index: Array) -> Array:
            part = _slice(padded, (index // loops[1]) * group, group, (index % loops[1]) * rows, rows + reach)
            if not scatter:
                columns = jnp.concatenate(_shifts(part, sizes, dilation), axis=-1)
                return (columns.reshape(-1, taps * c_in) @ matrix).reshape(*inner, c_out)
            products = (part.reshape(-1, c_in) @ matrix).reshape(*part.shape[:-1], taps * c_out)
            pieces = _shifts(products, sizes, dilation)
            return functools.reduce(
                jnp.add, (piece[..., tap * c_out : (tap + 1) * c_out] for tap, piece in enumerate(pieces))
            )

        if math.prod(loops) == 1:
            result = block(jnp.int32(0))
        else:
            result = lax.map(block, jnp.arange(math.prod(loops), dtype=jnp.int32))
        result = result.reshape(*loops, *inner, c_out)
        if group > 1:
            return result.reshape(loops[0] * group, *grid, c_out)[:members]
        return result.reshape(members, loops[1] * rows, *grid[1:], c_out)[:, : grid[0]]

    @function.def_vmap
    def rule(axis_size: int, in_batched: list[bool], padded: Array, kernel: Array) -> tuple[Array, bool]:
        if in_batched == [True, False]:
            folded = function(padded.reshape(-1, *padded.shape[2:]), kernel)
            return folded.reshape(axis_size, -1, *folded.shape[1:]), True
        return _one_by_one(function, axis_size, in_batched, padded, kernel), True

    return function


@functools.cache
def _kernel_gradient(sizes: tuple[int, ...], dilation: int) -> Callable[[Array, Array], Array]:
    @custom_vmap
    def function(padded: Array, cotangent: Array) -> Array:
        c_in, c_out = padded.shape[-1], cotangent.shape[-1]
        if c_in <= c_out:
            return _products_of_shifts(padded, cotangent, sizes, dilation).reshape(*sizes, c_in, c_out)
        # Fewer channels come out than went in: shift the cotangent against the field instead.
        widths = [(0, 0), *((dilation * (size - 1),) * 2 for size in sizes), (0, 0)]
        flipped = _products_of_shifts(jnp.pad(cotangent, widths), padded, sizes, dilation)
        return jnp.moveaxis(flipped[::-1], 1, 2).reshape(*sizes, c_in, c_out)

    @function.def_vmap
    def rule(axis_size: int, in_batched: list[bool], *arguments: Array) -> tuple[Array, bool]:
        return _one_by_one(function, axis_size, in_batched, *arguments), True

    return function


def _products_of_shifts(padded: Array, other: Array, sizes: tuple[int, ...], dilation: int) -> Array:
    """``sum_position padded[position + tap, a] other[position, b]`` as an array ``(tap, a, b)``."""
    members, grid, channels = padded.shape[0], other.shape[1:-1], other.shape[-1]
    taps, c_in = math.prod(sizes), padded.shape[-1]
    group, rows = _plan(members, grid, taps * c_in, padded.dtype.itemsize)
    reach = dilation * (sizes[0] - 1)
    loops = (-(-members // group), -(-grid[0] // rows))
    padded = _lengthen(padded, loops[0] * group, loops[1] * rows + reach)
    other = _lengthen(other, loops[0] * group, loops[1] * rows)

    def block(total: Array, index: Array) -> tuple[Array, None]:
        member, row = (index // loops[1]) * group, (index % loops[1]) * rows
        columns = jnp.concatenate(_shifts(_slice(padded, member, group, row, rows + reach), sizes, dilation), axis=-1)
        right = _slice(other, member, group, row, rows).reshape(-1, channels)
        return total + right.T @ columns.reshape(-1, taps * c_in), None

    start = jnp.zeros((channels, taps * c_in), padded.dtype)
    if math.prod(loops) == 1:
        total = block(start, jnp.int32(0))[0]
    else:
        total = lax.scan(block, start, jnp.arange(math.prod(loops), dtype=jnp.int32))[0]
    return jnp.moveaxis(total.reshape(channels, taps, c_in), 0, 2)


def _inner(padded: tuple[int, ...], sizes: tuple[int, ...], dilation: int) -> tuple[int, ...]:
    return tuple(n - dilation * (size - 1) for n, size in zip(padded, sizes, strict=True))


def _shifts(part: Array, sizes: tuple[int, ...], dilation: int) -> list[Array]:
    """One slice per point of the kernel, in the kernel's order, each as large as the unpadded block."""
    grid = _inner(part.shape[1:-1], sizes, dilation)
    return [
        part[(slice(None), *(slice(o * dilation, o * dilation + n) for o, n in zip(offset, grid, strict=True)))]
        for offset in itertools.product(*(range(size) for size in sizes))
    ]


def _plan(members: int, grid: tuple[int, ...], columns: int, itemsize: int) -> tuple[int, int]:
    """Members and rows per block: several whole members, or a part of one."""
    row = math.prod(grid[1:]) * columns * itemsize
    if row * grid[0] > BLOCK_BYTES:
        return 1, _balanced(grid[0], max(1, BLOCK_BYTES // row))
    return _balanced(members, max(1, BLOCK_BYTES // (row * grid[0]))), grid[0]


def _balanced(total: int, largest: int) -> int:
    blocks = -(-total // largest)
    return -(-total // blocks)


def _lengthen(array: Array, members: int, rows: int) -> Array:
    """Append zeros so that blocks come out even (no work when they do)."""
    widths = [(0, members - array.shape[0]), (0, rows - array.shape[1]), *((0, 0),) * (array.ndim - 2)]
    return jnp.pad(array, widths) if any(after for _, after in widths) else array


def _slice(array: Array, member: Array, members: int, row: Array, rows: int) -> Array:
    starts = (member, row, *(jnp.int32(0),) * (array.ndim - 2))
    return lax.dynamic_slice(array, starts, (members, rows, *array.shape[2:]))


def _one_by_one(function: Callable[..., Array], axis_size: int, in_batched: list[bool], *arguments: Any) -> Array:
    """Loop over the members of a batch whose kernels, or kernel gradients, differ."""

    def one(index: Array) -> Array:
        return function(
            *(
                lax.dynamic_index_in_dim(argument, index, keepdims=False) if batched else argument
                for argument, batched in zip(arguments, in_batched, strict=True)
            )
        )

    return lax.map(one, jnp.arange(axis_size, dtype=jnp.int32))
