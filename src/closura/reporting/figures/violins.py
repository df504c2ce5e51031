"""How long methods stay accurate: the distribution over simulations."""

import textwrap
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import violin_stats
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.stats import gaussian_kde

from closura.core import Results
from closura.metrics.statistics import steps_below_threshold
from closura.reporting.figure import figure
from closura.reporting.figures.curves import PUBLISHED_COLOURS, has_times
from closura.reporting.published_curves import published_curves
from closura.reporting.style import (
    MethodStyle,
    amount,
    figure_title,
    plain_log_axis,
    steps_and_time,
    styles_of,
)


@figure(
    "steps_below_threshold", caption="Steps that simulations stay below the threshold; medians written.",
    needs=("time",), when=lambda results: has_times(results) and results.attribute("threshold") is not None, order=20,
)  # fmt: skip
def steps_below_threshold_violins(results: Results, figure: Figure, *, published: bool = False) -> None:
    """Distribution over simulations of the steps below the threshold, logarithmic, medians written.

    Closure-RL, Fig. 2 and 4 right. The density is estimated in the logarithm; 0 steps are drawn at 0.5. Where
    the evaluation repeats a published figure with its threshold, the published median, smallest and largest
    number stand beside the violin of the method, those of the published closure at the end.
    """
    styles, names = styles_of(results), list(results.compared)
    found = published_curves(results)
    beside = found.low_error_steps if found and found.threshold == results.attribute("threshold") else {}
    places = [*names, *(name for name in beside if name not in names)]
    smallest = np.inf
    figure.set_size_inches(max(4.2, 1.5 + 0.95 * len(places)), 4.2)
    axes = figure.add_subplot()
    axes.set_yscale("log")
    for position, name in enumerate(names):
        count, censored = steps_below_threshold(
            results.errors(name), results.attribute("threshold"), published=published
        )
        drawn = np.maximum(count.astype(np.float64), 0.5)
        smallest = min(smallest, float(drawn.min()))
        _violin(axes, position, drawn, styles[name])
        median = float(np.median(count))
        axes.annotate(
            f"{median:g}",
            (position, max(median, 0.5)),
            xytext=(9, -9 if median > 0.9 * results.steps else 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            fontweight="bold",
            bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
        if censored.any() and not published:
            axes.annotate(
                f"{int(censored.sum())} never above",
                (position, results.steps),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="#444444",
            )
    for number, (name, steps) in enumerate(beside.items()):
        at = places.index(name) + (0.36 if name in names else 0.0)
        values = [max(0.5, count) for count in steps]
        smallest = min(smallest, values[1])
        axes.plot([at, at], values[1:], color=PUBLISHED_COLOURS[name], linewidth=1.0)
        label = "published median, smallest, largest" if number == 0 else None
        axes.plot(
            at, values[0], color=PUBLISHED_COLOURS[name], marker="D", markerfacecolor="white", linestyle="none",
            markersize=7, label=label,
        )  # fmt: skip
        axes.annotate(
            f"{steps.median}", (at, values[0]), xytext=(7, 0), textcoords="offset points", va="center", fontsize=8
        )
    if beside:
        axes.legend(loc="lower right", fontsize=8)
    axes.axhline(results.steps, color="#444444", linewidth=0.8, linestyle=":")
    axes.set_ylim(max(0.4, 0.6 * smallest), results.steps * 1.6)
    axes.set_xlim(-0.6, len(places) - 0.4)
    labels = [textwrap.fill(name if name in names else f"{name} published", 11) for name in places]
    axes.set_xticks(range(len(places)), labels, fontsize=9)
    axes.grid(visible=False, axis="x")
    plain_log_axis(axes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == 0.5 else f"{value:g}"))
    time_axis(axes, results)
    axes.set_ylabel(f"steps with {results.error.title} ≤ {amount(results.error, results.attribute('threshold'))}")
    axes.set_title(figure_title(results, "medians written"))


def time_axis(axes: Axes, results: Results) -> None:
    """Physical time on the right of an axis of steps."""
    time = axes.secondary_yaxis("right", functions=steps_and_time(results))
    time.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    time.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    time.yaxis.set_minor_formatter(NullFormatter())
    time.set_ylabel("time t", fontsize=9)
    time.tick_params(labelsize=8, colors="#444444")


def _violin(axes: Axes, position: int, values: np.ndarray, style: MethodStyle) -> None:
    logarithm = np.log10(values)
    # A kernel density needs a spread: draw a bar where all simulations agree.
    if np.ptp(logarithm) < 1e-9:
        axes.plot([position - 0.25, position + 0.25], [values[0]] * 2, color=style.colour, linewidth=3)
        return
    statistics = violin_stats(logarithm, lambda values, at: gaussian_kde(values)(at))[0]
    for key in ("coords", "mean", "median", "min", "max"):
        statistics[key] = 10 ** np.asarray(statistics[key])
    parts = axes.violin([statistics], [position], widths=0.7, showextrema=True, showmedians=True)
    for body in cast("list[PolyCollection]", parts["bodies"]):
        body.set_facecolor(style.colour)
        body.set_edgecolor(style.colour)
        body.set_alpha(0.35)
    for key in ("cbars", "cmins", "cmaxes", "cmedians"):
        parts[key].set_color(style.colour)
        parts[key].set_linewidth(2.2 if key == "cmedians" else 1.0)
