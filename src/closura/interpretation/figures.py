"""Figures of an interpretation: Closure-RL, figure 12."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.interpretation.collect import Trajectories
from closura.interpretation.correlation import THEORY, Comparison
from closura.problems.problem import Problem
from closura.reporting.figures.fields import colour_map, draw_picture
from closura.reporting.style import figure_settings, new_figure, save_figure

_BLUE, _RED = "#0077BB", "#CC3311"


def typical_simulation(comparison: Comparison) -> int:
    """The simulation with the median correlation; 0 where none is defined."""
    r = comparison.correlation
    known = np.flatnonzero(np.isfinite(r))
    return int(known[np.argsort(r[known])[(len(known) - 1) // 2]]) if len(known) else 0


def interpretation_figure(
    problem: Problem,
    trajectories: Trajectories,
    comparisons: Sequence[Comparison],
    path: str | Path | None = None,
    *,
    simulation: int | None = None,
    title: str = "",
) -> Figure:
    """State, learned action, optimal action and their scatter: one row per component.

    Both actions share a colour scale, blue is negative. The dashed line is where they are equal. Of the comparisons
    those with the theory are drawn, of one ``simulation`` (default: that with the median correlation of the first
    component). ValueError if there is no such comparison, or fields are not two-dimensional.
    """
    rows = [c for c in comparisons if c.formula == THEORY]
    if not rows or problem.grid.dimensions != 2:
        raise ValueError("the figure needs comparisons with the theory, of two-dimensional fields")
    shown = typical_simulation(rows[0]) if simulation is None else simulation
    state = trajectories.state[shown, rows[0].step]
    with figure_settings():
        figure = new_figure(12.6, 0.5 + 2.75 * len(rows))
        grid = figure.subplots(len(rows), 4, squeeze=False, width_ratios=(1, 1, 1, 1.15))
        for row, comparison in zip(grid, rows, strict=True):
            action, optimal = comparison.action[shown], comparison.optimal[shown]
            field, step = state[problem.components.index(comparison.component)], comparison.step
            largest = np.abs(np.concatenate([action.ravel(), optimal.ravel()]))
            limit = max(float(np.quantile(largest[np.isfinite(largest)], 0.998)) if largest.size else 1.0, 1e-30)
            finite = field[np.isfinite(field)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
            pictures = (
                (f"{comparison.component}, step {step}", field, Normalize(low, high), "viridis"),
                (f"learned action, step {step}", action, Normalize(-limit, limit), "RdBu_r"),
                (f"optimal action, from step {step - 1}", optimal, Normalize(-limit, limit), "RdBu_r"),
            )
            for axes, (words, picture, scale, colours) in zip(row[:3], pictures, strict=True):
                image = draw_picture(axes, picture, scale, colour_map(colours), problem.origin)
                axes.set_title(words, fontsize=10)
                bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.03)
                bar.outline.set_visible(False)
                bar.ax.tick_params(labelsize=8)
                bar.ax.locator_params(nbins=5)
            axes = row[3]
            axes.plot(optimal.ravel(), action.ravel(), ".", color=_BLUE, markersize=2, alpha=0.35, rasterized=True)
            reach = 1.05 * float(np.nanmax(largest)) if np.isfinite(largest).any() else 1.0
            axes.plot([-reach, reach], [-reach, reach], color=_RED, linewidth=1, linestyle="--")
            axes.set_xlim(-reach, reach)
            axes.set_ylim(-reach, reach)
            axes.set_box_aspect(1)
            axes.locator_params(nbins=5)
            axes.set_xlabel("optimal action")
            axes.set_ylabel("learned action")
            axes.set_title(f"r = {comparison.correlation[shown]:.3f}, slope {comparison.slope[shown]:.2f}", fontsize=10)
        figure.suptitle(f"{title or problem.name}: simulation {shown} of {len(trajectories.state)}")
        return save_figure(figure, path)


def correlation_figure(comparisons: Sequence[Comparison], path: str | Path | None = None, *, title: str = "") -> Figure:
    """Correlations of all simulations, one column per formula and component; bars are means."""
    with figure_settings():
        figure = new_figure(1.6 + 1.7 * len(comparisons), 3.6)
        axes = figure.add_subplot()
        several = len({c.component for c in comparisons}) > 1
        for position, comparison in enumerate(comparisons):
            r = comparison.correlation[np.isfinite(comparison.correlation)]
            # Spread sideways evenly: no random numbers in figures.
            sideways = position + 0.22 * (2 * ((np.arange(len(r)) * 0.618034) % 1) - 1)
            axes.plot(sideways, r, "o", color=_BLUE, markersize=4, alpha=0.45, markeredgewidth=0)
            if r.size:
                axes.plot([position - 0.32, position + 0.32], [r.mean()] * 2, color=_RED, linewidth=2)
                axes.annotate(
                    f"{r.mean():.3f}", (position + 0.34, r.mean()), va="center", fontsize=9, color=_RED, clip_on=False
                )
        words = [c.formula.replace(", ", ",\n") + (f"\n{c.component}" if several else "") for c in comparisons]
        axes.set_xticks(range(len(comparisons)), words)
        axes.set_xlim(-0.6, len(comparisons) - 0.2)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel("correlation, learned and optimal action")
        axes.set_title(title)
        return save_figure(figure, path)
