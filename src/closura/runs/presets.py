"""Presets: settings that belong together, under a name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.learners.on_policy import OnPolicyConfiguration
from closura.problems import AdvectionConfiguration, BurgersConfiguration, family
from closura.problems.burgers_setup import TYPICAL_CHANGE
from closura.runs.configuration import (
    LEARNING,
    ClosureName,
    LearnerName,
    Preset,
    TrainConfiguration,
    ValidationConfiguration,
)
from closura.runs.flow_presets import FLOW_PRESETS, flow_preset
from closura.runs.law_presets import law_preset
from closura.runs.truth_bank import TruthConfiguration

PRESETS: tuple[Preset, ...] = ("paper", "default", "quick")

_PUBLISHED = OnPolicyConfiguration(
    updates=500_000,
    environments=1,
    steps=0,
    minibatch=10,
    epochs=1,
    discount=0.95,
    trace=0.95,
    value_weight=0.5,
    entropy_weight=0.05,
    learning_rate=1e-5,
    anneal=False,
    weight_decay=0.01,
    gradient_norm=0.0,
    normalise="cell",
    average=0.0,
    ends_are_terminal=True,
)


def problem_preset(problem: str, preset: Preset) -> Any:
    """Settings of a problem: the published physics, ours, or a small quick one.

    They are those of the preset's training with its own learner.

    Raises
    ------
    ValueError
        If a name is unknown, or the problem has no such preset.
    """
    return train_preset(preset, problem=problem).problem


def train_preset(
    preset: Preset,
    *,
    problem: str = "advection",
    learner: LearnerName | None = None,
    closure: ClosureName | None = None,
) -> TrainConfiguration:
    """All settings of a training.

    Parameters
    ----------
    preset
        ``paper``: what actually produced the published weights (PPO, IRCNN, one episode at a time, two million
        transitions). ``default``: what learns best per unit of time (gradients through the rollout of a
        compact closure: one gradient carries what PPO must find by trial). ``quick``: minutes. For problems whose
        agents weigh fluxes see :func:`~closura.runs.law_presets.law_preset`, for the Kolmogorov flow
        :func:`~closura.runs.flow_presets.flow_preset`.
    problem
        The problem.
    learner, closure
        Another learner or network than the preset's.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; valid: {', '.join(PRESETS)}")
    found = family(problem)  # refuses an unknown name
    if found.name not in TRAININGS:
        return _plain_preset(preset, problem=found.name, learner=learner, closure=closure)
    return TRAININGS[problem](preset, problem=problem, learner=learner, closure=closure)


