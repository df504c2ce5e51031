"""Fronts of error against cost, typical errors, and paired differences with bootstrap intervals."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool

from closura.arrays import Values, real_numbers

Typical = Literal["mean", "median", "geometric"]
RESAMPLES = 10_000
SEED = 0


def on_front(cost: Values, error: Values) -> Bool[np.ndarray, " point"]:
    """Which points no other point dominates.

    A point dominates another if it is not worse in cost nor error and better in one of them. Points whose cost or
    error is not finite are never on the front; of equal points all are. ValueError if numbers are masked or not real.
    """
    c, e = (_numbers(values, name) for values, name in ((cost, "the cost"), (error, "the error")))
    usable = np.isfinite(c) & np.isfinite(e)
    front = np.zeros(c.shape, bool)
    for i in np.flatnonzero(usable):
        no_worse = usable & (c <= c[i]) & (e <= e[i])
        front[i] = not np.any(no_worse & ((c < c[i]) | (e < e[i])))
    return front


def typical_error(errors: Values, kind: Typical) -> float:
    """One number for the errors of several simulations; those that are not finite count as infinitely large."""
    e = _numbers(errors, "errors")
    e = np.where(np.isfinite(e), e, np.inf)
    if kind == "median":
        return float(np.median(e))
    if not np.isfinite(e).all():
        return float("inf")
    if kind == "geometric":
        return float(np.exp(np.log(e).mean())) if (e > 0).all() else 0.0
    return float(e.mean())


def _numbers(values: Values, name: str) -> np.ndarray:
    return real_numbers(values, name, finite=False).astype(np.float64)


class Paired(NamedTuple):
    """A contender beside the reference, simulation by simulation.

    ``value`` is the mean (median) of the differences of errors, or where errors are averaged geometrically the ratio
    of geometric means; ``low`` and ``high`` bound its 95 % percentile bootstrap interval over simulations; ``better``
    counts the simulations with the smaller error, ``not_finite`` those that one of both lost, which no difference has.
    """

    value: float
    low: float
    high: float
    better: int
    not_finite: int


def paired(errors: Values, reference: Values, kind: Typical) -> Paired:
    """Compare with a reference; the random numbers of the bootstrap are always the same."""
    a, b = _numbers(errors, "errors"), _numbers(reference, "errors of the reference")
    a, b = np.where(np.isfinite(a), a, np.inf), np.where(np.isfinite(b), b, np.inf)
    better, lost = int((a < b).sum()), int((~(np.isfinite(a) & np.isfinite(b))).sum())
    if lost or (kind == "geometric" and not ((a > 0) & (b > 0)).all()):
        return Paired(np.nan, np.nan, np.nan, better, lost)
    differences = np.log(a / b) if kind == "geometric" else a - b
    chosen = np.random.default_rng(SEED).integers(0, len(a), (RESAMPLES, len(a)))
    middle = np.median if kind == "median" else np.mean
    drawn = middle(differences[chosen], axis=1)
    values = np.asarray([middle(differences), *np.percentile(drawn, (2.5, 97.5))], np.float64)
    value, low, high = (np.exp(values) if kind == "geometric" else values).tolist()
    return Paired(value, low, high, better, lost)
