"""The numbers of an evaluation, by hand, and the tables made from them."""

import io
import json
import math
import re

import numpy as np
import pytest
from made_results import method, read_csv, results
from rich.console import Console

from closura.core import Metric, Results, Role
from closura.io.files import write_atomically
from closura.metrics.comparison import improvement_per_simulation, paired_difference
from closura.metrics.statistics import (
    mean_interval,
    mean_per_step,
    quantile_per_step,
    spread,
    std_per_step,
    steps_below_threshold,
)
from closura.plain import plain
from closura.reporting.findings import best_baseline, findings
from closura.reporting.formatting import with_spread
from closura.reporting.numbers import summary
from closura.reporting.table import print_tables
from closura.reporting.tables import footnotes, write_breakdown_csv, write_csv, write_json

STEPS = 4
METHODS = {
    "CGS": method(
        Role.UNCORRECTED,
        [[0, 0.005, 0.02, 0.03, 0.04], [0, 0.02, 0.03, 0.05, 0.06], [0, 0.01, 0.01, 0.02, 0.02]],
        milliseconds_per_step=1.0,
    ),
    "upwind5": method(
        Role.BASELINE, [[0, 0, 0, 0.01, 0.01], [0, 0, 0, 0.01, 0.02], [0, 0, 0, 0.01, 0.03]], milliseconds_per_step=1.0
    ),
    "FGS": method(Role.REFERENCE, [[0.0] * 5] * 3, milliseconds_per_step=100.0),
    "closure": method(
        Role.CLOSURE,
        [[0, 0.001, 0.002, 0.003, 0.004], [0, 0.01, 0.012, 0.02, 0.03], [0, 0.004, 0.009, 0.02, 0.01]],
        parameters=1234,
        conserved=np.tile(np.linspace(0.0, -0.04, STEPS + 1), (3, 1)),
        milliseconds_per_step=1.0,
    ),
    "spectral": method(
        Role.BASELINE,
        [[0, 0.01, 0.02, np.nan, np.nan], [0, 0.01, 0.02, 0.03, 0.05], [0, 0.02, 0.03, 1e200, np.inf]],
        diverged_at=np.asarray([3, -1, 3]),
        milliseconds_per_step=float("nan"),
    ),
}


@pytest.fixture
def evaluation() -> Results:
    return results(
        METHODS,
        problem="advection",
        description={"split": "test images only [held out]"},
        provenance={"command": "closura evaluate", "numbers": np.arange(2), "bad": float("nan")},
    )


def test_relative_error_by_hand(evaluation: Results) -> None:
    numbers = summary(evaluation)["methods"]
    # CGS at the last step: 0.04, 0.06, 0.02; population variance (0 + 4e-4 + 4e-4) / 3. Tolerances: rounding.
    error = numbers["CGS"]["relative_mae"]
    assert error["mean"] == pytest.approx(0.04, rel=1e-14)
    assert error["std"] == pytest.approx(np.sqrt(8e-4 / 3), rel=1e-13)
    assert (error["median"], error["max"], error["min"], error["n"]) == (0.04, 0.06, 0.02, 3)
    assert numbers["CGS"]["relative_mae_per_step"]["mean"][0] == 0.0
    assert numbers["CGS"]["relative_mae_per_step"]["mean"][3] == pytest.approx(0.1 / 3, rel=1e-14)
    assert len(numbers["CGS"]["relative_mae_per_step"]["median"]) == STEPS + 1
    # The closure's mean is 0.044 / 3 against 0.12 / 3.
    assert numbers["closure"]["improvement"] == pytest.approx(1 - 0.044 / 0.12, rel=1e-13)
    assert numbers["CGS"]["improvement"] == 0.0
    assert numbers["FGS"]["relative_mae"]["mean"] == 0.0
    # The sign of a mass error does not cancel: its size counts.
    assert numbers["closure"]["mass_error"]["mean"] == pytest.approx(0.04, rel=1e-14)
    assert numbers["CGS"]["mass_error"] is None
    assert numbers["closure"]["parameters"] == 1234
    assert numbers["CGS"]["parameters"] is None