def _plain_preset(
    preset: Preset, *, problem: str, learner: LearnerName | None, closure: ClosureName | None
) -> TrainConfiguration:
    """Settings of a problem without presets of its own: those of the learner; "quick" has a tenth of its updates."""
    found = family(problem)
    learner = learner or "bptts"
    closure = closure or ("weights" if found.where == "interfaces" else "compact")
    learning = LEARNING[learner]()
    if preset == "quick":
        learning = replace(learning, updates=max(1, learning.updates // 10))
    return TrainConfiguration(
        name=problem, problem=found.settings(), closure=closure, learner=learner, learning=learning
    )


def _transport_preset(
    preset: Preset, *, problem: str, learner: LearnerName | None, closure: ClosureName | None
) -> TrainConfiguration:
    learner = learner or ("ppo" if preset == "paper" else "bptts")
    closure = closure or ("ircnn" if preset == "paper" else "compact")
    if learner not in LEARNING:
        raise ValueError(f"unknown learner {learner!r}; valid: {', '.join(LEARNING)}")
    base = TrainConfiguration(
        name=problem, problem=_physics(problem, preset), closure=closure, learner=learner,
        learning=LEARNING[learner](),
    )  # fmt: skip
    if learner == "bptts":
        return _bptts(base, preset)
    return _on_policy(base, preset)


def _physics(problem: str, preset: Preset) -> AdvectionConfiguration | BurgersConfiguration:
    kind = family(problem)
    if preset == "paper":
        usual = AdvectionConfiguration(images="mnist") if problem == "advection" else kind.settings()
        return kind.published(usual)
    if preset == "quick" and problem == "advection":
        return AdvectionConfiguration(cells=32)
    return kind.settings()


def _bptts(base: TrainConfiguration, preset: Preset) -> TrainConfiguration:
    if isinstance(base.problem, BurgersConfiguration):
        return _bptts_burgers(base, preset)
    if preset == "quick":
        return replace(
            base,
            learning=BPTTSConfiguration(updates=600, batch=8, horizons=(4,), fractions=(1.0,)),
            truth=TruthConfiguration(slots=64, steps=40, blocks=8, renew_every=100),
            validation=ValidationConfiguration(simulations=16, steps=25, every=100),
        )
    return replace(base, learning=BPTTSConfiguration(), validation=ValidationConfiguration(every=100))


def _bptts_burgers(base: TrainConfiguration, preset: Preset) -> TrainConfiguration:
    # Longer windows than for advection: steep fronts stay, and what a step leaves behind is met again. Most
    # happens early, but errors are carried to the end: windows begin anywhere, more often early. The root of the
    # error lets calm simulations, where the coarse solver does well alone, count beside the violent ones.
    base = replace(base, compact=replace(base.compact, by_speed=True))
    learning = BPTTSConfiguration(
        updates=3000, horizons=(4, 8, 16, 32), fractions=(0.15, 0.25, 0.3, 0.3), early=2.0, loss="root"
    )
    if preset == "quick":
        return replace(
            base,
            learning=replace(learning, updates=600, horizons=(4, 8), fractions=(0.6, 0.4), early=1.0),
            truth=TruthConfiguration(slots=64, steps=120, blocks=8, renew_every=150),
            validation=ValidationConfiguration(simulations=16, steps=100, every=100),
        )
    if preset == "paper":
        return replace(
            base,
            learning=replace(learning, updates=2000, error_limit=1.0),
            truth=TruthConfiguration(slots=144, steps=200, blocks=1, renew_every=0),
            validation=ValidationConfiguration(simulations=24, steps=50, every=100),
        )
    return replace(
        base,
        learning=learning,
        truth=TruthConfiguration(slots=96, steps=800, blocks=12, renew_every=300),
        validation=ValidationConfiguration(simulations=24, steps=200, every=100),
    )


def _on_policy(base: TrainConfiguration, preset: Preset) -> TrainConfiguration:
    kind = PPOConfiguration if base.learner == "ppo" else A2CConfiguration
    if preset == "paper":
        settings = {name: getattr(_PUBLISHED, name) for name in _PUBLISHED.__dataclass_fields__}
        if base.learner == "a2c":
            settings["normalise"] = "none"  # as the published A2C, which stands unused beside its PPO
        return replace(
            base,
            learning=kind(**settings),
            initial_std=0.0,
            truth=TruthConfiguration(slots=0),
            validation=ValidationConfiguration(simulations=10, steps=50, every=100),
            keep_every=1000,
            transitions=2_000_000,
        )
    assert isinstance(base.problem, AdvectionConfiguration | BurgersConfiguration)
    problem = replace(base.problem, minimum_steps=20)
    if isinstance(base.problem, BurgersConfiguration):
        # Actions are rates here: the typical one is that of the problem.
        base = replace(base, initial_std=TYPICAL_CHANGE * base.problem.cells / base.problem.courant)
    if preset == "quick":
        return replace(
            base,
            problem=problem,
            learning=kind(updates=400),
            truth=TruthConfiguration(slots=128, steps=40, blocks=8, renew_every=50),
            validation=ValidationConfiguration(simulations=16, steps=25, every=20),
        )
    return replace(
        base,
        problem=problem,
        learning=kind(updates=2000),
        truth=TruthConfiguration(slots=256, steps=100, blocks=16, renew_every=100),
        validation=ValidationConfiguration(every=50),
    )


TRAININGS: dict[str, Callable[..., TrainConfiguration]] = {
    "advection": _transport_preset,
    "burgers": _transport_preset,
    **dict.fromkeys(("burgers-1d", "burgers-2d", "euler-1d", "euler-2d"), law_preset),
    **dict.fromkeys(FLOW_PRESETS, flow_preset),
}
"""What makes the settings of a training, by the problem's name."""
