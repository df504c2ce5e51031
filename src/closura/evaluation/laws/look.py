"""How methods of an evaluation are drawn, and panels to draw them in."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Role
from closura.evaluation.laws.methods import Method
from closura.reporting.style import MethodStyle, method_styles, new_figure

SOLUTION: dict[str, Any] = {"color": "black", "linewidth": 1.0, "alpha": 0.85, "zorder": 1.5}


def styles_of(methods: Mapping[str, Method]) -> dict[str, MethodStyle]:
    """By role: closures blue and thick, schemes in other colours; lines and markers differ too."""
    return method_styles({name: Role.CLOSURE if method.learned else Role.BASELINE for name, method in methods.items()})


def panels(count: int, *, columns: int = 3, width: float = 3.6, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure with as many panels as there is something to draw in."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(max(width * columns, 5.0), height * rows + 0.7)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def common_legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 5))
