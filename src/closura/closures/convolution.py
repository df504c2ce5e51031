"""Convolutions on periodic and outflow grids in one to three dimensions, fast inside time loops.

On CPU: matrix products over blocks (``_blocks.py``), also for both gradients. On other backends: XLA's
convolution with ``Precision.HIGHEST``, because the default of GPUs for float32 (TF32) keeps three digits
only.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from closura.closures import _blocks
from closura.grids import Boundary

_plain: ContextVar[bool] = ContextVar("plain_convolutions", default=False)


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Trace convolutions as XLA's own operation on every backend.

    For exporting a network, and for forward-mode derivatives or second derivatives, which the fast CPU path
    does not have. It acts while a function is traced: call a newly jitted function inside.
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def uses_blocks() -> bool:
    """Whether functions traced now use the fast CPU path."""
    return not _plain.get() and jax.default_backend() == "cpu"


def convolve(
    x: Float[Array, "*grid c_in"],
    kernel: Float[Array, "*k c_in c_out"],
    bias: Float[Array, " c_out"] | None,
    *,
    dilation: int,
    boundary: tuple[Boundary, ...],
) -> Float[Array, "*grid c_out"]:
    """Cross-correlate a field with a kernel, stride 1, keeping the grid.

    ``y[i] = bias + sum_k kernel[k] x[i + dilation (k - centre)]``, as PyTorch's convolutions; sizes are odd.
    Channels come last, without a batch axis: ``jax.vmap`` adds it, and the batch joins the rows of the matrix products.
    """
    axes = len(boundary)
    if x.ndim != axes + 1 or kernel.ndim != axes + 2 or kernel.shape[-2] != x.shape[-1]:
        raise ValueError(
            f"with {axes} boundaries expected x of {axes + 1} axes and a kernel of {axes + 2} axes with the "
            f"same number of input channels; got x {x.shape} and kernel {kernel.shape}"
        )
    if any(size % 2 == 0 for size in kernel.shape[:-2]):
        raise ValueError(f"kernels must have odd sizes, so that they have a centre; got {kernel.shape[:-2]}")
    y = _blocked(dilation, boundary)(x, kernel) if uses_blocks() else _xla(x, kernel, dilation, boundary)
    return y if bias is None else y + bias


def _xla(x: Array, kernel: Array, dilation: int, boundary: tuple[Boundary, ...]) -> Array:
    axes = len(boundary)
    space = "XYZ"[:axes]
    return lax.conv_general_dilated(
        _pad(x, _reach(kernel.shape[:-2], dilation), boundary)[None],
        kernel,
        (1,) * axes,
        "VALID",
        rhs_dilation=(dilation,) * axes,
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        precision=lax.Precision.HIGHEST,
    )[0]


@functools.cache
def _blocked(dilation: int, boundary: tuple[Boundary, ...]) -> Callable[[Array, Array], Array]:
    @jax.custom_vjp
    def function(x: Array, kernel: Array) -> Array:
        padded = _pad(x, _reach(kernel.shape[:-2], dilation), boundary)
        return _blocks.correlate(padded[None], kernel, dilation)[0]

    def forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
        return function(x, kernel), (x, kernel)

    def backward(residuals: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
        x, kernel = residuals
        sizes = kernel.shape[:-2]
        reach = _reach(sizes, dilation)
        padded = _pad(x, reach, boundary)
        kernel_gradient = _blocks.kernel_gradient(padded[None], cotangent[None], sizes, dilation)
        flipped = jnp.swapaxes(jnp.flip(kernel, range(len(sizes))), -1, -2)
        return _input_gradient(cotangent, flipped, reach, dilation, boundary), kernel_gradient

    function.defvjp(forward, backward)
    return function


def _input_gradient(
    cotangent: Array, flipped: Array, reach: tuple[int, ...], dilation: int, boundary: tuple[Boundary, ...]
) -> Array:
    """The same convolution with the flipped kernel; ghost cells of outflow return to the last cell."""
    widths = tuple(r if kind == "periodic" else 0 for r, kind in zip(reach, boundary, strict=True))
    padded = _pad(cotangent, widths, boundary)
    zeros = [(0, 0) if kind == "periodic" else (2 * r, 2 * r) for r, kind in zip(reach, boundary, strict=True)]
    if any(before for before, _ in zeros):
        padded = jnp.pad(padded, [*zeros, (0, 0)])
    gradient = _blocks.correlate(padded[None], flipped, dilation)[0]
    for axis, (width, kind) in enumerate(zip(reach, boundary, strict=True)):
        if kind == "outflow" and width:
            gradient = _fold(gradient, axis, width)
    return gradient


def _fold(gradient: Array, axis: int, width: int) -> Array:
    n = gradient.shape[axis] - 2 * width
    before, inside, after = jnp.split(gradient, (width, width + n), axis=axis)
    first = jnp.sum(before, axis=axis, keepdims=True)
    last = jnp.sum(after, axis=axis, keepdims=True)
    if n == 1:
        return first + inside + last
    head, middle, tail = jnp.split(inside, (1, n - 1), axis=axis)
    return jnp.concatenate([head + first, middle, tail + last], axis=axis)


def _reach(sizes: tuple[int, ...], dilation: int) -> tuple[int, ...]:
    return tuple(dilation * (size // 2) for size in sizes)


def _pad(x: Array, widths: tuple[int, ...], boundary: tuple[Boundary, ...]) -> Array:
    """Surround a field with ghost cells."""
    for axis, (width, kind) in enumerate(zip(widths, boundary, strict=True)):
        if not width:
            continue
        n = x.shape[axis]
        if kind == "outflow" or width > n:
            pads = [(width, width) if i == axis else (0, 0) for i in range(x.ndim)]
            x = jnp.pad(x, pads, mode="wrap" if kind == "periodic" else "edge")
        else:
            before = lax.slice_in_dim(x, n - width, n, axis=axis)
            x = jnp.concatenate([before, x, lax.slice_in_dim(x, 0, width, axis=axis)], axis=axis)
    return x
