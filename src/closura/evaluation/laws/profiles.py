"""Figures along a line: states, their evolution, errors, weights, variation and error over time."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.evaluation.laws.look import SOLUTION, common_legend, panels, styles_of
from closura.evaluation.laws.study import LawEvaluation
from closura.evaluation.laws.traces import Trace
from closura.fields.initial import InitialCondition
from closura.numerics.weno_tables import optimal_weights
from closura.reporting.style import figure_settings, new_figure, save_figure

SNAPSHOTS = 10
WEIGHTS_SHOWN = 4
"""Initial conditions in the figure of weights."""


def states(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """All methods at the end against the solution: one row for each initial condition, or one panel for Burgers."""
    law, styles = evaluation.study.problem.law, styles_of(evaluation.methods)
    names, primitives = list(evaluation.study.initial), law.primitives
    with figure_settings():
        figure, axes = panels(len(names) * len(primitives), columns=3)
        place = iter(axes)
        for initial in names:
            for component, variable in enumerate(primitives):
                panel = next(place)
                for name, traces in evaluation.traces.items():
                    trace, style = traces[initial], styles[name]
                    x = cell_centres(trace)
                    panel.plot(
                        x, trace.states[-1, component], label=name, color=style.colour, linestyle=style.line,
                        linewidth=0.8 * style.width, marker=".", markersize=2.5,
                    )  # fmt: skip
                first = next(iter(evaluation.traces.values()))[initial]
                panel.plot(cell_centres(first), first.solution[-1, component], label="solution", **SOLUTION)
                panel.set_title(f"{initial}, t = {first.times[-1]:.3g}" if component == 0 else "")
                panel.set_ylabel(variable)
                _limit(panel, first.solution[-1, component])
        common_legend(figure, axes[0])
        return save_figure(figure, path)


def evolution(evaluation: LawEvaluation, method: str, path: str | Path | None = None) -> Figure:
    """Ten snapshots of one method, darker with time, over the thin lines of the solution."""
    names = list(evaluation.study.initial)
    with figure_settings():
        figure, axes = panels(len(names))
        for panel, initial in zip(axes, names, strict=True):
            trace = evaluation.traces[method][initial]
            shown = np.linspace(0, len(trace.times) - 1, SNAPSHOTS + 1).round().astype(int)
            for number, moment in enumerate(shown):
                colour = colormaps["Blues"](0.2 + 0.8 * number / SNAPSHOTS)
                panel.plot(cell_centres(trace), trace.solution[moment, 0], color="#999999", linewidth=0.5)
                panel.plot(cell_centres(trace), trace.states[moment, 0], color=colour, linewidth=1.3)
            panel.set_title(f"{initial}, t = 0 to {trace.times[-1]:.3g}")
            panel.set_ylabel(evaluation.study.problem.law.primitives[0])
        figure.suptitle(f"{method}, darker with time; grey: the solution", fontsize=11)
        return save_figure(figure, path)


def error_profiles(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """Absolute errors at the end along x, logarithmic."""
    styles, names = styles_of(evaluation.methods), list(evaluation.study.initial)
    with figure_settings():
        figure, axes = panels(len(names))
        for panel, initial in zip(axes, names, strict=True):
            for name, traces in evaluation.traces.items():
                trace, style = traces[initial], styles[name]
                with np.errstate(invalid="ignore"):
                    error = np.maximum(np.abs(trace.states[-1, 0] - trace.solution[-1, 0]), 1e-12)
                panel.semilogy(
                    cell_centres(trace), error, label=name, color=style.colour, linestyle=style.line,
                    linewidth=0.7 * style.width,
                )  # fmt: skip
            panel.set_title(initial)
            panel.set_ylabel(f"|error of {evaluation.study.problem.quantity}|")
        common_legend(figure, axes[0])
        return save_figure(figure, path)


def history(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure:
    """Total variation (upper rows) and the law's usual error (lower rows) over time."""
    styles, names = styles_of(evaluation.methods), list(evaluation.study.initial)
    norm = evaluation.study.problem.norm
    with figure_settings():
        figure, axes = panels(2 * len(names), columns=min(len(names), 3), height=2.2)
        columns = min(len(names), 3)
        for number, initial in enumerate(names):
            row, column = divmod(number, columns)
            # Rows in pairs, as far as they are full: variation above error.
            width = min(columns, len(names) - row * columns)
            upper, lower = axes[2 * row * columns + column], axes[2 * row * columns + width + column]
            for name, traces in evaluation.traces.items():
                trace, style = traces[initial], styles[name]
                look: dict[str, Any] = {
                    "color": style.colour,
                    "linestyle": style.line,
                    "linewidth": 0.8 * style.width,
                    "label": name,
                }
                upper.plot(trace.times, trace.variation, **look)
                lower.semilogy(trace.times[1:], np.maximum(getattr(trace, norm)[1:], 1e-12), **look)
            first = next(iter(evaluation.traces.values()))[initial]
            upper.plot(first.times, first.solution_variation, label="solution", **SOLUTION)
            _at_least(upper, first.solution_variation)
            upper.set_title(initial)
            upper.set_ylabel("total variation")
            lower.set_ylabel(f"{norm.upper()} error")
            lower.set_title(initial)
            lower.set_xlabel("t")
        common_legend(figure, axes[0])
        return save_figure(figure, path)


