"""Pictures of a study of reduced-order models."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.evaluation.flows import panels
from closura.evaluation.flows.forecasts import THRESHOLD
from closura.evaluation.flows.long_runs import Distances
from closura.evaluation.flows.look import TRUTH, nothing_is_nan, positive, styles_of, symmetric
from closura.evaluation.flows.model_study import ModelEvaluation
from closura.evaluation.flows.model_truth import example_lead
from closura.reporting.scales import size_of
from closura.reporting.style import MethodStyle, figure_settings, new_figure, save_figure

CLOSED = "#882299"


def lead_time(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure:
    """Relative L2 error, CRPS and spread over skill against lead time; bands: standard deviation over starts."""
    with figure_settings():
        figure = new_figure(11.0, 3.9)
        error, crps, ratio = figure.subplots(1, 3)
        for name, style in styles_of(tuple(evaluation.rows)).items():
            forecast = evaluation.rows[name].forecast
            look = {"color": style.colour, "ls": style.line, "lw": style.width}
            for axes, values in ((error, forecast.relative_l2), (crps, forecast.crps)):
                mean, std = values.mean(axis=0), values.std(axis=0)
                axes.plot(evaluation.leads, mean, label=name, **look)
                if len(values) > 1:
                    axes.fill_between(evaluation.leads, mean - std, mean + std, color=style.colour, alpha=0.13, lw=0)
            if name != "persistence":
                ratio.plot(evaluation.leads, forecast.spread_skill, **look)
        error.axhline(THRESHOLD, color="#666666", lw=0.8, ls=":")
        ratio.axhline(1.0, color=TRUTH["color"], lw=1.4)
        error.set_ylabel("relative L2 error of the mean")
        crps.set_ylabel("CRPS (units of velocity)")
        ratio.set_ylabel("spread over skill, 1: calibrated")
        for axes in (error, crps, ratio):
            axes.set(xlabel="lead time (length / velocity)", xlim=(0, evaluation.leads[-1]))
            axes.set_ylim(bottom=0)
        handles, labels = error.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
        _lyapunov_axis(error, evaluation)
        figure.suptitle(f"{_title(evaluation)}, filtered fields", fontsize=10)
        return save_figure(figure, path)


def _lyapunov_axis(axes: Axes, evaluation: ModelEvaluation) -> None:
    rate = evaluation.study.lyapunov
    if rate:
        above = axes.secondary_xaxis("top", functions=(partial(np.multiply, rate), partial(np.multiply, 1 / rate)))
        above.set_xlabel("Lyapunov times", fontsize=9)
        above.tick_params(labelsize=8)


def series(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure:
    """The filtered velocity v at one point from the first start on, with bands."""
    names = evaluation.models
    styles = styles_of(tuple(evaluation.rows))
    truth = evaluation.trace["at_point"][:, 1]
    with figure_settings():
        figure = new_figure(9.0, 2.2 * len(names) + 0.9)
        grid = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
        for axes, name in zip(grid, names, strict=True):
            at = evaluation.rows[name].trace["at_point"][:, :, 1]
            count = min(at.shape[1], max(2, round(1.25 * len(truth))))
            times = evaluation.step * np.arange(1, count + 1)
            panels.bands(axes, times, at[:, :count], styles[name], name, truth)
            axes.set_ylabel("filtered v at the point")
            axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.22))
        grid[-1].set_xlabel("time since the start (units of length / velocity)")
        figure.suptitle(f"{_title(evaluation)}, first start", fontsize=10)
        return save_figure(figure, path)


def fields(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure | None:
    """Both velocities some time after the first start: filtered truth, member, mean, spread; closed member, truth."""
    names = [name for name in evaluation.models if "example_members" in evaluation.rows[name].trace][:3]
    if not names:
        return None
    truth, low = evaluation.trace["example"], evaluation.trace["filtered_example"]
    closed = any("closed_example_members" in evaluation.rows[name].trace for name in names)
    titles = ["filtered truth", "one member", "mean", "standard deviation"]
    titles += ["member, closed", "truth"] if closed else ["truth"]
    with figure_settings():
        figure = new_figure(1.85 * len(titles) + 0.7, 1.75 * 2 * len(names) + 0.9)
        grid = figure.subplots(2 * len(names), len(titles), squeeze=False)
        for number, name in enumerate(names):
            trace = evaluation.rows[name].trace
            members = trace["example_members"]
            mean, std = members.mean(axis=0), members.std(axis=0, ddof=min(1, len(members) - 1))
            for c in range(2):
                scale, spread = symmetric(truth[c]), positive(std, size=size_of(truth))
                own, scales = [low[c], members[0, c], mean[c], std[c]], [scale, scale, scale, spread]
                colours = ["RdBu_r"] * 3 + ["magma"]
                if closed:
                    own.append(trace["closed_example_members"][0, c])
                    scales.append(scale)
                    colours.append("RdBu_r")
                images = panels.field_row(
                    list(grid[2 * number + c]),
                    [*own, truth[c]],
                    [*scales, scale],
                    [*colours, "RdBu_r"],
                    f"{name}\n{'uv'[c]}",
                )
                figure.colorbar(images[2], ax=grid[2 * number + c, 2], shrink=0.85, pad=0.03)
                figure.colorbar(images[3], ax=grid[2 * number + c, 3], shrink=0.85, pad=0.03)
        for axes, title in zip(grid[0], titles, strict=True):
            axes.set_title(title, fontsize=10)
        time = evaluation.leads[example_lead(len(evaluation.leads))]
        figure.suptitle(f"{_title(evaluation)}; velocity at lead time {time:.3g}", fontsize=10)
        return save_figure(figure, path)


def energies(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure:
    """Densities of the kinetic energy over the long run: truth, filtered truth, models, closed models."""
    rows, styles = {}, {}
    for name, style in styles_of(evaluation.models).items():
        row = evaluation.rows[name]
        if row.flow is not None:
            rows[name], styles[name] = row.flow.energies, style
        if row.closed_flow is not None:
            label = f"{name}, closed"
            rows[label] = row.closed_flow.energies
            styles[label] = MethodStyle(CLOSED, style.line, style.marker, 1.8)
    with figure_settings():
        figure = new_figure(6.8, 4.2)
        axes = figure.subplots()
        panels.energy_densities(axes, evaluation.truth.energies, evaluation.filtered_truth.energies, rows, styles)
        axes.set_title(f"{_title(evaluation)}, {evaluation.study.steps} steps", fontsize=10)
        return save_figure(figure, path)


def distances(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure | None:
    """Wasserstein-1 distance of the energy's distribution by slice, with the bar."""
    names = evaluation.models
    found = [d for name in names for d in (evaluation.rows[name].filtered, evaluation.rows[name].closed) if d]
    if not found or not found[0].pooled.shape[-1]:
        return None
    closed = any(evaluation.rows[name].closed is not None for name in names)
    with figure_settings():
        figure = new_figure(9.6 if closed else 5.6, 4.0)
        grid = figure.subplots(1, 2 if closed else 1, squeeze=False)[0]
        for name, style in styles_of(names).items():
            row = evaluation.rows[name]
            if row.filtered is not None:
                _slices(grid[0], row.filtered, name, style.colour, "-", evaluation)
            if closed and row.unclosed is not None and row.closed is not None:
                _slices(grid[1], row.unclosed, f"{name}, before", style.colour, "--", evaluation, single=False)
                _slices(grid[1], row.closed, f"{name}, closed", CLOSED, "-", evaluation)
        _bar(grid[0], found[0].bar)
        grid[0].set_title("filtered fields, to the filtered truth", fontsize=10)
        if closed:
            _bar(grid[1], next(r.closed.bar for r in evaluation.rows.values() if r.closed is not None))
            grid[1].set_title("to the full truth", fontsize=10)
        for axes in grid:
            axes.set(xlabel="middle of the slice, time since the start", ylim=(0, None))
            axes.legend(fontsize=8)
        grid[0].set_ylabel("Wasserstein-1 distance (units of energy)")
        figure.suptitle(f"{_title(evaluation)}, slices of {evaluation.study.slice_steps} steps", fontsize=10)
        return save_figure(figure, path)


