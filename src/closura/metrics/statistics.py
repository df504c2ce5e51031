"""Statistics of the values of several simulations: spread, quantiles, intervals, steps below a threshold.

How diverged simulations enter
------------------------------
They are counted and kept. An error that is not finite counts as infinitely large: the mean is then
infinite (``null`` in JSON), the median and the maximum treat it as the largest value, and the mean over the
finite ones is given beside it under a name that says so (``mean_of_finite``), with the number of the others.
A simulation that is flagged as diverged but still has a finite error enters with that error.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.special import stdtrit

from closura.arrays import Values, real_numbers
from closura.core.metric import Aggregate


def spread(values: Values, *, better: str = "lower") -> dict[str, float | int]:
    """Mean, population standard deviation, median, extremes; not finite counts as infinitely large.

    Where higher values are better, not finite counts as infinitely small: always as bad as can be.

    The standard deviation divides by the number of simulations, as in the published tables of Closure-RL. ValueError
    if there are none, or numbers are masked or not real; so for all functions of series here.
    """
    values = _numbers(values)
    if better == "higher":
        found = spread(-values)
        turned = {"mean": "mean", "median": "median", "min": "max", "max": "min", "mean_of_finite": "mean_of_finite"}
        return {**found, **{name: -found[source] for name, source in turned.items()}}
    if not values.size:
        raise ValueError("a spread needs the error of at least one simulation; got none")
    finite = np.isfinite(values)
    ordered = np.where(finite, values, np.inf)
    kept = values[finite]
    whole = bool(finite.all())
    with np.errstate(over="ignore"):  # a solver that blows up may leave 1e200: its square is infinite
        mean = float(kept.mean()) if kept.size else math.nan
        std = float(kept.std()) if kept.size else math.nan
    return {
        "mean": mean if whole else math.inf,
        "std": std if whole else math.inf,
        "median": float(np.median(ordered)),
        "min": float(ordered.min()),
        "max": float(ordered.max()),
        "mean_of_finite": mean,
        "std_of_finite": std,
        "not_finite": int(np.sum(~finite)),
    }


def mean_per_step(values: Values) -> Float64[np.ndarray, "step"]:
    """Mean over simulations at each step; infinite where any simulation is not finite."""
    return _per_step(values, np.mean)


def std_per_step(values: Values) -> Float64[np.ndarray, "step"]:
    """Population standard deviation over simulations at each step; infinite where any is not finite."""
    return _per_step(values, np.std)


def _per_step(values: Values, of: Callable[..., Any]) -> Float64[np.ndarray, "step"]:
    values = _numbers(values)
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        return np.where(finite.all(axis=0), of(np.where(finite, values, 0.0), axis=0), np.inf)


def quantile_per_step(values: Values, quantile: float = 0.5) -> Float64[np.ndarray, "step"]:
    """Quantile over simulations at each step; values that are not finite count as infinitely large."""
    if not 0 <= quantile <= 1:
        raise ValueError(f"a quantile lies between 0 and 1; got {quantile}")
    values = _numbers(values)
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=0)
    position = quantile * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    weight = position - math.floor(position)
    # Not np.quantile: infinity minus infinity inside its interpolation is NaN with a warning.
    same = low == high
    return np.where(same, low, np.where(same, 0.0, low) * (1 - weight) + np.where(same, 0.0, high) * weight)


def steps_below_threshold(
    error: Values, threshold: float, *, published: bool = False
) -> tuple[Int[np.ndarray, "simulation"], Bool[np.ndarray, "simulation"]]:
    """How many steps each simulation stays below a relative error.

    The number of steps, counted from the first, before the first one whose error exceeds ``threshold`` (the
    initial state is not a step; an error that is not finite exceeds). With errors listed from the first step
    on, this is the index of the first that exceeds, which is what the published code of Closure-RL prints.

    Parameters
    ----------
    error
        Relative errors, index 0 = initial state.
    threshold
        Largest error that counts as low, as a fraction.
    published
        Count simulations that never exceed the threshold as 0, as the published code does (``argmax`` of an
        array without a true entry); by default they count as all simulated steps.

    Returns
    -------
    tuple
        The numbers of steps, and whether each is censored: the simulation never exceeded the threshold, so
        the true number is at least as large.
    """
    above = ~(_numbers(error)[:, 1:] <= threshold)
    censored = ~above.any(axis=1)
    count = np.argmax(above, axis=1)
    return np.where(censored, 0 if published else above.shape[1], count), np.asarray(censored)


def mean_interval(values: Float64[np.ndarray, " sample"]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval by Student's t; NaN where there is no mean, or one value alone."""
    values = np.asarray(values, np.float64)
    n, half = len(values), math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean()) if n else math.nan
        if n > 1:
            half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


RESAMPLES = 10_000
SEED = 0


def bootstrap_interval(
    values: Float64[np.ndarray, " sample"], how: Literal["mean", "median"] = "mean"
) -> tuple[float, float, float]:
    """Mean or median, and the ends of its 95 % percentile bootstrap interval; random numbers are always the same."""
    middle = np.median if how == "median" else np.mean
    chosen = np.random.default_rng(SEED).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(middle(values[chosen], axis=1), (2.5, 97.5)).tolist()
    return float(middle(values)), low, high


def geometric_mean(values: Values) -> float:
    """Geometric mean; infinite where a value is not finite, 0 where one is not positive, NaN of nothing."""
    array = _numbers(values)
    if array.size == 0:
        return math.nan
    if not np.isfinite(array).all():
        return math.inf
    return float(np.exp(np.log(array).mean())) if (array > 0).all() else 0.0


def aggregate(values: Values, how: Aggregate) -> float:
    """One number for the values of several simulations; those that are not finite count as infinitely large."""
    array = _numbers(values)
    if how == "geometric":
        return geometric_mean(array)
    array = np.where(np.isfinite(array), array, np.inf)
    if how == "median":
        return float(np.median(array))
    return float(array.mean()) if np.isfinite(array).all() else math.inf


def observed_order(errors: Sequence[float], points: Sequence[int]) -> list[float]:
    """Order between each grid and the next finer one, ``log(e_1 / e_2) / log(n_2 / n_1)``; NaN where undefined."""
    found = []
    for (e1, n1), (e2, n2) in pairwise(zip(errors, points, strict=True)):
        usable = 0 < e1 < math.inf and 0 < e2 < math.inf and n1 != n2
        found.append(math.log(e1 / e2) / math.log(n2 / n1) if usable else math.nan)
    return found


def _numbers(values: Values) -> Float64[np.ndarray, "..."]:
    """In double precision; those that are not finite are counted, those that are masked refused."""
    return real_numbers(values, "the values", finite=False).astype(np.float64, copy=False)
