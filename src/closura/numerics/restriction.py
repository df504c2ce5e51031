"""From a fine grid to a coarse one: what a coarse simulation is compared with.

Each restriction commutes with itself: by 2 and then by 3 is by 6. All of them keep constant fields.
"""

from jaxtyping import Array, Float


def subsample(field: Float[Array, "component *fine"], ratio: int) -> Float[Array, "component *coarse"]:
    """Every ``ratio``-th point of each axis, from the first; unresolved waves are aliased."""
    _coarse_shape(field, ratio)
    return field[(slice(None), *[slice(None, None, ratio)] * (field.ndim - 1))]


def block_mean(field: Float[Array, "component *fine"], ratio: int) -> Float[Array, "component *coarse"]:
    """Mean over blocks of ``ratio`` points along each axis: keeps the mean of the field.

    A block's mean belongs to the centre of the block, ``(ratio - 1) / 2`` fine spacings after its first point along
    each axis.
    """
    blocks = [length for size in _coarse_shape(field, ratio) for length in (size, ratio)]
    return field.reshape(field.shape[0], *blocks).mean(axis=tuple(range(2, 2 * field.ndim, 2)))


def _coarse_shape(field: Float[Array, "component *fine"], ratio: int) -> tuple[int, ...]:
    if ratio < 1 or any(size % ratio for size in field.shape[1:]):
        raise ValueError(f"expected a positive ratio that divides every size of {field.shape[1:]}; got {ratio}")
    return tuple(size // ratio for size in field.shape[1:])
