"""``closura benchmark``: error against cost, of classical methods on all grids and steps and of closures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from closura.closures import AnyClosure
from closura.commands.closures import default_settings, given_settings, named_closures, own_problem, own_settings
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key
from closura.commands.options import argument, parse, use_precision
from closura.commands.results import Outputs, command_line
from closura.commands.turbulence import FLOWS
from closura.evaluation.fronts import (
    BENCHMARKS,
    CELL_SUITES,
    FRACTIONS,
    Fronts,
    Ladder,
    Suite,
    front_figure,
    horizon_figure,
    law_suite,
    page,
    print_fronts,
    run_benchmark,
    write_csv,
    write_json,
)
from closura.files import check_folder, write_atomically
from closura.interop import load_closure
from closura.parts import Parts, file_name
from closura.problems import Dynamics, build_problem
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.methods import learned
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.settings import Count, Positive, Seed, Settings


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
    reference
        Name of the contender that all are compared with (default: the best classical one on the coarse grid).
    scale
        "quick": few simulations, small grids, a truth on a smaller grid, for a look.
    batch
        Simulations per call, where several are advanced together.
    repetitions
        Timed loops of each contender (default 9; quick 3).
    clock
        "wall", or on a busy processor "processor": the time that this process had on it (pin it to one core).
    seed
        Seed of the beginnings.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    json
        File for all numbers.
    out
        Folder for table.md, table.csv, fronts.json and a figure per truth and time.
    """

    grids: tuple[Count, ...] = ()
    courant: tuple[Positive, ...] = ()
    schemes: tuple[str, ...] = ()
    closure: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    preset: Literal["paper", "default"] = "default"
    simulations: Count | None = None
    times: tuple[Positive, ...] = ()
    reference: str | None = None
    scale: Literal["full", "quick"] = "full"
    batch: Count = 8
    repetitions: Count | None = None
    clock: Literal["wall", "processor"] = "wall"
    seed: Seed = 0
    data_dir: Path | None = None
    json: Path | None = None
    out: Path | None = None


def run_benchmark_command(arguments: Sequence[str]) -> Fronts:
    """Parse the command's arguments, run, print the table and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    FileNotFoundError
        If there is no closure at a path, or images are missing.
    """
    options, configuration = parse_benchmark(arguments)
    quick = options.scale == "quick"
    simulations = options.simulations if options.simulations is not None else (4 if quick else 100)
    repetitions = options.repetitions if options.repetitions is not None else (3 if quick else 9)
    outputs = Outputs(files={"--json": options.json}, folders={"--out": options.out})
    ladder = Ladder(
        options.grids, options.courant, options.schemes, options.times, FRACTIONS[1:] if quick else FRACTIONS, quick
    )
    use_precision("float64" if configuration is None else configuration.precision)
    make = _law_suite if configuration is None else partial(_cell_suite, configuration)
    suite = make(arguments, options, ladder, simulations)
    settings = {
        "command": command_line("benchmark", arguments),
        "problem": arguments[0] if configuration is None else to_plain(configuration),
        "preset": options.preset,
        "seed": options.seed,
        "environment": describe_environment(),
    }
    with console.status("simulating") as status:
        found = run_benchmark(
            suite, batch=options.batch, repetitions=repetitions, clock=options.clock,
            reference=options.reference, settings=settings, report=lambda what: status.update(f"running {what}"),
        )  # fmt: skip
    outputs.deliver(
        {"--json": partial(write_json, found), "--out": partial(publish, found)}, partial(print_fronts, found, console)
    )
    if options.out:
        console.print(f"tables and figures: {options.out}", soft_wrap=True)
    return found


def publish(fronts: Fronts, folder: Path) -> Path:
    """Write tables and figures of a benchmark into a folder.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is.
    """
    check_folder(folder)
    parts = Parts()

    def write(name: str, function: Callable[[Path], Any]) -> None:
        parts.write(name, folder / name, function)

    write("fronts.json", partial(write_json, fronts))
    write("table.csv", partial(write_csv, fronts))
    write("table.md", lambda path: write_atomically(path, page(fronts)))
    several = len(fronts.suite.times) > 1
    for truth in fronts.suite.truths:
        for time, label in enumerate(fronts.suite.times):
            suffix = f"-t{label}" if several else ""
            write(f"front-{file_name(truth)}{suffix}.png", partial(front_figure, fronts, truth, time=time))
        if fronts.suite.horizons:
            write(f"follow-{file_name(truth)}.png", partial(horizon_figure, fronts, truth))
    parts.close()
    return folder


