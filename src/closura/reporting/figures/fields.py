"""Strips of fields: one row per method, one column per moment, one colour scale."""

import textwrap
from collections.abc import Callable
from functools import partial
from typing import Literal

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

    Raises
    ------
    ValueError
        If nothing was kept, the fields are not two-dimensional, or the simulation was not kept.
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
    ``quantity`` (see :func:`kept_fields`), which ``label`` names. Grey: not finite.

    Raises
    ------
    ValueError
        If nothing was kept (see :func:`kept_fields`), or errors are asked for without a reference.
    """
    pictures, name = kept_fields(results, simulation, component, quantity), reference_label(results)
    shown = frames_to_show(len(results.frames), columns)
    if errors:
        if name not in pictures or len(pictures) < 2:
            raise ValueError("differences need the reference's fields and those of a method; they were not kept")
        reference = pictures.pop(name)
        with np.errstate(over="ignore", invalid="ignore"):
            pictures = {method: array - reference for method, array in pictures.items()}
        scales, shared = symmetric_scales(pictures, shown, size=size_of(reference))
        colours, unit = colour_map("RdBu_r"), "difference to the reference"
    elif quantity is not None:
        scaled = {name: pictures[name]} if name in pictures else pictures
        scales, shared = symmetric_scales(scaled, shown, size=0.0)
        colours, unit = colour_map("RdBu_r"), label
    else:
        scales, shared = colour_scales(pictures, name, shown)
        colours, unit = colour_map("viridis"), _quantity(results, component)
    width = 1.25 * len(shown) + 1.7
    figure.set_size_inches(max(width, 5.0), 1.28 * len(pictures) + 0.95)
    grid = figure.subplots(len(pictures), len(shown), squeeze=False)
    for row, (method, array) in enumerate(pictures.items()):
        for column, frame in enumerate(shown):
            axes = grid[row, column]
            draw_picture(axes, array[frame], scales[column], colours, results.attribute("origin", "lower"))
            if row == 0:
                axes.set_title(moment_title(results, frame), fontsize=10)
            if row == len(pictures) - 1 and not shared:
                axes.set_xlabel(scale_text(scales[column]), fontsize=8)
        grid[row, 0].set_ylabel(textwrap.fill(method, 14), fontsize=10)
    if shared:
        bar = figure.colorbar(
            ScalarMappable(scales[0], colours),
            ax=grid,
            fraction=0.035,
            pad=0.015,
            shrink=min(1.0, 2.2 / len(pictures)),
        )
        bar.set_label(unit, fontsize=9)
        bar.outline.set_visible(False)
    about = "" if shared else f"\n{unit}; each column has its own range of colours, written below"
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


def moment_title(results: Results, frame: int) -> str:
    """Step and physical time of a kept frame, on two lines."""
    return results.moment(int(results.frames[frame])).replace(", ", "\n")


def scale_text(scale: Normalize) -> str:
    """The range of a colour scale."""
    low, high = scale.vmin or 0.0, scale.vmax or 0.0
    return f"± {high:.2g}" if low == -high else f"{low:.2g} to {high:.2g}"


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
