"""The run-time benchmark at the smallest sizes: that it runs and its arithmetic is right. Times are not checked."""

import importlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

from closura.closures import CompactConfiguration
from closura.learners import BPTTSConfiguration
from closura.problems import AdvectionConfiguration, FixedBegin, Problem, build_problem
from closura.runs.configuration import TrainConfiguration, ValidationConfiguration, train_preset
from closura.runs.reference_bank import ReferenceConfiguration

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """``benchmarks/runtime.py``, which belongs to no package, with little effort spent on compiling."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield importlib.import_module("runtime")
    jax.config.update("jax_disable_most_optimizations", before)


def test_growth_writes_numbers_and_a_figure(
    runtime: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "runtime.json"
    runtime.main(["--quick", "--parts", "growth", "--json", str(path)])
    record = json.loads(path.read_text())
    assert record["environment"]["processors"] >= 1
    assert record["repetitions"]["growth"] == 1
    found = record["growth"]
    assert found["cells"] == [8, 16]
    assert list(found["methods"]) == ["CGS", "compact closure", "FGS d=4"]
    for row in found["methods"].values():
        for one in row["times"]:
            # One repetition: the quartiles are the median.
            assert one["lower"] == one["median"] == one["upper"] > 0
            assert one["units"] >= 1
    printed = capsys.readouterr().out
    assert "| compact closure |" in printed
    image = (tmp_path / "runtime-growth.png").read_bytes()
    assert image.startswith(b"\x89PNG")


def test_exponent_of_a_power_law(runtime: ModuleType) -> None:
    sizes = (16, 32, 64, 128, 256)
    # Exact up to rounding of logarithms.
    assert runtime.exponent(sizes, [3e-4 * n**2.5 for n in sizes]) == pytest.approx(2.5, abs=1e-12)


def test_table_has_ratios_of_ours_and_of_the_paper(runtime: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    problem = build_problem(AdvectionConfiguration(cells=8))
    cases = runtime.methods(problem, ("CGS", "ACGS", "FGS"), seconds=0.001)
    cases["FGS d=4"] = cases["FGS d=8, float64"] = cases.pop("FGS")
    part = runtime._timed("advection", cases, 2, 8, {"CGS": "a note"})
    rows = part["rows"]
    assert list(rows) == ["CGS", "ACGS", "FGS d=4", "FGS d=8, float64"]
    assert rows["CGS"]["times_cgs"] == 1
    ratio = rows["FGS d=4"]["median"] / rows["ACGS"]["median"]
    assert rows["ACGS"]["speed_up"]["FGS d=4"] == pytest.approx(ratio, rel=1e-12)
    # Table 5: 0.96 / 0.31 and 89.52 / 0.96.
    assert rows["ACGS"]["published_times_cgs"] == pytest.approx(3.097, abs=5e-4)
    assert rows["ACGS"]["published_speed_up"] == pytest.approx(93.25, abs=5e-3)
    assert rows["FGS d=4"]["published"] is None
    assert rows["FGS d=8, float64"]["published"] == 89.52
    runtime.show_table({"advection": part})
    printed = capsys.readouterr().out
    assert "| ACGS |" in printed
    assert "CGS: a note." in printed


def test_loops_have_as_many_steps_as_the_time_allows(runtime: ModuleType) -> None:
    timing = importlib.import_module("timing")
    case = timing.loop(lambda x: x + 1, np.zeros(3), seconds=0.001)
    np.testing.assert_array_equal(case.call(), np.full(3, case.units))
    assert case.units > 1


def test_parts_of_an_update_add_up(
    runtime: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = importlib.import_module("runtime_training")
    timing = importlib.import_module("timing")

    def without_drawing(c: TrainConfiguration, **changes: Any) -> Problem:
        """Every simulation begins alike: what draws fields takes most of the time of compiling."""
        problem = build_problem(replace(c.problem, images="synthetic", **changes))
        return replace(problem, begin=FixedBegin(timing.begin(problem)))

    monkeypatch.setattr(training, "_problem", without_drawing)
    monkeypatch.setattr(training, "begin", lambda problem: problem.begin.initial)
    small = {
        "problem": AdvectionConfiguration(cells=8, ratio=2),
        "network": CompactConfiguration(channels=4, layers=1, radius=1),
        "validation": ValidationConfiguration(simulations=2, steps=2, every=10),
    }
    paper = replace(train_preset("paper", closure="compact"), **small)
    default = replace(
        train_preset("default"),
        learning=BPTTSConfiguration(updates=10, batch=2, horizons=(2,), fractions=(1.0,)),
        reference=ReferenceConfiguration(slots=2, steps=4, blocks=2, renew_every=5),
        **small,
    )
    runs = {
        "PPO": training.on_policy_update(paper, 4, 1),
        "bptts": training.bptts_update(default, 1),
    }
    for run, transitions in ((runs["PPO"], 4), (runs["bptts"], 4)):
        assert run["transitions_per_update"] == transitions
        assert sum(run["percent"].values()) == pytest.approx(100, abs=1e-9)
        assert list(run["percent"]) == ["fine solver", "coarse solver", "network", "update", "rest"]
        ms, measured = run["milliseconds"], run["measured"]
        # Two simulations every ten updates.
        assert ms["validation"] == pytest.approx(measured["validation"]["median"] * 2 / 10, rel=1e-12)
    renewal = runs["bptts"]["measured"]["renewal"]["median"]
    assert runs["bptts"]["milliseconds"]["fine solver"] == pytest.approx(renewal / 5, rel=1e-12)
    training.show_training({"advection": runs})
    assert "| PPO |" in capsys.readouterr().out
