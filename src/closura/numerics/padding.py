"""Ghost points: fields extended beyond the ends of a grid, so that stencils become plain slices.

Stencils written as slices of a padded field are fused by XLA; the same stencils written with ``jnp.roll`` are
not, and run ten to forty times slower inside ``lax.scan`` on CPU.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.grids import BOUNDARIES, Boundary

# "outflow" is a zero gradient: the ghost points repeat the last point.
_MODES = {"periodic": "wrap", "outflow": "edge"}


def pad(
    field: Float[Array, "component *grid"], width: int, boundary: Boundary, axis: int
) -> Float[Array, "component *padded"]:
    """Add ``width`` ghost points at both ends of one axis of the grid (0 = x); may be more than the axis has points.

    They wrap around (``"periodic"``) or repeat the end point (``"outflow"``).
    """
    if boundary not in _MODES:
        raise ValueError(f"unknown boundary {boundary!r}; valid: {', '.join(BOUNDARIES)}")
    if width < 0:
        raise ValueError(f"expected a number of ghost points >= 0; got {width}")
    if not 0 <= axis < field.ndim - 1:
        raise ValueError(f"expected an axis from 0 (x) to {field.ndim - 2}; got {axis}")
    widths = [(0, 0)] * field.ndim
    widths[axis + 1] = (width, width)
    return jnp.pad(field, widths, mode=_MODES[boundary])


def pad_all(
    field: Float[Array, "component *grid"], width: int, boundary: Sequence[Boundary]
) -> Float[Array, "component *padded"]:
    """Add ``width`` ghost points at both ends of every axis, with one boundary per axis (see ``pad``)."""
    if len(boundary) != field.ndim - 1:
        raise ValueError(f"expected {field.ndim - 1} boundaries, one per axis; got {tuple(boundary)}")
    for axis, name in enumerate(boundary):
        field = pad(field, width, name, axis)
    return field
