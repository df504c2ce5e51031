r"""Probabilistic predictions of a field against the reference, block by block.

With reference ``y``, mean of the prediction ``m``, all sums over points, frames and components:

    relative L1 = sum |y - m| / sum |y|            relative L2 = sqrt(sum (y - m)^2 / sum y^2)
    skill       = sqrt(mean (y - m)^2)             spread      = sqrt(mean variance (M + 1) / M)
    spread-skill ratio = spread / skill            (1 for a calibrated ensemble; below: overconfident)

The variance has the divisor M - 1; the factor ``(M + 1) / M`` accounts for the error of a mean of M members
(Fortin et al. 2014, J. Hydrometeorol. 15, 1708). Beside these: CRPS (:mod:`.crps`), coverage and mean width of
central intervals, and the histogram of the reference's rank among the members, flat for a
calibrated ensemble (Hamill 2001, Mon. Weather Rev. 129, 550).

Points that are masked (``numpy.ma``) in the reference, or in the prediction, are left out of all sums and counts.

**Intervals.** If reference and M members are exchangeable, the interval from ``x_(i)`` to ``x_(M + 1 - i)`` covers
exactly ``1 - 2 i / (M + 1)`` of the references, whatever the distribution. A level between two of these is reached by a
mixture: with ``(1 - level) / 2 (M + 1) = i + w``, the interval of ``i`` has weight ``1 - w`` and that of ``i + 1``
weight ``w``; coverage and width are the weighted means of theirs. The width is that of linearly interpolated quantiles
(type 6 of Hyndman & Fan 1996, Am. Stat. 50, 361). (Interpolated ends alone cover 0.9 % too much for 30 normal members
and 90 %, and NumPy's default quantiles 8 % too little for 20.) The tails need ``M + 1 >= 2 / (1 - level)``: 3, 6, 19
and 39 members for 50, 68, 90 and 95 %; smaller ensembles have no such interval. One member has width 0 and coverage 0.

An accumulator keeps some numbers per frame, so that a long ensemble never has to be in memory:

    scores = EnsembleScores()
    for prediction, reference in blocks:     # (member, time, component, x, y) and (time, component, x, y)
        scores.add(prediction, reference)
    scores.result(), scores.series()
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values
from closura.metrics.ensembles._checks import ensemble_of
from closura.metrics.ensembles._sums import FrameSums, ratio, ratios
from closura.metrics.ensembles.crps import crps_of_ordered, in_order

_AT_ONCE = 4_000_000
"""Numbers of an ensemble that are worked on at a time, at least one frame: 32 MB in double precision."""


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


@dataclass(frozen=True)
class Scores:
    """What a prediction is worth; units are those of the field where nothing else is said.

    Parameters
    ----------
    members
        Size of the ensemble.
    frames
        Frames that were scored.
    relative_l1, relative_l2
        Of the mean, over all components; fractions. NaN for a reference that is zero.
    component_l1, component_l2
        The same for each component by itself.
    crps
        Fair CRPS; the absolute error of a single member.
    crps_plain
        CRPS of the empirical distribution of the members.
    levels
        Nominal coverages, fractions.
    coverage, width
        Fraction of references inside the central interval of each level, and its mean width; NaN where the ensemble is
        too small for the level, both 0 for a single member.
    skill
        Root mean square error of the mean.
    spread
        Root mean variance, with the factor for finite ensembles.
    spread_skill
        Their ratio; NaN without error.
    histogram
        Counts of the reference's rank, ``(members + 1,)``. Neighbouring points and frames are no independent draws:
        a chi-square test of these counts would be far too strict.
    """

    members: int
    frames: int
    relative_l1: float
    relative_l2: float
    component_l1: tuple[float, ...]
    component_l2: tuple[float, ...]
    crps: float
    crps_plain: float
    levels: tuple[float, ...]
    coverage: tuple[float, ...]
    width: tuple[float, ...]
    skill: float
    spread: float
    spread_skill: float
    histogram: np.ndarray


_PER_FRAME = ("absolute error", "squared error", "absolute reference", "squared reference", "variance", "crps")


class EnsembleScores:
    """Scores of an ensemble.

    Parameters
    ----------
    levels
        Nominal coverages of the central intervals, fractions.
    generator
        Draws the rank of a reference that equals some members; by default one of a fixed seed.
    """

    def __init__(self, *, levels: tuple[float, ...] = LEVELS, generator: np.random.Generator | None = None) -> None:
        self.levels = check_levels(levels)
        self._sums = FrameSums()
        self._counts: np.ndarray | None = None
        self._generator = generator if generator is not None else np.random.default_rng(0)
        self._members: int | None = None

    def add(self, prediction: Values, reference: Values) -> None:
        """Score a block of frames.

        Parameters
        ----------
        prediction
            ``(member, time, component, *grid)``, the same number of members in every block.
        reference
            ``(time, component, *grid)``.

        Raises
        ------
        ValueError
            If shapes do not fit each other or earlier blocks, there is no member, or a number is not real, or not
            finite at points that are not masked. Nothing of the block is counted then.
        """
        members, actual, mask = ensemble_of(prediction, reference)
        self._sums.expect(actual.shape)
        self._expect(len(members))
        at_once = max(1, _AT_ONCE // (members.size // len(actual)))
        for first in range(0, len(actual), at_once):
            part = slice(first, first + at_once)
            self._add(in_order(members[:, part]), actual[part], None if mask is None else mask[part])

    def _add(self, ordered: np.ndarray, reference: np.ndarray, mask: np.ndarray | None) -> None:
        members = ordered.shape[-1]
        mean = ordered.mean(axis=-1, dtype=np.float64)
        variance = np.square(ordered - mean[..., None]).sum(axis=-1) * (members + 1) / (members * max(members - 1, 1))
        error = np.subtract(mean, reference, dtype=np.float64)
        self._sums.begin(reference.shape, mask)
        self._sums.add("absolute error", np.abs(error), mask)
        self._sums.add("squared error", error**2, mask)
        self._sums.add("absolute reference", np.abs(reference), mask)
        self._sums.add("squared reference", np.square(reference, dtype=np.float64), mask)
        self._sums.add("variance", variance, mask)
        fair, plain = crps_of_ordered(ordered, reference)
        self._sums.add("crps", fair, mask)
        self._sums.add("plain crps", plain, mask)
        for level in self.levels:
            inside, width = ensemble_interval(ordered, reference, level)
            self._sums.add(f"inside {level}", inside, mask)
            self._sums.add(f"width {level}", width, mask)
        below = (ordered < reference[..., None]).sum(axis=-1)
        ties = (ordered <= reference[..., None]).sum(axis=-1) - below
        if ties.any():
            below = below + self._generator.integers(0, ties + 1)
        counts = np.bincount(below.ravel() if mask is None else below[~mask], minlength=members + 1)
        self._counts = counts if self._counts is None else self._counts + counts

    def _expect(self, members: int) -> None:
        if self._members is None:
            self._members = members
        elif self._members != members:
            raise ValueError(
                f"all blocks need the same number of members; got {members} after {self._members}. Use one "
                "accumulator for each"
            )

    def merge(self, other: "EnsembleScores") -> "EnsembleScores":
        """Take over what another one has seen, its frames after one's own; gives itself back."""
        if other._members is not None:
            self._expect(other._members)
        if self.levels != other.levels:
            raise ValueError(f"only scores of the same levels can be merged; got {self.levels} and {other.levels}")
        self._sums.merge(other._sums)
        if other._counts is not None:
            self._counts = other._counts.copy() if self._counts is None else self._counts + other._counts
        return self

    def result(self) -> Scores:
        """Scores over everything that was added."""
        sums = self._sums
        absolute, squared, variance = (sums[name].sum(0) for name in ("absolute error", "squared error", "variance"))
        reference_absolute, reference_squared = sums["absolute reference"].sum(0), sums["squared reference"].sum(0)
        number = sums["number"].sum()

        def mean(name: str) -> float:
            return float(sums[name].sum() / number)

        skill, spread = float(np.sqrt(squared.sum() / number)), float(np.sqrt(variance.sum() / number))
        assert self._members is not None
        assert self._counts is not None  # there is something in the sums, so something was counted
        return Scores(
            members=self._members,
            frames=sums.frames,
            relative_l1=ratio(absolute.sum(), reference_absolute.sum()),
            relative_l2=float(np.sqrt(ratio(squared.sum(), reference_squared.sum()))),
            component_l1=tuple(ratios(absolute, reference_absolute).tolist()),
            component_l2=tuple(np.sqrt(ratios(squared, reference_squared)).tolist()),
            crps=mean("crps"),
            crps_plain=mean("plain crps"),
            levels=self.levels,
            coverage=tuple(mean(f"inside {level}") for level in self.levels),
            width=tuple(mean(f"width {level}") for level in self.levels),
            skill=skill,
            spread=spread,
            spread_skill=ratio(spread, skill),
            histogram=self._counts.copy(),
        )

    def series(self) -> dict[str, Float64[np.ndarray, "frame"]]:
        """One number per frame: ``relative_l1``, ``relative_l2``, ``crps``, ``skill``, ``spread`` (see above).

        Frames stand in the order in which they were added or merged; NaN for one that is masked altogether.
        """
        total = {name: self._sums[name].sum(axis=1) for name in _PER_FRAME}
        number = self._sums["number"].sum(axis=1)
        return {
            "relative_l1": ratios(total["absolute error"], total["absolute reference"]),
            "relative_l2": np.sqrt(ratios(total["squared error"], total["squared reference"])),
            "crps": ratios(total["crps"], number),
            "skill": np.sqrt(ratios(total["squared error"], number)),
            "spread": np.sqrt(ratios(total["variance"], number)),
        }
