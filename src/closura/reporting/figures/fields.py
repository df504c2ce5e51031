"""Fields and actions of one simulation: a row per method and a column per moment, or lines in one dimension."""

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from closura.core import Results, Role
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.scales import colour_map, colour_scales, size_of, symmetric_scales
from closura.reporting.style import styles_of

Quantity = Callable[[Float32[np.ndarray, "frame component x y"]], Float[np.ndarray, "frame x y"]]


def drawn_quantity(
    fields: Float32[np.ndarray, "*batch component x y"], component: int | None = None
) -> Float32[np.ndarray, "*batch x y"]:
    """What a picture shows: one component, or by default the length of a two-component vector."""
    if component is not None:
        return fields[..., component, :, :]
    if fields.shape[-3] == 2:
        return np.hypot(fields[..., 0, :, :], fields[..., 1, :, :])
    return fields[..., 0, :, :]


def kept_fields(
    results: Results, simulation: int = 0, component: int | None = None, quantity: Quantity | None = None
) -> dict[str, Float32[np.ndarray, "frame x y"]]:
    """The drawn quantity of one kept simulation for each method that kept fields, the reference last.

    ``quantity`` is a function of fields ``(frame, component, x, y)`` to draw instead of a component or a length.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in (*results.compared, *results.named(Role.REFERENCE)):
        fields = results.fields(name)
        if fields is not None:
            arrays[reference_label(results) if name == results.reference else name] = fields
    if not arrays:
        raise ValueError("no fields were kept; evaluate with fields to draw them")
    shape = next(iter(arrays.values())).shape
    if len(shape) != 5:
        raise ValueError(f"pictures need fields (kept, frame, component, x, y); got {shape}")
    if not 0 <= simulation < shape[0]:
        raise ValueError(f"simulation must be one of the {shape[0]} kept ones, 0 to {shape[0] - 1}; got {simulation}")
    with np.errstate(over="ignore", invalid="ignore"):
        if quantity is not None:
            return {name: quantity(array[simulation]) for name, array in arrays.items()}
        return {name: drawn_quantity(array[simulation], component) for name, array in arrays.items()}


def reference_label(results: Results) -> str:
    """The name of the reference's row."""
    return f"{results.reference} (reference)" if results.reference != "reference" else "reference"


