"""``closura report``: what runs have learned, in one HTML file to send to a colleague."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from closura.commands.closures import named_closure, physics_of, training_of
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key
from closura.commands.laws import evaluate_law, parse_evaluate_law
from closura.commands.options import Group, Positional, parse_groups, use_precision
from closura.commands.results import Outputs, provenance
from closura.core import METRICS, Results
from closura.core.results_file import FILE
from closura.io.closures import load_closure
from closura.parts import Parts
from closura.problems import PROBLEMS, as_evaluated, build_problem
from closura.reporting.figure import FIGURES, write_figures
from closura.reporting.publish import draw_trainings, shading
from closura.reporting.report import small, write_report
from closura.runs import RunFolder
from closura.runs.configuration import TrainConfiguration, to_plain
from closura.settings import Count, Positive, Seed, Settings
from closura.simulation import earlier
from closura.simulation.evaluate import evaluate

INTRODUCTION = (
    "A closure is a function that was learned to correct a coarse simulation at every step. Here closures stand "
    "beside the same solver without them, beside classical schemes on the same grid, and beside the finer simulation "
    "that is taken for the reference, all from the same initial conditions, with what a step of each costs. Errors are "
    "what the tables call them; the words under the tables say relative to what, and on which data.",
)


@dataclass(frozen=True)
class ReportOptions(Settings):
    """What to report and how to evaluate it.

    Parameters
    ----------
    out
        The file to write.
    simulations
        Number of held-out simulations.
    steps
        Coarse steps of each.
    seed
        Seed of the initial conditions.
    threshold
        Relative error that still counts as low (default: the problem's).
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    title
        Title of the page.
    frames
        Moments whose fields are kept, for the animation (the largest part of the file).
    timing
        Measure the wall time of each method's step.
    """

    out: Path = Path("report.html")
    simulations: Count = 100
    steps: Count = 100
    seed: Seed = 0
    threshold: Positive | None = None
    data_dir: Path | None = None
    title: str = ""
    frames: Count = 51
    timing: bool = True


@dataclass(frozen=True)
class _Arguments:
    runs: Annotated[
        Positional[tuple[str, ...]],
        "run folders, or folders written by closura evaluate --out; NAME=PATH gives another name",
    ]


class _Run(NamedTuple):
    folder: RunFolder
    configuration: TrainConfiguration


def run_report(arguments: Sequence[str]) -> Path:
    """Parse the command's arguments, evaluate the runs and write the report."""
    parsed, options = parse_groups(
        arguments,
        Group(_Arguments),
        Group(ReportOptions),
        prog="closura report",
        description="What runs have learned, evaluated on held-out simulations, in one HTML file.",
    )
    outputs = Outputs(files={"--out": options.out})
    runs, ready = _sort(parsed.runs)
    if options.frames < 2:
        raise ValueError(f"need at least two frames; got {options.frames}")
    weighing = [name for name, run in runs.items() if _weighs(run)]
    if weighing and len(weighing) < len(runs):
        others = ", ".join(name for name in runs if name not in weighing)
        raise ValueError(f"{', '.join(weighing)} weigh fluxes, in double precision: report them apart from {others}")
    for run in runs.values():
        use_precision(run.configuration.problem)
    evaluations: dict[str, Results] = {}
    figures: dict[str, dict[str, Path]] = {}
    parts = Parts()
    with tempfile.TemporaryDirectory() as scratch:
        trainings = {name: training_of(run.folder, name) for name, run in runs.items()}
        for number, (heading, names) in enumerate(_shared(runs).items()):
            chosen = {name: runs[name] for name in names}
            shaded = shading([trainings[name]["configuration"] for name in names])
            with console.status("simulating, drawing figures"):
                evaluations[heading] = (score_law if weighing else evaluate_runs)(chosen, options, arguments)
                draw = partial(write_figures, evaluations[heading], Path(scratch) / str(number), options=shaded)
                figures[heading] = parts.include(draw)
        for name, folder in ready.items():
            evaluations[name] = results = open_results(folder)
            new = partial(write_figures, results, Path(scratch) / f"of {name}", known=FIGURES.added())
            figures[name] = kept_figures(folder / "figures", parts) | parts.include(new)
        parts.failures |= {what: why for each in evaluations.values() for what, why in each.unmeasured.items()}
        write = partial(
            write_report,
            title=options.title or f"Closures: {', '.join([*runs, *ready])}",
            comparisons=evaluations,
            figures=figures,
            notes=INTRODUCTION,
            runs=draw_trainings(trainings, Path(scratch), parts),
            failures=parts.failures,
        )
        outputs.deliver({"--out": write})
    parts.close()
    return options.out


def open_results(folder: Path) -> Results:
    """Results in a folder, of this version or an earlier one."""
    if (folder / FILE).exists():
        return Results.open(folder)
    return earlier.read_evaluation(folder / earlier.FILE)


def kept_figures(folder: Path, parts: Parts) -> dict[str, Path]:
    """The figures of an evaluation by name, and what cannot be shown among the failures.

    Links are not followed: of a received folder nothing is shown but its own files.
    """
    if folder.is_symlink() or not folder.is_dir():
        return {}
    kept = sorted(path for path in folder.iterdir() if path.is_file() and not path.is_symlink())
    shown = [path for path in kept if path.suffix in (".png", ".gif", ".svg")]
    return {path.stem: path for path in shown if parts.write(str(path), path, small) is not None}


def evaluate_runs(runs: Mapping[str, _Run], options: ReportOptions, arguments: Sequence[str]) -> Results:
    """The closures of runs that share reference and baselines, side by side; each corrects its own solver."""
    settings = as_evaluated(next(iter(runs.values())).configuration.problem)
    problem = build_problem(settings, "test", data_dir=options.data_dir)
    own = {
        name: build_problem(run.configuration.problem, "test", data_dir=options.data_dir) for name, run in runs.items()
    }
    return evaluate(
        problem,
        {name: load_closure(run.folder.path, own[name].spec) for name, run in runs.items()},
        simulations=options.simulations,
        steps=options.steps,
        key=evaluation_key(options.seed),
        frames=options.frames,
        threshold=options.threshold,
        own=own,
        metrics=METRICS.added().values(),
        timing=options.timing,
        description={"preset": physics_of(settings), "seed": str(options.seed)},
        configuration=provenance("report", arguments, problem=to_plain(settings), seed=options.seed),
    )


def score_law(runs: Mapping[str, _Run], options: ReportOptions, arguments: Sequence[str]) -> Results:
    """Closures that weigh the fluxes of one law, from its named initial conditions, with the defaults of evaluate."""
    problem = next(iter(runs.values())).configuration.name
    closures = [part for name, run in runs.items() for part in ("--closure", f"{name}={run.folder.path}")]
    timing = [] if options.timing else ["--no-timing"]
    law, chosen = parse_evaluate_law([problem, *closures, "--seed", str(options.seed), *timing])
    return evaluate_law(law, chosen, "report", arguments, snapshots=True)


def _sort(texts: Sequence[str]) -> tuple[dict[str, _Run], dict[str, Path]]:
    """Run folders, and folders of finished evaluations, by name."""
    if not texts:
        raise ValueError("which run? closura report RUN [RUN ...]")
    runs: dict[str, _Run] = {}
    ready: dict[str, Path] = {}
    for text in texts:
        name, path = named_closure(text)
        if name in runs or name in ready:
            raise ValueError(f"two runs are called {name}: give one another name with NAME=PATH")
        if any((path / name).exists() for name in (FILE, earlier.FILE)):
            ready[name] = path
        elif RunFolder(path).holds_run:
            runs[name] = _Run(RunFolder(path), RunFolder(path).read_configuration())
        else:
            raise ValueError(
                f"{path} is neither a run folder (no configuration.json) nor one that closura evaluate --out wrote "
                "(no results.nc)"
            )
    return runs, ready


def _weighs(run: _Run) -> bool:
    """Whether its closure weighs the fluxes of a conservation law."""
    return PROBLEMS.find(run.configuration.name).where == "interfaces"


def _shared(runs: Mapping[str, _Run]) -> dict[str, list[str]]:
    """Names of the runs that are evaluated together, under headings that tell the groups apart."""
    together: list[tuple[Any, list[str]]] = []
    for name, run in runs.items():
        settings = as_evaluated(run.configuration.problem)
        if _weighs(run):
            settings = type(settings)()  # evaluated on named initial conditions, whatever they were trained on
        same = next((names for known, names in together if known == settings), None)
        if same is None:
            together.append((settings, [name]))
        else:
            same.append(name)
    headings: dict[str, list[str]] = {}
    for settings, names in together:
        problem = runs[names[0]].configuration.name
        usual = type(settings)()
        changed = [
            f"{f.name.replace('_', ' ')} {getattr(settings, f.name)}"
            for f in fields(settings)
            if getattr(settings, f.name) != getattr(usual, f.name)
        ]
        headings[f"{problem.capitalize()}{': ' if changed else ''}{', '.join(changed)}"] = names
    return headings
