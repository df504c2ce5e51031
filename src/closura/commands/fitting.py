"""``closura train kolmogorov-closure`` and ``kolmogorov-rom``: what is fitted to data sets of flows."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from closura.commands.console import console, say_verdict, training_bar
from closura.commands.options import Group, argument, given, parse_groups
from closura.reduced.model import MODELS
from closura.runs.configuration import Preset
from closura.runs.fitting.closure import FitResult, fit_closure
from closura.runs.fitting.configuration import (
    ClosureFitConfiguration,
    ModelFitConfiguration,
    closure_fit_from_plain,
    model_fit_from_plain,
)
from closura.runs.fitting.loop import CHECKPOINT_EVERY
from closura.runs.fitting.model import ModelResult, fit_model
from closura.runs.fitting.presets import CLOSURE_NAMES, PUBLISHED, closure_preset, model_preset
from closura.runs.folder import RunFolder
from closura.runs.presets import PRESETS
from closura.runs.tracking import Tracker
from closura.settings import Count, NotNegative, Seed, Settings


@dataclass(frozen=True)
class FitOptions(Settings):
    """The data and the run.

    Parameters
    ----------
    data
        The data set, a zarr folder (closura data generate kolmogorov makes one). With --resume: where it is now, if it
        was moved.
    preset
        Settings that belong together: "paper" is the published recipe, "default" ours, "quick" takes minutes. Other
        options change single settings.
    run
        The run's folder (default: runs/PROBLEM-NAME-DATA-seedS).
    resume
        Go on from the folder's last checkpoint, with the folder's settings.
    overwrite
        Replace a run that is already in the folder.
    checkpoint_every
        Seconds between checkpoints, which judgements write too: what a kill may cost.
    trackers
        Send metrics to "wandb" or "tensorboard" too (needs closura[tracking]).
    """

    data: Path | None = None
    preset: Preset = "default"
    run: Path | None = None
    resume: bool = False
    overwrite: bool = False
    checkpoint_every: NotNegative = CHECKPOINT_EVERY
    trackers: tuple[Tracker, ...] = ()


@dataclass(frozen=True)
class _ClosureRest(Settings):
    """Further settings.

    Parameters
    ----------
    calibrate
        Scale the members' distance from their mean so that 90 % intervals hold on validation frames.
    seed
        Seed of everything random.
    log_every
        Updates that are averaged into one row of metrics.
    """

    calibrate: bool = True
    seed: Seed = 0
    log_every: Count = 25


@dataclass(frozen=True)
class _ModelRest(Settings):
    """Further settings.

    Parameters
    ----------
    every_frames
        Frames of the data per step of the model (published: 2).
    seed
        Seed of everything random.
    log_every
        Updates that are averaged into one row of metrics.
    """

    every_frames: Count = 2
    seed: Seed = 0
    log_every: Count = 50


@dataclass(frozen=True)
class _Kind:
    """What is particular about a kind of fit.

    ``choice`` is the option, and the setting, that names what is fitted; one of ``names``, which are ``noun``.
    """

    problem: str
    description: str
    choice: str
    noun: str
    names: tuple[str, ...]
    usual: str
    preset: Callable[[str, Preset], Any]
    decode: Callable[[dict[str, Any]], Any]
    rest: type[Any]


_CLOSURE = _Kind(
    problem="kolmogorov-closure",
    description="Fit a closure: from filtered fields of a flow to a distribution over full ones.",
    choice="closure",
    noun="closure",
    names=CLOSURE_NAMES,
    usual="conv",
    preset=closure_preset,
    decode=closure_fit_from_plain,
    rest=_ClosureRest,
)
_MODEL = _Kind(
    problem="kolmogorov-rom",
    description="Fit a reduced-order model: from the last filtered fields of a flow to those that follow.",
    choice="model",
    noun="reduced-order model",
    names=tuple(MODELS),
    usual="latent",
    preset=model_preset,
    decode=model_fit_from_plain,
    rest=_ModelRest,
)


def run_train_closure(arguments: Sequence[str]) -> FitResult:
    """Parse the command's arguments and fit a closure."""
    options, configuration = parse_train_closure(arguments)
    folder = _folder(_CLOSURE, options, configuration)
    result: FitResult = _fit(fit_closure, options, configuration, folder)
    spread = f", spread x {result.factor:.2f} by calibration" if result.factor != 1 else ""
    _say(
        f"validation score (CRPS) {result.score:.4g} (without a closure {result.uncorrected:.4g}){spread}", result,
        ["kolmogorov-closure", "--closure", str(folder), "--data", str(configuration.data)],
    )  # fmt: skip
    return result


