r"""When a closure pays: what it has to achieve to be worth more than the classical methods of its cost.

Along the front of classical methods - better schemes, finer grids, longer steps - the error E falls with the cost c:

    p = -d ln E / d ln c .

A closure that multiplies the cost of a step by k stands beside classical methods of k times the cost. It pays where it
divides the error of the solver that it corrects, of cost c_0 and error e_0, by more than

    e_0 / E(k c_0) = f k^p,          f = e_0 / E(c_0),

p the mean slope of the front between c_0 and k c_0. f is one where the solver itself stands on the front; else it errs
f times as much as the best of its cost, and the closure has to make up for that first.

Intervals are percentiles of a bootstrap over simulations, the same ones for all methods, and over the turns of the
clock.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from closura.core import Results
from closura.core.metric import Aggregate
from closura.metrics.envelope import GAP, REACH, Draw, Envelope, measured, resampled
from closura.metrics.pareto import CLASSICAL, Fronts

RESAMPLES = 500
KNOWN = 0.9
"""Share of resamples that have to give a number for there to be an interval."""
BEYOND = 1.001
"""Costs over that of the dearest classical method that are beyond what was measured."""
FLAT = 1.05
"""Errors that differ by less no longer fall."""
REFINED = 4.0
"""Costs that differ by more are those of other grids, not of other steps."""
CLEAR = 2.0
"""Errors below so many times the distance between two references say nothing by the first of them."""

Verdict = Literal["pays", "does not pay", "undecided"]


class Estimate(NamedTuple):
    """A value with the ends of its 95 % interval; NaN where they are not known."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def clear_of(self, level: float) -> int:
        """1 where the interval lies above a level, -1 where it lies below, else 0."""
        low, high = (self.value if math.isnan(end) else end for end in (self.low, self.high))
        return int(low > level) - int(high < level)


@dataclass(frozen=True)
class Demand:
    """What a closure has to achieve, and what it does.

    Parameters
    ----------
    name, base
        The closure, or the kind of one, and the method that it corrects.
    k
        By how much it multiplies the cost.
    power, exponent
        k^p, by how much the error on the front falls from the cost of the coarse solver to k times it; and p.
    needed
        By how much it has to divide the error: k^p times :attr:`off_front`.
    off_front
        f: how many times as much the solver that it corrects errs as the front at the same cost.
    at_least
        Whether no classical method was measured at that cost: the demand is a lower bound.
    gain, margin
        By how much it divides the error, and that over what is needed; None of a kind.
    lost
        Number of simulations that it lost.
    """

    name: str
    base: str
    k: Estimate
    power: Estimate
    exponent: Estimate
    needed: Estimate
    off_front: Estimate
    at_least: bool = False
    gain: Estimate | None = None
    margin: Estimate | None = None
    lost: int = 0

    @property
    def verdict(self) -> Verdict | None:
        """Whether it pays, with 95 %; None of a kind, of which there is no error."""
        if self.margin is None:
            return None
        side = self.margin.clear_of(1.0)
        return "pays" if side > 0 else "does not pay" if side < 0 else "undecided"


@dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured of some methods.

    Parameters
    ----------
    classical
        Names of the classical methods.
    base
        The one that closures correct: the coarse solver.
    errors
        ``(simulation,)`` of each method; infinite where one was lost.
    turns
        ``(turn,)`` of each method: what a unit of simulated time costs, measured in turns with the others.
    aggregate
        How the errors of several simulations make one number.
    kinds
        ``(turn,)``: the same costs of the coarse solver with a closure of a kind.
    closures
        Names of the methods with closures, and of those that they correct.
    least
        Errors below are beneath the reference.
    """

    classical: Sequence[str]
    base: str
    errors: Mapping[str, Float64[np.ndarray, " case"]]
    turns: Mapping[str, Float64[np.ndarray, " turn"]]
    aggregate: Aggregate = "mean"
    kinds: Mapping[str, Float64[np.ndarray, " turn"]] = field(default_factory=dict)
    closures: Mapping[str, str] = field(default_factory=dict)
    least: float = 0.0


@dataclass(frozen=True)
class Point:
    """A point of the classical front; ``exponent`` is p from here to the next one."""

    name: str
    cost: float
    error: float
    exponent: float


@dataclass(frozen=True)
class Criterion:
    """What closures have to achieve beside a classical front.

    Parameters
    ----------
    base
        The coarse solver, with its ``cost`` and ``error``.
    local
        p from the coarse solver's cost on: the mean slope of the front up to ``reach`` times that, which is
        :data:`closura.metrics.envelope.REACH`, or less where the front ends before.
    whole
        p of a least-squares line through the ``fitted`` points of the front.
    points
        The front.
    off_front
        f of the coarse solver.
    kinds, closures
        What closures have to achieve.
    words
        What a reader has to know: why there is no number, or what it is worth.
    """

    base: str
    cost: float
    error: float
    local: Estimate
    reach: float
    whole: Estimate
    fitted: int
    points: tuple[Point, ...]
    off_front: Estimate
    kinds: tuple[Demand, ...]
    closures: tuple[Demand, ...]
    words: tuple[str, ...]

    def line(self, costs: Float64[np.ndarray, " cost"]) -> Float64[np.ndarray, " cost"]:
        """The error of the coarse solver divided by k^p, with the local p: a figure's line."""
        return np.asarray(self.error * (costs / self.cost) ** -self.local.value)


