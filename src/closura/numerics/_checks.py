"""Checks that the functions of this folder share: on static shapes and dtypes, also while tracing."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.grids import Grid

Entry = TypeVar("Entry")


def named(what: str, table: Mapping[str, Entry], entry: str | Entry) -> Entry:
    """The entry of this name, or the entry itself; a ``ValueError`` for an unknown name lists the valid ones."""
    if not isinstance(entry, str):
        return entry
    if entry not in table:
        raise ValueError(f"unknown {what} {entry!r}; valid: {', '.join(table)}")
    return table[entry]


def check_field(field: Float[Array, "component *grid"], grid: Grid) -> None:
    """Raise ``ValueError`` unless ``field`` is ``(component, *grid.shape)`` of floating-point numbers."""
    check_floating("a field", field)
    if field.shape[1:] != grid.shape:
        raise ValueError(
            f"expected a field of shape (component, {', '.join(map(str, grid.shape))}) on the grid "
            f"{grid.shape}; got {field.shape}. Batches are added by jax.vmap"
        )


def check_floating(name: str, array: Any) -> None:
    """Raise ``ValueError`` for whole numbers: 1 - 2 is 255 among bytes."""
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        raise ValueError(f"expected {name} of floating-point numbers; got {array.dtype}: convert it with astype(float)")


def check_velocity(
    velocity: Float[Array, "dimension *grid"], field: Float[Array, "component *grid"], grid: Grid
) -> None:
    """Raise ``ValueError`` unless ``velocity`` has one component per axis and the field's dtype."""
    expected = (grid.dimensions, *grid.shape)
    if velocity.shape != expected:
        raise ValueError(f"expected one velocity component per axis, shape {expected}; got {velocity.shape}")
    check_dtype("velocity", velocity, field)


def check_dtype(name: str, array: Float[Array, "..."], field: Float[Array, "..."]) -> None:
    """Raise ``ValueError`` unless the dtypes agree: promotion would silently change a state's precision."""
    if array.dtype != field.dtype:
        raise ValueError(f"expected {name} of the field's dtype {field.dtype}; got {array.dtype}. Cast one of them")


def check_axis(axis: int, grid: Grid) -> None:
    """Raise ``ValueError`` unless ``axis`` (0 = x) is an axis of ``grid``."""
    if not 0 <= axis < grid.dimensions:
        raise ValueError(f"expected an axis from 0 (x) to {grid.dimensions - 1}; got {axis}")
