"""Problems as environments of Gymnasium: its own checks, and several simulations against single ones."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium", reason="Gymnasium is not installed: pip install 'closura[gymnasium]'")

import jax
import jax.numpy as jnp
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from closura.core.definition import PROBLEMS
from closura.entries import ENTRIES
from closura.environment import Environment
from closura.gymnasium import LARGEST, LOST, gymnasium_env, gymnasium_vector_env
from closura.problems import EpisodeRules, Problem, build_problem

EXAMPLES = Path(__file__).parents[1] / "examples"
FLOW = {
    "forcing": 2, "pool": 2, "chains": 2, "transient": 0.5, "settle": 0.1, "spin_cells": 12, "others": (), "finer": (),
}  # fmt: skip
TINY: list[Any] = [
    ("advection", {"cells": 8, "ratio": 2}),
    *(
        pytest.param(name, settings, marks=pytest.mark.slow)
        for name, settings in (
            ("burgers-1d", {"cells": 12, "ratio": 3, "integrator": "forward-euler"}),
            ("burgers", {"cells": 8, "ratio": 2}),
            ("burgers-2d", {"cells": 8, "ratio": 3, "integrator": "forward-euler"}),
            ("euler-1d", {"cells": 12, "ratio": 3, "integrator": "forward-euler"}),
            ("euler-2d", {"cells": 8, "ratio": 3, "integrator": "forward-euler"}),
            ("kolmogorov", {"cells": 8, "fine_cells": 12, **FLOW}),
            ("turbulence", {"cells": 12, "fine_cells": 24, **FLOW}),
        )
    ),
]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSURA_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def wave() -> Iterator[Problem]:
    """The example, on eight points and with short episodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PROBLEMS, "_entries", dict(PROBLEMS._entries))
        found = build_problem(PROBLEMS.find(str(EXAMPLES / "wave.py")).settings(cells=8))
        yield replace(found, episode=EpisodeRules(2, 3, 0.5))


def test_every_problem_has_an_id() -> None:
    ids = {name for name in gymnasium.registry if name.startswith("closura/")}
    assert ids == {f"closura/{name}-v0" for name in ENTRIES["closura.problems"]}


@pytest.mark.parametrize(("name", "settings"), TINY)
def test_gymnasium_finds_nothing_to_complain_of(name: str, settings: dict[str, Any]) -> None:
    """Its warnings are errors here; with pictures, and seeds that decide everything."""
    env = gymnasium.make(f"closura/{name}-v0", render_mode="rgb_array", **settings)
    check_env(env.unwrapped)
    assert env.observation_space.dtype == env.action_space.dtype == np.float32
    env.reset(seed=0)
    assert np.ptp(env.render()) > 0
    env.close()


def test_a_step_is_that_of_the_environment(wave: Problem) -> None:
    env = gymnasium_env(wave, action_size=0.02)
    seen, _ = env.reset(seed=3)
    action = np.linspace(-1, 1, 8, dtype=np.float32)[None]
    answer = env.step(action)
    environment: Environment = env.world.environment
    drawn = gymnasium.utils.seeding.np_random(3)[0].integers(2**32, dtype=np.uint32)
    episode = environment.reset(key=jax.random.key(drawn))
    # Compiled or not: round-off of float32.
    np.testing.assert_allclose(seen, environment.observe(episode), rtol=1e-6)
    _, expected = environment.step(episode, 0.02 * jnp.asarray(action))
    np.testing.assert_allclose(answer[0], expected.observation, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(answer[4]["cell_rewards"], expected.reward, rtol=1e-4, atol=1e-7)
    assert answer[1] == pytest.approx(float(np.mean(expected.reward)), rel=1e-4)
    assert answer[4]["error"] == pytest.approx(float(expected.error), rel=1e-5)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_several_are_as_single_ones(wave: Problem, mode: str) -> None:
    """As Gymnasium's own vector of single environments, through the ends of episodes, infos too."""
    ours = gymnasium_vector_env(wave, 3, autoreset_mode=mode)
    theirs = SyncVectorEnv([lambda: gymnasium_env(wave)] * 3, autoreset_mode=mode)
    assert (ours.observation_space, ours.action_space) == (theirs.observation_space, theirs.action_space)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    ours.action_space.seed(0)
    np.testing.assert_allclose(ours.reset(seed=5)[0], theirs.reset(seed=5)[0], rtol=1e-6)
    ended = 0
    for _ in range(8):
        actions = ours.action_space.sample()
        found, expected = ours.step(actions), theirs.step(actions)
        # Round-off of float32 where a batch is computed together.
        for a, b in zip(found[:4], expected[:4], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
            assert a.dtype == b.dtype
        same_infos(found[4], expected[4])
        ended += int((found[2] | found[3]).sum())
    assert ended >= 6


def same_infos(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if isinstance(values, dict):
            same_infos(found[name], values)
        elif values.dtype == object:
            for a, b in zip(found[name], values, strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        else:
            np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6)


def test_a_lost_simulation_is_terminated_with_finite_numbers(wave: Problem) -> None:
    env = gymnasium_env(wave)
    env.reset(seed=0)
    env._episode = replace(env._episode, state=jnp.full_like(env._episode.state, jnp.inf))
    seen, reward, terminated, truncated, info = env.step(np.zeros((1, 8), np.float32))
    assert (terminated, truncated) == (True, False)
    assert np.all(np.abs(seen) <= LARGEST)
    assert reward == LOST
    assert np.all(info["cell_rewards"] == LOST)


def test_what_does_not_work_is_said(wave: Problem) -> None:
    with pytest.raises(ValueError, match=r"asks 3 times a step.*integrator='forward-euler'"):
        gymnasium_env("burgers-1d", cells=12, ratio=3)
    with pytest.raises(ValueError, match="action_size must be a positive number; got -1"):
        gymnasium_env(wave, action_size=-1.0)
    with pytest.raises(ValueError, match="unknown render_mode 'human'; valid: rgb_array"):
        gymnasium_env(wave, render_mode="human")
    with pytest.raises(ValueError, match="num_envs must be positive; got 0"):
        gymnasium_vector_env(wave, 0)
    with pytest.raises(ValueError, match="settings \\(cells\\) belong to a problem by its name"):
        gymnasium_env(wave, cells=16)
    env = gymnasium_env(wave)
    with pytest.raises(gymnasium.error.ResetNeeded, match="call reset first"):
        env.step(np.zeros((1, 8), np.float32))


@pytest.mark.slow
def test_ppo_of_stable_baselines_learns() -> None:
    """A training of half a minute on the smallest problem halves the error that the coarse solver has, or nearly."""
    pytest.importorskip("stable_baselines3", reason="not installed: pip install 'closura[stable-baselines]'")
    command = [sys.executable, str(EXAMPLES / "stable_baselines.py"), "--steps", "150000"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    none, learned = (float(number) for number in re.findall(r"([\d.]+) %", said))
    assert learned < 0.75 * none  # measured: 0.53 after twice the steps
