"""Curves against the step: errors, mass errors, improvement on the coarse solver."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.evaluation.metrics import (
    improvement_per_simulation,
    mean_per_step,
    quantile_per_step,
    std_per_step,
)
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


def error_curves(
    evaluation: Evaluation,
    path: str | Path | None = None,
    *,
    median: bool = False,
    trained_steps: int | None = None,
) -> Figure:
    """Relative mean absolute error against the step, logarithmic.

    Closure-RL, Fig. 2 left (mean, band of one standard deviation) and Fig. 4 left (``median=True``, band from
    the lower to the upper quartile). A mean line ends with a cross where a simulation diverged, because the
    mean is infinite from there on. ``trained_steps`` shades the steps that training saw.
    """
    arrays = {name: 100 * evaluation.methods[name].error for name in evaluation.judged}
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        _curves(axes, evaluation, arrays, median=median, trained_steps=trained_steps)
        axes.axhline(100 * evaluation.threshold, color="#444444", linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{100 * evaluation.threshold:g} %",
            (1.0, 100 * evaluation.threshold),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color="#444444",
            fontsize=8,
        )
        what = "median and quartiles" if median else "mean ± standard deviation"
        axes.set_ylabel("relative MAE (%)")
        axes.set_title(figure_title(evaluation, what))
        return finish(figure, path)


def mass_error_curves(evaluation: Evaluation, path: str | Path | None = None, *, median: bool = False) -> Figure:
    """Absolute relative error of the total of the field against the step, logarithmic.

    Raises
    ------
    ValueError
        If no method has a mass error.
    """
    arrays = {}
    for name in evaluation.judged:
        mass_error = evaluation.methods[name].mass_error
        if mass_error is not None:
            # Rounding level and exact zero look the same to a reader; a logarithm needs a floor.
            arrays[name] = 100 * np.maximum(np.abs(mass_error), 1e-16)
    if not arrays:
        raise ValueError("no method has a mass error; nothing to draw")
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        _curves(axes, evaluation, arrays, median=median, shading=0.07)
        axes.set_ylabel("|relative mass error| (%)")
        axes.set_title(figure_title(evaluation, "median and quartiles" if median else "mean ± standard deviation"))
        return finish(figure, path)


def improvement_curves(evaluation: Evaluation, path: str | Path | None = None, *, individuals: int = 30) -> Figure:
    """Improvement on the baseline against the step: the mean over simulations of (CGS - x) / CGS, in percent.

    Closure-RL, Fig. 2 and 4 middle, with the opposite sign: up is better. The first ``individuals``
    simulations of each closure are drawn faintly.

    Raises
    ------
    ValueError
        If there is nothing beside the baseline.
    """
    names = [name for name in evaluation.judged if name != evaluation.baseline]
    if not names:
        raise ValueError(f"no method to compare with the baseline {evaluation.baseline}; nothing to draw")
    styles, steps = method_styles(evaluation.methods), np.arange(1, evaluation.steps + 1)
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        lowest = -20.0
        for name in names:
            style = styles[name]
            ratio = 100 * improvement_per_simulation(evaluation, name)[:, 1:]
            ratio = np.where(np.isfinite(ratio), ratio, np.nan)
            if name in evaluation.closures:
                axes.plot(steps, ratio[:individuals].T, color=style.colour, linewidth=0.5, alpha=0.3, zorder=1)
            complete = np.isfinite(ratio).all(axis=0)
            # From the first simulation that diverged on, the mean does not exist.
            mean = np.where(complete, np.where(np.isfinite(ratio), ratio, 0.0).mean(axis=0), np.nan)
            _line(axes, steps, mean, style, name)
            if np.isfinite(ratio).any():
                lowest = min(lowest, float(np.nanquantile(ratio, 0.02)))
        axes.axhline(0.0, color="#CC3311", linewidth=1.0)
        axes.annotate(
            evaluation.baseline,
            (1.0, 0.0),
            xycoords=("axes fraction", "data"),
            xytext=(-2, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            color="#CC3311",
            fontsize=8,
        )
        axes.set_ylim(max(lowest, -105.0), 105.0)
        _step_axis(axes, evaluation)
        axes.set_ylabel(f"improvement on {evaluation.baseline} (%), up is better")
        axes.set_title(figure_title(evaluation, "mean over simulations, faint: single ones"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish(figure, path)


def _curves(
    axes: Axes,
    evaluation: Evaluation,
    arrays: Mapping[str, np.ndarray],
    *,
    median: bool,
    trained_steps: int | None = None,
    shading: float = 0.13,
) -> None:
    styles, steps = method_styles(evaluation.methods), np.arange(1, evaluation.steps + 1)
    axes.set_yscale("log")
    if trained_steps is not None:
        shaded = min(trained_steps, evaluation.steps)
        axes.axvspan(0, shaded, color="#f2f2f2", zorder=0, label="seen in training")
    smallest, largest = np.inf, 0.0
    for name, array in arrays.items():
        style, values = styles[name], array[:, 1:]
        if median:
            centre, low, high = (quantile_per_step(values, quantile) for quantile in (0.5, 0.25, 0.75))
        else:
            centre, std = mean_per_step(values), std_per_step(values)
            with np.errstate(invalid="ignore"):
                low, high = centre - std, centre + std
        visible = np.isfinite(centre) & (centre > 0)
        if not visible.any():
            continue
        centre = np.where(visible, centre, np.nan)
        _line(axes, steps, centre, style, name)
        # A band that reaches zero or infinity is cut at the edge of the picture, not left out.
        floor, ceiling = 1e-3 * centre, 1e3 * centre
        low = np.where(np.isfinite(low) & (low > floor), low, floor)
        high = np.where(np.isfinite(high) & (high < ceiling), high, ceiling)
        axes.fill_between(steps, low, high, where=visible, color=style.colour, alpha=shading, linewidth=0)
        smallest = min(smallest, float(np.nanmin(centre)))
        largest = max(largest, float(np.nanmax(centre)), float(np.max(high[visible & (high < ceiling)], initial=0)))
    if np.isfinite(smallest):
        axes.set_ylim(0.6 * smallest, 1.6 * max(min(largest, 1e4), 2 * smallest))
    _step_axis(axes, evaluation)
    plain_log_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _line(axes: Axes, steps: np.ndarray, values: np.ndarray, style: MethodStyle, name: str) -> None:
    """One line, with a cross where it ends early."""
    marker = "o" if len(steps) < 4 else None
    axes.plot(
        steps,
        values,
        color=style.colour,
        linestyle=style.line,
        linewidth=style.width,
        marker=marker,
        label=name,
        zorder=3,
    )
    shown = np.flatnonzero(np.isfinite(values))
    if shown.size and shown[-1] < len(steps) - 1:
        last = shown[-1]
        axes.plot(steps[last], values[last], color=style.colour, marker="x", markersize=9, zorder=4)


def _step_axis(axes: Axes, evaluation: Evaluation) -> None:
    axes.set_xlim(0, evaluation.steps)
    axes.set_xlabel(f"coarse step (Δt = {evaluation.time_step:g})")
