"""Improvement on the coarse solver against the step."""

import numpy as np
from matplotlib.figure import Figure

from closura.core import Results
from closura.metrics.comparison import improvement_per_simulation
from closura.reporting.figure import figure
from closura.reporting.figures.curves import PUBLISHED_COLOURS, draw_line, has_times
from closura.reporting.published_curves import STEPS, published_curves
from closura.reporting.style import figure_title, step_axis, styles_of


@figure(
    "improvement", caption="Improvement on the uncorrected solver; faint lines are single simulations.", order=10,
    needs=("time",), when=lambda results: has_times(results) and len(results.compared) > 1,
)  # fmt: skip
def improvement_curves(results: Results, figure: Figure, *, individuals: int = 30) -> None:
    """Improvement on the baseline against the step: the mean over simulations of (CGS - x) / CGS, in percent.

    Closure-RL, Fig. 2 and 4 middle, with the opposite sign: up is better; its numbers are marked where the
    evaluation repeats them. The first ``individuals`` simulations of each closure are drawn faintly. A closure
    that corrects another solver has a dotted line of its improvement on that one.

    Raises
    ------
    ValueError
        If there is nothing beside the baseline.
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
            axes.plot(steps, ratio[:individuals].T, color=style.colour, linewidth=0.5, alpha=0.3, zorder=1)
        complete = np.isfinite(ratio).all(axis=0)
        # From the first simulation that diverged on, the mean does not exist.
        mean = np.where(complete, np.where(np.isfinite(ratio), ratio, 0.0).mean(axis=0), np.nan)
        draw_line(axes, steps, mean, style, f"{name} on {other}" if own else name, thin=own)
        if np.isfinite(ratio).any():
            lowest = min(lowest, float(np.nanquantile(ratio, 0.02)))
    found = published_curves(results)
    for name, reduction in (found.reduction if found else {}).items():
        shown = [index for index, step in enumerate(STEPS) if step <= results.steps]
        axes.plot(
            [STEPS[index] for index in shown],
            [reduction[index] for index in shown],
            color=PUBLISHED_COLOURS[name],
            linestyle="none",
            marker="D",
            markerfacecolor="none",
            markersize=6,
            zorder=5,
            label=f"{name}, published",
        )
    axes.axhline(0.0, color="#CC3311", linewidth=1.0)
    axes.annotate(
        results.uncorrected,
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
    step_axis(axes, results)
    axes.set_ylabel(f"improvement on {results.uncorrected} (%), up is better")
    axes.set_title(figure_title(results, "mean over simulations, faint: single ones"))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