def frames_to_show(count: int, columns: int) -> list[int]:
    """Evenly spaced frames, first and last included."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(columns, count)).tolist()})


class Row(NamedTuple):
    """A row of pictures: fields ``(frame, x, y)`` with a scale of colours for each shown one.

    ``written`` says whether the range of each scale stands below.
    """

    label: str
    fields: Float[np.ndarray, "frame x y"]
    scales: list[Normalize]
    colours: Colormap
    written: bool = False


def draw_strips(results: Results, figure: Figure, rows: Sequence[Row], shown: Sequence[int]) -> Any:
    """Rows of pictures, a column for each shown frame; returns the axes, ``(row, column)``."""
    grid = figure.subplots(len(rows), len(shown), squeeze=False)
    for axes, row in zip(grid, rows, strict=True):
        for place, frame, scale in zip(axes, shown, row.scales, strict=True):
            draw_picture(place, row.fields[frame], scale, row.colours, results.attribute("origin", "lower"))
            if row is rows[0]:
                place.set_title(results.moment(int(results.frames[frame])).replace(", ", "\n"), fontsize=10)
            if row.written:
                low, high = scale.vmin or 0.0, scale.vmax or 0.0
                text = f"± {high:.2g}" if low == -high else f"{low:.2g} to {high:.2g}"
                place.set_xlabel(text, fontsize=8)
        axes[0].set_ylabel(textwrap.fill(row.label, 14), fontsize=10)
    return grid


def draw_fields(
    results: Results,
    figure: Figure,
    *,
    simulation: int = 0,
    columns: int = 6,
    component: int | None = None,
    errors: bool = False,
    quantity: Quantity | None = None,
    label: str = "",
) -> None:
    """Fields of one simulation: rows are methods and the reference, columns are steps.

    Closure-RL, Fig. 1, 3 and 5. All pictures share one colour scale, that of the reference; where fields fade, each
    column has its own. ``errors=True`` shows the difference to the reference instead, on symmetric scales; so does a
    ``quantity`` (see :func:`kept_fields`), which ``label`` names. Grey: not finite. ValueError if nothing was kept
    (see :func:`kept_fields`), or errors are asked for without a reference.
    """
    pictures, name = kept_fields(results, simulation, component, quantity), reference_label(results)
    shown, colours = frames_to_show(len(results.frames), columns), colour_map("RdBu_r")
    if errors:
        if name not in pictures or len(pictures) < 2:
            raise ValueError("differences need the reference's fields and those of a method; they were not kept")
        reference = pictures.pop(name)
        with np.errstate(over="ignore", invalid="ignore"):
            pictures = {method: array - reference for method, array in pictures.items()}
        scales, shared = symmetric_scales(pictures, shown, size=size_of(reference))
        label = "difference to the reference"
    elif quantity is not None:
        scaled = {name: pictures[name]} if name in pictures else pictures
        scales, shared = symmetric_scales(scaled, shown, size=0.0)
    else:
        scales, shared = colour_scales(pictures, name, shown)
        colours, label = colour_map("viridis"), _quantity(results, component)
    figure.set_size_inches(max(1.25 * len(shown) + 1.7, 5.0), 1.28 * len(pictures) + 0.95)
    last = list(pictures)[-1]
    rows = [Row(n, array, scales, colours, written=n == last and not shared) for n, array in pictures.items()]
    grid = draw_strips(results, figure, rows, shown)
    if shared:
        scale, size = ScalarMappable(scales[0], colours), min(1.0, 2.2 / len(pictures))
        bar = figure.colorbar(scale, ax=grid, fraction=0.035, pad=0.015, shrink=size)
        bar.set_label(label, fontsize=9)
        bar.outline.set_visible(False)
    about = "" if shared else f"\n{label}; each column has its own range of colours, written below"
    figure.suptitle(f"{results.problem}, simulation {simulation}{about}", fontsize=11)


def pictured(results: Results) -> bool:
    """Whether fields on a two-dimensional grid were kept."""
    return "field" in results.data and results.data["field"].ndim == 6


field_strips = figure(
    "fields", section=SECTIONS[1], order=0, when=pictured,
    caption="Fields of one simulation; one scale of colours for all methods at each moment. Grey: not finite.",
)(draw_fields)  # fmt: skip

field_errors = figure(
    "field_errors", section=SECTIONS[1], order=1, caption="Difference to the reference in the same simulation.",
    when=lambda results: (
        pictured(results) and results.reference is not None and results.fields(results.reference) is not None
    ),
)(partial(draw_fields, errors=True))  # fmt: skip


def acting(results: Results) -> tuple[str, ...]:
    """Closures whose fields and actions were kept on a two-dimensional grid."""
    chosen = results.compared if pictured(results) else ()
    return tuple(n for n in chosen if results.actions(n) is not None and results.fields(n) is not None)


@figure(
    "actions", section=SECTIONS[1], order=2, when=lambda results: bool(acting(results)),
    caption="What closures answer in these fields; red is taken away, blue added.",
)  # fmt: skip
def action_strips(results: Results, figure: Figure, *, simulation: int = 0, columns: int = 6) -> None:
    """Fields of one simulation and, beneath each, the closure's answers in them: columns are steps.

    Every channel of the action has its own symmetric scale, from its 99.9 % quantile, and where it fades one for
    each column; the action is subtracted, so red lowers the field. The first three closures are drawn. Grey: not
    finite. ValueError if no actions were kept, or not of this simulation.
    """
    names = acting(results)[:3]
    if not names:
        raise ValueError("no actions were kept; evaluate a closure to draw them")
    pictures = kept_fields(results, simulation)
    shown = frames_to_show(len(results.frames), columns)
    of_fields, _ = colour_scales(pictures, reference_label(results), shown)
    rows = []
    for name in names:
        rows.append(Row(name, pictures[name], of_fields, colour_map("viridis"), written=True))
        actions = np.asarray(results.actions(name))
        known = actions.shape[2] == len(results.channels)
        for channel in range(actions.shape[2]):
            label = results.channels[channel] if known else f"action {channel}"
            picture = actions[simulation, :, channel]
            scales, _ = symmetric_scales({label: picture}, shown, size=size_of(actions))
            rows.append(Row(label, picture, scales, colour_map("RdBu_r"), written=True))
    figure.set_size_inches(max(1.25 * len(shown) + 1.0, 5.0), 1.45 * len(rows) + 0.95)
    draw_strips(results, figure, rows, shown)
    about = "fields and actions, with the range of their colours"
    figure.suptitle(f"{results.problem}, simulation {simulation}\n{about}", fontsize=11)


def on_a_line(results: Results) -> bool:
    """Whether fields on a one-dimensional grid were kept."""
    return "field" in results.data and results.data["field"].ndim == 5


@figure(
    "profiles", section=SECTIONS[1], order=0, when=on_a_line,
    caption="The field of one simulation along the line, at several moments.",
)  # fmt: skip
def profiles(results: Results, figure: Figure, *, simulation: int = 0, columns: int = 3, component: int = 0) -> None:
    """One panel for each of some evenly spaced frames, the first one apart; the first component by default."""
    styles, frames = styles_of(results), frames_to_show(len(results.frames), columns + 1)
    shown, length = frames[1:] or frames, results.attribute("length")
    names = [n for n in (*results.compared, *results.named(Role.REFERENCE)) if results.fields(n) is not None]
    figure.set_size_inches(3.6 * len(shown) + 1.4, 3.4)
    panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
    for axes, frame in zip(panels, shown, strict=True):
        for name in names:
            fields = np.asarray(results.fields(name))
            if not 0 <= simulation < len(fields):
                raise ValueError(f"simulation must be one of the {len(fields)} kept ones; got {simulation}")
            values = fields[simulation, frame, component]
            # Points of a grid are at i / n of its length; without one, values belong to the middle of cells.
            points = (np.arange(values.size) + (0 if length else 0.5)) * (length or 1) / values.size
            style = styles[name]
            axes.plot(
                points, values, color=style.colour, linestyle=style.line, linewidth=style.width, label=name,
                zorder=2 if results.roles[name].has_error else 1,
            )  # fmt: skip
        axes.set_title(results.moment(int(results.frames[frame])), fontsize=10)
        axes.set_xlabel("x" if length else "x / length")
    panels[0].set_ylabel(results.components[component] if results.components else "field")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _quantity(results: Results, component: int | None) -> str:
    if "field" in results.description:
        return results.description["field"]
    if component is not None:
        return f"component {component}"
    kept = [results.fields(name) for name in results.methods]
    vector = any(array is not None and array.shape[2] == 2 for array in kept)
    return "velocity magnitude" if vector else "field"


def draw_picture(
    axes: Axes,
    field: Float[np.ndarray, "x y"],
    scale: Normalize,
    colours: Colormap,
    origin: Literal["lower", "upper"],
) -> AxesImage:
    """One field without ticks, x to the right; what is not finite is grey."""
    # Axis 0 is x: the transpose puts it on the horizontal axis.
    image = axes.imshow(np.ma.masked_invalid(field.T), norm=scale, cmap=colours, origin=origin, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image
