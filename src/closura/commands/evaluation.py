"""``closura evaluate``: methods side by side from the same held-out initial conditions."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax

from closura.commands.closures import command_tables, default_settings, load_closures, physics_of, trainings_of
from closura.commands.console import console
from closura.commands.options import Group, Repeated, given, parse_groups, use_precision
from closura.commands.problems import EVALUATIONS, FITS, check_baselines, named_problem, options_of
from closura.commands.results import deliver, numbers_and_folder, provenance
from closura.core.metric import METRICS
from closura.parts import NotAllWritten
from closura.problems import PROBLEMS, build_problem, family
from closura.runs.configuration import to_plain
from closura.seeds import key_of
from closura.settings import Count, NotNegative, Positive, Seed, Settings
from closura.simulation.evaluate import evaluate
from closura.simulation.saved import check_replaceable, configuration_of, load_simulations, load_store, saver


@dataclass(frozen=True)
class EvaluateOptions(Settings):
    """What to run and where the results go.

    Parameters
    ----------
    closure
        A run folder, a weights file (.safetensors, or the published .npz and .pt), or "advection" or "burgers", which
        come with the package; may be given several times. NAME=PATH gives it another name in the table.
    preset
        "paper": the published physics, oversights included; "default": ours.
    simulations
        Number of held-out simulations.
    steps
        Coarse steps of each.
    members
        Members of an ensemble of each method that draws random numbers, from each initial condition.
    climate
        Time of free runs of every method, all of them together: statistics of the long run are compared; 0: none.
    climate_runs
        How many runs share that time.
    threshold
        Relative error that still counts as low: steps until it is exceeded are counted (default: the problem's).
    seed
        Seed of the initial conditions.
    data_dir
        Folder whose subfolders mnist/ and fashion-mnist/ hold IDX image files.
    out
        Folder for table.json, table.csv, figures and report.html.
    json
        File for the table's numbers alone.
    save
        Keep all simulated fields in this zarr folder.
    start
        Start from the initial conditions and the reference in a zarr folder written by --save, with its physics.
    overwrite
        Let --save replace what is there.
    timing
        Measure the wall time of each method's step.
    """

    closure: Repeated[tuple[str, ...]] = ()
    preset: Literal["paper", "default"] = "default"
    simulations: Count = 100
    steps: Count = 50
    members: Count = 1
    climate: NotNegative = 0.0
    climate_runs: Count = 64
    threshold: Positive | None = None
    seed: Seed = 0
    data_dir: Path | None = None
    out: Path | None = None
    json: Path | None = None
    save: Path | None = None
    start: Path | None = None
    overwrite: bool = False
    timing: bool = True


def run_evaluate(arguments: Sequence[str]) -> Any:
    """Parse the command's arguments, evaluate, print the table and write what was asked for."""
    if arguments and arguments[0] in EVALUATIONS:
        check_baselines(arguments[0])
        words = arguments[1:] if arguments[0] in FITS else arguments
        return EVALUATIONS.find(arguments[0])(words)
    options, configuration = parse_evaluate(arguments)
    outputs = numbers_and_folder(options, stores={"--save": options.save}, inputs={"--start": options.start})
    if options.save:
        check_replaceable(options.save, overwrite=options.overwrite)
    use_precision(configuration)
    if options.start:
        # Initial conditions and reference come from the file: no images are needed, and its words describe them.
        images = {"images": "synthetic"} if hasattr(configuration, "images") else {}
        problem = build_problem(replace(configuration, **images), "test")
        store, described = load_store(options.start, problem)
        described = {**described, "preset": physics_of(configuration)}
    else:
        problem, store = build_problem(configuration, "test", data_dir=options.data_dir), None
        described = {"preset": physics_of(configuration), "seed": str(options.seed)}
    closures, own = load_closures(options.closure, configuration, problem, arguments)
    settings = provenance(
        "evaluate", arguments, problem=to_plain(configuration), preset=options.preset, seed=options.seed
    )
    fields: list[Any] = []
    with console.status("simulating") as status:
        result = evaluate(
            problem,
            closures,
            simulations=options.simulations,
            steps=options.steps,
            key=evaluation_key(options.seed),
            store=store,
            frames=51,
            members=options.members,
            climate=options.climate,
            climate_runs=options.climate_runs,
            threshold=options.threshold,
            own=own,
            metrics=METRICS.added().values(),
            save=(lambda *found: fields.append(found)) if options.save else None,
            timing=options.timing,
            description=described,
            configuration=settings,
            report=lambda name: status.update(f"simulating {name}"),
        )
    deliver(
        outputs,
        result,
        title=f"Closures of {problem.name}",
        runs=trainings_of(options.closure),
        writers={"--save": lambda path: saver(path, problem, settings, overwrite=options.overwrite)(*fields[0])},
        configuration=command_tables(options, configuration, arguments, problem=arguments[0]),
    )
    if result.unmeasured:
        raise NotAllWritten(result.unmeasured, {})
    return result


def evaluation_key(seed: int) -> jax.Array:
    """The key of held-out initial conditions: never one that training with the same seed uses."""
    return jax.random.fold_in(key_of(seed), 0x7E57)


def parse_evaluate(arguments: Sequence[str]) -> tuple[EvaluateOptions, Any]:
    """Resolve the preset, the first run folder, the saved simulations and the options.

    Grid and ratio default to those that the first closure was trained on, and so does the physics with the preset
    "default"; with ``--start`` all of it is that of the saved simulations.
    """
    found = named_problem(arguments, "evaluate", others=FITS)
    name = PROBLEMS.names()[0] if found is None else found.name
    default = default_settings(name, arguments)
    started = given(arguments, "--start")["--start"]
    if started:
        default = _saved_problem(started, name)
    options, problem = parse_groups(
        arguments if found is None else arguments[1:],
        options_of(EvaluateOptions, found),
        Group(default),
        prog=f"closura evaluate {shlex.quote(arguments[0]) if found else 'PROBLEM'}",
        description="Methods side by side from the same held-out initial conditions.",
    )
    fixed = ("simulations", "steps", "seed", "preset", "data_dir")
    if started and (problem != default or any(getattr(options, n) != _DEFAULTS[n] for n in fixed)):
        raise ValueError(
            f"{started} decides the physics and the initial conditions: leave out options of the problem, and "
            f"{', '.join('--' + name.replace('_', '-') for name in fixed)} ({default} was saved)"
        )
    return options, problem


def _saved_problem(path: str, name: str) -> Any:
    try:
        values = configuration_of(load_simulations(path))["problem"]
        return family(name).settings(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not say which {name} problem it belongs to: {error}") from error


_DEFAULTS = {f.name: f.default for f in fields(EvaluateOptions)}
