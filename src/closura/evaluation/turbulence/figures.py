"""Pictures of a turbulence study: correlations over time, spectra, vorticities side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.core import Role
from closura.evaluation.turbulence.study import PERSISTENCE, THRESHOLDS, TurbulenceEvaluation
from closura.metrics.ensembles import vorticity
from closura.numerics.fourier import refine
from closura.reporting.figures.fields import draw_picture
from closura.reporting.scales import colour_map
from closura.reporting.style import MethodStyle, figure_settings, method_styles, new_figure, plain_log_axis, save_figure

POINTS = 96
"""Pictures of coarser grids are drawn on so many points per side, by their Fourier series."""

GREYS = ("#8A8A8A", "#AAAAAA", "#C4C4C4", "#555555")


def styles(evaluation: TurbulenceEvaluation) -> dict[str, MethodStyle]:
    """Red without a model, orange for Smagorinsky, greys for finer grids, blues for closures, green for the truth."""
    learned = method_styles(dict.fromkeys(evaluation.closures, Role.CLOSURE))
    found: dict[str, MethodStyle] = {}
    for name in evaluation.methods:
        if name in learned:
            found[name] = learned[name]
        elif name in evaluation.finer:
            number = evaluation.finer.index(name)
            found[name] = MethodStyle(GREYS[number % len(GREYS)], (0, (1.0 + number, 1.2)), "D")
        elif name == PERSISTENCE:
            found[name] = MethodStyle("#000000", (0, (1.0, 2.5)), ".", 1.0)
        else:
            found[name] = method_styles({name: Role.UNCORRECTED if name == evaluation.baseline else Role.BASELINE})[
                name
            ]
    return found


def correlations(evaluation: TurbulenceEvaluation, path: str | Path | None = None) -> Figure:
    """Correlation of the vorticity with the truth's over time: mean, and the range of the middle half of starts."""
    with figure_settings():
        figure = new_figure(7.2, 4.3)
        axes = figure.subplots()
        for name, style in styles(evaluation).items():
            series = evaluation.methods[name].correlation
            axes.plot(
                evaluation.times, series.mean(axis=0), color=style.colour, ls=style.line, lw=style.width, label=name
            )
            low, high = np.quantile(series, (0.25, 0.75), axis=0)
            axes.fill_between(evaluation.times, low, high, color=style.colour, alpha=0.13, lw=0)
        for threshold in THRESHOLDS:
            axes.axhline(threshold, color="#666666", lw=0.7, ls=":")
        axes.set(xlim=(0, evaluation.times[-1]), ylim=(-0.1, 1.02), xlabel="time")
        axes.set_ylabel("correlation of the vorticity")
        if evaluation.lyapunov is not None and evaluation.lyapunov.exponent > 0:
            rate = evaluation.lyapunov.exponent
            above = axes.secondary_xaxis("top", functions=_and_back(rate))
            above.set_xlabel("Lyapunov times", fontsize=9)
        axes.legend(fontsize=8)
        axes.set_title(f"{_title(evaluation)}: mean and middle half of {evaluation.simulations} starts", fontsize=10)
        return save_figure(figure, path)


def errors(evaluation: TurbulenceEvaluation, path: str | Path | None = None) -> Figure:
    """Relative L2 error of the velocity over time, on a logarithmic axis: median and middle half of starts."""
    with figure_settings():
        figure = new_figure(7.2, 4.3)
        axes = figure.subplots()
        for name, style in styles(evaluation).items():
            series = np.where(np.isfinite(evaluation.methods[name].error), evaluation.methods[name].error, np.nan)[
                :, 1:
            ]
            if np.isnan(series).all(axis=0).any():
                series = np.where(np.isnan(series), 10.0, series)
            low, middle, high = np.nanquantile(series, (0.25, 0.5, 0.75), axis=0)
            axes.plot(evaluation.times[1:], middle, color=style.colour, ls=style.line, lw=style.width, label=name)
            axes.fill_between(evaluation.times[1:], low, high, color=style.colour, alpha=0.13, lw=0)
        axes.set_yscale("log")
        axes.set_ylim(top=3.0)
        plain_log_axis(axes)
        axes.set(xlim=(0, evaluation.times[-1]), xlabel="time", ylabel="relative L2 error of the velocity")
        axes.legend(fontsize=8)
        axes.set_title(f"{_title(evaluation)}: median and middle half of starts", fontsize=10)
        return save_figure(figure, path)


