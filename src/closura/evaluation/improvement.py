"""Improvement on the coarse solver against the step."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from closura.evaluation.bases import improvement_per_simulation
from closura.evaluation.curves import PUBLISHED_COLOURS, draw_line
from closura.evaluation.published_curves import STEPS, published_curves
from closura.evaluation.results import Evaluation
from closura.evaluation.style import figure_settings, figure_title, finish, new_figure, step_axis, styles_of


def improvement_curves(evaluation: Evaluation, path: str | Path | None = None, *, individuals: int = 30) -> Figure:
    """Improvement on the baseline against the step: the mean over simulations of (CGS - x) / CGS, in percent.

    Closure-RL, Fig. 2 and 4 middle, with the opposite sign: up is better; its numbers are marked where the
    evaluation repeats them. The first ``individuals`` simulations of each closure are drawn faintly. A closure
    that corrects another solver has a dotted line of its improvement on that one.

    Raises
    ------
    ValueError
        If there is nothing beside the baseline.
    """
    names = [name for name in evaluation.judged if name != evaluation.baseline]
    if not names:
        raise ValueError(f"no method to compare with the baseline {evaluation.baseline}; nothing to draw")
    styles, steps = styles_of(evaluation), np.arange(1, evaluation.steps + 1)
    lines = [(name, evaluation.baseline) for name in names]
    lines += [(n, evaluation.base(n)) for n in evaluation.closures if evaluation.base(n) != evaluation.baseline]
    with figure_settings():
        figure = new_figure(6.4, 4.2)
        axes = figure.add_subplot()
        lowest = -20.0
        for name, other in lines:
            style, own = styles[name], other != evaluation.baseline
            ratio = 100 * improvement_per_simulation(evaluation, name, other)[:, 1:]
            ratio = np.where(np.isfinite(ratio), ratio, np.nan)
            if name in evaluation.closures and not own:
                axes.plot(steps, ratio[:individuals].T, color=style.colour, linewidth=0.5, alpha=0.3, zorder=1)
            complete = np.isfinite(ratio).all(axis=0)
            # From the first simulation that diverged on, the mean does not exist.
            mean = np.where(complete, np.where(np.isfinite(ratio), ratio, 0.0).mean(axis=0), np.nan)
            draw_line(axes, steps, mean, style, f"{name} on {other}" if own else name, thin=own)
            if np.isfinite(ratio).any():
                lowest = min(lowest, float(np.nanquantile(ratio, 0.02)))
        found = published_curves(evaluation)
        for name, reduction in (found.reduction if found else {}).items():
            shown = [index for index, step in enumerate(STEPS) if step <= evaluation.steps]
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
        step_axis(axes, evaluation)
        axes.set_ylabel(f"improvement on {evaluation.baseline} (%), up is better")
        axes.set_title(figure_title(evaluation, "mean over simulations, faint: single ones"))
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        return finish(figure, path)
