"""Verdicts, roles of methods, names of errors, and citations: true for any names and any numbers."""

import csv
import io
import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from closura.evaluation.results import Evaluation, MethodResult

from closura.commands.demo_flow import FlowDemoOptions, steps
from closura.commands.laws import run_evaluate_law
from closura.evaluation import load_evaluation, save_evaluation, summary
from closura.metrics.statistics import geometric_mean
from closura.problems.laws.march import check_courant, check_positivity, positivity_limit
from closura.reporting.citations import sources_of
from closura.reporting.findings import findings, verdict
from closura.reporting.report import write_report
from closura.reporting.scales import symmetric_scales
from closura.reporting.style import styles_of
from closura.reporting.table import tables_of
from closura.reporting.tables import table_rows, write_csv


def method(name: str, error: np.ndarray, *, learned: bool = False) -> MethodResult:
    return MethodResult(name, error, None, np.full(len(error), -1), 0.1, 2.5, 7 if learned else None)


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def _named(names: dict[str, float], *, learned: tuple[str, ...], truth: str | None, **facts: Any) -> Evaluation:
    """Errors that grow to given ends, by name."""
    methods = {
        name: method(name, np.outer(1 + 0.01 * np.arange(4.0), np.linspace(0, end, 51)), learned=name in learned)
        for name, end in names.items()
    }
    return Evaluation("p", methods, 50, 4, 0.1, truth=truth, **facts)


def test_roles_are_stated_and_not_read_from_names() -> None:
    names = {"coarse": 0.04, "DNS": 0.0, "upwind-turned": 0.03, "smagorinsky": 0.035, "truth": 0.02, "better": 0.025}
    learned = ("upwind-turned", "truth")
    found = _named(names, learned=learned, truth="DNS")
    assert found.roles == {
        "coarse": "baseline", "DNS": "truth", "upwind-turned": "closure", "smagorinsky": "classical",
        "truth": "closure", "better": "classical",
    }  # fmt: skip
    assert "DNS" not in found.judged
    text = " ".join(findings(found)["truth"])
    assert "Against better, the best classical scheme on this grid: lower error" in text
    assert "DNS, the best" not in text
    styles = styles_of(found)
    assert (styles["coarse"].colour, styles["DNS"].colour) == ("#CC3311", "#228833")
    for closure in learned:
        assert styles[closure].width > 2
    assert styles["smagorinsky"].width < 2
    # As earlier versions wrote evaluations: the truth is known by its usual names, closures never are.
    old = _named({"CGS": 0.04, "truth": 0.02, "FGS": 0.0}, learned=("truth",), truth=None)
    assert old.truth == "FGS"
    with pytest.raises(ValueError, match="the truth must be a method that learns nothing"):
        _named(names, learned=learned, truth="upwind-turned")


def test_roles_and_names_of_errors_survive_a_file(tmp_path: Path) -> None:
    found = _named(
        {"coarse": 0.04, "DNS": 0.0, "truth": 0.02}, learned=("truth",), truth="DNS", error_name="relative L2 error"
    )
    back = load_evaluation(save_evaluation(found, tmp_path / "e.npz"))
    assert (back.truth, back.error_name, back.roles) == ("DNS", "relative L2 error", found.roles)
    entry = summary(back)
    assert entry["error"] == "relative_l2_error"
    assert entry["methods"]["truth"]["relative_l2_error"]["n"] == 4
    assert table_rows(back)[0][1].startswith("relative L2 error (%) at step 50")
    assert "relative_l2_error_mean_percent" in read_csv(write_csv(back, tmp_path / "t.csv"))[0]


@pytest.mark.parametrize(
    ("closure", "rival", "noise", "words"),
    [(0.0073, 0.0072, 0.0, "higher error"), (0.0073, 0.0072, 0.002, "level"), (0.006, 0.0072, 0.0, "lower error")],
)
def test_verdicts_are_against_the_best_on_the_grid(closure: float, rival: float, noise: float, words: str) -> None:
    ends = {"CGS": 0.03, "ACGS": 0.0186, "upwind5": rival, "FGS": 0.0, "mine": closure}
    found = _named(ends, learned=("mine",), truth="FGS")
    mine = found.methods["mine"]
    shaken = mine.error + noise * np.array([[1.0], [-1], [1], [-1]]) * (np.arange(51) > 0)
    methods = {**found.methods, "mine": replace(mine, error=shaken, milliseconds_per_step=0.78)}
    methods["upwind5"] = replace(methods["upwind5"], milliseconds_per_step=0.02)
    text = verdict(replace(found, methods=methods), "mine")
    assert text.startswith(f"Against upwind5, the best classical scheme on this grid: {words}, ")
    assert text.endswith("; it costs 39.0 times as much as upwind5.")
    # Whatever it is called: the baseline itself may be the best.
    ends = {"plain": 0.01, "fancy": 0.02, "mine": closure}
    assert verdict(_named(ends, learned=("mine",), truth=None), "mine").startswith(
        "Against plain, no closure and the best"
    )


