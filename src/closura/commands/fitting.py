"""``closura train kolmogorov-closure`` and ``kolmogorov-rom``: what is fitted to data sets of flows."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from closura.commands.console import console, say_verdict, training_bar
from closura.commands.options import Group, given, parse_groups
from closura.runs.configuration import PRESETS, Preset
from closura.runs.fitting.configuration import ClosureFitConfiguration, FitConfiguration, ModelFitConfiguration
from closura.runs.fitting.fit import CHECKPOINT_EVERY, FitResult, fit
from closura.runs.folder import RunFolder
from closura.runs.tracking import Tracker
from closura.settings import NotNegative, Settings


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
        Seconds between checkpoints, which validation write too: what a kill may cost.
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


DESCRIPTIONS: dict[type[FitConfiguration], str] = {
    ClosureFitConfiguration: "Fit a closure: from filtered fields of a flow to a distribution over full ones.",
    ModelFitConfiguration: "Fit a reduced-order model: from the last filtered fields of a flow to those that follow.",
}
FURTHER = {ClosureFitConfiguration: ("calibrate", "seed", "log_every"),
           ModelFitConfiguration: ("every_frames", "seed", "log_every")}  # fmt: skip
"""Options that are in no group."""


def run_train_closure(arguments: Sequence[str]) -> FitResult:
    """Parse the command's arguments and fit a closure."""
    result, folder, data = _fit(ClosureFitConfiguration, arguments)
    spread = f", spread x {result.factor:.2f} by calibration" if result.factor != 1 else ""
    _say(
        f"validation score (CRPS) {result.score:.4g} (without a closure {result.uncorrected:.4g}){spread}", result,
        ["kolmogorov-closure", "--closure", str(folder), "--data", data],
    )  # fmt: skip
    return result


def run_train_model(arguments: Sequence[str]) -> FitResult:
    """Parse the command's arguments and fit a reduced-order model."""
    result, folder, data = _fit(ModelFitConfiguration, arguments)
    _say(
        f"validation score (CRPS of forecasts) {result.score:.4g}", result,
        ["kolmogorov-rom", "--rom", str(folder), "--data", data],
    )  # fmt: skip
    return result


def parse_fit(kind: type[Any], arguments: Sequence[str]) -> tuple[FitOptions, Any]:
    """Resolve preset and options into a configuration; with ``--resume`` the defaults are the run's own settings."""
    default = _defaults(kind, arguments)
    options, _, settings, filtering, split, validation, further = parse_groups(
        arguments,
        Group(FitOptions(data=Path(default.data) if default.data else None)),
        Group(
            make_dataclass("Fit", [(kind.CHOICE, Annotated[str, f"the {kind.NOUN}"], "")], frozen=True),
            choices={kind.CHOICE: kind.names()},
        ),
        Group(default.settings, "settings"),
        Group(default.filtering, "filter"),
        Group(default.split, "split"),
        Group(default.validation, "validation"),
        Group(default, only=FURTHER[kind]),
        prog=f"closura train {default.name}",
        description=DESCRIPTIONS[kind],
    )
    # What is fitted was settled with the defaults: a published variant has a name of its own.
    data = "" if options.data is None else str(options.data.resolve())
    return options, replace(
        further, data=data, settings=settings, filtering=filtering, split=split, validation=validation
    )


def _defaults(kind: type[Any], arguments: Sequence[str]) -> Any:
    """Settings of the preset, or of the run that goes on: they decide which options there are."""
    known = given(arguments, "--preset", f"--{kind.CHOICE}", "--run", "--resume")
    asked, folder = known[f"--{kind.CHOICE}"], known["--run"]
    if asked is not None and asked not in kind.names():
        raise ValueError(f"unknown {kind.NOUN} {asked!r}; valid: {', '.join(kind.names())}")
    if known["--resume"] is not None and folder and RunFolder(folder).holds_run:
        default = RunFolder(folder, decode=kind.from_plain).read_configuration()
        has = getattr(default, kind.CHOICE)
        if asked not in (None, has) and kind.published(asked or "") != has:
            raise ValueError(f"{folder} is a run with {kind.NOUN} {has}; it cannot go on with {asked}")
        return default
    preset: Any = known["--preset"] if known["--preset"] in PRESETS else "default"
    return kind.preset(asked or getattr(kind, kind.CHOICE), preset)


def _fit(kind: type[FitConfiguration], arguments: Sequence[str]) -> tuple[FitResult, Path, str]:
    options, c = parse_fit(kind, arguments)
    folder = options.run or Path("runs") / f"{c.name}-{getattr(c, kind.CHOICE)}-{Path(c.data).stem}-seed{c.seed}"
    console.print(f"run folder: {folder}", soft_wrap=True)
    with training_bar() as report:
        result = fit(
            c,
            folder,
            resume=options.resume,
            overwrite=options.overwrite,
            checkpoint_every=options.checkpoint_every,
            trackers=options.trackers,
            report=report,
        )
    return result, folder, str(c.data)


def _say(found: str, result: FitResult, options: Sequence[str]) -> None:
    """Say what was found, and in the last line what is wrong with it."""
    console.print(
        f"{found}, {result.updates} updates, {result.seconds:.0f} s\njudge it on held-out data: "
        f"closura evaluate {shlex.join(options)}",
        soft_wrap=True,
        highlight=False,
    )
    say_verdict(result.verdict, found)
