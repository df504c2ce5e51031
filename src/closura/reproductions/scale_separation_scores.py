r"""Published scoring: as the notebooks of the scale-separation repository compute it, for comparison with its numbers.

Source: the notebooks of the repository that accompanies Zighed, Thome, Gallinari & Sayadi (2025), "Scale Separation
and Stochastic Closure for Chaotic Dynamics", arXiv 2510.24583: those of the Gaussian-process, the VAE and the
diffusion closure (relative errors, coverage, CRPS), of the reduced-order model (per-trajectory table, prediction
limit) and of the filter (spectra of the energy field).

What to know when comparing: coverage is that of ``mean +- q std`` with q = 1, 3 (nominally 68.3 and 99.7 %), so
"80 % coverage" at one standard deviation is an interval that is too wide; no width was computed there; the CRPS
takes every prediction for normal. The honest scores are in :mod:`closura.metrics.ensembles.scores`.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, real_numbers, same_shape
from closura.metrics.ensembles._checks import velocity_of
from closura.metrics.ensembles._sums import FrameSums, ratio
from closura.metrics.ensembles.crps import checked_normal, crps_normal, crps_of_normal
from closura.metrics.ensembles.flow_statistics import kinetic_energy

SIGMAS = (1, 2, 3)
"""Half widths of the published intervals, in standard deviations."""
NOMINAL_PERCENT = {1: 68.27, 2: 95.45, 3: 99.73}
"""What a normal distribution has inside them."""
_TABLE_GUARD = 1e-8


@dataclass(frozen=True)
class PublishedScores:
    """Scores as the notebooks of the three closures print them.

    Parameters
    ----------
    relative_l1_percent, relative_l2_percent
        ``100 sum|y - m| / sum|y|`` and ``100 ||y - m|| / ||y||`` over all points, components and frames.
    picp_percent
        Percentage of truths with ``m - q s <= y <= m + q s``, by q.
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

    def add(self, mean: Values, std: Values, truth: Values) -> None:
        """Score a block, ``(time, component, *grid)`` each.

        Raises
        ------
        ValueError
            If shapes differ from each other or earlier blocks, a number is not real or not finite, or a deviation is
            negative. Points that are masked (``numpy.ma``) are left out.
        """
        centre, spread, actual, mask = checked_normal(mean, std, truth)
        self._sums.expect(actual.shape)
        self._sums.begin(actual.shape, mask)
        centre, spread, actual = (array.astype(np.float64) for array in (centre, spread, actual))
        error = np.abs(actual - centre)
        self._sums.add("absolute error", error, mask)
        self._sums.add("squared error", error**2, mask)
        self._sums.add("absolute truth", np.abs(actual), mask)
        self._sums.add("squared truth", actual**2, mask)
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
            relative_l1_percent=100 * ratio(total("absolute error"), total("absolute truth")),
            relative_l2_percent=100 * float(np.sqrt(ratio(total("squared error"), total("squared truth")))),
            picp_percent={q: 100 * total(f"inside {q}") / number for q in SIGMAS},
            crps=abs(total("negative crps") / number),
            mpiw={q: 2 * q * total("std") / number for q in SIGMAS},
        )


def ensemble_mean_and_std(prediction: Values) -> tuple[Float64[np.ndarray, "..."], Float64[np.ndarray, "..."]]:
    """Mean and standard deviation over the members (axis 0), with divisor M as NumPy's default has it.

    The sources are not clear about the divisor of every notebook; with 10 to 100 members it changes 0.5 to 5 %.

    Raises
    ------
    ValueError
        If there is no axis of members, or a number is masked, not real or not finite.
    """
    members = real_numbers(prediction, "predictions")
    if members.ndim < 1:
        raise ValueError("predictions need shape (member, ...); got a single number")
    return members.mean(axis=0, dtype=np.float64), members.std(axis=0, dtype=np.float64)


