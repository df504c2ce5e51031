"""The classical front as a curve: its points, the error that a cost buys on it, its exponent, and its resamples."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from closura.core.metric import Aggregate
from closura.metrics.statistics import aggregate

REACH = 16.0
"""Up to so many times the coarse solver's cost its local exponent is that of.

A grid of twice the points costs sixteen times as much in three dimensions with explicit steps.
"""
NOTABLE = 0.95
"""A point of the front errs less than that share of a cheaper one's error: shorter steps on one grid are none."""
GAP = 32.0
"""Neighbours on the front that are further apart in cost leave a gap: no grid is taken to lie between them."""
QUARTILE = 25
"""Percentile of a step's times, over turns, that counts as its cost: disturbances only ever add to it."""


class Envelope:
    """Points of error against cost that no cheaper one comes near, the cheapest first.

    Between two of them the error is linear in the logarithms, as that of the grids that lie between; across a
    :data:`GAP` it is that of the cheaper one. Errors count as at least ``least``, below which the reference is no
    yardstick. What is not finite or not positive is no point.
    """

    def __init__(
        self, cost: Float64[np.ndarray, " method"], error: Float64[np.ndarray, " method"], least: float = 0.0
    ) -> None:
        usable = np.isfinite(cost) & np.isfinite(error) & (cost > 0) & (error > 0)
        error = np.where(usable, np.maximum(error, least), np.inf)
        chosen: list[int] = []
        lowest = np.inf
        for i in np.lexsort((error, cost)):
            if error[i] < NOTABLE * lowest:
                chosen.append(int(i))
                lowest = error[i]
        self.chosen = np.asarray(chosen, np.int64)
        self.cost, self.error, self.least = cost[self.chosen], error[self.chosen], least

    def __len__(self) -> int:
        return len(self.chosen)

    def at(self, cost: Float64[np.ndarray, " cost"]) -> Float64[np.ndarray, " cost"]:
        """The errors that costs buy: infinite below the cheapest point, that of the dearest one beyond it."""
        if not len(self):
            return np.full(np.shape(cost), np.inf)
        x, y, at = np.log(self.cost), np.log(self.error), np.log(cost)
        found = np.interp(at, x, y)
        before = np.clip(np.searchsorted(x, at + 1e-12, side="right") - 1, 0, len(x) - 1)
        after = np.minimum(before + 1, len(x) - 1)
        found = np.where(x[after] - x[before] > math.log(GAP), y[before], found)
        return np.where(at >= x[0] - 1e-12, np.exp(found), np.where(np.isnan(at), np.nan, np.inf))

    @property
    def fitted(self) -> Int[np.ndarray, " point"]:
        """Indices of the points that a fit takes: none at the reference's limit."""
        return np.flatnonzero(self.error > self.least)

    def exponent(self) -> float:
        """The exponent of a least-squares line through the points in logarithms; NaN of fewer than two."""
        kept = self.fitted
        if len(kept) < 2:
            return math.nan
        x, y = np.log(self.cost[kept]), np.log(self.error[kept])
        x = x - x.mean()
        return float(-(x @ y) / (x @ x))

    def slope(self, start: float, end: float) -> float:
        """The mean exponent between two costs; NaN where nothing is known of one of them."""
        here, there = self.at(np.asarray([start, end]))
        if not (math.isfinite(here) and math.isfinite(there) and end > start > 0):
            return math.nan
        return math.log(here / there) / math.log(end / start)


class Draw(NamedTuple):
    """Costs and errors of all methods, as measured or of one resample."""

    cost: Float64[np.ndarray, " timed"]
    error: Float64[np.ndarray, " method"]


def measured(
    turns: Float64[np.ndarray, "timed turn"], errors: Float64[np.ndarray, "method case"], how: Aggregate
) -> Draw:
    """Costs and errors as measured; infinite errors where the aggregate is."""
    return Draw(np.percentile(turns, QUARTILE, axis=1), np.asarray([aggregate(each, how) for each in errors]))


def resampled(
    turns: Float64[np.ndarray, "timed turn"],
    errors: Float64[np.ndarray, "method case"],
    how: Aggregate,
    count: int,
) -> Iterator[Draw]:
    """Bootstrap over simulations and over turns of the clock, the same ones for all methods; always the same draws.

    Methods were timed in turns, so what disturbed one turn disturbed all of them.
    """
    rng = np.random.default_rng(0)
    cases = rng.integers(0, errors.shape[1], (count, errors.shape[1]))
    moments = rng.integers(0, turns.shape[1], (count, turns.shape[1]))
    costs = np.stack([np.percentile(each[moments], QUARTILE, axis=1) for each in turns], axis=1)
    values = np.stack([_aggregates(each, how, cases) for each in errors], axis=1)
    return (Draw(*each) for each in zip(costs, values, strict=True))


def _aggregates(
    errors: Float64[np.ndarray, " case"], how: Aggregate, cases: np.ndarray
) -> Float64[np.ndarray, " draw"]:
    """The aggregate of each resample; of means infinite throughout where one simulation was lost."""
    finite = np.isfinite(errors)
    if how == "median":
        return np.asarray(np.median(np.where(finite, errors, np.inf)[cases], axis=1))
    if not finite.all():
        return np.full(len(cases), np.inf)
    if how == "mean":
        return np.asarray(errors[cases].mean(axis=1))
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(np.log(np.maximum(errors, 0))[cases].mean(axis=1)))
