"""The settings of a training: typed, with presets, written beside every result."""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from closura.closures import check_place
from closura.closures.weights import GATE, Form
from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.numerics import get_integrator
from closura.problems import AdvectionConfiguration, BurgersConfiguration, family
from closura.problems.laws.setup import LawConfiguration
from closura.runs.truth_bank import TruthConfiguration
from closura.settings import Count, Natural, NotNegative, Positive, Seed, Settings, build_part, build_settings

Preset = Literal["paper", "default", "quick"]
LearnerName = Literal["bptts", "ppo", "a2c"]
ClosureName = Literal["compact", "ircnn", "weights"]

LEARNING: dict[str, type] = {"bptts": BPTTSConfiguration, "ppo": PPOConfiguration, "a2c": A2CConfiguration}


@dataclass(frozen=True)
class CompactConfiguration(Settings):
    """Size and form of the compact closure.

    Parameters
    ----------
    channels
        Channels of each layer.
    layers
        Layers before the head.
    wide_layers
        How many of them see neighbouring cells; the others work cell by cell.
    radius
        Reach of the stencil that the head answers with, in cells.
    activation
        "relu", "gelu", "silu", "tanh", "glu" or "bilinear".
    output
        Whether the head answers with a stencil's weights or with the action itself.
    by_speed
        Measure velocities and weights of stencils in units of the local speed.
    view
        "grid": convolutions; "flow": every cell turns its neighbourhood to where its velocity comes from.
    look
        How far a closure with view "flow" sees the field, in cells; 0: velocities only.
    """

    channels: Count = 48
    layers: Count = 3
    wide_layers: Natural = 1
    radius: Natural = 3
    activation: str = "relu"
    output: Literal["stencil", "action"] = "stencil"
    by_speed: bool = False
    view: Literal["grid", "flow"] = "grid"
    look: Natural = 2


@dataclass(frozen=True)
class WeightsConfiguration(Settings):
    """Size and form of agents that weigh stencils.

    Parameters
    ----------
    hidden
        Sizes of the hidden layers.
    activation
        "relu", "gelu", "silu" or "tanh".
    form
        "guided": one network for both sides, around a classical scheme; "published": one that answers for both.
    even
        Average the network's answer over the sign of the stencils (guided only).
    largest
        Bound of the network's answer; 0: none.
    gate
        Contrasts of smoothness between which the network's answer comes in (guided only).
    softening, power
        How strongly the guided form starts out to avoid sub-stencils with a jump: their logits are lowered by
        power * log(smoothness indicator / its mean + softening).
    double
        Weights in float64, as published.
    """

    hidden: tuple[Count, ...] = (32, 32)
    activation: str = "relu"
    form: Form = "guided"
    even: bool = False
    largest: NotNegative = 4.0
    gate: tuple[float, float] = GATE
    softening: Positive = 0.01
    power: NotNegative = 1.0
    double: bool = False


@dataclass(frozen=True)
class ValidationConfiguration(Settings):
    """How checkpoints are judged: on simulations that are neither in training nor in the test set.

    Where the target takes notice of the agents' state there is no truth to be near to: then the sum of the rewards of
    a simulation counts, and named initial conditions are those of training, as published.

    Parameters
    ----------
    simulations
        Number of simulations.
    steps
        Coarse steps of each; the error at the last one counts (of rewards, the sum).
    every
        Updates between validations.
    """

    simulations: Count = 24
    steps: Count = 50
    every: Count = 100


