"""What all closures, policies and learners have in common, and those that come from a file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import closura
from closura.closures import CLOSURES, ActorCritic, CompactConfiguration, build
from closura.commands.training import default_folder, parse_train
from closura.core import ClosureSpec
from closura.io.tensor_files import packed, read_arrays, read_header_text
from closura.io.weights import load_weights, named_weights, save_weights
from closura.learners import LEARNERS, PPO, PPOConfiguration
from closura.problems import AdvectionConfiguration, Problem, advection
from closura.problems.laws.weighted_fluxes import weights_spec
from closura.runs import ReferenceConfiguration, RunFolder, TrainConfiguration, ValidationConfiguration, train
from closura.runs.configuration import from_plain, to_plain, train_preset

CELLS = ClosureSpec(("q", "u", "v"), ("a", "b"), ("periodic", "periodic"), acts_on=(0, 1), scale=0.1, velocity=(1, 2))
SPECS = {"cells": (CELLS, (3, 10, 8)), "interfaces": (weights_spec(2), (6, 12))}
ROOT = Path(__file__).parents[1]

# Every registered closure, and forms of one that are classes of their own.
FORMS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in CLOSURES.names()]
FORMS += [("compact", {"channels": 6, "output": "action"}), ("compact", {"channels": 6, "by_speed": True})]
FORMS += [("compact", {"channels": 6, "view": "flow"}), ("weights", {"form": "published", "double": True})]


def case(name: str, seed: int, dtype: type = np.float32, members: int = 3) -> tuple[ClosureSpec, Array]:
    """A specification that a closure serves, and observations ``(member, channel, *grid)``."""
    spec, shape = SPECS[CLOSURES.find(name).where]
    return spec, jnp.asarray(np.random.default_rng(seed).normal(size=(members, *shape)), dtype)


def randomised(network: Any, seed: int, dtype: type = np.float32) -> Any:
    """Other weights than those of the start, in a precision."""
    arrays, rest = eqx.partition(network, eqx.is_inexact_array)
    leaves, structure = jax.tree.flatten(arrays)
    generator = np.random.default_rng(seed)
    drawn = [jnp.asarray(0.3 * generator.normal(size=leaf.shape), dtype) for leaf in leaves]
    return eqx.combine(jax.tree.unflatten(structure, drawn), rest)


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_what_every_closure_promises(name: str, options: dict[str, Any]) -> None:
    """Shape and precision of the answer, the claimed start, and the same answer compiled and in batches."""
    for dtype in (np.float32, np.float64):
        spec, x = case(name, 1, dtype)
        fresh = build(name, spec, options=options, key=jax.random.key(0))
        first = eqx.filter_jit(fresh)(x[0])
        assert first.shape == (len(spec.action), *x.shape[2:])
        assert first.dtype == dtype
        assert np.isfinite(first).all()
        if CLOSURES.find(name).zero_start:
            assert not np.any(first)
    closure = randomised(fresh, 2)
    batch = eqx.filter_jit(lambda c, x: jax.vmap(c)(x))(closure, x)
    assert np.isfinite(batch).all()
    assert np.any(batch)
    # float32 weights; other sums of the same products.
    for member in range(2):
        np.testing.assert_allclose(batch[member], closure(x[member]), rtol=1e-4, atol=1e-4 * float(np.abs(batch).max()))


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_gradients_agree_with_finite_differences(name: str, options: dict[str, Any]) -> None:
    spec, x = case(name, 3, np.float64, members=1)
    closure = randomised(build(name, spec, options=options, key=jax.random.key(0)), 4, np.float64)
    weights, static = eqx.partition(closure, eqx.is_inexact_array)
    direction = randomised(weights, 5, np.float64)
    factors = jnp.asarray(np.random.default_rng(6).normal(size=(len(spec.action), *x.shape[2:])))

    @jax.jit
    def value(weights: Any, x: Array) -> Array:
        return jnp.sum(factors * eqx.combine(weights, static)(x))

    along = jax.jit(jax.grad(value, (0, 1)))(weights, x[0])
    slope = sum(
        float(jnp.sum(g * d))
        for g, d in zip(jax.tree.leaves(along), jax.tree.leaves((direction, jnp.ones_like(x[0]))), strict=True)
    )
    step = 1e-6
    ends = [
        float(value(jax.tree.map(lambda w, d, s=s: w + s * step * d, weights, direction), x[0] + s * step))
        for s in (1, -1)
    ]
    # Differences of 1e-6 in float64 leave about eight digits; a kink that lies between costs some.
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=1e-4)


@pytest.mark.parametrize(("name", "options"), FORMS)
def test_a_policy_around_every_closure(name: str, options: dict[str, Any]) -> None:
    """The mean is the closure's answer; the spread begins as asked; value and spread are one for each action."""
    spec, x = case(name, 7)
    policy = build(name, spec, explores=True, options=options, initial_std=0.05, key=jax.random.key(0))
    actions, value = eqx.filter_jit(lambda p, x: jax.vmap(p.evaluate)(x))(policy, x)
    assert actions.mean.shape == actions.std.shape == (3, len(spec.action), *x.shape[2:])
    assert value.shape == (3, *x.shape[2:])
    np.testing.assert_allclose(actions.std, 0.05, rtol=0.01)
    policy = randomised(policy, 8)
    actions, value = policy.evaluate(x[0])
    for found, expected in (
        (policy(x[0]), actions.mean), (policy.closure(x[0]), actions.mean),
        (policy.value(x[0]), value),
    ):  # fmt: skip
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * float(jnp.abs(expected).max()))
    assert policy.describe()["kind"] == "policy"


