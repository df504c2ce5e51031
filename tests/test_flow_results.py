"""Tables, figures, verdicts and JSON of flows, of made-up results: nothing is simulated."""

import json
from dataclasses import replace

import numpy as np
import pytest

from closura.core import MethodResult, Metric, Results, Role
from closura.reporting.figure import write_figures
from closura.reporting.findings import best_baseline, findings, further_verdicts
from closura.reporting.numbers import summary
from closura.reporting.style import styles_of
from closura.reporting.table import tables_of

TIMES = np.linspace(0, 20, 21)
SHELLS = 7


def _method(role: Role, reach: float, **facts) -> MethodResult:
    """A method that follows the flow for about ``reach``; four simulations."""
    reaches = reach + np.asarray([-0.5, -0.1, 0.1, 0.5])
    correlation = np.exp(-((TIMES / (2 * reaches[:, None])) ** 2))
    times = {
        f"correlation_time_{round(100 * level)}": np.minimum(2 * reaches * np.sqrt(-np.log(level)), TIMES[-1])
        for level in (0.95, 0.8)
    }
    values = {"error": np.sqrt(2 * (1 - correlation)), "correlation": correlation, **times}
    rng = np.random.default_rng(0)
    return MethodResult(role, values, fields=rng.normal(size=(1, 3, 2, 8, 8)), **facts)


def made(**changes: MethodResult) -> Results:
    methods = {
        "no model": _method(Role.UNCORRECTED, 5.0, milliseconds_per_step=1.0),
        "smagorinsky": _method(Role.BASELINE, 6.0, milliseconds_per_step=1.5),
        "persistence": replace(_method(Role.NAIVE, 30.0), fields=None),
        "fine": replace(_method(Role.REFERENCE, 5.0), values={"error": np.zeros((4, 21))}),
        "mine": _method(Role.CLOSURE, 8.0, milliseconds_per_step=3.0, parameters=10),
        **changes,
    }
    metrics = [
        Metric("error", max, "relative L2 error", percent=True, aggregate="median"),
        Metric("correlation", max, "correlation of the vorticity", better="higher"),
        *(
            Metric(f"correlation_time_{n}", max, f"correlation > {n / 100:g}", "time", better="higher", limit=20.0)
            for n in (95, 80)
        ),
    ]
    spectrum = np.asarray([1 + 0.1 * i for i in range(len(methods))])[:, None] * 10.0 ** -np.arange(SHELLS)
    flat = {
        name: ("method", np.linspace(0, 0.1, len(methods)))
        for name in ("log_spectrum_error", "energy_error", "dissipation_error", "stress_error")
    }
    variables = {
        "spectrum": (("method", "wavenumber"), spectrum), "wavenumber": ("wavenumber", np.arange(SHELLS)),
        "energy": ("method", spectrum.sum(axis=1)), "dissipation": ("method", spectrum.sum(axis=1) / 9), **flat,
    }  # fmt: skip
    return Results.build(
        "kolmogorov", methods, metrics, error="error", times=TIMES, frames=[0, 10, 20], components=("u", "v"),
        variables=variables, time_step=1.0, origin="lower", verdicts="correlation_time_80", reynolds=34.0, forcing=4,
        cells=8, statistics_from=5.0, statistics_to=20.0, lyapunov_exponent=0.1,
    )  # fmt: skip


def test_a_naive_forecast_is_shown_and_no_verdict_is_against_it():
    found = made()
    # It has the smallest error and the longest correlation, and is still not the best method on the grid.
    assert found.errors("persistence")[:, -1].max() < found.errors("mine")[:, -1].min()
    assert best_baseline(found) == best_baseline(found.counting("correlation_time_80")) == "smagorinsky"
    assert "persistence" in found.compared
    assert "persistence" not in found.baselines
    assert "persistence" not in " ".join(findings(found)["mine"])
    assert styles_of(found)["persistence"].colour == "#000000"


