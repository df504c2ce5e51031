"""Figures of two-dimensional fields: all methods at the end, differences to the solution, a moving picture."""

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from closura.evaluation.laws.study import LawEvaluation
from closura.files import write_atomically
from closura.reporting.figures.animation import GREYS, _centred, _gif
from closura.reporting.figures.fields import draw_picture
from closura.reporting.scales import ROUNDING, colour_map, size_of
from closura.reporting.style import figure_settings, new_figure, save_figure

TILE, GAP, HEADER, CAPTION, SHADES = 160, 8, 26, 20, 96


def fields(evaluation: LawEvaluation, path: str | Path | None = None, *, errors: bool = False) -> Figure:
    """The first primitive variable at the end: rows are initial conditions, columns methods, the solution last.

    ``errors``: the difference to the solution instead. Grey: the simulation has diverged.
    """
    names, initials = list(evaluation.traces), list(evaluation.study.initial)
    columns = names if errors else [*names, "solution"]
    with figure_settings():
        figure = new_figure(max(1.9 * len(columns) + 1.0, 5.0), 2.0 * len(initials) + 0.6)
        grid = figure.subplots(len(initials), len(columns), squeeze=False)
        for row, initial in enumerate(initials):
            truth = next(iter(evaluation.traces.values()))[initial].solution[-1, 0]
            pictures = {name: evaluation.traces[name][initial].states[-1, 0] for name in names}
            if errors:
                pictures = {name: picture - truth for name, picture in pictures.items()}
                sizes = [np.nanquantile(np.abs(p), 0.995) for p in pictures.values() if np.isfinite(p).any()]
                size = max(float(np.median(sizes)) if sizes else 1.0, ROUNDING * size_of(truth), 1e-12)
                scale, colours = Normalize(-size, size), colour_map("RdBu_r")
            else:
                pictures["solution"] = truth
                scale, colours = Normalize(float(truth.min()), float(truth.max())), colour_map("viridis")
            for column, name in enumerate(columns):
                draw_picture(grid[row, column], pictures[name], scale, colours, "lower")
                if row == 0:
                    grid[row, column].set_title(name, fontsize=10)
            grid[row, 0].set_ylabel(initial, fontsize=9)
            bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(grid[row]), fraction=0.03, pad=0.01)
            bar.outline.set_visible(False)
        what = "difference to the solution" if errors else "at the end"
        figure.suptitle(f"{evaluation.study.problem.law.primitives[0]}, {what}", fontsize=11)
        return save_figure(figure, path)


def animation(evaluation: LawEvaluation, initial: str, path: str | Path) -> Path:
    """The first primitive variable of all methods and the solution over time, as a GIF that repeats."""
    traces = {name: by_initial[initial] for name, by_initial in evaluation.traces.items()}
    first = next(iter(traces.values()))
    pictures = {name: trace.states[:, 0] for name, trace in traces.items()} | {"solution": first.solution[:, 0]}
    low, high = float(first.solution[:, 0].min()), float(first.solution[:, 0].max())
    frames = [
        _frame(f"{initial}, t = {time:.3f}", {name: p[moment] for name, p in pictures.items()}, (low, high))
        for moment, time in enumerate(first.times)
    ]
    return write_atomically(path, _gif(frames, SHADES, 0.15))


def _frame(title: str, pictures: dict[str, np.ndarray], limits: tuple[float, float]) -> np.ndarray:
    """One frame in palette indices: shades of the colour map, then greys, then what is not finite."""
    nx, ny = next(iter(pictures.values())).shape
    pixels = max(1, round(TILE / max(nx, ny)))
    width, height = pixels * nx, pixels * ny
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    text = Image.new("L", (columns * (width + GAP) + GAP, HEADER + rows * (CAPTION + height + GAP)), color=255)
    draw = ImageDraw.Draw(text)
    _centred(draw, title, text.width // 2, 6, 14, text.width)
    corners = []
    for number, name in enumerate(pictures):
        left = GAP + (number % columns) * (width + GAP)
        top = HEADER + (number // columns) * (CAPTION + height + GAP)
        _centred(draw, name, left + width // 2, top + 3, 12, width + GAP)
        corners.append((left, top + CAPTION))
    picture = (SHADES + np.round(np.asarray(text, np.float64) * (GREYS - 1) / 255)).astype(np.uint8)
    low, high = limits
    for (left, top), field in zip(corners, pictures.values(), strict=True):
        known = np.isfinite(field)
        fraction = np.clip((np.where(known, field, low) - low) / max(high - low, 1e-300), 0.0, 1.0)
        index = np.where(known, np.minimum(fraction * SHADES, SHADES - 1), SHADES + GREYS).astype(np.uint8)
        # Axis 0 is x: the transpose puts it on the horizontal axis, and y points up.
        index = index.T[::-1].repeat(pixels, 0).repeat(pixels, 1)
        picture[top : top + height, left : left + width] = index
    return picture
