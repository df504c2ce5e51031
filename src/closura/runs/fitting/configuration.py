"""Settings of a fit to a data set of flows: which frames, which filter, what is fitted."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_type_hints

from closura.learners.state import check_ranges
from closura.reduced.model import model_recipe
from closura.reduced.reconstruction import find
from closura.runs.folder import RunError

SplitBy = Literal["trajectory", "time", "interleaved"]
FilterName = Literal["spectral", "gaussian", "box"]
FilterRule = Literal["published", "crossing"]


@dataclass(frozen=True)
class FilterConfiguration:
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
    cutoff: float = 0.0
    energy: float = 0.9
    rule: FilterRule = "published"
    width: float = 1.5

    def __post_init__(self) -> None:
        if self.kind not in get_args(FilterName):
            raise ValueError(f"unknown filter {self.kind!r}; valid: {', '.join(get_args(FilterName))}")
        if not 0 <= self.cutoff < math.inf:
            raise ValueError(f"cutoff must not be negative; got {self.cutoff:g}")
        if not 0 < self.energy < 1:
            raise ValueError(f"energy is a share between 0 and 1; got {self.energy:g}")
        check_ranges(self, positive=("width",))


@dataclass(frozen=True)
class SplitConfiguration:
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
    held_out: tuple[int, ...] = (7,)
    validation: tuple[int, ...] = (6,)
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    gap: int = 100
    only: tuple[int, ...] = ()
    allow_leak: bool = False

    def __post_init__(self) -> None:
        if self.by not in get_args(SplitBy):
            raise ValueError(f"unknown split {self.by!r}; valid: {', '.join(get_args(SplitBy))}")
        if self.by == "interleaved" and not self.allow_leak:
            raise ValueError(
                "interleaved frames leak: the test frames lie 0.1 % beside training frames. Hold out trajectories or "
                "times with --split.by trajectory or time, or allow it by name with --split.allow-leak"
            )


@dataclass(frozen=True)
class JudgeConfiguration:
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

    frames: int = 40
    members: int = 8
    every: int = 250

    def __post_init__(self) -> None:
        check_ranges(self, positive=("frames", "members", "every"))


@dataclass(frozen=True)
class ClosureFitConfiguration:
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
    log_every: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        wanted = find(self.closure).recipe
        if self.recipe is None:
            object.__setattr__(self, "recipe", wanted())
        if type(self.recipe) is not wanted:
            raise ValueError(f"closure {self.closure!r} takes {wanted.__name__}; got {type(self.recipe).__name__}")
        _check_numbers(self, "log_every")


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
        values["recipe"] = build(find(values["closure"]).recipe, values["recipe"])
        return build(ClosureFitConfiguration, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of a fit: {error}") from error


def _check_numbers(c: Any, *positive: str) -> None:
    check_ranges(c, positive=positive)
    if c.seed < 0:
        raise ValueError(f"seed must not be negative; got {c.seed}")


def _check_name(values: dict[str, Any], name: str) -> None:
    if values["name"] != name:
        raise RunError(f"this is a run of {values['name']}: go on with closura train {values['name']} --resume")


def build(kind: type, values: dict[str, Any]) -> Any:
    """A dataclass of plain values, nested ones too; lists become tuples."""
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"unknown settings of {kind.__name__}: {', '.join(unknown)}")

    def of(name: str, value: Any) -> Any:
        if isinstance(value, dict) and is_dataclass(hints[name]) and isinstance(hints[name], type):
            return build(hints[name], value)
        return _tuples(value)

    return kind(**{name: of(name, value) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class ForecastJudgeConfiguration:
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

    starts: int = 16
    members: int = 8
    time: float = 36.0
    every: int = 500

    def __post_init__(self) -> None:
        check_ranges(self, positive=("starts", "members", "time", "every"))


@dataclass(frozen=True)
class ModelFitConfiguration:
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
    every_frames: int = 2
    filtering: FilterConfiguration = field(default_factory=FilterConfiguration)
    split: SplitConfiguration = field(default_factory=SplitConfiguration)
    judge: ForecastJudgeConfiguration = field(default_factory=ForecastJudgeConfiguration)
    log_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        wanted = model_recipe(self.model)
        if self.recipe is None:
            object.__setattr__(self, "recipe", wanted())
        if type(self.recipe) is not wanted:
            raise ValueError(f"model {self.model!r} takes {wanted.__name__}; got {type(self.recipe).__name__}")
        _check_numbers(self, "log_every", "every_frames")


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
        values["recipe"] = build(model_recipe(values["model"]), values["recipe"])
        return build(ModelFitConfiguration, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of a fit: {error}") from error