def test_verdicts_by_further_metrics_of_which_more_is_better():
    (said,) = further_verdicts(made(), "mine")
    assert said in findings(made())["mine"]
    assert said.startswith("By correlation > 0.8 (time): Against smagorinsky")
    assert ": better, 7.56 against 5.67 (mean), larger in 4 of 4 simulations" in said
    assert "paired difference +1.89 (95 % interval +1.89 to +1.89)" in said
    assert "it costs 2.00 times as much as smagorinsky" in said
    (worse,) = further_verdicts(made(mine=_method(Role.CLOSURE, 4.0)), "mine")
    assert ": worse, 3.78 against 5.67 (mean), larger in 0 of 4" in worse
    (bound,) = further_verdicts(made(mine=_method(Role.CLOSURE, 25.0)), "mine")
    assert ": better, ≥ 20.0 against 5.67 (mean)" in bound


def test_json_has_correlation_times_statistics_and_all_that_is_generic():
    numbers = summary(made())
    assert (numbers["reynolds"], numbers["cells"], numbers["statistics_interval"]) == (34.0, 8, [5.0, 20.0])
    assert numbers["lyapunov_exponent"] == {"per_time": 0.1, "standard_error": None}
    mine, held, fine = (numbers["methods"][name] for name in ("mine", "persistence", "fine"))
    times = mine["correlation_time_0.8"]
    assert times["mean"] == mine["correlation_time_80"]["mean"] == pytest.approx(16 * np.sqrt(-np.log(0.8)))
    assert times["lyapunov_times"] == pytest.approx(0.1 * times["mean"])
    assert (times["censored"], held["correlation_time_80"]["censored"], times["n"]) == (0, 4, 4)
    assert list(mine["relative_error"]) == ["2", "5", "10", "20"]
    assert len(mine["flow"]["spectrum"]) == SHELLS
    assert "correlation_time_0.8" not in fine
    json.dumps(numbers, allow_nan=False)


def test_a_method_without_a_bounded_simulation_has_no_statistics(tmp_path):
    lost = {"error": np.full((4, 21), np.inf), "correlation": np.zeros((4, 21))}
    lost |= dict.fromkeys(("correlation_time_95", "correlation_time_80"), np.zeros(4))
    found = made(mine=MethodResult(Role.CLOSURE, lost, np.full(4, 30), fields=np.full((1, 3, 2, 8, 8), np.nan)))
    for name in ("energy", "log_spectrum_error"):
        found.data[name].loc[{"method": "mine"}] = np.nan
    found.data["spectrum"].loc[{"method": "mine"}] = np.nan
    entry = summary(found)["methods"]["mine"]
    assert (entry["flow"], entry["diverged"], entry["relative_error"]["20"]["mean"]) == (None, 4, None)
    (long_run,) = [each for each in tables_of(found) if each.title == "Statistics of the long run"]
    assert dict(long_run.rows)["mine"][0] == "–"
    assert {"correlations", "spectra", "vorticity"} <= set(write_figures(found, tmp_path))


def test_tables_say_what_is_a_lower_bound():
    tables = {each.title: each for each in tables_of(made())}
    rows = dict(tables["Time with a vorticity correlation"].rows)
    assert rows["persistence"][2].startswith("≥ 20.0")
    assert rows["mine"] == ["3.6 ± 0.2", "0.36", "7.6 ± 0.3", "0.76", "7.6", "1.60"]
    summary_rows = dict(tables["kolmogorov"].rows)
    column = tables["kolmogorov"].headings.index("correlation > 0.8 (time)") - 1
    assert summary_rows["persistence"][column].startswith("≥ ")
    assert not summary_rows["mine"][column].startswith("≥ ")
    assert "persistence" not in dict(tables["Statistics of the long run"].rows)


def test_results_of_flows_survive_a_file(tmp_path):
    found = made()
    found.save(tmp_path)
    assert summary(Results.open(tmp_path)) == summary(found)
