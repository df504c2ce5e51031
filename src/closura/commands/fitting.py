"""``closura train kolmogorov-closure`` and ``kolmogorov-rom``: what is fitted to data sets of flows."""

from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from closura.commands.console import console, training_bar
from closura.commands.options import argument, pre_parse
from closura.reduced.model import MODELS, model_recipe
from closura.reduced.reconstruction import find
from closura.runs.configuration import Preset
from closura.runs.fitting.closure import FitResult, fit_closure
from closura.runs.fitting.configuration import (
    ClosureFitConfiguration,
    FilterConfiguration,
    ForecastJudgeConfiguration,
    JudgeConfiguration,
    ModelFitConfiguration,
    SplitConfiguration,
    closure_fit_from_plain,
    model_fit_from_plain,
)
from closura.runs.fitting.model import ModelResult, fit_model
from closura.runs.fitting.presets import CLOSURE_NAMES, ClosureName, closure_preset, model_preset
from closura.runs.folder import RunFolder
from closura.runs.presets import PRESETS
from closura.runs.tracking import Tracker


@dataclass(frozen=True)
class FitOptions:
    """The data and the run.

    Parameters
    ----------
    data
        The data set, a zarr folder (closura data generate kolmogorov makes one).
    preset
        Settings that belong together: "paper" is the published recipe, "default" ours, "quick" takes minutes. Other
        options change single settings.
    run
        The run's folder (default: runs/PROBLEM-NAME-DATA-seedS).
    resume
        Go on from the folder's last checkpoint, with the folder's settings.
    overwrite
        Replace a run that is already in the folder.
    trackers
        Send metrics to "wandb" or "tensorboard" too (needs closura[tracking]).
    """

    data: Path | None = None
    preset: Preset = "default"
    run: Path | None = None
    resume: bool = False
    overwrite: bool = False
    trackers: tuple[Tracker, ...] = ()


@dataclass(frozen=True)
class _Rest:
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
    seed: int = 0
    log_every: int = 25


def run_train_closure(arguments: Sequence[str]) -> FitResult:
    """Parse the command's arguments and fit a closure."""
    options, configuration = parse_train_closure(arguments)
    folder = options.run or Path("runs") / (
        f"kolmogorov-closure-{configuration.closure}-{Path(configuration.data).stem}-seed{configuration.seed}"
    )
    console.print(f"run folder: {folder}", soft_wrap=True)
    with training_bar() as report:
        result = fit_closure(
            configuration,
            folder,
            resume=options.resume,
            overwrite=options.overwrite,
            trackers=options.trackers,
            report=report,
        )
    spread = f", spread x {result.factor:.2f} by calibration" if result.factor != 1 else ""
    console.print(
        f"validation score (CRPS) {result.score:.4g} (without a closure {result.uncorrected:.4g}){spread}, "
        f"{result.updates} updates, {result.seconds:.0f} s\n"
        f"judge it on held-out data: closura evaluate kolmogorov-closure --closure {folder} "
        f"--data {configuration.data}",
        soft_wrap=True,
        highlight=False,
    )
    return result


def parse_train_closure(arguments: Sequence[str]) -> tuple[FitOptions, ClosureFitConfiguration]:
    """Resolve preset and options into a configuration; with ``--resume`` the defaults are the run's own settings."""
    known = pre_parse(arguments, ("--preset", "--closure", "--run"), flags=("--resume",))
    folder = known["--run"]
    if known["--resume"] and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder, decode=closure_fit_from_plain).read_configuration()
    else:
        preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
        asked = known["--closure"]
        if asked is not None and asked not in CLOSURE_NAMES:
            raise ValueError(f"unknown closure {asked!r}; valid: {', '.join(CLOSURE_NAMES)}")
        default = closure_preset(asked or "conv", preset)
    flat = tyro.conf.arg(name="")
    kind = make_dataclass(
        "ClosureFitArguments",
        [
            ("options", Annotated[FitOptions, flat]),
            ("closure", Annotated[ClosureName, argument("the closure")]),
            ("recipe", type(default.recipe)),
            ("filtering", Annotated[FilterConfiguration, tyro.conf.arg(name="filter")]),
            ("split", SplitConfiguration),
            ("judge", JudgeConfiguration),
            ("rest", Annotated[_Rest, flat]),
        ],
        frozen=True,
    )
    parsed: Any = tyro.cli(
        kind,
        prog="closura train kolmogorov-closure",
        args=list(arguments),
        description="Fit a closure: from filtered fields of a flow to a distribution over full ones.",
        default=kind(
            options=FitOptions(data=Path(default.data) if default.data else None),
            closure=default.closure, recipe=default.recipe, filtering=default.filtering, split=default.split,
            judge=default.judge, rest=_Rest(default.calibrate, default.seed, default.log_every),
        ),
    )  # fmt: skip
    configuration = replace(
        default,
        data="" if parsed.options.data is None else str(parsed.options.data.resolve()),
        # The published recipe of a closure has a name of its own.
        closure=default.closure if parsed.closure == known["--closure"] else parsed.closure,
        recipe=parsed.recipe, filtering=parsed.filtering, split=parsed.split,
        judge=parsed.judge, calibrate=parsed.rest.calibrate, seed=parsed.rest.seed, log_every=parsed.rest.log_every,
    )  # fmt: skip
    if type(configuration.recipe) is not find(configuration.closure).recipe:
        raise ValueError(f"a run with closure {default.closure} cannot go on with {configuration.closure}")
    return parsed.options, configuration


