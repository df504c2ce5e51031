"""Published scoring of ensembles: intervals of mean +- q standard deviations, CRPS of normal distributions.

Source: the notebooks of Zighed, Thome, Gallinari & Sayadi (2025), arXiv 2510.24583; what to know when comparing is in
:mod:`closura.reproductions.scale_separation_scores`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, real_numbers
from closura.metrics.ensembles._sums import FrameSums, ratio
from closura.metrics.ensembles.crps import checked_normal, crps_of_normal

SIGMAS = (1, 2, 3)
"""Half widths of the published intervals, in standard deviations."""


@dataclass(frozen=True)
class PublishedScores:
    """Scores as the notebooks of the three closures print them.

    Parameters
    ----------
    relative_l1_percent, relative_l2_percent
        ``100 sum|y - m| / sum|y|`` and ``100 ||y - m|| / ||y||`` over all points, components and frames.
    picp_percent
        Percentage of references with ``m - q s <= y <= m + q s``, by q.
    crps
        Absolute value of the mean CRPS of normal distributions.
    mpiw
        Mean width ``2 q s``, by q. Not published: no notebook computes a width.
    """

    relative_l1_percent: float
    relative_l2_percent: float
    picp_percent: dict[int, float]
    crps: float
    mpiw: dict[int, float]


class PublishedScoring:
    """Accumulates :class:`PublishedScores` over blocks of frames."""

    def __init__(self) -> None:
        self._sums = FrameSums()

    def add(self, mean: Values, std: Values, reference: Values) -> None:
        """Score a block, ``(time, component, *grid)`` each."""
        centre, spread, actual, mask = checked_normal(mean, std, reference)
        self._sums.expect(actual.shape)
        self._sums.begin(actual.shape, mask)
        centre, spread, actual = (array.astype(np.float64) for array in (centre, spread, actual))
        error = np.abs(actual - centre)
        self._sums.add("absolute error", error, mask)
        self._sums.add("squared error", error**2, mask)
        self._sums.add("absolute reference", np.abs(actual), mask)
        self._sums.add("squared reference", actual**2, mask)
        self._sums.add("std", spread, mask)
        self._sums.add("negative crps", -crps_of_normal(centre, spread, actual), mask)
        for q in SIGMAS:
            self._sums.add(f"inside {q}", (centre - q * spread <= actual) & (actual <= centre + q * spread), mask)

    def merge(self, other: "PublishedScoring") -> "PublishedScoring":
        """Take over what another one has seen, or raise ValueError if components or grid differ."""
        self._sums.merge(other._sums)
        return self

    def result(self) -> PublishedScores:
        """Scores over everything that was added; ValueError if that is nothing."""
        sums = self._sums
        number = float(sums["number"].sum())

        def total(name: str) -> float:
            return float(sums[name].sum())

        return PublishedScores(
            relative_l1_percent=100 * ratio(total("absolute error"), total("absolute reference")),
            relative_l2_percent=100 * float(np.sqrt(ratio(total("squared error"), total("squared reference")))),
            picp_percent={q: 100 * total(f"inside {q}") / number for q in SIGMAS},
            crps=abs(total("negative crps") / number),
            mpiw={q: 2 * q * total("std") / number for q in SIGMAS},
        )


def ensemble_mean_and_std(prediction: Values) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Mean and standard deviation over the members (axis 0), with divisor M as NumPy's default has it.

    The sources are not clear about the divisor of every notebook; with 10 to 100 members it changes 0.5 to 5 %.
    """
    members = real_numbers(prediction, "predictions")
    if members.ndim < 1:
        raise ValueError("predictions need shape (member, ...); got a single number")
    return members.mean(axis=0, dtype=np.float64), members.std(axis=0, dtype=np.float64)
