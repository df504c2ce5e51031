"""An evaluation of methods that solve conservation laws: what is run, and what was found."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float64

from closura.evaluation.laws.catalogue import LawProblem
from closura.evaluation.laws.measure import (
    Score,
    cell_size,
    conservation_error,
    errors,
    geometric_mean,
    mean_score,
    shock_position,
    total_variation,
)  # fmt: skip
from closura.evaluation.laws.methods import Method, rival_of
from closura.evaluation.laws.references import conserved, reference, shocks
from closura.evaluation.laws.simulate import Simulated, Steps, simulate, step_cost
from closura.fields.initial import InitialCondition
from closura.metrics.statistics import mean_interval
from closura.seeds import generator_of

Scores = dict[str, dict[str, dict[int, Score]]]
"""By method, initial condition, cells."""


@dataclass(frozen=True)
class Study:
    """What is to be run.

    Parameters
    ----------
    problem
        The law with its defaults.
    initial
        Initial conditions by the names that the user gave them.
    cells
        Grids: cells along the first axis.
    steps
        How long steps are.
    time
        End of all simulations; None: each condition's own.
    shifts
        Average over this many random shifts by less than a cell, for conditions that may be shifted; 0 for none.
    seed
        Of the shifts and of random initial conditions.
    customary
        Which reference stands in for an exact solution (:func:`closura.evaluation.laws.references.reference`).
    """

    problem: LawProblem
    initial: Mapping[str, InitialCondition]
    cells: tuple[int, ...]
    steps: Steps
    time: float | None = None
    shifts: int = 0
    seed: int = 0
    customary: bool = True

    def __post_init__(self) -> None:
        if self.time is not None and not self.time > 0:
            raise ValueError(f"the time must be positive; got {self.time:g}")
        if not self.initial or not self.cells:
            raise ValueError("need at least one initial condition and one grid")
        if self.shifts < 0:
            raise ValueError(f"the number of shifts must not be negative; got {self.shifts}")

    def end(self, condition: InitialCondition) -> float:
        """When a condition's simulation ends."""
        return condition.time if self.time is None else self.time

    @property
    def drawn_cells(self) -> int:
        """The grid of figures: 128 cells where that is one of the grids, else the first."""
        return 128 if 128 in self.cells else self.cells[0]

    def members(self, condition: InitialCondition, cells: int) -> list[InitialCondition]:
        """The condition itself, or its shifted copies; the same for all methods."""
        if not self.shifts or not condition.can_be_shifted:
            return [condition]
        # Periodic waves without a jump in two dimensions are shifted along both axes.
        parts = generator_of(self.seed).uniform(-0.5, 0.5, (self.shifts, condition.dimensions))
        spacing = condition.extent[0] / cells
        return [condition.shifted(*(spacing * part).tolist()) for part in parts]