def picp(mean: Values, std: Values, truth: Values, q: float | int) -> float:
    """Published coverage: percentage of truths within ``q`` standard deviations of the mean.

    Raises
    ------
    ValueError
        If shapes differ, a number is not real or not finite, a deviation is negative, or ``q`` is not positive. Points
        that are masked (``numpy.ma``) are left out.
    """
    if not q > 0:
        raise ValueError(f"the half width q must be positive; got {q}")
    *given, mask = checked_normal(mean, std, truth)
    centre, spread, actual = (array.astype(np.float64) for array in given)
    inside = (centre - q * spread <= actual) & (actual <= centre + q * spread)
    return 100 * float((inside if mask is None else inside[~mask]).mean())


def crps_as_printed(mean: Values, std: Values, truth: Values) -> float:
    """Published CRPS: the notebooks compute its negative and print the absolute value of the mean."""
    return abs(float((-crps_normal(mean, std, truth)).mean()))


def trajectory_table_errors(prediction: Values, truth: Values) -> dict[str, tuple[float, ...]]:
    """Errors of the reduced-order model's table of eight trajectories: each component by itself, as fractions.

    ``l1 = mean|y - p| / (mean|y| + 1e-8)``, ``l2 = ||y - p|| / (||y|| + 1e-8)`` for ``(time, component, *grid)``.
    Its third column is :func:`closura.metrics.ensembles.wasserstein` of each component's values.

    Raises
    ------
    ValueError
        If shapes differ or are others, or a number is masked, not real or not finite.
    """
    predicted, actual = _frames(prediction, truth)
    axes = (0, *range(2, actual.ndim))
    error = np.abs(np.subtract(actual, predicted, dtype=np.float64))
    size = np.abs(actual).astype(np.float64)
    l1 = error.mean(axis=axes) / (size.mean(axis=axes) + _TABLE_GUARD)
    l2 = np.sqrt((error**2).sum(axis=axes)) / (np.sqrt((size**2).sum(axis=axes)) + _TABLE_GUARD)
    return {"l1": tuple(l1.tolist()), "l2": tuple(l2.tolist())}


def prediction_limit_error(prediction: Values, truth: Values) -> Float64[np.ndarray, "time"]:
    """Error of the published prediction limit, of which the first time above 0.5 counts.

    ``sqrt(mean (p - y)^2 / mean y^2 up to then)`` at every time, for ``(time, component, *grid)``: the truth is
    averaged over all frames so far. See :func:`closura.metrics.ensembles.valid_prediction_time`.

    Raises
    ------
    ValueError
        If shapes differ or are others, or a number is masked, not real or not finite.
    """
    predicted, actual = _frames(prediction, truth)
    axes = tuple(range(1, actual.ndim))
    squared = np.square(np.subtract(predicted, actual, dtype=np.float64)).mean(axis=axes)
    so_far = np.cumsum(np.square(actual, dtype=np.float64).mean(axis=axes)) / np.arange(1, len(actual) + 1)
    return np.sqrt(np.divide(squared, so_far, out=np.full_like(squared, np.inf), where=so_far > 0))


def _frames(prediction: Values, truth: Values) -> tuple[np.ndarray, np.ndarray]:
    predicted, actual = real_numbers(prediction, "predictions"), real_numbers(truth, "truth")
    same_shape(predicted, actual, ("predictions", "truth"))
    if actual.ndim < 3:
        raise ValueError(f"predictions and truth need shape (time, component, *grid); got {actual.shape}")
    return predicted, actual


def energy_field_spectrum(velocity: Values) -> Float64[np.ndarray, "x y"]:
    """Published spectrum: time mean of ``|FFT2(E)|^2`` of the energy field, shifted so that k = 0 is in the middle.

    Not an energy spectrum: E is quadratic, so the power at k is that of products of velocities. The figures show its
    decimal logarithm. The transform is not normalised.

    Parameters
    ----------
    velocity
        ``(time, component, x, y)``.
    """
    energy = kinetic_energy(velocity_of(velocity))
    power = np.abs(np.fft.fft2(energy)) ** 2
    return np.fft.fftshift(power.reshape(-1, *energy.shape[-2:]).mean(axis=0))
