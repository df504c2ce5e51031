"""Error against cost."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from closura.evaluation.metrics import spread
from closura.evaluation.results import Evaluation
from closura.evaluation.style import (
    figure_settings,
    figure_title,
    finish,
    new_figure,
    plain_log_axis,
    styles_of,
)


def cost_scatter(evaluation: Evaluation, path: str | Path | None = None) -> Figure:
    """Error at the last step against the cost of a step, both logarithmic: down and left is better.

    Means and standard deviations; a method with diverged simulations is drawn hollow at the mean of the
    finite ones and says so. The truth has no error: its cost is a vertical line.

    Raises
    ------
    ValueError
        If no method has both a time and a finite error.
    """
    styles, points = styles_of(evaluation), cost_points(evaluation)
    if not points:
        raise ValueError("no method has both a positive time per step and a finite error; nothing to draw")
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
        # Set beforehand: a single value would leave a logarithmic axis without an extent.
        costs, truth = [cost for _, cost, *_ in points], evaluation.truth
        true_cost = np.nan if truth is None else evaluation.methods[truth].milliseconds_per_step
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
                label=f"{name} ({lost} of {evaluation.simulations} diverged)" if lost else name,
            )
        if truth is not None and len(costs) > len(points):
            axes.axvline(true_cost, color=styles[truth].colour, linewidth=1.4, label=f"{truth} (the truth)")
        plain_log_axis(axes, "x")
        plain_log_axis(axes, "y")
        axes.set_xlabel("time per coarse step (ms)")
        axes.set_ylabel(f"{evaluation.error_name} (%) at {evaluation.moment(evaluation.steps)}")
        axes.set_title(figure_title(evaluation, "mean ± standard deviation"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish(figure, path)


def cost_points(evaluation: Evaluation) -> list[tuple[str, float, float, float, int]]:
    """Method, milliseconds per step, mean and standard deviation (%) of finite errors, diverged ones."""
    points = []
    for name in evaluation.judged:
        method = evaluation.methods[name]
        error = spread(method.error[:, -1])
        cost, value = method.milliseconds_per_step, 100 * float(error["mean_of_finite"])
        if np.isfinite(cost) and cost > 0 and np.isfinite(value) and value > 0:
            points.append((name, cost, value, 100 * float(error["std_of_finite"]), int(error["not_finite"])))
    return points
