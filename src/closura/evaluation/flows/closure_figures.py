"""Pictures of a study of closures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from closura.evaluation.flows import panels
from closura.evaluation.flows.closure_results import ClosureEvaluation
from closura.evaluation.flows.look import positive, styles_of, symmetric
from closura.metrics.ensembles import Scores
from closura.reporting.style import figure_settings, new_figure, save_figure

SHOWN = 3
"""Closures in figures that give each its own panels."""


def fields(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure | None:
    """Both velocities of one frame: filtered, truth, a sample, the mean, its error, the spread."""
    shown = _shown(evaluation)
    if not shown:
        return None
    truth = evaluation.trace
    scales = [symmetric(truth["mean"][c]) for c in range(2)]
    spread = positive(
        *(evaluation.rows[name].trace["std"] for name in shown),
        *(np.abs(evaluation.rows[name].trace["mean"] - truth["mean"]) for name in shown),
    )
    with figure_settings():
        figure = new_figure(11.2, 1.75 * 2 * len(shown) + 0.9)
        grid = figure.subplots(2 * len(shown), 6, squeeze=False)
        for number, name in enumerate(shown):
            trace = evaluation.rows[name].trace
            for c in range(2):
                row = list(grid[2 * number + c])
                own = [
                    truth["filtered"][c], truth["mean"][c], trace["members"][0, c], trace["mean"][c],
                    np.abs(trace["mean"][c] - truth["mean"][c]), trace["std"][c],
                ]  # fmt: skip
                images = panels.field_row(
                    row, own, [scales[c]] * 4 + [spread] * 2, ["RdBu_r"] * 4 + ["magma"] * 2, f"{name}\n{'uv'[c]}"
                )
                figure.colorbar(images[3], ax=row[3], shrink=0.85, pad=0.03)
                figure.colorbar(images[5], ax=row[5], shrink=0.85, pad=0.03)
        titles = ("filtered", "truth", "one sample", "mean", "|mean − truth|", "standard deviation")
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title, fontsize=10)
        figure.suptitle(f"{_title(evaluation)}, t = {float(truth['example_time']):g}; velocity", fontsize=10)
        return save_figure(figure, path)


def series(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure | None:
    """The velocity v at one point over time: the truth, and the closures' medians and bands."""
    shown = _shown(evaluation)
    times = evaluation.trace["times"]
    if not shown or len(times) < 8:
        return None
    with figure_settings():
        figure = new_figure(8.4, 2.2 * len(shown) + 0.8)
        grid = figure.subplots(len(shown), 1, squeeze=False, sharex=True)[:, 0]
        styles = styles_of(tuple(evaluation.rows))
        for axes, name in zip(grid, shown, strict=True):
            at = evaluation.rows[name].trace["at_point"][:, :, 1]
            panels.bands(axes, times, at, styles[name], name, evaluation.trace["at_point"][0, :, 1])
            axes.set_ylabel("v at the point")
            axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.22))
        grid[-1].set_xlabel("time (units of length / velocity)")
        figure.suptitle(f"{_title(evaluation)}, at (x, y) = {_point(evaluation)}", fontsize=10)
        return save_figure(figure, path)


