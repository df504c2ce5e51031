"""One look for all figures: colours and lines of methods, fonts, saving.

Figures are made with matplotlib's object-oriented interface only: no window, no global state, any thread.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from closura.core import Metric, Results, Role
from closura.io.files import write_atomically

SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
}

# Colours after Paul Tol's colour-blind safe schemes; every method also has its own line and marker.
_COLOURS = {
    Role.UNCORRECTED: ("#CC3311",),
    Role.REFERENCE: ("#228833",),
    Role.CLOSURE: ("#0077BB", "#33BBEE", "#224488", "#6699CC", "#004466"),
    Role.BASELINE: ("#EE7733", "#882299", "#555555", "#BB77CC", "#8A8A8A", "#552266", "#333333"),
    Role.FINE_BASELINE: ("#8A8A8A", "#333333", "#AAAAAA", "#555555"),
    Role.COARSE_BASELINE: ("#AAAAAA", "#555555"),
    Role.NAIVE: ("#000000", "#8A8A8A"),
}
_DASHED, _DOT_DASHED = (0, (6.0, 2.0)), (0, (5.0, 1.5, 1.0, 1.5))
_LINES: tuple[str | tuple[int, tuple[float, ...]], ...] = (
    *("-", _DASHED, (0, (1.0, 1.2)), _DOT_DASHED),
    *((0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)), (0, (9.0, 3.0))),
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


@dataclass(frozen=True)
class MethodStyle:
    """How one method is drawn everywhere."""

    colour: str
    line: str | tuple[int, tuple[float, ...]]
    marker: str
    width: float = 1.6


def styles_of(results: Results) -> dict[str, MethodStyle]:
    """A style for each method, by its role."""
    return method_styles(results.roles)


def method_styles(roles: Mapping[str, Role]) -> dict[str, MethodStyle]:
    """A style for each method, by its role.

    The uncorrected solver is red, the reference green, baselines orange, purple or grey, closures blue and thicker.
    """
    styles: dict[str, MethodStyle] = {}
    counts = dict.fromkeys(Role, 0)
    for index, (name, role) in enumerate(roles.items()):
        count, colours = counts[role], _COLOURS[role]
        counts[role] += 1
        # Closures and the reference have solid lines, the others broken ones, so that grey print still works.
        solid = role in (Role.CLOSURE, Role.REFERENCE)
        line = _LINES[(count + (not solid) + (role in (Role.BASELINE, Role.NAIVE))) % len(_LINES)]
        width = 2.2 if role is Role.CLOSURE else 1.6
        styles[name] = MethodStyle(colours[count % len(colours)], line, _MARKERS[index % len(_MARKERS)], width)
    return styles


def axis_label(metric: Metric) -> str:
    """What is on an axis, with its unit."""
    unit = "%" if metric.percent else metric.unit
    return metric.title if unit in ("", "1") else f"{metric.title} ({unit})"


def amount(metric: Metric, value: float) -> str:
    """A value of a metric with its unit, with the digits that it was given with."""
    unit = "%" if metric.percent else metric.unit
    return f"{100 * value if metric.percent else value:g}{'' if unit in ('', '1') else ' ' + unit}"


@contextmanager
def figure_settings() -> Iterator[None]:
    """The settings of our figures, whatever the user's own are, which are put back afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure that belongs to no window; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(figure: Figure, count: int, *, columns: int = 3, width: float = 3.6, height: float = 2.5) -> list[Axes]:
    """As many panels as there is something to draw in; sizes of one in inches."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure.set_size_inches(max(width * columns, 5.0), height * rows + 0.7)
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for unused in axes[count:]:
        unused.set_visible(False)
    return axes[:count]


def common_legend(figure: Figure, axes: Axes) -> None:
    """One legend for all panels, above them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 5))


def save_figure(figure: Figure, path: str | Path | None) -> Figure:
    """Write the figure if a path is given (the format follows its ending, PNG without one) and hand it back."""
    if path is not None:
        path = Path(path)
        kind = path.suffix[1:].lower() or "png"
        # No date and no version inside: the same figure is the same file.
        metadata = {"Software": None} if kind == "png" else None
        for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
            axis.get_ticklabels(which="both")  # gives ticks their texts
        for text in figure.findobj(Text):
            # Labels hold names, in which a dollar is a dollar; formulas come from matplotlib's own ticks alone.
            if text.get_text() and "\\mathdefault" not in text.get_text():
                text.set_parse_math(False)
        content = BytesIO()
        with figure_settings():
            figure.savefig(content, format=kind, dpi=160, metadata=metadata)
        write_atomically(path if path.suffix else path.with_name(f"{path.name}.png"), content.getvalue())
    return figure


def plain_log_axis(axes: Axes, which: str = "y") -> None:
    """Write 0.1, 1, 10 rather than powers on a logarithmic axis, with some of the steps between them."""
    axis = axes.yaxis if which == "y" else axes.xaxis
    low, high = sorted(axis.get_view_interval())
    between = (1.0, 2.0, 5.0) if low > 0 and high / low < 1000 else (1.0,)
    axis.set_major_locator(LogLocator(subs=between))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def figure_title(results: Results, what: str) -> str:
    """The problem, the number of simulations, and what is drawn."""
    return f"{results.problem}, n = {results.simulations}\n{what}"


def step_axis(axes: Axes, results: Results) -> None:
    """Coarse steps below, the physical time that belongs to them above."""
    axes.set_xlim(0, results.steps)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.set_xlabel(f"coarse step (Δt = {results.time_step:.4g})")
    time = axes.secondary_xaxis("top", functions=steps_and_time(results))
    time.set_xlabel("time t", fontsize=9)
    time.tick_params(labelsize=8, colors="#444444")


def steps_and_time(results: Results) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From steps to physical time and back, for a second axis."""
    length = results.time_step
    return (lambda step: step * length), (lambda time: time / length)
