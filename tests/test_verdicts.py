"""Verdicts, roles of methods, names of errors, and citations: true for any names and any numbers."""

import shlex
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import method, metric, read_csv, results

from closura.commands.demo import FlowDemoOptions, flow_steps
from closura.commands.laws import run_evaluate_law
from closura.core import MethodResult, Results, Role
from closura.metrics.statistics import geometric_mean
from closura.problems.laws.cases import check_courant, check_positivity, positivity_limit
from closura.reporting.citations import sources_of
from closura.reporting.figures.curves import error_curves
from closura.reporting.findings import best_baseline, findings, verdict
from closura.reporting.numbers import summary
from closura.reporting.report import write_report
from closura.reporting.scales import symmetric_scales
from closura.reporting.style import styles_of
from closura.reporting.table import tables_of
from closura.reporting.tables import summary_table, write_csv


def grown(role: Role, end: float, **facts: Any) -> MethodResult:
    """Errors that grow to a given end."""
    errors = np.outer(1 + 0.01 * np.arange(4.0), np.linspace(0, end, 51))
    return method(role, errors, **facts)


NAMES = {
    "coarse": grown(Role.UNCORRECTED, 0.04),
    "DNS": grown(Role.REFERENCE, 0.0),
    "upwind5-turned": grown(Role.CLOSURE, 0.03),
    "smagorinsky": grown(Role.BASELINE, 0.035),
    "truth": grown(Role.CLOSURE, 0.02),
    "better": grown(Role.BASELINE, 0.025),
    "FGS": grown(Role.FINE_BASELINE, 0.001),
}


def test_roles_are_stated_and_not_read_from_names(tmp_path: Path) -> None:
    found = results(NAMES)
    assert found.roles == {
        "coarse": "uncorrected", "DNS": "reference", "upwind5-turned": "closure", "smagorinsky": "baseline",
        "truth": "closure", "better": "baseline", "FGS": "fine baseline",
    }  # fmt: skip
    assert (found.uncorrected, found.reference, found.closures) == ("coarse", "DNS", ("upwind5-turned", "truth"))
    assert "DNS" not in found.compared
    assert best_baseline(found) == "better"
    text = " ".join(findings(found)["truth"])
    assert "Against better, the best classical method on this grid: lower error" in text
    assert "Against DNS" not in text
    styles = styles_of(found)
    assert (styles["coarse"].colour, styles["DNS"].colour) == ("#CC3311", "#228833")
    blue = styles_of(results({"a": NAMES["coarse"], "b": NAMES["truth"]}))["b"]
    assert (styles["upwind5-turned"].colour, styles["upwind5-turned"].line) == (blue.colour, blue.line)
    for closure in found.closures:
        assert styles[closure].width > 2
    for other in ("smagorinsky", "FGS"):
        assert styles[other].width < 2
    (axes,) = error_curves(found).axes
    assert axes.get_legend_handles_labels()[1] == [name for name in NAMES if name != "DNS"]
    line = next(line for line in axes.lines if line.get_label() == "upwind5-turned")
    assert (line.get_color(), line.get_linewidth()) == (blue.colour, blue.width)
    assert {row["method"]: row["role"] for row in read_csv(write_csv(found, tmp_path / "t.csv"))} == found.roles


@pytest.mark.parametrize(
    ("percent", "unit", "said"), [(True, "1", "5 %"), (False, "m/s", "0.05 m/s"), (False, "1", "0.05")]
)
def test_a_threshold_has_the_unit_of_the_error(percent: bool, unit: str, said: str) -> None:
    """Only shares are written in percent: the line in the figure, the column and the sentence."""
    errors = np.linspace(0.02, 0.08, 8).reshape(2, 4)
    found = Results.build(
        "p", {"coarse": method(Role.UNCORRECTED, 2 * errors), "net": method(Role.CLOSURE, errors, corrects="coarse")},
        [metric("error", title="RMSE", percent=percent, unit=unit)], error="error", times=np.arange(4) / 10,
        time_step=0.1, threshold=0.05,
    )  # fmt: skip
    assert any(line.startswith(f"Its RMSE stays below {said} for ") for line in findings(found)["net"])
    assert f"steps below {said}" in summary_table(found).headings
    (axes,) = error_curves(found).axes
    assert (5.0 if percent else 0.05) in [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]


