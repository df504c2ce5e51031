"""Presets of the problems whose agents weigh fluxes."""

from dataclasses import replace
from typing import Any

from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.problems import family
from closura.problems.laws.setup import LawConfiguration, published
from closura.runs.configuration import (
    LEARNING,
    ClosureName,
    LearnerName,
    Preset,
    TrainConfiguration,
    ValidationConfiguration,
    WeightsConfiguration,
)
from closura.runs.truth_bank import TruthConfiguration

PUBLISHED_AGENT = WeightsConfiguration(hidden=(128, 128), activation="relu", form="published", largest=0.0, double=True)


def law_preset(
    preset: Preset,
    *,
    problem: str,
    learner: LearnerName | None = None,
    closure: ClosureName | None = None,
) -> TrainConfiguration:
    """All settings of a training of agents that weigh fluxes.

    Parameters
    ----------
    preset
        ``paper``: the published training (Way et al., arXiv:2203.08937): 10,000 gradients through whole simulations,
        one step of WENO from the agents' own state as the target, selection by the rewards of simulations twice as
        long. ``default``: what learns best: fine solutions as the target, random simulations, short windows that
        grow. ``quick``: a minute or two.
    problem
        The problem.
    learner, closure
        Another learner or network than the preset's. PPO and A2C learn from the published reward, with forward Euler.

    Raises
    ------
    ValueError
        If a name is unknown.
    """
    learner, closure = learner or "bptts", closure or "weights"
    if learner not in LEARNING:
        raise ValueError(f"unknown learner {learner!r}; valid: {', '.join(LEARNING)}")
    physics = family(problem).settings()
    if learner != "bptts":
        return _on_policy(preset, published(physics), learner, closure)
    if preset == "paper":
        return _paper(published(physics), closure)
    return _ours(preset, physics, closure)


def _paper(physics: LawConfiguration, closure: ClosureName) -> TrainConfiguration:
    batch = len(physics.initial)
    return TrainConfiguration(
        name=physics.problem,
        problem=physics,
        closure=closure,
        weights=PUBLISHED_AGENT,
        learner="bptts",
        learning=BPTTSConfiguration(
            updates=10_000, batch=batch, horizons=(physics.steps,), fractions=(1.0,), error_limit=1e6,
            learning_rate=3e-4, schedule="constant", gradient_norm=0.0, average=0.0, loss="reward",
            through_target=True,
        ),
        truth=TruthConfiguration(slots=0),
        validation=ValidationConfiguration(simulations=batch, steps=2 * physics.steps, every=50),
    )  # fmt: skip


def _ours(preset: Preset, physics: LawConfiguration, closure: ClosureName) -> TrainConfiguration:
    quick, plane = preset == "quick", physics.problem.endswith("2d")
    gas = physics.problem.startswith("euler")
    slots, steps, blocks = (32, 80, 8) if quick else (128, 160, 8)
    if plane:
        slots, steps, blocks = (8, 40, 4) if quick else (24, 80, 4)
    return TrainConfiguration(
        name=physics.problem,
        problem=replace(physics, steps=steps),
        closure=closure,
        # Some components of a gas change sign in a mirror.
        weights=WeightsConfiguration(even=True) if gas else WeightsConfiguration(gate=(1.1, 2.0), largest=8.0),
        learner="bptts",
        learning=BPTTSConfiguration(
            updates=300 if quick else (1000 if gas else 1500),
            batch=4 if plane else (8 if quick else 16),
            horizons=(4, 8, 16) if quick else (8, 16, 32, 64),
            fractions=(0.3, 0.4, 0.3) if quick else (0.2, 0.3, 0.3, 0.2),
            proceed=0.5 if gas else 0.3,
            error_limit=10.0,
            learning_rate=3e-3,
            clip="simulation",
            loss="log",
        ),
        truth=TruthConfiguration(
            slots=slots, steps=steps, blocks=blocks, renew_every=0 if quick else (400 if gas else 200)
        ),
        validation=ValidationConfiguration(
            simulations=4 if plane else (16 if quick else 48), steps=60 if plane else (80 if quick else 120),
            every=100,
        ),
    )  # fmt: skip


def _on_policy(
    preset: Preset, physics: LawConfiguration, learner: LearnerName, closure: ClosureName
) -> TrainConfiguration:
    environments, steps = 3 * len(physics.initial), 10
    # Rewards of one step are nearly all that an answer changes: no discounted sums, which add the others' noise.
    common: dict[str, Any] = {
        "environments": environments,
        "steps": steps,
        "discount": 0.0,
        "trace": 0.0,
        "learning_rate": 3e-3,
    }
    frames = environments * steps
    updates = {"paper": 5000, "default": 1000, "quick": 200}[preset]
    return TrainConfiguration(
        name=physics.problem,
        problem=physics,
        closure=closure,
        weights=PUBLISHED_AGENT if preset == "paper" else replace(PUBLISHED_AGENT, hidden=(64, 64)),
        # Wide, since the state hides small differences of weights; the spread shrinks as it learns.
        initial_std=0.8,
        learner=learner,
        learning=PPOConfiguration(updates=updates, minibatch=max(frames // 3, 1), epochs=4, **common)
        if learner == "ppo"
        # Nothing clips its steps: one for each round, on all frames.
        else A2CConfiguration(updates=updates, minibatch=frames, epochs=1, entropy_weight=0.0, **common),
        truth=TruthConfiguration(slots=0),
        validation=ValidationConfiguration(simulations=len(physics.initial), steps=2 * physics.steps, every=20),
    )  # fmt: skip
