"""Methods side by side at one moment: low-error steps, and error against cost."""

import textwrap
from pathlib import Path
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import violin_stats
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from closura.evaluation.metrics import spread, steps_below_threshold
from closura.evaluation.results import Evaluation
from closura.evaluation.style import (
    MethodStyle,
    figure_settings,
    figure_title,
    finish,
    method_styles,
    new_figure,
    plain_log_axis,
)


def steps_below_threshold_violins(
    evaluation: Evaluation, path: str | Path | None = None, *, published: bool = False
) -> Figure:
    """Distribution over simulations of the steps below the threshold, logarithmic, medians written.

    Closure-RL, Fig. 2 and 4 right. The density is estimated in the logarithm; 0 steps are drawn at 0.5.
    """
    styles, names = method_styles(evaluation.methods), list(evaluation.judged)
    smallest = np.inf
    with figure_settings():
        figure = new_figure(max(4.2, 1.5 + 0.95 * len(names)), 4.2)
        axes = figure.add_subplot()
        axes.set_yscale("log")
        for position, name in enumerate(names):
            count, censored = steps_below_threshold(
                evaluation.methods[name].error, evaluation.threshold, published=published
            )
            drawn = np.maximum(count.astype(np.float64), 0.5)
            smallest = min(smallest, float(drawn.min()))
            _violin(axes, position, drawn, styles[name])
            median = float(np.median(count))
            axes.annotate(
                f"{median:g}",
                (position, max(median, 0.5)),
                xytext=(9, -9 if median > 0.9 * evaluation.steps else 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                fontweight="bold",
                bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            )
            if censored.any() and not published:
                axes.annotate(
                    f"{int(censored.sum())} never above",
                    (position, evaluation.steps),
                    xytext=(0, 5),
                    textcoords="offset points",
                    ha="center",
                    fontsize=8,
                    color="#444444",
                )
        axes.axhline(evaluation.steps, color="#444444", linewidth=0.8, linestyle=":")
        axes.set_ylim(max(0.4, 0.6 * smallest), evaluation.steps * 1.6)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks(range(len(names)), [textwrap.fill(name, 11) for name in names], fontsize=9)
        axes.grid(visible=False, axis="x")
        plain_log_axis(axes)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value == 0.5 else f"{value:g}"))
        axes.set_ylabel(f"steps with relative MAE ≤ {100 * evaluation.threshold:g} %")
        axes.set_title(figure_title(evaluation, "medians written"))
        return finish(figure, path)


def cost_scatter(evaluation: Evaluation, path: str | Path | None = None) -> Figure:
    """Error at the last step against the cost of a step, both logarithmic: down and left is better.

    Means and standard deviations; a method with diverged simulations is drawn hollow at the mean of the
    finite ones and says so. The truth has no error: its cost is a vertical line.

    Raises
    ------
    ValueError
        If no method has both a time and a finite error.
    """
    styles, points = method_styles(evaluation.methods), cost_points(evaluation)
    if not points:
        raise ValueError("no method has both a positive time per step and a finite error; nothing to draw")
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log")
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
        truth = evaluation.truth
        costs = [cost for _, cost, *_ in points]
        if truth is not None:
            cost = evaluation.methods[truth].milliseconds_per_step
            if np.isfinite(cost) and cost > 0:
                axes.axvline(cost, color=styles[truth].colour, linewidth=1.4, label=f"{truth} (the truth)")
                costs.append(cost)
        axes.set_xlim(min(costs) / 2, max(costs) * 2)
        plain_log_axis(axes, "x")
        plain_log_axis(axes, "y")
        axes.set_xlabel("time per coarse step (ms)")
        axes.set_ylabel(f"relative MAE at step {evaluation.steps} (%)")
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


def _violin(axes: Axes, position: int, values: np.ndarray, style: MethodStyle) -> None:
    logarithm = np.log10(values)
    # A kernel density needs a spread: draw a bar where all simulations agree.
    if np.ptp(logarithm) < 1e-9:
        axes.plot([position - 0.25, position + 0.25], [values[0]] * 2, color=style.colour, linewidth=3)
        return
    statistics = violin_stats(logarithm, _gaussian_density)[0]
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


def _gaussian_density(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Gaussian kernel density with Scott's width."""
    width = max(float(values.std(ddof=1)) * len(values) ** -0.2, 1e-3)
    kernel = np.exp(-0.5 * ((at[:, None] - values[None, :]) / width) ** 2)
    return np.asarray(kernel.mean(axis=1) / (width * np.sqrt(2 * np.pi)))
