"""Curves against the step: errors, errors of what should be conserved, improvement on the coarse solver."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Results
from closura.core.metric import CONSERVATION
from closura.metrics.comparison import improvement_per_simulation
from closura.metrics.statistics import mean_per_step, quantile_per_step, std_per_step
from closura.reporting.figure import figure
from closura.reporting.published_curves import STEPS, published_curves
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
        low, high = axes.get_ylim()
        values = _published(axes, results, found.error, found.std)
        axes.set_ylim(min([low, *(0.8 * value for value in values)]), max([high, *(1.25 * value for value in values)]))
    if not initial and threshold is not None:
        axes.axhline(unit * threshold, color="#444444", linewidth=0.8, linestyle=":")
        _note(axes, amount(results.error, threshold), unit * threshold, 3, "#444444")
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
    """Absolute relative error of the conserved quantity against the step, logarithmic."""
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


@figure(
    "improvement", caption="Improvement on the uncorrected solver; faint lines are single simulations.", order=10,
    needs=("time",), when=lambda results: has_times(results) and len(results.compared) > 1,
)  # fmt: skip
def improvement_curves(results: Results, figure: Figure) -> None:
    """Improvement on the baseline against the step: the mean over simulations of (CGS - x) / CGS, in percent.

    Closure-RL, Fig. 2 and 4 middle, with the opposite sign: up is better; its numbers are marked where the
    evaluation repeats them. The first 30 simulations of each closure are drawn faintly. A closure
    that corrects another solver has a dotted line of its improvement on that one.
    """
    names = [name for name in results.compared if name != results.uncorrected]
    if not names:
        raise ValueError(f"no method to compare with the baseline {results.uncorrected}; nothing to draw")
    styles, steps = styles_of(results), np.arange(1, results.steps + 1)
    lines = [(name, results.uncorrected) for name in names]
    lines += [(n, results.corrects(n)) for n in results.closures if results.corrects(n) != results.uncorrected]
    axes = figure.add_subplot()
    lowest = -20.0
    for name, other in lines:
        style, own = styles[name], other != results.uncorrected
        ratio = 100 * improvement_per_simulation(results, name, other)[:, 1:]
        ratio = np.where(np.isfinite(ratio), ratio, np.nan)
        if name in results.closures and not own:
            axes.plot(steps, ratio[:30].T, color=style.colour, linewidth=0.5, alpha=0.3, zorder=1)
        complete = np.isfinite(ratio).all(axis=0)
        # From the first simulation that diverged on, the mean does not exist.
        mean = np.where(complete, np.where(np.isfinite(ratio), ratio, 0.0).mean(axis=0), np.nan)
        draw_line(axes, steps, mean, style, f"{name} on {other}" if own else name, thin=own)
        if np.isfinite(ratio).any():
            lowest = min(lowest, float(np.nanquantile(ratio, 0.02)))
    found = published_curves(results)
    if found:
        _published(axes, results, found.reduction)
    axes.axhline(0.0, color="#CC3311", linewidth=1.0)
    _note(axes, results.uncorrected, 0.0, -3, "#CC3311", below=True)
    axes.set_ylim(max(lowest, -105.0), 105.0)
    step_axis(axes, results)
    axes.set_ylabel(f"improvement on {results.uncorrected} (%), up is better")
    axes.set_title(figure_title(results, "mean over simulations, faint: single ones"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _note(axes: Axes, text: str, height: float, offset: int, colour: str, *, below: bool = False) -> None:
    """Words at the right end of a horizontal line."""
    axes.annotate(
        text, (1.0, height), xycoords=("axes fraction", "data"), xytext=(-2, offset), textcoords="offset points",
        ha="right", va="top" if below else "baseline", color=colour, fontsize=8,
    )  # fmt: skip


def _published(
    axes: Axes,
    results: Results,
    values: Mapping[str, Sequence[float]],
    std: Mapping[str, Sequence[float]] | None = None,
) -> list[float]:
    """Hollow marks at published numbers, as far as was simulated; returns these numbers."""
    count = sum(step <= results.steps for step in STEPS)
    for name, numbers in values.items():
        spread = (std or {}).get(name)
        axes.errorbar(
            STEPS[:count], numbers[:count], yerr=None if spread is None else spread[:count],
            color=PUBLISHED_COLOURS[name], linestyle="none", marker="D", markerfacecolor="none", markersize=6,
            elinewidth=0.8, capsize=2, zorder=5, label=f"{name}, published",
        )  # fmt: skip
    return [number for numbers in values.values() for number in numbers[:count]]


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
