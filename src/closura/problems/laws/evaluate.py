"""The evaluation of schemes and closures for conservation laws: what is run, and the results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr

from closura.core import Results, Role
from closura.core.case import Case
from closura.core.method import Method
from closura.grids import Grid
from closura.initial.condition import InitialCondition
from closura.problems.laws.cases import check_method, law_cases, positivity_limit
from closura.problems.laws.catalogue import LawProblem
from closura.problems.laws.methods import comparison_of, solver_of
from closura.problems.laws.metrics import METRICS
from closura.problems.laws.references import references, shocks
from closura.seeds import generator_of
from closura.simulation.simulate import simulate, stored_reference

INITIAL = "initial condition"
"""What a group of simulations is: its shifted copies are averaged."""
BATCH = 32
"""Simulations side by side: larger batches leave the cache and are no faster."""
SOLUTION = "solution"


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
    time
        End of all simulations; None: each condition's own.
    shifts
        Average over this many random shifts by less than a cell, for conditions that may be shifted; 0 for none.
    seed
        Of the shifts and of random initial conditions.
    customary
        Which reference stands in for an exact solution (:func:`closura.problems.laws.references.references`).
    """

    problem: LawProblem
    initial: Mapping[str, InitialCondition]
    cells: tuple[int, ...]
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
    """Run every method from all initial conditions on all grids; ``timing`` on the grid of figures alone.

    Cases of the results are initial conditions (the coordinate ``group``) and their shifted copies. Statistics are over
    initial conditions, of the mean over the copies of each. On several grids a method appears once for each, with
    coordinates ``family`` (its name) and ``points``. ``compared_with`` is the scheme that errors are divided by.
    Figures and tables take further variables of :func:`~closura.problems.laws.snapshots.snapshot_variables` and
    :func:`~closura.problems.laws.random_conditions.random_variables`.

    Raises
    ------
    ValueError
        If a grid is too small, steps are too long, or an initial state is none of the law's.
    """
    found = []
    for cells in study.cells:
        members = [(name, member) for name, c in study.initial.items() for member in study.members(c, cells)]
        timed = timing and cells == study.drawn_cells
        about: dict[str, Any] = {"provenance": settings, "description": {"split": _run(study, methods)}}
        found.append(compare(study, methods, members, cells, timing=timed, report=report, **about))
    names = [study.named(name, cells) for name in methods for cells in study.cells]
    how: dict[str, Any] = dict.fromkeys(("data_vars", "coords"), "minimal") | {"combine_attrs": "override"}
    data = xr.concat([each.data for each in found], "method", compat="override", **how).sel({"method": names})
    failures = [str(each) for each in data["failure"].values.ravel()]
    families = np.repeat(data["family"].values, data.sizes["case"])
    remedies = [_remedy(methods[str(name)], what) for name, what in zip(families, failures, strict=True)]
    remedy = np.asarray(remedies).reshape(data["failure"].shape)
    return Results(data.assign(remedy=(("method", "case"), remedy)))


def compare(
    study: Study,
    methods: Mapping[str, Method],
    members: Sequence[tuple[str, InitialCondition]],
    cells: int,
    *,
    timing: bool = False,
    report: Callable[[str], None] = lambda _: None,
    **about: Any,
) -> Results:
    """All methods from conditions, each with the name of its group, on one grid; ``about`` goes into the results."""
    problem, conditions = study.problem, [member for _, member in members]
    for name, method in methods.items():
        check_method(name, method, conditions, cells)
    groups = list(dict.fromkeys(name for name, _ in members))
    ends = [study.end(condition) for condition in conditions]
    grid = Grid((cells,) * problem.law.dimensions)
    report(f"reference, {cells} cells")
    numbers = [groups.index(name) for name, _ in members]
    cases = law_cases(problem.law, conditions, cells, ends=ends, groups=numbers)
    solution = [
        references(problem.law, c, c.points(grid.shape), (0.0, end), customary=study.customary)
        for c, end in zip(conditions, ends, strict=True)
    ]
    uncorrected = _uncorrected(methods)
    chosen = {}
    for name, method in methods.items():
        own = f"weno{2 * solver_of(method).r - 1}-js"
        chosen[study.named(name, cells)] = replace(
            method,
            # The scheme whose stencil closures weigh is the one that they correct.
            role=Role.UNCORRECTED if name == uncorrected else method.role,
            corrects=study.named(own, cells) if method.role.learned and own in methods else "",
            facts={
                "family": name,
                "points": cells,
                "compared_with": study.named(comparison_of(name, methods), cells),
                "scheme": "" if method.role.learned else solver_of(method).scheme,
            },
        )
    known = {"family": SOLUTION, "points": cells, "compared_with": "", "scheme": ""}
    found = simulate(
        problem.name,
        {**chosen, SOLUTION: replace(stored_reference(grid, np.asarray(solution)), facts=known)},
        _with_shocks(study, cases, conditions, ends),
        reference=SOLUTION,
        times=(1.0,),
        grid=grid,
        metrics=METRICS,
        error=problem.norm,
        groups=groups,
        timing=timing,
        batch=BATCH,
        progress=report,
        components=problem.law.primitives,
        samples=INITIAL,
        quantity=problem.quantity,
        drawn_cells=study.drawn_cells,
        **about,
    )
    return found.select(list(chosen))