def test_diverged_simulations_are_counted_and_kept(evaluation: Results) -> None:
    entry = summary(evaluation)["methods"]["spectral"]
    assert entry["diverged"] == 2
    error = entry["relative_mae"]
    # Errors NaN, 0.05, inf: no mean, an infinite median, and the one finite value under its own name.
    assert (error["mean"], error["std"], error["median"], error["max"]) == (None, None, None, None)
    assert (error["mean_of_finite"], error["not_finite"]) == (0.05, 2)
    assert entry["improvement"] is None
    assert entry["milliseconds_per_step"] is None
    # At step 3: NaN, 0.03, 1e200. The median counts NaN as the largest, so it is the middle value 1e200.
    assert entry["relative_mae_per_step"]["median"][3] == 1e200
    assert entry["relative_mae_per_step"]["mean"][3] is None
    # A flag alone counts too, even where errors stayed finite.
    flagged = results({"x": method(Role.UNCORRECTED, [[0, 1, 1, 1, 1]], diverged_at=np.asarray([2]))})
    assert flagged.diverged("x") == 1
    assert flagged.failures == [{"method": "x", "case": 0, "index": 2}]


def test_spread_of_large_and_missing_values() -> None:
    values = spread(np.asarray([np.nan, 1.0, 2.0]))
    assert (values["mean"], values["median"], values["max"]) == (np.inf, 2.0, np.inf)
    assert values["mean_of_finite"] == 1.5
    nothing = spread(np.asarray([np.nan, np.inf]))
    assert nothing["median"] == np.inf
    assert np.isnan(nothing["mean_of_finite"])
    assert spread(np.asarray([1e300, 0.0]))["std"] == np.inf  # the square overflows, silently


def test_quantiles_with_infinities() -> None:
    values = np.asarray([[1.0, 1.0], [3.0, np.nan], [2.0, np.inf], [4.0, 5.0]])
    finite = values[:, :1]
    np.testing.assert_allclose(quantile_per_step(finite, 0.25), np.quantile(finite, 0.25, axis=0), rtol=1e-15)
    # 1, 5, inf, inf: the lower quartile lies at 0.75 of the way from 1 to 5.
    assert quantile_per_step(values, 0.25)[1] == 4.0
    assert quantile_per_step(values)[1] == np.inf
    assert mean_per_step(values).tolist() == [2.5, np.inf]
    assert std_per_step(values)[1] == np.inf


def test_steps_below_threshold_by_hand(evaluation: Results) -> None:
    # CGS: above 1 % first at step 2, step 1, step 3 (0.01 is not above), so 1, 0 and 2 steps stay below.
    count, censored = steps_below_threshold(evaluation.errors("CGS"), 0.01)
    assert count.tolist() == [1, 0, 2]
    assert not censored.any()
    # The closure's first simulation never exceeds 1 %: all four steps; the published code says 0.
    error = evaluation.errors("closure")
    count, censored = steps_below_threshold(error, 0.01)
    assert count.tolist() == [4, 1, 2]
    assert censored.tolist() == [True, False, False]
    assert steps_below_threshold(error, 0.01, published=True)[0].tolist() == [0, 1, 2]
    # The published code: argmax over errors that start after the first step.
    assert [int(np.argmax(row[1:] > 0.01)) for row in error] == [0, 1, 2]
    # NaN is above every threshold.
    assert steps_below_threshold(np.asarray([[0.0, 0.0, np.nan, 0.0]]), 0.01)[0].tolist() == [1]
    entry = summary(evaluation)["methods"]["closure"]["steps_below_threshold"]
    assert (entry["median"], entry["min"], entry["max"], entry["censored"]) == (2, 1, 4, 1)
    assert entry["mean"] == pytest.approx(7 / 3, rel=1e-14)


def test_intervals_against_tables_of_student_t() -> None:
    # Two-sided 95 %: standard tables, three decimals.
    for degrees, expected in ((1, 12.706), (2, 4.303), (9, 2.262), (19, 2.093), (99, 1.984)):
        values = np.random.default_rng(degrees).standard_normal(degrees + 1)
        mean, low, high = mean_interval(values)
        error = values.std(ddof=1) / np.sqrt(degrees + 1)
        assert (high - mean) / error == pytest.approx(expected, abs=6e-4)
        assert mean - low == pytest.approx(high - mean, rel=1e-12)
    assert np.isnan(mean_interval(np.asarray([1.0]))[1:]).all()


