"""``closura data filter``: the large scales of a data set of flows, trajectory by trajectory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from closura.commands.console import console
from closura.commands.options import Positional, parse
from closura.commands.results import Outputs
from closura.offline.filters import FILTERS, Filter, ModePower, Rule, SpectralCutoff, cutoff_by_energy
from closura.reporting.style import figure_settings, new_figure, plain_log_axis, save_figure
from closura.settings import Natural, Positive, Settings
from closura.trajectories import FlowData, new_flow, open_flow
from closura.trajectories.store import check_free


@dataclass(frozen=True)
class FilterOptions(Settings):
    """What to filter, and how.

    Parameters
    ----------
    file
        The data set, a zarr folder.
    out
        The zarr folder to write.
    filter
        spectral (sharp and isotropic, of a cut-off), gaussian or box (both of a width).
    cutoff
        Wavenumber up to which the spectral filter keeps modes; instead of an energy.
    energy
        Fraction of the energy that chooses the cut-off (default 0.9, where there is no cut-off).
    rule
        crossing: the smallest whole cut-off that holds the fraction of all energy. published: the centre of the shell
        where the slower component reaches it.
    choose_from
        Trajectories that the cut-off is chosen from: training data only, for a fair test (default: all).
    choose_until
        Time up to which their frames are used for it.
    width
        Of the Gaussian and of the box, in the unit of length: the domain has 2 pi.
    figure
        File for a figure of the spectra before and after.
    overwrite
        Replace a data set of flows that is there.
    """

    file: Positional[Path]
    out: Path
    filter: Literal["spectral", "gaussian", "box"] = "spectral"
    cutoff: Positive | None = None
    energy: Annotated[float | None, "fraction of the energy that chooses the cut-off (default: 0.9)"] = None
    rule: Rule = "crossing"
    choose_from: tuple[Natural, ...] = ()
    choose_until: float | None = None
    width: Positive | None = None
    figure: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Filtered:
    """What the command did: the new data set, the filter, power before, and errors of the filtered field."""

    data: FlowData
    filter: Filter
    power: ModePower
    relative_l1: float
    relative_l2: float


def run_filter(arguments: Sequence[str]) -> Filtered:
    """Filter a data set; say what is kept and what a filtered field misses."""
    o = parse(FilterOptions, arguments, prog="closura data filter", description="The large scales of a data set.")
    _check_options(o)
    outputs = Outputs(files={"--figure": o.figure}, stores={"--out": o.out})
    data = open_flow(o.file)
    if o.out.resolve() == o.file.resolve():
        raise ValueError(f"{o.out} is the data set itself: choose another name for the filtered one")
    check_free(o.out, overwrite=o.overwrite)
    with console.status("measuring spectra"):
        chosen = _filter_of(data, o)
    power = ModePower.empty((2, data.points, data.points))
    sums = np.zeros(4)
    description = data.description
    attributes = {**description.attributes, "filter": chosen.plain(), "filtered_from": o.file.name}
    described = type(description)(**{**vars(description), "attributes": attributes})
    with console.status("filtering") as status, new_flow(o.out, described, overwrite=o.overwrite) as writer:
        for trajectory in range(data.trajectories):
            status.update(f"filtering: trajectory {trajectory + 1} of {data.trajectories}")
            for start, full in data.chunks(trajectory):
                filtered = chosen(full)
                writer.write(trajectory, start, filtered)
                power = power.add(full)
                error, reference = (full - filtered).astype(np.float64), full.astype(np.float64)
                sums += [
                    np.abs(error).sum(),
                    np.abs(reference).sum(),
                    np.square(error).sum(),
                    np.square(reference).sum(),
                ]
    found = Filtered(open_flow(o.out), chosen, power, sums[0] / sums[1], float(np.sqrt(sums[2] / sums[3])))
    outputs.deliver({"--figure": partial(draw_spectra, power, chosen)}, partial(_say, found))
    if o.figure:
        console.print(f"spectra: {o.figure}", soft_wrap=True)
    return found


def _check_options(o: FilterOptions) -> None:
    spectral = o.filter == "spectral"
    if spectral and o.width is not None:
        raise ValueError("the spectral filter has a cut-off, no width: give --cutoff or --energy")
    if not spectral and (o.cutoff is not None or o.energy is not None):
        raise ValueError(f"the {o.filter} filter has a width, no cut-off: give --width")
    if not spectral and o.width is None:
        raise ValueError(f"the {o.filter} filter needs --width, in a domain of 2 pi")
    if o.cutoff is not None and o.energy is not None:
        raise ValueError("a cut-off and an energy to choose it by: give one of --cutoff, --energy")

    if o.figure is not None:
        formats = FigureCanvasAgg.get_supported_filetypes()
        if o.figure.suffix[1:].lower() not in formats:
            raise ValueError(
                f"--figure {o.figure}: give a file name that ends in one of .{', .'.join(sorted(formats))}"
            )


def _filter_of(data: FlowData, o: FilterOptions) -> Filter:
    if o.width is not None:
        return FILTERS[o.filter](o.width)
    if o.cutoff is not None:
        return SpectralCutoff(o.cutoff)
    stop = data.frames
    if o.choose_until is not None:
        stop = int(np.searchsorted(data.times, o.choose_until, side="right"))
        if stop == 0:
            raise ValueError(f"no frame up to time {o.choose_until:g}; the first is at {data.times[0]:g}")
    power = ModePower.empty((2, data.points, data.points))
    for trajectory in o.choose_from or range(data.trajectories):
        for _, full in data.chunks(trajectory, stop):
            power = power.add(full)
    return SpectralCutoff(cutoff_by_energy(power, 0.9 if o.energy is None else o.energy, o.rule))


def _say(found: Filtered) -> None:
    points = found.power.points
    transfer = found.filter.transfer(points)
    (u, v), both = found.power.kept(transfer), found.power.kept_total(transfer)
    settings = ", ".join(f"{name} {value:.6g}" for name, value in found.filter.plain().items() if name != "filter")
    console.print(
        f"{found.data.path}: {found.filter.name} filter, {settings}, {found.filter.kept(points)} of "
        f"{points[0] * points[1]} numbers per component\n"
        f"energy kept: u {100 * u:.1f} %, v {100 * v:.1f} %, total {100 * both:.1f} %\n"
        f"error of the filtered field: relative L1 {100 * found.relative_l1:.1f} %, "
        f"L2 {100 * found.relative_l2:.1f} %",
        soft_wrap=True,
    )


def draw_spectra(power: ModePower, applied: Filter, path: Path) -> Figure:
    """Shell spectra of u, v and their sum, before (thin) and after (thick) the filter."""
    kept = ModePower(power.sums * np.square(applied.transfer(power.points)), power.frames, power.points)
    with figure_settings():
        figure = new_figure(5.5, 4.0)
        axes = figure.subplots()
        looks = (("u", "#0077BB", "-"), ("v", "#EE7733", "--"), ("total", "#333333", "-."))
        waves, before = power.shells()
        after = kept.shells()[1]
        for (name, colour, line), full, large in zip(looks, _with_sum(before), _with_sum(after), strict=True):
            shown = large > 1e-12 * large.max()
            axes.plot(waves[1:], full[1:], color=colour, linestyle=line, linewidth=1.0, label=name)
            axes.plot(waves[shown][waves[shown] > 0], large[shown][waves[shown] > 0], color=colour, linestyle=line,
                      linewidth=2.6, alpha=0.6)  # fmt: skip
        if isinstance(applied, SpectralCutoff):
            axes.axvline(applied.cutoff, color="#888888", linewidth=1.0)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(float(before.max()) * 1e-12, 1e-14))
        plain_log_axis(axes, "x")
        axes.set_xlabel("wavenumber |k|")
        axes.set_ylabel("energy in the shell")
        axes.set_title(f"thin: full, thick: after the {applied.name} filter")
        axes.legend()
        return save_figure(figure, path)


def _with_sum(energies: np.ndarray) -> np.ndarray:
    return np.concatenate([energies, energies.sum(axis=0, keepdims=True)])
