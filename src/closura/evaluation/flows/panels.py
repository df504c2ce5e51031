"""Figures that studies of closures and of reduced-order models share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from closura.evaluation.flows.look import FILTERED, TRUTH, nothing_is_nan, picture, positive, styles_of
from closura.metrics.ensembles import Histogram, Scores
from closura.reporting.style import MethodStyle, new_figure, plain_log_axis

PDF_BINS = 60
_BANDS = ((0.95, 0.16), (0.68, 0.3))


def energy_densities(
    axes: Axes,
    truth: Histogram,
    filtered: Histogram | None,
    rows: Mapping[str, Histogram],
    styles: Mapping[str, MethodStyle] | None = None,
) -> None:
    """Probability densities of the kinetic energy at points."""
    styles = styles if styles is not None else styles_of(tuple(rows))
    lines = [(truth, dict(TRUTH))]
    if filtered is not None:
        lines.append((filtered, dict(FILTERED)))
    for name, histogram in rows.items():
        style = styles[name]
        lines.append((histogram, {"color": style.colour, "ls": style.line, "lw": style.width, "label": name}))
    last = max(_extent(histogram) for histogram, _ in lines)
    largest = 0.0
    for histogram, look in lines:
        bins = _divisor(histogram.bins, round(PDF_BINS * (histogram.upper - histogram.lower) / last))
        edges, density = histogram.density(bins)
        centres = 0.5 * (edges[1:] + edges[:-1])
        axes.plot(centres[density > 0], density[density > 0], **look)
        largest = max(largest, float(density.max()))
    axes.set_yscale("log")
    axes.set(xlim=(0, last), ylim=(largest * 1e-5, largest * 2))
    axes.set_xlabel("kinetic energy at a point, (u² + v²)/2")
    axes.set_ylabel("probability density")
    axes.legend(fontsize=8)


def _extent(histogram: Histogram) -> float:
    """Where 99.99 % of the values lie below."""
    edges, density = histogram.density()
    cumulative = np.cumsum(density) * (edges[1] - edges[0])
    return float(edges[1:][min(int(np.searchsorted(cumulative, 0.9999)), len(density) - 1)])


def _divisor(bins: int, near: int) -> int:
    return min((d for d in range(1, bins + 1) if bins % d == 0), key=lambda d: abs(d - near))


def spectra(
    left: Axes,
    right: Axes,
    truth: np.ndarray,
    last: int,
    filtered: np.ndarray | None,
    rows: Mapping[str, np.ndarray],
    styles: Mapping[str, MethodStyle] | None = None,
) -> None:
    """Energy in shells, and its ratio to the truth's, up to the shell that holds 99.99 % of the energy."""
    styles = styles if styles is not None else styles_of(tuple(rows))
    every = np.arange(1, min(len(truth), max(2 * last, last + 4)))
    every = every[truth[every] > 0]
    left.plot(every, truth[every], **TRUTH)
    floor = float(truth[every].min())
    shells = np.arange(1, last + 1)
    if filtered is not None:
        there = every[filtered[every] > floor * 1e-2]
        left.plot(there, filtered[there], **FILTERED)
        right.plot(shells, filtered[shells] / truth[shells], color=FILTERED["color"], ls=FILTERED["ls"], lw=1.5)
    for name, spectrum in rows.items():
        style = styles[name]
        line: dict[str, Any] = {
            "color": style.colour,
            "ls": style.line,
            "lw": style.width,
            "marker": style.marker,
            "ms": 3.5,
        }
        there = every[spectrum[every] > floor * 1e-2]
        left.plot(there, spectrum[there], label=name, **line)
        right.plot(shells, spectrum[shells] / truth[shells], **line)
    right.axhline(1.0, color=TRUTH["color"], lw=1.4)
    left.set_yscale("log")
    left.axvline(last, color="#666666", lw=0.7, ls=":")
    left.set(xlabel="wavenumber |k|, in shells", ylabel="kinetic energy in the shell", ylim=(floor * 0.3, None))
    right.set(xlabel="wavenumber |k|, in shells", ylabel="by that of the truth", xlim=(0.5, last + 0.5))
    low, high = right.get_ylim()
    right.set_ylim(max(low, 0.0), min(max(high, 1.05), 3.0))
    left.legend(fontsize=8)


