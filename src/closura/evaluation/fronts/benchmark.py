"""A benchmark of error against cost: all contenders of a suite run, timed and compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from closura.evaluation.fronts.contender import Contender, Suite
from closura.evaluation.fronts.front import Paired, on_front, paired, typical_error
from closura.evaluation.fronts.timing import Clock, StepTime, time_steps

CALLS = ("single", "batched")
"""One simulation at a time, or several per call."""


@dataclass(frozen=True, eq=False)
class Point:
    """What was measured of a contender.

    Parameters
    ----------
    contender
        Who it is.
    errors
        By truth, ``(simulation, time)``; infinite where the simulation diverged.
    frequency
        Steps per unit of simulated time, mean over the simulations that did not diverge.
    cost
        By kind of call: milliseconds per unit of simulated time and simulation.
    diverged
        Number of simulations.
    horizons
        By truth and name, ``(simulation,)``: for how long each simulation is good.
    """

    contender: Contender
    errors: Mapping[str, Float[np.ndarray, "simulation time"]]
    frequency: float
    cost: Mapping[str, StepTime]
    diverged: int
    horizons: Mapping[str, Mapping[str, Float[np.ndarray, " simulation"]]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fronts:
    """All points of a suite.

    Parameters
    ----------
    suite
        What was run.
    points
        By the contenders' names.
    reference
        Name of the contender that the others are compared with.
    settings
        How to repeat it.
    """

    suite: Suite
    points: Mapping[str, Point]
    reference: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def error(self, name: str, truth: str, time: int = -1) -> float:
        """The typical error of a contender."""
        return typical_error(self.points[name].errors[truth][:, time], self.suite.typical)

    def paired(self, name: str, truth: str, time: int = -1) -> Paired:
        """A contender beside the reference."""
        own, other = (self.points[n].errors[truth][:, time] for n in (name, self.reference))
        return paired(own, other, self.suite.typical)

    def horizon(self, name: str, truth: str, which: str) -> float:
        """For how long a contender is good, on average."""
        return float(self.points[name].horizons[truth][which].mean())

    def longer(self, name: str, truth: str, which: str) -> Paired:
        """By how much longer than the reference a contender is good; ``better`` counts the longer ones."""
        own, other = (self.points[n].horizons[truth][which] for n in (name, self.reference))
        shorter = paired(-own, -other, "mean")
        return shorter._replace(value=-shorter.value, low=-shorter.high, high=-shorter.low)

    def ranked(self, truth: str) -> list[str]:
        """Contenders that may stand on a truth's front: all but the truth itself and those that share its grid."""
        return [name for name, point in self.points.items() if truth not in point.contender.kin]

    def front(self, truth: str, call: str, time: int = -1) -> list[str]:
        """Names of the points that none dominates, the cheapest first."""
        names = [name for name in self.ranked(truth)]
        costs = [self.points[name].cost[call].median for name in names]
        chosen = on_front(costs, [self.error(name, truth, time) for name in names])
        return [name for _, name in sorted((c, n) for c, n, on in zip(costs, names, chosen, strict=True) if on)]

    def longest(self, truth: str, call: str, which: str) -> list[str]:
        """Names of the contenders that nothing as cheap is good for longer than, the cheapest first."""
        names = self.ranked(truth)
        costs = [self.points[name].cost[call].median for name in names]
        chosen = on_front(costs, [-self.horizon(name, truth, which) for name in names])
        return [name for _, name in sorted((c, n) for c, n, on in zip(costs, names, chosen, strict=True) if on)]


def run_benchmark(
    suite: Suite,
    *,
    batch: int = 8,
    repetitions: int = 7,
    seconds: float = 0.03,
    clock: Clock = "wall",
    reference: str | None = None,
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Fronts:
    """Run, time and compare.

    Parameters
    ----------
    suite
        Who takes part, and what errors are.
    batch
        Simulations per call, for the batched times.
    repetitions, seconds, clock
        Timed loops of each contender, about how long one takes, and by which clock.
    reference
        Name of a contender (default: the classical one with the smallest error on the coarse grid by the first truth
        at the last time).
    settings
        For the record.
    report
        Told what is being done.

    Raises
    ------
    ValueError
        If the reference is no contender; if the truth diverged.
    """
    _check_reference(suite, reference)
    outcomes = {}
    for contender in suite.contenders:
        report(contender.name)
        outcomes[contender.name] = _judged(suite, contender)
    works = {contender.work_key: partial(contender.work, suite.draws) for contender in suite.contenders}
    timing: dict[str, Any] = {"batch": batch, "repetitions": repetitions, "seconds": seconds, "clock": clock}
    times = time_steps(works, report=report, **timing)
    points = {}
    for contender in suite.contenders:
        errors, frequency, diverged, horizons = outcomes[contender.name]
        step = times[contender.work_key]
        cost = {
            call: StepTime(*(frequency * t for t in (s.lower, s.median, s.upper)))
            for call, s in zip(CALLS, step, strict=True)
        }
        points[contender.name] = Point(contender, errors, frequency, cost, diverged, horizons)
    found = Fronts(suite, points, reference or "", {**(settings or {}), **timing})
    return Fronts(suite, points, reference or _best_classical(found), found.settings)


Judged = tuple[dict[str, np.ndarray], float, int, dict[str, dict[str, np.ndarray]]]


def _judged(suite: Suite, contender: Contender) -> Judged:
    """Errors by truth, steps per unit of time, the number of diverged simulations, and horizons by truth."""
    outcome = contender.run(suite.draws)
    errors, horizons = {}, {}
    with np.errstate(all="ignore"):
        for name, truth in suite.truths.items():
            found = np.asarray(suite.error(outcome.fields, truth(contender)), np.float64)
            errors[name] = np.where(np.isfinite(found), found, np.inf)
            horizons[name] = {each.name: each.of(outcome.fields, truth(contender)) for each in suite.horizons}
    failed = outcome.failed | ~np.isfinite(next(iter(errors.values()))).all(axis=1)
    kept = outcome.frequency[~failed]
    frequency = float(kept.mean()) if kept.size else float("nan")
    return errors, frequency, int(failed.sum()), horizons


def _check_reference(suite: Suite, reference: str | None) -> None:
    names = [contender.name for contender in suite.contenders]
    if reference is not None and reference not in names:
        near = [name for name in names if name.split(" ")[0] == reference.split(" ")[0]] or names
        raise ValueError(f"no contender is called {reference!r}; valid: {', '.join(near)}")


def _best_classical(found: Fronts) -> str:
    """The classical contender with the smallest error on the coarse grid."""
    suite, truth = found.suite, next(iter(found.suite.truths))
    classical = [n for n, p in found.points.items() if p.contender.kind == "classical"]
    coarse = [n for n in classical if found.points[n].contender.points == suite.coarse]
    return min(coarse or classical or list(found.points), key=lambda name: found.error(name, truth))
