"""The advection environment against published reference arrays, and its rules."""

from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.environment import Environment
from closura.problems import (
    AdvectionConfiguration,
    Draw,
    FixedBegin,
    Problem,
    Transition,
    advection,
    simulate_truth,
    with_store,
)
from closura.problems.advection_setup import paper
from closura.problems.problem import SquaredErrorReduction

# float64: what the float32 storage of the reference leaves; float32: fifty steps of rounding.
TOLERANCE = {"float64": 1e-6, "float32": 2e-5}


def golden_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("adv_*.npz"))
    assert files, f"no adv_*.npz in {folder}"
    return files


def begin(data: dict[str, np.ndarray], precision: str) -> tuple[Problem, Environment, object]:
    cells = data["ic_coarse"].shape[0]
    configuration = AdvectionConfiguration(
        cells=cells, ratio=int(data["subsample"]), courant=float(data["dt_coarse"]) * cells, precision=precision
    )
    problem = advection(paper(configuration), "test")
    dtype = {"float32": jnp.float32, "float64": jnp.float64}[precision]
    initial = jnp.asarray(data["ic_fine"].T[None], dtype)
    velocity = jnp.asarray(np.stack([data["u_fine"].T, data["v_fine"].T]), dtype)
    start = problem.begin.from_draw(Draw(initial, velocity))
    fixed = replace(problem, begin=FixedBegin(start))
    environment = Environment(fixed, ends_are_terminal=True)
    return fixed, environment, environment.reset(key=jax.random.key(0))


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_advection_reproduces_the_published_environment(golden_folder: Path, precision: str) -> None:
    tolerance = TOLERANCE[precision]
    for path in golden_files(golden_folder):
        data = dict(np.load(path))
        problem, environment, episode = begin(data, precision)
        fields = {"state_0": episode.state[0], "fgs_fine_0": episode.target[0][0]}
        for name, field in fields.items():
            np.testing.assert_allclose(np.asarray(field).T, data[name], atol=tolerance, rtol=0, err_msg=name)
        np.testing.assert_allclose(
            np.asarray(environment.observe(episode)).transpose(0, 2, 1), data["obs_0"], atol=tolerance, rtol=0
        )

        state, steps = episode, 4
        for n in range(steps):
            action = jnp.asarray(data["rand_actions"][n].transpose(0, 2, 1))
            state, timestep = environment.step(state, action)
            np.testing.assert_allclose(np.asarray(state.state[0]).T, data["rand_states"][n], atol=tolerance, rtol=0)
            np.testing.assert_allclose(
                np.asarray(timestep.reward).T, data["rand_rewards"][n], atol=max(tolerance, 1e-6), rtol=0
            )


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_published_policy_and_rivals_follow_the_reference(golden_folder: Path, precision: str) -> None:
    tolerance = TOLERANCE[precision]
    for path in golden_files(golden_folder):
        data = dict(np.load(path))
        problem, environment, episode = begin(data, precision)
        from closura.interop.published import load_published

        policy = load_published(golden_folder / "weights_advection_ep1499.npz", problem.decision)
        normal, value = policy.evaluate(environment.observe(episode))
        for got, name in ((normal.mean, "action_mean_0"), (normal.std, "action_std_0"), (value[None], "value_0")):
            np.testing.assert_allclose(np.asarray(got).transpose(0, 2, 1), data[name], atol=1e-5, rtol=0)
        methods = {"rl": (problem.dynamics, policy), "cgs": (problem.dynamics, None)}
        methods["acgs"] = (problem.rivals["ACGS"], None)
        states = {name: episode.state for name in methods}
        target = episode.target
        step = {
            name: eqx.filter_jit(lambda s, d=dynamics, a=ask: d.step(s, episode.parameters, a)[0])
            for name, (dynamics, ask) in methods.items()
        }
        advance = eqx.filter_jit(lambda t: problem.target.advance(t, episode.state, episode.parameters))
        _, timestep = environment.step_asking(episode, policy)
        np.testing.assert_allclose(np.asarray(timestep.reward).T, data["reward_rl_1"], atol=1e-6, rtol=0)
        for n in range(1, 51):
            states = {name: step[name](state) for name, state in states.items()}
            target = advance(target)
            if n in (1, 10, 50):
                for name, state in states.items():
                    np.testing.assert_allclose(
                        np.asarray(state[0]).T, data[f"{name}_{n}"], atol=tolerance, rtol=0, err_msg=f"{name}_{n}"
                    )
                truth = problem.target.observe(target)[0]
                np.testing.assert_allclose(np.asarray(truth).T, data[f"fgs_{n}"], atol=tolerance, rtol=0)


def small(**changes: object) -> Problem:
    return advection(AdvectionConfiguration(cells=16, ratio=2, **changes), "train")


