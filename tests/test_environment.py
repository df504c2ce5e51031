"""The advection environment against published reference arrays, and its rules."""

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import network, read

from closura.closures import ActorCritic
from closura.core.case import Case
from closura.environment import Environment, EnvironmentState, Timestep
from closura.io.closures import load_closure
from closura.problems import (
    AdvectionConfiguration,
    FixedBegin,
    InitialState,
    Problem,
    ReferenceStore,
    Transition,
    advection,
    simulate_reference,
    with_store,
)
from closura.problems.measures import SquaredErrorReduction
from closura.problems.problem import Quantity, total
from closura.runs.validation import rollout

# Measured: 7e-7 in float64 (what the float32 storage of the reference leaves), 4e-6 in float32 after fifty steps.
TOLERANCE = {"float64": 1e-6, "float32": 2e-5}
DTYPE = {"float64": jnp.float64, "float32": jnp.float32}

# Called outside `jit`, the scans in these would be compiled anew at every call.
reset = eqx.filter_jit(lambda environment, key: environment.reset(key=key))
from_draw = eqx.filter_jit(lambda problem, draw: problem.begin.from_case(draw))
evaluate = eqx.filter_jit(lambda policy, observation: policy.evaluate(observation))


@eqx.filter_jit
def step(environment: Environment, episode: EnvironmentState, action: jax.Array) -> tuple[EnvironmentState, Timestep]:
    return environment.step(episode, action)


@pytest.fixture(scope="module")
def references(golden_folder: Path) -> list[dict[str, np.ndarray]]:
    files = sorted(golden_folder.glob("adv_*.npz"))
    assert files, f"no adv_*.npz in {golden_folder}"
    return [read(path) for path in files]


@pytest.fixture(scope="module")
def policy(golden_folder: Path) -> ActorCritic:
    spec = advection(AdvectionConfiguration(), "test").spec
    return load_closure(network(golden_folder, "advection"), spec)


def begin(data: dict[str, np.ndarray], precision: str) -> tuple[Problem, InitialState]:
    cells = data["ic_coarse"].shape[0]
    configuration = AdvectionConfiguration(
        cells=cells, ratio=int(data["subsample"]), courant=float(data["dt_coarse"]) * cells, precision=precision
    )
    problem = advection(advection.published(configuration), "test")
    initial = jnp.asarray(data["ic_fine"].T[None], DTYPE[precision])
    velocity = jnp.asarray(np.stack([data["u_fine"].T, data["v_fine"].T]), DTYPE[precision])
    initial = from_draw(problem, Case(initial, velocity))
    return replace(problem, begin=FixedBegin(initial)), initial


