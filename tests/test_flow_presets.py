"""Presets of the flows: sizes that were chosen, and that the parts of each fit together."""

import dataclasses

import pytest

from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.problems import PROBLEMS, KolmogorovConfiguration, TurbulenceConfiguration
from closura.runs.configuration import from_plain, problem_preset, to_plain, train_preset

FLOWS = {"kolmogorov": KolmogorovConfiguration, "turbulence": TurbulenceConfiguration}
LEARNERS = {"bptts": BPTTSConfiguration, "ppo": PPOConfiguration, "a2c": A2CConfiguration}


def every(function):
    function = pytest.mark.parametrize("learner", LEARNERS)(function)
    function = pytest.mark.parametrize("preset", ["default", "quick"])(function)
    return pytest.mark.parametrize("problem", FLOWS)(function)


@every
def test_a_preset_is_of_its_problem_and_learner_and_can_be_written_down(problem, preset, learner):
    c = train_preset(preset, problem=problem, learner=learner)
    assert (c.name, c.learner, c.closure) == (problem, learner, "compact")
    assert type(c.problem) is FLOWS[problem]
    assert type(c.learning) is LEARNERS[learner]
    assert from_plain(to_plain(c)) == c
    assert train_preset(preset, problem=problem, learner=learner, closure="ircnn").closure == "ircnn"


@every
def test_the_parts_of_a_preset_fit_together(problem, preset, learner):
    c = train_preset(preset, problem=problem, learner=learner)
    learning = c.learning
    if learner == "bptts":
        # The longest window has its reference in the store, and the flow is that of the preset.
        assert max(learning.horizons) <= c.reference.steps
        assert sum(learning.fractions) == pytest.approx(1.0)
        assert c.problem == problem_preset(problem, preset)
        return
    frames = learning.environments * learning.steps
    assert (frames // learning.minibatch, learning.epochs) == ((4, 2) if learner == "ppo" else (1, 1))
    assert learning.discount == learning.trace == 0.0
    # Episodes are as long as what is stored and as a round.
    assert c.problem.minimum_steps == c.problem.maximum_steps == c.reference.steps == learning.steps == 4
    # Nothing else about the flow is another, but for the starts.
    usual = dataclasses.asdict(problem_preset(problem, preset))
    changed = {name for name, value in dataclasses.asdict(c.problem).items() if value != usual[name]}
    starts = {"pool", "spacing"} if problem == "kolmogorov" else set()
    assert changed == {"minimum_steps", "maximum_steps"} | starts


@pytest.mark.parametrize(
    ("problem", "preset", "learner", "updates", "simulations", "slots", "validation"),
    [
        ("kolmogorov", "default", "bptts", 6000, 16, 64, (32, 150, 100)),
        ("kolmogorov", "quick", "bptts", 600, 8, 32, (16, 100, 100)),
        ("kolmogorov", "default", "ppo", 3000, 128, 3072, (32, 150, 100)),
        ("kolmogorov", "quick", "a2c", 200, 128, 512, (16, 100, 50)),
        ("turbulence", "default", "bptts", 3000, 12, 32, (16, 46, 100)),
        ("turbulence", "quick", "bptts", 200, 4, 8, (4, 30, 100)),
        ("turbulence", "default", "ppo", 600, 32, 512, (16, 46, 100)),
        ("turbulence", "quick", "ppo", 50, 32, 128, (4, 30, 100)),
    ],
)
def test_presets_have_the_sizes_that_were_chosen(problem, preset, learner, updates, simulations, slots, validation):
    c = train_preset(preset, problem=problem, learner=learner)
    assert c.learning.updates == updates
    assert (c.learning.batch if learner == "bptts" else c.learning.environments) == simulations
    assert c.reference.slots == slots
    assert (c.validation.simulations, c.validation.steps, c.validation.every) == validation
    # Reference of the flow that is expensive is kept on disk.
    assert c.reference.keep == (problem == "turbulence")


def test_flows_of_the_presets():
    assert problem_preset("kolmogorov", "default") == KolmogorovConfiguration()
    quick = problem_preset("kolmogorov", "quick")
    assert (quick.cells, quick.fine_cells, quick.pool) == (12, 48, 32)
    assert problem_preset("turbulence", "default") == TurbulenceConfiguration()
    quick = problem_preset("turbulence", "quick")
    assert (quick.cells, quick.fine_cells, quick.time_step, quick.finer, quick.others) == (
        32,
        64,
        0.128,
        (64,),
        ("spectral 32",),
    )


def test_every_problem_has_presets_and_paper_is_refused_where_nothing_is_repeated():
    assert all(kind.presets for kind in PROBLEMS.all().values())
    for name, kind in PROBLEMS.all().items():
        for preset in (
            ("default", "quick") if name in (*FLOWS, "convection", "lorenz96") else ("paper", "default", "quick")
        ):
            assert type(problem_preset(name, preset)) is kind.settings
    with pytest.raises(ValueError, match="nothing was published for kolmogorov: choose preset default or quick"):
        problem_preset("kolmogorov", "paper")
    with pytest.raises(ValueError, match="repeats no published training on turbulence: choose preset default or quick"):
        problem_preset("turbulence", "paper")
