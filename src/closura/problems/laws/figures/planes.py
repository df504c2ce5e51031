"""Figures of two-dimensional fields: all methods at the end, differences to the solution, moving pictures."""

from functools import partial

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.core import Results
from closura.parts import file_name
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.figures.lines import NEEDS, SECTION, drawn, kept
from closura.problems.laws.snapshots import SOLUTION, snapshots_of
from closura.reporting.figure import figure
from closura.reporting.figures.animation import gif, picture_of
from closura.reporting.figures.fields import draw_picture
from closura.reporting.scales import ROUNDING, colour_map, size_of

SHADES = 96
PLANES = tuple(name for name, problem in LAW_PROBLEMS.items() if problem.law.dimensions == 2)


def _draw(results: Results, figure: Figure, *, errors: bool = False) -> None:
    """The first primitive variable at the end: rows are initial conditions, columns methods, the solution last.

    ``errors``: the difference to the solution instead. Grey: the simulation has diverged.
    """
    names, shown = {name: look["label"] for name, look in drawn(results).items()}, kept(results)
    columns = names if errors else {**names, SOLUTION: SOLUTION}
    figure.set_size_inches(max(1.9 * len(columns) + 1.0, 5.0), 2.0 * len(shown) + 0.6)
    grid = figure.subplots(len(shown), len(columns), squeeze=False)
    for row, (initial, snapshots) in enumerate(shown.items()):
        pictures = {name: snapshots.states[name][-1, 0] for name in columns}
        exact = snapshots.states[SOLUTION][-1, 0]
        if errors:
            pictures = {name: picture - exact for name, picture in pictures.items()}
            sizes = [np.nanquantile(np.abs(p), 0.995) for p in pictures.values() if np.isfinite(p).any()]
            size = max(float(np.median(sizes)) if sizes else 1.0, ROUNDING * size_of(exact), 1e-12)
            scale, colours = Normalize(-size, size), colour_map("RdBu_r")
        else:
            scale, colours = Normalize(float(exact.min()), float(exact.max())), colour_map("viridis")
        for axes, (name, picture) in zip(grid[row], pictures.items(), strict=True):
            draw_picture(axes, picture, scale, colours, "lower")
            if row == 0:
                axes.set_title(columns[name], fontsize=10)
        grid[row, 0].set_ylabel(initial, fontsize=9)
        bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(grid[row]), fraction=0.03, pad=0.01)
        bar.outline.set_visible(False)
    figure.suptitle(f"{results.components[0]}, {'difference to the solution' if errors else 'at the end'}", fontsize=11)


planes = figure(
    "planes", problems=PLANES, needs=NEEDS, section=SECTION, order=0, caption="The field at the end. Grey: diverged."
)(_draw)
plane_errors = figure(
    "plane_errors", problems=PLANES, needs=NEEDS, section=SECTION, order=1,
    caption="Difference to the solution at the end.",
)(partial(_draw, errors=True))  # fmt: skip


@figure(
    "plane_animation", problems=PLANES, needs=NEEDS, section=SECTION, order=5, ending=".gif",
    caption="The field over time.",
    variants=lambda results: {f"-{file_name(each)}": {"initial": each} for each in kept(results)},
)  # fmt: skip
def plane_animation(results: Results, *, initial: str) -> bytes:
    """The first primitive variable of all methods and the solution from one initial condition, as a GIF."""
    snapshots = snapshots_of(results, initial)
    pictures = {results.family(n) if n != SOLUTION else n: states[:, 0] for n, states in snapshots.states.items()}
    exact = snapshots.states[SOLUTION][:, 0]
    scale = Normalize(float(exact.min()), max(float(exact.max()), float(exact.min()) + 1e-300))
    frames = [
        picture_of(f"{initial}, t = {time:.3f}", {name: p[moment] for name, p in pictures.items()}, scale, SHADES)
        for moment, time in enumerate(snapshots.times)
    ]
    return gif(frames, SHADES, 0.15)
