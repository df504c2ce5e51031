"""Fronts of error against cost in the results of a sweep, and paired differences with bootstrap intervals.

A sweep has methods on several grids at several time steps, and one or several references. The metric that counts is
measured by each of them: ``error`` by the first, ``error_NAME`` by others. Costs are ``milliseconds_per_time (method,
call, quartile)``: per unit of simulated time and simulation, one simulation at a time or several per call.
"""

import json
from typing import Any

import numpy as np
from jaxtyping import Bool

from closura.arrays import Values, real_numbers
from closura.core import Metric, Results, Role
from closura.metrics.comparison import Paired, paired
from closura.metrics.statistics import aggregate

CALLS = ("single", "batched")
"""One simulation at a time, or several per call."""
QUARTILES = ("lower", "median", "upper")
COST = "milliseconds_per_time"
TURNS = "milliseconds_per_time_in_turns"
"""The times that these are quartiles of, ``(method, call, turn)``: all methods were timed in turns."""
CLOSURE_COST = "closure_milliseconds_per_time_in_turns"
"""The same of the coarse solver with an untrained closure of each kind, ``(closure_kind, call, turn)``."""
CLASSICAL = (Role.UNCORRECTED, Role.BASELINE, Role.FINE_BASELINE, Role.COARSE_BASELINE)
"""Roles of methods that learn nothing."""


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


