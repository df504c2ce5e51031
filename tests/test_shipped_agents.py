"""The agents and closures that come with the package, held to what the documentation says of them.

None of these initial conditions was in training or validation. Fast tests take one grid and no shifts; the slow one is
the documentation's own protocol. Bounds leave a few percent to other compilers' round-off and to the sub-cell places of
shocks, which move single errors by several percent.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from closura.commands.closures import named_closure, trained_settings
from closura.commands.laws import run_evaluate_law
from closura.io.closures import AGENTS, load_closure
from closura.io.weights import read_header
from closura.problems import (
    BurgersConfiguration,
    TurbulenceConfiguration,
    as_trained,
    build_problem,
    burgers,
    simulate_reference,
)
from closura.problems.laws.setup import RANDOM
from closura.simulation.evaluate import evaluate

SIX = ("smooth-sine", "rarefaction", "accelshock", "other-sine", "gaussian", "tophat")


def _errors(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "errors.json"
    run_evaluate_law([*arguments, "--no-timing", "--json", str(path)])
    found: dict[str, Any] = json.loads(path.read_text())["methods"]
    return found


def _ratios(found: dict[str, Any], agent: str, cells: str, norm: str) -> np.ndarray:
    baseline = found["weno5-js"]
    return np.array([found[agent][name][cells][norm] / baseline[name][cells][norm] for name in baseline])


@pytest.mark.parametrize("name", ["burgers-1d", "euler-1d"])
def test_agents_are_small_and_say_how_they_were_trained(name: str) -> None:
    file = AGENTS / f"{name}.safetensors"
    header = read_header(file)
    configuration = header["metadata"]["configuration"]
    assert file.stat().st_size < 100_000
    assert header["metadata"]["problem"] == name
    # Nothing that evaluations evaluate was trained on: initial conditions came from the random family alone.
    assert tuple(configuration["problem"]["initial"]) == RANDOM
    assert configuration["problem"]["scheme"] == "weno5-js"


def test_burgers_agent_is_ahead_of_weno_and_teno(tmp_path: Path) -> None:
    found = _errors(tmp_path, "burgers-1d", "--closure", "burgers-1d", "--methods", "weno5-js,teno5", "--cells", "128")
    ours, teno = (_ratios(found, name, "128", "l2") for name in ("burgers-1d", "teno5"))
    assert math.exp(np.log(ours).mean()) < 0.88
    assert np.log(ours).mean() < np.log(teno).mean()
    assert ours.max() < 1.15


def test_burgers_agent_keeps_the_order_on_smooth_flow(tmp_path: Path) -> None:
    found = _errors(
        tmp_path, "burgers-1d", "--closure", "burgers-1d", "--methods", "weno5-js", "--initial", "smooth-sine",
        "--time", "0.05", "--cells", "64,128,256",
    )  # fmt: skip
    errors = [found["burgers-1d"]["smooth-sine"][n]["l2"] for n in ("64", "128", "256")]
    for n in ("64", "128", "256"):
        assert _ratios(found, "burgers-1d", n, "l2") < 1.0
    # Order 5 in space; at N = 256 the time error of RK4 comes into sight.
    assert math.log2(errors[0] / errors[1]) > 4.5


def test_euler_agent_is_ahead_of_weno(tmp_path: Path) -> None:
    found = _errors(
        tmp_path, "euler-1d", "--closure", "euler-1d", "--methods", "weno5-js,teno5", "--initial", "sod,lax,sod2"
    )
    ours, teno = (_ratios(found, name, "128", "l1") for name in ("euler-1d", "teno5"))
    assert ours.max() < 0.92
    assert np.log(ours).mean() < np.log(teno).mean()


def test_euler_agent_stands_where_weno_does(tmp_path: Path) -> None:
    found = _errors(
        tmp_path, "euler-1d", "--closure", "euler-1d", "--methods", "weno5-js", "--cells", "64",
        "--initial", "double-rarefaction,slow-moving-shock,sonic-rarefaction,shock-tube",
    )  # fmt: skip
    for name, by_cells in found["weno5-js"].items():
        assert not by_cells["64"]["diverged"]
        assert not found["euler-1d"][name]["64"]["diverged"]


def test_the_agent_of_euler_serves_burgers(tmp_path: Path) -> None:
    found = _errors(tmp_path, "burgers-1d", "--closure", "euler-1d", "--methods", "weno5-js", "--cells", "64")
    assert math.exp(np.log(_ratios(found, "euler-1d", "64", "l2")).mean()) < 0.9


def test_the_agent_of_burgers_stands_on_euler_with_the_limiter(tmp_path: Path) -> None:
    # It knows shocks by the sign of their jump, which components of a gas do not share: it runs, but is no better.
    found = _errors(
        tmp_path, "euler-1d", "--closure", "burgers-1d", "--methods", "weno5-js", "--cells", "64",
        "--initial", "sod,lax", "--positivity",
    )  # fmt: skip
    assert not any(found["burgers-1d"][name]["64"]["diverged"] for name in ("sod", "lax"))


def test_the_closure_of_vector_burgers_is_ahead_of_the_scheme_that_it_corrects() -> None:
    """At published step 50, t = 1.5, on held-out fields.

    By 60 % and more: over 100 of them it is 70 to 80 %, and simulations scatter by a factor of two.
    """
    name, path = named_closure("burgers")
    trained = trained_settings(path)
    assert name == "burgers"
    assert trained is not None
    assert trained.problem.base == "upwind5"
    assert trained.problem.orientations == 2
    assert path.stat().st_size < 100_000
    settings = BurgersConfiguration()
    problem, own = burgers(settings, "test"), burgers(as_trained(settings, trained.problem), "test")
    result = evaluate(
        replace(problem, baselines={"upwind5": problem.baselines["upwind5"]}, finer={}),
        {name: load_closure(path, own.spec)}, simulations=6, steps=100, key=jax.random.key(11), timing=False,
        own={name: own},
    )  # fmt: skip
    errors = {key: result.errors(key)[:, -1] for key in result.methods}
    assert (errors[name] < errors["upwind5"]).all()
    assert np.median(errors[name]) < 0.4 * np.median(errors["upwind5"])


@pytest.mark.slow
def test_the_documented_protocol(tmp_path: Path) -> None:
    grids = ("64", "128", "256", "512")
    found = _errors(
        tmp_path, "burgers-1d", "--closure", "burgers-1d", "--methods", "weno5-js,teno5", "--cells", ",".join(grids),
        "--shifts", "16",
    )  # fmt: skip
    for n in grids:
        ours, teno = (_ratios(found, name, n, "l2") for name in ("burgers-1d", "teno5"))
        assert np.log(ours).mean() < np.log(teno).mean()
    assert math.exp(np.log(_ratios(found, "burgers-1d", "128", "l2")).mean()) < 0.85
    shu = _errors(
        tmp_path,
        "euler-1d",
        "--closure",
        "euler-1d",
        "--methods",
        "weno5-js",
        "--initial",
        "shu-osher",
        "--cells",
        "200",
    )
    assert _ratios(shu, "euler-1d", "200", "l1").max() < 0.92


def test_the_closures_of_turbulence_are_ahead_of_the_schemes_that_they_correct(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Velocity errors at t = 1 on two held-out starts: by 40 and 60 % over 32 of them, from start to start alike."""
    monkeypatch.setenv("CLOSURA_CACHE", str(tmp_path))
    usual = TurbulenceConfiguration(pool=2, chains=2, transient=8.0, settle=1.0, others=(), finer=())
    for name, kept in (("turbulence", 0.8), ("turbulence-volumes", 0.6)):
        path = named_closure(name)[1]
        trained = trained_settings(path)
        assert trained is not None
        assert path.stat().st_size < 100_000
        problem = build_problem(as_trained(usual, trained.problem), "test")
        closure = load_closure(path, problem.spec)
        store = simulate_reference(problem, 2, 16, key=jax.random.key(0))
        for start in range(2):
            parameters = jax.tree.map(lambda x, i=start: x[i], store.parameters)
            errors = []
            for ask in (None, closure):

                def step(state, _, ask=ask, parameters=parameters):
                    return problem.step(state, parameters, ask)[0], None

                state = jax.jit(lambda s, step=step: jax.lax.scan(step, s, None, length=16)[0])(store.state[start])
                errors.append(float(problem.error(state, store.reference[start, 16])))
            assert errors[1] < kept * errors[0] < 0.2
