"""One method beside another, simulation by simulation: improvement, harm, paired differences."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from closura.core import Results
from closura.metrics.statistics import mean_interval, spread


def losses(results: Results, name: str) -> Float64[np.ndarray, "case time"]:
    """The metric that counts, turned so that smaller is better; infinite where it is not finite."""
    errors = results.errors(name)
    return np.where(np.isfinite(errors), -errors if results.error.better == "higher" else errors, np.inf)


ROUND_OFF = 1e-5
"""Relative differences of errors that say nothing."""


def _exceeds(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    return own > np.where(np.isfinite(other), other + ROUND_OFF * np.abs(other), other)


def worse_since(results: Results, name: str) -> Int[np.ndarray, "simulation"]:
    """First step, ``(simulation,)``, at which the error exceeds that of the closure's base; -1 for never.

    Differences of rounding do not count.

    An error that is not finite exceeds every finite one and none that is not finite either.
    """
    own, base = losses(results, name), losses(results, results.corrects(name))
    worse = _exceeds(own, base)
    return np.where(worse.any(axis=1), worse.argmax(axis=1), -1)


def worse_than_corrected(results: Results, name: str) -> dict[str, Any]:
    """In how many simulations a closure is worse than the solver that it corrects.

    Returns
    -------
    dict
        ``base``; ``simulations``, the number in which its error is larger at any step, and the ``first_step``
        of all and the ``median_first_step`` of these where that happens (None for never);
        ``at_last_step``, the number in which it is larger at the end; ``n``.
    """
    since = worse_since(results, name)
    base = results.corrects(name)
    own, other = (losses(results, each)[:, -1] for each in (name, base))
    found = since[since >= 0]
    return {
        "base": base,
        "simulations": len(found),
        "first_step": int(found.min()) if found.size else None,
        "median_first_step": float(np.median(found)) if found.size else None,
        "at_last_step": int(np.sum(_exceeds(own, other))),
        "n": results.simulations,
    }


def improvement_on(results: Results, name: str, other: str) -> float:
    """Relative improvement of the mean error at the last step, positive is better; NaN where a mean is not finite."""
    own, base = (float(spread(results.last(each))["mean"]) for each in (name, other))
    if not (np.isfinite(base) and np.isfinite(own)) or base <= 0:
        return float("nan")
    return (own - base) / base if results.error.better == "higher" else (base - own) / base


def improvement_per_simulation(
    results: Results, name: str, other: str | None = None
) -> Float64[np.ndarray, "simulation step"]:
    """Relative improvement, (CGS - x) / CGS, of each simulation at each step, on the baseline or on ``other``.

    Minus infinity where the method is not finite but the other is; NaN where the other is 0 or not finite.
    Closure-RL, Fig. 2 and 4 (middle), draws the mean over simulations of minus this.
    """
    base, own = (results.errors(each) for each in (other or results.uncorrected, name))
    usable = np.isfinite(base) & (base > 0)
    with np.errstate(over="ignore"):
        change = np.where(np.isfinite(own), own, np.inf) / np.where(usable, base, 1.0) - 1.0
    if results.error.better == "higher":
        change = np.where(np.isfinite(own), -change, np.inf)
    return np.where(usable, -change, np.nan)


def paired_difference(results: Results, a: str, b: str) -> dict[str, float | int | str]:
    """Error of ``a`` minus error of ``b`` at the last step, simulation by simulation.

    Negative means that ``a`` is better. The interval is Student's t interval (95 %) of the mean of the
    differences. Both are NaN as soon as one pair is not finite (``mean_of_finite`` then gives the rest);
    ``better`` counts the simulations in which ``a`` has the smaller error, diverged ones included.
    """
    first, second = (_infinite(results.last(name)) for name in (a, b))
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
        "better": int(np.sum(_last(results, a) < _last(results, b))),
    }


def paired_ratio(results: Results, a: str, b: str) -> dict[str, float | int]:
    """Geometric mean of the errors of ``a`` by that of ``b`` at the last step, with its 95 % interval.

    The interval is Student's t interval of the mean logarithm of the ratios. All are NaN where an error is not finite
    or not positive; there is no interval from a single simulation. ``better`` counts the simulations in which ``a`` has
    the smaller error.
    """
    first, second = (_infinite(results.last(name)) for name in (a, b))
    better = int(np.sum(_last(results, a) < _last(results, b)))
    both = np.concatenate([first, second])
    if not (np.isfinite(both).all() and (both > 0).all()):
        return {"ratio": math.nan, "low": math.nan, "high": math.nan, "better": better}
    mean, low, high = mean_interval(np.log(first / second))
    return {"ratio": math.exp(mean), "low": math.exp(low), "high": math.exp(high), "better": better}


def _last(results: Results, name: str) -> Float64[np.ndarray, " sample"]:
    """The metric that counts at the last step, smaller is better."""
    return results.samples(losses(results, name))[:, -1]


def _infinite(values: Float64[np.ndarray, " sample"]) -> Float64[np.ndarray, " sample"]:
    return np.where(np.isfinite(values), values, np.inf)
