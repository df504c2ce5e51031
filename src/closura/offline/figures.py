"""Figures of evaluations of closures and reduced-order models."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from closura.core import Results, Role
from closura.offline.closure_scoring import PROBLEM as CLOSURES
from closura.offline.model_scoring import PROBLEM as MODELS
from closura.offline.numbers import distances, spread_skill, study_of
from closura.offline.run_scores import THRESHOLD
from closura.offline.variables import REFERENCE, array_of, kept_array, resolving_shell, scores_of, shown_methods
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.figures.fields import draw_picture
from closura.reporting.scales import ROUNDING, colour_map, size_of
from closura.reporting.style import MethodStyle, styles_of

SHOWN = 3
"""Methods in figures that give each its own panels."""
BOTH = (CLOSURES, MODELS)
CLOSED = "#882299"
_REFERENCE: dict[str, Any] = {"color": "#228833", "lw": 5.0, "alpha": 0.45, "label": "reference"}
"""Broad and pale, so that it can be seen beneath what agrees with it."""
_FILTERED: dict[str, Any] = {"color": "#CC3311", "lw": 1.5, "ls": (0, (6.0, 2.0)), "label": "filtered reference"}
_BANDS = ((0.95, 0.16), (0.68, 0.3))


def _title(results: Results, figure: Figure, more: str = "") -> None:
    figure.suptitle(f"{results.attribute('title')}{more}", fontsize=10)


def _space(results: Results) -> str:
    """The space in which the members of methods live."""
    return "full" if results.problem == CLOSURES else "filtered"


def _random(results: Results) -> list[str]:
    """Methods whose members differ."""
    return [n for n in results.compared if results.roles[n] is Role.CLOSURE or n == "climatology"]


def _style(results: Results, name: str, space: str) -> MethodStyle:
    own = styles_of(results)[name]
    closed = results.problem == MODELS and space == "full"
    return MethodStyle(CLOSED, own.line, "s", 1.8) if closed else own


def _line(results: Results, name: str, space: str = "filtered") -> dict[str, Any]:
    """How the line of a method is drawn."""
    style = _style(results, name, space)
    return {"color": style.colour, "ls": style.line, "lw": style.width}


@figure(
    "lead_time", problems=(MODELS,), needs=("skill", "spread"), order=-1,
    caption="Forecasts against lead time; bands: standard deviation over starts.",
)  # fmt: skip
def lead_time(results: Results, figure: Figure) -> None:
    """Relative L2 error, CRPS and spread over skill against lead time."""
    figure.set_size_inches(11.0, 3.9)
    error, crps, ratio = figure.subplots(1, 3)
    leads = results.times[1:]
    for name in results.compared:
        line = _line(results, name)
        for axes, key in ((error, "relative_l2"), (crps, "crps")):
            values = results.of(key, name)[:, 1:]
            mean, std = values.mean(axis=0), values.std(axis=0)
            axes.plot(leads, mean, label=name, **line)
            if len(values) > 1:
                axes.fill_between(leads, mean - std, mean + std, color=line["color"], alpha=0.13, lw=0)
        if name != "persistence":
            ratio.plot(leads, spread_skill(*(results.of(key, name)[:, 1:] for key in ("skill", "spread"))), **line)
    error.axhline(THRESHOLD, color="#666666", lw=0.8, ls=":")
    ratio.axhline(1.0, color=_REFERENCE["color"], lw=1.4)
    words = ("relative L2 error of the mean", "CRPS (units of velocity)", "spread over skill, 1: calibrated")
    for axes, text in zip((error, crps, ratio), words, strict=True):
        axes.set(xlabel="lead time (length / velocity)", ylabel=text, xlim=(0, leads[-1]))
        axes.set_ylim(bottom=0)
    handles, labels = error.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(labels)))
    rate = results.attribute("lyapunov_exponent")
    if rate:
        above = error.secondary_xaxis("top", functions=(partial(np.multiply, rate), partial(np.multiply, 1 / rate)))
        above.set_xlabel("Lyapunov times", fontsize=9)
        above.tick_params(labelsize=8)
    _title(results, figure, ", filtered fields")


@figure(
    "series", problems=BOTH, needs=("at_point",), when=lambda results: len(results.data["moment"]) >= 8,
    section=SECTIONS[1], order=2,
    caption="The velocity v at one point: bands hold the central 68 and 95 % of the members.",
)  # fmt: skip
def series(results: Results, figure: Figure) -> None:
    """The velocity v at one point over time: the reference, and medians and bands of methods."""
    names, times = results.closures[:SHOWN], results.data["moment"].values
    reference = array_of(results, "at_point", REFERENCE, _space(results))
    known = int(np.isfinite(reference[0]).sum())
    shown = min(len(times), max(2, round(1.25 * known)))
    figure.set_size_inches(8.7, 2.2 * len(names) + 0.9)
    grid = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    for axes, name in zip(grid, names, strict=True):
        members = kept_array(results, "at_point", name, _space(results))
        if members is not None:
            _bands(axes, times[:shown], members[:, :shown], styles_of(results)[name], name)
        axes.plot(times[:known], reference[0, :known], color="black", lw=1.1, label=REFERENCE)
        axes.set_xlim(times[0], times[shown - 1])
        axes.set_ylabel("v at the point")
        axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.22))
    grid[-1].set_xlabel("time (units of length / velocity)")
    _title(results, figure)


def _bands(axes: Axes, times: np.ndarray, members: np.ndarray, style: MethodStyle, label: str) -> None:
    """Median and central bands of members ``(member, time)``; nothing at times at which all are lost."""
    there = np.isfinite(members).any(axis=0)
    times, members = times[there], members[:, there]
    for level, alpha in _BANDS:
        low, high = np.nanquantile(members, ((1 - level) / 2, (1 + level) / 2), axis=0)
        axes.fill_between(times, low, high, color=style.colour, alpha=alpha, lw=0, label=f"{label}: {100 * level:g} %")
    axes.plot(times, np.nanmedian(members, axis=0), color=style.colour, lw=1.2, label=f"{label}: median")


def _pictured(results: Results) -> list[str]:
    space = _space(results)
    return [n for n in results.closures if kept_array(results, "example_std", n, space) is not None][:SHOWN]


@figure(
    "samples", problems=BOTH, needs=("example",), when=lambda results: bool(_pictured(results)), section=SECTIONS[1],
    order=1, caption="One frame: what methods are given and make of it, and the reference. Error and standard "
    "deviation share a scale.",
)  # fmt: skip
def samples(results: Results, figure: Figure) -> None:
    """Both velocities of one frame: filtered reference, member, mean, its error, spread, closed member, reference."""
    names, space = _pictured(results), _space(results)
    low, reference = (array_of(results, "example", REFERENCE, each) for each in ("filtered", "full"))
    wanted = reference if space == "full" else low
    several = space == "filtered" and any(kept_array(results, "example", n, "full") is not None for n in names)
    titles = ["filtered reference", "one member", "mean", "|mean − reference|", "standard deviation"]
    titles += ["member, closed", "reference"] if several else ["reference"]
    figure.set_size_inches(1.85 * len(titles) + 0.7, 1.75 * 2 * len(names) + 0.9)
    grid = figure.subplots(2 * len(names), len(titles), squeeze=False)
    for number, name in enumerate(names):
        member, mean, std = (
            array_of(results, each, name, space) for each in ("example", "example_mean", "example_std")
        )
        error = np.abs(mean - wanted)
        spread = _positive(std, error, size=size_of(reference))
        for c in range(2):
            scale = _symmetric(reference[c])
            pictures = [(low, scale), (member, scale), (mean, scale), (error, spread), (std, spread)]
            if several:
                pictures.append((array_of(results, "example", name, "full"), scale))
            pictures.append((reference, scale))
            row = grid[2 * number + c]
            images = []
            for axes, (field, norm) in zip(row, pictures, strict=True):
                colours = colour_map("magma" if norm is spread else "RdBu_r")
                images.append(draw_picture(axes, field[c], norm, colours, "lower"))
            row[0].set_ylabel(f"{name}\n{'uv'[c]}")
            figure.colorbar(images[2], ax=row[2], shrink=0.85, pad=0.03)
            figure.colorbar(images[4], ax=row[4], shrink=0.85, pad=0.03)
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=10)
    _title(results, figure, f"; velocity at t = {results.attribute('example_time'):.4g}")


def _symmetric(*fields: np.ndarray) -> Normalize:
    """A scale about zero that holds 99.9 % of all values."""
    limit = float(_positive(*(np.abs(field) for field in fields)).vmax or 1.0)
    return Normalize(-limit, limit)


def _positive(*fields: np.ndarray, size: float = 0.0) -> Normalize:
    """A scale from zero that holds 99.9 % of all values; of ``size``, that of the fields, no less than rounding."""
    values = np.concatenate([field[np.isfinite(field)].ravel() for field in fields])
    limit = float(np.quantile(values, 0.999)) if values.size else 1.0
    return Normalize(0.0, max(limit, ROUNDING * size, 1e-12))


@figure(
    "calibration", problems=BOTH, needs=("total_histogram",), order=20,
    when=lambda results: any(scores_of(results, name) for name in _random(results)),
    caption="Left: coverage of central intervals. Right: rank of the reference among the members, flat if calibrated, "
    "a bowl if overconfident, a hill if too wide.",
)  # fmt: skip
def calibration(results: Results, figure: Figure) -> None:
    """Observed against nominal coverage, and ranks of the reference by what a calibrated ensemble has."""
    found = {name: scores for name in _random(results) if (scores := scores_of(results, name)) is not None}
    figure.set_size_inches(4.2 + 3.0 * len(found), 3.9)
    grid = figure.subplots(1, 1 + len(found), width_ratios=[1.25] + [1.0] * len(found))
    grid[0].plot([0, 100], [0, 100], color=_REFERENCE["color"], lw=1.4, label="calibrated")
    for axes, (name, scores) in zip(grid[1:], found.items(), strict=True):
        style = styles_of(results)[name]
        grid[0].plot(
            100 * np.asarray(scores.levels), 100 * np.asarray(scores.coverage), color=style.colour, ls=style.line,
            lw=style.width, marker=style.marker, ms=4, label=name,
        )  # fmt: skip
        counts = scores.histogram.astype(np.float64)
        share = counts / max(counts.sum(), 1) * len(counts)
        axes.bar(np.arange(len(counts)), share, width=1.0, color=style.colour, alpha=0.75, lw=0)
        axes.axhline(1.0, color=_REFERENCE["color"], lw=1.4)
        axes.set(xlim=(-0.5, len(counts) - 0.5), ylim=(0, max(2.0, 1.05 * share.max())), title=name)
        axes.set_xlabel("members below the reference")
    grid[0].set(xlim=(0, 100), ylim=(0, 100), xlabel="nominal coverage (%)", ylabel="references inside (%)")
    grid[0].set_aspect("equal")
    grid[0].legend(fontsize=8)
    grid[1].set_ylabel("frequency, 1: calibrated")
    _title(results, figure)


@figure(
    "energies", problems=BOTH, needs=("flow_energy_density",), order=46,
    caption="Distribution of the kinetic energy over points and frames.",
)  # fmt: skip
def energies(results: Results, figure: Figure) -> None:
    """Probability densities of the kinetic energy at points: reference, filtered reference, samples, closed ones."""
    figure.set_size_inches(6.8, 4.2)
    axes, centres = figure.subplots(), results.data["energy"].values
    lines = [(density, dict(look)) for density, look in _references(results, "flow_energy_density")]
    for name, label, space, density in shown_methods(results, "flow_energy_density"):
        if name in _random(results) and density.any():  # all may lie beyond the range
            lines.append((density, {**_line(results, name, space), "label": label}))
    ends = [np.searchsorted(np.cumsum(density) / density.sum(), 0.9999) for density, _ in lines]
    last = min(int(max(ends)), len(centres) - 1)
    # Some sixty bins to there, of equal numbers of those that are kept.
    bins = next(n for n in range(max(1, (last + 1) // 60), len(centres) + 1) if len(centres) % n == 0)
    largest = 0.0
    for density, look in lines:
        joined = density.reshape(-1, bins).mean(axis=1)
        there = joined > 0
        axes.plot(centres.reshape(-1, bins).mean(axis=1)[there], joined[there], **look)
        largest = max(largest, float(joined.max()))
    axes.set_yscale("log")
    axes.set(xlim=(0, centres[last]), ylim=(largest * 1e-5, largest * 2))
    axes.set(xlabel="kinetic energy at a point, (u² + v²)/2", ylabel="probability density")
    axes.legend(fontsize=8)
    _title(results, figure)


def _references(results: Results, variable: str) -> Sequence[tuple[np.ndarray, dict[str, Any]]]:
    """The reference's and the filtered reference's array, and how they are drawn."""
    full, low = (array_of(results, variable, REFERENCE, space) for space in ("full", "filtered"))
    return ((full, _REFERENCE), (low, _FILTERED))


@figure("flow_spectra", problems=BOTH, needs=("flow_spectrum",), order=45, caption="Energy by wavenumber.")
def flow_spectra(results: Results, figure: Figure) -> None:
    """Energy in shells, and its ratio to the reference's, up to the shell that holds 99.99 % of the energy."""
    figure.set_size_inches(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    (reference, broad), (low, dashed) = _references(results, "flow_spectrum")
    last = resolving_shell(results, "full")
    every = np.arange(1, min(len(reference), max(2 * last, last + 4)))
    every = every[reference[every] > 0]
    floor, shells = float(reference[every].min()), np.arange(1, last + 1)
    left.plot(every, reference[every], **broad)
    lines = [(low, dashed)]
    for name, label, space, spectrum in shown_methods(results, "flow_spectrum"):
        if name in _random(results):
            look = {"marker": _style(results, name, space).marker, "ms": 3.5, "label": label}
            lines.append((spectrum, {**_line(results, name, space), **look}))
    for spectrum, line in lines:
        there = every[spectrum[every] > floor * 1e-2]
        left.plot(there, spectrum[there], **line)
        right.plot(shells, spectrum[shells] / reference[shells], **line)
    right.axhline(1.0, color=_REFERENCE["color"], lw=1.4)
    left.set_yscale("log")
    left.axvline(last, color="#666666", lw=0.7, ls=":")
    left.set(xlabel="wavenumber |k|, in shells", ylabel="kinetic energy in the shell", ylim=(floor * 0.3, None))
    right.set(xlabel="wavenumber |k|, in shells", ylabel="by that of the reference", xlim=(0.5, last + 0.5))
    bottom, top = right.get_ylim()
    right.set_ylim(max(bottom, 0.0), min(max(top, 1.05), 3.0))
    left.legend(fontsize=8)
    _title(results, figure, "; right: shells with 99.99 % of the energy")


@figure(
    "energy_distances", problems=(MODELS,), needs=("distance_pooled",), order=47,
    when=lambda results: results.data.sizes["slice"] > 0,
    caption="How far the distribution of the kinetic energy is from the reference's, as runs get longer.",
)  # fmt: skip
def energy_distances(results: Results, figure: Figure) -> None:
    """Wasserstein-1 distance of the energy's distribution by slice, with the bar."""
    closed = study_of(results)["closure"] is not None
    panels: list[tuple[str, ...]] = [("filtered",), ("unclosed", "closed")][: 2 if closed else 1]
    figure.set_size_inches(9.6 if closed else 5.6, 4.0)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, kinds in zip(grid, panels, strict=True):
        bar = None
        for name in results.closures:
            for kind in kinds:
                found = distances(results, name, kind)
                assert found is not None
                _slices(axes, results, name, kind, *found[:2])
                bar = found[2]
        if bar is not None:
            axes.axhline(bar, color=_REFERENCE["color"], lw=1.4, label="bar: 95 % of true slices")
        axes.set(xlabel="middle of the slice, time since the start", ylim=(0, None))
        axes.set_title(
            "filtered fields, to the filtered reference" if len(kinds) == 1 else "to the full reference", fontsize=10
        )
        axes.legend(fontsize=8)
    grid[0].set_ylabel("Wasserstein-1 distance (units of energy)")
    _title(results, figure, f", slices of {study_of(results)['slice_steps']} steps")


def _slices(axes: Axes, results: Results, name: str, kind: str, pooled: np.ndarray, single: np.ndarray) -> None:
    study = study_of(results)
    middles = study["slice_steps"] * study["step"] * (np.arange(pooled.shape[1]) + 0.5)
    style = _style(results, name, "full" if kind == "closed" else "filtered")
    label = {"filtered": name, "unclosed": f"{name}, before", "closed": f"{name}, closed"}[kind]
    look: dict[str, Any] = {"color": style.colour, "lw": 2, "marker": "o", "ms": 4}
    line = "--" if kind == "unclosed" else "-"
    axes.plot(middles, pooled.mean(axis=0), ls=line, label=f"{label}: members together", **look)
    there = np.isfinite(single).any(axis=(0, 1))
    if kind == "unclosed" or not there.any():
        return
    known, at = single[..., there], middles[there]
    low, high = np.nanquantile(known, (0.05, 0.95), axis=(0, 1))
    axes.fill_between(at, low, high, color=style.colour, alpha=0.15, lw=0, label=f"{label}: 90 % of single members")
    axes.plot(at, np.nanmean(known, axis=(0, 1)), color=style.colour, ls=":", lw=1.4, label=f"{label}: single, mean")


@figure(
    "space_time", problems=BOTH, needs=("along_x",), when=lambda results: len(results.data["moment"]) >= 8,
    section=SECTIONS[1], order=3, caption="Kinetic energy averaged over y.",
)  # fmt: skip
def space_time(results: Results, figure: Figure) -> None:
    """Energy along x over time: the reference and one member of each method; cut above 4/3 of the reference's."""
    times = results.data["moment"].values
    full, low = (image for image, _ in _references(results, "along_x"))
    images = {REFERENCE: full, "filtered reference": low}
    for name, label, _, image in shown_methods(results, "along_x"):
        if name in results.closures[:SHOWN]:
            images[f"{label}, one member"] = image
    figure.set_size_inches(8.2, 1.55 * len(images) + 0.9)
    grid = figure.subplots(len(images), 1, squeeze=False, sharex=True)[:, 0]
    scale = Normalize(0.0, 4 / 3 * float(_positive(full).vmax or 1.0))
    for axes, (title, image) in zip(grid, images.items(), strict=True):
        known = np.flatnonzero(np.isfinite(image).all(axis=1))
        own, points = times[known], image.shape[1]
        edges = np.concatenate([own, [own[-1] + (own[-1] - own[-2] if len(own) > 1 else 1.0)]])
        shown = axes.pcolormesh(
            edges, 2 * np.pi * np.arange(points + 1) / points, image[known].T, norm=scale, cmap="viridis",
            rasterized=True,
        )  # fmt: skip
        axes.grid(visible=False)
        axes.set_title(title, fontsize=9, loc="left")
        axes.set_yticks([0, np.pi, 2 * np.pi], ["0", "π", "2π"])
        axes.set_ylabel("x")
    grid[-1].set(xlabel="time (units of length / velocity)", xlim=(times[0], times[-1]))
    figure.colorbar(shown, ax=list(grid), label="energy, mean over y", shrink=0.8, extend="max")
    _title(results, figure)
