"""Figures along a line: states, their evolution, errors, weights, variation and error over time."""

from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Results
from closura.numerics.weno_tables import optimal_weights
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.snapshots import SOLUTION, Snapshots, snapshots_of
from closura.reporting.figure import figure
from closura.reporting.style import axis_label, common_legend, panels, styles_of

SECTION = "States"
NEEDS = ("moment_time", "pictured")
NUMBER_OF_SNAPSHOTS = 10
WEIGHTS_SHOWN = 4
"""Initial conditions in the figure of weights."""
EXACT: dict[str, Any] = {"color": "black", "linewidth": 1.0, "alpha": 0.85, "zorder": 1.5}
LINES = tuple(name for name, problem in LAW_PROBLEMS.items() if problem.law.dimensions == 1)


def kept(results: Results) -> dict[str, Snapshots]:
    """The snapshots from every initial condition."""
    return {str(initial): snapshots_of(results, str(initial)) for initial in results.data["initial"].values}


def drawn(results: Results) -> dict[str, dict[str, Any]]:
    """How the methods on the grid of figures are drawn, by their names there."""
    styles = styles_of(results)
    return {
        str(name): {"label": results.family(str(name)), "color": styles[name].colour, "linestyle": styles[name].line,
                    "linewidth": 0.8 * styles[name].width}
        for name in results.data["pictured"].values
        if name != SOLUTION
    }  # fmt: skip


@figure(
    "states", problems=LINES, needs=NEEDS, section=SECTION, order=0,
    caption="The state at the end. Black: the solution.",
)  # fmt: skip
def states(results: Results, figure: Figure) -> None:
    """All methods at the end against the solution, a panel for each initial condition and variable."""
    variables, shown, methods = results.components, kept(results), drawn(results)
    axes = iter(every := panels(figure, len(shown) * len(variables)))
    for initial, snapshots in shown.items():
        for component, variable in enumerate(variables):
            panel = next(axes)
            for name, look in methods.items():
                panel.plot(snapshots.x, snapshots.states[name][-1, component], marker=".", markersize=2.5, **look)
            solution = snapshots.states[SOLUTION][-1, component]
            panel.plot(snapshots.x, solution, label=SOLUTION, **EXACT)
            panel.set_title(f"{initial}, t = {snapshots.times[-1]:.3g}" if component == 0 else "")
            panel.set_ylabel(variable)
            _limit(panel, solution)
    common_legend(figure, every[0])


@figure(
    "evolution", problems=LINES, needs=NEEDS, section=SECTION, order=3,
    caption="Ten snapshots of one method, darker with time; grey: the solution.",
)  # fmt: skip
def evolution(results: Results, figure: Figure) -> None:
    """Ten snapshots of the first closure, else of the uncorrected scheme, over the thin lines of the solution."""
    shown, name = kept(results), shown_methods(results)[0]
    for panel, (initial, snapshots) in zip(panels(figure, len(shown)), shown.items(), strict=True):
        moments = np.linspace(0, len(snapshots.times) - 1, NUMBER_OF_SNAPSHOTS + 1).round().astype(int)
        for number, moment in enumerate(moments):
            colour = colormaps["Blues"](0.2 + 0.8 * number / NUMBER_OF_SNAPSHOTS)
            panel.plot(snapshots.x, snapshots.states[SOLUTION][moment, 0], color="#999999", linewidth=0.5)
            panel.plot(snapshots.x, snapshots.states[name][moment, 0], color=colour, linewidth=1.3)
        panel.set_title(f"{initial}, t = 0 to {snapshots.times[-1]:.3g}")
        panel.set_ylabel(results.components[0])
    figure.suptitle(f"{results.family(name)}, darker with time; grey: the solution", fontsize=11)


@figure("error_profiles", problems=LINES, needs=NEEDS, section=SECTION, order=1, caption="Absolute errors at the end.")
def error_profiles(results: Results, figure: Figure) -> None:
    """Absolute errors of the first primitive variable at the end along x, logarithmic."""
    shown, methods = kept(results), drawn(results)
    axes = panels(figure, len(shown))
    for panel, (initial, snapshots) in zip(axes, shown.items(), strict=True):
        for name, look in methods.items():
            with np.errstate(invalid="ignore"):
                error = np.abs(snapshots.states[name][-1, 0] - snapshots.states[SOLUTION][-1, 0])
            panel.semilogy(snapshots.x, np.maximum(error, 1e-12), **look)
        panel.set_title(initial)
        panel.set_ylabel(f"|error of {results.attribute('quantity')}|")
    common_legend(figure, axes[0])


