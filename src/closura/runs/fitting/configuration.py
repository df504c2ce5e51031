"""Settings of a fit to a data set of flows: which frames, which filter, what is fitted."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from closura.reduced.model import model_recipe
from closura.reduced.reconstruction import find
from closura.runs.folder import RunError
from closura.settings import (
    Count,
    Natural,
    NotNegative,
    Positive,
    Range,
    Seed,
    Settings,
    Share,
    build_part,
    build_settings,
)

SplitBy = Literal["trajectory", "time", "interleaved"]
FilterName = Literal["spectral", "gaussian", "box"]
FilterRule = Literal["published", "crossing"]


@dataclass(frozen=True)
class FilterConfiguration(Settings):
    """The low-pass filter between full and filtered fields.

    Parameters
    ----------
    kind
        "spectral" (sharp cut-off), "gaussian" or "box".
    cutoff
        Largest wavenumber that is kept (spectral); 0 finds it by ``energy``.
    energy
        Share of the training frames' energy that the cut-off is to keep.
    rule
        "published": centre of the shell that crosses that share (|k| <= 3.951 for the published flow, which cuts the
        forcing's own wave); "crossing" keeps that shell (4).
    width
        Width of the Gaussian or box filter, in units of length (the box is 2 pi).
    """

    kind: FilterName = "spectral"
    cutoff: NotNegative = 0.0
    energy: Annotated[float, Range(0, 1, above=True, below=True)] = 0.9
    rule: FilterRule = "published"
    width: Positive = 1.5


@dataclass(frozen=True)
class SplitConfiguration(Settings):
    """Which frames are for training, for choosing, and held out.

    Parameters
    ----------
    by
        "trajectory" holds out whole trajectories; "time" the end of each; "interleaved" is the published split (even
        frames for training, odd ones for the test), which leaks and needs ``allow_leak``.
    held_out
        Trajectories that training never sees ("trajectory").
    validation
        Trajectories that choose between checkpoints and calibrate intervals ("trajectory").
    shares
        Of the time of each trajectory, for training, validation, test ("time").
    gap
        Frames left out between the parts ("time").
    only
        Trajectories that are used at all (default: all of them; published closures know one).
    allow_leak
        Go on although held-out frames lie among training frames.
    """

    by: SplitBy = "trajectory"
    held_out: tuple[Natural, ...] = (7,)
    validation: tuple[Natural, ...] = (6,)
    shares: tuple[Share, Share, Share] = (0.7, 0.1, 0.2)
    gap: Natural = 100
    only: tuple[Natural, ...] = ()
    allow_leak: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by == "interleaved" and not self.allow_leak:
            raise ValueError(
                "interleaved frames leak: the test frames lie 0.1 % beside training frames. Hold out trajectories or "
                "times with --split.by trajectory or time, or allow it by name with --split.allow-leak"
            )


@dataclass(frozen=True)
class JudgeConfiguration(Settings):
    """How checkpoints are judged: by the fair ranked probability score on validation frames.

    Parameters
    ----------
    frames
        Validation frames, spread over all of them.
    members
        Members per frame.
    every
        Updates between judgements.
    """

    frames: Count = 40
    members: Count = 8
    every: Count = 250


@dataclass(frozen=True)
class ClosureFitConfiguration(Settings):
    """Everything that decides the outcome of fitting a closure.

    Parameters
    ----------
    name
        The kind of run.
    data
        The data set, a zarr folder.
    closure
        The closure's name.
    recipe
        Its settings.
    filtering, split, judge
        Filter, split, and how checkpoints are judged.
    calibrate
        Scale the members' distance from their mean so that 90 % intervals hold on validation frames.
    log_every
        Updates that are averaged into one row of metrics.
    seed
        Seed of everything random.
    """

    name: Literal["kolmogorov-closure"] = "kolmogorov-closure"
    data: str = ""
    closure: str = "conv"
    recipe: Any = None
    filtering: FilterConfiguration = field(default_factory=FilterConfiguration)
    split: SplitConfiguration = field(default_factory=SplitConfiguration)
    judge: JudgeConfiguration = field(default_factory=JudgeConfiguration)
    calibrate: bool = True
    log_every: Count = 25
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = find(self.closure).recipe
        if self.recipe is None:
            object.__setattr__(self, "recipe", wanted())
        if type(self.recipe) is not wanted:
            raise ValueError(f"closure {self.closure!r} takes {wanted.__name__}; got {type(self.recipe).__name__}")


def closure_fit_from_plain(plain: dict[str, Any]) -> ClosureFitConfiguration:
    """The configuration that ``to_plain`` wrote.

    Raises
    ------
    ValueError
        If a setting is unknown or a value is refused.
    RunError
        If they are settings of another kind of run.
    """
    try:
        values = dict(plain)
        _check_name(values, "kolmogorov-closure")
        values["recipe"] = build_part("recipe", find(values["closure"]).recipe, values["recipe"])
        return build_settings(ClosureFitConfiguration, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of a fit: {error}") from error


def _check_name(values: dict[str, Any], name: str) -> None:
    if values["name"] != name:
        raise RunError(f"this is a run of {values['name']}: go on with closura train {values['name']} --resume")


@dataclass(frozen=True)
class ForecastJudgeConfiguration(Settings):
    """How checkpoints of a reduced-order model are judged: by the fair ranked probability score of its ensembles.

    Parameters
    ----------
    starts
        Starts, spread over the validation frames.
    members
        Members per start.
    time
        Length of the forecasts, in units of time: some Lyapunov times, so that both skill and spread count.
    every
        Updates between judgements.
    """

    starts: Count = 16
    members: Count = 8
    time: Positive = 36.0
    every: Count = 500


@dataclass(frozen=True)
class ModelFitConfiguration(Settings):
    """Everything that decides the outcome of fitting a reduced-order model.

    Parameters
    ----------
    name
        The kind of run.
    data
        The data set, a zarr folder.
    model
        The model's name.
    recipe
        Its settings.
    every_frames
        Frames of the data per step of the model (published: 2).
    filtering, split, judge
        Filter, split, and how checkpoints are judged.
    log_every
        Updates that are averaged into one row of metrics.
    seed
        Seed of everything random.
    """

    name: Literal["kolmogorov-rom"] = "kolmogorov-rom"
    data: str = ""
    model: str = "latent"
    recipe: Any = None
    every_frames: Count = 2
    filtering: FilterConfiguration = field(default_factory=FilterConfiguration)
    split: SplitConfiguration = field(default_factory=SplitConfiguration)
    judge: ForecastJudgeConfiguration = field(default_factory=ForecastJudgeConfiguration)
    log_every: Count = 50
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = model_recipe(self.model)
        if self.recipe is None:
            object.__setattr__(self, "recipe", wanted())
        if type(self.recipe) is not wanted:
            raise ValueError(f"model {self.model!r} takes {wanted.__name__}; got {type(self.recipe).__name__}")


def model_fit_from_plain(plain: dict[str, Any]) -> ModelFitConfiguration:
    """The configuration that ``to_plain`` wrote.

    Raises
    ------
    ValueError
        If a setting is unknown or a value is refused.
    RunError
        If they are settings of another kind of run.
    """
    try:
        values = dict(plain)
        _check_name(values, "kolmogorov-rom")
        values["recipe"] = build_part("recipe", model_recipe(values["model"]), values["recipe"])
        return build_settings(ModelFitConfiguration, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of a fit: {error}") from error
