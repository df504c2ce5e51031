"""``closura interpret``: a closure's action beside the optimal one, and as an equation."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from closura.commands.closures import command_tables, named_closure, trained_settings
from closura.commands.console import console
from closura.commands.evaluation import evaluation_key
from closura.commands.options import HELP, Group, given, parse_groups, use_precision
from closura.commands.problems import is_place
from closura.commands.results import Outputs, provenance
from closura.interpretation import Study, correlation_figure, interpret, interpretation_figure
from closura.io.closures import load_closure
from closura.io.files import check_folder, write_atomically
from closura.io.weights import read_header
from closura.parts import Parts
from closura.plain import to_json
from closura.problems.registry import PROBLEMS, build_problem
from closura.reporting.formatting import bounded
from closura.reporting.table import Table, print_table
from closura.runs.configuration import problem_preset, to_plain
from closura.settings import Count, NotNegative, Seed, Settings

Physics = Literal["paper", "default"]


@dataclass(frozen=True)
class InterpretOptions(Settings):
    """What to interpret, and where the results go.

    Parameters
    ----------
    problem
        The problem of a weights file; runs know theirs.
    preset
        "paper": the published physics; "default": the physics that a run was trained on, or ours. Without it: the
        published physics for published weights (.npz, .pt), as "default" for the rest.
    simulations
        Number of held-out simulations; equations are fitted to every other one and evaluated on the rest.
    step
        Step whose actions are interpreted (published: 17).
    terms
        Largest number of terms of an equation.
    gain
        A term is kept if the equation without it explains at least this share of the variance less.
    seed
        Seed of the initial conditions.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    out
        Folder for interpretation.json and the figures.
    """

    problem: str = ""
    preset: Physics | None = None
    simulations: Count = 50
    step: Count = 17
    terms: Count = 8
    gain: NotNegative = 0.005
    seed: Seed = 0
    data_dir: Path | None = None
    out: Path | None = None


def run_interpret(arguments: Sequence[str]) -> Study:
    """Parse the command's arguments, interpret, print correlations and equations, write what was asked for."""
    path, options, configuration = parse_interpret(arguments)
    name, outputs = named_closure(path)[0], Outputs(folders={"--out": options.out})
    use_precision(configuration)
    problem = build_problem(configuration, "test", data_dir=options.data_dir)
    closure = load_closure(path, problem.spec)
    with console.status("simulating"):
        study = interpret(
            problem,
            closure,
            simulations=options.simulations,
            step=options.step,
            key=evaluation_key(options.seed),
            maximum_terms=options.terms,
            minimum_gain=options.gain,
        )
    settings = provenance("interpret", arguments, settings=to_plain(configuration), seed=options.seed)
    title = f"{name} on {problem.name}"
    written: list[Path] = []
    outputs.deliver(
        {"--out": lambda out: written.extend(publish_study(study, out, settings, title=title))},
        partial(print_study, study),
        configuration=command_tables(options, configuration, arguments),
    )
    if written:
        console.print("written: " + ", ".join(str(p) for p in written), soft_wrap=True)
    return study


def print_study(study: Study) -> None:
    """Correlations and equations in the terminal."""
    numbers = study.numbers()
    console.print(
        f"{study.problem.name}: actions at step {study.step} of {numbers['simulations']} held-out simulations; "
        f"{dict(study.problem.description).get('split', 'how they were held out is not said')}",
        soft_wrap=True,
    )
    if study.comparisons:
        rows = []
        for row in numbers["correlations"]:
            known = row["mean"] is not None
            cells = [
                row["formula"],
                f"{bounded(row['mean'], '.3f')} ± {bounded(row['std'], '.3f')}" if known else "not defined",
                f"{row['simulations']}" + (f" ({row['undefined']} not defined)" if row["undefined"] else ""),
                bounded(row["slope"], ".2f"),
            ]
            rows.append((row["component"], cells))
        headings = ["component", "optimal action by", "correlation", "n", "learned / optimal"]
        print_table(Table("", headings, rows, left=("optimal action by",)), console)
    else:
        console.print(f"no optimal action: {study.no_theory}", soft_wrap=True)
    for equation in study.equations:
        console.print(f"{equation.kind}: {equation}", soft_wrap=True)


def publish_study(study: Study, folder: Path, settings: dict[str, Any], *, title: str) -> list[Path]:
    """Write interpretation.json and, where there is something to draw, the figures; returns their paths."""
    check_folder(folder)
    parts = Parts()

    def write(name: str, function: Callable[[Path], Any]) -> None:
        parts.write(name, folder / name, function)

    content = {**study.numbers(), **settings}
    write("interpretation.json", lambda path: write_atomically(path, to_json(content, indent=1) + "\n"))
    if study.comparisons and study.problem.grid.dimensions == 2:
        drawn = partial(interpretation_figure, study.problem, study.trajectories, study.comparisons, title=title)
        write("interpretation.png", drawn)
    if study.comparisons:
        number = len(study.trajectories.state)
        write("correlations.png", partial(correlation_figure, study.comparisons, title=f"{title}, n = {number}"))
    parts.close()
    return list(parts.written.values())


def parse_interpret(arguments: Sequence[str]) -> tuple[str, InterpretOptions, Any]:
    """Resolve the closure, the problem with its settings, and the options."""
    asked_for_help = bool(HELP & set(arguments))
    if (not arguments or arguments[0].startswith("-")) and not asked_for_help:
        raise ValueError("which closure? closura interpret RUN_OR_WEIGHTS ...; a run folder or a file of weights")
    path = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    known = given(arguments[1:], "--preset", "--problem")
    preset: Physics | None = known["--preset"] if known["--preset"] in ("paper", "default") else None
    place = known["--problem"] or ""
    asked = PROBLEMS.find(place).name if is_place(place) or place in PROBLEMS else None
    name: Any = asked or PROBLEMS.names()[0]
    training = trained_settings(path) if path else None
    if training is not None:
        settings = training.problem
        if place and asked != training.name:
            raise ValueError(f"{path} was trained on {training.name}; leave out --problem {place}")
        name = training.name
        if preset == "paper":
            settings = PROBLEMS.find(name).published(settings)
    else:
        if asked is None:
            _check_known(path)
        published = Path(path).suffix in (".npz", ".pt")
        settings = problem_preset(name, preset or ("paper" if published else "default"))
    if PROBLEMS.find(name).where == "interfaces":
        raise ValueError(
            f"closura interpret looks at what closures add in cells, and agents of {name} weigh fluxes: closura "
            f"evaluate {name} --closure {shlex.quote(path or 'RUN_OR_WEIGHTS')} --out FOLDER draws the weights that "
            "they answer with"
        )
    options, settings = parse_groups(
        arguments[1:] if path else arguments,
        Group(InterpretOptions(problem=name)),
        Group(settings),
        prog="closura interpret RUN_OR_WEIGHTS",
        description="A closure's action beside the optimal one, and as an equation.",
    )
    return path, options, settings


def _check_known(path: str) -> None:
    """Refuse weights that were trained on a problem of a file: nothing that they name is executed unasked."""
    if Path(path).suffix != ".safetensors" or not Path(path).exists():
        return
    configuration = read_header(path)["metadata"].get("configuration")
    name = configuration.get("name") if isinstance(configuration, dict) else None
    if isinstance(name, str) and name not in PROBLEMS:
        files = [file[0] for file in configuration.get("files", ())] or ["FILE.py"]
        raise ValueError(f"{path} was trained on {name}; name its file: --problem {shlex.quote(files[0])}")
