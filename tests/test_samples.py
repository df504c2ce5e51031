"""Results whose statistics are over groups of simulations, and methods on several grids."""

import math

import numpy as np
import pytest
from made_results import metric

from closura.core import MethodResult, Results, Role
from closura.metrics.comparison import paired_ratio
from closura.reporting.findings import best_baseline, findings, verdict
from closura.reporting.numbers import summary
from closura.reporting.table import tables_of

GROUPS = ("sine", "sine", "shock")


def made(values: dict[str, tuple[Role, int, list[float], list[float]]], **facts: object) -> Results:
    """Methods on grids with errors and places of shocks, of two simulations of one group and one of another."""
    return Results.build(
        "p",
        {
            name: MethodResult(
                role, {"l2": np.asarray(errors), "place": np.asarray(places)},
                facts={"family": name.split(",")[0], "points": points},
            )
            for name, (role, points, errors, places) in values.items()
        },
        [metric("l2", title="L2 error", aggregate="geometric"), metric("place", unit="length")],
        error="l2",
        groups=GROUPS,
        samples="initial condition",
        **facts,
    )  # fmt: skip


NOWHERE = [math.nan, math.nan, 0.25]


@pytest.fixture
def results() -> Results:
    """A scheme and a closure with half its error from a sine and a quarter from a shock; no shock in a sine."""
    return made(
        {
            "weno, 8 cells": (Role.UNCORRECTED, 8, [1.0, 3.0, 4.0], NOWHERE),
            "weno, 16 cells": (Role.UNCORRECTED, 16, [0.25, 0.75, 1.0], NOWHERE),
            "teno, 8 cells": (Role.BASELINE, 8, [2.0, 2.0, 1.0], NOWHERE),
            "closure, 8 cells": (Role.CLOSURE, 8, [0.5, 1.5, 1.0], NOWHERE),
            "closure, 16 cells": (Role.CLOSURE, 16, [1.0, 1.0, math.inf], [math.nan] * 3),
        }
    )


def test_statistics_are_over_means_of_groups(results: Results) -> None:
    assert (results.sample, results.grids) == ("initial condition", (8, 16))
    assert results.last("weno, 8 cells").tolist() == [2.0, 4.0]
    assert results.last("closure, 16 cells").tolist() == [1.0, math.inf]
    entry = summary(results)["methods"]["closure, 8 cells"]
    assert entry["l2_error"]["geometric_mean"] == pytest.approx(1.0)
    assert (entry["l2_error"]["mean"], entry["l2_error"]["n"]) == (1.0, 2)
    assert entry["ratio"] == pytest.approx(1 / math.sqrt(8))
    # There is a place of a shock in one of the two.
    assert (entry["place"]["mean"], entry["place"]["n"]) == (0.25, 1)
    assert "place" not in summary(results)["methods"]["closure, 16 cells"]
    np.testing.assert_array_equal(results.samples(np.asarray([1.0, math.nan, math.nan])), [1.0, math.nan])


def test_methods_are_compared_on_their_own_grid(results: Results) -> None:
    assert results.corrects("closure, 16 cells") == "weno, 16 cells"
    assert results.uncorrected_for("teno, 8 cells") == "weno, 8 cells"
    assert best_baseline(results, "closure, 8 cells") == "teno, 8 cells"
    assert best_baseline(results, "closure, 16 cells") == "weno, 16 cells"
    ratio = paired_ratio(results, "closure, 8 cells", "teno, 8 cells")
    assert (ratio.value, ratio.better) == (pytest.approx(1 / math.sqrt(2)), 1)
    said = findings(results)["closure, 8 cells"]
    assert "smaller in 1 of 2 initial conditions; ratio 0.707" in said[0]
    assert "By initial condition its error is between 0.25 (shock) and 0.5 (sine) of that of weno, 8 cells." in said
    assert findings(results)["closure, 16 cells"][0] == "Diverged in 1 of 3 simulations."


def test_tables_by_sample_and_grid(results: Results) -> None:
    tables = {table.title: table for table in tables_of(results)}
    errors = tables["L2 error at the end"]
    assert list(errors.headings) == ["method", "initial condition", "N = 8", "N = 16"]
    assert [cells for name, cells in errors.rows if name == "closure"] == [
        ["sine", "1.000e+00", "1.000e+00"], ["shock", "1.000e+00", "∞"], ["geometric mean", "1.000e+00", "∞"],
        ["by that of weno", "0.354", "–"],
    ]  # fmt: skip
    assert next(cells for name, cells in errors.rows if name == "teno") == ["sine", "2.000e+00", "–"]
    orders = tables["Observed order in L2 error"]
    assert orders.rows[0] == ("weno", ["sine", "2.00"])
    assert not tables["Place (length) at the end"].shown
    alone = results.select([name for name in results.methods if name.endswith(" 8 cells")])
    rows = next(table for table in tables_of(alone) if table.title == "L2 error at the end").rows
    assert rows[-1] == ("by that of weno", ["–", "0.500", "0.354"])


def test_closures_alone_have_no_baseline() -> None:
    only = made({"closure": (Role.CLOSURE, 8, [0.5, 1.5, 1.0], NOWHERE)})
    assert best_baseline(only, "closure") is None
    assert verdict(only, "closure") == "No classical method on the same grid was evaluated."
    assert len(findings(only)["closure"]) == 1
