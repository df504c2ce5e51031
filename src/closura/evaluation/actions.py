"""What a closure does: its actions beside the fields in which it takes them."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.evaluation.fields import (
    draw_picture,
    frames_to_show,
    kept_fields,
    moment_title,
    scale_text,
    truth_label,
)
from closura.evaluation.results import Evaluation
from closura.evaluation.scales import colour_map, colour_scales, size_of, symmetric_scales
from closura.evaluation.style import figure_settings, finish, new_figure

LARGEST = 3  # closures in one figure


def acting(evaluation: Evaluation) -> tuple[str, ...]:
    """Closures whose fields and actions were kept on a two-dimensional grid."""
    found = ((name, evaluation.methods[name]) for name in evaluation.judged)
    return tuple(
        name
        for name, method in found
        if method.actions is not None and method.fields is not None and method.fields.ndim == 5
    )


def action_strips(
    evaluation: Evaluation, path: str | Path | None = None, *, simulation: int = 0, columns: int = 6
) -> Figure:
    """Fields of one simulation and, beneath each, the closure's answers in them: columns are steps.

    Every channel of the action has its own symmetric scale, from its 99.9 % quantile, and where it fades one for
    each column; the action is subtracted, so red lowers the field. The first three closures are drawn. Grey: not
    finite.

    Raises
    ------
    ValueError
        If no actions were kept, or not of this simulation.
    """
    names = acting(evaluation)[:LARGEST]
    if not names:
        raise ValueError("no actions were kept; evaluate a closure to draw them")
    pictures = kept_fields(evaluation, simulation)
    shown = frames_to_show(len(evaluation.frame_steps), columns)
    of_fields, _ = colour_scales(pictures, truth_label(evaluation), shown)
    rows: list[tuple[str, np.ndarray, list[Normalize], str]] = []
    for name in names:
        rows.append((name, pictures[name], of_fields, "viridis"))
        actions = evaluation.methods[name].actions
        assert actions is not None
        known = actions.shape[2] == len(evaluation.channels)
        for channel in range(actions.shape[2]):
            label = evaluation.channels[channel] if known else f"action {channel}"
            picture = actions[simulation, :, channel]
            rows.append((label, picture, symmetric_scales({label: picture}, shown, size=size_of(actions))[0], "RdBu_r"))
    with figure_settings():
        figure = new_figure(max(1.25 * len(shown) + 1.0, 5.0), 1.45 * len(rows) + 0.95)
        grid = figure.subplots(len(rows), len(shown), squeeze=False)
        for row, (label, array, scales, colours) in enumerate(rows):
            for column, frame in enumerate(shown):
                axes = grid[row, column]
                draw_picture(axes, array[frame], scales[column], colour_map(colours), evaluation.origin)
                axes.set_xlabel(scale_text(scales[column]), fontsize=8)
                if row == 0:
                    axes.set_title(moment_title(evaluation, frame), fontsize=10)
            grid[row, 0].set_ylabel(textwrap.fill(label, 14), fontsize=10)
        about = "fields and actions, with the range of their colours"
        figure.suptitle(f"{evaluation.problem}, simulation {simulation}: {about}", fontsize=11)
        return finish(figure, path)
