"""``closura evaluate``: methods side by side from the same held-out beginnings."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from closura.closures import AnyClosure
from closura.commands.console import console
from closura.commands.options import argument, pre_parse, use_precision
from closura.commands.settings import physics_of, trained_settings
from closura.evaluation import (
    evaluate,
    load_simulations,
    load_store,
    print_table,
    publish,
    saver,
    write_json,
)
from closura.evaluation.laws import LAW_PROBLEMS
from closura.evaluation.laws.methods import AGENTS
from closura.interop import load_closure
from closura.problems import (
    OF_THE_CLOSURE,
    PROBLEMS,
    Problem,
    ProblemName,
    as_trained,
    build_problem,
    family,
    judged_on,
)
from closura.runs import RunFolder
from closura.runs.configuration import to_plain
from closura.runs.environment import describe_environment
from closura.runs.presets import problem_preset
from closura.runs.tracking import read_metrics

PACKAGED = ("advection",)
"""Closures that come with the package, beside the agents of conservation laws."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What to run and where the results go.

    Parameters
    ----------
    closure
        A run folder, a weights file (.safetensors, or the published .npz and .pt), or "advection", which comes with
        the package; may be given several times. NAME=PATH gives it another name in the table.
    preset
        "paper": the published physics, oversights included; "default": ours.
    simulations
        Number of held-out simulations.
    steps
        Coarse steps of each.
    threshold
        Relative error that still counts as low: steps until it is exceeded are counted (default: the problem's).
    seed
        Seed of the beginnings.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    out
        Folder for table.json, table.csv, figures and report.html.
    json
        File for the table's numbers alone.
    save
        Keep all simulated fields in this zarr folder.
    start
        Start from the beginnings and the truth in a zarr folder written by --save, with its physics.
    overwrite
        Let --save replace what is there.
    timing
        Measure the wall time of each method's step.
    """

    closure: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    preset: Literal["paper", "default"] = "default"
    simulations: int = 100
    steps: int = 50
    threshold: float | None = None
    seed: int = 0
    data_dir: Path | None = None
    out: Path | None = None
    json: Path | None = None
    save: Path | None = None
    start: Path | None = None
    overwrite: bool = False
    timing: bool = True


def run_evaluate(arguments: Sequence[str]) -> Any:
    """Parse the command's arguments, evaluate, print the table and write what was asked for."""
    if arguments and arguments[0] in LAW_PROBLEMS:
        from closura.commands.laws import run_evaluate_law  # it stands on this module

        return run_evaluate_law(arguments)
    if arguments and arguments[0] in ("kolmogorov", "turbulence"):
        from closura.commands.turbulence import run_evaluate_flow

        return run_evaluate_flow(arguments)
    if arguments and arguments[0] in ("kolmogorov-closure", "kolmogorov-rom"):
        from closura.commands.flows import EVALUATIONS

        return EVALUATIONS[arguments[0]](arguments[1:])
    options, configuration = parse_evaluate(arguments)
    if options.threshold is not None and not options.threshold > 0:
        raise ValueError(f"the threshold must be positive; got {options.threshold}")
    if options.simulations < 1 or options.steps < 1:
        raise ValueError(f"need at least one simulation and one step; got {options.simulations} and {options.steps}")
    use_precision(configuration.precision)
    if options.save and options.save.exists() and not options.overwrite:
        raise ValueError(f"{options.save} exists: replace it with --overwrite, or choose another name")
    if options.start:
        # Beginnings and truth come from the file: no images are needed, and its words describe them.
        images = {"images": "synthetic"} if hasattr(configuration, "images") else {}
        problem = build_problem(replace(configuration, **images), "test")
        store, described = load_store(options.start, problem)
        described = {**described, "preset": physics_of(configuration)}
    else:
        problem, store = build_problem(configuration, "test", data_dir=options.data_dir), None
        described = {"preset": physics_of(configuration), "seed": str(options.seed)}
    given = [name for name in OF_THE_CLOSURE if any(_is_option(a, name) for a in arguments)]
    closures, own = _closures(options, configuration, problem, given)
    command = "closura evaluate " + shlex.join(arguments)
    settings = {
        "command": command,
        "problem": to_plain(configuration),
        "preset": options.preset,
        "seed": options.seed,
        "environment": describe_environment(),
    }
    with console.status("simulating") as status:
        result = evaluate(
            problem,
            closures,
            simulations=options.simulations,
            steps=options.steps,
            key=evaluation_key(options.seed),
            store=store,
            frames=51,
            threshold=options.threshold,
            dynamics={name: each.dynamics for name, each in own.items()},
            bases={name: each.names[0] for name, each in own.items()},
            save=saver(options.save, problem, settings, overwrite=options.overwrite) if options.save else None,
            timing=options.timing,
            description=described,
            configuration=settings,
            report=lambda name: status.update(f"simulating {name}"),
        )
    print_table(result, console=console)
    if options.json:
        write_json(result, options.json)
    if options.out:
        with console.status("drawing figures, writing the report"):
            published = publish(
                result, options.out, title=f"Closures of {problem.name}", training=training_of(options.closure)
            )
        console.print(f"report: {published.report}", soft_wrap=True)
    return result


def _closures(
    options: EvaluateOptions, configuration: Any, problem: Problem, given: Sequence[str]
) -> tuple[dict[str, AnyClosure], dict[str, Problem]]:
    """The closures, and the problems of those that were trained to correct another solver than the problem's.

    Settings that belong to a closure are those of its training, but for those ``given`` on the command line.
    """
    closures: dict[str, AnyClosure] = {}
    own: dict[str, Problem] = {}
    for text in options.closure:
        name, path = named_closure(text)
        if name in closures:
            raise ValueError(f"two closures are called {name}: give one another name with --closure NAME=PATH")
        trained, decision = trained_settings(path), problem.decision
        if trained is not None:
            if trained.name != problem.name:
                raise ValueError(f"{path} was trained on {trained.name}: closura evaluate {trained.name} judges it")
            settings = as_trained(configuration, trained.problem, keep=given)
            if settings != configuration:
                # Only its solver and decision are needed: no images.
                images = {"images": "synthetic"} if hasattr(settings, "images") else {}
                own[name] = build_problem(replace(settings, **images), "test")
                decision = own[name].decision
        closures[name] = load_closure(path, decision)
    return closures, own


def _is_option(argument: str, name: str) -> bool:
    option = f"--{name.replace('_', '-')}"
    return argument.split("=", 1)[0] in (option, f"--{name}")


def evaluation_key(seed: int) -> jax.Array:
    """The key of held-out beginnings: never one that training with the same seed uses."""
    return jax.random.fold_in(jax.random.key(seed), 0x7E57)


def named_closure(text: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; without a name it is that of the run folder or file.

    :data:`PACKAGED` are paths too, where there is no file or folder of that name.
    """
    name, separator, rest = text.partition("=")
    if separator and not Path(text).exists():
        return name, _packaged(rest)
    path = _packaged(text)
    if path.is_dir() or (path.name == "weights.safetensors" and RunFolder(path.parent).holds_run):
        return (path if path.is_dir() else path.parent).resolve().name, path
    return path.stem, path


def _packaged(text: str) -> Path:
    return AGENTS / f"{text}.safetensors" if text in PACKAGED and not Path(text).exists() else Path(text)


def training_of(closures: Sequence[str]) -> dict[str, Any] | None:
    """Configuration, metrics and environment of the first closure that is a run folder."""
    for text in closures:
        run = RunFolder(named_closure(text)[1])
        if run.path.is_dir() and run.holds_run:
            return {
                "configuration": to_plain(run.read_configuration()),
                "metrics": read_metrics(run.metrics) if run.metrics.exists() else [],
                "environment": json.loads(run.environment.read_text()) if run.environment.exists() else {},
            }
    return None


def parse_evaluate(arguments: Sequence[str]) -> tuple[EvaluateOptions, Any]:
    """Resolve the preset, the first run folder, the saved simulations and the options.

    Grid and ratio default to those that the first closure was trained on, and so does the physics with the preset
    "default"; with ``--start`` all of it is that of the saved simulations.
    """
    known = pre_parse(arguments, ("--preset",))
    preset: Any = known["--preset"] if known["--preset"] in ("paper", "default") else "default"
    name = arguments[0] if arguments and arguments[0] in PROBLEMS else "advection"
    default = problem_preset(name, preset)
    closures = [arguments[i + 1] for i, a in enumerate(arguments[:-1]) if a == "--closure"]
    closures += [a.removeprefix("--closure=") for a in arguments if a.startswith("--closure=")]
    for text in closures[:1]:
        training = trained_settings(named_closure(text)[1])
        if training is not None and training.name == name:
            trained = training.problem
            default = replace(default, cells=trained.cells, ratio=trained.ratio)
            if preset == "default":
                default = judged_on(trained)
    started = pre_parse(arguments, ("--start",))["--start"]
    if started:
        default = _saved_problem(started, name)
    parsed = tyro.cli(
        _arguments(type(default)),
        prog="closura evaluate",
        args=list(arguments),
        description="Methods side by side from the same held-out beginnings.",
        default=_arguments(type(default))(name=name, options=EvaluateOptions(), problem=default),
    )
    fixed = ("simulations", "steps", "seed", "preset", "data_dir")
    if started and (parsed.problem != default or any(getattr(parsed.options, n) != _DEFAULTS[n] for n in fixed)):
        raise ValueError(
            f"{started} decides the physics and the beginnings: leave out options of the problem, and "
            f"{', '.join('--' + name.replace('_', '-') for name in fixed)} ({default} was saved)"
        )
    return parsed.options, parsed.problem


def _saved_problem(path: str, name: str) -> Any:
    try:
        values = load_simulations(path).configuration["problem"]
        return family(name).configuration(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} does not say which {name} problem it belongs to: {error}") from error


_DEFAULTS = {f.name: f.default for f in fields(EvaluateOptions)}
_FLAT = tyro.conf.arg(name="")


_Name = tyro.conf.Positional[ProblemName]


def _arguments(problem: type) -> Any:
    """The arguments of ``closura evaluate`` for one problem."""
    return make_dataclass(
        "EvaluateArguments",
        [
            ("name", Annotated[_Name, argument("the problem")]),
            ("options", Annotated[EvaluateOptions, _FLAT]),
            ("problem", Annotated[problem, _FLAT]),
        ],
        frozen=True,
    )
