"""Strips of fields: one row per method, one column per moment, one colour scale."""

import textwrap
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from closura.evaluation.results import Evaluation
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


def colour_scale(pictures: dict[str, Float32[np.ndarray, "frame x y"]], truth: str) -> Normalize:
    """One linear scale for all pictures: the range of the truth, or of all if there is no truth."""
    chosen = [pictures[truth]] if truth in pictures else list(pictures.values())
    values = np.concatenate([array[np.isfinite(array)].ravel() for array in chosen])
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    return Normalize(low, high if high > low else low + 1.0)


def colour_map(name: str) -> Colormap:
    """A colour map that shows what is not finite in light grey."""
    return colormaps[name].with_extremes(bad="#d0d0d0")


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

    Closure-RL, Fig. 1, 3 and 5. All pictures share one colour scale, that of the truth; ``errors=True`` shows
    the difference to the truth instead, on a symmetric scale. Grey: not finite.

    Raises
    ------
    ValueError
        If nothing was kept (see :func:`kept_fields`), or errors are asked for without a truth.
    """
    pictures, truth = kept_fields(evaluation, simulation, component), truth_label(evaluation)
    if errors:
        if truth not in pictures or len(pictures) < 2:
            raise ValueError("differences need the truth's fields and those of a method; they were not kept")
        reference = pictures.pop(truth)
        with np.errstate(over="ignore", invalid="ignore"):
            pictures = {name: array - reference for name, array in pictures.items()}
        limit = _limit(pictures)
        scale, colours, unit = Normalize(-limit, limit), colour_map("RdBu_r"), "difference to the truth"
    else:
        scale, colours = colour_scale(pictures, truth), colour_map("viridis")
        unit = _quantity(evaluation, component)
    shown = frames_to_show(len(evaluation.frame_steps), columns)
    with figure_settings():
        width = 1.25 * len(shown) + 1.7
        figure = new_figure(max(width, 5.0), 1.28 * len(pictures) + 0.75)
        grid = figure.subplots(len(pictures), len(shown), squeeze=False)
        for row, (name, array) in enumerate(pictures.items()):
            for column, frame in enumerate(shown):
                axes = grid[row, column]
                draw_picture(axes, array[frame], scale, colours, evaluation.origin)
                if row == 0:
                    axes.set_title(f"step {int(evaluation.frame_steps[frame])}", fontsize=10)
            grid[row, 0].set_ylabel(textwrap.fill(name, 14), fontsize=10)
        shrink = min(1.0, 2.2 / len(pictures))
        bar = figure.colorbar(
            ScalarMappable(scale, colours),
            ax=grid,
            fraction=0.035,
            pad=0.015,
            shrink=shrink,
        )
        bar.set_label(unit, fontsize=9)
        bar.outline.set_visible(False)
        figure.suptitle(f"{evaluation.problem}, simulation {simulation}", fontsize=11)
        return finish(figure, path)


def _quantity(evaluation: Evaluation, component: int | None) -> str:
    if "field" in evaluation.description:
        return evaluation.description["field"]
    if component is not None:
        return f"component {component}"
    kept = [evaluation.truth_fields, *(method.fields for method in evaluation.methods.values())]
    vector = any(array is not None and array.shape[2] == 2 for array in kept)
    return "velocity magnitude" if vector else "field"


def _limit(pictures: dict[str, Float32[np.ndarray, "frame x y"]]) -> float:
    """A symmetric limit that one diverging method cannot spoil: the median of the methods' largest values."""
    largest = []
    for array in pictures.values():
        finite = np.abs(array[np.isfinite(array)])
        if finite.size:
            largest.append(float(np.quantile(finite, 0.999)))
    return max(float(np.median(largest)) if largest else 1.0, 1e-12)


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