@dataclass(frozen=True)
class _ModelRest:
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

    every_frames: int = 2
    seed: int = 0
    log_every: int = 50


def run_train_model(arguments: Sequence[str]) -> ModelResult:
    """Parse the command's arguments and fit a reduced-order model."""
    options, configuration = parse_train_model(arguments)
    folder = options.run or Path("runs") / (
        f"kolmogorov-rom-{configuration.model}-{Path(configuration.data).stem}-seed{configuration.seed}"
    )
    console.print(f"run folder: {folder}", soft_wrap=True)
    with training_bar() as report:
        result = fit_model(
            configuration,
            folder,
            resume=options.resume,
            overwrite=options.overwrite,
            trackers=options.trackers,
            report=report,
        )
    console.print(
        f"validation score (CRPS of forecasts) {result.score:.4g}, {result.updates} updates, {result.seconds:.0f} s\n"
        f"judge it on held-out data: closura evaluate kolmogorov-rom --rom {folder} --data {configuration.data}",
        soft_wrap=True,
        highlight=False,
    )
    return result


def parse_train_model(arguments: Sequence[str]) -> tuple[FitOptions, ModelFitConfiguration]:
    """Resolve preset and options into a configuration; with ``--resume`` the defaults are the run's own settings."""
    known = pre_parse(arguments, ("--preset", "--model", "--run"), flags=("--resume",))
    folder = known["--run"]
    if known["--resume"] and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder, decode=model_fit_from_plain).read_configuration()
    else:
        preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
        default = model_preset(known["--model"] or "latent", preset)
    flat = tyro.conf.arg(name="")
    kind = make_dataclass(
        "ModelFitArguments",
        [
            ("options", Annotated[FitOptions, flat]),
            ("model", Annotated[str, argument(f"the model: {', '.join(MODELS)}")]),
            ("recipe", type(default.recipe)),
            ("filtering", Annotated[FilterConfiguration, tyro.conf.arg(name="filter")]),
            ("split", SplitConfiguration),
            ("judge", ForecastJudgeConfiguration),
            ("rest", Annotated[_ModelRest, flat]),
        ],
        frozen=True,
    )
    parsed: Any = tyro.cli(
        kind,
        prog="closura train kolmogorov-rom",
        args=list(arguments),
        description="Fit a reduced-order model: from the last filtered fields of a flow to those that follow.",
        default=kind(
            options=FitOptions(data=Path(default.data) if default.data else None),
            model=default.model, recipe=default.recipe, filtering=default.filtering, split=default.split,
            judge=default.judge, rest=_ModelRest(default.every_frames, default.seed, default.log_every),
        ),
    )  # fmt: skip
    if model_recipe(parsed.model) is not type(default.recipe):
        raise ValueError(f"a run with model {default.model} cannot go on with {parsed.model}")
    configuration = replace(
        default,
        data="" if parsed.options.data is None else str(parsed.options.data.resolve()),
        model=parsed.model, recipe=parsed.recipe, filtering=parsed.filtering, split=parsed.split, judge=parsed.judge,
        every_frames=parsed.rest.every_frames, seed=parsed.rest.seed, log_every=parsed.rest.log_every,
    )  # fmt: skip
    return parsed.options, configuration


KINDS: dict[str, Any] = {"kolmogorov-closure": run_train_closure, "kolmogorov-rom": run_train_model}
FitName = Literal["kolmogorov-closure", "kolmogorov-rom"]
