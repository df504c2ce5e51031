"""Numbers of an evaluation: errors, improvements, steps below a threshold, paired differences.

How diverged simulations enter
------------------------------
They are counted and kept. An error that is not finite counts as infinitely large: the mean is then
infinite (``null`` in JSON), the median and the maximum treat it as the largest value, and the mean over the
finite ones is given beside it under a name that says so (``mean_of_finite``), with the number of the others.
A simulation that is flagged as diverged but still has a finite error enters with that error.
"""

import math

import numpy as np
from jaxtyping import Bool, Float64, Int

from closura.arrays import Values, real_numbers
from closura.evaluation.results import Evaluation
from closura.plain import plain as plain


def spread(values: Values) -> dict[str, float | int]:
    """Mean, population standard deviation, median, extremes; not finite counts as infinitely large.

    The standard deviation divides by the number of simulations, as in the published tables of Closure-RL. ValueError
    if there are none, or numbers are masked or not real; so for all functions of series here.
    """
    values = _numbers(values)
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
    values = _numbers(values)
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        return np.where(finite.all(axis=0), np.where(finite, values, 0.0).mean(axis=0), np.inf)


def std_per_step(values: Values) -> Float64[np.ndarray, "step"]:
    """Population standard deviation over simulations at each step; infinite where any is not finite."""
    values = _numbers(values)
    finite = np.isfinite(values)
    with np.errstate(over="ignore"):
        return np.where(finite.all(axis=0), np.where(finite, values, 0.0).std(axis=0), np.inf)


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


def student_t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Quantile of Student's t distribution for a probability above one half.

    With t = sqrt(n) tan(a) the density is proportional to cos(a)^(n - 1), which is integrated on a fine grid;
    the result agrees with tables to better than 1e-4 for the usual 97.5 %.
    """
    # The tail in t is only 1/t wide in a, so cluster the points near pi/2.
    angle = (math.pi / 2) * (1 - np.linspace(1.0, 0.0, 20001) ** 3)
    density = np.maximum(np.cos(angle), 0.0) ** (degrees_of_freedom - 1)
    cumulative = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(angle))])
    at = float(np.interp(2 * probability - 1, cumulative / cumulative[-1], angle))
    return math.sqrt(degrees_of_freedom) * math.tan(at)


def mean_interval(values: Float64[np.ndarray, " sample"]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval by Student's t; NaN where there is no mean, or one value alone."""
    values = np.asarray(values, np.float64)
    n, half = len(values), math.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean()) if n else math.nan
        if n > 1:
            half = student_t_quantile(0.975, n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half


def paired_difference(evaluation: Evaluation, a: str, b: str) -> dict[str, float | int | str]:
    """Error of ``a`` minus error of ``b`` at the last step, simulation by simulation.

    Negative means that ``a`` is better. The interval is Student's t interval (95 %) of the mean of the
    differences. Both are NaN as soon as one pair is not finite (``mean_of_finite`` then gives the rest);
    ``better`` counts the simulations in which ``a`` has the smaller error, diverged ones included.

    Raises
    ------
    KeyError
        If a name is unknown.
    """
    first, second = (_last(evaluation.method(name).error) for name in (a, b))
    finite = np.isfinite(first) & np.isfinite(second)
    difference = first[finite] - second[finite]
    n = int(finite.sum())
    mean, low, high = mean_interval(difference)
    whole = bool(finite.all())
    return {
        "to": b,
        "mean": mean if whole else math.nan,
        "low": low if whole else math.nan,
        "high": high if whole else math.nan,
        "interval": "95 % Student t",
        "n": len(first),
        "not_finite": len(first) - n,
        "mean_of_finite": mean,
        "better": int(np.sum(first < second)),
    }


def _numbers(values: Values) -> Float64[np.ndarray, "..."]:
    """In double precision; those that are not finite are counted, those that are masked refused."""
    return real_numbers(values, "the values", finite=False).astype(np.float64, copy=False)


def _last(error: Float64[np.ndarray, "simulation step"]) -> Float64[np.ndarray, "simulation"]:
    last = error[:, -1]
    return np.where(np.isfinite(last), last, np.inf)