def test_repaired_boundary_conserves_translation() -> None:
    """With periodic velocity and the repaired stencil, shifting the data shifts the solution; the quirk does not."""
    key = jax.random.key(3)
    psi = jax.random.uniform(key, (1, 16, 16), jnp.float64)
    velocity = -jnp.ones((2, 16, 16), jnp.float64)
    for published, same in ((False, True), (True, False)):
        solver = small(precision="float64", published_boundary=published).dynamics.solver
        shifted = solver(jnp.roll(psi, 3, axis=1), velocity)
        difference = float(jnp.max(jnp.abs(shifted - jnp.roll(solver(psi, velocity), 3, axis=1))))
        assert (difference < 1e-14) is same


def test_reward_is_the_reduction_of_the_squared_error() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    state, acted, truth = (jax.random.normal(k, (1, 4, 4), jnp.float64) for k in keys)
    initial = jnp.asarray([2.0], jnp.float64)
    transition = Transition(state, acted, acted, truth, truth, initial)
    local = np.asarray((state - truth) ** 2 - (acted - truth) ** 2)[0]
    np.testing.assert_allclose(SquaredErrorReduction()(transition), local, rtol=1e-14)
    mass = ((float(state.sum()) - 2) ** 2 - (float(acted.sum()) - 2) ** 2) / 2
    np.testing.assert_allclose(SquaredErrorReduction(0.3)(transition), local + 0.3 * mass, rtol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 10.0])
def test_episodes_end_by_error_after_the_minimum_and_always_at_the_maximum(threshold: float) -> None:
    problem = small(error_threshold=threshold, minimum_steps=3, maximum_steps=6)
    for terminal in (True, False):
        environment = Environment(problem, ends_are_terminal=terminal)
        episode = environment.reset(key=jax.random.key(1))
        ends = []
        for _ in range(6):
            episode, timestep = environment.step(episode, jnp.zeros((1, 16, 16), jnp.float32))
            assert bool(timestep.terminated) == (bool(timestep.done) and terminal)
            ends.append(bool(timestep.done))
        # An error of zero or more reaches 0 at once, so the minimum decides; 10 is never reached.
        assert ends == ([False, False, True, True, True, True] if threshold == 0 else [False] * 5 + [True])


def test_automatic_reset_keeps_the_last_observation() -> None:
    problem = small(error_threshold=0.0, minimum_steps=1)
    environment = Environment(problem)
    episode = environment.reset(key=jax.random.key(1))
    action = jnp.zeros((1, 16, 16), jnp.float32)
    plain, expected = environment.step(episode, action)
    following, timestep = jax.jit(lambda e, a, k: environment.step_or_reset(e, a, key=k))(
        episode, action, jax.random.key(2)
    )
    assert int(following.step) == 0
    assert int(plain.step) == 1
    np.testing.assert_allclose(timestep.observation, expected.observation, atol=1e-6)
    assert float(jnp.max(jnp.abs(following.state - plain.state))) > 1e-3


def test_a_lost_field_ends_the_episode() -> None:
    problem = small()
    environment = Environment(problem)
    episode = environment.reset(key=jax.random.key(1))
    broken = eqx.tree_at(lambda e: (e.state, e.step), episode, (episode.state * jnp.nan, jnp.asarray(5, jnp.int32)))
    _, timestep = environment.step(broken, jnp.zeros((1, 16, 16), jnp.float32))
    assert bool(timestep.done)


def test_stored_truth_is_the_simulated_truth() -> None:
    """Stepping on a store gives what stepping the fine solver gives, for a batch under vmap."""
    problem = small()
    key = jax.random.key(5)
    store = simulate_truth(problem, 3, 7, key=key)
    stored = with_store(problem, store)
    assert stored.episode.maximum == 7
    for slot, slot_key in enumerate(jax.random.split(key, 3)):
        fresh = Environment(problem).reset(key=slot_key)
        state, parameters, target, _ = stored.begin.at(jnp.asarray(slot, jnp.int32))
        held = eqx.tree_at(lambda e: e.target, fresh, target, is_leaf=lambda x: x is fresh.target)
        action = 0.01 * jax.random.normal(slot_key, (1, 16, 16), jnp.float32)
        for _ in range(7):
            fresh, a = Environment(problem).step(fresh, action)
            held, b = Environment(stored).step(held, action)
            np.testing.assert_allclose(a.reward, b.reward, atol=2e-6)
            np.testing.assert_allclose(a.error, b.error, atol=2e-6)


def test_unstable_time_steps_are_refused_with_the_courant_number() -> None:
    with pytest.raises(ValueError, match=r"Courant number.*1\.8"):
        advection(AdvectionConfiguration(courant=0.9))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="minimum <= maximum"):
        small(minimum_steps=9, maximum_steps=3)
    with pytest.raises(ValueError, match="at least 8"):
        advection(AdvectionConfiguration(cells=4))
    store = simulate_truth(small(), 2, 7, key=jax.random.key(0))
    with pytest.raises(ValueError, match="no room for 9"):
        Environment(with_store(small(), store)).reset_anywhere(9, key=jax.random.key(0))
