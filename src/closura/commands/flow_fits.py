"""``closura evaluate kolmogorov-closure`` and ``kolmogorov-rom``: fits to flows, on frames that none has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from closura.commands.closures import named_closure
from closura.commands.console import work_bar
from closura.commands.options import Repeated, parse
from closura.commands.results import deliver, numbers_and_folder, provenance
from closura.core import Results
from closura.offline.closure_scoring import score_closures
from closura.offline.comparisons import ClosureComparison, ModelComparison, Scoring, choose_starts, spread_frames
from closura.offline.ensembles import check_closure
from closura.offline.filters import FILTERS, Filter
from closura.offline.fitted import Fitted, FittedClosure, load_fitted_closure, load_fitted_model
from closura.offline.held_out import check_fits, choose_windows, common_filter, leaks, other_reynolds
from closura.offline.model_scoring import LYAPUNOV, climate_frames, score_models
from closura.offline.numbers import study_of
from closura.offline.variables import REFERENCE
from closura.settings import Count, Natural, NotNegative, Positive, Seed, Settings
from closura.trajectories import FlowData, open_flow

ROWS = ("none", "persistence", "climatology", REFERENCE)
"""Methods that every table has."""

CLOSURE_WORDS = (
    "Closures give a distribution over full velocity fields for every filtered one. All methods answer for the same "
    "filtered frames; answers are compared with the full frames at every point."
)
MODEL_WORDS = (
    "Reduced-order models step the filtered flow; ensembles of them are compared as forecasts, and, run for long, by "
    "what the flow looks like, before and after a closure gives back the missing scales."
)


@dataclass(frozen=True)
class FilterOptions(Settings):
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
    cutoff: Positive | None = None
    width: Positive | None = None

    def filter(self) -> Filter | None:
        """The filter that was asked for; ValueError if a number is missing, or given for another kind."""
        kind = self.kind or ("spectral" if self.cutoff is not None else None)
        if kind is None:
            if self.width is not None:
                raise ValueError("--filter.width needs --filter.kind gaussian or box")
            return None
        numbers = {"cutoff": self.cutoff, "width": self.width}
        needed = "cutoff" if kind == "spectral" else "width"
        given = {name: value for name, value in numbers.items() if value is not None}
        if set(given) != {needed}:
            raise ValueError(f"a {kind} filter takes --filter.{needed}, and nothing else")
        return FILTERS[kind](**given)


@dataclass(frozen=True)
class ClosureOptions(Settings):
    """What to evaluate, on which frames.

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

    closure: Repeated[tuple[str, ...]] = ()
    data: Path | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[Natural, ...] = ()
    allow_leak: bool = False
    members: Count = 50
    frames: Count | None = None
    every: Count | None = None
    filter: FilterOptions = field(default_factory=FilterOptions)
    scoring: Scoring = "fair"
    seed: Seed = 0


@dataclass(frozen=True)
class ModelOptions(Settings):
    """What to evaluate, from where.

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
        Steps of each run; forecasts are evaluated as far as the data go, the rest by its statistics.
    members
        Members of each ensemble.
    starts
        Starts per trajectory, spread over its first half; a single one is at its start.
    slice
        Steps of the slices of long runs; no more than --steps.
    lyapunov
        Leading Lyapunov exponent per unit of time (default: 0.068 at Reynolds number 34 with forcing 4, else unknown);
        0 leaves Lyapunov times out.
    seed
        Seed of all noise.
    """

    rom: Repeated[tuple[str, ...]] = ()
    data: Path | None = None
    closure: str | None = None
    json: Path | None = None
    out: Path | None = None
    trajectories: tuple[Natural, ...] = ()
    allow_leak: bool = False
    steps: Count = 1600
    members: Count = 20
    starts: Count = 4
    slice: Count = 200
    lyapunov: NotNegative | None = None
    seed: Seed = 0


