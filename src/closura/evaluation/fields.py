"""Strips of fields: one row per method, one column per moment, one colour scale."""

import textwrap
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from closura.evaluation.results import Evaluation
from closura.evaluation.scales import colour_map, colour_scales, size_of, symmetric_scales
from closura.evaluation.style import figure_settings, finish, new_figure


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
    evaluation: Evaluation, simulation: int = 0, component: int | None = None
) -> dict[str, Float32[np.ndarray, "frame x y"]]:
    """The drawn quantity of one kept simulation for each method that kept fields, the truth last.

    Raises
    ------
    ValueError
        If nothing was kept, the fields are not two-dimensional, or the simulation was not kept.
    """
    arrays = {
        name: method.fields
        for name, method in evaluation.methods.items()
        if method.fields is not None and name != evaluation.truth
    }
    truth = evaluation.truth_fields
    if truth is None and evaluation.truth is not None:
        truth = evaluation.methods[evaluation.truth].fields
    if truth is not None:
        arrays[truth_label(evaluation)] = truth
    if not arrays:
        raise ValueError("no fields were kept; evaluate with fields to draw them")
    shape = next(iter(arrays.values())).shape
    if len(shape) != 5:
        raise ValueError(f"pictures need fields (kept, frame, component, x, y); got {shape}")
    if not 0 <= simulation < shape[0]:
        raise ValueError(f"simulation must be one of the {shape[0]} kept ones, 0 to {shape[0] - 1}; got {simulation}")
    with np.errstate(over="ignore", invalid="ignore"):
        return {name: drawn_quantity(array[simulation], component) for name, array in arrays.items()}


def truth_label(evaluation: Evaluation) -> str:
    """The name of the truth's row."""
    return f"{evaluation.truth or 'fine'} (truth)" if evaluation.truth != "truth" else "truth"


def frames_to_show(count: int, columns: int) -> list[int]:
    """Evenly spaced frames, first and last included."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(columns, count)).tolist()})


def field_strips(
    evaluation: Evaluation,
    path: str | Path | None = None,
    *,
    simulation: int = 0,
    columns: int = 6,
    component: int | None = None,
    errors: bool = False,
) -> Figure:
    """Fields of one simulation: rows are methods and the truth, columns are steps.

    Closure-RL, Fig. 1, 3 and 5. All pictures share one colour scale, that of the truth; where fields fade, each
    column has its own. ``errors=True`` shows the difference to the truth instead, on symmetric scales. Grey: not
    finite.

    Raises
    ------
    ValueError
        If nothing was kept (see :func:`kept_fields`), or errors are asked for without a truth.
    """
    pictures, truth = kept_fields(evaluation, simulation, component), truth_label(evaluation)
    shown = frames_to_show(len(evaluation.frame_steps), columns)
    if errors:
        if truth not in pictures or len(pictures) < 2:
            raise ValueError("differences need the truth's fields and those of a method; they were not kept")
        reference = pictures.pop(truth)
        with np.errstate(over="ignore", invalid="ignore"):
            pictures = {name: array - reference for name, array in pictures.items()}
        scales, shared = symmetric_scales(pictures, shown, size=size_of(reference))
        colours, unit = colour_map("RdBu_r"), "difference to the truth"
    else:
        scales, shared = colour_scales(pictures, truth, shown)
        colours, unit = colour_map("viridis"), _quantity(evaluation, component)
    with figure_settings():
        width = 1.25 * len(shown) + 1.7
        figure = new_figure(max(width, 5.0), 1.28 * len(pictures) + 0.95)
        grid = figure.subplots(len(pictures), len(shown), squeeze=False)
        for row, (name, array) in enumerate(pictures.items()):
            for column, frame in enumerate(shown):
                axes = grid[row, column]
                draw_picture(axes, array[frame], scales[column], colours, evaluation.origin)
                if row == 0:
                    axes.set_title(moment_title(evaluation, frame), fontsize=10)
                if row == len(pictures) - 1 and not shared:
                    axes.set_xlabel(scale_text(scales[column]), fontsize=8)
            grid[row, 0].set_ylabel(textwrap.fill(name, 14), fontsize=10)
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
        figure.suptitle(f"{evaluation.problem}, simulation {simulation}{about}", fontsize=11)
        return finish(figure, path)


def moment_title(evaluation: Evaluation, frame: int) -> str:
    """Step and physical time of a kept frame, on two lines."""
    step = int(evaluation.frame_steps[frame])
    return f"step {step}\nt = {step * evaluation.time_step:.3g}"


def scale_text(scale: Normalize) -> str:
    """The range of a colour scale."""
    low, high = scale.vmin or 0.0, scale.vmax or 0.0
    return f"± {high:.2g}" if low == -high else f"{low:.2g} to {high:.2g}"


def _quantity(evaluation: Evaluation, component: int | None) -> str:
    if "field" in evaluation.description:
        return evaluation.description["field"]
    if component is not None:
        return f"component {component}"
    kept = [evaluation.truth_fields, *(method.fields for method in evaluation.methods.values())]
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