class Difference(eqx.Module):
    """A closure with nothing but an answer: a multiple of the second difference."""

    factor: Array

    def __call__(self, observation: Array) -> Array:
        field = observation[:1]
        return self.factor * (jnp.roll(field, 1, -1) - 2 * field + jnp.roll(field, -1, -1))


class Shared(Difference):
    """The same with features that a policy can share."""

    def features(self, observation: Array) -> Array:
        return jnp.moveaxis(observation, 0, -1)

    def respond(self, features: Array, observation: Array) -> Array:
        return self(observation)


@pytest.fixture(scope="module")
def small() -> Problem:
    return advection(AdvectionConfiguration(cells=8, ratio=2, maximum_steps=6, minimum_steps=4), "train")


@pytest.mark.parametrize("kind", [Difference, Shared])
def test_a_policy_around_a_closure_of_ones_own_learns(small: Problem, kind: type) -> None:
    """One update of PPO changes the closure, the spread and the value."""
    policy = ActorCritic(small.spec, kind(jnp.float32(0.0)), initial_std=0.01, key=jax.random.key(0))
    learner = PPO(PPOConfiguration(updates=1, environments=2, steps=2, minibatch=2, epochs=2))
    state = learner.init(small, policy, key=jax.random.key(1))
    after, metrics = learner.advance(small, state, jnp.int32(1), 0)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    before = named_weights(policy)
    changed = {name.split(".")[0] for name, w in named_weights(after.closure).items() if np.any(w != before[name])}
    assert changed == ({"closure", "critic"} if policy.spread is None else {"closure", "critic", "spread"})


def test_policies_at_interfaces_without_features() -> None:
    class Constant(eqx.Module):
        logits: Array

        def __call__(self, observation: Array) -> Array:
            return jnp.broadcast_to(self.logits[:, None], (4, observation.shape[1])).astype(observation.dtype)

    policy = ActorCritic(weights_spec(2), Constant(jnp.zeros(4, jnp.float32)), key=jax.random.key(0))
    actions, value = policy.evaluate(jnp.ones((6, 10)))
    np.testing.assert_allclose(actions.std, 0.3, rtol=1e-5)
    assert (actions.mean.shape, value.shape, value.dtype) == ((4, 10), (10,), jnp.float64)


# Files of earlier versions


