"""Presets of the flows with a closure in the loop: ``kolmogorov`` and ``turbulence``."""

from dataclasses import dataclass, replace
from typing import Any

from closura.closures import CompactConfiguration
from closura.learners import LEARNERS, A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.problems import KolmogorovConfiguration, TurbulenceConfiguration
from closura.runs.configuration import Preset, TrainConfiguration, ValidationConfiguration, network_for
from closura.runs.truth_bank import TruthConfiguration

NETWORK = CompactConfiguration(channels=32, layers=4, wide_layers=2, activation="gelu", output="action")
"""Two layers that see neighbours and the head together span 7 of 12 points."""

TURBULENCE_NETWORK = CompactConfiguration(channels=16, layers=4, wide_layers=2, output="action")
"""Few channels, because 64 x 64 points are many."""

STEPS = 4
"""Length of an episode of learning by trial."""

UNPUBLISHED = {
    "kolmogorov": "nothing was published for kolmogorov",
    "turbulence": "closura repeats no published training on turbulence",
}
"""Why there is no preset "paper"."""


@dataclass(frozen=True)
class ByTrial:
    """What a training by PPO or A2C has of its own.

    Parameters
    ----------
    physics
        The flow, with episodes of :data:`STEPS` steps.
    updates, environments
        Rounds of learning, and simulations in each.
    truth
        The store of true trajectories, as long as an episode.
    every
        Updates between validations.
    """

    physics: KolmogorovConfiguration
    updates: int
    environments: int
    truth: TruthConfiguration
    every: int


@dataclass(frozen=True)
class FlowPreset:
    """The settings of a flow's preset; ``by_trial`` replaces some where the learner is PPO or A2C."""

    physics: KolmogorovConfiguration
    network: CompactConfiguration
    truth: TruthConfiguration
    validation: ValidationConfiguration
    gradients: BPTTSConfiguration
    by_trial: ByTrial


def _short(flow: KolmogorovConfiguration, **changes: Any) -> KolmogorovConfiguration:
    # Four steps from the truth: the error that a correction is paid for is then mostly the one that the last step made,
    # which the state tells, and not what has piled up, which it does not. Nothing is gained by looking further ahead.
    return replace(flow, minimum_steps=STEPS, maximum_steps=STEPS, **changes)


def _kolmogorov() -> dict[Preset, FlowPreset]:
    usual = KolmogorovConfiguration()
    small = replace(usual, fine_cells=48, pool=32, transient=60.0)
    return {
        "default": FlowPreset(
            usual, NETWORK,
            TruthConfiguration(slots=64, steps=300, blocks=8, renew_every=500),
            ValidationConfiguration(simulations=32, steps=150, every=100),
            BPTTSConfiguration(
                updates=6000, batch=16, horizons=(4, 16, 32, 64), fractions=(0.15, 0.25, 0.3, 0.3), error_limit=1.0
            ),
            ByTrial(
                _short(usual, pool=256, spacing=10.0), updates=3000, environments=128,
                truth=TruthConfiguration(slots=3072, steps=STEPS, blocks=8, renew_every=0), every=100,
            ),
        ),
        "quick": FlowPreset(
            small, NETWORK,
            TruthConfiguration(slots=32, steps=150, blocks=4, renew_every=0),
            ValidationConfiguration(simulations=16, steps=100, every=100),
            BPTTSConfiguration(updates=600, batch=8, horizons=(4, 16), fractions=(0.4, 0.6), error_limit=1.0),
            ByTrial(
                _short(small, pool=64, spacing=10.0), updates=200, environments=128,
                truth=TruthConfiguration(slots=512, steps=STEPS, blocks=8, renew_every=0), every=50,
            ),
        ),
    }  # fmt: skip


def _turbulence() -> dict[Preset, FlowPreset]:
    # Truth is kept on disk: 32 simulations of ten units of time, which other trainings on the same flow find there.
    usual = TurbulenceConfiguration()
    small = replace(usual, cells=32, fine_cells=64, time_step=0.128, finer=(64,), others=("spectral 32",))
    stored = TruthConfiguration(slots=32, steps=160, blocks=4, renew_every=0, keep=True)
    return {
        "default": FlowPreset(
            usual, TURBULENCE_NETWORK, stored,
            # At t = 3: later, chaos makes errors differ more from update to update than trainings differ.
            ValidationConfiguration(simulations=16, steps=46, every=100),
            BPTTSConfiguration(
                updates=3000, batch=12, horizons=(4, 8, 16), fractions=(0.4, 0.35, 0.25), error_limit=1.0
            ),
            ByTrial(
                _short(usual), updates=600, environments=32,
                truth=replace(stored, slots=512, steps=STEPS), every=100,
            ),
        ),
        "quick": FlowPreset(
            small, TURBULENCE_NETWORK, replace(stored, slots=8, steps=60),
            ValidationConfiguration(simulations=4, steps=30, every=100),
            BPTTSConfiguration(updates=200, batch=4, horizons=(4, 8), fractions=(0.5, 0.5), error_limit=1.0),
            ByTrial(
                _short(small), updates=50, environments=32,
                truth=replace(stored, slots=128, steps=STEPS), every=100,
            ),
        ),
    }  # fmt: skip


FLOW_PRESETS = {"kolmogorov": _kolmogorov(), "turbulence": _turbulence()}


def flow_preset(
    preset: Preset,
    *,
    problem: str = "kolmogorov",
    learner: str | None = None,
    closure: str | None = None,
) -> TrainConfiguration:
    """All settings of a training.

    Parameters
    ----------
    preset
        ``default``: what learns best. ``quick``: minutes. closura repeats no published training: ``paper`` is refused.
    problem
        "kolmogorov", or "turbulence", the flow at a Reynolds number of 1000.
    learner, closure
        Another learner or network than the preset's.

    Raises
    ------
    ValueError
        If a name is unknown, or the preset is "paper".
    """
    learner, closure = learner or "bptts", closure or "compact"
    if preset == "paper":
        raise ValueError(f"{UNPUBLISHED[problem]}: choose preset default or quick")
    settings = FLOW_PRESETS[problem][preset]
    base = TrainConfiguration(
        name=problem, problem=settings.physics, closure=closure, network=network_for(closure, settings.network),
        learner="bptts", learning=settings.gradients, truth=settings.truth, validation=settings.validation,
    )  # fmt: skip
    if not LEARNERS.find(learner).explores:
        return base
    trial = settings.by_trial
    kind = PPOConfiguration if learner == "ppo" else A2CConfiguration
    return replace(
        base,
        problem=trial.physics,
        learner=learner,
        learning=kind(
            updates=trial.updates, environments=trial.environments, steps=STEPS, discount=0.0, trace=0.0,
            learning_rate=2e-3, minibatch=trial.environments if learner == "ppo" else STEPS * trial.environments,
            epochs=2 if learner == "ppo" else 1,
        ),
        truth=trial.truth,
        validation=replace(settings.validation, every=trial.every),
        initial_std=0.03,
    )  # fmt: skip
