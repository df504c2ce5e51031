"""Fields from one grid to another of the same domain: restriction where sizes divide, else interpolation.

Where one grid's number of points is a multiple of the other's along every axis, fields are restricted (``restrict``).
Everywhere else they are interpolated, axis by axis, with weights that sum to one:

* ``linear``: two points; exact for fields that are linear between points, and never out of their range;
* ``cubic``: four points (Lagrange), fourth order;
* ``trigonometric``: all points; exact for the waves that the grid resolves, with ripples at kinks and jumps.

Points of a grid lie at ``i / n`` of the domain's length (``centred=False``) or in the middle of cells, at
``(i + 1/2) / n``. Grids are periodic here.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from closura.grids import Grid
from closura.numerics.restriction import block_mean, subsample

Kind = Literal["linear", "cubic", "trigonometric"]
Restriction = Callable[[Float[Array, "component *fine"], int], Float[Array, "component *coarse"]]


def transfer(
    field: Float[Array, "component *from"],
    grid: Grid,
    *,
    restrict: Restriction | None = None,
    kind: Kind = "cubic",
    centred: bool = False,
    seam: bool = False,
) -> Float[Array, "component *grid"]:
    """A field on another grid, in its own dtype.

    Parameters
    ----------
    field
        On a periodic grid of the same domain.
    grid
        The other grid.
    restrict
        ``restrict(field, ratio)``, for grids whose sizes divide the field's by one ratio (default: every ratio-th
        point, or with ``centred`` the mean over blocks).
    kind, centred
        See the module's text.
    seam
        The field jumps between its last point and its first (cubic): nothing reaches across, and between these two the
        interpolant is linear.

    Raises
    ------
    ValueError
        If the numbers of axes differ, the kind is unknown, or there are too few points for it.
    """
    shape = field.shape[1:]
    if len(shape) != grid.dimensions:
        expected = ", ".join(("component", *"xyz"[: grid.dimensions]))
        raise ValueError(f"a field on a grid like {grid.shape} is ({expected}); got an array of shape {field.shape}")
    if shape == grid.shape:
        return field
    ratios = {n // m if n % m == 0 else 0 for n, m in zip(shape, grid.shape, strict=True)}
    if len(ratios) == 1 and (ratio := ratios.pop()) > 0:
        return (restrict or (block_mean if centred else subsample))(field, ratio)
    for axis, (n, m) in enumerate(zip(shape, grid.shape, strict=True), start=1):
        if n != m:
            weights = jnp.asarray(interpolation(n, m, kind, centred=centred, seam=seam), field.dtype)
            moved = jnp.moveaxis(field, axis, -1)
            field = jnp.moveaxis(jnp.einsum("...x,ax->...a", moved, weights, precision="highest"), -1, axis)
    return field


def interpolation(n: int, m: int, kind: Kind, *, centred: bool, seam: bool = False) -> Float64[np.ndarray, "m n"]:
    """Matrix from ``n`` periodic samples to the ``m`` points of another grid of the same length."""
    places = (np.arange(m) + 0.5) * n / m - 0.5 if centred else np.arange(m) * n / m
    if kind == "trigonometric":
        return trigonometric_interpolation(n, places)
    if kind not in ("linear", "cubic"):
        raise ValueError(f"unknown interpolation {kind!r}; valid: linear, cubic, trigonometric")
    nodes = np.arange(2) if kind == "linear" else np.arange(-1, 3)
    if n < len(nodes):
        raise ValueError(f"{kind} interpolation needs at least {len(nodes)} points; got {n}")
    low = np.floor(places)
    first = low + nodes[0]
    if seam:
        first = np.where(low >= n - 1, n - 1, np.clip(first, 0, n - len(nodes)))
    matrix = np.zeros((m, n))
    for node in range(len(nodes)):
        others = np.asarray([k for k in range(len(nodes)) if k != node])
        weights = np.prod((places - first)[:, None] - others, axis=1) / np.prod(node - others)
        if seam:
            share = places - low
            weights = np.where(low >= n - 1, (1 - share, share, 0 * share, 0 * share)[node], weights)
        np.add.at(matrix, (np.arange(m), (first.astype(np.int64) + node) % n), weights)
    return matrix


def trigonometric_interpolation(n: int, points: np.ndarray) -> Float64[np.ndarray, "points n"]:
    """Matrix from ``n`` periodic samples to values at ``points``, in units of the spacing."""
    half = (n - 1) // 2
    k = np.arange(1, half + 1)
    phase = 2 * np.pi * (np.asarray(points)[:, None] - np.arange(n)[None]) / n
    weights = 1 + 2 * np.cos(phase[..., None] * k).sum(axis=-1)
    if n % 2 == 0:
        weights = weights + np.cos(phase * (n // 2))
    return np.asarray(weights / n)
