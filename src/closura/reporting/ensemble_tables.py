"""What ensembles are worth as time goes on, and the statistics of long free runs: tables, numbers and figures."""

import json
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from closura.core import Results
from closura.metrics.statistics import spread
from closura.reporting.figure import figure
from closura.reporting.formatting import bounded, quantity
from closura.reporting.numbers import numbers
from closura.reporting.style import styles_of
from closura.reporting.table import Table, table
from closura.simulation.climate import NAMES
from closura.simulation.ensembles import COVERAGE, CRPS, LEVEL, RANKS, SQUARES, VARIANCE

PARTS = (1 / 6, 1 / 3, 2 / 3, 1.0)
"""Parts of the time at which ensembles are scored in tables."""


def _moments(results: Results) -> list[int]:
    return sorted({max(1, round(part * results.steps)) for part in PARTS})


def _scores(results: Results, name: str, step: int) -> dict[str, Any]:
    """Of one method at one step; ``spread_over_rmse`` is one where an ensemble is calibrated in the mean."""
    crps = results.of(CRPS, name)[:, step]
    rmse = float(np.sqrt(results.of(SQUARES, name)[:, step].mean()))
    wide = float(np.sqrt(results.of(VARIANCE, name)[:, step].mean()))
    return {
        "time": float(results.times[step]),
        "crps": {**{key: spread(crps)[key] for key in ("mean", "std")}, "n": len(crps)},
        "rmse_of_mean": rmse,
        "spread": wide,
        "spread_over_rmse": wide / rmse if rmse > 0 else None,
        "coverage": float(results.of(COVERAGE, name)[:, step].mean()),
    }


@numbers("ensembles", needs=(CRPS, VARIANCE))
def _ensemble_numbers(results: Results) -> dict[str, Any]:
    """Scores of ensembles at some times, and counts of ranks."""
    return {
        "ensembles": {
            name: {
                "scores": [_scores(results, name, step) for step in _moments(results)],
                "ranks": results.of(RANKS, name).tolist(),
            }
            for name in results.compared
        }
    }


@table("ensembles", needs=(CRPS, VARIANCE), order=3)
def _ensembles(results: Results) -> list[Table]:
    """CRPS, error of the mean and spread at some times."""
    steps = _moments(results)
    rows = []
    for name in results.compared:
        cells = []
        for step in steps:
            found = _scores(results, name, step)
            error = found["crps"]["std"] / np.sqrt(found["crps"]["n"])
            cells += [
                f"{quantity(found['crps']['mean'], False)} ± {quantity(error, False)}",
                quantity(found["rmse_of_mean"], False),
                bounded(found["spread_over_rmse"], ".2f") if found["spread"] else "–",
            ]
        rows.append((name, [*cells, bounded(_scores(results, name, steps[-1])["coverage"], ".2f")]))
    headings = [h for step in steps for h in (f"CRPS, t = {results.times[step]:.3g}", "RMSE", "spread / RMSE")]
    return [
        Table(
            "Ensembles",
            ["method", *headings, f"within {LEVEL:.0%}"],
            rows,
            f"fair CRPS, mean ± standard error over n = {results.simulations} simulations; RMS error of the ensemble "
            "mean; spread: root of the mean variance with the factor (M + 1) / M, over the RMS error: one where an "
            "ensemble knows how wrong it is. Methods without random numbers have one member, whose CRPS is the mean "
            f"absolute error. Last: share of references within the central {LEVEL:.0%} of the members at the end.",
            narrow=[list(range(3 * i, 3 * i + 3)) for i in range(len(steps))],
        )
    ]


@numbers("climate", needs=tuple(NAMES))
def _climate_numbers(results: Results) -> dict[str, Any]:
    """Statistics of free runs: of all of them, and of each part."""
    return {
        "climate": {
            **json.loads(results.attribute("climate")),
            "methods": {
                name: {m: {"all": v[0], "parts": [x for x in v[1:] if not np.isnan(x)]} for m, v in found.items()}
                for name in results.methods
                for found in [{m: results.of(m, name).tolist() for m in NAMES}]
            },
        }
    }


@table("climate", needs=tuple(NAMES), order=4)
def _climate(results: Results) -> list[Table]:
    """Divergences of distributions, and the error of the autocorrelation."""
    known = json.loads(results.attribute("climate"))
    rows = []
    for name in results.methods:
        cells = []
        for metric in NAMES:
            values = results.of(metric, name)
            parts = values[1:][~np.isnan(values[1:])]
            cells.append(
                "–" if np.isnan(values[0]) else f"{values[0]:.3g}" + (f" ± {parts.std():.2g}" if len(parts) else "")
            )
        rows.append((name, cells))
    return [
        Table(
            "Free runs",
            ["method", *NAMES.values()],
            rows,
            f"{known['runs']} runs, {known['time']:.6g} units of time in all; Kullback-Leibler divergences in nats "
            "from the reference, root mean square difference of the autocorrelation; ± standard deviation over fifths "
            f"of the runs. The row of {results.reference} is one half of its runs against the other: what two samples "
            "of the same system differ by.",
        )
    ]


@figure(
    "ranks", needs=(RANKS,), caption="Rank of the reference among the members: level where an ensemble is calibrated."
)
def rank_histograms(results: Results, figure: Figure) -> None:
    """How often the reference is above so many members, over what a calibrated ensemble has."""
    axes, styles = figure.add_subplot(), styles_of(results)
    for name in results.compared:
        counts = results.of(RANKS, name)
        if np.isfinite(counts).all():
            axes.step(
                np.arange(len(counts)), counts / counts.mean(), where="mid", label=name, color=styles[name].colour
            )
    axes.axhline(1.0, color="grey", linewidth=0.8)
    axes.set_xlabel("members below the reference")
    axes.set_ylabel("share, over that of a calibrated ensemble")
    axes.legend()


@figure("spread", needs=(SQUARES, VARIANCE), caption="RMS error of the ensemble mean (lines) and spread (dashes).")
def spread_and_error(results: Results, figure: Figure) -> None:
    """RMS error of the mean against time, and the spread, which an honest ensemble has as large."""
    axes, styles = figure.add_subplot(), styles_of(results)
    for name in results.compared:
        rmse, wide = (np.sqrt(results.of(each, name).mean(axis=0)) for each in (SQUARES, VARIANCE))
        axes.plot(results.times, rmse, label=name, color=styles[name].colour)
        if wide.any():
            axes.plot(results.times, wide, color=styles[name].colour, linestyle="--")
    axes.set_xlabel("time")
    axes.set_ylabel("RMS error, spread")
    axes.legend()