def energies(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure:
    """Densities of the kinetic energy: truth, filtered truth, samples."""
    rows = {n: r.flow.energies for n, r in evaluation.rows.items() if r.flow is not None and n not in _CERTAIN}
    with figure_settings():
        figure = new_figure(6.8, 4.2)
        axes = figure.subplots()
        panels.energy_densities(axes, evaluation.truth.energies, evaluation.filtered.energies, rows)
        axes.set_title(_title(evaluation), fontsize=10)
        return save_figure(figure, path)


def spectra(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure:
    """Energy spectra of the samples, and their ratios to the truth's."""
    rows = {n: r.flow.spectrum for n, r in evaluation.rows.items() if r.flow is not None and n not in _CERTAIN}
    truth = evaluation.truth
    with figure_settings():
        figure = new_figure(9.6, 4.0)
        left, right = figure.subplots(1, 2)
        panels.spectra(left, right, truth.spectrum, truth.resolving_shell, evaluation.filtered.spectrum, rows)
        figure.suptitle(f"{_title(evaluation)}; right: shells with 99.99 % of the energy", fontsize=10)
        return save_figure(figure, path)


def calibration(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure | None:
    """Observed against nominal coverage."""
    rows = _scored(evaluation)
    if not rows:
        return None
    with figure_settings():
        figure = new_figure(5.4, 4.8)
        axes = figure.subplots()
        panels.reliability(axes, rows)
        axes.set_title(_title(evaluation), fontsize=10)
        return save_figure(figure, path)


def rank_histograms(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure | None:
    """Ranks of the truth among the members."""
    rows = _scored(evaluation)
    if not rows:
        return None
    with figure_settings():
        figure = new_figure(max(3.1 * len(rows), 5.0), 3.0)
        panels.ranks(list(figure.subplots(1, len(rows), squeeze=False, sharey=False)[0]), rows)
        figure.suptitle(_title(evaluation), fontsize=10)
        return save_figure(figure, path)


def space_time(evaluation: ClosureEvaluation, path: str | Path | None = None) -> Figure | None:
    """Energy along x over time: truth, and one member of each closure."""
    times = evaluation.trace["times"]
    if len(times) < 8:
        return None
    shown = {"truth": (times, evaluation.trace["along_x"])}
    shown["filtered truth"] = (times, evaluation.rows["none"].trace["along_x"])
    for name in _shown(evaluation):
        shown[f"{name}, one member"] = (times, evaluation.rows[name].trace["along_x"])
    with figure_settings():
        return save_figure(panels.space_time(shown, what=_title(evaluation)), path)


_CERTAIN = ("none", "persistence")

FIGURES: dict[str, Callable[[ClosureEvaluation, str | Path | None], Figure | None]] = {
    "fields": fields,
    "series": series,
    "calibration": calibration,
    "ranks": rank_histograms,
    "spectra": spectra,
    "energies": energies,
    "space_time": space_time,
}
CAPTIONS = {
    "fields": "One frame of the first trajectory: the filtered field that closures are given, the truth, and what "
    "they make of it. Error and standard deviation share a scale.",
    "series": "The velocity v at one point: bands hold the central 68 and 95 % of the members.",
    "calibration": "Coverage of central intervals: on the line an ensemble means what it says.",
    "ranks": "Rank of the truth among the members: flat if calibrated, a bowl if overconfident, a hill if too wide.",
    "spectra": "Energy of the samples by wavenumber.",
    "energies": "Distribution of the kinetic energy over points and frames.",
    "space_time": "Kinetic energy averaged over y.",
}


def _shown(evaluation: ClosureEvaluation) -> tuple[str, ...]:
    return tuple(name for name in evaluation.closures if "std" in evaluation.rows[name].trace)[:SHOWN]


def _scored(evaluation: ClosureEvaluation) -> dict[str, Scores]:
    return {n: r.scores for n, r in evaluation.rows.items() if r.scores is not None and n not in _CERTAIN}


def _point(evaluation: ClosureEvaluation) -> str:
    x, y = 2 * np.pi * evaluation.trace["point"] / evaluation.study.data.points
    return f"({x:.2f}, {y:.2f})"


def _title(evaluation: ClosureEvaluation) -> str:
    study = evaluation.study
    reynolds = sorted({float(study.data.reynolds[s.trajectory]) for s in study.stretches})
    trajectories = ", ".join(str(s.trajectory) for s in study.stretches[:6])
    more = ", …" if len(study.stretches) > 6 else ""
    return (
        f"Kolmogorov flow, Re {', '.join(f'{r:g}' for r in reynolds)}, trajectory {trajectories}{more}, "
        f"{study.total} frames, {study.members} members"
    )
