"""``closura data``: public files, and data sets of simulated flows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Literal

from closura.commands.console import console, fail, work_bar
from closura.commands.options import HELP, Group, Positional, parse, parse_groups
from closura.commands.problems import ACTIONS
from closura.initial.datasets import fetch
from closura.reporting.table import Table, print_table
from closura.settings import Settings
from closura.trajectories import (
    FlowData,
    FlowDiverged,
    GenerationConfiguration,
    GenerationProgress,
    convert,
    generate,
    open_flow,
)
from closura.trajectories.coordinates import shown
from closura.trajectories.readers import Layout
from closura.trajectories.schema import Precision
from closura.trajectories.statistics import Moments, moments_of_trajectories

DATA = """\
usage: closura data ACTION ...

  closura data fetch NAME               download images (mnist, fashion-mnist), checksum-verified
  closura data generate kolmogorov      simulate flows into a zarr store; a killed run goes on
  closura data convert SOURCE           flows of other layouts (kolsol, published, the-well) into such a store
  closura data filter FILE.zarr         the large scales of a data set
  closura data show FILE.zarr           what a data set holds, with statistics

Each action explains its options with --help.
"""


@dataclass(frozen=True)
class _Data:
    name: Annotated[Positional[Literal["mnist", "fashion-mnist"]], "the data set"]


@dataclass(frozen=True)
class _Generate:
    problem: Annotated[Positional[Literal["kolmogorov"]], "the flow"]
    out: Annotated[Path, "the zarr folder to make, or to go on with"]
    overwrite: Annotated[bool, "replace a data set of flows that is there"] = False


@dataclass(frozen=True)
class _Convert(Settings):
    sources: Annotated[Positional[tuple[Path, ...]], "files of one layout; their trajectories follow each other"]
    layout: Annotated[Layout, "KolSol's HDF5, the published .npy, or The Well's HDF5"]
    out: Annotated[Path, "the zarr folder to write"]
    stride: Annotated[int, "keep every stride-th frame"] = 1
    reynolds: Annotated[float | None, "Reynolds number, if the file does not say"] = None
    forcing: Annotated[int | None, "wavenumber of the forcing, if the file does not say; 0 without"] = None
    interval: Annotated[float | None, "time between the file's frames, if it does not say"] = None
    precision: Annotated[Precision, "in which frames are kept"] = "float32"
    overwrite: Annotated[bool, "replace a data set of flows that is there"] = False


@dataclass(frozen=True)
class _Show:
    file: Annotated[Positional[Path], "the zarr folder"]


def run_data(arguments: Sequence[str]) -> None:
    """Find the action and run it."""
    if not arguments or arguments[0] in HELP:
        console.print(DATA, end="", soft_wrap=True)
        return
    ACTIONS.find(arguments[0])(arguments[1:])


def run_fetch(arguments: Sequence[str]) -> None:
    """Download a data set into the cache."""
    parsed = parse(_Data, arguments, prog="closura data fetch", description="Download images.")
    console.print(f"{parsed.name}: {fetch(parsed.name)}", soft_wrap=True)


def run_generate(arguments: Sequence[str]) -> FlowData:
    """Simulate flows; the last line says what there is."""
    parsed, c = parse_groups(
        arguments,
        Group(_Generate),
        Group(GenerationConfiguration),
        prog="closura data generate",
        description="Simulate flows into a zarr store. The same command goes on with a run that was stopped.",
    )
    began, resumed = time.monotonic(), {"steps": 0}
    with work_bar("simulating", "steps", lines=10) as show:

        def report(progress: GenerationProgress) -> None:
            resumed["steps"] = progress.resumed
            show("", progress.step, progress.steps, f"{progress.frames} of {c.frames} frames")

        try:
            data = generate(c, parsed.out, overwrite=parsed.overwrite, report=report)
        except FlowDiverged as error:
            fail(str(error), 1)
            raise
    again = f" (from step {resumed['steps']} of {c.steps})" if resumed["steps"] else ""
    _say_what_there_is(data, f"{time.monotonic() - began:.0f} s{again}")
    return data


def run_convert(arguments: Sequence[str]) -> FlowData:
    """Convert files; the last line says what there is."""
    parsed = parse(
        _Convert, arguments, prog="closura data convert", description="Write flows of another layout as a zarr store."
    )
    began = time.monotonic()
    given = dict(vars(parsed))
    places = [given.pop(name) for name in ("sources", "layout", "out")]
    with work_bar("converting", "frames", lines=10) as show:
        data = convert(*places, **given, report=lambda done, total: show("", done, total))
    _say_what_there_is(data, f"{time.monotonic() - began:.0f} s")
    return data


def run_show(arguments: Sequence[str]) -> None:
    """Print what a data set holds."""
    parsed = parse(_Show, arguments, prog="closura data show", description="What a data set holds.")
    data = open_flow(parsed.file)
    about = data.attributes
    end = data.times[-1]
    facts = [f"{data.trajectories} trajectories of {data.frames} frames on {data.points} x {data.points} points",
             f"times {data.times[0]:g} to {end:g}, every {data.interval:g}", f"forcing {data.forcing}",
             str(data.dtype), f"{_size(data.path) / 2**20:.1f} MiB"]  # fmt: skip
    made = [f"{name} {shown(about[name])}" for name in ("dt", "integrator", "padding", "nyquist", "transient", "start",
            "simulated_points") if name in about]  # fmt: skip
    console.print(f"{data.path}: {', '.join(facts)}", soft_wrap=True)
    if made:
        console.print(f"made with {', '.join(made)}", soft_wrap=True)
    rows = []
    with console.status("reading"):
        for i, (both, u, v) in enumerate(moments_of_trajectories(data)):
            seed = str(data.seeds[i]) if data.seeds[i] >= 0 else "–"
            numbers = [_short(value) for value in (both.mean, both.std, both.maximum, both.minimum, u.std, v.std)]
            rows.append((str(i), [f"{data.reynolds[i]:g}", seed, *numbers]))
    headings = ("", "Reynolds", "seed", "mean", "std", "max", "min", "u std", "v std")
    print_table(Table("", headings, rows), console)


def _say_what_there_is(data: FlowData, seconds: str) -> None:
    with console.status("reading it back"):
        _, u, v = (reduce(Moments.join, each) for each in zip(*moments_of_trajectories(data), strict=True))

    def words(name: str, m: Moments) -> str:
        return f"{name}: mean {_short(m.mean)} std {_short(m.std)} max {_short(max(m.maximum, -m.minimum))}"

    console.print(
        f"{data.path}: {data.trajectories} x {data.frames} frames of {data.points} x {data.points} points, "
        f"{_size(data.path) / 2**20:.1f} MiB, {seconds}; {words('u', u)}; {words('v', v)}",
        soft_wrap=True,
    )


def _short(value: float) -> str:
    """Three decimals, and no minus before zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
