"""Error against cost."""

import numpy as np
from matplotlib.figure import Figure

from closura.core import Results
from closura.metrics.statistics import geometric_mean, spread
from closura.reporting.figure import figure
from closura.reporting.style import (
    axis_label,
    figure_title,
    plain_log_axis,
    styles_of,
)


@figure(
    "cost", caption="Error at the last step against the time of a step; down and left is better.", order=40,
    when=lambda results: bool(cost_points(results)),
)  # fmt: skip
def cost_scatter(results: Results, figure: Figure) -> None:
    """Error at the last step against the cost of a step, both logarithmic: down and left is better.

    Means and standard deviations; a method with diverged simulations is drawn hollow at the mean of the
    finite ones and says so. The reference has no error: its cost is a vertical line.
    """
    styles, points = styles_of(results), cost_points(results)
    if not points:
        raise ValueError("no method has both a positive time per step and a finite error; nothing to draw")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.set_yscale("log")
    # Set beforehand: a single value would leave a logarithmic axis without an extent.
    costs, reference = [cost for _, cost, *_ in points], results.reference
    true_cost = np.nan if reference is None else results.milliseconds(reference)
    if np.isfinite(true_cost) and true_cost > 0:
        costs.append(true_cost)
    axes.set_xlim(min(costs) / 2, max(costs) * 2)
    lowest = min(max(value - std, 0.05 * value) for _, _, value, std, _ in points)
    axes.set_ylim(lowest / 1.4, 1.4 * max(value + std for _, _, value, std, _ in points))
    for name, cost, value, std, lost in points:
        style = styles[name]
        low = min(std, 0.95 * value)
        axes.errorbar(
            cost,
            value,
            yerr=[[low], [std]],
            color=style.colour,
            marker=style.marker,
            markerfacecolor="white" if lost else style.colour,
            markersize=8,
            linestyle="none",
            elinewidth=1.2,
            capsize=3,
            label=f"{name} ({lost} of {results.simulations} diverged)" if lost else name,
        )
    if reference is not None and len(costs) > len(points):
        axes.axvline(true_cost, color=styles[reference].colour, linewidth=1.4, label=f"{reference} (the reference)")
    plain_log_axis(axes, "x")
    plain_log_axis(axes, "y")
    axes.set_xlabel("time per coarse step (ms)")
    axes.set_ylabel(f"{axis_label(results.error)} at {results.moment(results.steps)}")
    geometric = results.error.aggregate == "geometric"
    axes.set_title(figure_title(results, "geometric mean" if geometric else "mean ± standard deviation"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def cost_points(results: Results) -> list[tuple[str, float, float, float, int]]:
    """Method, milliseconds per step, mean and standard deviation of finite errors (in percent if shares), lost ones."""
    points, unit = [], 100.0 if results.error.percent else 1.0
    for name in results.compared:
        last = results.last(name)
        error, finite = spread(last), last[np.isfinite(last)]
        cost, value, std = results.milliseconds(name), float(error["mean_of_finite"]), float(error["std_of_finite"])
        if results.error.aggregate == "geometric":
            value, std = geometric_mean(finite), 0.0
        if np.isfinite(cost) and cost > 0 and np.isfinite(value) and value > 0:
            points.append((name, cost, unit * value, unit * std, int(error["not_finite"])))
    return points
