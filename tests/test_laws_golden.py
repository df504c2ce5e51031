"""The agents that the authors of BPTTS released, against their own logs and an independent implementation."""

import os
import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from golden import golden_files, read
from law_results import value

from closura.core import StepRule
from closura.environment import Environment
from closura.io.closures import load_closure
from closura.problems.laws.catalogue import LAW_PROBLEMS, find_condition
from closura.problems.laws.evaluate import Study, run_study
from closura.problems.laws.methods import classical, learned
from closura.problems.laws.setup import Euler1DConfiguration, conservation_law, euler_1d
from closura.runs.validation import prepare_validation, summed_rewards

FOUR_DIGITS = 5.5e-4
"""Half a unit of the last of four quoted digits, where the first is a one."""


@pytest.fixture(scope="session")
def agents() -> dict[int, Path]:
    """The released agents by their r, or a skip with the reason."""
    root = os.environ.get("CLOSURA_GOLDEN")
    folder = Path(root or ".") / "bptts"
    if not root or not folder.is_dir():
        pytest.skip("CLOSURA_GOLDEN is not set, or has no folder bptts: no released agents to run")
    found = {sub_stencils(file): file for file in sorted(folder.glob("agent_*.npz"))}
    assert found, f"no agent_*.npz in {folder}"
    return found


def sub_stencils(file: Path) -> int:
    """An agent's r: it answers with two sets of r logits."""
    arrays = read(file)
    return len(arrays[f"b{len(arrays) // 2 - 1}"]) // 2


@pytest.mark.parametrize("file", golden_files("bptts", "agent_*.npz"))
def test_released_agents_get_their_logged_rewards(file: Path) -> None:
    """Sod, 1000 steps of forward Euler: the components' rewards apart, and the last step's distance from WENO's.

    To eight digits of the logs: sums of 400,000 arcus tangents differ by less than 1e-10 of themselves, and the
    difference of two states by 1e-16 of values of about one, 1e-9 of the smaller distance.
    """
    r, notes = sub_stencils(file), (file.parent / "README.md").read_text()
    logged = re.search(rf"r={r}: reward (\S+), last-step one-step L2\D* (\d\.\d+e-\d+)", notes)
    assert logged, f"README.md beside {file} gives no check values for r={r}"
    reward, last = map(float, logged.groups())
    configuration = replace(
        euler_1d.published(Euler1DConfiguration(scheme=f"weno{2 * r - 1}-js")), components="separate"
    )
    problem = conservation_law(configuration)
    agent = load_closure(file, problem.spec)
    environment = Environment(problem)

    def step(episode, _):
        following, timestep = environment.step_asking(episode, agent)
        return following, (jnp.mean(timestep.reward), timestep.error)

    @jax.jit
    def play(episode):
        return jax.lax.scan(step, episode, None, length=1000)[1]

    rewards, errors = play(environment.reset(key=jax.random.key(0)))
    assert float(jnp.sum(rewards)) == pytest.approx(reward, rel=1e-8)
    # The unit interval: the root of the mean over cells is that of dx times the sum.
    assert float(errors[-1]) == pytest.approx(last, rel=2e-8)
    if r == 2:
        # Selection by rewards adds up the same.
        rewards = summed_rewards(problem, agent, prepare_validation(problem, 1, 1000, key=jax.random.key(1)))
        assert float(rewards[0]) == pytest.approx(reward, rel=1e-8)


def errors_of(
    agents: dict[int, Path], problem_name: str, r: int, names: tuple[str, ...], cells: tuple[int, ...], *, time=None
) -> tuple[dict, dict]:
    """``{(initial, cells): {norm: error}}`` of the released agent and of WENO-JS of the same r."""
    problem = LAW_PROBLEMS[problem_name]
    how = {"integrator": problem.integrator, "splitting": problem.splitting, "projection": "component"}
    how["step"] = StepRule(courant=problem.courant, even=False)
    methods = {
        "agent": learned(agents[r], problem.law, **how),
        "weno": classical(f"weno{2 * r - 1}-js", problem.law, **how),
    }
    initial = {name: find_condition(problem, name) for name in names}
    found = run_study(Study(problem, initial, cells, time), methods)
    return tuple(
        {
            (name, n): {norm: value(found, norm, method, name, n) for norm in ("l1", "l2")}
            for name in names
            for n in cells
        }
        for method in ("agent", "weno")
    )


