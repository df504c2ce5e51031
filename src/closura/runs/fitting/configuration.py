"""Settings of a fit to a data set of flows: which frames, which filter, what is fitted; and presets of them."""

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

from closura.core.registry import Registry
from closura.offline.data import FilterSettings, SplitSettings
from closura.offline.rom import MODELS
from closura.offline.sampler import SAMPLERS
from closura.runs.configuration import Preset
from closura.runs.folder import RunError
from closura.settings import Count, Positive, Seed, Settings, build_part, build_settings, todays_name


@dataclass(frozen=True)
class FitConfiguration(Settings):
    """Everything that decides the outcome of a fit.

    Parameters
    ----------
    data
        The data set, a zarr folder.
    recipe
        The settings of what is fitted.
    filtering, split
        Filter and split.
    seed
        Seed of everything random.
    """

    data: str = ""
    settings: Any = None
    filtering: FilterSettings = field(default_factory=FilterSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    seed: Seed = 0

    CHOICE: ClassVar[str]
    """The setting that names what is fitted."""
    NOUN: ClassVar[str]
    KINDS: ClassVar[Registry[Any]]

    def __post_init__(self) -> None:
        super().__post_init__()
        name = getattr(self, self.CHOICE)
        wanted = self.KINDS.find(name).settings
        if self.settings is None:
            object.__setattr__(self, "settings", wanted())
        if type(self.settings) is not wanted:
            raise ValueError(f"{self.CHOICE} {name!r} takes {wanted.__name__}; got {type(self.settings).__name__}")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """What can be fitted: all that has presets."""
        return tuple(name for name, kind in cls.KINDS.all().items() if hasattr(kind.settings, "preset"))

    @classmethod
    def published(cls, name: str) -> str:
        """The name of the published variant, which the preset "paper" takes; the same name where there is none."""
        return f"{name}-published" if f"{name}-published" in cls.names() else name

    @classmethod
    def preset(cls, name: str, preset: Preset) -> Any:
        """Settings that belong together: of what is fitted, with what it asks for."""
        if name not in cls.names():
            raise ValueError(f"unknown {cls.NOUN} {name!r}; valid: {', '.join(cls.names())}")
        if preset == "paper":
            name = cls.published(name)
        try:
            values = cls.KINDS.find(name).settings.preset(preset)
        except KeyError:
            words = "default, quick"
            reason = f"was never published; valid presets: {words}" if preset == "paper" else f"has presets {words}"
            raise ValueError(f"{cls.NOUN} {name!r} {reason}") from None
        return build_settings(cls, {cls.CHOICE: name, **values})

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Any:
        """The configuration that ``to_plain`` wrote."""
        try:
            known = {f.name for f in fields(cls)}
            values = {todays_name(name, known): value for name, value in plain.items()}
            if values["name"] != cls.name:  # type: ignore[attr-defined]
                name = values["name"]
                raise RunError(
                    f"this is a run of {name}: go on with closura train {name} --resume, with the same --run"
                )
            settings = cls.KINDS.find(values[cls.CHOICE]).settings
            values["settings"] = build_part("settings", settings, values["settings"])
            return build_settings(cls, values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a configuration of a fit: {error}") from error


@dataclass(frozen=True)
class SamplerValidation(Settings):
    """How checkpoints are evaluated: by the fair ranked probability score on validation frames.

    Parameters
    ----------
    frames
        Validation frames, spread over all of them.
    members
        Members per frame.
    every
        Updates between validations.
    """

    frames: Count = 40
    members: Count = 8
    every: Count = 250


@dataclass(frozen=True)
class ClosureFitConfiguration(FitConfiguration):
    """Everything that decides the outcome of fitting a closure.

    Parameters
    ----------
    name
        The kind of run.
    closure
        The closure's name.
    validation
        How checkpoints are evaluated.
    calibrate
        Scale the members' distance from their mean so that 90 % intervals hold on validation frames.
    log_every
        Updates that are averaged into one row of metrics.
    """

    name: Literal["kolmogorov-closure"] = "kolmogorov-closure"
    closure: str = "conv"
    validation: SamplerValidation = field(default_factory=SamplerValidation)
    calibrate: bool = True
    log_every: Count = 25

    CHOICE, NOUN, KINDS = "closure", "closure", SAMPLERS


@dataclass(frozen=True)
class ForecastValidation(Settings):
    """How checkpoints of a reduced-order model are evaluated: by the fair ranked probability score of its ensembles.

    Parameters
    ----------
    starts
        Starts, spread over the validation frames.
    members
        Members per start.
    time
        Length of the forecasts, in units of time: some Lyapunov times, so that both skill and spread count.
    every
        Updates between validations.
    """

    starts: Count = 16
    members: Count = 8
    time: Positive = 36.0
    every: Count = 500


@dataclass(frozen=True)
class ModelFitConfiguration(FitConfiguration):
    """Everything that decides the outcome of fitting a reduced-order model.

    Parameters
    ----------
    name
        The kind of run.
    model
        The model's name.
    every_frames
        Frames of the data per step of the model (published: 2).
    validation
        How checkpoints are evaluated.
    log_every
        Updates that are averaged into one row of metrics.
    """

    name: Literal["kolmogorov-rom"] = "kolmogorov-rom"
    model: str = "latent"
    every_frames: Count = 2
    validation: ForecastValidation = field(default_factory=ForecastValidation)
    log_every: Count = 50

    CHOICE, NOUN, KINDS = "model", "reduced-order model", MODELS
