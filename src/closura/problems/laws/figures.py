"""Figures of conservation laws: convergence, random conditions, states on lines and planes over time, weights."""

import math
from functools import partial
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from closura.core import Results
from closura.metrics.statistics import geometric_mean
from closura.numerics.weno import optimal_weights
from closura.parts import file_name
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.evaluate import SOLUTION
from closura.problems.laws.random_conditions import random_errors
from closura.problems.laws.snapshots import Snapshots, snapshots_of
from closura.reporting.figure import figure
from closura.reporting.figures.animation import gif, picture_of
from closura.reporting.figures.fields import draw_picture
from closura.reporting.scales import ROUNDING, colour_map, size_of
from closura.reporting.style import MethodStyle, axis_label, common_legend, panels, styles_of

GUIDES = {1: "", 3: "³", 5: "⁵"}
"""Orders of the guide lines, as powers."""
SECTION = "States"
NEEDS = ("moment_time", "pictured")
NUMBER_OF_SNAPSHOTS = 10
WEIGHTS_SHOWN = 4
"""Initial conditions in the figure of weights."""
EXACT: dict[str, Any] = {"color": "black", "linewidth": 1.0, "alpha": 0.85, "zorder": 1.5}
LINES = tuple(name for name, problem in LAW_PROBLEMS.items() if problem.law.dimensions == 1)
SHADES = 96
PLANES = tuple(name for name, problem in LAW_PROBLEMS.items() if problem.law.dimensions == 2)


@figure(
    "convergence", problems=LAW_PROBLEMS, order=0, when=lambda results: bool(results.grids),
    caption="Errors against the number of cells; dotted: orders 1, 3 and 5.",
)  # fmt: skip
def convergence(results: Results, figure: Figure) -> None:
    """Errors against the number of cells: each initial condition, and the geometric mean over all of them."""
    styles, grids, groups = family_styles(results), sorted(results.grids), list(dict.fromkeys(results.groups))
    rows = {group: {n: results.last(n)[k] for n in results.methods} for k, group in enumerate(groups)}
    if len(groups) > 1:
        rows["geometric mean"] = {n: geometric_mean(results.last(n)) for n in results.methods}
    axes = panels(figure, len(rows), height=2.9)
    for panel, (title, values) in zip(axes, rows.items(), strict=True):
        found = []
        for family, style in styles.items():
            line = [float(values[name]) for name in _on_grids(results, family, grids)]
            line = [value if math.isfinite(value) and value > 0 else math.nan for value in line]
            found += [value for value in line if not math.isnan(value)]
            panel.loglog(
                grids, line, label=family, color=style.colour, linestyle=style.line, linewidth=0.8 * style.width,
                marker=style.marker, markersize=4,
            )  # fmt: skip
        _guides(panel, grids, found)
        panel.set_title(title)
        panel.set_xlabel("cells N")
        panel.set_ylabel(axis_label(results.error))
        panel.xaxis.set_major_locator(FixedLocator(grids))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_locator(NullLocator())
    common_legend(figure, axes[0])


def family_styles(results: Results) -> dict[str, MethodStyle]:
    """How methods are drawn, one style for all grids."""
    first = {results.family(name): name for name in reversed(results.methods)}
    styles = styles_of(results.select(list(first.values())))
    return {results.family(name): style for name, style in styles.items()}


def _on_grids(results: Results, family: str, grids: list[int]) -> list[str]:
    points = dict(zip(results.methods, results.data["points"].values.tolist(), strict=True))
    return sorted((n for n in results.methods if results.family(n) == family), key=lambda n: grids.index(points[n]))


def _guides(panel: Axes, grids: list[int], values: list[float]) -> None:
    """Thin lines of orders 1, 3 and 5 from the largest error on the coarsest grid, within the panel."""
    if not values:
        return
    low, high = min(values), max(values)
    for order, power in GUIDES.items():
        line = [high * 1.3 * (grids[0] / n) ** order for n in grids]
        panel.plot(grids, line, color="#999999", linewidth=0.7, linestyle=":")
        inside = [i for i, value in enumerate(line) if value > low / 2]
        if inside[-1] > 0:
            place = (grids[inside[-1]], line[inside[-1]])
            panel.annotate(f"O(Δx{power})", place, fontsize=7, color="#777777", ha="right")
    panel.set_ylim(low / 2.5, high * 2.5)


