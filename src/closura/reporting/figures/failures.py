"""Where methods fail: simulations lost by each step, and errors in groups of simulations, one by one."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from closura.core import Results
from closura.reporting.figure import figure
from closura.reporting.figures.curves import has_times
from closura.reporting.numbers import group_names
from closura.reporting.style import (
    axis_label,
    figure_title,
    plain_log_axis,
    step_axis,
    styles_of,
)


@figure(
    "divergence", caption="Simulations that have diverged.", order=26, needs=("time",),
    when=lambda results: has_times(results) and any(results.diverged(name) for name in results.compared),
)  # fmt: skip
def divergence_curves(results: Results, figure: Figure) -> None:
    """How many simulations have diverged by each step: those lost stay lost."""
    lost = {name: results.diverged_at(name) for name in results.compared}
    lost = {name: at for name, at in lost.items() if (at >= 0).any()}
    if not lost:
        raise ValueError("no simulation diverged; nothing to draw")
    styles, steps = styles_of(results), np.arange(results.steps + 1)
    figure.set_size_inches(6.4, 3.4)
    axes = figure.add_subplot()
    for name, at in lost.items():
        count = ((at[:, None] >= 0) & (at[:, None] <= steps)).sum(axis=0)
        style = styles[name]
        axes.step(steps, count, where="post", color=style.colour, linestyle=style.line, linewidth=2, label=name)
    axes.set_ylim(0, None)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    step_axis(axes, results)
    axes.set_ylabel(f"diverged, of {results.simulations}")
    axes.set_title(figure_title(results, "simulations lost by then; methods without losses are left out"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


@figure("groups", caption="Every simulation at the last step, by group: the failures too.", order=25, needs=("group",))
def group_errors(results: Results, figure: Figure) -> None:
    """Relative error at the last step of every simulation, by group and method, logarithmic; bars are medians.

    Errors that are not finite, or larger than a thousand times all there is, are crosses at the right edge.
    """
    groups = group_names(results)
    if not groups:
        raise ValueError("simulations do not fall into groups; nothing to draw")
    styles, names, member = styles_of(results), results.compared, np.asarray(results.groups)
    unit = 100.0 if results.error.percent else 1.0
    errors = {name: unit * results.errors(name)[:, -1] for name in names}
    usual = np.concatenate([values[np.isfinite(values) & (values > 0)] for values in errors.values()])
    smallest = float(usual.min()) if usual.size else 0.1
    largest = min(float(usual.max()), 1e5) if usual.size else 100.0
    ceiling, width = 2.5 * largest, 0.8 / len(names)
    figure.set_size_inches(6.4, 1.3 + 0.11 * len(groups) * (len(names) + 2))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    for number, name in enumerate(names):
        style, label = styles[name], name
        for place, group in enumerate(groups):
            values = errors[name][member == group]
            at = place - 0.4 + (number + 0.5) * width
            spread = width * np.linspace(-0.3, 0.3, len(values)) if len(values) > 1 else np.zeros(len(values))
            lost = ~(values <= largest)
            axes.plot(
                np.maximum(values[~lost], smallest), at + spread[~lost], color=style.colour, marker=style.marker,
                markersize=3, alpha=0.6, linestyle="none", label=label,
            )  # fmt: skip
            axes.plot(
                np.full(lost.sum(), largest * 1.7), at + spread[lost], color=style.colour, marker="x",
                linestyle="none",
            )  # fmt: skip
            median = float(np.median(np.where(np.isfinite(values), values, np.inf)))
            level = min(max(median, smallest), ceiling)
            axes.plot([level, level], [at - 0.45 * width, at + 0.45 * width], color=style.colour, linewidth=2.2)
            label = "_nolegend_"
    if results.error.percent:
        axes.axvline(100.0, color="#CC3311", linewidth=0.8, linestyle=":")
    axes.set_xlim(0.6 * smallest, ceiling)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    for place in range(1, len(groups)):
        axes.axhline(place - 0.5, color="#dddddd", linewidth=0.6)
    labels = [f"{group} (n = {int(np.sum(member == group))})" for group in groups]
    axes.set_yticks(range(len(groups)), labels, fontsize=9)
    axes.grid(visible=False, axis="y")
    plain_log_axis(axes, "x")
    axes.set_xlabel(axis_label(results.error))
    axes.set_title(figure_title(results, f"{results.moment(results.steps)}; bars: medians, ×: diverged"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
