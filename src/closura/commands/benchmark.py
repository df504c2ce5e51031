"""``closura benchmark``: error against cost, of classical methods on all grids and steps and of closures."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from closura.commands.closures import command_tables, default_settings, load_closures, named_closures
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key
from closura.commands.options import HELP, Group, Repeated, parse_groups, use_precision
from closura.commands.problems import is_place, named_problem, options_of
from closura.commands.results import deliver, numbers_and_folder, provenance
from closura.core import METRICS, Results
from closura.core.definition import PROBLEMS
from closura.core.front import FRACTIONS, FRONTS, Benchmark, Sweep
from closura.parts import NotAllWritten
from closura.problems import build_problem
from closura.problems.fronts import described_front
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.front import LAW_BENCHMARKS, law_benchmark
from closura.problems.laws.methods import learned
from closura.problems.statistics import STATISTICS, statistic_metric
from closura.reporting.benchmark.tables import print_fronts
from closura.runs.configuration import to_plain
from closura.settings import Count, Positive, Seed, Settings
from closura.simulation.benchmark import TIMING, run_benchmark
from closura.simulation.sweep import problem_benchmark


@dataclass(frozen=True)
class BenchmarkOptions(Settings):
    """What to run and where the results go.

    Parameters
    ----------
    grids
        Points per side of the classical methods' grids (default: the problem's usual ones).
    courant
        Courant numbers of their time steps; those beyond a scheme's limit are left out (default: 1/4, 1/2 and 0.9 of
        each scheme's own limit).
    schemes
        Classical schemes (default: all that the problem knows).
    closure
        A run folder, a weights file (.safetensors, or the published .npz and .pt), or the name of an agent that comes
        with closura; may be given several times. NAME=PATH gives it another name.
    preset
        "paper": the published physics; "default": ours.
    simulations
        Number of held-out simulations (default 100; quick 4).
    times
        Times at which errors are taken, in units of simulated time (default: the problem's usual ones).
    statistics
        Statistics of fields whose differences from the reference's are errors too (closura list statistics).
    reference
        Name of the method that all are compared with (default: the best classical one on the coarse grid).
    scale
        "quick": few simulations, small grids, a reference on a smaller grid.
    batch
        Simulations per call, where several are advanced together.
    repetitions
        Timed loops of each method (default 9; quick 3).
    clock
        "wall", or on a busy processor "processor": the time that this process had on it (pin it to one core).
    seed
        Seed of the initial conditions.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    json
        File for all numbers.
    out
        Folder for table.md, table.csv, fronts.json and a figure per reference and time.
    """

    grids: tuple[Count, ...] = ()
    courant: tuple[Positive, ...] = ()
    schemes: tuple[str, ...] = ()
    closure: Repeated[tuple[str, ...]] = ()
    preset: Literal["paper", "default"] = "default"
    simulations: Count | None = None
    times: tuple[Positive, ...] = ()
    statistics: tuple[str, ...] = ()
    reference: str | None = None
    scale: Literal["full", "quick"] = "full"
    batch: Count = 8
    repetitions: Count | None = None
    clock: Literal["wall", "processor"] = "wall"
    seed: Seed = 0
    data_dir: Path | None = None
    json: Path | None = None
    out: Path | None = None


def run_benchmark_command(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, run, print the table and write what was asked for."""
    options, configuration = parse_benchmark(arguments)
    quick = options.scale == "quick"
    outputs = numbers_and_folder(options)
    fractions = FRACTIONS[1:] if quick else FRACTIONS
    sweep = Sweep(options.grids, options.courant, options.schemes, options.times, fractions, quick)
    use_precision("float64" if configuration is None else configuration)
    make = _law_benchmark if configuration is None else partial(_cell_benchmark, configuration)
    benchmark = make(arguments, options, sweep, options.simulations or (4 if quick else 100))
    settings = provenance(
        "benchmark",
        arguments,
        problem=arguments[0] if configuration is None else to_plain(configuration),
        preset=options.preset,
        seed=options.seed,
    )
    repetitions = options.repetitions or (3 if quick else 9)
    metrics = [*METRICS.added().values()]
    if benchmark.grid is not None:
        metrics += [statistic_metric(STATISTICS.find(name), benchmark.grid) for name in options.statistics]
    timing = replace(TIMING, batch=options.batch, repetitions=repetitions, clock=options.clock)
    with console.status("simulating") as status:
        found = run_benchmark(
            benchmark, timing=timing, reference=options.reference, metrics=metrics, settings=settings,
            report=lambda what: status.update(f"running {what}"),
        )  # fmt: skip
    deliver(
        outputs,
        found,
        title=f"{found.problem}: error against cost",
        show=partial(print_fronts, found, console),
        configuration=command_tables(options, configuration, arguments, problem=arguments[0]),
    )
    if found.unmeasured:
        raise NotAllWritten(found.unmeasured, {})
    return found


def _cell_benchmark(
    configuration: Any, arguments: Sequence[str], options: BenchmarkOptions, sweep: Sweep, simulations: int
) -> Benchmark:
    """The benchmark of a problem whose closures stand in cells."""
    problem = build_problem(configuration, "test", data_dir=options.data_dir)
    closures, own = load_closures(options.closure, configuration, problem, arguments, command="benchmark")
    front = FRONTS.find(problem.name) if problem.name in FRONTS else described_front
    return problem_benchmark(
        front, problem, configuration, sweep, closures, own, simulations=simulations, key=evaluation_key(options.seed)
    )


def _law_benchmark(arguments: Sequence[str], options: BenchmarkOptions, sweep: Sweep, simulations: int) -> Benchmark:
    """The benchmark of a conservation law."""
    problem = LAW_PROBLEMS[arguments[0]]
    closures: dict[str, Callable[..., Any]] = {
        name: partial(learned, path, problem.law) for name, path in named_closures(options.closure).items()
    }
    return law_benchmark(problem, sweep, closures, simulations=simulations, seed=options.seed)


def parse_benchmark(arguments: Sequence[str]) -> tuple[BenchmarkOptions, Any]:
    """The options, and the problem's settings (None for conservation laws): preset, first run folder, options."""
    name = _problem(arguments)
    default = None if name in LAW_BENCHMARKS else default_settings(name, arguments)
    # Here ``--courant`` are Courant numbers of the classical methods.
    settings = (
        [] if default is None else [Group(default, only=[f.name for f in fields(default) if f.name != "courant"])]
    )
    options, *problem = parse_groups(
        arguments[1:] if arguments and not arguments[0].startswith("-") else arguments,
        options_of(BenchmarkOptions, PROBLEMS.find(name)),
        *settings,
        prog=f"closura benchmark {shlex.quote(arguments[0] if arguments and is_place(arguments[0]) else name)}",
        description="Error against cost: classical methods on all grids and steps, and closures.",
    )
    return options, problem[0] if problem else None


def _problem(arguments: Sequence[str]) -> str:
    """The problem's name; that of the first one for help that names none."""
    first = arguments[0] if arguments else ""
    known = (*FRONTS.names(), *LAW_BENCHMARKS)
    if not is_place(first) and first not in known and not HELP & set(arguments):
        raise ValueError(f"which problem? closura benchmark PROBLEM ...; valid: {', '.join(known)}, or FILE.py")
    found = named_problem(arguments, "benchmark")
    return known[0] if found is None else found.name