def as_stored(policy: ActorCritic) -> dict[str, np.ndarray]:
    """Weights under the names that they had when every network had a policy of its own."""
    arrays = {name: np.asarray(array) for name, array in named_weights(policy).items()}
    if hasattr(policy.closure, "network"):
        return arrays
    found = {name.removeprefix("closure."): array for name, array in arrays.items()}
    if "head.kernel" in found:  # mean and raw spread in one array
        for kind in ("kernel", "bias"):
            pair = (found.pop(f"head.{kind}"), found.pop(f"spread.{kind}"))
            found[f"actor.{kind}"] = np.concatenate(pair, axis=-1)
    return found


@pytest.mark.parametrize(
    ("name", "options"),
    [("ircnn", {}), ("compact", {"channels": 4}), ("compact", {"channels": 4, "output": "action"}), ("weights", {})],
)
def test_policies_of_earlier_versions_load(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    spec, x = case(name, 9)
    policy = randomised(build(name, spec, explores=True, options=options, key=jax.random.key(0)), 10)
    today = save_weights(
        tmp_path / "today.safetensors", policy,
        architecture={"closure": name, "options": {**options, "initial_std": 0.1}},
    )  # fmt: skip
    header = read_header_text(today)
    assert json.loads(header["architecture"])["stochastic"] is True
    assert "agents" in json.loads(header["decision"])
    stored = as_stored(policy)
    assert name == "weights" or set(stored) != set(read_arrays(today))
    path = tmp_path / "stored.safetensors"
    path.write_bytes(packed(stored, header))
    for file in (today, path):
        again = load_weights(file, spec)
        assert jax.tree.structure(again) == jax.tree.structure(policy)
        np.testing.assert_array_equal(again.evaluate(x[0])[0].std, policy.evaluate(x[0])[0].std)
        np.testing.assert_array_equal(again(x[0]), policy(x[0]))


@pytest.mark.parametrize("run", ["learned/ppo", "burgers/ppo"])
def test_trained_policies_of_earlier_versions_load(run: str) -> None:
    folder = RunFolder(ROOT / "benchmarks" / "results" / run)
    policy = load_weights(folder.weights)
    assert isinstance(policy, ActorCritic)
    assert np.array_equal(policy.closure.head.mix.kernel, read_arrays(folder.weights)["head.mix.kernel"])
    configuration = folder.read_configuration()
    assert (configuration.closure, configuration.learner) == ("compact", "ppo")
    assert isinstance(configuration.network, CompactConfiguration)


def test_settings_of_earlier_runs_are_those_of_the_chosen_closure() -> None:
    plain = to_plain(train_preset("quick", closure="compact"))
    network = plain.pop("network")
    earlier = {**plain, "compact": {**network, "channels": 5}, "weights": {"hidden": [3]}}
    assert from_plain(json.loads(json.dumps(earlier))).network == CompactConfiguration(**{**network, "channels": 5})
    assert to_plain(from_plain({**earlier, "closure": "ircnn"}).network) == {}


# Closures and learners in a file

PLUG_IN = '''
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import closura
from closura.environment import Environment
from closura.learners import Learner


@dataclass(frozen=True)
class LinearSettings(closura.Settings):
    """Parameters
    ----------
    reach
        Neighbours on each side.
    """

    reach: closura.Count = 1


@closura.closure("linear", where="cells", settings=LinearSettings, zero_start=True)
class Linear(eqx.Module):
    weights: jax.Array

    def __init__(self, spec, *, key, reach):
        self.weights = jnp.zeros((2 * reach,), jnp.float32)

    def __call__(self, observation):
        field = observation[:1]
        shifts = [s for r in range(1, len(self.weights) // 2 + 1) for s in (-r, r)]
        return sum(w * (jnp.roll(field, s, 1) - field) for w, s in zip(self.weights, shifts))


@dataclass(frozen=True)
class OneStepSettings(closura.Settings):
    """Parameters
    ----------
    updates
        Number of updates.
    rate
        Step size.
    """

    updates: closura.Count = 3
    rate: closura.Positive = 0.1


@closura.learner("one-step", settings=OneStepSettings)
class OneStep(Learner):
    configuration: OneStepSettings = eqx.field(static=True)

    def stages(self):
        return (self.configuration.updates,)

    def optimiser(self):
        return optax.sgd(self.configuration.rate)

    def begin(self, problem, *, key):
        return None

    def update(self, problem, state, stage):
        key, now = jax.random.split(jax.random.wrap_key_data(state.key_data))
        episodes = Environment(problem).reset_batch(2, key=now)
        weights, rest = eqx.partition(state.closure, eqx.is_inexact_array)

        def loss(weights):
            closure = eqx.combine(weights, rest)

            def error(e):
                following, _ = problem.step(e.state, e.parameters, closure)
                target = problem.reference.advance(e.reference, e.state, e.parameters, problem.time_step)
                return jnp.mean(jnp.square(following - problem.reference.field(target)))

            return jnp.mean(jax.vmap(error)(episodes))

        value, gradient = jax.value_and_grad(loss)(weights)
        step, optimiser = self.optimiser().update(gradient, state.optimiser, weights)
        weights = optax.apply_updates(weights, step)
        state = replace(
            state, closure=eqx.combine(weights, rest), average=weights, optimiser=optimiser,
            key_data=jax.random.key_data(key), updates=state.updates + 1,
        )
        return state, {"loss": value}
'''


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for registry in (CLOSURES, LEARNERS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    file = tmp_path / "mine.py"
    file.write_text(PLUG_IN)
    return str(file)


def test_a_closure_and_a_learner_from_a_file(plug_in: str, tmp_path: Path) -> None:
    assert CLOSURES.find(plug_in).name == "linear"
    assert CLOSURES.find(f"{plug_in}:Linear") is CLOSURES.find("linear")
    assert LEARNERS.find(f"{plug_in}:one-step") is LEARNERS.find("one-step")
    assert not LEARNERS.find("one-step").explores
    assert callable(closura.closure)
    configuration = TrainConfiguration(
        name="advection", problem=AdvectionConfiguration(cells=8, ratio=2, maximum_steps=6, minimum_steps=4),
        closure=plug_in, learner=plug_in, reference=ReferenceConfiguration(slots=0),
        validation=ValidationConfiguration(simulations=2, steps=3, every=2), log_every=1,
    )  # fmt: skip
    assert (to_plain(configuration.network), to_plain(configuration.learning)) == (
        {"reach": 1}, {"updates": 3, "rate": 0.1},
    )  # fmt: skip
    assert from_plain(json.loads(json.dumps(to_plain(configuration)))) == configuration
    result = train(configuration, tmp_path / "run")
    assert result.updates == 3
    assert np.any(result.closure.weights)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    with pytest.raises(ValueError, match="takes LinearSettings; got CompactConfiguration"):
        replace(configuration, network=CompactConfiguration())


def test_presets_take_any_learner(plug_in: str) -> None:
    for problem in ("advection", "burgers", "burgers-1d", "kolmogorov"):
        made = train_preset("quick", problem=problem, learner=plug_in)
        assert made.learning == LEARNERS.find(plug_in).settings()
        assert made.problem == train_preset("quick", problem=problem, learner="bptts").problem
    with pytest.raises(ValueError, match=r"unknown learner 'sarsa'.*valid: bptts, ppo, a2c"):
        train_preset("quick", learner="sarsa")


def test_the_command_line_has_the_options_of_what_is_chosen(plug_in: str) -> None:
    words = ["advection", "--closure", plug_in, "--learner", plug_in, "--linear.reach", "2", "--learning.rate", "0.5"]
    options, configuration = parse_train(words)
    assert (configuration.network.reach, configuration.learning.rate) == (2, 0.5)
    assert default_folder(configuration).name.startswith("advection-one-step-linear-")
    with pytest.raises(ValueError, match=r"unknown option --linear\.reach"):
        parse_train(["advection", "--linear.reach", "2"])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.py"):
        parse_train(["advection", "--closure", "nowhere.py"])