def _slices(
    axes: Axes, found: Distances, name: str, colour: str, line: str, evaluation: ModelEvaluation, *, single: bool = True
) -> None:
    length = evaluation.study.slice_steps * evaluation.step
    middles = length * (np.arange(found.pooled.shape[1]) + 0.5)
    axes.plot(middles, found.pooled.mean(axis=0), color=colour, ls=line, lw=2, marker="o", ms=4,
              label=f"{name}: members together")  # fmt: skip
    if single:
        with nothing_is_nan():
            mean = np.nanmean(found.single, axis=(0, 1))
            low, high = np.nanquantile(found.single, (0.05, 0.95), axis=(0, 1))
        axes.fill_between(middles, low, high, color=colour, alpha=0.15, lw=0, label=f"{name}: 90 % of single members")
        axes.plot(middles, mean, color=colour, ls=":", lw=1.4, label=f"{name}: single member, mean")


def _bar(axes: Axes, bar: float | None) -> None:
    if bar is not None:
        axes.axhline(bar, color="#228833", lw=1.4, label="bar: 95 % of true slices")


def spectra(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure:
    """Energy spectra of the long run, and their ratios to the truth's."""
    rows, styles = {}, {}
    for name, style in styles_of(evaluation.models).items():
        row = evaluation.rows[name]
        if row.flow is not None:
            rows[name], styles[name] = row.flow.spectrum, style
        if row.closed_flow is not None:
            rows[f"{name}, closed"] = row.closed_flow.spectrum
            styles[f"{name}, closed"] = MethodStyle(CLOSED, style.line, "s", 1.8)
    truth = evaluation.truth
    with figure_settings():
        figure = new_figure(9.6, 4.0)
        left, right = figure.subplots(1, 2)
        panels.spectra(
            left, right, truth.spectrum, truth.resolving_shell, evaluation.filtered_truth.spectrum, rows, styles
        )
        figure.suptitle(f"{_title(evaluation)}; right: shells with 99.99 % of the energy", fontsize=10)
        return save_figure(figure, path)


def space_time(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure:
    """Energy along x over time: truth, one member, the same closed."""
    step = evaluation.step

    def times(count: int) -> np.ndarray:
        return step * np.arange(1, count + 1)

    truth, low = evaluation.trace["along_x"], evaluation.trace["filtered_along_x"]
    shown = {"truth": (times(len(truth)), truth), "filtered truth": (times(len(low)), low)}
    for name in evaluation.models[:2]:
        trace = evaluation.rows[name].trace
        shown[f"{name}, one member"] = (times(len(trace["along_x"])), trace["along_x"])
        if "closed_along_x" in trace:
            shown[f"{name}, one member, closed"] = (trace["closed_times"], trace["closed_along_x"])
    with figure_settings():
        return save_figure(panels.space_time(shown, what=f"{_title(evaluation)}, first start"), path)


def calibration(evaluation: ModelEvaluation, path: str | Path | None = None) -> Figure | None:
    """Coverage, and ranks of the truth, over all judged leads."""
    rows = {
        name: row.forecast.total
        for name, row in evaluation.rows.items()
        if row.forecast.total is not None and name != "persistence"
    }
    if not rows:
        return None
    with figure_settings():
        figure = new_figure(4.2 + 3.0 * len(rows), 3.9)
        grid = figure.subplots(1, 1 + len(rows), width_ratios=[1.25] + [1.0] * len(rows))
        panels.reliability(grid[0], rows)
        panels.ranks(list(grid[1:]), rows)
        figure.suptitle(f"{_title(evaluation)}, all leads to t = {evaluation.leads[-1]:.3g}", fontsize=10)
        return save_figure(figure, path)


FIGURES: dict[str, Callable[[ModelEvaluation, str | Path | None], Figure | None]] = {
    "lead_time": lead_time,
    "series": series,
    "fields": fields,
    "calibration": calibration,
    "distances": distances,
    "energies": energies,
    "spectra": spectra,
    "space_time": space_time,
}
CAPTIONS = {
    "lead_time": "Forecasts against lead time; bands: standard deviation over starts.",
    "series": "The filtered velocity v at one point: bands hold the central 68 and 95 % of the members.",
    "fields": "Some time after the first start.",
    "calibration": "Left: coverage of central intervals. Right: rank of the truth among the members, flat if "
    "calibrated.",
    "distances": "How far the distribution of the kinetic energy is from the truth's, as runs get longer.",
    "energies": "Distribution of the kinetic energy over points and steps of the long run.",
    "spectra": "Energy by wavenumber over the long run.",
    "space_time": "Kinetic energy averaged over y.",
}


def _title(evaluation: ModelEvaluation) -> str:
    study = evaluation.study
    reynolds = sorted({float(study.data.reynolds[s.trajectory]) for s in study.stretches})
    return (
        f"Kolmogorov flow, Re {', '.join(f'{r:g}' for r in reynolds)}, {len(study.pairs)} starts, "
        f"{study.members} members"
    )