def compare(ours: jax.Array, data: dict[str, np.ndarray], name: str, tolerance: float) -> None:
    """Fields ``(..., x, y)`` of ours with ``[..., row = y, column = x]`` of the files."""
    np.testing.assert_allclose(np.asarray(ours).swapaxes(-1, -2), data[name], atol=tolerance, rtol=0, err_msg=name)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_published_environment_is_reproduced(
    references: list[dict[str, np.ndarray]], policy: ActorCritic, precision: str
) -> None:
    """First observation, network, and five rewards, under the published policy and under random actions."""
    tolerance = TOLERANCE[precision]
    for data in references:
        problem, initial = begin(data, precision)
        environment = Environment(problem, ends_are_terminal=True)
        episode = reset(environment, jax.random.key(0))
        for ours, start in zip(jax.tree.leaves(episode.state), jax.tree.leaves(initial.state), strict=True):
            np.testing.assert_array_equal(ours, start)
        compare(episode.state[0], data, "state_0", tolerance)
        compare(episode.reference[0][0], data, "fgs_fine_0", tolerance)
        observation = environment.observe(episode)
        compare(observation, data, "obs_0", tolerance)

        normal, value = evaluate(policy, observation)
        for got, name in ((normal.mean, "action_mean_0"), (normal.std, "action_std_0"), (value[None], "value_0")):
            compare(got, data, name, 1e-5)  # float32 sums of 576 terms through 7 layers
        following, timestep = step(environment, episode, normal.mean)
        compare(timestep.reward, data, "reward_rl_1", 1e-6)
        compare(following.state[0], data, "rl_1", tolerance)
        compare(following.reference[0][0], data, "fgs_fine_1", tolerance)

        for n in range(4):
            action = jnp.asarray(data["rand_actions"][n].swapaxes(-1, -2))
            episode, timestep = step(environment, episode, action)
            assert episode.state.dtype == timestep.reward.dtype == DTYPE[precision]
            now = {name: data[name][n] for name in ("rand_states", "rand_rewards")}
            compare(episode.state[0], now, "rand_states", tolerance)
            compare(timestep.reward, now, "rand_rewards", 1e-6)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_rollouts_of_the_published_policy_and_of_baselines_follow_the_reference(
    references: list[dict[str, np.ndarray]], policy: ActorCritic, precision: str
) -> None:
    """Fifty steps through what evaluations use: the stored reference and the rollout that is measured against it."""
    tolerance = TOLERANCE[precision]
    stores = []
    for data in references:
        problem, initial = begin(data, precision)
        stores.append(simulate_reference(problem, 1, 50, key=jax.random.key(0)))
        # The reference of the global reward: the total before the burn-in.
        np.testing.assert_allclose(stores[-1].quantities, [[data["ic_coarse"].sum(dtype=np.float64)]], rtol=1e-6)
    store = jax.tree.map(lambda *x: jnp.concatenate(x), *stores)
    methods = {
        "rl": (problem.coarse, policy),
        "cgs": (problem.coarse, None),
        "acgs": (problem.baselines["ACGS"], None),
    }
    for name, (solver, closure) in methods.items():
        fields = rollout(problem, solver, problem.spec.limit(closure), store)
        errors = jax.vmap(jax.vmap(problem.error))(fields, store.reference)
        assert fields.dtype == DTYPE[precision]
        for slot, data in enumerate(references):
            for n in (1, 10, 50):
                compare(fields[slot, n, 0], data, f"{name}_{n}", tolerance)
                error = np.abs(data[f"{name}_{n}"] - data[f"fgs_{n}"].astype(np.float64)).mean()
                assert float(errors[slot, n]) == pytest.approx(error, abs=tolerance)
    for slot, data in enumerate(references):
        for n in (1, 10, 50):
            compare(store.reference[slot, n, 0], data, f"fgs_{n}", tolerance)


def small(**changes: object) -> Problem:
    return advection(AdvectionConfiguration(cells=16, ratio=2, **changes), "train")


def test_repaired_boundary_conserves_translation() -> None:
    """With periodic velocity and the repaired stencil, shifting the data shifts the solution; the quirk does not."""
    psi = jnp.asarray(np.random.default_rng(3).uniform(size=(1, 16, 16)))
    velocity = -jnp.ones((2, 16, 16), jnp.float64)
    for published, same in ((False, True), (True, False)):
        problem = small(precision="float64", published_boundary=published)
        solver = eqx.filter_jit(lambda q, v, p=problem: p.coarse.step(q, v, p.time_step))
        shifted = solver(jnp.roll(psi, 3, axis=1), velocity)
        difference = float(jnp.max(jnp.abs(shifted - jnp.roll(solver(psi, velocity), 3, axis=1))))
        assert (difference < 1e-14) is same


def test_reward_is_the_reduction_of_the_squared_error() -> None:
    state, acted, reference = jnp.asarray(np.random.default_rng(0).normal(size=(3, 1, 4, 4)))
    initial = jnp.asarray([2.0], jnp.float64)
    transition = Transition(state, acted, acted, reference, reference, initial)
    local = np.asarray((state - reference) ** 2 - (acted - reference) ** 2)[0]
    np.testing.assert_allclose(SquaredErrorReduction()(transition), local, rtol=1e-14)
    mass = ((float(state.sum()) - 2) ** 2 - (float(acted.sum()) - 2) ** 2) / 2
    np.testing.assert_allclose(
        SquaredErrorReduction((Quantity("mass", total(0)),), (0.3,))(transition), local + 0.3 * mass, rtol=1e-12
    )


@pytest.fixture(scope="module")
def store() -> ReferenceStore:
    """Three short simulations of the small problem."""
    return simulate_reference(small(), 3, 7, key=jax.random.key(5))


