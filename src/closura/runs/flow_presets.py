"""Presets of the Kolmogorov flow with a closure in the loop."""

from dataclasses import replace
from typing import Any

from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.problems import KolmogorovConfiguration, TurbulenceConfiguration
from closura.runs.configuration import (
    LEARNING,
    ClosureName,
    CompactConfiguration,
    LearnerName,
    Preset,
    TrainConfiguration,
    ValidationConfiguration,
)
from closura.runs.truth_bank import TruthConfiguration

NETWORK = CompactConfiguration(channels=32, layers=4, wide_layers=2, activation="gelu", output="action")
"""Two layers that see neighbours and the head together span 7 of 12 points."""

TURBULENCE_NETWORK = CompactConfiguration(channels=24, layers=3, wide_layers=1)
"""Finite volumes are corrected by stencils, which is the form that their errors have; few channels, because 64 x 64
cells are many."""


def turbulence_preset(
    preset: Preset, *, learner: LearnerName | None = None, closure: ClosureName | None = None
) -> TrainConfiguration:
    """All settings of a training on the flow at a Reynolds number of 1000; see :func:`flow_preset`.

    Truth is kept on disk: 32 simulations of ten units of time, which other trainings on the same flow find there.
    """
    base = flow_preset(preset, learner=learner, closure=closure)
    physics, quick = turbulence_physics(preset), preset == "quick"
    base = replace(
        base, name="turbulence", problem=physics, compact=TURBULENCE_NETWORK,
        truth=TruthConfiguration(
            slots=8 if quick else 32, steps=60 if quick else 160, blocks=4, renew_every=0, keep=True
        ),
        validation=ValidationConfiguration(simulations=4 if quick else 8, steps=30 if quick else 62, every=100),
    )  # fmt: skip
    if base.learner == "bptts":
        learning = BPTTSConfiguration(
            updates=200 if quick else 3000, batch=4, horizons=(4, 8) if quick else (4, 16, 32),
            fractions=(0.5, 0.5) if quick else (0.2, 0.5, 0.3), error_limit=1.0,
        )  # fmt: skip
        return replace(base, learning=learning)
    by_trial: Any = base.learning
    learning_by_trial: Any = replace(
        by_trial, updates=50 if quick else 600, environments=32, minibatch=32 if base.learner == "ppo" else 128
    )
    return replace(
        base, learning=learning_by_trial, problem=replace(physics, minimum_steps=4, maximum_steps=4),
        truth=replace(base.truth, slots=128 if quick else 512, steps=4),
    )  # fmt: skip


def flow_preset(
    preset: Preset, *, learner: LearnerName | None = None, closure: ClosureName | None = None
) -> TrainConfiguration:
    """All settings of a training.

    Parameters
    ----------
    preset
        ``default``: what learns best. ``quick``: minutes. There is no published training: ``paper`` is refused.
    learner, closure
        Another learner or network than the preset's.

    Raises
    ------
    ValueError
        If a name is unknown, or the preset is "paper".
    """
    learner, closure = learner or "bptts", closure or "compact"
    if learner not in LEARNING:
        raise ValueError(f"unknown learner {learner!r}; valid: {', '.join(LEARNING)}")
    physics = flow_physics(preset)
    quick = preset == "quick"
    base = TrainConfiguration(
        name="kolmogorov", problem=physics, closure=closure, compact=NETWORK, learner=learner,
        learning=LEARNING[learner](),
        truth=TruthConfiguration(slots=32, steps=150, blocks=4, renew_every=0)
        if quick
        else TruthConfiguration(slots=64, steps=300, blocks=8, renew_every=500),
        validation=ValidationConfiguration(
            simulations=16 if quick else 32, steps=100 if quick else 150, every=100
        ),
    )  # fmt: skip
    if learner == "bptts":
        learning = BPTTSConfiguration(
            updates=600 if quick else 6000,
            batch=8 if quick else 16,
            horizons=(4, 16) if quick else (4, 16, 32, 64),
            fractions=(0.4, 0.6) if quick else (0.15, 0.25, 0.3, 0.3),
            error_limit=1.0,
        )
        return replace(base, learning=learning)
    # Four steps from the truth: the error that a correction is paid for is then mostly the one that the last step made,
    # which the state tells, and not what has piled up, which it does not. Nothing is gained by looking further ahead.
    kind = PPOConfiguration if learner == "ppo" else A2CConfiguration
    frames = 512
    return replace(
        base,
        problem=replace(physics, pool=64 if quick else 256, spacing=10.0, minimum_steps=4, maximum_steps=4),
        learning=kind(
            updates=200 if quick else 3000, environments=frames // 4, steps=4, discount=0.0, trace=0.0,
            learning_rate=2e-3, minibatch=frames // 4 if learner == "ppo" else frames,
            epochs=2 if learner == "ppo" else 1,
        ),
        truth=TruthConfiguration(slots=512 if quick else 3072, steps=4, blocks=8, renew_every=0),
        validation=replace(base.validation, every=50 if quick else 100),
        initial_std=0.03,
    )  # fmt: skip


def turbulence_physics(preset: Preset) -> TurbulenceConfiguration:
    """The settings of the flow at a Reynolds number of 1000 in a preset.

    Raises
    ------
    ValueError
        If the preset is "paper".
    """
    if preset == "paper":
        raise ValueError("closura repeats no published training on turbulence: choose preset default or quick")
    if preset == "quick":
        return TurbulenceConfiguration(cells=32, fine_cells=64, time_step=0.128, finer=(64,), spectral=(32,))
    return TurbulenceConfiguration()


def flow_physics(preset: Preset) -> KolmogorovConfiguration:
    """The problem's settings in a preset.

    Raises
    ------
    ValueError
        If the preset is "paper".
    """
    if preset == "paper":
        raise ValueError("nothing was published for kolmogorov: choose preset default or quick")
    if preset == "quick":
        return KolmogorovConfiguration(fine_cells=48, pool=32, transient=60.0)
    return KolmogorovConfiguration()