def _cell_suite(
    configuration: Any, arguments: Sequence[str], options: BenchmarkOptions, ladder: Ladder, simulations: int
) -> Suite:
    """The suite of a problem whose closures stand in cells."""
    problem = build_problem(configuration, "test", data_dir=options.data_dir)
    given = given_settings(arguments)
    closures: dict[str, AnyClosure] = {}
    own: dict[str, Dynamics] = {}
    known = FLOWS if problem.name in FLOWS else (problem.name,)
    for name, path in named_closures(options.closure).items():
        settings = own_settings(path, configuration, given, known, command="benchmark")
        theirs = problem if settings is None else own_problem(settings)
        closures[name] = load_closure(path, theirs.decision)
        if theirs is not problem:
            own[name] = theirs.dynamics
    return CELL_SUITES[problem.name](
        problem, configuration, ladder, closures, own, simulations=simulations, key=evaluation_key(options.seed)
    )


def _law_suite(arguments: Sequence[str], options: BenchmarkOptions, ladder: Ladder, simulations: int) -> Suite:
    """The suite of a conservation law."""
    problem = LAW_PROBLEMS[arguments[0]]
    closures: dict[str, Callable[..., Any]] = {
        name: partial(learned, name, path, problem.law) for name, path in named_closures(options.closure).items()
    }
    return law_suite(problem, ladder, closures, simulations=simulations, seed=options.seed)


def parse_benchmark(arguments: Sequence[str]) -> tuple[BenchmarkOptions, Any]:
    """The options, and the problem's settings (None for conservation laws): preset, first run folder, options."""
    name = arguments[0] if arguments else ""
    if name not in BENCHMARKS and not {"-h", "--help"} & set(arguments):
        raise ValueError(f"which problem? closura benchmark PROBLEM ...; valid: {', '.join(BENCHMARKS)}")
    default = default_settings(name, arguments) if name in CELL_SUITES else None
    kind = _arguments(default)
    start = {"name": name or BENCHMARKS[0], "options": BenchmarkOptions()}
    parsed = parse(
        kind,
        arguments,
        prog="closura benchmark",
        description="Error against cost: classical methods on all grids and steps, and closures.",
        default=kind(**start) if default is None else kind(**start, problem=_without_step(default)),
    )
    if default is None:
        return parsed.options, None
    return parsed.options, replace(default, **vars(parsed.problem))


def _settings_class(kind: Any) -> Any:
    """Settings of a problem without its Courant number: here ``--courant`` are those of the classical methods."""
    if kind not in _MADE:
        kept: list[Any] = [(f.name, f.type, f) for f in fields(kind) if f.name != "courant"]
        _MADE[kind] = make_dataclass(kind.__name__, kept, frozen=True, namespace={"__doc__": kind.__doc__})
    return _MADE[kind]


def _without_step(configuration: Any) -> Any:
    kept = {f.name: getattr(configuration, f.name) for f in fields(configuration) if f.name != "courant"}
    return _settings_class(type(configuration))(**kept)


_MADE: dict[Any, Any] = {}
_FLAT = tyro.conf.arg(name="")
_Name = Annotated[
    tyro.conf.Positional[Literal["advection", "burgers", "kolmogorov", "turbulence", "burgers-1d", "euler-1d"]],
    argument("the problem"),
]


def _arguments(configuration: Any) -> Any:
    """The arguments of ``closura benchmark`` for one problem."""
    parts: list[Any] = [("name", _Name), ("options", Annotated[BenchmarkOptions, _FLAT])]
    if configuration is not None:
        parts.append(("problem", Annotated[_settings_class(type(configuration)), _FLAT]))
    return make_dataclass("BenchmarkArguments", parts, frozen=True)
