"""Other people's flows as a data set of ours."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from closura.trajectories.coordinates import check_order
from closura.trajectories.flow_data import FlowData, open_flow
from closura.trajectories.identity import NAMED, name_of_frames, spread
from closura.trajectories.readers import Layout, open_source
from closura.trajectories.schema import FlowDescription, Precision
from closura.trajectories.sources import Source
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
    FileNotFoundError, IsADirectoryError, FileExistsError
        If a source is missing or a folder, or the name is taken.
    FolderInUse
        If another process is writing the data set.
    ValueError
        If a file does not have the layout, a fact is missing or contradicted, files disagree, the flow is not on a
        periodic uniform grid of [0, 2 pi)^2 at uniform times, its numbers are in another order, or a value is missing,
        not finite, or beyond the precision.
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
            _facts(name, source, reynolds, forcing, interval) for name, source in zip(sources, opened, strict=True)
        ]
        if len({each[1:] for each in facts}) > 1:
            raise ValueError("the files differ in forcing or in the time between frames: convert them apart")
        _, forcing, interval = facts[0]
        members = [(source, i, own) for source, (found, *_) in zip(opened, facts, strict=True)
                   for i, own in enumerate(found)]  # fmt: skip
        for name, source in zip(sources, opened, strict=True):
            for i in range(source.trajectories):
                check_order(f"{name}, trajectory {i}", source.read(i, 0, 1, 1)[0])
        identities = tuple(_name(source, i, own, forcing, stride) for source, i, own in members)
        description = FlowDescription(
            points=first.points,
            frames=-(-first.frames // stride),
            interval=interval * stride,
            forcing=forcing,
            reynolds=tuple(each for _, _, each in members),
            identities=identities,
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


def _name(source: Source, trajectory: int, reynolds: float, forcing: int, stride: int) -> str:
    """The name by frames of those that are kept."""
    chosen = stride * spread(-(-source.frames // stride), NAMED)
    frames = np.concatenate([source.read(trajectory, int(n), int(n) + 1, 1) for n in chosen])
    return name_of_frames(reynolds, forcing, frames)


def _facts(
    name: str | Path, source: Source, reynolds: float | None, forcing: int | None, interval: float | None
) -> tuple[Sequence[float], int, float]:
    """What a file and the options say together: Reynolds number of each trajectory, forcing, interval."""
    found = _fact(name, "Reynolds number", "--reynolds", source.reynolds, reynolds, positive=True)
    waves = _fact(name, "wavenumber of the forcing", "--forcing", source.forcing, forcing)[0]
    # The grid must resolve the forcing: sin(n y) with n = N / 2 is zero on N points.
    if waves != round(waves) or not 0 <= waves < source.points / 2:
        raise ValueError(
            f"{name} has {source.points} points per side: the wavenumber of the forcing must be a whole number from 0 "
            f"(without forcing) to {(source.points - 1) // 2}; got {waves:g}"
        )
    own = _fact(name, "time between frames", "--interval", source.interval, interval, positive=True)[0]
    return found if len(found) > 1 else tuple(found) * source.trajectories, round(waves), own


def _fact(
    source: str | Path,
    what: str,
    option: str,
    said: Mapping[str, Sequence[float]],
    given: int | float | None,
    *,
    positive: bool = False,
) -> Sequence[float]:
    """What a file says, or an option; both only if they agree. Where the file says two things, the option decides."""

    def words(values: Sequence[float]) -> str:
        low, high = min(values), max(values)
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"

    def agree(one: Sequence[float], other: Sequence[float]) -> bool:
        count = max(len(one), len(other))
        pairs = ((values * count if len(values) == 1 else values) for values in (tuple(one), tuple(other)))
        return all(math.isclose(a, b, rel_tol=1e-3) for a, b in zip(*pairs, strict=True))

    values = list(said.values())
    alike = all(agree(each, values[0]) for each in values[1:])
    places = " and ".join(f"{words(each)} ({place})" for place, each in said.items())
    if given is not None:
        own = float(given)
        if not math.isfinite(own) or (positive and own <= 0):
            raise ValueError(f"{option} must be {'positive and ' if positive else ''}finite; got {own:g}")
        if values and not any(agree(each, (own,)) for each in values):
            raise ValueError(f"{source} has the {what} {words(values[0]) if alike else places}; {option} says {own:g}")
        return (own,)
    if not values:
        raise ValueError(f"{source} does not say the {what}: give it with {option}")
    if not alike:
        raise ValueError(f"{source} says two things of the {what}, {places}: give the right one with {option}")
    return values[0]
