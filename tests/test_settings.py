"""Settings of all kinds: each refuses what is of another type, out of range or no number, and names itself."""

import copy
import json
import math
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from closura.commands.evaluation import evaluation_key
from closura.entries import ENTRIES
from closura.learners import A2CConfiguration, BPTTSConfiguration, PPOConfiguration
from closura.offline.ensembles import start_key
from closura.runs.configuration import from_plain, to_plain, train_preset
from closura.runs.fitting.configuration import ClosureFitConfiguration, ModelFitConfiguration
from closura.seeds import generator_of
from closura.settings import Settings
from closura.trajectories.configuration import GenerationConfiguration

for group in ("closura.commands", "closura.evaluations", "closura.problems"):
    for place in ENTRIES[group].values():  # all modules with settings are known from here on
        import_module(place.partition(":")[0])


def kinds(base: type) -> list[type]:
    found = [base] if is_dataclass(base) else []
    return found + [kind for each in base.__subclasses__() for kind in kinds(each)]


def defaults(kind: type) -> Any:
    try:
        return kind()
    except (TypeError, AttributeError):  # some have no defaults, or are bases of others
        return None


NUMBERS = [
    pytest.param(made, f.name, hint, id=f"{type(made).__name__}.{f.name}")
    for made in {kind.__name__: defaults(kind) for kind in kinds(Settings)}.values()
    if made is not None
    for f in fields(made)
    for hint in [get_type_hints(type(made))[f.name]]
    if hint in (int, float)
]


def test_all_kinds_of_settings_are_found() -> None:
    assert len(NUMBERS) > 200


@pytest.mark.parametrize(("settings", "name", "kind"), NUMBERS)
def test_numbers_are_numbers_of_their_range(settings: Settings, name: str, kind: type) -> None:
    wrong: list[Any] = [math.nan, math.inf, -1, True, "1", None, 10**400]
    if kind is int:
        wrong += [1.5, 2**70]
    for value in wrong:
        made = copy.copy(settings)  # not through the constructor, whose types are checked by the tests themselves
        object.__setattr__(made, name, value)
        with pytest.raises(ValueError, match=rf"^{name} must .*; got ") as caught:
            Settings.__post_init__(made)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("learner", "setting", "value"),
    [
        ("bptts", "gradient_norm", -1.0),
        ("bptts", "loss", 5),
        ("bptts", "loss", "huber"),
        ("bptts", "horizons", [4, 8.5, 16]),
        ("bptts", "horizons", [4, -8, 16]),
        ("bptts", "through_target", 1),
        ("ppo", "weight_decay", -0.1),
        ("ppo", "value_weight", math.nan),
        ("ppo", "normalise", None),
        ("a2c", "entropy_weight", math.inf),
        ("a2c", "environments", 2.0),
    ],
)
def test_a_configuration_file_meets_the_same_checks(learner: Any, setting: str, value: Any) -> None:
    plain = json.loads(json.dumps(to_plain(train_preset("default", learner=learner))))
    assert to_plain(from_plain(plain)) == plain
    plain["learning"][setting] = value
    with pytest.raises(ValueError, match=rf"^learning: (each value of )?{setting} must"):
        from_plain(plain)


@pytest.mark.parametrize("name", ["seed", "log_every", "problem", "validation", "closure", "network"])
def test_parts_of_a_configuration_have_their_types(name: str) -> None:
    plain = json.loads(json.dumps(to_plain(train_preset("default"))))
    with pytest.raises(ValueError, match=name):
        from_plain({**plain, name: [1]})


def test_fits_meet_the_same_checks() -> None:
    for preset, decode, part in (
        (ClosureFitConfiguration.preset("conv", "quick"), ClosureFitConfiguration.from_plain, "validation"),
        (ModelFitConfiguration.preset("latent", "quick"), ModelFitConfiguration.from_plain, "filtering"),
    ):
        plain = json.loads(json.dumps(to_plain(preset)))
        assert to_plain(decode(plain)) == plain
        for where, name, value in (
            ("settings", "descent", {**plain["settings"]["descent"], "clip": -1.0}),
            ("settings", "fairness", math.nan),
            (part, {"validation": "members", "filtering": "width"}[part], 0),
            ("split", "gap", "100"),
        ):
            with pytest.raises(ValueError, match=f"^{where}: .*must"):
                decode({**plain, where: {**plain[where], name: value}})
        with pytest.raises(ValueError, match="seed must be a whole number from 0"):
            decode({**plain, "seed": 2**63})


def test_published_values_that_switch_something_off_stay() -> None:
    assert BPTTSConfiguration(gradient_norm=0.0).gradient_norm == 0
    assert PPOConfiguration(environments=1, steps=0, average=0.0, weight_decay=0.0).steps == 0
    assert A2CConfiguration(entropy_weight=0.0, gradient_norm=0.0).entropy_weight == 0


SEEDS = (0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**40, 2**63 - 1)


def test_every_seed_is_its_own_wherever_it_is_used() -> None:
    def several(draw: Any) -> int:
        return len({np.asarray(draw(seed)).tobytes() for seed in SEEDS})

    import jax

    assert several(lambda seed: jax.random.key_data(evaluation_key(seed))) == len(SEEDS)
    assert several(lambda seed: jax.random.key_data(start_key(seed, 0, 0))) == len(SEEDS)
    for parts in ((), (0,), (1,), (0x5CA7, 3)):
        assert several(lambda seed, parts=parts: generator_of(seed, *parts).integers(0, 2**62, 4)) == len(SEEDS)
    # Epochs of one seed are none of another.
    drawn = {generator_of(seed, epoch).integers(0, 2**62) for seed in SEEDS for epoch in range(4)}
    assert len(drawn) == 4 * len(SEEDS)
    for seed, parts in ((0, (2,)), (7, (0x5CA7, 1)), (2**32 - 1, (5,))):
        ours, numpy = generator_of(seed, *parts), np.random.default_rng([seed, *parts])
        np.testing.assert_array_equal(ours.integers(0, 2**62, 4), numpy.integers(0, 2**62, 4))
    np.testing.assert_array_equal(generator_of(2**40).random(3), np.random.default_rng(2**40).random(3))


def test_seeds_of_trajectories_stay_within_what_a_file_can_hold() -> None:
    last = 2**63 - 1
    assert GenerationConfiguration(seed=last, trajectories=1).members() == [(34.0, last)]
    for settings in ({"seed": last}, {"seed": last - 2, "reynolds": (20.0, 34.0), "trajectories": 2}, {"seed": 2**63}):
        with pytest.raises(ValueError, match=r"seed .*2\^63"):
            GenerationConfiguration(**settings)


def test_ranges_are_declared_where_numbers_are() -> None:
    """A number without a range would let through what is negative: every one has one."""
    bare = []
    for kind in kinds(Settings):
        for f in fields(kind):
            hint = get_type_hints(kind, include_extras=True)[f.name]
            parts = get_args(hint) if get_origin(hint) is tuple else (hint,)
            bare += [f"{kind.__name__}.{f.name}" for part in parts if part in (int, float)]
    # Contrasts at which a gate opens, and reaches of gates, may lie anywhere.
    assert set(bare) <= {"WeightsConfiguration.gate"}, bare
