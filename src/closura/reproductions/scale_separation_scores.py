r"""Published scoring: as the notebooks of the scale-separation repository compute it, for comparison with its numbers.

Source: the notebooks of the repository that accompanies Zighed, Thome, Gallinari & Sayadi (2025), "Scale Separation
and Stochastic Closure for Chaotic Dynamics", arXiv 2510.24583: those of the Gaussian-process, the VAE and the
diffusion closure (relative errors, coverage, CRPS), and of the reduced-order model (per-trajectory table, prediction
limit).

What to know when comparing: coverage is that of ``mean +- q std`` with q = 1, 3 (nominally 68.3 and 99.7 %), so
"80 % coverage" at one standard deviation is an interval that is too wide; no width was computed there; the CRPS
takes every prediction for normal. The honest scores are in :mod:`closura.metrics.ensembles.scores`.

The headline of the reduced-order model (6.54 % and 9.82 % relative error, coverage 78.4 %) is that of one trajectory of
eight, scored against the reference **20 steps later** (:data:`PHASE_SHIFT`, 4.8 time units, set by hand); unshifted,
the eight have L2 errors of 45 % (u) and 23 % (v) in the mean. Both are computed here, on frames that the caller has
paired: the prediction of a time with the reference of that time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, real_numbers, same_shape
from closura.metrics.ensembles._checks import members_of, velocity_of
from closura.metrics.ensembles.distributions import wasserstein
from closura.metrics.ensembles.predictability import Horizon, valid_prediction_time
from closura.metrics.ensembles.published import PublishedScores, PublishedScoring, ensemble_mean_and_std

_TABLE_GUARD = 1e-8
PHASE_SHIFT = 20
"""Steps by which the published headline shifts the reference."""
STEPS = 400
"""Steps of the published table."""
LIMIT = 0.5
"""Error at which a prediction is no longer counted as one."""


@dataclass(frozen=True)
class TrajectoryScores:
    """A row of the published table, pairs of (u, v): relative errors as fractions, and the Wasserstein-1 distance
    between the values of prediction and reference, all points and times together, in units of velocity.
    """

    l1: tuple[float, float]
    l2: tuple[float, float]
    wasserstein: tuple[float, float]


def trajectory_scores(prediction: Values, reference: Values, *, shift: int = 0, steps: int = STEPS) -> TrajectoryScores:
    """A row of the published table: at most the first ``steps`` frames ``(time, component=2, x, y)`` of a run.

    They are compared with the reference ``shift`` frames later; the last of them have then no partner.

    Raises
    ------
    ValueError
        If shapes differ, are no velocities, or the shift leaves no frame; if a number is masked, not real or not
        finite.
    """
    predicted, actual = shifted(_first(prediction, "predictions", steps), _first(reference, "reference", steps), shift)
    errors = trajectory_table_errors(predicted, actual)
    u, v = (wasserstein(predicted[:, i], actual[:, i]) for i in (0, 1))
    return TrajectoryScores(_pair(errors["l1"]), _pair(errors["l2"]), (u, v))


def headline_scores(
    run: Values, members: Values, reference: Values, *, shift: int = PHASE_SHIFT, steps: int = STEPS
) -> PublishedScores:
    """The published headline: errors of a run without noise, coverage by the spread of an ensemble around it.

    The centre is the run ``(time, component=2, x, y)``, not the mean of the members ``(member, time, ...)`` with noise
    (published: 10), though the publication calls it that. Shift and steps as in :func:`trajectory_scores`.

    Raises
    ------
    ValueError
        If shapes do not fit, or the shift leaves no frame; if a number is masked, not real or not finite.
    """
    centre, actual = _first(run, "the run", steps), _first(reference, "reference", steps)
    cut = velocity_of(members, "the members", ("member", "time"))[:, :steps]
    members_of(cut, centre)
    _, spread = ensemble_mean_and_std(cut)
    centre, actual = shifted(centre, actual, shift)
    scoring = PublishedScoring()
    scoring.add(centre, spread[: len(centre)], actual)
    return scoring.result()


def prediction_limit(
    prediction: Values, reference: Values, time_step: float, *, lyapunov_exponent: float | None = None
) -> Horizon:
    """The published prediction limit: the first time with an error above 0.5, relative to the reference up to then.

    The first frame of ``(time, component, x, y)`` is one ``time_step`` after the start.
    """
    error = prediction_limit_error(prediction, reference)
    return valid_prediction_time(
        error, time_step, threshold=LIMIT, start=time_step, lyapunov_exponent=lyapunov_exponent
    )


def error_by_shift(prediction: Values, reference: Values, shifts: Sequence[int]) -> dict[int, float]:
    """Relative L2 error over both components for each of some shifts: what a shift that is set by hand is worth."""
    predicted, actual = (
        velocity_of(prediction, "predictions", ("time",)),
        velocity_of(reference, "reference", ("time",)),
    )
    errors = {}
    for shift in shifts:
        p, y = shifted(predicted, actual, shift)
        errors[shift] = float(np.linalg.norm(y - p) / np.linalg.norm(y))
    return errors


def shifted(prediction: np.ndarray, reference: np.ndarray, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions, and the reference ``shift`` frames later."""
    same_shape(prediction, reference, ("predictions", "reference"))
    if not 0 <= shift < len(reference):
        raise ValueError(f"a shift of 0 to {len(reference) - 1} frames leaves some of {len(reference)}; got {shift}")
    return prediction[: len(reference) - shift], reference[shift:]


