"""``closura evaluate kolmogorov-closure`` and ``kolmogorov-rom``, ``closura rollout``: what was fitted to flows."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from closura.commands.console import console
from closura.commands.evaluation import named_closure
from closura.commands.filtering import check_output
from closura.evaluation.flows import (
    ClosureEvaluation,
    ClosureStudy,
    ClosureSubject,
    ModelEvaluation,
    ModelStudy,
    ModelSubject,
    Rollout,
    choose_starts,
    closure_tables,
    load_closure_subject,
    load_model_subject,
    model_tables,
    publish_closures,
    publish_models,
    run_closure_study,
    run_model_study,
    write_rollout,
)
from closura.evaluation.flows.closure_study import Scoring, read_frames, spread_frames
from closura.evaluation.flows.look import print_blocks
from closura.evaluation.flows.model_study import LYAPUNOV, climate_frames
from closura.evaluation.flows.rollouts import check_closure
from closura.evaluation.flows.subjects import (
    ROWS,
    check_fits,
    choose_stretches,
    common_filter,
    leaks,
    other_reynolds,
)
from closura.reduced.filters import BoxFilter, Filter, GaussianFilter, SpectralCutoff
from closura.runs.environment import describe_environment
from closura.runs.fitting import presets  # noqa: F401 - closures and models register themselves
from closura.trajectories import FlowData, open_flow

CLIMATE = 200
"""Training frames of the climatology row."""


@dataclass(frozen=True)
class FilterOptions:
    """The filter, where no closure says which it was fitted with.

    Parameters
    ----------
    kind
        "spectral" (sharp cut-off), "gaussian" or "box".
    cutoff
        Largest wavenumber that is kept (spectral).
    width
        Width of the Gaussian or box filter, in units of length (the box is 2 pi).
    """

    kind: Literal["spectral", "gaussian", "box"] | None = None
    cutoff: float | None = None
    width: float | None = None

    def filter(self) -> Filter | None:
        """The filter that was asked for.

        Raises
        ------
        ValueError
            If a number is missing, or given for another kind.
        """
        kind = self.kind or ("spectral" if self.cutoff is not None else None)
        if kind is None:
            if self.width is not None:
                raise ValueError("--filter.width needs --filter.kind gaussian or box")
            return None
        number, other = (self.cutoff, self.width) if kind == "spectral" else (self.width, self.cutoff)
        needed = "cutoff" if kind == "spectral" else "width"
        if number is None or other is not None:
            raise ValueError(f"a {kind} filter takes --filter.{needed}, and nothing else")
        if kind == "spectral":
            return SpectralCutoff(number)
        return GaussianFilter(number) if kind == "gaussian" else BoxFilter(number)


@dataclass(frozen=True)
class ClosureOptions:
    """What to judge, on which frames.

    Parameters
    ----------
    closure
        Run folders or files of weights of closures; NAME=PATH gives another name.
    data
        The data set, a zarr folder.
    json
        File for the numbers.
    out
        Folder for table.json, table.csv, figures and report.html.
    trajectories
        Trajectories of the data set (default: those that no closure has seen in training or validation).
    allow_leak
        Score trajectories that were named although a closure has seen them.
    members
        Size of the ensembles.
    frames
        Frames of each trajectory, evenly spread (default 100).
    every
        Instead: every so manieth frame.
    filter
        The filter, where no closure says.
    scoring
        "fair", or "published": the formulas of the published notebooks, labelled as such.
    seed
        Seed of the samples.
    """

    closure: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    data: Path | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[int, ...] = ()
    allow_leak: bool = False
    members: int = 50
    frames: int | None = None
    every: int | None = None
    filter: FilterOptions = field(default_factory=FilterOptions)
    scoring: Scoring = "fair"
    seed: int = 0


@dataclass(frozen=True)
class ModelOptions:
    """What to judge, from where.

    Parameters
    ----------
    rom
        Run folders of reduced-order models; NAME=PATH gives another name.
    data
        The data set, a zarr folder.
    closure
        A closure's run folder: closes the runs.
    json
        File for the numbers.
    out
        Folder for table.json, table.csv, figures and report.html.
    trajectories
        Trajectories of the data set (default: those that no model has seen in training or validation).
    allow_leak
        Judge on trajectories that were named although a model has seen them.
    steps
        Steps of each run; forecasts are judged as far as the data go, the rest by its statistics.
    members
        Members of each ensemble.
    starts
        Starts per trajectory, spread over its first half; a single one is at its beginning.
    slice
        Steps of the slices of long runs; no more than --steps.
    lyapunov
        Leading Lyapunov exponent per unit of time (default: 0.068 at Reynolds number 34 with forcing 4, else unknown);
        0 leaves Lyapunov times out.
    seed
        Seed of all noise.
    """

    rom: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    data: Path | None = None
    closure: str | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[int, ...] = ()
    allow_leak: bool = False
    steps: int = 1600
    members: int = 20
    starts: int = 4
    slice: int = 200
    lyapunov: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class RolloutOptions:
    """An ensemble of a reduced-order model.

    Parameters
    ----------
    run
        The model's run folder.
    start
        The data set, a zarr folder, whose filtered frames runs start from.
    out
        The zarr folder to write: a trajectory for each member of each start. Not the one that runs start from.
    steps
        Steps, and frames that are written.
    members
        Members per start.
    closure
        A closure's run folder: every member gets one of its samples per frame.
    trajectory
        Start from this trajectory (default 0).
    trajectories
        Start from several.
    first_frame
        First frame of the window that runs start from.
    seed
        Seed of all noise.
    overwrite
        Replace a data set of flows that is there.
    """

    run: tyro.conf.Positional[Path]
    start: Path
    out: Path
    steps: int = 1600
    members: int = 50
    closure: str | None = None
    trajectory: int | None = None
    trajectories: tuple[int, ...] = ()
    first_frame: int = 0
    seed: int = 0
    overwrite: bool = False


def run_evaluate_closure(arguments: Sequence[str]) -> ClosureEvaluation:
    """Parse the command's arguments, score closures beside the rows that all tables have, and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    FileNotFoundError
        If there is no data set or closure.
    """
    options = tyro.cli(
        ClosureOptions,
        prog="closura evaluate kolmogorov-closure",
        args=one_each(arguments, "--closure"),
        description="Closures side by side: from filtered frames of held-out flows to full ones.",
    )
    if not options.closure:
        raise ValueError("which closures? give --closure RUN [RUN ...], runs of closura train kolmogorov-closure")
    _check_places(options)
    data = _data(options.data)
    if options.members < 2 or options.seed < 0:
        raise ValueError(f"need at least 2 members and a seed >= 0; got {options.members} and {options.seed}")
    subjects = [load_closure_subject(name, path) for name, path in _named(options.closure)]
    notes = []
    for subject in subjects:
        check_fits(subject.name, subject.metadata, data)
        if not subject.metadata.get("train"):
            notes.append(f"{subject.name} does not say which simulations it has seen: whether frames leak is unknown.")
    filtering = common_filter(subjects, data.points, options.filter.filter())
    stretches = choose_stretches(subjects, data, options.trajectories or None, allow_leak=options.allow_leak)
    for subject in subjects:
        told = other_reynolds(subject.metadata, data, [s.trajectory for s in stretches])
        notes += [f"{subject.name} was {told}."] if told else []
    notes += _leak_note(leaks(subjects, data, stretches))
    frames = tuple(spread_frames(stretch, options.frames, options.every) for stretch in stretches)
    study = ClosureStudy(data, filtering, stretches, frames, options.members, options.seed, options.scoring)
    settings = _settings("kolmogorov-closure", arguments)
    with _bar("scoring", "frames") as report:
        evaluation = run_closure_study(study, subjects, notes=notes, settings=settings, report=report)
    print_blocks(closure_tables.blocks(evaluation), evaluation.closures, console)
    if options.json:
        closure_tables.write_json(evaluation, options.json)
    if options.out:
        with console.status("drawing figures, writing the report"):
            published = publish_closures(evaluation, options.out)
        console.print(f"report: {published.report}", soft_wrap=True)
    return evaluation


def run_evaluate_model(arguments: Sequence[str]) -> ModelEvaluation:
    """Parse the command's arguments, judge reduced-order models, and write what was asked for.

    Raises
    ------
    ValueError
        If anything that was asked for cannot be done; one line with a remedy.
    FileNotFoundError
        If there is no data set, model or closure.
    """
    options = tyro.cli(
        ModelOptions,
        prog="closura evaluate kolmogorov-rom",
        args=one_each(arguments, "--rom"),
        description="Reduced-order models side by side: forecasts of held-out flows, and long runs.",
    )
    if not options.rom:
        raise ValueError("which models? give --rom RUN [RUN ...], runs of closura train kolmogorov-rom")
    _check_places(options)
    data = _data(options.data)
    for name in ("members", "steps", "slice", "starts"):
        least = 2 if name == "members" else 1
        if getattr(options, name) < least:
            raise ValueError(f"--{name} must be at least {least}; got {getattr(options, name)}")
    if options.slice > options.steps:
        raise ValueError(
            f"--slice {options.slice} is longer than the runs of --steps {options.steps}: give --slice "
            f"{options.steps} or less, or more --steps"
        )
    if options.lyapunov is not None and options.lyapunov < 0:
        raise ValueError(f"the Lyapunov exponent must not be negative; got {options.lyapunov:g}")
    models = [load_model_subject(name, path) for name, path in _named(options.rom)]
    for model in models:
        check_fits(model.name, model.metadata, data)
    closure = None if options.closure is None else _closure(options.closure)
    judged: list[Any] = [*models, *([closure] if closure is not None else [])]
    if closure is not None:
        check_closure(models[0], closure, data)
    stretches = choose_stretches(judged, data, options.trajectories or None, allow_leak=options.allow_leak)
    starts = choose_starts(models, data, stretches, options.starts, options.steps)
    reynolds = {float(data.reynolds[s.trajectory]) for s in stretches}
    known = LYAPUNOV.get(reynolds.pop()) if len(reynolds) == 1 and data.forcing == 4 else None
    lyapunov = known if options.lyapunov is None else options.lyapunov or None
    study = ModelStudy(
        data, stretches, starts, options.steps, options.members, options.slice, closure, lyapunov, options.seed
    )
    notes = _leak_note(leaks(judged, data, stretches))
    climate = climate_frames(models[0], closure.climatology if closure else None, _training_frames)
    settings = _settings("kolmogorov-rom", arguments)
    with _bar("running", "steps") as report:
        evaluation = run_model_study(study, models, climate=climate, notes=notes, settings=settings, report=report)
    print_blocks(model_tables.blocks(evaluation), evaluation.models, console)
    if options.json:
        model_tables.write_json(evaluation, options.json)
    if options.out:
        with console.status("drawing figures, writing the report"):
            published = publish_models(evaluation, options.out)
        console.print(f"report: {published.report}", soft_wrap=True)
    return evaluation


def run_rollout(arguments: Sequence[str]) -> Rollout:
    """Parse the command's arguments and write an ensemble of a reduced-order model; the last lines say what there is.

    Raises
    ------
    ValueError
        If the start does not fit the model; one line with a remedy.
    FileExistsError, FileNotFoundError
        If the output is there, or an input is not.
    Interrupted
        If asked to stop; nothing is left under the output's name.
    """
    options = tyro.cli(
        RolloutOptions,
        prog="closura rollout",
        args=list(arguments),
        description="Write an ensemble of a reduced-order model, closed or not, as a data set of flows.",
    )
    if options.trajectory is not None and options.trajectories:
        raise ValueError("one start or several: give --trajectory or --trajectories")
    trajectories = options.trajectories or (options.trajectory if options.trajectory is not None else 0,)
    model = load_model_subject(options.run.resolve().name, options.run)
    closure = None if options.closure is None else _closure(options.closure)
    with _bar("running", "frames") as report:
        result = write_rollout(
            model,
            _data(options.start, "--start"),
            options.out,
            trajectories=trajectories,
            first_frame=options.first_frame,
            steps=options.steps,
            members=options.members,
            closure=closure,
            seed=options.seed,
            overwrite=options.overwrite,
            report=lambda done, total: report("", done, total),
        )
    for note in result.notes:
        console.print(note, soft_wrap=True)
    end = result.steps * result.data.interval
    console.print(
        f"{result.data.path}: {result.starts} x {result.members} members of {result.steps} steps (t = {end:g}), "
        f"{'closed, ' if closure else ''}{result.data.points} x {result.data.points} points",
        soft_wrap=True,
    )
    if result.diverged:
        first = min(result.diverged.values())
        console.print(
            f"{len(result.diverged)} of {result.data.trajectories} members are not finite, from frame {first} at the "
            "earliest; they are kept, and listed in the attribute 'diverged'",
            soft_wrap=True,
        )
    return result


EVALUATIONS: dict[str, Callable[[Sequence[str]], Any]] = {
    "kolmogorov-closure": run_evaluate_closure,
    "kolmogorov-rom": run_evaluate_model,
}


def one_each(arguments: Sequence[str], option: str) -> list[str]:
    """``--option A B`` as ``--option A --option B``: several after one flag, or the flag several times."""
    found: list[str] = []
    listing, first = False, False
    for word in arguments:
        if word.startswith("-"):
            listing = first = word == option
            found.append(word)
            continue
        if listing and not first:
            found.append(option)
        first = False
        found.append(word)
    return found


def _named(texts: Sequence[str]) -> list[tuple[str, Path]]:
    pairs = [named_closure(text) for text in texts]
    names = [name for name, _ in pairs]
    for name in names:
        if name in ROWS:
            raise ValueError(f"{name} is the name of a row that every table has: give another with NAME=PATH")
        if names.count(name) > 1:
            raise ValueError(f"two are called {name}: give one another name with NAME=PATH")
    return pairs


def _closure(text: str) -> ClosureSubject:
    return load_closure_subject(*named_closure(text))


def _check_places(options: ClosureOptions | ModelOptions) -> None:
    """Refuse outputs that cannot be written, before anything is run."""
    if options.json is not None:
        check_output(options.json, "--json")
    if options.out is not None:
        check_output(options.out, "--out", folder=True)


def _data(path: Path | None, option: str = "--data") -> FlowData:
    if path is None:
        raise ValueError(f"which data? give {option} FILE.zarr; make one with: closura data generate kolmogorov --help")
    return open_flow(path)


def _leak_note(trajectories: Sequence[int]) -> list[str]:
    if not trajectories:
        return []
    return [f"LEAK: trajectories {', '.join(map(str, trajectories))} were seen in training or validation."]


def _settings(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    return {"command": f"closura evaluate {name} {shlex.join(arguments)}", "environment": describe_environment()}


def _training_frames(model: ModelSubject) -> np.ndarray | None:
    """Some full training frames of a model, if its data are still where they were."""
    try:
        data = open_flow(str(model.metadata.get("data", "")))
    except (OSError, ValueError):
        return None
    segments = list(model.metadata.get("train", ()))
    frames = []
    for segment in segments:
        trajectory = int(segment["trajectory"])
        if trajectory >= data.trajectories or data.identities[trajectory] != segment["simulation"]:
            return None
        numbers = np.arange(segment["start"], min(segment["stop"], data.frames), segment["step"])
        count = min(len(numbers), max(1, CLIMATE // len(segments)))
        chosen = numbers[np.linspace(0, len(numbers) - 1, count).astype(int)]
        frames.append(read_frames(data, trajectory, np.unique(chosen)))
    return np.concatenate(frames) if frames else None


@contextmanager
def _bar(verb: str, unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar with the time left; a line per row and fifth where there is no terminal."""
    if not console.is_terminal:
        said: dict[str, int] = {}

        def line(name: str, done: int, total: int) -> None:
            fifth = 5 * done // max(total, 1)
            if fifth > said.get(name, 0):
                said[name] = fifth
                console.print(f"{verb} {name}: {done} of {total} {unit}".replace(" :", ":"), soft_wrap=True)

        yield line
        return
    columns = (
        SpinnerColumn(), TextColumn(verb), TextColumn("{task.fields[words]}"), BarColumn(),
        TextColumn("{task.completed} of {task.total} " + unit), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(verb, total=total, words=name)
            bar.update(tasks[name], completed=done)

        yield show
