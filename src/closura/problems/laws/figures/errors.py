"""Figures over several simulations: convergence, random initial conditions."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from closura.core import Results
from closura.metrics.statistics import geometric_mean
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.random_conditions import random_errors
from closura.reporting.figure import figure
from closura.reporting.style import MethodStyle, axis_label, common_legend, panels, styles_of

GUIDES = {1: "", 3: "³", 5: "⁵"}
"""Orders of the guide lines, as powers."""


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
