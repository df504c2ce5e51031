"""Sums over the points of each frame and component: all that accumulators keep of what they have seen."""

import numpy as np
from jaxtyping import Float64


class FrameSums:
    """Named sums over points, one number per frame and component, in the order in which frames came."""

    def __init__(self) -> None:
        self._blocks: dict[str, list[np.ndarray]] = {}
        self._grid: tuple[int, ...] | None = None
        self._components: int | None = None

    @property
    def frames(self) -> int:
        """Frames seen so far."""
        return sum(len(block) for block in next(iter(self._blocks.values()), []))

    def expect(self, shape: tuple[int, ...]) -> None:
        """Hold all blocks ``(time, component, *grid)`` to the first one's components and grid."""
        if len(shape) < 3:
            raise ValueError(f"fields need shape (time, component, *grid); got {shape}")
        self._settle(shape[1], tuple(shape[2:]))

    def begin(self, shape: tuple[int, ...], mask: np.ndarray | None) -> None:
        """Take the ``number`` of points of a block ``(time, component, *grid)`` that are not masked."""
        self.add("number", np.broadcast_to(1.0, shape), mask)

    def _settle(self, components: int, grid: tuple[int, ...]) -> None:
        if self._grid is None:
            self._grid, self._components = grid, components
        elif (self._components, self._grid) != (components, grid):
            raise ValueError(
                f"all blocks need the same components and grid; got {components} on {grid} after "
                f"{self._components} on {self._grid}. Use one accumulator for each"
            )

    def add(self, name: str, values: np.ndarray, mask: np.ndarray | None) -> None:
        """Take the sums of ``(time, component, *grid)`` over points that are not masked."""
        axes = tuple(range(2, values.ndim))
        if mask is not None:
            values = np.where(mask, 0.0, values)
        self._blocks.setdefault(name, []).append(values.sum(axis=axes, dtype=np.float64))

    def merge(self, other: "FrameSums") -> None:
        """Append the frames of another one, or raise ValueError as :meth:`expect` does."""
        if other._grid is not None and other._components is not None:
            self._settle(other._components, other._grid)
        for name, blocks in other._blocks.items():
            self._blocks.setdefault(name, []).extend(blocks)

    def __getitem__(self, name: str) -> Float64[np.ndarray, "frame component"]:
        if name not in self._blocks:
            raise ValueError("nothing was added yet: call add(prediction, reference) before asking for the result")
        return np.concatenate(self._blocks[name])


def ratio(numerator: float, denominator: float) -> float:
    """The quotient; NaN where the denominator is 0 (a reference that is zero has no relative error)."""
    return float(numerator / denominator) if denominator > 0 else float("nan")


def ratios(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """As :func:`ratio`, entry by entry."""
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=denominator > 0)
