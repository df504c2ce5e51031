r"""Published scoring: as the notebooks of the scale-separation repository compute it, for comparison with its numbers.

Source: the notebooks of the repository that accompanies Zighed, Thome, Gallinari & Sayadi (2025), "Scale Separation
and Stochastic Closure for Chaotic Dynamics", arXiv 2510.24583: those of the Gaussian-process, the VAE and the
diffusion closure (relative errors, coverage, CRPS), of the reduced-order model (per-trajectory table, prediction
limit) and of the filter (spectra of the energy field).

What to know when comparing: coverage is that of ``mean +- q std`` with q = 1, 3 (nominally 68.3 and 99.7 %), so
"80 % coverage" at one standard deviation is an interval that is too wide; no width was computed there; the CRPS
takes every prediction for normal. The honest scores are in :mod:`closura.metrics.ensembles.scores`.
"""

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, real_numbers, same_shape

_TABLE_GUARD = 1e-8


def trajectory_table_errors(prediction: Values, reference: Values) -> dict[str, tuple[float, ...]]:
    """Errors of the reduced-order model's table of eight trajectories: each component by itself, as fractions.

    ``l1 = mean|y - p| / (mean|y| + 1e-8)``, ``l2 = ||y - p|| / (||y|| + 1e-8)`` for ``(time, component, *grid)``.
    Its third column is :func:`closura.metrics.ensembles.wasserstein` of each component's values.
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