def reliability(axes: Axes, rows: Mapping[str, Scores]) -> None:
    """Observed against nominal coverage of central intervals."""
    axes.plot([0, 100], [0, 100], color="#228833", lw=1.4, label="calibrated")
    for name, style in styles_of(tuple(rows)).items():
        scores = rows[name]
        level, coverage = 100 * np.asarray(scores.levels), 100 * np.asarray(scores.coverage)
        axes.plot(
            level, coverage, color=style.colour, ls=style.line, lw=style.width, marker=style.marker, ms=4, label=name
        )
    axes.set(xlim=(0, 100), ylim=(0, 100), xlabel="nominal coverage (%)", ylabel="truths inside (%)")
    axes.set_aspect("equal")
    axes.legend(fontsize=8)


def ranks(figure_axes: Sequence[Axes], rows: Mapping[str, Scores]) -> None:
    """How often the truth has each rank among the members, by what a calibrated ensemble has."""
    for axes, (name, style) in zip(figure_axes, styles_of(tuple(rows)).items(), strict=True):
        counts = rows[name].histogram.astype(np.float64)
        share = counts / max(counts.sum(), 1) * len(counts)
        axes.bar(np.arange(len(counts)), share, width=1.0, color=style.colour, alpha=0.75, lw=0)
        axes.axhline(1.0, color="#228833", lw=1.4)
        axes.set(xlim=(-0.5, len(counts) - 0.5), ylim=(0, max(2.0, 1.05 * share.max())))
        axes.set_title(name)
        axes.set_xlabel("members below the truth")
    figure_axes[0].set_ylabel("frequency, 1: calibrated")


def bands(
    axes: Axes, times: np.ndarray, members: np.ndarray, style: MethodStyle, label: str, truth: np.ndarray | None
) -> None:
    """Median and central bands of members ``(member, time)`` at one point, beside the truth ``(time,)``."""
    with nothing_is_nan():
        middle = np.nanmedian(members, axis=0)
        edges = [np.nanquantile(members, ((1 - level) / 2, (1 + level) / 2), axis=0) for level, _ in _BANDS]
    for (low, high), (level, alpha) in zip(edges, _BANDS, strict=True):
        axes.fill_between(times, low, high, color=style.colour, alpha=alpha, lw=0, label=f"{label}: {100 * level:g} %")
    axes.plot(times, middle, color=style.colour, lw=1.2, label=f"{label}: median")
    if truth is not None:
        axes.plot(times[: len(truth)], truth, color="black", lw=1.1, label="truth")
    axes.set_xlim(times[0], times[-1])


def space_time(panels: Mapping[str, tuple[np.ndarray, np.ndarray]], *, what: str) -> Figure:
    """Images of the kinetic energy averaged over y, ``(times, (time, x))`` by title, on one time axis.

    They share the scale of the first, the truth: what exceeds it by more than a third is cut.
    """
    figure = new_figure(8.2, 1.55 * len(panels) + 0.9)
    all_axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
    scale = positive(next(iter(panels.values()))[1])
    scale = Normalize(0.0, 4 / 3 * float(scale.vmax or 1.0))
    end = max(float(times[-1]) for times, _ in panels.values())
    begin = min(float(times[0]) for times, _ in panels.values())
    shown: Any = None
    for axes, (title, (times, image)) in zip(all_axes, panels.items(), strict=True):
        points = image.shape[1]
        edges = np.concatenate([times, [times[-1] + (times[-1] - times[-2] if len(times) > 1 else 1.0)]])
        shown = axes.pcolormesh(
            edges, 2 * np.pi * np.arange(points + 1) / points, np.ma.masked_invalid(image.T), norm=scale,
            cmap="viridis", rasterized=True,
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_yticks([0, np.pi, 2 * np.pi], ["0", "π", "2π"])
        axes.set_ylabel("x")
    all_axes[-1].set(xlabel="time (units of length / velocity)", xlim=(begin, max(end, begin + 1e-9)))
    figure.colorbar(shown, ax=list(all_axes), label="energy, mean over y", shrink=0.8, extend="max")
    figure.suptitle(what, fontsize=10)
    return figure


def field_row(
    row: Sequence[Axes], fields: Sequence[np.ndarray], scales: Sequence[Normalize], colours: Sequence[str], label: str
) -> list[AxesImage]:
    """A row of pictures; returns the images."""
    images = [
        picture(axes, field, scale, colour)
        for axes, field, scale, colour in zip(row, fields, scales, colours, strict=True)
    ]
    row[0].set_ylabel(label)
    return images


def log_axis(axes: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    axes.set_yscale("log")
    plain_log_axis(axes)
