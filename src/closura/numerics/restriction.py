"""From a fine grid to a coarse one: what a coarse simulation is compared with.

Each restriction commutes with itself: by 2 and then by 3 is by 6. All of them keep constant fields.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def subsample(field: Float[Array, "component *fine"], ratio: int) -> Float[Array, "component *coarse"]:
    """Every ``ratio``-th point of each axis, from the first; unresolved waves are aliased.

    Parameters
    ----------
    field
        Field on the fine grid, ``(component, *fine)``.
    ratio
        Number of fine spacings in a coarse one; divides every size of the grid.

    Returns
    -------
    Array
        The field on the coarse grid, whose points are points of the fine grid; the field's dtype.

    Raises
    ------
    ValueError
        If ``ratio`` is not positive or does not divide every size.
    """
    _coarse_shape(field, ratio)
    return field[(slice(None), *[slice(None, None, ratio)] * (field.ndim - 1))]


def block_mean(field: Float[Array, "component *fine"], ratio: int) -> Float[Array, "component *coarse"]:
    """Mean over blocks of ``ratio`` points along each axis: keeps the mean of the field.

    Parameters
    ----------
    field
        Field on the fine grid, ``(component, *fine)``.
    ratio
        Number of fine cells in a coarse one, along each axis; divides every size of the grid.

    Returns
    -------
    Array
        The field on the coarse grid; the field's dtype. A block's mean belongs to the centre of the block,
        ``(ratio - 1) / 2`` fine spacings after its first point along each axis.

    Raises
    ------
    ValueError
        If ``ratio`` is not positive or does not divide every size.
    """
    blocks = [length for size in _coarse_shape(field, ratio) for length in (size, ratio)]
    return field.reshape(field.shape[0], *blocks).mean(axis=tuple(range(2, 2 * field.ndim, 2)))


def spectral_restriction(field: Float[Array, "component *fine"], ratio: int) -> Float[Array, "component *coarse"]:
    """The waves that the coarse grid resolves, sampled at its points: a sharp low-pass filter.

    Parameters
    ----------
    field
        Field on the fine grid, ``(component, *fine)``, periodic along every axis.
    ratio
        Number of fine spacings in a coarse one; divides every size of the grid.

    Returns
    -------
    Array
        The field on the coarse grid, whose points are points of the fine grid; the field's dtype.

    Raises
    ------
    ValueError
        If ``ratio`` is not positive or does not divide every size.

    Notes
    -----
    On ``n`` coarse points the modes ``|k| < n / 2`` are kept along each axis. The Nyquist mode ``k = n / 2``
    of an even ``n`` is dropped: at the coarse points its sine is invisible, so only a part of such a wave,
    that depends on its phase, could be kept. ``ratio = 1`` drops nothing.
    """
    coarse = _coarse_shape(field, ratio)
    if ratio == 1:
        return field
    for axis, size in enumerate(coarse, start=1):
        modes = jnp.fft.rfft(field, axis=axis)
        resolved = [slice(None)] * field.ndim
        resolved[axis] = slice(0, (size + 1) // 2)
        # irfft fills the missing Nyquist mode of an even size with zero; 1 / ratio scales the transforms.
        field = jnp.fft.irfft(modes[tuple(resolved)] * (1 / ratio), n=size, axis=axis)
    return field


def _coarse_shape(field: Float[Array, "component *fine"], ratio: int) -> tuple[int, ...]:
    if ratio < 1 or any(size % ratio for size in field.shape[1:]):
        raise ValueError(f"expected a positive ratio that divides every size of {field.shape[1:]}; got {ratio}")
    return tuple(size // ratio for size in field.shape[1:])