@dataclass(frozen=True, eq=False)
class LawEvaluation:
    """What was found.

    Parameters
    ----------
    study
        What was run.
    methods
        By name, in display order.
    scores
        By method, initial condition and cells.
    cost
        Milliseconds per step on the grid of figures, where they were measured.
    traces
        Simulations with snapshots, by method and initial condition (:mod:`closura.evaluation.laws.traces`).
    scatter
        Errors of random initial conditions (:mod:`closura.evaluation.laws.scatter`), or None.
    settings
        How to repeat it, including ``"command"``.
    """

    study: Study
    methods: Mapping[str, Method]
    scores: Scores
    cost: Mapping[str, float] = field(default_factory=dict)
    traces: Mapping[str, Any] = field(default_factory=dict)
    scatter: Any = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the methods with learned weights."""
        return tuple(name for name, method in self.methods.items() if method.learned)

    def error(self, method: str, initial: str, cells: int, norm: str) -> float:
        """One error; infinite where the simulation diverged."""
        return self.scores[method][initial][cells].error(norm)

    def mean(self, method: str, cells: int, norm: str) -> float:
        """Geometric mean over the initial conditions; infinite where one diverged."""
        return geometric_mean([self.error(method, name, cells, norm) for name in self.study.initial])

    def ratio(self, method: str, cells: int, norm: str) -> float:
        """The geometric mean by that of the rival (:func:`closura.evaluation.laws.methods.rival_of`); NaN if none."""
        return quotient(self.mean(method, cells, norm), self.mean(rival_of(method, self.methods), cells, norm))

    def best_scheme(self, cells: int, norm: str) -> str | None:
        """The classical scheme with the smallest geometric mean error on a grid; None without one."""
        schemes = [name for name, method in self.methods.items() if not method.learned]
        return min(schemes, key=lambda name: self.mean(name, cells, norm), default=None)

    def beside(self, method: str, other: str, cells: int, norm: str) -> tuple[float, float, float]:
        """Ratio of geometric means of errors, and its 95 % interval over the initial conditions (Student's t).

        NaN where one is not finite or not positive; no interval from a single initial condition.
        """
        pairs = [
            (self.error(method, name, cells, norm), self.error(other, name, cells, norm)) for name in self.study.initial
        ]
        if not all(math.isfinite(value) and value > 0 for pair in pairs for value in pair):
            return (math.nan,) * 3
        mean, low, high = mean_interval(np.log([own / rival for own, rival in pairs]))
        return math.exp(mean), math.exp(low), math.exp(high)

    @property
    def failures(self) -> list[dict[str, Any]]:
        """Every simulation that diverged: method, initial condition, cells, first bad step and cell, what was wrong."""
        return [
            {
                "method": method,
                "initial": initial,
                "cells": cells,
                "step": score.failed_step,
                "cell": list(score.failed_cell or ()),
                "what": score.failure,
            }
            for method, by_initial in self.scores.items()
            for initial, by_cells in by_initial.items()
            for cells, score in by_cells.items()
            if score.diverged
        ]


def quotient(a: float, b: float) -> float:
    """``a / b``; NaN where ``b`` is zero or not finite, infinite where only ``a`` is infinite."""
    return a / b if math.isfinite(b) and b > 0 else math.nan


def run_study(
    study: Study,
    methods: Mapping[str, Method],
    *,
    timing: bool = False,
    report: Callable[[str], None] = lambda _: None,
    settings: Mapping[str, Any] | None = None,
) -> LawEvaluation:
    """Run every method from all initial conditions on all grids.

    Parameters
    ----------
    study
        What to run.
    methods
        By name, in display order.
    timing
        Measure what a step costs.
    report
        Told what is being done.
    settings
        For the record.

    Raises
    ------
    ValueError
        If a grid is too small, steps are too long, or an initial state is none of the law's.
    """
    scores: Scores = {name: {initial: {} for initial in study.initial} for name in methods}
    for cells in study.cells:
        owners = [(name, member) for name, c in study.initial.items() for member in study.members(c, cells)]
        members = [member for _, member in owners]
        ends = [study.end(member) for member in members]
        truths: list[Any] = []
        for name, method in methods.items():
            report(f"{name}, {cells} cells")
            found = simulate(method, members, cells, ends, study.steps)
            if not truths:
                report(f"reference, {cells} cells")
                truths = [truth_of(study, *args) for args in zip(members, found, ends, strict=True)]
            parts: dict[str, list[Score]] = {}
            for (owner, member), one, truth in zip(owners, found, truths, strict=True):
                parts.setdefault(owner, []).append(judge(member, one, truth))
            for owner, several in parts.items():
                scores[name][owner][cells] = mean_score(several)
    cost = {}
    if timing:
        first = next(iter(study.initial.values()))
        for name, method in methods.items():
            report(f"cost of {name}")
            cost[name] = step_cost(method, first, study.drawn_cells)
    return LawEvaluation(study, dict(methods), scores, cost, settings=dict(settings or {}))


@dataclass(frozen=True, eq=False)
class Truth:
    """The solution at an end: its state, and its shocks with the values on both sides."""

    initial: Float64[np.ndarray, "component *grid"]
    state: Float64[np.ndarray, "component *grid"]
    shocks: tuple[tuple[float, tuple[float, float]], ...] = ()


def truth_of(study: Study, condition: InitialCondition, one: Simulated, end: float) -> Truth:
    """The solution on the grid of a simulation."""
    law = study.problem.law
    points = condition.points(one.state.shape[1:])
    known = []
    for place in shocks(condition, end):
        aside = 1e-3 * condition.extent[0]
        sides = np.clip([place - aside, place + aside], condition.lower[0], condition.upper[0])
        values = reference(law, condition, (sides,), end)[0]
        known.append((float(place), (float(values[0]), float(values[1]))))
    start = conserved(law, condition(*points))
    return Truth(start, reference(law, condition, points, end, customary=study.customary), tuple(known))


def judge(condition: InitialCondition, one: Simulated, truth: Truth) -> Score:
    """Compare one simulation with the solution, in the first conserved variable."""
    state, exact = one.state[0], truth.state[0]
    steps, size = float(one.steps), cell_size(condition, state.shape)
    if one.failed_step is not None:
        lost = (math.inf,) * 3
        return Score(
            *lost, steps=steps, diverged=True, failed_step=one.failed_step, failed_cell=one.failed_cell,
            failure=one.failure,
        )  # fmt: skip
    l1, l2, linf = errors(state - exact, size)
    variation = total_variation(state, condition)
    places = [(shock_position(state, condition, place, sides), place) for place, sides in truth.shocks]
    missed = [abs(found - place) for found, place in places if math.isfinite(found)]
    score = Score(
        l1,
        l2,
        linf,
        variation=variation,
        variation_excess=variation - total_variation(exact, condition),
        conservation=conservation_error(truth.initial[0], state, condition),
        shock=float(np.mean(missed)) if missed else None,
        steps=steps,
    )
    return score if math.isfinite(l1) else replace(score, diverged=True, failure="not finite")