def test_paired_difference_by_hand(evaluation: Results) -> None:
    # Differences -0.036, -0.03, -0.01: mean -0.076 / 3, sample standard deviation from their squares.
    result = paired_difference(evaluation, "closure", "CGS")
    d = np.asarray([-0.036, -0.03, -0.01])
    half = 4.302653 * d.std(ddof=1) / np.sqrt(3)
    assert result["mean"] == pytest.approx(-0.076 / 3, rel=1e-12)
    # 4.302653 is Student's t for 2 degrees of freedom; the integration is good to 1e-4.
    assert result["low"] == pytest.approx(d.mean() - half, rel=1e-4)
    assert result["high"] == pytest.approx(d.mean() + half, rel=1e-4)
    assert (result["n"], result["better"], result["not_finite"]) == (3, 3, 0)
    broken = paired_difference(evaluation, "spectral", "CGS")
    assert np.isnan(broken["mean"])
    assert broken["mean_of_finite"] == pytest.approx(-0.01, rel=1e-12)
    # Smaller error in the second simulation only; diverged ones lose.
    assert (broken["better"], broken["not_finite"]) == (1, 2)
    with pytest.raises(KeyError, match="unknown method 'typo'; valid: CGS, upwind5"):
        paired_difference(evaluation, "typo", "CGS")
    numbers = summary(evaluation)["methods"]
    assert "paired_difference_to_CGS" not in numbers["CGS"]
    assert numbers["closure"]["paired_difference_to_CGS"]["mean"] == pytest.approx(-0.076 / 3, rel=1e-12)


def test_improvement_of_each_simulation(evaluation: Results) -> None:
    ratio = improvement_per_simulation(evaluation, "closure")
    np.testing.assert_allclose(ratio[:, -1], [0.9, 0.5, 0.5], rtol=1e-14)
    assert np.isnan(ratio[:, 0]).all()  # the baseline starts without error
    assert improvement_per_simulation(evaluation, "spectral")[0, -1] == -np.inf