class Fronts:
    """Fronts and comparisons in the results of a sweep."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.references: dict[str, str] = json.loads(results.attribute("references"))
        self.compared_with = str(results.attribute("compared_with"))
        self.times = tuple(map(str, json.loads(results.attribute("time_names"))))

    def fact(self, name: str, fact: str) -> Any:
        """A coordinate of a method: ``family``, ``points``, ``rule``, ``note``, ..."""
        return self.results.data[fact].sel({"method": name}).item()

    def variable(self, reference: str, metric: str = "error") -> str:
        """The variable of a metric by a reference."""
        return metric if reference == next(iter(self.references)) else f"{metric}_{reference}"

    def errors(self, name: str, reference: str, time: int = -1) -> np.ndarray:
        """Errors of all simulations at a time; infinite where one diverged."""
        return self.results.of(self.variable(reference), name)[:, time]

    def error(self, name: str, reference: str, time: int = -1) -> float:
        """The aggregate over simulations."""
        return aggregate(self.errors(name, reference, time), self.results.error.aggregate)

    def paired(self, name: str, reference: str, time: int = -1) -> Paired:
        """A method beside the one that all are compared with."""
        own, other = (self.errors(n, reference, time) for n in (name, self.compared_with))
        return paired(own, other, self.results.error.aggregate, bootstrap=True)

    @property
    def followed(self) -> tuple[Metric, ...]:
        """Metrics of whole simulations of which more is better, by the first reference."""
        later = [self.variable(reference, "") for reference in list(self.references)[1:]]
        further = {metric.name for metric in self.further}
        found = [m for m in self.results.metrics.values() if m.better == "higher" and m.name not in further]
        return tuple(m for m in found if not any(m.name.endswith(end) for end in later))

    @property
    def further(self) -> tuple[Metric, ...]:
        """Metrics of plug-ins, at each time, by the first reference."""
        names = json.loads(self.results.attribute("further", "[]"))
        return tuple(self.results.metrics[name] for name in names if name in self.results.metrics)

    def values(self, name: str, reference: str, metric: str, time: int = -1) -> np.ndarray:
        """A further metric of all simulations at a time."""
        return self.results.of(self.variable(reference, metric), name)[:, time]

    def length(self, name: str, reference: str, metric: str) -> float:
        """The mean of a metric of whole simulations."""
        return float(self.results.of(self.variable(reference, metric), name).mean())

    def longer(self, name: str, reference: str, metric: str) -> Paired:
        """By how much it is larger than that of the method to compare with; ``better`` counts larger ones."""
        variable = self.variable(reference, metric)
        own, other = (self.results.of(variable, n) for n in (name, self.compared_with))
        return paired(-own, -other, "mean", bootstrap=True).turned()

    @property
    def base(self) -> str:
        """The coarse solver that closures correct, alone at its own step."""
        return str(self.results.attribute("uncorrected", "")) or self.results.uncorrected

    def corrected(self, name: str) -> str:
        """The method that a closure corrects, at the same step."""
        return str(self.results.data["corrects"].sel({"method": name}).item()) or self.base

    def of(self, name: str, reference: str, metric: str = "error", time: int = -1) -> np.ndarray:
        """A metric of all simulations at a time; infinite where it is not finite."""
        found = self.results.of(self.variable(reference, metric), name)
        found = found[:, time] if found.ndim == 2 else found
        return np.where(np.isfinite(found), found, np.inf)

    def least(self, reference: str, metric: str = "error", time: int = -1) -> float:
        """How far a reference is from the last one, which is the sharpest: smaller errors say nothing. 0: not known."""
        last = list(self.references)[-1]
        there = [n for n in self.results.named(Role.REFERENCE) if last in self.favoured_by(n)]
        if reference == last or not there:
            return 0.0
        found = aggregate(self.of(there[0], reference, metric, time), self.results.error.aggregate)
        return found if np.isfinite(found) else 0.0

    def turns(self, name: str, call: str) -> np.ndarray:
        """The times behind a cost, ``(turn,)``: of earlier files the quartiles."""
        variable = TURNS if TURNS in self.results.data else COST
        return np.asarray(self.results.data[variable].sel({"method": name, "call": call}).values, np.float64)

    @property
    def closure_kinds(self) -> tuple[str, ...]:
        """Kinds of closures whose cost on the coarse solver was measured."""
        data = self.results.data
        return tuple(map(str, data["closure_kind"].values)) if CLOSURE_COST in data else ()

    def closure_turns(self, name: str, call: str) -> np.ndarray:
        """The times of the coarse solver with a closure of a kind, ``(turn,)``."""
        place = {"closure_kind": name, "call": call}
        return np.asarray(self.results.data[CLOSURE_COST].sel(place).values, np.float64)

    def cost(self, name: str, call: str, quartile: str = "lower") -> float:
        """Milliseconds per unit of simulated time and simulation: disturbances only ever add to it."""
        place = {"method": name, "call": call, "quartile": quartile}
        return float(self.results.data[COST].sel(place).item())

    def ranked(self, reference: str) -> list[str]:
        """Methods that may stand on a reference's front: all but itself and those that share its scheme and grid."""
        return [name for name in self.results.methods if reference not in self.favoured_by(name)]

    def favoured_by(self, name: str) -> tuple[str, ...]:
        """References that share scheme and grid with a method."""
        return tuple(filter(None, str(self.fact(name, "favoured_by")).split(",")))

    def front(self, reference: str, call: str, time: int = -1) -> list[str]:
        """Names of the points that none dominates, the cheapest first."""
        return self._front(reference, call, {n: self.error(n, reference, time) for n in self.ranked(reference)})

    def calls_on_front(self, name: str, reference: str, time: int = -1) -> list[str]:
        """The kinds of calls by whose costs a method stands on the front."""
        return [call for call in CALLS if name in self.front(reference, call, time)]

    def longest(self, reference: str, call: str, metric: str) -> list[str]:
        """Names of the methods that nothing as cheap is good for longer than, the cheapest first."""
        return self._front(reference, call, {n: -self.length(n, reference, metric) for n in self.ranked(reference)})

    def _front(self, reference: str, call: str, values: dict[str, float]) -> list[str]:
        costs = [self.cost(name, call) for name in values]
        chosen = on_front(costs, list(values.values()))
        return [name for _, name in sorted((c, n) for c, n, on in zip(costs, values, chosen, strict=True) if on)]

    def is_reference(self, name: str) -> bool:
        """Whether a method is a reference itself."""
        return self.results.roles[name] is Role.REFERENCE


def best_on_coarse_grid(results: Results) -> str:
    """The classical method with the smallest error on the coarse grid, of those of a sweep."""
    classical = results.named(Role.UNCORRECTED, Role.BASELINE) or results.named(
        Role.FINE_BASELINE, Role.COARSE_BASELINE
    )
    last = {name: results.errors(name)[:, -1] for name in classical or results.methods}
    return min(last, key=lambda name: aggregate(last[name], results.error.aggregate))


def _numbers(values: Values, name: str) -> np.ndarray:
    return real_numbers(values, name, finite=False).astype(np.float64)
