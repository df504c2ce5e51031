"""Other people's flows as a data set of ours."""

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from closura.trajectories.flow_data import FlowData, identity_of_frame, open_flow
from closura.trajectories.readers import Layout, Source, open_source
from closura.trajectories.schema import FlowDescription, Precision
from closura.trajectories.store import check_free, new_flow


def convert(
    sources: Sequence[str | Path],
    layout: Layout,
    path: str | Path,
    *,
    stride: int = 1,
    reynolds: float | None = None,
    forcing: int | None = None,
    interval: float | None = None,
    precision: Precision = "float32",
    overwrite: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> FlowData:
    """Read files of other layouts, chunk by chunk, and write one data set; their trajectories follow each other.

    Parameters
    ----------
    sources
        Files of one layout, on one grid, with equally many frames.
    layout
        "kolsol", "published" or "the-well"; see ``readers``.
    path
        The zarr folder to write.
    stride
        Keep every stride-th frame, from the first.
    reynolds, forcing, interval
        What the files do not say: Reynolds number, wavenumber of the forcing (0 without), time between frames of the
        files. What they say may be repeated, but not contradicted. The grid must resolve the forcing.
    precision
        In which frames are kept.
    overwrite
        Replace a data set of flows that is there.
    report
        Is told frames written, of how many.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If a source is missing, or the name is taken.
    ValueError
        If a file does not have the layout, a fact is missing or contradicted, files disagree, the flow is not on a
        periodic uniform grid of [0, 2 pi)^2 at uniform times, or a value is not finite.
    """
    path = Path(path)
    if not sources or stride < 1:
        raise ValueError(f"need at least one file and a stride of at least 1; got {len(sources)} and {stride}")
    check_free(path, overwrite=overwrite)
    with ExitStack() as stack:
        opened = [stack.enter_context(open_source(source, layout)) for source in sources]
        first = opened[0]
        for name, source in zip(sources, opened, strict=True):
            sizes = [(each.points, each.frames) for each in (source, first)]
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f"{name} has {source.points} points and {source.frames} frames, {sources[0]} {first.points} and "
                    f"{first.frames}: convert them apart"
                )
        facts = [
            (
                _fact(name, "Reynolds number", "--reynolds", source.reynolds, _float(reynolds)),
                _forcing(name, source, forcing),
                _fact(name, "time between frames", "--interval", source.interval, _float(interval)),
            )
            for name, source in zip(sources, opened, strict=True)
        ]
        if len({(each[1], each[2]) for each in facts}) > 1:
            raise ValueError("the files differ in forcing or in the time between frames: convert them apart")
        members = [(source, i, fact[0]) for source, fact in zip(opened, facts, strict=True)
                   for i in range(source.trajectories)]  # fmt: skip
        description = FlowDescription(
            points=first.points,
            frames=-(-first.frames // stride),
            interval=facts[0][2] * stride,
            forcing=facts[0][1],
            reynolds=tuple(each for _, _, each in members),
            identities=tuple(identity_of_frame(source.read(i, 0, 1, 1)[0]) for source, i, _ in members),
            precision=precision,
            attributes={
                "configuration": json.dumps(
                    {"layout": layout, "sources": [Path(name).name for name in sources], "stride": stride}
                )
            },
        )
        with new_flow(path, description, overwrite=overwrite) as writer:
            for number, (source, i, _) in enumerate(members):
                for start in range(0, description.frames, description.chunk_frames):
                    stop = min(start + description.chunk_frames, description.frames)
                    frames = source.read(i, start * stride, min(stop * stride, source.frames), stride)
                    writer.write(number, start, frames)
                    if report is not None:
                        report(number * description.frames + stop, len(members) * description.frames)
    return open_flow(path)


def _fact(source: str | Path, what: str, option: str, said: float | None, given: float | None) -> float:
    """What a file says, or else an option; both only if they agree."""
    if said is None and given is None:
        raise ValueError(f"{source} does not say the {what}: give it with {option}")
    if said is not None and given is not None and not math.isclose(said, given, rel_tol=1e-3):
        raise ValueError(f"{source} has the {what} {said:g}; {option} says {given:g}")
    value = said if given is None else given
    assert value is not None
    return float(value)


def _forcing(name: str | Path, source: Source, given: int | None) -> int:
    """The wavenumber of the forcing, which the grid must resolve: sin(n y) with n = N / 2 is zero on N points."""
    value = _fact(name, "wavenumber of the forcing", "--forcing", _float(source.forcing), _float(given))
    if value != round(value) or not 0 <= value < source.points / 2:
        raise ValueError(
            f"{name} has {source.points} points per side: the wavenumber of the forcing must be a whole number from 0 "
            f"(without forcing) to {(source.points - 1) // 2}; got {value:g}"
        )
    return round(value)


def _float(value: int | float | None) -> float | None:
    return None if value is None else float(value)