@figure(
    "scatter", problems=LAW_PROBLEMS, needs=("random_error",), order=60,
    caption="Random initial conditions: error against that of the method it is compared with; below the line: better.",
)  # fmt: skip
def scatter(results: Results, figure: Figure) -> None:
    """Errors of random initial conditions, each method against another, with the diagonal; lost ones at the edge."""
    styles, errors = family_styles(results), random_errors(results)
    compared = {name: pair for name, pair in errors.items() if pair[0] != name} or dict([next(iter(errors.items()))])
    axes = panels(figure, len(compared), width=4.0, height=3.6)
    every = results.data["random_error"].values
    every = every[np.isfinite(every) & (every > 0)]
    low, high = (every.min() / 2, every.max() * 2) if every.size else (1e-6, 1.0)
    for panel, (name, (other, by_family)) in zip(axes, compared.items(), strict=True):
        colour = styles[name].colour
        for number, (family, (own, theirs)) in enumerate(by_family.items()):
            x, y = (np.where(np.isfinite(values), values, high) for values in (theirs, own))
            panel.scatter(
                x, y, s=14, marker=("o", "s", "^", "D")[number % 4], facecolors="none" if number else None,
                edgecolors=colour, color=colour if not number else None, linewidths=0.8, label=family, alpha=0.8,
            )  # fmt: skip
        panel.plot([low, high], [low, high], color="black", linewidth=0.8)
        panel.set(xscale="log", yscale="log", xlim=(low, high * 1.1), ylim=(low, high * 1.1), aspect="equal")
        panel.set_xlabel(f"{axis_label(results.error)} of {other}")
        panel.set_ylabel(f"of {name}")
        panel.set_title("below the line: better", fontsize=9)
        panel.legend(fontsize=7, loc="upper left")


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


def _draw(results: Results, figure: Figure, *, errors: bool = False) -> None:
    """The first primitive variable at the end: rows are initial conditions, columns methods, the solution last.

    ``errors``: the difference to the solution instead. Grey: the simulation has diverged.
    """
    names, shown = {name: look["label"] for name, look in drawn(results).items()}, kept(results)
    columns = names if errors else {**names, SOLUTION: SOLUTION}
    figure.set_size_inches(max(1.9 * len(columns) + 1.0, 5.0), 2.0 * len(shown) + 0.6)
    grid = figure.subplots(len(shown), len(columns), squeeze=False)
    for row, (initial, snapshots) in enumerate(shown.items()):
        pictures = {name: snapshots.states[name][-1, 0] for name in columns}
        exact = snapshots.states[SOLUTION][-1, 0]
        if errors:
            pictures = {name: picture - exact for name, picture in pictures.items()}
            sizes = [np.nanquantile(np.abs(p), 0.995) for p in pictures.values() if np.isfinite(p).any()]
            size = max(float(np.median(sizes)) if sizes else 1.0, ROUNDING * size_of(exact), 1e-12)
            scale, colours = Normalize(-size, size), colour_map("RdBu_r")
        else:
            scale, colours = Normalize(float(exact.min()), float(exact.max())), colour_map("viridis")
        for axes, (name, picture) in zip(grid[row], pictures.items(), strict=True):
            draw_picture(axes, picture, scale, colours, "lower")
            if row == 0:
                axes.set_title(columns[name], fontsize=10)
        grid[row, 0].set_ylabel(initial, fontsize=9)
        bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(grid[row]), fraction=0.03, pad=0.01)
        bar.outline.set_visible(False)
    figure.suptitle(f"{results.components[0]}, {'difference to the solution' if errors else 'at the end'}", fontsize=11)


planes = figure(
    "planes", problems=PLANES, needs=NEEDS, section=SECTION, order=0, caption="The field at the end. Grey: diverged."
)(_draw)
plane_errors = figure(
    "plane_errors", problems=PLANES, needs=NEEDS, section=SECTION, order=1,
    caption="Difference to the solution at the end.",
)(partial(_draw, errors=True))  # fmt: skip


@figure(
    "plane_animation", problems=PLANES, needs=NEEDS, section=SECTION, order=5, ending=".gif",
    caption="The field over time.",
    variants=lambda results: {f"-{file_name(each)}": {"initial": each} for each in kept(results)},
)  # fmt: skip
def plane_animation(results: Results, *, initial: str) -> bytes:
    """The first primitive variable of all methods and the solution from one initial condition, as a GIF."""
    snapshots = snapshots_of(results, initial)
    pictures = {results.family(n) if n != SOLUTION else n: states[:, 0] for n, states in snapshots.states.items()}
    exact = snapshots.states[SOLUTION][:, 0]
    scale = Normalize(float(exact.min()), max(float(exact.max()), float(exact.min()) + 1e-300))
    frames = [
        picture_of(f"{initial}, t = {time:.3f}", {name: p[moment] for name, p in pictures.items()}, scale, SHADES)
        for moment, time in enumerate(snapshots.times)
    ]
    return gif(frames, SHADES, 0.15)