def test_mass_counts_from_the_total_before_the_burn_in() -> None:
    """Through the environment, with a velocity whose upwind step does not conserve the total."""
    problem = small(mass_weight=0.3, precision="float64")
    generator = np.random.default_rng(4)
    velocity = np.zeros((2, 32, 32))
    velocity[0] = np.sin(2 * np.pi * np.arange(32) / 32)[:, None]
    initial = generator.uniform(size=(1, 32, 32)) * (np.arange(32) < 8)[:, None]  # all of it where the speed grows
    draw = Case(jnp.asarray(initial), jnp.asarray(velocity))
    initial = from_draw(problem, draw)
    before = float(draw.initial[0, ::2, ::2].sum())
    assert float(initial.quantities[0]) == pytest.approx(before, rel=1e-12)
    # Otherwise this test would not tell the two apart.
    assert abs(float(initial.state.sum()) - before) > 1e-3 * before

    environment = Environment(replace(problem, begin=FixedBegin(initial)))
    episode = environment.reset(key=jax.random.key(0))
    action = jnp.asarray(0.1 * generator.normal(size=(1, 16, 16)), jnp.float32)
    for _ in range(2):  # the reference stays where it was
        state, reference = np.asarray(episode.state), np.asarray(problem.reference.field(episode.reference))
        acted = state - np.asarray(action, np.float64)
        mass = ((state.sum() - before) ** 2 - (acted.sum() - before) ** 2) / before
        expected = ((state - reference) ** 2 - (acted - reference) ** 2)[0] + 0.3 * mass
        episode, timestep = step(environment, episode, action)
        np.testing.assert_allclose(timestep.reward, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 10.0])
def test_episodes_end_by_error_after_the_minimum_and_always_at_the_maximum(
    threshold: float, store: ReferenceStore
) -> None:
    problem = with_store(small(error_threshold=threshold, minimum_steps=3, maximum_steps=6), store)
    for terminal in (True, False):
        environment = Environment(problem, ends_are_terminal=terminal)
        episode = environment.reset(key=jax.random.key(1))
        ends = []
        for _ in range(6):
            episode, timestep = step(environment, episode, jnp.zeros((1, 16, 16), jnp.float32))
            assert bool(timestep.terminated) == (bool(timestep.done) and terminal)
            assert bool(timestep.truncated) == (bool(timestep.done) and not terminal)
            ends.append(bool(timestep.done))
        # An error of zero or more reaches 0 at once, so the minimum decides; 10 is never reached.
        assert ends == ([False, False, True, True, True, True] if threshold == 0 else [False] * 5 + [True])


def test_a_lost_field_ends_the_episode(store: ReferenceStore) -> None:
    environment = Environment(with_store(small(), store))
    episode = environment.reset(key=jax.random.key(1))
    broken = eqx.tree_at(lambda e: (e.state, e.step), episode, (episode.state * jnp.nan, jnp.asarray(5, jnp.int32)))
    for state, ends in ((broken, True), (episode, False)):
        _, timestep = step(environment, state, jnp.zeros((1, 16, 16), jnp.float32))
        assert bool(timestep.done) is ends


def test_stored_reference_is_the_simulated_reference(store: ReferenceStore) -> None:
    """Stepping on a store gives what stepping the fine solver gives."""
    problem = small()
    stored = with_store(problem, store)
    assert stored.episode.maximum == 7
    simulated, reading = Environment(problem), Environment(stored)
    for slot, slot_key in enumerate(jax.random.split(jax.random.key(5), 3)):
        fresh = reset(simulated, slot_key)
        state, parameters, target, total, _ = stored.begin.at(jnp.asarray(slot, jnp.int32))
        # The same beginning, compiled in another program: float32 rounding.
        for a, b in ((fresh.state, state), (fresh.parameters, parameters), (fresh.quantities, total)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        held = eqx.tree_at(lambda e: e.reference, fresh, target, is_leaf=lambda x: x is fresh.reference)
        action = jnp.asarray(0.01 * np.random.default_rng(slot).normal(size=(1, 16, 16)), jnp.float32)
        for _ in range(7):
            fresh, a = step(simulated, fresh, action)
            held, b = step(reading, held, action)
            np.testing.assert_allclose(a.reward, b.reward, atol=2e-6)
            np.testing.assert_allclose(a.error, b.error, atol=2e-6)


def test_unstable_time_steps_are_refused_with_the_courant_number() -> None:
    with pytest.raises(ValueError, match=r"Courant number.*1\.8"):
        advection(AdvectionConfiguration(courant=0.9))


def test_bad_settings_are_refused(store: ReferenceStore) -> None:
    with pytest.raises(ValueError, match="minimum <= maximum"):
        small(minimum_steps=9, maximum_steps=3)
    with pytest.raises(ValueError, match="at least 8"):
        advection(AdvectionConfiguration(cells=4))
    with pytest.raises(ValueError, match="no room for 9"):
        Environment(with_store(small(), store)).reset_batch_anywhere(1, 9, key=jax.random.key(0))
