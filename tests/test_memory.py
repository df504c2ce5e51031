"""Closures with memory and noise in the loop: rollouts, gradients, scores, ensembles in evaluation, resuming."""

import os
import signal
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from closura.closures import build
from closura.closures.memory_policy import evaluate_seen
from closura.core.memory import Carried, MemoryClosure, WithMemory, remembers
from closura.interruption import Interrupted
from closura.learners import LEARNERS
from closura.learners.ensembles import energy_score, fair_crps
from closura.metrics.climate import Regimes, autocorrelation, kl_divergence
from closura.metrics.ensembles import crps_ensemble
from closura.problems import build_problem, family, simulate_reference, with_store
from closura.runs import ReferenceConfiguration, TrainConfiguration, ValidationConfiguration, train
from closura.runs.validation import validation_error
from closura.simulation.ensembles import scores
from closura.simulation.evaluate import evaluate

WAVE = Path(__file__).parents[1] / "examples" / "wave.py"


@pytest.fixture(scope="module")
def kind():
    return family(str(WAVE))


@pytest.fixture(scope="module")
def wave(kind):
    return build_problem(kind.settings(cells=16), "train")


def recurrent(problem, **options):
    found = build("recurrent", problem.spec, options=options, key=jax.random.key(0))
    last = found.reply.layers[-1]
    drawn = jax.random.normal(jax.random.key(1), last.weight.shape, jnp.float32)
    return eqx.tree_at(lambda c: c.reply.layers[-1].weight, found, drawn)  # it begins with answers of zero


class Echo(MemoryClosure):
    """Answers with what it saw in the step before."""

    def begin(self, observation, *, key):
        return observation, observation

    def remember(self, memory, observation):
        return observation, memory[0]

    def answer(self, memory, observation):
        return 0.1 * memory[1]


def test_memory_holds_the_observation_of_the_step_before(wave):
    """u_1 = G(u_0 - 0.1 u_0), u_2 = G(u_1 - 0.1 u_0), by hand: equal to rounding."""
    both = WithMemory(wave.coarse, Echo())
    begun = wave.begin(key=jax.random.key(0))
    state = both.begun(begun.state, begun.parameters, key=jax.random.key(0))
    first = wave.coarse.advance(0.9 * begun.state, None, 0.0125)
    second = wave.coarse.advance(first - 0.1 * begun.state, None, 0.0125)
    found = both.march(state, begun.parameters, 0.0125, 2).state
    np.testing.assert_allclose(found, second, atol=1e-6)
    assert float(jnp.max(jnp.abs(second - wave.coarse.advance(0.9 * first, None, 0.0125)))) > 1e-4  # memory counts