@pytest.mark.parametrize("order", [("coarse", "DNS"), ("DNS", "coarse")])
def test_the_reference_is_whatever_was_said_to_be(order: tuple[str, str]) -> None:
    """Of two methods, neither of a usual name, and wherever it stands."""
    found = results({name: NAMES[name] for name in (*order, "truth")})
    assert (found.uncorrected, found.reference) == ("coarse", "DNS")
    assert best_baseline(found) == "coarse"
    assert verdict(found, "truth").startswith("Against coarse, no closure: lower error, ")
    numbers = summary(found)
    assert (numbers["baseline"], numbers["truth"]) == ("coarse", "DNS")
    assert numbers["methods"]["truth"]["base"] == "coarse"


def test_roles_and_names_of_errors_survive_a_file(tmp_path: Path) -> None:
    found = results({name: NAMES[name] for name in ("coarse", "DNS", "truth")}, title="relative L2 error")
    back = Results.open(found.save(tmp_path))
    assert (back.reference, back.error.title, back.roles) == ("DNS", "relative L2 error", found.roles)
    entry = summary(back)
    assert entry["error"] == "relative_l2_error"
    assert entry["methods"]["truth"]["relative_l2_error"]["n"] == 4
    assert summary_table(back).headings[2].startswith("relative L2 error (%) at step 50")
    assert "relative_l2_error_mean_percent" in read_csv(write_csv(back, tmp_path / "t.csv"))[0]


@pytest.mark.parametrize(
    ("closure", "baseline", "noise", "words"),
    [(0.0073, 0.0072, 0.0, "higher error"), (0.0073, 0.0072, 0.002, "level"), (0.006, 0.0072, 0.0, "lower error")],
)
def test_verdicts_are_against_the_best_on_the_grid(closure: float, baseline: float, noise: float, words: str) -> None:
    mine = grown(Role.CLOSURE, closure, milliseconds_per_step=0.78)
    shaken = mine.values["error"] + noise * np.array([[1.0], [-1], [1], [-1]]) * (np.arange(51) > 0)
    methods = {
        "CGS": grown(Role.UNCORRECTED, 0.03),
        "ACGS": grown(Role.BASELINE, 0.0186),
        "upwind5": grown(Role.BASELINE, baseline, milliseconds_per_step=0.02),
        "FGS": grown(Role.REFERENCE, 0.0),
        "mine": replace(mine, values={"error": shaken}),
    }
    text = verdict(results(methods), "mine")
    assert text.startswith(f"Against upwind5, the best classical method on this grid: {words}, ")
    assert text.endswith("; it costs 39.0 times as much as upwind5.")
    # Whatever it is called: the uncorrected solver itself may be the best.
    methods = {"plain": grown(Role.UNCORRECTED, 0.01), "fancy": grown(Role.BASELINE, 0.02), "mine": mine}
    assert verdict(results(methods), "mine").startswith("Against plain, no closure and the best")


def test_reports_cite_what_was_used(tmp_path: Path) -> None:
    for problem, cited, other in (
        ("advection", "2402.00972", "kochkov"),
        ("kolmogorov", "kochkov2021", "2402.00972"),
        ("mine", None, "2402.00972"),
    ):  # fmt: skip
        found = results({name: NAMES[name] for name in ("coarse", "DNS")}, problem=problem)
        text = write_report(tmp_path / "r.html", title="t", comparisons=found, figures={}).read_text()
        assert cited is None or cited in text
        assert other not in text
        assert ("Sources" in text) == (cited is not None)
    ppo = {"configuration": {"closure": "compact", "learner": "ppo"}}
    assert "2402.00972" in "".join(sources_of([found], [ppo]))
    assert sources_of([found], [{"configuration": {"learner": "bptts"}}])[0].startswith("@article{way2022")


def test_differences_of_rounding_are_not_drawn_in_full_colour() -> None:
    field = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    for size in (1e-12, 1e-9):
        scales, _ = symmetric_scales({"same": np.float32(size) * field}, (0, 1, 2), size=5.0)
        assert all(scale.vmax == pytest.approx(5e-6) for scale in scales)
    scales, _ = symmetric_scales({"other": np.float32(0.1) * field}, (0, 1, 2), size=5.0)
    assert all(scale.vmax > 0.1 for scale in scales)


@pytest.mark.parametrize("scale", ["quick", "tiny"])
def test_commands_of_the_flow_demo_can_be_pasted(scale: str, tmp_path: Path) -> None:
    for step in flow_steps(FlowDemoOptions(tmp_path / "a folder", scale)):
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
