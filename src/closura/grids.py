"""Uniform Cartesian grids in one to three dimensions.

Points of a grid with ``n`` cells and length ``L`` along an axis sit at ``i L / n``, ``i = 0 .. n - 1``; arrays
on a grid are ``field[component, i_x, i_y, i_z]`` (axis 1 is x, ``indexing="ij"``).
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Boundary = Literal["periodic", "outflow"]
BOUNDARIES: tuple[Boundary, ...] = ("periodic", "outflow")


@dataclass(frozen=True)
class Grid:
    """A uniform Cartesian grid.

    Parameters
    ----------
    shape
        Number of points along x, y, z: one to three positive integers.
    extent
        Length of the domain along each axis (default: 1 each), in the length unit of the problem.
    boundary
        ``"periodic"`` or ``"outflow"`` (zero gradient) along each axis (default: periodic).

    Raises
    ------
    ValueError
        If the number of axes is not 1, 2 or 3, the three tuples disagree in length, a size is not positive,
        or a boundary is unknown.
    """

    shape: tuple[int, ...]
    extent: tuple[float, ...] = ()
    boundary: tuple[Boundary, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.shape)
        if not 1 <= n <= 3:
            raise ValueError(f"a grid has 1, 2 or 3 axes; got shape {self.shape}")
        if not self.extent:
            object.__setattr__(self, "extent", (1.0,) * n)
        if not self.boundary:
            object.__setattr__(self, "boundary", ("periodic",) * n)
        if len(self.extent) != n or len(self.boundary) != n:
            raise ValueError(
                f"shape, extent and boundary need one entry per axis; got {self.shape}, {self.extent}, {self.boundary}"
            )
        if any(size < 1 for size in self.shape) or any(not length > 0 for length in self.extent):
            raise ValueError(f"sizes and lengths must be positive; got shape {self.shape}, extent {self.extent}")
        for name in self.boundary:
            if name not in BOUNDARIES:
                raise ValueError(f"unknown boundary {name!r}; valid: {', '.join(BOUNDARIES)}")

    @property
    def dimensions(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring points along each axis."""
        return tuple(length / size for length, size in zip(self.extent, self.shape, strict=True))

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    def with_points(self, n: int) -> "Grid":
        """The same domain with ``n`` points along the first axis, and others in proportion."""
        return Grid(tuple(max(1, round(size * n / self.shape[0])) for size in self.shape), self.extent, self.boundary)

    def refine(self, ratio: int) -> "Grid":
        """The grid with ``ratio`` times as many points along each axis."""
        return Grid(tuple(size * ratio for size in self.shape), self.extent, self.boundary)

    def coarsen(self, ratio: int) -> "Grid":
        """The grid with ``ratio`` times fewer points along each axis; ValueError if it does not divide every size."""
        if any(size % ratio for size in self.shape):
            raise ValueError(f"ratio {ratio} does not divide the grid {self.shape}")
        return Grid(tuple(size // ratio for size in self.shape), self.extent, self.boundary)

    def coordinates(self, dtype: jnp.dtype | type = jnp.float32) -> tuple[Float[Array, "*grid"], ...]:
        """Coordinates of all points, one array of the grid's shape per axis (``indexing="ij"``)."""
        axes = [
            jnp.arange(n, dtype=dtype) * jnp.asarray(h, dtype) for n, h in zip(self.shape, self.spacing, strict=True)
        ]
        return tuple(jnp.meshgrid(*axes, indexing="ij"))