@dataclass(frozen=True)
class TrainConfiguration(Settings):
    """Everything that decides the outcome of a training.

    Parameters
    ----------
    name
        The problem.
    problem
        The problem's settings.
    closure
        The network.
    compact
        Size of the compact closure (not used by others).
    weights
        Size of agents that weigh stencils (not used by others).
    initial_std
        Spread of a policy before training, in units of the action; 0 is the network's own: for ircnn PyTorch's
        initialisation, as published (about 0.7), for compact the problem's typical action, for weights 0.3.
    learner
        How it learns.
    learning
        The learner's settings.
    truth
        The store of true trajectories.
    validation
        How checkpoints are judged.
    keep_every
        Updates between checkpoints that are kept for good (weights, validation error),
        beside the best and the last; 0 keeps none.
    log_every
        Updates that are averaged into one row of metrics.
    transitions
        Stop after so many transitions even if updates are left; 0 sets no limit.
    seed
        Seed of everything random.
    """

    name: str = "advection"
    problem: Any = field(default_factory=AdvectionConfiguration)
    closure: ClosureName = "compact"
    compact: CompactConfiguration = field(default_factory=CompactConfiguration)
    weights: WeightsConfiguration = field(default_factory=WeightsConfiguration)
    initial_std: NotNegative = 0.01
    learner: LearnerName = "bptts"
    learning: BPTTSConfiguration | PPOConfiguration | A2CConfiguration = field(default_factory=BPTTSConfiguration)
    truth: TruthConfiguration = field(default_factory=TruthConfiguration)
    validation: ValidationConfiguration = field(default_factory=ValidationConfiguration)
    keep_every: Natural = 0
    log_every: Count = 10
    transitions: Natural = 0
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.problem) is not family(self.name).settings:
            wanted = family(self.name).settings.__name__
            raise ValueError(f"problem {self.name!r} takes {wanted}; got {type(self.problem).__name__}")
        expected = LEARNING[self.learner]
        if type(self.learning) is not expected:
            raise ValueError(f"learner {self.learner!r} takes {expected.__name__}; got {type(self.learning).__name__}")
        kind = family(self.name)
        check_place(self.closure, kind.where)
        follows = kind.follows_state(self.problem)
        if follows and self.truth.slots:
            raise ValueError(
                "the target takes notice of the agents' state, so that no truth can be stored: set truth.slots to 0"
            )
        if isinstance(self.learning, BPTTSConfiguration):
            if not follows and not self.truth.slots and not self.learning.proceed:
                raise ValueError(
                    "windows of bptts begin on stored truth: set truth.slots, or let windows proceed "
                    "(learning.proceed > 0)"
                )
            if getattr(self.problem, "reward", "") == "free" and self.learning.loss != "reward":
                raise ValueError(
                    f"reward free has no part in loss {self.learning.loss!r}: set learning.loss to reward (or learn by "
                    "ppo or a2c)"
                )
        elif isinstance(self.problem, LawConfiguration) and get_integrator(self.problem.integrator).stages > 1:
            raise ValueError(
                f"{self.learner} takes one action a step, and {self.problem.integrator} asks "
                f"{get_integrator(self.problem.integrator).stages} times: set integrator to forward-euler (the trained "
                "agents can be run with any)"
            )
        elif isinstance(self.problem, BurgersConfiguration) and self.problem.orientations > 1:
            raise ValueError(
                f"{self.learner} takes one action a step, and {self.problem.orientations} orientations ask as often: "
                "set orientations to 1, or learn by bptts"
            )


def to_plain(configuration: Any) -> Any:
    """A configuration as JSON can hold it."""
    if is_dataclass(configuration) and not isinstance(configuration, type):
        return {f.name: to_plain(getattr(configuration, f.name)) for f in fields(configuration)}
    if isinstance(configuration, tuple | list):
        return [to_plain(item) for item in configuration]
    return configuration


def from_plain(plain: dict[str, Any]) -> TrainConfiguration:
    """The configuration that :func:`to_plain` wrote.

    Raises
    ------
    ValueError
        If a setting is unknown or a value is refused.
    """
    try:
        values = dict(plain)
        values["learning"] = build_part("learning", LEARNING[values["learner"]], values["learning"])
        values["problem"] = build_part("problem", family(values["name"]).settings, values["problem"])
        return build_settings(TrainConfiguration, values)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a configuration of a training: {error}") from error


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """Settings in which two plain configurations differ, as ``name: a -> b``."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [*a, *(name for name in b if name not in a)]
        return [
            line
            for name in names
            for line in differences(a.get(name), b.get(name), f"{prefix}.{name}" if prefix else name)
        ]
    return [] if a == b else [f"{prefix}: {a} -> {b}"]
