"""Fields on a line: all methods at some moments."""

import numpy as np
from matplotlib.figure import Figure

from closura.core import Results, Role
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.figures.fields import frames_to_show
from closura.reporting.style import styles_of


def on_a_line(results: Results) -> bool:
    """Whether fields on a one-dimensional grid were kept."""
    return "field" in results.data and results.data["field"].ndim == 5


@figure(
    "profiles", section=SECTIONS[1], order=0, when=on_a_line,
    caption="The field of one simulation along the line, at several moments.",
)  # fmt: skip
def profiles(results: Results, figure: Figure, *, simulation: int = 0, columns: int = 3, component: int = 0) -> None:
    """One panel for each of some evenly spaced frames, the first one apart; the first component by default.

    Raises
    ------
    ValueError
        If the simulation was not kept.
    """
    styles, frames = styles_of(results), frames_to_show(len(results.frames), columns + 1)
    shown = frames[1:] or frames
    length = results.attribute("length")
    names = [n for n in (*results.compared, *results.named(Role.REFERENCE)) if results.fields(n) is not None]
    figure.set_size_inches(3.6 * len(shown) + 1.4, 3.4)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, frame in zip(panels, shown, strict=True):
        for name in names:
            fields = results.fields(name)
            assert fields is not None
            if not 0 <= simulation < len(fields):
                raise ValueError(f"simulation must be one of the {len(fields)} kept ones; got {simulation}")
            values = fields[simulation, frame, component]
            # Points of a grid are at i / n of its length; without one, values belong to the middle of cells.
            points = (np.arange(values.size) + (0 if length else 0.5)) * (length or 1) / values.size
            style = styles[name]
            axes.plot(
                points,
                values,
                color=style.colour,
                linestyle=style.line,
                linewidth=style.width,
                label=name,
                zorder=2 if results.roles[name].has_error else 1,
            )
        axes.set_title(results.moment(int(results.frames[frame])), fontsize=10)
        axes.set_xlabel("x" if length else "x / length")
    panels[0].set_ylabel(results.components[component] if results.components else "field")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