def criterion(m: Measurements, resamples: int | None = None) -> Criterion:
    """Fit p along the classical front, and hold closures against it; intervals are of so many resamples.

    By default :data:`RESAMPLES`.

    Raises
    ------
    ValueError
        If the coarse solver is not among the classical methods.
    """
    if m.base not in m.classical:
        raise ValueError(f"the coarse solver {m.base!r} is not among the classical methods {', '.join(m.classical)}")
    names = [*m.classical, *m.closures]
    kinds = {f"kind {name}": name for name in m.kinds}  # a closure may be called as its kind is
    timed = [*names, *kinds]
    # An untrained closure makes no step cheaper: less is noise.
    with_closure = [np.maximum(each, m.turns[m.base]) for each in m.kinds.values()]
    turns = np.stack([*(m.turns[name] for name in names), *with_closure])
    errors = np.stack([np.asarray(m.errors[name], np.float64) for name in names])
    errors = np.where(np.isfinite(errors), errors, np.inf)
    first = _Once(m, timed, measured(turns, errors, m.aggregate))
    draws = [_Once(m, timed, draw) for draw in resampled(turns, errors, m.aggregate, resamples or RESAMPLES)]

    def estimate(of: Callable[[_Once], float]) -> Estimate:
        return _interval(of(first), np.asarray([of(draw) for draw in draws]))

    pairs = {**dict.fromkeys(kinds, m.base), **m.closures}
    found = first.demands(pairs)
    spread = np.stack([draw.demands(pairs) for draw in draws])
    dearest = max((first.cost[name] for name in m.classical if first.usable(name)), default=math.nan)

    def demand(i: int, name: str, base: str) -> Demand:
        k, power, exponent, needed, off, gain, margin = (
            _interval(float(found[j, i]), spread[:, j, i]) for j in range(len(found))
        )
        beyond = bool(first.cost[name] > BEYOND * dearest)
        if name in kinds:
            return Demand(kinds[name], base, k, power, exponent, needed, off, beyond)
        lost = int(np.isinf(errors[names.index(name)]).sum())
        return Demand(name, base, k, power, exponent, needed, off, beyond, gain, margin, lost)

    demands = [demand(i, *pair) for i, pair in enumerate(pairs.items())]
    front, cost = first.front, first.cost[m.base]
    # To the front's end; where nothing on it is dearer, as far as was measured.
    end = front.cost[-1] if len(front) and front.cost[-1] > FLAT * cost else dearest
    reach = min(end / cost, REACH) if end > FLAT * cost else math.nan
    slopes = [
        -math.log(b / a) / math.log(d / c)
        for (a, b), (c, d) in zip(
            zip(front.error, front.error[1:], strict=False), zip(front.cost, front.cost[1:], strict=False), strict=True
        )
    ]
    return Criterion(
        m.base,
        first.cost[m.base],
        first.error[m.base],
        estimate(lambda draw: draw.front.slope(draw.cost[m.base], reach * draw.cost[m.base])),
        reach,
        estimate(lambda draw: draw.front.exponent()),
        len(front.fitted),
        tuple(
            Point(m.classical[i], *map(float, numbers))
            for i, *numbers in zip(front.chosen, front.cost, front.error, [*slopes, math.nan], strict=False)
        ),
        estimate(lambda draw: draw.off_front(m.base)),
        tuple(each for each in demands if each.margin is None),
        tuple(each for each in demands if each.margin is not None),
        tuple(_words(m, first)),
    )


