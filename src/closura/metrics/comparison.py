"""One method beside another, simulation by simulation: improvement, harm, paired differences."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from closura.arrays import Values, real_numbers
from closura.core import Results
from closura.core.metric import Aggregate
from closura.metrics.statistics import bootstrap_interval, mean_interval, spread


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


class Paired(NamedTuple):
    """Errors of a method beside those of another, simulation by simulation.

    ``value`` is the mean (median) of the differences, or where values are averaged geometrically the ratio of
    geometric means; ``low`` and ``high`` bound its 95 % interval; all three are NaN as soon as one pair is not finite
    (of a ratio: or not positive), and ``of_finite`` is the value of the rest. ``better`` counts the simulations in
    which the method does better, diverged ones included, ``not_finite`` those that one of both lost.
    """

    value: float
    low: float
    high: float
    better: int
    not_finite: int
    of_finite: float

    def turned(self) -> "Paired":
        """The same of values with the other sign."""
        value, low, high, of_finite = (0.0 - each for each in (self.value, self.high, self.low, self.of_finite))
        return self._replace(value=value, low=low, high=high, of_finite=of_finite)


def paired(values: Values, others: Values, how: Aggregate, *, bootstrap: bool = False) -> Paired:
    """Compare values of which smaller ones are better.

    The interval is Student's t interval of the mean, or the percentile ``bootstrap`` interval over simulations, which a
    median needs. Of geometric means it is that of the mean logarithm of the ratios.
    """
    a, b = (real_numbers(each, "errors", finite=False).astype(np.float64) for each in (values, others))
    a, b = np.where(np.isfinite(a), a, np.inf), np.where(np.isfinite(b), b, np.inf)
    usable, ratios = np.isfinite(a) & np.isfinite(b), how == "geometric"
    better, lost = int((a < b).sum()), int((~usable).sum())
    if ratios:
        usable &= (a > 0) & (b > 0)
    a, b = a[usable], b[usable]
    differences = np.log(a / b) if ratios else a - b
    if bootstrap:
        found = bootstrap_interval(differences, "median" if how == "median" else "mean") if a.size else (math.nan,) * 3
    else:
        found = mean_interval(differences)
    with np.errstate(over="ignore"):
        value, low, high = np.exp(found).tolist() if ratios else found
    interval = (value, low, high) if usable.all() else (math.nan,) * 3
    return Paired(*interval, better, lost, value)


def paired_difference(results: Results, a: str, b: str) -> dict[str, float | int | str]:
    """Error of ``a`` minus error of ``b`` at the last step (:func:`paired`), with Student's interval.

    Negative means that ``a`` is better, of errors of which smaller ones are.
    """
    first, second = (_last(results, name) for name in (a, b))
    found = paired(first, second, "mean")
    if results.error.better == "higher":
        found = found.turned()
    return {
        "to": b,
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "interval": "95 % Student t",
        "n": len(first),
        "not_finite": found.not_finite,
        "mean_of_finite": found.of_finite,
        "better": found.better,
    }


def paired_ratio(results: Results, a: str, b: str) -> Paired:
    """Geometric mean of the errors of ``a`` by that of ``b`` at the last step, with Student's interval."""
    found = paired(results.last(a), results.last(b), "geometric")
    return found._replace(better=int(np.sum(_last(results, a) < _last(results, b))))


def _last(results: Results, name: str) -> Float64[np.ndarray, " sample"]:
    """The metric that counts at the last step, smaller is better."""
    return results.samples(losses(results, name))[:, -1]
