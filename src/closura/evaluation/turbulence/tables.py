"""What a turbulence study found: for the terminal, as JSON, as lines of a page."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from closura.evaluation.turbulence.study import PERSISTENCE, THRESHOLDS, Model, TurbulenceEvaluation
from closura.files import write_atomically
from closura.metrics.ensembles import FlowSummary, compare_flows
from closura.plain import plain
from closura.reporting.formatting import bounded, short
from closura.reporting.terminal import print_rows

MOMENTS = (0.1, 0.25, 0.5, 1.0)
"""Parts of the time that is followed at which errors are told."""


class Block(NamedTuple):
    """A table: heading, headings of its columns, rows, and what has to be said beneath."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, list[str]]]
    note: str


def numbers(evaluation: TurbulenceEvaluation) -> dict[str, Any]:
    """All numbers, with names that say their units; JSON can hold it."""
    methods = {name: _numbers(evaluation, name, model) for name, model in evaluation.methods.items()}
    lyapunov = evaluation.lyapunov
    return {
        "reynolds": evaluation.reynolds,
        "forcing": evaluation.forcing,
        "cells": evaluation.cells,
        "simulations": evaluation.simulations,
        "time_step": evaluation.time_step,
        "followed_time": float(evaluation.times[-1]),
        "statistics_interval": [evaluation.statistics_from, evaluation.statistics_to],
        "baseline": evaluation.baseline,
        "lyapunov_exponent": None
        if lyapunov is None
        else {"per_time": lyapunov.exponent, "standard_error": lyapunov.standard_error},
        "truth": {
            **_flow(evaluation.truth),
            "milliseconds_per_time": evaluation.truth_milliseconds,
            "spectrum": evaluation.truth.spectrum.tolist(),
        },
        "methods": methods,
        "description": dict(evaluation.description),
        "settings": dict(evaluation.settings),
    }


