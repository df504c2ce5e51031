"""Figures over several simulations: convergence, random initial conditions, error against cost."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from closura.evaluation.laws.look import common_legend, panels, styles_of
from closura.evaluation.laws.methods import rival_of
from closura.evaluation.laws.study import LawEvaluation
from closura.reporting.style import figure_settings, plain_log_axis, save_figure

GUIDES = (1, 3, 5)
"""Orders of the guide lines."""


def convergence(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """Errors against the number of cells: each initial condition, and the geometric mean over all of them."""
    study, styles = evaluation.study, styles_of(evaluation.methods)
    norm, grids = study.problem.norm, sorted(study.cells)
    names = [*study.initial, *(["geometric mean"] if len(study.initial) > 1 else [])]
    with figure_settings():
        figure, axes = panels(len(names), height=2.9)
        for panel, initial in zip(axes, names, strict=True):
            drawn = []
            for name in evaluation.methods:
                style = styles[name]
                mean = initial not in study.initial
                values = [
                    evaluation.mean(name, n, norm) if mean else evaluation.error(name, initial, n, norm) for n in grids
                ]
                values = [v if math.isfinite(v) and v > 0 else math.nan for v in values]
                drawn += [v for v in values if not math.isnan(v)]
                panel.loglog(
                    grids, values, label=name, color=style.colour, linestyle=style.line, linewidth=0.8 * style.width,
                    marker=style.marker, markersize=4,
                )  # fmt: skip
            _guides(panel, grids, drawn)
            panel.set_title(initial)
            panel.set_xlabel("cells N")
            panel.set_ylabel(f"{norm.upper()} error")
            panel.xaxis.set_major_locator(FixedLocator(grids))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            panel.xaxis.set_minor_locator(NullLocator())
        common_legend(figure, axes[0])
        return save_figure(figure, path)


def _guides(panel: Axes, grids: list[int], values: list[float]) -> None:
    """Thin lines of orders 1, 3 and 5 from the largest error on the coarsest grid, within the panel."""
    if not values or len(grids) < 2:
        return
    low, high = min(values), max(values)
    for order in GUIDES:
        line = [high * 1.3 * (grids[0] / n) ** order for n in grids]
        panel.plot(grids, line, color="#999999", linewidth=0.7, linestyle=":")
        inside = [i for i, value in enumerate(line) if value > low / 2]
        if inside[-1] == 0:
            continue
        panel.annotate(
            f"O(Δx{'' if order == 1 else '³' if order == 3 else '⁵'})", (grids[inside[-1]], line[inside[-1]]),
            fontsize=7, color="#777777", ha="right",
        )  # fmt: skip
    panel.set_ylim(low / 2.5, high * 2.5)


def scatter_figure(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """Errors of random initial conditions: each method against its rival, with the diagonal; lost ones at the edge."""
    scatter, styles = evaluation.scatter, styles_of(evaluation.methods)
    compared = [name for name in evaluation.methods if rival_of(name, evaluation.methods) != name]
    compared = compared or list(evaluation.methods)[:1]
    families = list(dict.fromkeys(scatter.family))
    with figure_settings():
        figure, axes = panels(len(compared), width=4.0, height=3.6)
        every = np.concatenate([scatter.errors[name] for name in evaluation.methods])
        every = every[np.isfinite(every) & (every > 0)]
        low, high = (every.min() / 2, every.max() * 2) if every.size else (1e-6, 1.0)
        for panel, name in zip(axes, compared, strict=True):
            rival = rival_of(name, evaluation.methods)
            for number, family in enumerate(families):
                chosen = np.asarray([f == family for f in scatter.family])
                x, y = (
                    np.where(np.isfinite(e), e, high)[chosen] for e in (scatter.errors[rival], scatter.errors[name])
                )
                panel.scatter(
                    x, y, s=14, marker=("o", "s", "^", "D")[number % 4], facecolors="none" if number else None,
                    edgecolors=styles[name].colour, color=styles[name].colour if not number else None, linewidths=0.8,
                    label=family, alpha=0.8,
                )  # fmt: skip
            panel.plot([low, high], [low, high], color="black", linewidth=0.8)
            panel.set(xscale="log", yscale="log", xlim=(low, high * 1.1), ylim=(low, high * 1.1), aspect="equal")
            panel.set_xlabel(f"{scatter.norm.upper()} error of {rival}")
            panel.set_ylabel(f"of {name}")
            panel.set_title("below the line: better", fontsize=9)
            panel.legend(fontsize=7, loc="upper left")
        return save_figure(figure, path)


def cost_figure(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """Error against the time of a step; down and left is better."""
    study, styles = evaluation.study, styles_of(evaluation.methods)
    cells = study.drawn_cells
    with figure_settings():
        figure, (panel,) = panels(1, width=5.2, height=3.4)
        for name, milliseconds in evaluation.cost.items():
            mean, style = evaluation.mean(name, cells, study.problem.norm), styles[name]
            if math.isfinite(mean):
                panel.loglog(
                    [milliseconds], [mean], marker=style.marker, color=style.colour, linestyle="", markersize=8,
                    label=name,
                )  # fmt: skip
        panel.set_xlabel(f"milliseconds per step (N = {cells}, {len(study.initial)} initial conditions)")
        panel.set_ylabel(f"{study.problem.norm.upper()} error, geometric mean")
        panel.margins(0.15)
        plain_log_axis(panel, "x")
        panel.legend()
        return save_figure(figure, path)
