"""``closura data generate``, ``convert`` and ``show``: data sets of simulated flows."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Annotated, Literal

from closura.commands.console import console, fail, work_bar
from closura.commands.options import Group, Positional, argument, parse, parse_groups
from closura.reporting.terminal import print_rows
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


@dataclass(frozen=True)
class _Generate:
    problem: Annotated[Positional[Literal["kolmogorov"]], argument("the flow")]
    out: Annotated[Path, argument("the zarr folder to make, or to go on with")]
    overwrite: Annotated[bool, argument("replace a data set of flows that is there")] = False


@dataclass(frozen=True)
class _Convert(Settings):
    sources: Annotated[
        Positional[tuple[Path, ...]], argument("files of one layout; their trajectories follow each other")
    ]
    layout: Annotated[Layout, argument("KolSol's HDF5, the published .npy, or The Well's HDF5")]
    out: Annotated[Path, argument("the zarr folder to write")]
    stride: Annotated[int, argument("keep every stride-th frame")] = 1
    reynolds: Annotated[float | None, argument("Reynolds number, if the file does not say")] = None
    forcing: Annotated[int | None, argument("wavenumber of the forcing, if the file does not say; 0 without")] = None
    interval: Annotated[float | None, argument("time between the file's frames, if it does not say")] = None
    precision: Annotated[Precision, argument("in which frames are kept")] = "float32"
    overwrite: Annotated[bool, argument("replace a data set of flows that is there")] = False


@dataclass(frozen=True)
class _Show:
    file: Annotated[Positional[Path], argument("the zarr folder")]


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
    with work_bar("converting", "frames", lines=10) as show:
        data = convert(
            parsed.sources,
            parsed.layout,
            parsed.out,
            stride=parsed.stride,
            reynolds=parsed.reynolds,
            forcing=parsed.forcing,
            interval=parsed.interval,
            precision=parsed.precision,
            overwrite=parsed.overwrite,
            report=lambda done, total: show("", done, total),
        )
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
    print_rows(console, ("", "Reynolds", "seed", "mean", "std", "max", "min", "u std", "v std"), rows)


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
