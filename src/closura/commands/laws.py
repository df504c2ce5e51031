"""``closura evaluate`` for conservation laws: schemes and closures that weigh stencils, side by side."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from closura.commands.closures import command_tables, named_closure, trainings_of
from closura.commands.console import console
from closura.commands.options import Repeated, parse, use_precision
from closura.commands.results import deliver, numbers_and_folder, provenance
from closura.core import Results
from closura.core.method import Method, StepRule
from closura.initial.condition import End
from closura.numerics.integrators import INTEGRATORS
from closura.numerics.weno import WENO_SCHEMES
from closura.problems.laws.cases import check_method
from closura.problems.laws.catalogue import LAW_PROBLEMS, LawProblem, find_condition
from closura.problems.laws.evaluate import Study, run_study
from closura.problems.laws.fluxes import PROJECTIONS, Projection, Splitting
from closura.problems.laws.methods import SHIPPED, check_names, classical, learned, solver_of
from closura.problems.laws.random_conditions import check_families, random_variables
from closura.problems.laws.snapshots import snapshot_variables
from closura.settings import Count, Natural, Positive, Seed, Settings

METHODS = "weno3-js,weno5-js,weno5-z,teno5"


@dataclass(frozen=True)
class LawOptions(Settings):
    """What to run and where the results go.

    Parameters
    ----------
    initial
        Names of initial conditions, with commas between them (default: the usual ones of the problem).
    cells
        Cells along the first axis, one number or several with commas: 64,128,256 (default 128; 64 for burgers-2d, 48
        for euler-2d; Shu-Osher is usually evaluated at 200).
    methods
        Classical schemes, with commas between them: weno3-js, weno5-js, weno7-js, weno9-js, the same with -z, linear3
        to linear9, teno5.
    closure
        A run folder or a file of weights (.safetensors, or the published .npz); may be given several times. NAME=PATH
        gives it another name. burgers-1d and euler-1d are the trained agents that come with closura. Each runs on the
        stencil that it was trained for.
    integrator
        forward-euler, ssp-rk2, ssp-rk3 or rk4 (default: rk4 for Burgers, ssp-rk3 for Euler).
    courant
        Courant number of all steps (default: 0.1 for Burgers, 0.4 for Euler).
    time_step
        Fixed length of all steps, instead of a Courant number.
    time
        End of all simulations (default: 0.2 for Burgers in one dimension, else each initial condition's own).
    splitting
        Speed of the Lax-Friedrichs splitting: the largest of the grid, of the grid line, or around the interface
        (default: global; line in two dimensions).
    projection
        Weigh the flux's components, its characteristic variables (Euler), or the published transposed projection.
    positivity
        Limit the fluxes of all methods so that density and pressure stay positive (Euler; Courant numbers up to 0.5,
        forward-euler and ssp-rk2 or -rk3); closures that were trained with the limiter always have it.
    boundary
        Another boundary than the initial conditions' own.
    reference
        usual: exact where a formula exists, and for Shu-Osher the customary WENO5-JS on 2000 cells, which published
        numbers refer to; fine: WENO5-Z on an odd multiple of the grid for what has no formula.
    r
        Refuse closures whose stencils have another number of sub-stencils.
    shifts
        Average over this many random shifts by less than a cell, for periodic initial conditions and those with jumps:
        where a shock stands in its cell is luck (default: 16 in one dimension; 0 in two, and the table says so).
    scatter
        Random initial conditions of each family, on random grids; 0 for none.
    seed
        Seed of shifts and random initial conditions.
    json
        File for the errors.
    out
        Folder for table.json, table.csv, figures and report.html.
    timing
        Measure the wall time of each method's step.
    """

    initial: str | None = None
    cells: str | None = None
    methods: str = METHODS
    closure: Repeated[tuple[str, ...]] = ()
    integrator: str | None = None
    courant: Positive | None = None
    time_step: Positive | None = None
    time: Positive | None = None
    splitting: Splitting | None = None
    projection: Projection = "component"
    positivity: bool = False
    boundary: End | None = None
    reference: Literal["usual", "fine"] = "usual"
    r: Count | None = None
    shifts: Natural | None = None
    scatter: Natural = 0
    seed: Seed = 0
    json: Path | None = None
    out: Path | None = None
    timing: bool = True


def run_evaluate_law(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, evaluate, print the tables and write what was asked for."""
    problem, options = parse_evaluate_law(arguments)
    outputs = numbers_and_folder(options)
    results = evaluate_law(problem, options, "evaluate", arguments, snapshots=options.out is not None)
    return deliver(
        outputs,
        results,
        title=f"Methods for the {problem.title}",
        runs=trainings_of(options.closure),
        configuration=command_tables(options, problem=problem.name),
    )


def evaluate_law(
    problem: LawProblem, options: LawOptions, command: str, arguments: Sequence[str], *, snapshots: bool = False
) -> Results:
    """What was asked for; ``command`` and its ``arguments`` are for the record.

    With ``snapshots`` there is what figures of states need.
    """
    use_precision("float64")
    methods = _methods(problem, options)
    study = _study(problem, options, methods)
    first = next(iter(methods.values()))
    solver, step = solver_of(first), first.step
    settings = provenance(
        command,
        arguments,
        problem=problem.name,
        integrator=solver.integrator,
        courant=step.courant,
        time_step=step.dt,
        times={name: study.end(condition) for name, condition in study.initial.items()},
        splitting=solver.splitting,
        projection=options.projection,
        reference=options.reference,
        shifts=study.shifts,
        seed=study.seed,
    )
    with console.status("simulating") as status:

        def said(what: str) -> None:
            status.update(f"simulating: {what}")

        variables: dict[str, Any] = {}
        plane = problem.law.dimensions == 2
        if snapshots and plane:  # references are the largest cost: that of the snapshots serves the errors too
            variables = snapshot_variables(study, methods, report=said)
        results = run_study(study, methods, timing=options.timing, report=said, settings=settings)
        if options.scatter:
            variables |= random_variables(study, methods, options.scatter, report=said)
        if snapshots and not plane:
            variables |= snapshot_variables(study, methods, report=said)
    return results.assign(variables)


def parse_evaluate_law(arguments: Sequence[str]) -> tuple[LawProblem, LawOptions]:
    """The problem and the options."""
    name = arguments[0] if arguments else ""
    if name not in LAW_PROBLEMS:
        raise ValueError(f"unknown problem {name!r}; valid: {', '.join(LAW_PROBLEMS)}")
    problem = LAW_PROBLEMS[name]
    options = parse(
        LawOptions,
        arguments[1:],
        prog=f"closura evaluate {name}",
        description=(
            f"The {problem.title}: schemes and closures from the same initial conditions. Initial conditions: "
            f"{', '.join(problem.names)}; by default {','.join(problem.usual)}."
        ),
    )
    return problem, options


def _methods(problem: LawProblem, options: LawOptions) -> dict[str, Method]:
    """All methods in the order in which they were asked for, schemes first."""
    integrator = options.integrator or problem.integrator
    if integrator not in INTEGRATORS:
        raise ValueError(f"unknown integrator {integrator!r}; valid: {', '.join(INTEGRATORS)}")
    if options.projection != "component" and len(problem.law.components) == 1:
        raise ValueError(
            f"--projection {options.projection} is for systems of equations, and {problem.name} is one equation: leave "
            f"it out (valid for Euler: {', '.join(PROJECTIONS)})"
        )
    if options.courant is not None and options.time_step is not None:
        raise ValueError("steps follow either a Courant number or a fixed length: give --courant or --time-step")
    courant = problem.courant if options.courant is None else options.courant
    how: dict[str, Any] = {
        "step": StepRule(options.time_step, None if options.time_step else courant, even=False),
        "positivity": options.positivity,
        "integrator": integrator,
        "splitting": options.splitting or problem.splitting,
        "projection": options.projection,
    }
    names = _words(options.methods, "methods", required=not options.closure)
    unknown = [name for name in names if name not in WENO_SCHEMES]
    if unknown:
        hint = f" ({unknown[0]} is a closure: --closure {unknown[0]})" if unknown[0] in SHIPPED else ""
        raise ValueError(f"unknown method {unknown[0]!r}{hint}; valid: {', '.join(WENO_SCHEMES)}")
    closures = [named_closure(text) for text in options.closure]
    check_names([*names, *(name for name, _ in closures)])
    methods = {name: classical(name, problem.law, **how) for name in names}
    for name, path in closures:
        methods[name] = learned(path, problem.law, r=options.r, **how)
    return methods


def _study(problem: LawProblem, options: LawOptions, methods: dict[str, Method]) -> Study:
    """What to run, checked before anything is simulated."""
    shifts = problem.shifts if options.shifts is None else options.shifts
    if options.scatter:
        check_families(problem.name)
    positive = options.positivity and problem.name.startswith("euler")  # a scalar law has nothing to keep positive
    names = _words(options.initial, "initial") if options.initial is not None else list(problem.usual)
    grids = [_cells(text) for text in _words(options.cells, "cells")] if options.cells else [problem.cells]
    for what, values in (("initial condition", names), ("number of cells", list(map(str, grids)))):
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ValueError(f"the {what} {twice[0]} was given twice: once is enough")
    initial = {name: find_condition(problem, name, options.boundary) for name in names}
    time = problem.time if options.time is None else options.time
    study = Study(problem, initial, tuple(grids), time, shifts, options.seed, options.reference == "usual")
    for name, method in methods.items():
        for cells in grids:
            check_method(name, method, list(initial.values()), cells, positive=positive)
    return study


def _words(text: str | None, option: str, *, required: bool = True) -> list[str]:
    words = [word for word in re.split(r"[,\s]+", text or "") if word]
    if required and not words:
        raise ValueError(f"--{option} needs at least one entry; give several with commas between them")
    return words


def _cells(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"--cells takes positive whole numbers with commas between them; got {text!r}")
    return int(text)
