"""Tables and numbers of turbulent flows: how long forecasts are good, and the statistics of the long run."""

import math
from typing import Any

import numpy as np

from closura.core import Results, Role
from closura.metrics.statistics import spread
from closura.problems.kolmogorov.metrics import ERRORS, THRESHOLDS, time_metric
from closura.reporting.formatting import bounded
from closura.reporting.numbers import numbers
from closura.reporting.table import Table, table

MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Parts of the time that is followed at which JSON has errors."""


@numbers("flow", needs=tuple(ERRORS))
def _flow_numbers(results: Results) -> dict[str, Any]:
    """Correlation times, also in Lyapunov times; errors at parts of the time; statistics of the long run."""
    exponent = results.attribute("lyapunov_exponent")
    return {
        "reynolds": results.attribute("reynolds"),
        "forcing": results.attribute("forcing"),
        "cells": results.attribute("cells"),
        "followed_time": results.times[-1],
        "statistics_interval": _interval(results),
        "lyapunov_exponent": None
        if exponent is None
        else {"per_time": exponent, "standard_error": results.attribute("lyapunov_standard_error")},
        "methods": {name: _of_method(results, name) for name in results.methods},
    }


def _of_method(results: Results, name: str) -> dict[str, Any]:
    last = results.steps
    moments = sorted({max(1, round(part * last)) for part in MOMENTS})
    flow = {each: float(results.data[each].sel({"method": name}).item()) for each in ("energy", "dissipation", *ERRORS)}
    found: dict[str, Any] = {
        "milliseconds_per_time": results.milliseconds(name) / results.time_step,
        "flow": None if math.isnan(flow["energy"]) else {**flow, "spectrum": results.of("spectrum", name)},
    }
    if results.roles[name] is Role.REFERENCE:
        return found
    errors = results.errors(name)
    found["relative_error"] = {f"{results.times[i]:g}": _spread(errors[:, i]) for i in moments}
    return found | {f"correlation_time_{t:g}": _correlation_time(results, name, t) for t in THRESHOLDS}


def _spread(values: np.ndarray) -> dict[str, Any]:
    return {key: spread(values)[key] for key in ("mean", "std", "median")}


def _correlation_time(results: Results, name: str, threshold: float) -> dict[str, Any]:
    metric, exponent = time_metric(threshold), results.attribute("lyapunov_exponent")
    times, without = results.of(metric, name), results.of(metric, results.uncorrected)
    return {
        **_spread(times),
        "lyapunov_times": None if exponent is None or exponent <= 0 else float(times.mean() * exponent),
        "censored": int(results.metrics[metric].at_limit(times).sum()),
        "n": len(times),
        "of_mean_without_model": float(times.mean() / max(without.mean(), 1e-12)),
        "longer_than_without_model": int((times > without).sum()),
        "median_gain": float(np.median(times / np.maximum(without, results.time_step))),
        "of_each_start": [round(float(t), 6) for t in times],
    }


@table("correlation-times", needs=tuple(ERRORS), order=5)
def _correlation_times(results: Results) -> list[Table]:
    """For how long methods follow the reference flow."""
    exponent = results.attribute("lyapunov_exponent", 0.0)
    headings = ["method"]
    for threshold in THRESHOLDS:
        headings += [f"> {threshold:g}", *(["Lyapunov times"] if exponent > 0 else [])]
    rows = []
    for name in results.compared:
        cells: list[str] = []
        for threshold in THRESHOLDS:
            found = _correlation_time(results, name, threshold)
            sign = "≥ " if found["censored"] else ""
            cells.append(f"{sign}{bounded(found['mean'], '.1f')} ± {bounded(found['std'], '.1f')}")
            if exponent > 0:
                cells.append(f"{sign}{bounded(found['lyapunov_times'], '.2f')}")
        # Half of the runs censored: the median is a lower bound too.
        cells.append(f"{'≥ ' if 2 * found['censored'] >= found['n'] else ''}{bounded(found['median'], '.1f')}")
        cells.append(f"{sign}{bounded(found['of_mean_without_model'], '.2f')}")
        rows.append((name, cells))
    note = (
        "Times until the correlation of the vorticity with the reference's first falls below the threshold: mean ± "
        f"standard deviation over simulations, ≥ where some had not at t = {results.times[-1]:g}; median and quotient "
        "of means are of the last threshold. persistence: the initial condition, held."
    )
    if exponent > 0:
        error = results.attribute("lyapunov_standard_error", math.nan)
        spread_of = f" ± {error:.1g}" if math.isfinite(error) else ""
        note += f" Leading Lyapunov exponent of the reference: {exponent:.3g}{spread_of}."
    headings += ["median", f"by that of {results.uncorrected}"]
    return [Table("Time with a vorticity correlation", headings, rows, note)]


@table("long-run", needs=tuple(ERRORS), order=6)
def _long_run(results: Results) -> list[Table]:
    """Statistics of long runs beside those of the reference."""
    forms = {"log_spectrum_error": (1, ".3f"), "energy_error": (100, "+.1f"), "dissipation_error": (100, "+.1f"),
             "stress_error": (100, ".1f")}  # fmt: skip
    rows = [
        (name, [bounded(scale * results.data[each].sel({"method": name}).item(), form)
                for each, (scale, form) in forms.items()])
        for name in results.compared
        if results.roles[name] is not Role.NAIVE
    ]  # fmt: skip
    start, end = _interval(results)
    energy, dissipation = (
        float(results.data[each].sel({"method": results.reference}).item()) for each in ("energy", "dissipation")
    )
    note = (
        f"Over t = {start:g} to {end:g} of simulations that stay bounded, on the coarse grid's waves. Log spectrum: "
        "root mean square over the resolved shells of the difference to the reference of decimal logarithms. Energy "
        f"(reference {energy:.4g}) and dissipation (reference {dissipation:.4g}): relative errors of the means. "
        "Stresses: relative L2 error of the Reynolds stresses' profiles. Diverged: speeds not finite or three times "
        "the reference's largest."
    )
    headings = ["method", "log spectrum", "energy (%)", "dissipation (%)", "stresses (%)"]
    return [Table("Statistics of the long run", headings, rows, note)]


def _interval(results: Results) -> list[float]:
    return [results.attribute("statistics_from"), results.attribute("statistics_to")]