def weights(evaluation: LawEvaluation, path: str | Path | None = None) -> Figure | None:
    """What closures answer at the end, per interface: weights of both sides beside the optimal ones.

    Thin lines: the classical scheme of the same size in its own final state, where it was run. None without a closure
    whose simulations went well.
    """
    chosen = evaluation.closures or (shown_method(evaluation),)
    shown = [
        (name, initial)
        for initial in list(evaluation.study.initial)[:WEIGHTS_SHOWN]
        for name in chosen[:2]
        if evaluation.traces[name][initial].weights is not None
    ]
    if not shown:
        return None
    with figure_settings():
        figure = new_figure(9.0, 2.1 * len(shown) + 0.7)
        grid = figure.subplots(len(shown), 2, squeeze=False, sharey=True)
        for row, (name, initial) in enumerate(shown):
            trace = evaluation.traces[name][initial]
            r = evaluation.methods[name].r
            rival = evaluation.traces.get(f"weno{2 * r - 1}-js", {}).get(initial)
            x = interfaces(trace.condition, trace.states.shape[-1])
            assert trace.weights is not None
            for side, label in enumerate(("right-going", "left-going")):
                panel = grid[row, side]
                for k in range(r):
                    colour = colormaps["viridis"](k / max(r - 1, 1) * 0.85)
                    values = trace.weights[0][side, k, 0]
                    panel.plot(x, values, color=colour, linewidth=1.4, label=f"weight {k}")
                    panel.axhline(float(optimal_weights(r)[k]), color=colour, linewidth=0.6, linestyle=":")
                    if rival is not None and rival.weights is not None and name != f"weno{2 * r - 1}-js":
                        panel.plot(x, rival.weights[0][side, k, 0], color=colour, linewidth=0.5, linestyle="--")
                panel.set_ylim(-0.03, 1.03)
                panel.set_title(f"{name}, {initial}: {label} flux", fontsize=9)
        common_legend(figure, grid[0, 0])
        return save_figure(figure, path)


def shown_method(evaluation: LawEvaluation) -> str:
    """The method of figures that have room for one: the first closure, else weno5-js, else the first."""
    for name in (*evaluation.closures, "weno5-js"):
        if name in evaluation.methods:
            return name
    return next(iter(evaluation.methods))


def cell_centres(trace: Trace) -> np.ndarray:
    """Coordinates of a trace's cells along x."""
    return trace.condition.points(trace.states.shape[2:])[0]


def interfaces(condition: InitialCondition, cells: int) -> np.ndarray:
    """Coordinates of the interfaces, both ends included."""
    return np.linspace(condition.lower[0], condition.upper[0], cells + 1)


def _at_least(panel: Axes, values: np.ndarray) -> None:
    """Differences in the fifth digit do not fill a panel."""
    low, high = panel.get_ylim()
    room = 0.01 * float(np.abs(values).max())
    if high - low < room:
        middle = (low + high) / 2
        panel.set_ylim(middle - room / 2, middle + room / 2)


def _limit(panel: Axes, solution: np.ndarray) -> None:
    """A method that oscillates wildly does not squeeze the others."""
    low, high = float(solution.min()), float(solution.max())
    margin = 0.2 * max(high - low, 1e-3 * max(abs(low), abs(high), 1e-12))
    panel.set_ylim(low - margin, high + margin)