class _Once:
    """One draw of all costs and errors, and its front."""

    def __init__(self, m: Measurements, names: Sequence[str], draw: Draw) -> None:
        self.cost = dict(zip(names, draw.cost.tolist(), strict=True))
        self.error = dict(zip(names, np.maximum(draw.error, m.least).tolist(), strict=False))
        count = len(m.classical)
        self.front = Envelope(draw.cost[:count], draw.error[:count], m.least)

    def usable(self, name: str) -> bool:
        return math.isfinite(self.cost[name]) and 0 < self.error[name] < math.inf

    def off_front(self, base: str) -> float:
        """How many times as much a method errs as the front at its cost."""
        return float(_over(np.asarray(self.error[base]), self.front.at(np.asarray([self.cost[base]])))[0])

    def demands(self, pairs: Mapping[str, str]) -> Float64[np.ndarray, "number closure"]:
        """k, k^p, p, what is needed, f, gain and margin of closures, by name with the methods that they correct."""
        cost = np.asarray([self.cost[name] for name in pairs])
        own = np.asarray([self.error.get(name, math.nan) for name in pairs])
        base_cost = np.asarray([self.cost[base] for base in pairs.values()])
        base_error = np.asarray([self.error[base] for base in pairs.values()])
        here, there = self.front.at(base_cost), self.front.at(cost)
        with np.errstate(all="ignore"):
            k, power = cost / base_cost, _over(here, there)
            exponent = np.where(np.isfinite(power) & (power > 0), np.log(power) / np.log(k), np.nan)
            exponent = np.where(np.isfinite(exponent), exponent, np.nan)
        return np.stack([
            k, power, exponent, _over(base_error, there), _over(base_error, here), _over(base_error, own),
            _over(there, own),
        ])  # fmt: skip


def _over(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Ratios of errors that may be infinite: of two infinite ones nothing is known."""
    with np.errstate(all="ignore"):
        return np.asarray(np.divide(one, other))


def _interval(value: float, draws: Float64[np.ndarray, " draw"]) -> Estimate:
    known = draws[~np.isnan(draws)]
    if math.isnan(value) or len(known) < KNOWN * len(draws):
        return Estimate(value)
    # Not by interpolation: between infinite ones it is not a number.
    low, high = np.percentile(known, (2.5, 97.5), method="nearest").tolist()
    return Estimate(value, low, high)


def _words(m: Measurements, first: _Once) -> list[str]:
    """What has to be said of a front beside its numbers."""
    cost, front, found = first.cost[m.base], first.front, []
    usable = [name for name in m.classical if first.usable(name)]
    lost = len(m.classical) - len(usable)
    if lost:
        found.append(f"{lost} of {len(m.classical)} classical methods lost simulations and are not on the front")
    if not first.usable(m.base):
        found.append(f"{m.base} has no finite error and cost: what a closure of it needs is not known")
        return found
    if len(next(iter(m.errors.values()))) < 2:
        found.append("one simulation: intervals hold the spread of times alone")
    dearer = [name for name in usable if first.cost[name] > FLAT * cost]
    better = [c for c in front.cost if c > FLAT * cost]
    if not dearer:
        found.append(
            f"no classical method that costs more than {m.base} was measured: what a closure needs is not known; "
            "take finer grids"
        )
    elif not better:
        found.append(
            f"p = 0 from {m.base} on: of {len(dearer)} dearer classical methods none errs less than what its cost buys"
            " already, so any gain over the front pays"
        )
    elif better[0] > GAP * cost:
        found.append(
            f"p = 0 up to {better[0] / cost:.3g} times the cost: no classical method that errs less lies between, so "
            "any gain over the front pays; if finer grids exist there, measure them"
        )
    if m.least and (front.error <= m.least).any():
        found.append(
            f"errors below {m.least:.3g} count as that much: {CLEAR:g} times the distance between the two references"
        )
    elif len(front):
        level = [first.cost[name] for name in usable if first.error[name] <= FLAT * front.error[-1]]
        if max(level) > REFINED * min(level):
            found.append(
                f"from {min(level) / cost:.3g} times the cost on errors no longer fall: the limit of the reference, or "
                "of what these methods can do"
            )
    return found


@lru_cache(maxsize=64)
def criterion_of(
    results: Results, reference: str, metric: str = "error", time: int = -1, call: str = "single"
) -> Criterion:
    """The criterion of a sweep's results, by a reference and a metric of which less is better.

    Raises
    ------
    ValueError
        If more is better of the metric.
    """
    fronts, roles = Fronts(results), results.roles
    if results.metrics[fronts.variable(reference, metric)].better != "lower":
        raise ValueError(f"p is of metrics of which less is better; got {metric}")
    ranked = [name for name in fronts.ranked(reference) if roles[name] in CLASSICAL]
    base = fronts.base if fronts.base in ranked else ""
    if not base:
        raise ValueError(f"{fronts.base} shares scheme and grid with the reference {reference}: it has no error by it")
    closures = {name: fronts.corrected(name) for name in results.closures if fronts.corrected(name) in ranked}
    errors = {name: fronts.of(name, reference, metric, time) for name in (*ranked, *closures)}
    variable = results.metrics[fronts.variable(reference, metric)]
    return criterion(
        Measurements(
            ranked,
            base,
            errors,
            {name: fronts.turns(name, call) for name in errors},
            variable.aggregate,
            {name: fronts.closure_turns(name, call) for name in fronts.closure_kinds},
            closures,
            fronts.least(reference, metric, time) * CLEAR,
        )
    )