def spectra(evaluation: TurbulenceEvaluation, path: str | Path | None = None) -> Figure:
    """Energy by wavenumber over the long time, and its ratio to the truth's."""
    shells = np.arange(1, evaluation.cells // 2)
    with figure_settings():
        figure = new_figure(8.6, 3.9)
        left, right = figure.subplots(1, 2)
        true = evaluation.truth.spectrum[shells]
        left.plot(shells, true, color="#228833", lw=2.6, label="truth")
        for name, style in styles(evaluation).items():
            flow = evaluation.methods[name].flow
            if flow is None or name == PERSISTENCE:
                continue
            line = {"color": style.colour, "ls": style.line, "lw": style.width, "marker": style.marker, "ms": 3.5}
            left.plot(shells, flow.spectrum[shells], label=name, **line)
            right.plot(shells, flow.spectrum[shells] / true, **line)
        right.axhline(1.0, color="#228833", lw=1.2)
        for axes in (left, right):
            axes.set_yscale("log")
            axes.set_xlabel("wavenumber")
        plain_log_axis(right)
        left.set_ylabel("kinetic energy in the shell")
        right.set_ylabel("by that of the truth")
        left.legend(fontsize=8)
        figure.suptitle(
            f"{_title(evaluation)}, t = {evaluation.statistics_from:g} to {evaluation.statistics_to:g}", fontsize=10
        )
        return save_figure(figure, path)


def fields(evaluation: TurbulenceEvaluation, path: str | Path | None = None) -> Figure:
    """Vorticities of the first start: columns are times, rows the truth and all methods. Grey: lost."""
    shown = {name: m.fields for name, m in evaluation.methods.items() if name != PERSISTENCE}
    rows = {"truth": evaluation.truth_fields} | shown
    pictures = {name: _vorticity(field) for name, field in rows.items()}
    size = float(np.quantile(np.abs(pictures["truth"]), 0.998))
    scale, colours = Normalize(-size, size), colour_map("RdBu_r")
    with figure_settings():
        figure = new_figure(1.35 * len(evaluation.frames) + 1.6, 1.35 * len(pictures) + 0.7)
        grid = figure.subplots(len(pictures), len(evaluation.frames), squeeze=False)
        for row, (name, each) in enumerate(pictures.items()):
            for column, time in enumerate(evaluation.frames):
                draw_picture(grid[row, column], each[column], scale, colours, "lower")
                if row == 0:
                    grid[row, column].set_title(f"t = {time:g}", fontsize=9)
            grid[row, 0].set_ylabel(name, fontsize=8)
        bar = figure.colorbar(ScalarMappable(scale, colours), ax=list(grid.ravel()), fraction=0.02, pad=0.01)
        bar.outline.set_visible(False)
        figure.suptitle(f"{_title(evaluation)}: vorticity on the coarse grid", fontsize=10)
        return save_figure(figure, path)


FIGURES = {"correlations": correlations, "errors": errors, "spectra": spectra, "fields": fields}
CAPTIONS = {
    "correlations": "Correlation of the vorticity with the truth's; dotted: the thresholds of the table.",
    "errors": "Relative error of the velocity.",
    "spectra": "Energy by wavenumber over the long time.",
    "fields": "Vorticity of the first start. Grey: lost.",
}


def _and_back(rate: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From time to Lyapunov times and back, for a second axis."""
    return (lambda time: time * rate), (lambda number: number / rate)


def _vorticity(fields: np.ndarray) -> np.ndarray:
    """Vorticities ``(frame, x, y)`` of the same waves on at least :data:`POINTS`; NaN where a field is not finite."""
    lost = ~np.isfinite(fields).all(axis=(1, 2, 3))
    found = vorticity(np.where(lost[:, None, None, None], 0.0, fields))
    n = found.shape[-1]
    if n < POINTS:
        found = np.asarray(jnp.fft.irfft2(refine(jnp.fft.rfft2(found), POINTS), s=(POINTS, POINTS)))
    found = np.array(found)
    found[lost] = np.nan
    return found


def _title(evaluation: TurbulenceEvaluation) -> str:
    return f"Kolmogorov flow, Re {evaluation.reynolds:g}, {evaluation.cells} x {evaluation.cells}"
