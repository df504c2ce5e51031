"""Vector Burgers against arrays that the published code made (float64, files are [row = y, column = x])."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import golden_files, network, read, steps_of

from closura.core.case import Case
from closura.environment import Environment, EnvironmentState
from closura.io.closures import load_closure
from closura.problems import BurgersConfiguration, Problem, burgers


@pytest.fixture(scope="module", params=golden_files("closure-rl", "burgers_*.npz"))
def data(request: pytest.FixtureRequest) -> dict[str, Any]:
    return read(request.param)


@pytest.fixture(scope="module")
def problem(data: dict[str, Any]) -> Problem:
    """With the sizes, steps and viscosity of the file."""
    cells = data["obs_0"].shape[-1]
    settings = replace(
        burgers.published(BurgersConfiguration()),
        cells=cells,
        ratio=data["u_fine_ic"].shape[-1] // cells,
        courant=float(data["dt_coarse"]) * cells,
        fine_steps=round(float(data["dt_coarse"] / data["dt_fine"])),
        viscosity=float(data["viscosity"]),
    )
    return burgers(settings, "test")


def field(data: dict[str, Any], name: str) -> np.ndarray:
    """Both components of an array, ``(2, x, y)``."""
    return np.stack([data[f"u_{name}"].T, data[f"v_{name}"].T])


def both(array: np.ndarray) -> np.ndarray:
    """``(..., row, column)`` to ``(..., x, y)``."""
    return np.swapaxes(array, -1, -2)


@pytest.fixture(scope="module")
def episode(problem: Problem, data: dict[str, Any]) -> EnvironmentState:
    viscosity = jnp.asarray(float(data["viscosity"]))
    case = Case(jnp.asarray(field(data, "fine_ic")), {"viscosity": viscosity}, jnp.asarray(0))
    state, parameters, target, quantities, _ = eqx.filter_jit(problem.begin.from_case)(case)
    return EnvironmentState(state, parameters, target, jnp.zeros((), jnp.int32), quantities)


def test_constants(problem: Problem, data: dict[str, Any]) -> None:
    assert problem.time_step == pytest.approx(float(data["dt_coarse"]), rel=1e-14)
    assert problem.time_step / problem.reference.substeps == pytest.approx(float(data["dt_fine"]), rel=1e-14)
    usual = burgers(burgers.published(BurgersConfiguration()), "test")
    if problem.grid == usual.grid:
        assert problem.time_step == pytest.approx(usual.time_step, rel=1e-14)


def test_initial(problem: Problem, episode: EnvironmentState, data: dict[str, Any]) -> None:
    np.testing.assert_allclose(episode.state, field(data, "cgs_0"), rtol=0, atol=1e-14)
    np.testing.assert_allclose(episode.reference[0], field(data, "fgs_fine_0"), rtol=0, atol=1e-14)


def test_solvers(problem: Problem, episode: EnvironmentState, data: dict[str, Any]) -> None:
    """Coarse and fine runs to the last step: 1e-10, rounding with its growth over the hundred steps of the files."""
    steps = steps_of(data, "u_cgs")

    @eqx.filter_jit
    def run(problem: Problem, episode: EnvironmentState) -> tuple[Any, Any, Any]:
        def step(e: EnvironmentState, _: None) -> tuple[EnvironmentState, tuple[Any, Any, Any]]:
            e, timestep = Environment(problem).step_asking(e, None)
            return e, (e.state, problem.reference.field(e.reference), timestep.error)

        return jax.lax.scan(step, episode, None, length=steps[-1])[1]

    states, references, errors = run(problem, episode)
    for n in steps:
        np.testing.assert_allclose(states[n - 1], field(data, f"cgs_{n}"), rtol=0, atol=1e-10)
        np.testing.assert_allclose(references[n - 1], field(data, f"fgs_{n}"), rtol=0, atol=1e-10)
        assert float(errors[n - 1]) == pytest.approx(float(data[f"err_cgs_{n}"]), rel=1e-10)


def test_network(problem: Problem, golden_folder: Path, data: dict[str, Any]) -> None:
    """Mean, spread and value of the published network for the first observation: 1e-6, float32."""
    policy = load_closure(network(golden_folder, "burgers"), problem.spec)
    action, value = eqx.filter_jit(policy.evaluate)(jnp.asarray(both(data["obs_0"])))
    np.testing.assert_allclose(action.mean, both(data["action_mean_0"]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(action.std, both(data["action_std_0"]), rtol=0, atol=1e-6)
    np.testing.assert_allclose(value, both(data["value_0"])[0], rtol=0, atol=1e-6)


def test_closure_run(problem: Problem, episode: EnvironmentState, golden_folder: Path, data: dict[str, Any]) -> None:
    """The published network in the loop: fields to 1e-7, where the flow does not blow rounding up."""
    policy = load_closure(network(golden_folder, "burgers"), problem.spec)
    steps = steps_of(data, "u_rl")

    @eqx.filter_jit
    def run(problem: Problem, policy: Any, episode: EnvironmentState) -> tuple[Any, Any, Any]:
        def step(e: EnvironmentState, _: None) -> tuple[EnvironmentState, tuple[Any, Any, Any]]:
            e, timestep = Environment(problem).step_asking(e, policy)
            return e, (e.state, timestep.reward, timestep.error)

        return jax.lax.scan(step, episode, None, length=steps[-1])[1]

    states, rewards, errors = run(problem, policy, episode)
    np.testing.assert_allclose(rewards[0], both(data["reward_rl_1"]), rtol=0, atol=1e-7)
    for n in steps:
        np.testing.assert_allclose(states[n - 1], field(data, f"rl_{n}"), rtol=0, atol=1e-7)
        assert float(errors[n - 1]) == pytest.approx(float(data[f"err_rl_{n}"]), rel=1e-6)


def test_given_actions(problem: Problem, episode: EnvironmentState, data: dict[str, Any]) -> None:
    """Rewards and states under stored noise actions: 1e-8, since the actions were stored in float32."""
    step = eqx.filter_jit(Environment(problem).step)
    for n, action in enumerate(data["rand_actions"]):
        episode, timestep = step(episode, jnp.asarray(both(action)))
        expected = np.stack([data["rand_u"][n].T, data["rand_v"][n].T])
        np.testing.assert_allclose(timestep.reward, both(data["rand_rewards"][n]), rtol=0, atol=1e-8)
        np.testing.assert_allclose(episode.state, expected, rtol=0, atol=1e-8)
