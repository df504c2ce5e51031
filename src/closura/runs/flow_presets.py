"""Presets of the Kolmogorov flow with a closure in the loop."""

from dataclasses import replace

from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.problems import KolmogorovConfiguration
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
    kind = PPOConfiguration if learner == "ppo" else A2CConfiguration
    return replace(base, learning=kind(updates=400 if quick else 2000), initial_std=0.0)


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
        return KolmogorovConfiguration(fine_cells=48, pool=32, transient=60.0, spacing=15.0)
    return KolmogorovConfiguration()