def _first(velocity: Values, name: str, steps: int) -> np.ndarray:
    if steps < 1:
        raise ValueError(f"at least one step is compared; got {steps}")
    return velocity_of(velocity, name, ("time",))[:steps]


def _pair(values: Sequence[float]) -> tuple[float, float]:
    u, v = values
    return float(u), float(v)


def trajectory_table_errors(prediction: Values, reference: Values) -> dict[str, tuple[float, ...]]:
    """Errors of the reduced-order model's table of eight trajectories: each component by itself, as fractions.

    ``l1 = mean|y - p| / (mean|y| + 1e-8)``, ``l2 = ||y - p|| / (||y|| + 1e-8)`` for ``(time, component, *grid)``.
    """
    predicted, actual = _frames(prediction, reference)
    axes = (0, *range(2, actual.ndim))
    error = np.abs(np.subtract(actual, predicted, dtype=np.float64))
    size = np.abs(actual).astype(np.float64)
    l1 = error.mean(axis=axes) / (size.mean(axis=axes) + _TABLE_GUARD)
    l2 = np.sqrt((error**2).sum(axis=axes)) / (np.sqrt((size**2).sum(axis=axes)) + _TABLE_GUARD)
    return {"l1": tuple(l1.tolist()), "l2": tuple(l2.tolist())}


def prediction_limit_error(prediction: Values, reference: Values) -> Float64[np.ndarray, "time"]:
    """Error of the published prediction limit, of which the first time above 0.5 counts.

    ``sqrt(mean (p - y)^2 / mean y^2 up to then)`` at every time, for ``(time, component, *grid)``: the reference is
    averaged over all frames so far. See :func:`closura.metrics.ensembles.valid_prediction_time`.
    """
    predicted, actual = _frames(prediction, reference)
    axes = tuple(range(1, actual.ndim))
    squared = np.square(np.subtract(predicted, actual, dtype=np.float64)).mean(axis=axes)
    so_far = np.cumsum(np.square(actual, dtype=np.float64).mean(axis=axes)) / np.arange(1, len(actual) + 1)
    return np.sqrt(np.divide(squared, so_far, out=np.full_like(squared, np.inf), where=so_far > 0))


def _frames(prediction: Values, reference: Values) -> tuple[np.ndarray, np.ndarray]:
    predicted, actual = real_numbers(prediction, "predictions"), real_numbers(reference, "reference")
    same_shape(predicted, actual, ("predictions", "reference"))
    if actual.ndim < 3:
        raise ValueError(f"predictions and reference need shape (time, component, *grid); got {actual.shape}")
    return predicted, actual