def run_evaluate_closure(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, score closures beside the usual rows, and write what was asked for."""
    options = parse(
        ClosureOptions,
        arguments,
        prog="closura evaluate kolmogorov-closure",
        description="Closures side by side: from filtered frames of held-out flows to full ones.",
    )
    if not options.closure:
        raise ValueError("which closures? give --closure RUN [RUN ...], runs of closura train kolmogorov-closure")
    outputs, data = numbers_and_folder(options), flow_data(options.data)
    _check_members(options.members)
    closures = [load_fitted_closure(name, path) for name, path in _named_runs(options.closure).items()]
    notes = []
    for closure in closures:
        check_fits(closure.name, closure.metadata, data)
        if not closure.metadata.get("train"):
            notes.append(f"{closure.name} does not say which simulations it has seen: whether frames leak is unknown.")
    filtering = common_filter(closures, data.points, options.filter.filter())
    windows = choose_windows(closures, data, options.trajectories or None, allow_leak=options.allow_leak)
    for closure in closures:
        told = other_reynolds(closure.metadata, data, [window.trajectory for window in windows])
        notes += [f"{closure.name} was {told}."] if told else []
    notes += _leak_note(leaks(closures, data, windows))
    frames = tuple(spread_frames(window, options.frames, options.every) for window in windows)
    comparison = ClosureComparison(data, filtering, windows, frames, options.members, options.seed, options.scoring)
    settings = provenance("evaluate", ["kolmogorov-closure", *arguments])
    with work_bar("scoring", "frames") as report:
        results = score_closures(comparison, closures, notes=notes, provenance=settings, report=report)
    title = "Closures of Kolmogorov flow" + (", published scoring" if options.scoring == "published" else "")
    return deliver(outputs, results, title=title, notes=(CLOSURE_WORDS, *study_of(results)["notes"]))


def run_evaluate_model(arguments: Sequence[str]) -> Results:
    """Parse the command's arguments, evaluate reduced-order models, and write what was asked for."""
    options = parse(
        ModelOptions,
        arguments,
        prog="closura evaluate kolmogorov-rom",
        description="Reduced-order models side by side: forecasts of held-out flows, and long runs.",
    )
    if not options.rom:
        raise ValueError("which models? give --rom RUN [RUN ...], runs of closura train kolmogorov-rom")
    outputs, data = numbers_and_folder(options), flow_data(options.data)
    _check_members(options.members)
    if options.slice > options.steps:
        raise ValueError(
            f"--slice {options.slice} is longer than the runs of --steps {options.steps}: give --slice "
            f"{options.steps} or less, or more --steps"
        )
    models = [load_fitted_model(name, path) for name, path in _named_runs(options.rom).items()]
    for model in models:
        check_fits(model.name, model.metadata, data)
    closure = load_closure(options.closure)
    if closure is not None:
        check_closure(models[0], closure, data)
    fitted: list[Fitted] = [*models, *([closure] if closure is not None else [])]
    windows = choose_windows(fitted, data, options.trajectories or None, allow_leak=options.allow_leak)
    starts = choose_starts(models, data, windows, options.starts, options.steps)
    reynolds = {float(data.reynolds[window.trajectory]) for window in windows}
    known = LYAPUNOV.get(reynolds.pop()) if len(reynolds) == 1 and data.forcing == 4 else None
    lyapunov = known if options.lyapunov is None else options.lyapunov or None
    comparison = ModelComparison(
        data, windows, starts, options.steps, options.members, options.slice, closure, lyapunov, options.seed
    )
    with work_bar("running", "steps") as report:
        results = score_models(
            comparison, models, climate=climate_frames(models[0], closure),
            notes=_leak_note(leaks(fitted, data, windows)),
            provenance=provenance("evaluate", ["kolmogorov-rom", *arguments]), report=report,
        )  # fmt: skip
    notes = (MODEL_WORDS, *study_of(results)["notes"])
    return deliver(outputs, results, title="Reduced-order models of Kolmogorov flow", notes=notes)


def load_closure(text: str | None) -> FittedClosure | None:
    """The closure at PATH or NAME=PATH, where there is to be one."""
    return None if text is None else load_fitted_closure(*named_closure(text))


def flow_data(path: Path | None) -> FlowData:
    """The data set of the option ``--data``."""
    if path is None:
        raise ValueError("which data? give --data FILE.zarr; make one with: closura data generate kolmogorov --help")
    return open_flow(path)


def _named_runs(texts: Sequence[str]) -> Mapping[str, Path]:
    """Paths by name, none of them that of a row that every table has."""
    pairs = [named_closure(text) for text in texts]
    names = [name for name, _ in pairs]
    for name in names:
        if name in ROWS:
            raise ValueError(f"{name} is the name of a row that every table has: give another with NAME=PATH")
        if names.count(name) > 1:
            raise ValueError(f"two are called {name}: give one another name with NAME=PATH")
    return dict(pairs)


def _check_members(members: int) -> None:
    if members < 2:
        raise ValueError(f"need at least 2 members; got {members}")


def _leak_note(trajectories: Sequence[int]) -> list[str]:
    """What has to be said beside numbers of trajectories that were seen."""
    if not trajectories:
        return []
    return [f"LEAK: trajectories {', '.join(map(str, trajectories))} were seen in training or validation."]
