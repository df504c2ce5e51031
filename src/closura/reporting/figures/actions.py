"""What a closure does: its actions beside the fields in which it takes them."""

import textwrap

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.core import Results
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.figures.fields import (
    draw_picture,
    frames_to_show,
    kept_fields,
    moment_title,
    pictured,
    reference_label,
    scale_text,
)
from closura.reporting.scales import colour_map, colour_scales, size_of, symmetric_scales

LARGEST = 3  # closures in one figure


def acting(results: Results) -> tuple[str, ...]:
    """Closures whose fields and actions were kept on a two-dimensional grid."""
    if not pictured(results):
        return ()
    chosen = (n for n in results.compared if results.actions(n) is not None and results.fields(n) is not None)
    return tuple(chosen)


@figure(
    "actions", section=SECTIONS[1], order=2, when=lambda results: bool(acting(results)),
    caption="What closures answer in these fields; red is taken away, blue added.",
)  # fmt: skip
def action_strips(results: Results, figure: Figure, *, simulation: int = 0, columns: int = 6) -> None:
    """Fields of one simulation and, beneath each, the closure's answers in them: columns are steps.

    Every channel of the action has its own symmetric scale, from its 99.9 % quantile, and where it fades one for
    each column; the action is subtracted, so red lowers the field. The first three closures are drawn. Grey: not
    finite.

    Raises
    ------
    ValueError
        If no actions were kept, or not of this simulation.
    """
    names = acting(results)[:LARGEST]
    if not names:
        raise ValueError("no actions were kept; evaluate a closure to draw them")
    pictures = kept_fields(results, simulation)
    shown = frames_to_show(len(results.frames), columns)
    of_fields, _ = colour_scales(pictures, reference_label(results), shown)
    rows: list[tuple[str, np.ndarray, list[Normalize], str]] = []
    for name in names:
        rows.append((name, pictures[name], of_fields, "viridis"))
        actions = results.actions(name)
        assert actions is not None
        known = actions.shape[2] == len(results.channels)
        for channel in range(actions.shape[2]):
            label = results.channels[channel] if known else f"action {channel}"
            picture = actions[simulation, :, channel]
            rows.append((label, picture, symmetric_scales({label: picture}, shown, size=size_of(actions))[0], "RdBu_r"))
    figure.set_size_inches(max(1.25 * len(shown) + 1.0, 5.0), 1.45 * len(rows) + 0.95)
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for row, (label, array, scales, colours) in enumerate(rows):
        for column, frame in enumerate(shown):
            axes = grid[row, column]
            draw_picture(axes, array[frame], scales[column], colour_map(colours), results.attribute("origin", "lower"))
            axes.set_xlabel(scale_text(scales[column]), fontsize=8)
            if row == 0:
                axes.set_title(moment_title(results, frame), fontsize=10)
        grid[row, 0].set_ylabel(textwrap.fill(label, 14), fontsize=10)
    about = "fields and actions, with the range of their colours"
    figure.suptitle(f"{results.problem}, simulation {simulation}: {about}", fontsize=11)