EULER_TABLE = {
    3: {
        "sod": (5.159e-3, 1.181e-2, 5.170e-3, 1.196e-2),
        "lax": (2.267e-2, 8.398e-2, 2.059e-2, 7.802e-2),
        "sod2": (5.686e-3, 9.647e-3, 5.712e-3, 9.726e-3),
        "sonic-rarefaction": (2.010e-1, 1.276e-1, 1.978e-1, 1.244e-1),
    },
    2: {
        "sod": (7.849e-3, 1.561e-2, 7.859e-3, 1.562e-2),
        "lax": (2.987e-2, 9.342e-2, 2.987e-2, 9.346e-2),
        "sod2": (8.898e-3, 1.355e-2, 8.914e-3, 1.357e-2),
        "sonic-rarefaction": (2.991e-1, 1.735e-1, 2.992e-1, 1.735e-1),
    },
}
"""Density against the exact Riemann solution, N = 128, SSP-RK3, C = 0.4: L1 and L2 of the agent, then of WENO-JS."""


@pytest.mark.parametrize("r", [3, 2])
def test_released_agents_on_shock_tubes(agents: dict[int, Path], r: int) -> None:
    ours, weno = errors_of(agents, "euler-1d", r, tuple(EULER_TABLE[r]), (128,))
    for name, quoted in EULER_TABLE[r].items():
        got = [error for score in (ours[name, 128], weno[name, 128]) for error in (score["l1"], score["l2"])]
        assert got == pytest.approx(quoted, rel=FOUR_DIGITS), name


@pytest.mark.slow
def test_released_agent_on_other_grids(agents: dict[int, Path]) -> None:
    quoted = {64: (1.033e-2, 1.046e-2), 256: (2.649e-3, 2.645e-3), 512: (1.451e-3, 1.425e-3)}
    ours, weno = errors_of(agents, "euler-1d", 3, ("sod",), tuple(quoted))
    for cells, pair in quoted.items():
        assert (ours["sod", cells]["l1"], weno["sod", cells]["l1"]) == pytest.approx(pair, rel=FOUR_DIGITS), cells


BURGERS_TABLE = {
    "smooth-sine": (5.320e-2, 5.045e-2),
    "rarefaction": (9.734e-3, 1.156e-2),
    "accelshock": (1.687e-1, 1.722e-1),
    "other-sine": (4.736e-2, 4.649e-2),
    "gaussian": (3.502e-2, 3.534e-2),
    "tophat": (3.195e-2, 3.255e-2),
}
"""L2 at T = 0.2 of the agent with r = 3 and of WENO5-JS, N = 128, RK4, C = 0.1, against the entropy solution."""


def test_an_agent_trained_on_euler_runs_on_burgers(agents: dict[int, Path]) -> None:
    ours, weno = errors_of(agents, "burgers-1d", 3, tuple(BURGERS_TABLE), (128,), time=0.2)
    for name, pair in BURGERS_TABLE.items():
        assert (ours[name, 128]["l2"], weno[name, 128]["l2"]) == pytest.approx(pair, rel=FOUR_DIGITS), name


@pytest.mark.slow
def test_an_agent_with_two_sub_stencils_runs_on_burgers_as_weno_does(agents: dict[int, Path]) -> None:
    ours, weno = errors_of(agents, "burgers-1d", 2, tuple(BURGERS_TABLE), (128,), time=0.2)
    for name in BURGERS_TABLE:
        assert ours[name, 128]["l2"] == pytest.approx(weno[name, 128]["l2"], rel=5e-3), name


def test_a_released_agent_loses_the_order_on_smooth_flow(agents: dict[int, Path]) -> None:
    """Before the shock forms: about third order where WENO5-JS has the fifth."""
    ours, weno = errors_of(agents, "burgers-1d", 3, ("smooth-sine",), (64, 128, 256), time=0.05)
    got = [(ours["smooth-sine", n]["l2"], weno["smooth-sine", n]["l2"]) for n in (64, 128, 256)]
    # Three digits are quoted, two of the last WENO error.
    assert [pair[0] for pair in got] == pytest.approx([2.50e-4, 3.59e-5, 5.25e-6], rel=2e-3)
    assert [pair[1] for pair in got] == pytest.approx([4.35e-5, 1.62e-6, 7.8e-8], rel=4e-3)
