"""Curves against the step: errors, and errors of what should be conserved."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.evaluation.metrics import mean_per_step, quantile_per_step, std_per_step
from closura.evaluation.published_curves import STEPS, PublishedCurves, published_curves
from closura.evaluation.results import Evaluation
from closura.evaluation.style import (
    MethodStyle,
    figure_settings,
    figure_title,
    finish,
    new_figure,
    plain_log_axis,
    step_axis,
    styles_of,
)

PUBLISHED_COLOURS = {"CGS": "#CC3311", "ACGS": "#EE7733", "Closure-RL": "#000000"}
"""Published numbers are hollow marks in the colours of the methods; the published closure is black."""


def error_curves(
    evaluation: Evaluation,
    path: str | Path | None = None,
    *,
    median: bool = False,
    initial: bool = False,
    trained_steps: int | None = None,
) -> Figure:
    """Relative error against the step, logarithmic.

    Closure-RL, Fig. 2 left (mean, band of one standard deviation) and Fig. 4 left (``median=True``, band from
    the lower to the upper quartile); the published numbers are marked where the evaluation repeats them. A mean
    line ends with a cross where a simulation diverged, because the mean is infinite from there on. ``initial``
    refers errors to the initial field instead of the field at the same time; ``trained_steps`` shades the steps
    that training saw.

    Raises
    ------
    ValueError
        If ``initial`` is asked for and the evaluation does not know the size of the initial field.
    """
    arrays = {}
    for name in evaluation.judged:
        error = evaluation.initial_error(name) if initial else evaluation.methods[name].error
        if error is None:
            raise ValueError("errors cannot be referred to the initial field: the evaluation has no scale")
        arrays[name] = 100 * error
    found = None if initial else published_curves(evaluation)
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        _curves(axes, evaluation, arrays, median=median, trained_steps=trained_steps)
        if found is not None and (found.centre == "median") == median:
            _published(axes, evaluation, found)
        if not initial:
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
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        name = evaluation.error_name.removeprefix("relative ")
        what = "median and quartiles" if median else "mean ± standard deviation"
        axes.set_ylabel(f"{name} relative to the initial field (%)" if initial else f"{evaluation.error_name} (%)")
        axes.set_title(figure_title(evaluation, what))
        return finish(figure, path)


def mass_error_curves(evaluation: Evaluation, path: str | Path | None = None, *, median: bool = False) -> Figure:
    """Absolute relative error of the conserved quantity against the step, logarithmic.

    Raises
    ------
    ValueError
        If no method has one.
    """
    arrays = {}
    for name in evaluation.judged:
        mass_error = evaluation.methods[name].mass_error
        if mass_error is not None:
            # Rounding level and exact zero look the same to a reader; a logarithm needs a floor.
            arrays[name] = 100 * np.maximum(np.abs(mass_error), 1e-16)
    if not arrays:
        raise ValueError(f"no method has a {evaluation.quantity} error; nothing to draw")
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        _curves(axes, evaluation, arrays, median=median, shading=0.07)
        axes.set_ylabel(f"|relative {evaluation.quantity} error| (%)")
        axes.set_title(figure_title(evaluation, "median and quartiles" if median else "mean ± standard deviation"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish(figure, path)


def _published(axes: Axes, evaluation: Evaluation, found: PublishedCurves) -> None:
    for name, error in found.error.items():
        shown = [index for index, step in enumerate(STEPS) if step <= evaluation.steps]
        std = found.std.get(name)
        axes.errorbar(
            [STEPS[index] for index in shown],
            [error[index] for index in shown],
            yerr=None if std is None else [std[index] for index in shown],
            color=PUBLISHED_COLOURS[name],
            linestyle="none",
            marker="D",
            markerfacecolor="none",
            markersize=6,
            elinewidth=0.8,
            capsize=2,
            zorder=5,
            label=f"{name}, published",
        )
    low, high = axes.get_ylim()
    values = [value for error in found.error.values() for value in error[: len(shown)]]
    axes.set_ylim(min([low, *(0.8 * value for value in values)]), max([high, *(1.25 * value for value in values)]))


def _curves(
    axes: Axes,
    evaluation: Evaluation,
    arrays: Mapping[str, np.ndarray],
    *,
    median: bool,
    trained_steps: int | None = None,
    shading: float = 0.13,
) -> None:
    styles, steps = styles_of(evaluation), np.arange(1, evaluation.steps + 1)
    axes.set_yscale("log")
    if trained_steps is not None:
        shaded = min(trained_steps, evaluation.steps)
        axes.axvspan(0, shaded, color="#f2f2f2", zorder=0, label="longest rollout in training")
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
        draw_line(axes, steps, centre, style, name)
        # A band that reaches zero or infinity is cut at the edge of the picture, not left out.
        floor, ceiling = 1e-3 * centre, 1e3 * centre
        low = np.where(np.isfinite(low) & (low > floor), low, floor)
        high = np.where(np.isfinite(high) & (high < ceiling), high, ceiling)
        axes.fill_between(steps, low, high, where=visible, color=style.colour, alpha=shading, linewidth=0)
        smallest = min(smallest, float(np.nanmin(centre)))
        largest = max(largest, float(np.nanmax(centre)), float(np.max(high[visible & (high < ceiling)], initial=0)))
    if np.isfinite(smallest):
        axes.set_ylim(0.6 * smallest, 1.6 * max(min(largest, 1e4), 2 * smallest))
    step_axis(axes, evaluation)
    plain_log_axis(axes)


def draw_line(
    axes: Axes, steps: np.ndarray, values: np.ndarray, style: MethodStyle, name: str, *, thin: bool = False
) -> None:
    """One line, with a cross where it ends early."""
    axes.plot(
        steps,
        values,
        color=style.colour,
        linestyle=":" if thin else style.line,
        linewidth=1.2 if thin else style.width,
        marker="o" if len(steps) < 4 else None,
        label=name,
        zorder=3,
    )
    shown = np.flatnonzero(np.isfinite(values))
    if shown.size and shown[-1] < len(steps) - 1:
        last = shown[-1]
        axes.plot(steps[last], values[last], color=style.colour, marker="x", markersize=9, zorder=4)