def _numbers(evaluation: TurbulenceEvaluation, name: str, model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for threshold in THRESHOLDS:
        horizons = evaluation.horizons(name, threshold)
        times = np.asarray([horizon.time for horizon in horizons])
        in_lyapunov = [horizon.lyapunov_times for horizon in horizons]
        reference = evaluation.horizons(evaluation.baseline, threshold)
        gain = times / np.maximum([horizon.time for horizon in reference], evaluation.time_step)
        found[f"correlation_time_{threshold:g}"] = {
            "mean": float(times.mean()),
            "std": float(times.std()),
            "median": float(np.median(times)),
            "lyapunov_times": None
            if in_lyapunov[0] is None
            else float(np.mean([t for t in in_lyapunov if t is not None])),
            "censored": sum(horizon.censored for horizon in horizons),
            "n": len(horizons),
            "of_mean_without_model": float(times.mean() / max(np.mean([h.time for h in reference]), 1e-12)),
            "longer_than_without_model": int((times > [h.time for h in reference]).sum()),
            "median_gain": float(np.median(gain)),
            "of_each_start": [round(float(t), 6) for t in times],
        }
    errors = {f"{evaluation.times[index]:g}": _errors(model.error[:, index]) for index in _moments(evaluation)}
    flow = None if model.flow is None else {**_flow(model.flow), **_differences(evaluation, model.flow)}
    return {
        **found,
        "relative_error": errors,
        "diverged": model.diverged,
        "flow": flow,
        "milliseconds_per_time": model.milliseconds,
        "parameters": model.parameters,
    }


def _errors(values: np.ndarray) -> dict[str, float]:
    finite = np.isfinite(values).all()
    return {
        "mean": float(values.mean()) if finite else math.inf,
        "std": float(values.std()) if finite else math.inf,
        "median": float(np.median(values)),
    }


def _moments(evaluation: TurbulenceEvaluation) -> list[int]:
    last = len(evaluation.times) - 1
    return sorted({max(1, round(part * last)) for part in MOMENTS})


def _flow(flow: FlowSummary) -> dict[str, Any]:
    return {"energy": float(flow.energy.mean()), "dissipation": float(flow.dissipation.mean())}


def _differences(evaluation: TurbulenceEvaluation, flow: FlowSummary) -> dict[str, Any]:
    compared = compare_flows(flow, evaluation.truth)
    return {
        "log_spectrum_error": log_spectrum_error(flow, evaluation.truth, evaluation.cells),
        "energy_error": compared["energy"],
        "dissipation_error": compared["dissipation"],
        "stress_error": compared["stress_all"],
        "spectrum": flow.spectrum.tolist(),
    }


def log_spectrum_error(flow: FlowSummary, truth: FlowSummary, cells: int) -> float:
    """Root mean square over the shells 1 to cells/2 - 1 of the difference of the spectra's decimal logarithms."""
    shells = slice(1, cells // 2)
    with np.errstate(divide="ignore"):
        gap = np.log10(flow.spectrum[shells]) - np.log10(truth.spectrum[shells])
    return float(np.sqrt(np.mean(gap**2)))


def blocks(evaluation: TurbulenceEvaluation) -> list[Block]:
    """The tables: how long predictions are good, their errors, what the flow looks like for long, and costs."""
    entries = numbers(evaluation)["methods"]
    return [_horizons(evaluation, entries), _error_table(evaluation, entries), _statistics(evaluation, entries)]


def _horizons(evaluation: TurbulenceEvaluation, entries: dict[str, Any]) -> Block:
    known = evaluation.lyapunov is not None and evaluation.lyapunov.exponent > 0
    headings = ["method"]
    for threshold in THRESHOLDS:
        headings += [f"> {threshold:g}", "Lyapunov times"] if known else [f"> {threshold:g}"]
    headings += ["median", f"by that of {evaluation.baseline}"]
    rows = []
    for name, entry in entries.items():
        cells = []
        for threshold in THRESHOLDS:
            found = entry[f"correlation_time_{threshold:g}"]
            sign = "≥ " if found["censored"] else ""
            cells.append(f"{sign}{bounded(found['mean'], '.1f')} ± {bounded(found['std'], '.1f')}")
            if known:
                cells.append(f"{sign}{bounded(found['lyapunov_times'], '.2f')}")
        found = entry[f"correlation_time_{THRESHOLDS[-1]:g}"]
        # Half of the runs censored: the median is a lower bound too.
        cells.append(f"{'≥ ' if 2 * found['censored'] >= found['n'] else ''}{bounded(found['median'], '.1f')}")
        cells.append(f"{'≥ ' if found['censored'] else ''}{bounded(found['of_mean_without_model'], '.2f')}")
        rows.append((name, cells))
    return Block("Time with a vorticity correlation", tuple(headings), rows, _prediction_note(evaluation))


def _error_table(evaluation: TurbulenceEvaluation, entries: dict[str, Any]) -> Block:
    times = [evaluation.times[index] for index in _moments(evaluation)]
    headings = ("method", *(f"t = {time:g}" for time in times))
    rows = [
        (name, [_percent(error["mean"]) for error in entry["relative_error"].values()])
        for name, entry in entries.items()
    ]
    return Block("Relative error of the velocity (%)", headings, rows, "Relative L2 error, mean over starts.")


def _statistics(evaluation: TurbulenceEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    for name, entry in entries.items():
        if name == PERSISTENCE:
            continue
        flow = entry["flow"]
        cells = [str(entry["diverged"])]
        if flow is None:
            cells += ["–"] * 4
        else:
            cells += [
                bounded(flow["log_spectrum_error"], ".3f"),
                _signed(flow["energy_error"]), _signed(flow["dissipation_error"]),
                bounded(100 * flow["stress_error"], ".1f"),
            ]  # fmt: skip
        rows.append((name, [*cells, _milliseconds(entry["milliseconds_per_time"]), _count(entry["parameters"])]))
    rows.append(("truth", [*["–"] * 5, _milliseconds(evaluation.truth_milliseconds), "–"]))
    headings = (
        "method",
        "diverged",
        "log spectrum",
        "energy (%)",
        "dissipation (%)",
        "stresses (%)",
        "ms",
        "parameters",
    )
    return Block("The flow for long, and costs", headings, rows, _statistics_note(evaluation))


def _prediction_note(evaluation: TurbulenceEvaluation) -> str:
    note = (
        f"n = {evaluation.simulations} held-out starts, the same for all methods. Times until the correlation of the "
        "vorticity with the truth's first falls below the threshold: mean ± standard deviation over starts, ≥ where "
        f"some had not at t = {evaluation.times[-1]:g}; median and quotient of means are of the last threshold. "
        f"{PERSISTENCE}: the start, held."
    )
    if evaluation.lyapunov is not None:
        exponent = evaluation.lyapunov
        error = f" ± {exponent.standard_error:.1g}" if math.isfinite(exponent.standard_error) else ""
        note += f" Leading Lyapunov exponent of the truth: {exponent.exponent:.3g}{error}."
    return note


def _statistics_note(evaluation: TurbulenceEvaluation) -> str:
    return (
        f"Over t = {evaluation.statistics_from:g} to {evaluation.statistics_to:g} of simulations that live, on the "
        "coarse grid's waves. Log spectrum: root mean square over the resolved shells of the difference to the truth "
        f"of decimal logarithms. Energy (truth {evaluation.truth.energy.mean():.4g}) and dissipation (truth "
        f"{evaluation.truth.dissipation.mean():.4g}): relative errors of the means. Stresses: relative L2 error of the "
        "Reynolds stresses' profiles. Diverged: speeds not finite or three times the truth's largest. ms: wall time of "
        "a unit of simulated time."
    )


def print_tables(evaluation: TurbulenceEvaluation, console: Console) -> None:
    """The tables, the closures in bold, and a verdict on each closure."""
    for block in blocks(evaluation):
        print_rows(console, block.headings, block.rows, title=block.title, note=block.note, bold=evaluation.closures)
    for line in evaluation.verdicts():
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def write_json(evaluation: TurbulenceEvaluation, path: str | Path) -> Path:
    """All numbers of the evaluation, without series and fields."""
    return write_atomically(
        path, json.dumps(plain(numbers(evaluation)), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    )


def _percent(value: float) -> str:
    return short(100 * value) if math.isfinite(value) else "∞"


def _signed(value: float) -> str:
    return bounded(100 * value, "+.1f")


def _milliseconds(value: float) -> str:
    return "–" if math.isnan(value) else short(value)


def _count(value: int | None) -> str:
    return "–" if value is None else bounded(value, ",")
