"""The evaluation of schemes and closures for conservation laws: what is run, and the results."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from closura.core import MethodResult, Results, Role
from closura.initial.condition import InitialCondition
from closura.problems.laws.catalogue import LawProblem
from closura.problems.laws.march import positivity_limit
from closura.problems.laws.methods import Method, comparison_of
from closura.problems.laws.metrics import METRICS, Solution, measured
from closura.problems.laws.references import conserved, reference, shocks
from closura.problems.laws.simulations import NEGATIVE, Simulated, Steps, simulate, step_cost
from closura.seeds import generator_of

INITIAL = "initial condition"
"""What a group of simulations is: its shifted copies are averaged."""


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
        Which reference stands in for an exact solution (:func:`closura.problems.laws.references.reference`).
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

    def named(self, method: str, cells: int) -> str:
        """What a method is called on a grid: by its own name where there is one grid alone."""
        return method if len(self.cells) == 1 else f"{method}, {cells} cells"

    def members(self, condition: InitialCondition, cells: int) -> list[InitialCondition]:
        """The condition itself, or its shifted copies; the same for all methods."""
        if not self.shifts or not condition.can_be_shifted:
            return [condition]
        # Periodic waves without a jump in two dimensions are shifted along both axes.
        parts = generator_of(self.seed).uniform(-0.5, 0.5, (self.shifts, condition.dimensions))
        spacing = condition.extent[0] / cells
        return [condition.shifted(*(spacing * part).tolist()) for part in parts]


def run_study(
    study: Study,
    methods: Mapping[str, Method],
    *,
    timing: bool = False,
    report: Callable[[str], None] = lambda _: None,
    settings: Mapping[str, Any] | None = None,
) -> Results:
    """Run every method from all initial conditions on all grids.

    Parameters
    ----------
    study
        What to run.
    methods
        By name, in display order.
    timing
        Measure what a step costs, on the grid of figures.
    report
        Called with what is being done.
    settings
        How to repeat it.

    Returns
    -------
    Results
        Cases are initial conditions (the coordinate ``group``) and their shifted copies. Statistics are over initial
        conditions, of the mean over the copies of each. On several grids a method appears once for each, with
        coordinates ``family`` (its name) and ``points``. ``compared_with`` is the scheme that errors are divided by.
        Figures and tables take further variables of :func:`~closura.problems.laws.snapshots.snapshot_variables` and
        :func:`~closura.problems.laws.random_conditions.random_variables`.

    Raises
    ------
    ValueError
        If a grid is too small, steps are too long, or an initial state is none of the law's.
    """
    problem = study.problem
    results: dict[str, MethodResult] = {}
    failed: dict[str, list[Simulated]] = {}
    groups: list[str] = []
    uncorrected = _uncorrected(methods)
    for cells in study.cells:
        members = [(name, member) for name, c in study.initial.items() for member in study.members(c, cells)]
        groups = [name for name, _ in members]
        conditions = [member for _, member in members]
        ends = [study.end(condition) for condition in conditions]
        solutions: list[Solution] = []
        for name, method in methods.items():
            report(f"{name}, {cells} cells")
            found = simulate(method, conditions, cells, ends, study.steps)
            if not solutions:
                report(f"reference, {cells} cells")
                solutions = [solution_of(study, *each) for each in zip(conditions, found, ends, strict=True)]
            rows = [measured(*each) for each in zip(conditions, found, solutions, strict=True)]
            own = f"weno{2 * method.r - 1}-js"
            key = study.named(name, cells)
            failed[key] = found
            results[key] = MethodResult(
                # The scheme whose stencil closures weigh is the one that they correct.
                Role.CLOSURE if method.learned else Role.UNCORRECTED if name == uncorrected else Role.BASELINE,
                {metric: np.asarray([row[metric] for row in rows]) for metric in METRICS},
                parameters=method.parameters,
                corrects=study.named(own, cells) if method.learned and own in methods else "",
                facts={
                    "family": name,
                    "points": cells,
                    "compared_with": study.named(comparison_of(name, methods), cells),
                    "scheme": "" if method.learned else method.dynamics.scheme,
                },
            )
    if timing:
        first = next(iter(study.initial.values()))
        for name, method in methods.items():
            report(f"cost of {name}")
            key = study.named(name, study.drawn_cells)
            cost = step_cost(method, first, study.drawn_cells)
            results[key] = MethodResult(**{**vars(results[key]), "milliseconds_per_step": cost})
    ordered = {study.named(name, cells): results[study.named(name, cells)] for name in methods for cells in study.cells}
    return Results.build(
        problem.name,
        ordered,
        METRICS.values(),
        error=problem.norm,
        groups=groups,
        components=problem.law.primitives,
        variables=_failures(study, ordered, failed, methods),
        description={"split": _run(study, methods)},
        provenance=settings,
        samples=INITIAL,
        quantity=problem.quantity,
        drawn_cells=study.drawn_cells,
    )


def _uncorrected(methods: Mapping[str, Method]) -> str | None:
    """WENO-JS on the stencil of the first closure (without one, of five points), if it takes part."""
    size = next((method.r for method in methods.values() if method.learned), 3)
    name = f"weno{2 * size - 1}-js"
    return name if name in methods and not methods[name].learned else None


def solution_of(study: Study, condition: InitialCondition, found: Simulated, end: float) -> Solution:
    """The solution on the grid of a simulation."""
    law = study.problem.law
    points = condition.points(found.state.shape[1:])
    known = []
    for place in shocks(condition, end):
        aside = 1e-3 * condition.extent[0]
        sides = np.clip([place - aside, place + aside], condition.lower[0], condition.upper[0])
        values = reference(law, condition, (sides,), end)[0]
        known.append((float(place), (float(values[0]), float(values[1]))))
    start = conserved(law, condition(*points))
    return Solution(start, reference(law, condition, points, end, customary=study.customary), tuple(known))


def _failures(
    study: Study,
    results: Mapping[str, MethodResult],
    found: Mapping[str, list[Simulated]],
    methods: Mapping[str, Method],
) -> dict[str, Any]:
    """The first bad step and cell of every simulation, what was wrong there, and what may help; else -1 and ""."""
    dimensions = study.problem.law.dimensions
    cases = len(next(iter(found.values())))
    shape = (len(results), cases)
    steps, cells = np.full(shape, -1), np.full((*shape, dimensions), -1)
    what, remedy = np.full(shape, "", object), np.full(shape, "", object)
    for row, (key, result) in enumerate(results.items()):
        for case, one in enumerate(found[key]):
            if one.failed_step is not None:
                steps[row, case], cells[row, case] = one.failed_step, one.failed_cell
                what[row, case] = one.failure
                remedy[row, case] = _remedy(study, methods[result.facts["family"]], one.failure)
            elif not math.isfinite(result.values["l1"][case]):
                what[row, case] = "not finite"
    each = ("method", "case")
    return {
        "failed_step": (each, steps), "failed_cell": ((*each, "axis"), cells),
        "failure": (each, what.astype(str)), "remedy": (each, remedy.astype(str)),
    }  # fmt: skip


def _remedy(study: Study, method: Method, failure: str | None) -> str:
    """What is left to try after a failure, by what was wrong and what was done already; nothing where nothing is."""
    dynamics = method.dynamics
    limit = positivity_limit(dynamics.integrator)
    if failure == NEGATIVE:
        # A scheme that undershoots does so at any step: what keeps density and pressure positive is the limiter.
        if limit is None:
            return "--positivity with --integrator ssp-rk3 and --courant 0.5 or less"
        beyond = study.steps.time_step is None and study.steps.courant > limit
        short = f" with --courant {limit:g} or less" if beyond else ""
        if not dynamics.positivity:
            return f"--positivity{short}"
        return f"the limiter needs --courant {limit:g} or less" if beyond else ""
    systems = len(study.problem.law.components) > 1
    found = ["--projection characteristic"] if systems and dynamics.projection == "component" else []
    found.append("a smaller " + ("--time-step" if study.steps.time_step is not None else "--courant"))
    return " or ".join(found)


def _run(study: Study, methods: Mapping[str, Method]) -> str:
    """What was run, in one line."""
    dynamics = next(iter(methods.values())).dynamics
    length = f"Courant number {study.steps.courant:g}"
    if study.steps.time_step is not None:
        length = f"time step {study.steps.time_step:g}"
    ends = sorted({study.end(condition) for condition in study.initial.values()})
    end = f"t = {ends[0]:g}" if len(ends) == 1 else "each initial condition's own time"
    projection = f"{dynamics.projection}-wise"
    if dynamics.projection == "transposed":
        projection = "transposed characteristic projection"
    text = f"{dynamics.integrator}, {length}, up to {end}; {dynamics.splitting} splitting, {projection}"
    if study.shifts:
        text += f"; mean over {study.shifts} random shifts by less than a cell where the initial condition allows it"
    elif any(condition.can_be_shifted for condition in study.initial.values()):
        text += "; not averaged over where fronts stand in their cells, which is luck (--shifts 16 does)"
    return (
        f"{text}. Errors are those of point values at cell centres, against exact solutions where formulas exist, else "
        "simulations on much finer grids."
    )