def test_noise_belongs_to_the_member_and_the_step(wave):
    both = WithMemory(wave.coarse, recurrent(wave))
    begun = wave.begin(key=jax.random.key(0))
    one, again, other = (
        both.march(both.begun(begun.state, None, key=jax.random.key(k)), None, 0.0125, 3).state for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert float(jnp.max(jnp.abs(one - other))) > 1e-4
    memory = both.begun(begun.state, None, key=jax.random.key(1)).memory
    following = both.closure.remember(memory, both.solver.observe(begun.state, None))
    assert not np.array_equal(memory.noise, following.noise)


@pytest.mark.parametrize("members", [2, 5])
def test_scores_against_brute_force(members):
    """All pairs one by one in float64; the NumPy score of sorted members is a third way."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(members, 2, 6)), rng.normal(size=(2, 6))
    pairs = [np.abs(x[i] - x[j]) for i in range(members) for j in range(members) if i != j]
    by_hand = np.mean([np.abs(each - y) for each in x]) - np.mean(pairs) / 2
    assert float(fair_crps(jnp.asarray(x), jnp.asarray(y))) == pytest.approx(by_hand, rel=1e-12)
    assert crps_ensemble(x, y).mean() == pytest.approx(by_hand, rel=1e-12)
    norm = lambda d: np.sqrt(np.mean(d**2))
    apart = [norm(x[i] - x[j]) for i in range(members) for j in range(members) if i != j]
    energy = np.mean([norm(each - y) for each in x]) - np.mean(apart) / 2
    assert float(energy_score(jnp.asarray(x), jnp.asarray(y))) == pytest.approx(energy, abs=2e-6)  # roots: 1e-12 added


def test_the_fair_score_has_one_expectation_for_every_number_of_members():
    """Members and reference from N(0, 1): CRPS 1/sqrt(pi) for all M (the plain one of two members is 1.5 times it)."""
    draws = np.random.default_rng(1).normal(size=(3, 40_000))
    expected = 1 / np.sqrt(np.pi)
    found = float(fair_crps(jnp.asarray(draws[:2]), jnp.asarray(draws[2])))
    assert found == pytest.approx(expected, abs=0.015)  # three standard errors
    assert crps_ensemble(draws[:2], draws[2], fair=False).mean() > 1.4 * expected


def learning(problem, **settings):
    kind = LEARNERS.find("bptts")
    usual = {"updates": 4, "batch": 3, "members": 3, "loss": "crps", "horizons": (3,), "fractions": (1.0,)}
    return kind(kind.settings(**{**usual, **settings}))


def test_gradient_through_noise_and_memory_against_differences(wave):
    """Central differences along a random direction; a derivative that misses noise or memory is off by its order."""
    stored = with_store(wave, simulate_reference(wave, 4, 12, key=jax.random.key(3)))
    learner = learning(stored)
    wide = lambda tree: jax.tree.map(lambda x: x.astype(jnp.float64) if eqx.is_inexact_array(x) else x, tree)
    closure = wide(recurrent(stored, memory=3, hidden=(4,)))
    episodes = learner.begin(stored, key=jax.random.key(4))
    episode = wide(jax.tree.map(lambda x: x[0], episodes))
    episode = eqx.tree_at(
        lambda e: e.memory, episode, jax.random.key_data(jax.random.key(5)), is_leaf=lambda x: x is None
    )
    weights, static = eqx.partition(closure, eqx.is_inexact_array)
    loss = jax.jit(lambda w: learner.window(stored, eqx.combine(w, static), episode, 3).loss)
    gradient = jax.jit(jax.grad(loss))(weights)
    leaves, tree = jax.tree.flatten(weights)
    keys = jax.random.split(jax.random.key(6), len(leaves))
    direction = jax.tree.unflatten(
        tree, [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    )
    moved = lambda h: loss(jax.tree.map(lambda w, d: w + h * d, weights, direction))
    slope = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    # Observations are float32, whose rounding is some 1e-5 of such differences.
    assert float(slope) == pytest.approx(float((moved(1e-5) - moved(-1e-5)) / 2e-5), rel=1e-3)
    assert all(float(jnp.max(jnp.abs(g))) > 0 for g in jax.tree.leaves(gradient))  # every weight counts


def test_a_killed_training_with_noise_goes_on_to_the_same_weights(tmp_path, kind):
    """A signal after four of eight updates, resumed: bit for bit the weights of a training in one go."""
    bptts = LEARNERS.find("bptts")
    configuration = TrainConfiguration(
        name=str(WAVE),
        problem=kind.settings(cells=16),
        closure="recurrent",
        learning=bptts.settings(updates=8, batch=2, members=2, loss="energy", horizons=(2,), fractions=(1.0,)),
        reference=ReferenceConfiguration(slots=4, steps=8, blocks=2, renew_every=2),
        validation=ValidationConfiguration(simulations=2, steps=3, every=8),
        log_every=2,
    )

    def stop(progress):
        if progress.row["update"] == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        train(configuration, tmp_path / "parts", report=stop)
    assert train(configuration, tmp_path / "parts", resume=True).updates == 8
    train(configuration, tmp_path / "whole")
    one, other = (load_file(tmp_path / run / "weights.safetensors") for run in ("parts", "whole"))
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert max(np.abs(one[name]).max() for name in one if "reply.layers[1]" in name) > 0  # it has learned


def test_policies_carry_their_memory_and_learn_from_what_they_had(wave):
    """Densities of the recorded actions, asked again with the recorded memories, are those of the time (ratio 1), the
    memory at the end is that of the observations in turn, and a round of PPO moves the weights that remember."""
    stored = with_store(wave, simulate_reference(wave, 4, 12, key=jax.random.key(3)))
    kind = LEARNERS.find("ppo")
    learner = kind(kind.settings(updates=2, environments=3, steps=4, minibatch=6, epochs=1))
    policy = build(
        "recurrent", stored.spec, explores=True, options={"memory": 3}, initial_std=0.01, key=jax.random.key(0)
    )
    policy = eqx.tree_at(lambda p: p.closure, policy, recurrent(stored, memory=3))
    state = learner.init(stored, policy, key=jax.random.key(1))
    carry, trajectory = eqx.filter_jit(learner.collect)(stored, policy, state.carry, key=jax.random.key(2))
    again = jax.vmap(jax.vmap(lambda seen, a: evaluate_seen(policy, seen)[0].log_prob(a)))
    np.testing.assert_allclose(
        again(trajectory.observation, trajectory.action), trajectory.log_prob, rtol=1e-4, atol=1e-3
    )
    memory = state.carry.memory
    for step in range(4):
        memory = jax.vmap(policy.remember)(memory, trajectory.observation.observation[step])
    assert not np.any(trajectory.done)
    np.testing.assert_allclose(carry.memory.hidden, memory.hidden, atol=1e-5)
    following, _ = learner.advance(stored, state, jnp.int32(1), 0)
    moved = jnp.max(jnp.abs(following.closure.closure.candidate.weight - policy.closure.candidate.weight))
    assert float(moved) > 1e-6
    several = evaluate(
        stored, {"drawn": policy}, simulations=2, steps=2, members=4, key=jax.random.key(0), timing=False
    )
    assert several.of("ensemble_variance", "drawn")[:, 1:].min() > 0


def test_members_of_a_calibrated_toy_have_spread_coverage_and_level_ranks():
    """Reference and members from one distribution: 600 x 40 points, spread over RMSE 1 within 2 %, ranks level to 5
    standard deviations of a count."""
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(600, 2, 20, 1, 40))
    values, counts = scores(drawn[:, :, :19], drawn[:, :, 19])
    spread, rmse = (np.sqrt(values[name][:, 1].mean()) for name in ("ensemble_variance", "squared_error"))
    assert spread / rmse == pytest.approx(1.0, abs=0.02)
    assert values["coverage"].mean() == pytest.approx(0.9, abs=0.02)
    expected = 600 * 40 / 20
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    assert counts.sum() == 600 * 40
    narrow, uneven = scores(0.5 * drawn[:, :, :19], drawn[:, :, 19])
    assert np.sqrt(narrow["ensemble_variance"].mean() / narrow["squared_error"].mean()) < 0.6
    assert uneven[0] + uneven[-1] > 4 * expected  # the reference is outside of too narrow ensembles


def test_evaluation_of_an_ensemble_beside_plain_methods(wave):
    closure = recurrent(wave)
    results = evaluate(
        wave, {"noisy": closure}, simulations=3, steps=4, members=6, key=jax.random.key(0), timing=False, climate=0.5,
        climate_runs=4,
    )  # fmt: skip
    assert results.parameters("noisy") == sum(
        x.size for x in jax.tree.leaves(eqx.filter(closure, eqx.is_inexact_array))
    )
    assert results.of("ensemble_variance", "noisy")[:, 1:].min() > 0
    np.testing.assert_array_equal(results.of("ensemble_variance", "upwind1"), 0.0)
    fields = np.asarray(results.data["rank_counts"].sel({"method": "noisy"}))
    assert len(fields) == 7
    assert fields.sum() == 3 * 4 * 16
    assert float(results.data["kl_values"].sel({"method": "upwind5"})[0]) < float(
        results.data["kl_values"].sel({"method": "noisy"})[0]
    )
    with pytest.raises(ValueError, match="proceed"):
        learning(wave, proceed=0.5)


def test_divergence_regimes_and_autocorrelation_of_known_series():
    """N(0, 1) against N(0.5, 1): 0.125 nats, within bins and sampling; an AR(1) series has autocorrelation phi^lag; a
    travelling wave of amplitude 2 has one pair of components of length 2 sqrt(n / 2)."""
    rng = np.random.default_rng(0)
    p, q = rng.normal(size=200_000), 0.5 + rng.normal(size=200_000)
    assert kl_divergence(p, q) == pytest.approx(0.125, abs=0.005)
    assert kl_divergence(p, rng.normal(size=200_000)) < 1e-3
    series = np.zeros((50, 4000, 1, 1))
    for t in range(1, 4000):
        series[:, t] = 0.8 * series[:, t - 1] + rng.normal(size=(50, 1, 1))
    np.testing.assert_allclose(autocorrelation(series[:, 100:], 4), 0.8 ** np.arange(5), atol=0.01)
    phase = rng.uniform(0, 2 * np.pi, size=(6, 50, 1, 1))
    waves = 2 * np.cos(2 * np.pi * np.arange(8) / 8 + phase)
    regimes = Regimes(waves, smooth=1, pairs=1)
    np.testing.assert_allclose(regimes.lengths(waves), 4.0, rtol=0.2)  # the mean of 300 phases is not quite zero


def test_plain_closures_do_not_remember(wave):
    assert not remembers(build("compact", wave.spec, key=jax.random.key(0)))
    state = jnp.zeros((1, 16))
    assert wave.coarse.begun(state, None, key=jax.random.key(0)) is state
    assert isinstance(WithMemory(wave.coarse, Echo()).init(wave.begin.cases.sample(key=jax.random.key(0)))[0], Carried)
    assert not wave.coarse.random
    assert np.isfinite(float(validation_error(wave, Echo(), simulate_reference(wave, 2, 2, key=jax.random.key(0)))))