def run_train_model(arguments: Sequence[str]) -> ModelResult:
    """Parse the command's arguments and fit a reduced-order model."""
    options, configuration = parse_train_model(arguments)
    folder = _folder(_MODEL, options, configuration)
    result: ModelResult = _fit(fit_model, options, configuration, folder)
    _say(
        f"validation score (CRPS of forecasts) {result.score:.4g}", result,
        ["kolmogorov-rom", "--rom", str(folder), "--data", str(configuration.data)],
    )  # fmt: skip
    return result


def parse_train_closure(arguments: Sequence[str]) -> tuple[FitOptions, ClosureFitConfiguration]:
    """Resolve preset and options into a configuration; with ``--resume`` the defaults are the run's own settings."""
    return _parse(_CLOSURE, arguments)


def parse_train_model(arguments: Sequence[str]) -> tuple[FitOptions, ModelFitConfiguration]:
    """Resolve preset and options into a configuration; with ``--resume`` the defaults are the run's own settings."""
    return _parse(_MODEL, arguments)


def _parse(kind: _Kind, arguments: Sequence[str]) -> tuple[FitOptions, Any]:
    default = _defaults(kind, arguments)
    further = [f.name for f in fields(kind.rest)]
    options, _, recipe, filtering, split, judge, rest = parse_groups(
        arguments,
        Group(FitOptions(data=Path(default.data) if default.data else None)),
        Group(
            make_dataclass("Fit", [(kind.choice, Annotated[str, argument(f"the {kind.noun}")], "")], frozen=True),
            choices={kind.choice: kind.names},
        ),
        Group(default.recipe, "recipe"),
        Group(default.filtering, "filter"),
        Group(default.split, "split"),
        Group(default.judge, "judge"),
        Group(kind.rest(**{name: getattr(default, name) for name in further})),
        prog=f"closura train {kind.problem}",
        description=kind.description,
    )
    # What is fitted was settled with the defaults: a published recipe has a name of its own.
    configuration = replace(
        default, data="" if options.data is None else str(options.data.resolve()), recipe=recipe, filtering=filtering,
        split=split, judge=judge, **{name: getattr(rest, name) for name in further},
    )  # fmt: skip
    return options, configuration


def _defaults(kind: _Kind, arguments: Sequence[str]) -> Any:
    """Settings of the preset, or of the run that goes on: they decide which options there are."""
    known = given(arguments, "--preset", f"--{kind.choice}", "--run", "--resume")
    asked, folder = known[f"--{kind.choice}"], known["--run"]
    if asked is not None and asked not in kind.names:
        raise ValueError(f"unknown {kind.noun} {asked!r}; valid: {', '.join(kind.names)}")
    if known["--resume"] is not None and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder, decode=kind.decode).read_configuration()
        has = getattr(default, kind.choice)
        if asked not in (None, has) and PUBLISHED.get(asked) != has:
            raise ValueError(f"{folder} is a run with {kind.noun} {has}; it cannot go on with {asked}")
        return default
    preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
    return kind.preset(asked or kind.usual, preset)


def _folder(kind: _Kind, options: FitOptions, c: Any) -> Path:
    name = f"{kind.problem}-{getattr(c, kind.choice)}-{Path(c.data).stem}-seed{c.seed}"
    return options.run or Path("runs") / name


def _fit(fit: Callable[..., Any], options: FitOptions, configuration: Any, folder: Path) -> Any:
    console.print(f"run folder: {folder}", soft_wrap=True)
    with training_bar() as report:
        return fit(
            configuration,
            folder,
            resume=options.resume,
            overwrite=options.overwrite,
            checkpoint_every=options.checkpoint_every,
            trackers=options.trackers,
            report=report,
        )


def _say(found: str, result: FitResult | ModelResult, judge: Sequence[str]) -> None:
    """Say what was found, and in the last line what is wrong with it."""
    console.print(
        f"{found}, {result.updates} updates, {result.seconds:.0f} s\njudge it on held-out data: "
        f"closura evaluate {shlex.join(judge)}",
        soft_wrap=True,
        highlight=False,
    )
    say_verdict(result.verdict, found)