@figure(
    "history", problems=LAW_PROBLEMS, needs=NEEDS, section=SECTION, order=2,
    caption="Total variation and error over time.",
)  # fmt: skip
def history(results: Results, figure: Figure) -> None:
    """Total variation (upper rows) and the error that counts (lower rows) over time."""
    shown, methods = kept(results), drawn(results)
    columns = min(len(shown), 3)
    axes = panels(figure, 2 * len(shown), columns=columns, height=2.2)
    for number, (initial, snapshots) in enumerate(shown.items()):
        row, column = divmod(number, columns)
        # Rows in pairs, as far as they are full: variation above error.
        width = min(columns, len(shown) - row * columns)
        upper, lower = axes[2 * row * columns + column], axes[2 * row * columns + width + column]
        for name, look in methods.items():
            upper.plot(snapshots.times, snapshots.variation[name], **look)
            lower.semilogy(snapshots.times[1:], np.maximum(snapshots.error[name][1:], 1e-12), **look)
        upper.plot(snapshots.times, snapshots.variation[SOLUTION], label=SOLUTION, **EXACT)
        _at_least(upper, snapshots.variation[SOLUTION])
        upper.set_title(initial)
        upper.set_ylabel("total variation")
        lower.set_ylabel(axis_label(results.error))
        lower.set_title(initial)
        lower.set_xlabel("t")
    common_legend(figure, axes[0])


def weighing(results: Results) -> list[tuple[str, str]]:
    """Methods and initial conditions in the figure of weights: those whose simulations went well."""
    shown = list(kept(results).items())[:WEIGHTS_SHOWN]
    methods = shown_methods(results)[:2]
    return [(name, initial) for initial, snapshots in shown for name in methods if name in snapshots.weights]


@figure(
    "weights", problems=LINES, needs=NEEDS, section=SECTION, order=4, when=lambda results: bool(weighing(results)),
    caption="Weights of the sub-stencils at every interface at the end (of the first component); dotted: the optimal "
    "ones; dashed: WENO-JS in its own final state.",
)  # fmt: skip
def weights(results: Results, figure: Figure) -> None:
    """What closures answer at the end, per interface: weights of both sides beside the optimal ones.

    Thin lines: the scheme that the closure corrects in its own final state, where it was run.
    """
    rows = weighing(results)
    figure.set_size_inches(9.0, 2.1 * len(rows) + 0.7)
    grid = figure.subplots(len(rows), 2, squeeze=False, sharey=True)
    for row, (name, initial) in enumerate(rows):
        snapshots = snapshots_of(results, initial)
        own, other = snapshots.weights[name], snapshots.weights.get(results.corrects(name))
        beside = other is not None and len(other[0]) == len(own[0]) and results.corrects(name) != name
        for side, label in enumerate(("right-going", "left-going")):
            panel = grid[row, side]
            for k, values in enumerate(own[side]):
                colour = colormaps["viridis"](k / max(len(own[side]) - 1, 1) * 0.85)
                panel.plot(snapshots.faces, values, color=colour, linewidth=1.4, label=f"weight {k}")
                optimal = float(optimal_weights(len(own[side]))[k])
                panel.axhline(optimal, color=colour, linewidth=0.6, linestyle=":")
                if beside and other is not None:
                    panel.plot(snapshots.faces, other[side, k], color=colour, linewidth=0.5, linestyle="--")
            panel.set_ylim(-0.03, 1.03)
            panel.set_title(f"{results.family(name)}, {initial}: {label} flux", fontsize=9)
    common_legend(figure, grid[0, 0])


def shown_methods(results: Results) -> list[str]:
    """Those of figures that have room for few: closures, else the uncorrected scheme, else the first."""
    names = [str(name) for name in results.data["pictured"].values if name != SOLUTION]
    learned = [name for name in names if name in results.closures]
    return learned or [results.uncorrected_for(names[0])]


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