def _with_shocks(study: Study, cases: Case, conditions: Sequence[InitialCondition], ends: Sequence[float]) -> Case:
    """Cases with the places of shocks at the end and the values on their two sides, and the domain's lower end."""
    known = [shocks(condition, end) for condition, end in zip(conditions, ends, strict=True)]
    most = max(len(places) for places in known)
    at, sides = np.full((len(known), most), np.nan), np.full((len(known), most, 2), np.nan)
    for row, (condition, end, places) in enumerate(zip(conditions, ends, known, strict=True)):
        aside = 1e-3 * condition.extent[0]
        for k, place in enumerate(places):
            beside = np.clip([place - aside, place + aside], condition.lower[0], condition.upper[0])
            at[row, k] = place
            sides[row, k] = references(study.problem.law, condition, (beside,), (end,))[0][0]
    lower = np.asarray([condition.lower[0] for condition in conditions])
    measured = {"lower": jnp.asarray(lower), "shocks": jnp.asarray(at), "sides": jnp.asarray(sides)}
    known_cases: Case = eqx.tree_at(lambda c: c.parameters, cases, {**cases.parameters, **measured})
    return known_cases


def _uncorrected(methods: Mapping[str, Method]) -> str | None:
    """WENO-JS on the stencil of the first closure (without one, of five points), if it takes part."""
    size = next((solver_of(method).r for method in methods.values() if method.role.learned), 3)
    name = f"weno{2 * size - 1}-js"
    return name if name in methods and not methods[name].role.learned else None


def _remedy(method: Method, failure: str) -> str:
    """What is left to try after a failure, by what was wrong and what was done already; nothing where nothing is."""
    solver, step = solver_of(method), method.step
    if not failure:
        return ""
    limit = positivity_limit(solver.integrator)
    if failure == solver.invalid:
        # A scheme that undershoots does so at any step: what keeps density and pressure positive is the limiter.
        if limit is None:
            return "--positivity with --integrator ssp-rk3 and --courant 0.5 or less"
        beyond = step.courant is not None and step.courant > limit
        short = f" with --courant {limit:g} or less" if beyond else ""
        if not solver.positivity:
            return f"--positivity{short}"
        return f"the limiter needs --courant {limit:g} or less" if beyond else ""
    systems = len(solver.law.components) > 1
    found = ["--projection characteristic"] if systems and solver.projection == "component" else []
    found.append("a smaller " + ("--time-step" if step.dt is not None else "--courant"))
    return " or ".join(found)


def _run(study: Study, methods: Mapping[str, Method]) -> str:
    """What was run, in one line."""
    first = next(iter(methods.values()))
    solver, step = solver_of(first), first.step
    length = f"Courant number {step.courant:g}" if step.dt is None else f"time step {step.dt:g}"
    ends = sorted({study.end(condition) for condition in study.initial.values()})
    end = f"t = {ends[0]:g}" if len(ends) == 1 else "each initial condition's own time"
    projection = f"{solver.projection}-wise"
    if solver.projection == "transposed":
        projection = "transposed characteristic projection"
    text = f"{solver.integrator}, {length}, up to {end}; {solver.splitting} splitting, {projection}"
    if study.shifts:
        text += f"; mean over {study.shifts} random shifts by less than a cell where the initial condition allows it"
    elif any(condition.can_be_shifted for condition in study.initial.values()):
        text += "; not averaged over where fronts stand in their cells, which is luck (--shifts 16 does)"
    return (
        f"{text}. Errors are those of point values at cell centres, against exact solutions where formulas exist, else "
        "simulations on much finer grids."
    )
