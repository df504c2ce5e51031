"""Central prediction intervals of ensembles.

**Which interval.** If reference and M members are exchangeable (drawn independently from one distribution), the
reference falls below the i-th smallest member with probability ``i / (M + 1)``, whatever the distribution. So the
interval from ``x_(i)`` to ``x_(M + 1 - i)`` covers exactly ``1 - 2 i / (M + 1)`` of the references. A level between two
of these is reached by a mixture: with ``(1 - level) / 2 (M + 1) = i + w``, the interval of ``i`` has weight ``1 - w``
and that of ``i + 1`` weight ``w``. Coverage and width are the weighted means of theirs. The width is that of linearly
interpolated quantiles (type 6 of Hyndman & Fan 1996, Am. Stat. 50, 361), and the coverage of a calibrated ensemble
is nominal for every M and every distribution. (Interpolated ends alone cover 0.9 % too much for 30 normal members
and 90 %, and NumPy's default quantiles 8 % too little for 20.)

**Small ensembles.** The tails need ``M + 1 >= 2 / (1 - level)``, or members beyond the outermost would be invented:
3, 6, 19 and 39 members for 50, 68, 90 and 95 %. Smaller ensembles have no such interval: coverage and width are NaN.

**One member** has no spread: its interval is a point, with width 0 and coverage 0.
"""

import math

import numpy as np

LEVELS = (0.50, 0.68, 0.90, 0.95)
"""Nominal coverages that are reported."""

_ROUNDING = 1e-9


def check_levels(levels: tuple[float, ...]) -> tuple[float, ...]:
    """The levels, or a ValueError unless all lie strictly between 0 and 1."""
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels of intervals are fractions strictly between 0 and 1; got {levels}")
    return tuple(levels)


def members_needed(level: float) -> int:
    """The smallest ensemble that has a central interval of this level."""
    return math.ceil(2 / (1 - level) - 1 - _ROUNDING)


def interval_ranks(members: int, level: float) -> list[tuple[float, int, int]]:
    """The one or two intervals between members whose mixture has a nominal coverage.

    Returns
    -------
    ``(weight, lower, upper)`` of each, with indices of members in rising order, from 0; empty where the ensemble is
    too small for the level.
    """
    if members < members_needed(level):
        return []
    position = (1 - level) / 2 * (members + 1)
    nearest = round(position)
    if abs(position - nearest) < _ROUNDING:
        return [(1.0, nearest - 1, members - nearest)]
    rank = math.floor(position)
    if 2 * rank == members:  # the innermost of an even number covers more than asked: mixed with one of nothing
        return [(level * (members + 1), rank - 1, members - rank)]
    return [(rank + 1 - position, rank - 1, members - rank), (position - rank, rank, members - rank - 1)]


def ensemble_interval(ordered: np.ndarray, reference: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and width of the central interval at every point.

    Returns
    -------
    How much of the mixture covers the reference, between 0 and 1, and its mean width; NaN where the ensemble is too
    small and 0 for a single member.
    """
    members = ordered.shape[-1]
    ranks = interval_ranks(members, level)
    if members == 1 or not ranks:
        nothing = np.full(reference.shape, 0.0 if members == 1 else np.nan)
        return nothing, nothing
    inside, width = np.zeros(reference.shape), np.zeros(reference.shape)
    for weight, first, last in ranks:
        lower, upper = ordered[..., first], ordered[..., last]
        inside += weight * ((lower <= reference) & (reference <= upper))
        width += weight * np.subtract(upper, lower, dtype=np.float64)
    return inside, width