def test_json_is_valid_and_complete(evaluation: Results, tmp_path) -> None:
    path = write_json(evaluation, tmp_path / "deep" / "numbers.json")

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert set(read) >= {
        "problem",
        "steps",
        "simulations",
        "methods",
        "threshold",
        "description",
        "configuration",
    }
    assert list(read["methods"]) == ["CGS", "upwind5", "FGS", "closure", "spectral"]
    assert read["configuration"] == {"command": "closura evaluate", "numbers": [0, 1], "bad": None}
    assert read["methods"]["spectral"]["relative_mae"]["mean"] is None
    assert [file.name for file in path.parent.iterdir()] == ["numbers.json"]  # no temporary file stays
    assert plain({1: np.float32(0.5), "p": tmp_path, "s": (np.bool_(True), np.int64(3))}) == {
        "1": 0.5,
        "p": tmp_path.as_posix(),
        "s": [True, 3],
    }


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    path = write_atomically(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_csv(evaluation: Results, tmp_path) -> None:
    rows = read_csv(write_csv(evaluation, tmp_path / "t.csv"))
    assert [row["method"] for row in rows] == ["CGS", "upwind5", "FGS", "closure", "spectral"]
    assert [row["role"] for row in rows] == ["uncorrected", "baseline", "reference", "closure", "baseline"]
    assert float(rows[0]["relative_mae_mean_percent"]) == pytest.approx(4.0, rel=1e-14)
    assert float(rows[3]["improvement_percent"]) == pytest.approx(63.3333, rel=1e-5)
    assert float(rows[3]["mass_error_mean_percent"]) == pytest.approx(4.0, rel=1e-14)
    assert rows[3]["parameters"] == "1234"
    assert (rows[4]["relative_mae_mean_percent"], rows[4]["diverged"], rows[4]["milliseconds_per_step"]) == (
        "",
        "2",
        "",
    )
    assert float(rows[4]["relative_mae_mean_of_finite_percent"]) == 5.0
    assert {row["split"] for row in rows} == {"test images only [held out]"}


def test_breakdown_in_the_units_of_its_columns(evaluation: Results, tmp_path) -> None:
    """Shares in percent where columns say so, with standard deviations, as in the table of the last step."""
    peak = Metric("peak", abs, percent=True)
    found = evaluation.assign({
        "peak": (("method", "case"), np.full((5, 3), 0.02) + [0, 0.01, 0.02], peak.attributes)
    })  # fmt: skip
    rows = [row for row in read_csv(write_breakdown_csv(found, tmp_path / "b.csv")) if row["method"] == "closure"]
    assert float(rows[-1]["peak_mean_percent"]) == pytest.approx(3.0, rel=1e-12)
    assert float(rows[-1]["peak_std_percent"]) == pytest.approx(100 * math.sqrt(2 / 3) * 0.01, rel=1e-12)
    assert "peak_mean" not in rows[-1]
    last = next(row for row in read_csv(write_csv(found, tmp_path / "t.csv")) if row["method"] == "closure")
    assert rows[-1]["peak_mean_percent"] == last["peak_mean_percent"]
    assert summary(found)["metrics"]["peak"] == {
        "title": "peak", "unit": "1", "percent": True, "better": "lower", "aggregate": "mean",
    }  # fmt: skip


def test_round_off_is_said_to_be_round_off() -> None:
    tiny = {"mean": 3e-8, "std": 2e-8, "mean_of_finite": 3e-8}
    assert with_spread(tiny, True, 1e-7) == "< 1e-05"
    assert with_spread(tiny, True) == "3.0e-06 ± 2.0e-06"
    assert with_spread({**tiny, "std": 2e-7}, True, 1e-7) == "3.0e-06 ± 2.0e-05"
    assert with_spread({"mean": None, "std": None, "mean_of_finite": 0.5}, True, 1e-7) == "∞ (50.0)"


@pytest.mark.parametrize("width", [100, 180])
def test_table_in_a_terminal(evaluation: Results, width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    print_tables(evaluation, console=console)
    text = console.export_text().replace("\u00a0", " ")
    assert "4.00 ± 1.63" in text  # CGS
    assert "∞ (5.00)" in text  # spectral: no mean, the finite one in brackets
    assert "+63.3" in text
    assert "≥ 2.3 ± 1.2" in text  # closure: 4, 1, 2 steps, one of them censored
    assert "1,234" in text
    assert re.search(r"FGS +reference +0 ± 0", text)
    assert "test images only [held out]" in text  # brackets are text, not markup
    assert "n = 3 simulations of 4 steps" in text


def test_footnotes_say_what_is_missing(evaluation: Results) -> None:
    bare = results({"CGS": METHODS["CGS"]})
    lines = footnotes(bare)
    assert lines[1].startswith("No statement was given")
    assert len(lines) == 2


def test_findings_name_the_best_baseline_and_do_not_flatter(evaluation: Results) -> None:
    # At the last step: upwind5 0.02, spectral infinite.
    assert best_baseline(evaluation) == "upwind5"
    (sentences,) = findings(evaluation).values()
    text = " ".join(sentences)
    assert "Against CGS, no closure" in text
    # -0.6, +1, -2 percentage points on three simulations: the interval contains zero.
    assert "Against upwind5, the best classical method on this grid: level" in text
    assert "smaller in 2 of 3" in text
    assert "100 times less than FGS" in text
    assert findings(results({"CGS": METHODS["CGS"]})) == {}


def test_findings_say_worse_and_diverged() -> None:
    rows = [[0, 0.01 * k] for k in range(1, 7)]
    worse = [[0, 0.02 * k + 0.05] for k in range(1, 7)]
    lost = [*worse[:-1], [0, np.nan]]
    cgs = method(Role.UNCORRECTED, rows)
    text = " ".join(findings(results({"CGS": cgs, "bad": method(Role.CLOSURE, worse, parameters=1)}))["bad"])
    assert "higher error" in text
    assert "No other classical method" in text
    text = " ".join(findings(results({"CGS": cgs, "bad": method(Role.CLOSURE, lost, parameters=1)}))["bad"])
    assert "Diverged in 1 of 6" in text
    assert "median at step 1" in text
