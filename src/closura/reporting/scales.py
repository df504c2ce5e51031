"""Colour scales of pictures: one for all moments, or one for each where fields fade."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32
from matplotlib import colormaps
from matplotlib.colors import Colormap, Normalize

FADED = 0.35
"""Fields whose range shrinks below this part of their largest would be invisible on a common scale."""

ROUNDING = 1e-6
"""Differences below this part of the fields themselves are rounding, and are drawn as none."""


def colour_scales(
    pictures: Mapping[str, Float32[np.ndarray, "frame x y"]], reference: str, frames: Sequence[int]
) -> tuple[list[Normalize], bool]:
    """A linear scale for each of the frames, shared by all methods, and whether all frames share one.

    The scale is the range of the reference, or of all methods if there is no reference: over all frames, or frame by
    frame where the range shrinks to less than :data:`FADED` of its largest.
    """
    chosen = [pictures[reference]] if reference in pictures else list(pictures.values())
    ranges = [_range([array[frame] for array in chosen]) for frame in frames]
    return _scales(ranges, ranges, _range(chosen))


def symmetric_scales(
    pictures: Mapping[str, Float32[np.ndarray, "frame x y"]], frames: Sequence[int], *, size: float
) -> tuple[list[Normalize], bool]:
    """The same, symmetric about zero.

    A limit is the median over methods of their 99.9 % quantiles, so that one diverging method cannot spoil it, and at
    least :data:`ROUNDING` of ``size``, that of the fields whose differences are drawn.
    """
    floor = max(ROUNDING * size, 1e-12)
    limits = [max(_limit([array[frame] for array in pictures.values()]), floor) for frame in frames]
    # The state at the start is exact: its limit says nothing about the others.
    usual = [(-limit, limit) for limit in limits if limit > 1e-6 * max(limits)]
    whole = max(_limit(list(pictures.values())), floor)
    return _scales([(-limit, limit) for limit in limits], usual, (-whole, whole))


def _scales(
    ranges: Sequence[tuple[float, float]], usual: Sequence[tuple[float, float]], whole: tuple[float, float]
) -> tuple[list[Normalize], bool]:
    """One scale for all frames, unless the usual ranges differ much; and whether it is one."""
    widths = [high - low for low, high in usual]
    shared = not widths or min(widths) >= FADED * max(widths)
    chosen = [whole] * len(ranges) if shared else ranges
    return [Normalize(low, high if high > low else low + 1.0) for low, high in chosen], shared


def size_of(*arrays: np.ndarray) -> float:
    """The largest finite absolute value, 0 if there is none."""
    return max((float(np.abs(a[np.isfinite(a)]).max()) for a in arrays if np.isfinite(a).any()), default=0.0)


def colour_map(name: str) -> Colormap:
    """A colour map that shows what is not finite in light grey."""
    return colormaps[name].with_extremes(bad="#d0d0d0")


def _range(arrays: Sequence[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([array[np.isfinite(array)].ravel() for array in arrays])
    return (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)


def _limit(arrays: Sequence[np.ndarray]) -> float:
    finite = [np.abs(array[np.isfinite(array)]) for array in arrays]
    largest = [float(np.quantile(values, 0.999)) for values in finite if values.size]
    return float(np.median(largest)) if largest else 1.0
