"""Figures of turbulent flows: correlations over time, spectra, vorticities side by side."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from closura.core import Results, Role
from closura.metrics.ensembles import vorticity
from closura.numerics.fourier import refine
from closura.problems.kolmogorov.metrics import THRESHOLDS
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.figures.fields import draw_fields, pictured
from closura.reporting.style import figure_title, plain_log_axis, styles_of

POINTS = 96
"""Pictures of coarser grids are drawn on so many points per side, by their Fourier series."""


@figure(
    "correlations", needs=("correlation", "log_spectrum_error"), order=0,
    caption="Correlation of the vorticity with the reference's; dotted: the thresholds of the table.",
)  # fmt: skip
def correlations(results: Results, figure: Figure) -> None:
    """Correlation of the vorticity with the reference's over time: mean, and the middle half of simulations."""
    figure.set_size_inches(7.2, 4.3)
    axes, styles = figure.subplots(), styles_of(results)
    for name in results.compared:
        series, style = results.of("correlation", name), styles[name]
        axes.plot(results.times, series.mean(axis=0), color=style.colour, ls=style.line, lw=style.width, label=name)
        low, high = np.quantile(series, (0.25, 0.75), axis=0)
        axes.fill_between(results.times, low, high, color=style.colour, alpha=0.13, lw=0)
    for threshold in THRESHOLDS:
        axes.axhline(threshold, color="#666666", lw=0.7, ls=":")
    axes.set(xlim=(0, results.times[-1]), ylim=(-0.1, 1.02), xlabel="time")
    axes.set_ylabel("correlation of the vorticity")
    exponent = results.attribute("lyapunov_exponent", 0.0)
    if exponent > 0:
        axes.secondary_xaxis("top", functions=_and_back(exponent)).set_xlabel("Lyapunov times", fontsize=9)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_title(figure_title(results, "mean and middle half of simulations"))


@figure("spectra", needs=("spectrum",), order=45, caption="Energy by wavenumber over the long run.")
def spectra(results: Results, figure: Figure) -> None:
    """Energy by wavenumber over the long run, and its ratio to the reference's."""
    figure.set_size_inches(8.6, 3.9)
    left, right = figure.subplots(1, 2)
    shells, styles = np.arange(1, int(results.attribute("cells")) // 2), styles_of(results)
    assert results.reference is not None
    true = results.of("spectrum", results.reference)[shells]
    for name in (results.reference, *results.compared):
        spectrum, style = results.of("spectrum", name)[shells], styles[name]
        if np.isnan(spectrum).any() or results.roles[name] is Role.NAIVE:
            continue
        if name == results.reference:
            left.plot(shells, true, color=style.colour, lw=2.6, label=name)
            continue
        line = {"color": style.colour, "ls": style.line, "lw": style.width, "marker": style.marker, "ms": 3.5}
        left.plot(shells, spectrum, label=name, **line)
        right.plot(shells, spectrum / true, **line)
    right.axhline(1.0, color=styles[results.reference].colour, lw=1.2)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_xlabel("wavenumber")
        plain_log_axis(axes)
    left.set_ylabel("kinetic energy in the shell")
    right.set_ylabel(f"by that of {results.reference}")
    right.legend(*left.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    start, end = (results.attribute(f"statistics_{which}") for which in ("from", "to"))
    figure.suptitle(figure_title(results, f"t = {start:g} to {end:g}"), fontsize=11)


def _is_flow(results: Results) -> bool:
    kept = [fields for name in results.methods if (fields := results.fields(name)) is not None]
    return pictured(results) and kept[0].shape[2] == 2


@figure(
    "vorticity", needs=("log_spectrum_error",), when=_is_flow, section=SECTIONS[1], order=0,
    caption="Vorticity of the first simulation. Grey: diverged.",
)  # fmt: skip
def vorticity_strips(results: Results, figure: Figure) -> None:
    """Vorticities of the first simulation: columns are times, rows are methods and the reference."""
    draw_fields(results, figure, quantity=_vorticity, label="vorticity")


def _vorticity(fields: np.ndarray) -> np.ndarray:
    """Vorticities ``(frame, x, y)`` of the same waves on at least :data:`POINTS`; NaN where a field is not finite."""
    lost = ~np.isfinite(fields).all(axis=(1, 2, 3))
    found = vorticity(np.where(lost[:, None, None, None], 0.0, fields))
    n = found.shape[-1]
    if n < POINTS:
        found = np.asarray(jnp.fft.irfft2(refine(jnp.fft.rfft2(found), POINTS), s=(POINTS, POINTS)))
    found = np.array(found, np.float32)
    found[lost] = np.nan
    return found


def _and_back(rate: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From time to Lyapunov times and back, for a second axis."""
    return (lambda time: time * rate), (lambda number: number / rate)
