r"""How long a prediction is good: series of errors and correlations, and the times at which they cross a threshold.

A time that no crossing ends within the data is *censored*: the reference is at least as long. Means over trajectories
have to say how many are (a mean of censored times is too small).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, either, masked_numbers, real_numbers, unmasked
from closura.metrics.ensembles._checks import velocity_of
from closura.metrics.ensembles._sums import ratios
from closura.metrics.ensembles.flow_statistics import vorticity


@dataclass(frozen=True)
class Horizon:
    """How long a prediction is good.

    Parameters
    ----------
    time
        In time units.
    lyapunov_times
        The same times the leading Lyapunov exponent; None where that is not known.
    censored
        The data ended before the prediction failed: ``time`` is that of the last frame, a lower bound.
    """

    time: float
    lyapunov_times: float | None
    censored: bool


def relative_l2_series(prediction: Values, reference: Values) -> Float64[np.ndarray, "*member time"]:
    """``||p - y|| / ||y||`` over components and points at every time; NaN where the reference is zero.

    Parameters
    ----------
    prediction
        ``(time, component, x, y)``, or with axes before: ``(member, time, component, x, y)``.
    reference
        ``(time, component, x, y)``. Points that are masked (``numpy.ma``) here or in the prediction are left out; NaN
        for a time at which all are.
    """
    predicted, actual, _ = _pair(prediction, reference)
    error = np.square(np.subtract(predicted, actual, dtype=np.float64)).sum(axis=(-3, -2, -1))
    size = np.square(actual, dtype=np.float64).sum(axis=(-3, -2, -1))
    return np.sqrt(ratios(error, np.broadcast_to(size, error.shape)))


def vorticity_correlation(prediction: Values, reference: Values) -> Float64[np.ndarray, "*member time"]:
    """Correlation of the vorticities over points at every time.

    Arguments as in :func:`relative_l2_series`, but none masked: derivatives need all points. The usual measure for
    two-dimensional flows (Kochkov et al. 2021, PNAS 118, e2101784118; Lippe et al. 2023, arXiv 2308.05732, which gives
    the time with correlation above 0.8).
    """
    predicted, actual, _ = _pair(velocity_of(prediction, "predictions"), velocity_of(reference, "reference"))
    first, second = vorticity(predicted), vorticity(actual)
    product = (first * second).sum(axis=(-2, -1))
    size = np.sqrt(np.square(first).sum(axis=(-2, -1)) * np.square(second).sum(axis=(-2, -1)))
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def _pair(prediction: Values, reference: Values) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Prediction and reference, both of the prediction's shape if points are masked, and which."""
    predicted, hidden = masked_numbers(prediction, "predictions", finite=False)
    actual, mask = masked_numbers(reference, "reference", finite=False)
    if actual.ndim != 4:
        raise ValueError(f"the reference needs shape (time, component, x, y); got {actual.shape}")
    if predicted.ndim < 4:
        raise ValueError(f"predictions need shape (..., time, component, x, y); got {predicted.shape}")
    if predicted.shape[-4:] != actual.shape:
        raise ValueError(
            f"each prediction and reference need the same shape; got {predicted.shape[-4:]} and {actual.shape}"
        )
    mask = either(mask, hidden)
    if mask is not None:
        actual, mask = np.broadcast_to(actual, predicted.shape), np.broadcast_to(mask, predicted.shape)
    return unmasked(predicted, mask, "predictions"), unmasked(actual, mask, "reference"), mask


def valid_prediction_time(
    error: Values,
    time_step: float,
    *,
    threshold: float = 0.5,
    start: float = 0.0,
    lyapunov_exponent: float | None = None,
) -> Horizon:
    """The first time at which an error exceeds the threshold.

    With :func:`relative_l2_series` the usual rule; with
    :func:`closura.reproductions.scale_separation_scores.prediction_limit_error` the published prediction limit. No
    interpolation: the time is that of a frame.

    Parameters
    ----------
    error
        One number per frame, ``(time,)``, none masked. A number that is not finite exceeds every threshold.
    time_step
        Time between frames.
    threshold
        What a valid prediction stays at or below.
    start
        Time of the first frame: 0 if that is the initial state, ``time_step`` if it is the first prediction.
    lyapunov_exponent
        Leading exponent per time unit, to give the time in Lyapunov times as well.
    """
    series = _series(error, time_step)
    failed = ~(series <= threshold)  # so that NaN fails
    frame = int(np.argmax(failed)) if failed.any() else len(series) - 1
    return _horizon(start + frame * time_step, lyapunov_exponent, not failed.any())


def correlation_time(
    correlation: Values,
    time_step: float,
    *,
    threshold: float = 0.8,
    start: float = 0.0,
    lyapunov_exponent: float | None = None,
) -> Horizon:
    """The time at which a correlation first falls below the threshold, linearly interpolated between frames.

    Arguments as in :func:`valid_prediction_time`. A prediction that is below from the first frame on has ``start``.
    After a value that is not finite nothing is interpolated: the time is that of the frame before.
    """
    series = _series(correlation, time_step)
    below = ~(series >= threshold)
    if not below.any():
        return _horizon(start + (len(series) - 1) * time_step, lyapunov_exponent, True)
    frame = int(np.argmax(below))
    if frame == 0:
        return _horizon(start, lyapunov_exponent, False)
    before, after = series[frame - 1], series[frame]
    part = (before - threshold) / (before - after) if np.isfinite(after) else 0.0
    return _horizon(start + (frame - 1 + float(part)) * time_step, lyapunov_exponent, False)


def _series(values: Values, time_step: float) -> np.ndarray:
    series = real_numbers(values, "the series", finite=False).astype(np.float64)
    if series.ndim != 1 or series.size == 0:
        raise ValueError(f"a series needs shape (time,) with at least one frame; got {series.shape}")
    if not 0 < time_step < float("inf"):
        raise ValueError(f"the time step must be positive; got {time_step}")
    return series


def _horizon(time: float, exponent: float | None, censored: bool) -> Horizon:
    if exponent is not None and not exponent > 0:
        raise ValueError(f"Lyapunov times need a positive exponent; got {exponent}")
    return Horizon(float(time), None if exponent is None else float(time * exponent), censored)
