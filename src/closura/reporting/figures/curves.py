"""Curves against the step: errors, and errors of what should be conserved."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Results
from closura.metrics.statistics import mean_per_step, quantile_per_step, std_per_step
from closura.reporting.figure import figure
from closura.reporting.numbers import CONSERVATION
from closura.reporting.published_curves import STEPS, PublishedCurves, published_curves
from closura.reporting.style import (
    MethodStyle,
    amount,
    axis_label,
    figure_title,
    plain_log_axis,
    step_axis,
    styles_of,
)

PUBLISHED_COLOURS = {"CGS": "#CC3311", "ACGS": "#EE7733", "Closure-RL": "#000000"}
"""Published numbers are hollow marks in the colours of the methods; the published closure is black."""


def has_times(results: Results) -> bool:
    """Whether errors were measured at more than one time."""
    return results.steps > 0


def _draw_errors(
    results: Results, figure: Figure, *, median: bool = False, initial: bool = False, trained_steps: int | None = None
) -> None:
    """The metric that counts against the step, logarithmic.

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
    arrays, unit = {}, 100.0 if results.error.percent else 1.0
    for name in results.compared:
        error = results.relative_to_initial(name) if initial else results.errors(name)
        if error is None:
            raise ValueError("errors cannot be referred to the initial field, whose size is not among the results")
        arrays[name] = unit * error
    found = None if initial else published_curves(results)
    threshold = results.attribute("threshold")
    axes = figure.add_subplot()
    _curves(axes, results, arrays, median=median, trained_steps=trained_steps)
    if found is not None and (found.centre == "median") == median:
        _published(axes, results, found)
    if not initial and threshold is not None:
        axes.axhline(unit * threshold, color="#444444", linewidth=0.8, linestyle=":")
        axes.annotate(
            amount(results.error, threshold),
            (1.0, unit * threshold),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            color="#444444",
            fontsize=8,
        )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    name = results.error.title.removeprefix("relative ")
    what = "median and quartiles" if median else "mean ± standard deviation"
    axes.set_ylabel(f"{name} relative to the initial field (%)" if initial else axis_label(results.error))
    axes.set_title(figure_title(results, what))


_TIMES: dict[str, Any] = {"needs": ("time",), "when": has_times}

error_curves = figure(
    "error_curves", caption="Error against the step: mean and standard deviation.", order=0, **_TIMES
)(_draw_errors)

error_curves_median = figure(
    "error_curves_median", caption="The same with the median and the quartiles.", order=1, **_TIMES
)(partial(_draw_errors, median=True))

# The median: a mean that one simulation spoils says nothing about the decay of the field.
error_curves_initial = figure(
    "error_curves_initial", caption="Error relative to the initial field: median and quartiles.",
    order=2, needs=("time", "scale"), when=has_times,
)(partial(_draw_errors, median=True, initial=True))  # fmt: skip


@figure(
    "mass_error", caption="Relative error of what the equations conserve.", order=30, needs=("time", CONSERVATION),
    when=has_times,
)  # fmt: skip
def mass_error_curves(results: Results, figure: Figure, *, median: bool = False) -> None:
    """Absolute relative error of the conserved quantity against the step, logarithmic.

    Raises
    ------
    ValueError
        If no method has one.
    """
    arrays, quantity = {}, results.attribute("quantity", "mass")
    for name in results.compared:
        if results.has(CONSERVATION, name):
            mass_error = results.of(CONSERVATION, name)
            # Rounding level and exact zero look the same to a reader; a logarithm needs a floor.
            arrays[name] = 100 * np.maximum(np.abs(mass_error), 1e-16)
    if not arrays:
        raise ValueError(f"no method has a {quantity} error; nothing to draw")
    axes = figure.add_subplot()
    _curves(axes, results, arrays, median=median, shading=0.07)
    axes.set_ylabel(f"|relative {quantity} error| (%)")
    axes.set_title(figure_title(results, "median and quartiles" if median else "mean ± standard deviation"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _published(axes: Axes, results: Results, found: PublishedCurves) -> None:
    for name, error in found.error.items():
        shown = [index for index, step in enumerate(STEPS) if step <= results.steps]
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
    results: Results,
    arrays: Mapping[str, np.ndarray],
    *,
    median: bool,
    trained_steps: int | None = None,
    shading: float = 0.13,
) -> None:
    styles, steps = styles_of(results), np.arange(1, results.steps + 1)
    axes.set_yscale("log")
    if trained_steps is not None:
        shaded = min(trained_steps, results.steps)
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
    step_axis(axes, results)
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
