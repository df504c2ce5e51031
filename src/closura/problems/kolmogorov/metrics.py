"""What is measured of turbulent flows: how long forecasts are good, and the statistics of long runs."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from closura.core import Metric
from closura.grids import Grid
from closura.metrics.ensembles import FlowSummary, compare_flows, correlation_time, vorticity_correlation
from closura.problems.kolmogorov.dynamics import CoarseFlow
from closura.problems.problem import Problem

THRESHOLDS = (0.95, 0.8)
"""Correlations of the vorticity below which a forecast no longer follows the flow."""

ERRORS = {
    "log_spectrum_error": "root mean square difference of decimal logarithms of the spectrum over resolved shells",
    "energy_error": "relative error of the mean energy",
    "dissipation_error": "relative error of the mean dissipation",
    "stress_error": "relative L2 error of the profiles of the Reynolds stresses",
}
"""How far the statistics of the long run are from those of the reference; variables of the results."""


@eqx.filter_jit
def seen(solver: CoarseFlow, grid: Grid, states: Float[Array, "simulation time 2 x y"]) -> Array:
    """States of a solver as velocities in the points of a grid."""
    return jax.lax.map(lambda one: jax.vmap(lambda state: solver.to_grid(state, grid))(one), states)


def time_metric(threshold: float) -> str:
    """The metric of the time with a correlation above a threshold: ``correlation_time_80`` for 0.8."""
    return f"correlation_time_{round(100 * threshold)}"


def flow_metrics(problem: Problem, times: np.ndarray) -> list[Metric]:
    """Error of the velocity, correlation of the vorticity, and for how long it stays above the thresholds."""

    def above(threshold: float, fields: np.ndarray, references: np.ndarray, times: np.ndarray) -> float:
        series = vorticity_correlation(fields, references)
        return correlation_time(series, float(times[1] - times[0]), threshold=threshold).time

    return [
        Metric(
            "error", problem.error, problem.error_name, percent=problem.percent, aggregate=problem.aggregate
        ),
        Metric("correlation", vorticity_correlation, "correlation of the vorticity", better="higher"),
        *(
            Metric(
                time_metric(threshold), partial(above, threshold), f"correlation > {threshold:g}", "time",
                better="higher", series=True, limit=float(times[-1]),
            )
            for threshold in THRESHOLDS
        ),
    ]  # fmt: skip


def titles() -> dict[str, str]:
    """What is measured, by name."""
    times = {time_metric(threshold): f"time with a correlation above {threshold:g}" for threshold in THRESHOLDS}
    return {"error": "relative L2 error", "correlation": "correlation of the vorticity", **times, **ERRORS}


def statistics_of(flows: Mapping[str, FlowSummary | None], true: FlowSummary, cells: int) -> dict[str, Any]:
    """Variables of the results along ``method``: ``spectrum``, ``energy``, ``dissipation`` and their errors.

    NaN where no simulation of a method stayed bounded (None).
    """
    nothing = np.full_like(true.spectrum, np.nan)
    errors = [dict.fromkeys(ERRORS, np.nan) if flow is None else _errors(flow, true, cells) for flow in flows.values()]
    return {
        "spectrum": (
            ("method", "wavenumber"), np.stack([nothing if f is None else f.spectrum for f in flows.values()]),
            {"long_name": "kinetic energy in the shell"},
        ),
        "wavenumber": ("wavenumber", np.arange(len(true.spectrum))),
        **{
            name: ("method", [np.nan if f is None else float(getattr(f, name).mean()) for f in flows.values()])
            for name in ("energy", "dissipation")
        },
        **{name: ("method", [each[name] for each in errors], {"long_name": words}) for name, words in ERRORS.items()},
    }  # fmt: skip


def _errors(flow: FlowSummary, true: FlowSummary, cells: int) -> dict[str, float]:
    compared = compare_flows(flow, true)
    return {
        "log_spectrum_error": log_spectrum_error(flow, true, cells),
        "energy_error": compared["energy"],
        "dissipation_error": compared["dissipation"],
        "stress_error": compared["stress_all"],
    }


def log_spectrum_error(flow: FlowSummary, reference: FlowSummary, cells: int) -> float:
    """Root mean square over the shells 1 to cells/2 - 1 of the difference of the spectra's decimal logarithms."""
    shells = slice(1, cells // 2)
    with np.errstate(divide="ignore"):
        gap = np.log10(flow.spectrum[shells]) - np.log10(reference.spectrum[shells])
    return float(np.sqrt(np.mean(gap**2)))