def test_reports_cite_what_was_used(tmp_path: Path) -> None:
    for problem, cited, other in (
        ("advection", "2402.00972", "kochkov"),
        ("kolmogorov", "kochkov2021", "2402.00972"),
        ("mine", None, "2402.00972"),
    ):  # fmt: skip
        found = replace(_named({"coarse": 0.04, "DNS": 0.0}, learned=(), truth="DNS"), problem=problem)
        text = write_report(tmp_path / "r.html", title="t", evaluations=found, figures={}).read_text()
        assert cited is None or cited in text
        assert other not in text
        assert ("Sources" in text) == (cited is not None)
    ppo = {"configuration": {"closure": "compact", "learning": {"epochs": 4}}}
    assert "2402.00972" in "".join(sources_of([found], [ppo]))
    assert sources_of([found], [{"configuration": {"learning": {"horizons": [4]}}}])[0].startswith("@article{way2022")


def test_differences_of_rounding_are_not_drawn_in_full_colour() -> None:
    field = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    for size in (1e-12, 1e-9):
        scales, _ = symmetric_scales({"same": np.float32(size) * field}, (0, 1, 2), size=5.0)
        assert all(scale.vmax == pytest.approx(5e-6) for scale in scales)
    scales, _ = symmetric_scales({"other": np.float32(0.1) * field}, (0, 1, 2), size=5.0)
    assert all(scale.vmax > 0.1 for scale in scales)


@pytest.mark.parametrize("scale", ["quick", "tiny"])
def test_commands_of_the_flow_demo_can_be_pasted(scale: str, tmp_path: Path) -> None:
    for step in steps(FlowDemoOptions(tmp_path / "a folder", scale)):
        words = shlex.split(step.line)
        assert all(a != b for a, b in pairwise(words)), step.line
        assert str(tmp_path / "a folder") in step.line


# Schemes of a gas.

EULER = ["euler-1d", "--no-timing", "--cells", "32", "--methods", "weno5-js", "--shifts", "0"]


def failures(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    found = run_evaluate_law([*EULER, *words])
    tables = [table for table in tables_of(found) if table.title == "Failures"]
    assert ("Failures" in capsys.readouterr().out) == bool(tables)
    return "; ".join(cells[-2:][0] + ": " + cells[-1] for table in tables for _, cells in table.rows)


def test_advice_after_a_negative_pressure_is_true(capsys: pytest.CaptureFixture[str]) -> None:
    # Smaller steps do not keep the pressure positive, and the advice that is given does.
    for courant in ("0.4", "0.05"):
        said = failures(capsys, "--initial", "slow-shock", "--courant", courant)
        assert said == "negative density or pressure: --positivity"
    said = failures(capsys, "--initial", "slow-shock", "--courant", "0.9")
    assert said.endswith(": --positivity with --courant 0.5 or less")
    assert failures(capsys, "--initial", "slow-shock", "--positivity", "--courant", "0.4") == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--positivity", "--courant", "0.6"], r"up to a Courant number of 0\.5 with ssp-rk3; got 0\.6"),
        (["--positivity", "--courant", "0.55", "--integrator", "forward-euler"], r"0\.5 with forward-euler; got 0\.55"),
        (
            ["--positivity", "--time-step", "0.02", "--initial", "sod"],
            r"--time-step 0\.02 on 32 cells.*up to a Courant",
        ),
    ],
)
def test_positivity_beyond_its_limit_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        run_evaluate_law([*EULER, *words])


def test_limits_of_steps() -> None:
    assert [positivity_limit(name) for name in ("forward-euler", "ssp-rk2", "ssp-rk3", "rk4")] == [0.5, 0.5, 0.5, None]
    check_positivity(0.5, "ssp-rk3")
    with pytest.raises(ValueError, match="choose a smaller one, or another integrator: rk4"):
        check_courant(1.5, "ssp-rk3", 3)
    with pytest.raises(ValueError, match=r"choose a smaller one$"):
        check_courant(5.0, "rk4", 3)
    for nothing in (0.0, -0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be positive; got"):
            check_courant(nothing, "rk4", 3)


def test_shifts_are_averaged_over_by_default_or_the_table_says_not(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["burgers-1d", "--cells", "16", "--initial", "tophat", "--methods", "weno3-js,weno5-js", "--no-timing"]
    found = run_evaluate_law(words)
    assert found.provenance["shifts"] == 16
    assert found.groups == ("tophat",) * 16
    assert "mean over 16 random shifts" in " ".join(capsys.readouterr().out.split())
    run_evaluate_law([*words, "--shifts", "0"])
    assert "not averaged over where fronts stand in their cells" in " ".join(capsys.readouterr().out.split())


def test_the_verdict_on_agents_is_against_the_best_scheme(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["burgers-1d", "--cells", "24", "--initial", "tophat,other-sine", "--shifts", "2", "--time", "0.1"]
    found = run_evaluate_law([*words, "--methods", "weno3-js,weno5-js,teno5", "--closure", "burgers-1d", "--no-timing"])
    means = {name: geometric_mean(found.last(name)) for name in found.methods}
    best = min(("weno3-js", "weno5-js", "teno5"), key=lambda name: means[name])
    shown = " ".join(capsys.readouterr().out.split())
    assert f"burgers-1d: Against {best}," in shown
    assert "the best classical method on this grid: " in shown
    assert f"in 2 of 2 initial conditions; ratio {means['burgers-1d'] / means[best]:.3g} (95 % interval" in shown
