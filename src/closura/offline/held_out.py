"""Which frames of a data set may be used for an evaluation, and whether what was fitted suits them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from closura.offline.filters import Filter
from closura.offline.fitted import Fitted, FittedClosure
from closura.trajectories import FlowData


def common_filter(closures: Sequence[FittedClosure], points: int, asked: Filter | None = None) -> Filter:
    """The one filter that all closures were fitted with, on a grid of so many points per side.

    Filters that do the same on this grid count as one (cut-offs of 3.95 and 3.951, say).
    """
    said = {each.name: each.filter for each in closures}
    known = {name: found for name, found in [("--filter", asked), *said.items()] if found is not None}
    if not known:
        raise ValueError("no closure says which filter it was fitted with: give --filter.kind and its cut-off or width")
    first = next(iter(known))
    for name, found in known.items():
        if not same_transfer(found, known[first], points):
            raise ValueError(
                f"filters differ: {first} has {_words(known[first].plain())}, {name} has {_words(found.plain())}; "
                "evaluate closures of one filter together"
            )
    return known[first]


def same_transfer(first: Filter, second: Filter, points: int) -> bool:
    """Whether two filters do the same on a grid of so many points per side."""
    one, other = (each.transfer((points, points)) for each in (first, second))
    return np.allclose(one, other, rtol=0, atol=1e-9)


def check_fits(name: str, metadata: Mapping[str, Any], data: FlowData) -> None:
    """Refuse data on another grid or with another forcing than a closure was fitted to."""
    for key, own, words in (
        ("points", data.points, "points per side"),
        ("forcing", data.forcing, "as wavenumber of the forcing"),
    ):
        if key in metadata and int(metadata[key]) != own:
            raise ValueError(f"{name} was fitted to data with {metadata[key]} {words}; {data.path} has {own}")


def other_reynolds(metadata: Mapping[str, Any], data: FlowData, trajectories: Sequence[int]) -> str | None:
    """A sentence on Reynolds numbers that training has not seen, or None."""
    trained = [float(each) for each in metadata.get("reynolds", [])]
    asked = sorted({float(data.reynolds[i]) for i in trajectories})
    new = [each for each in asked if trained and all(abs(each - t) > 1e-9 * t for t in trained)]
    if not new:
        return None
    return f"trained at Reynolds number {_list(trained)}, used at {_list(new)}"


def unseen_frames(fitted: Sequence[Fitted], data: FlowData, trajectory: int) -> range | None:
    """Frames of a trajectory that nothing fitted has seen, or None if there are none.

    All frames if its simulation is new to all. Of one that was split in time, the common test segment, if
    the data are the file that they were trained on and no training frame lies within it.
    """
    found = range(data.frames)
    for each in fitted:
        seen = each.seen(data, trajectory)
        if not seen:
            continue
        if Path(str(each.metadata.get("data", ""))).resolve() != data.path.resolve():
            return None
        tests = [s for s in each.metadata.get("test", ()) if data.is_called(trajectory, str(s.get("simulation")))]
        apart = [t for t in tests if all(t["stop"] <= s["start"] or t["start"] >= s["stop"] for s in seen)]
        if not apart:
            return None
        low, high = max(found.start, apart[-1]["start"]), min(found.stop, apart[-1]["stop"])
        if low >= high:
            return None
        found = range(low, high)
    return found


@dataclass(frozen=True)
class TimeWindow:
    """Frames of one trajectory that are evaluated."""

    trajectory: int
    frames: range


def choose_windows(
    fitted: Sequence[Fitted], data: FlowData, trajectories: Sequence[int] | None = None, *, allow_leak: bool = False
) -> tuple[TimeWindow, ...]:
    """Which frames of which trajectories are evaluated.

    By default trajectories with frames that nothing fitted has seen, whole ones where there are any. With
    ``allow_leak`` those that are named are evaluated although they were seen.
    """
    free = {i: unseen_frames(fitted, data, i) for i in range(data.trajectories)}
    if trajectories is None:
        whole = [i for i, frames in free.items() if frames == range(data.frames)]
        chosen = whole or [i for i, frames in free.items() if frames is not None]
        if not chosen:
            raise ValueError(
                f"every trajectory of {data.path} was seen in training or validation by {_who(fitted, data)}: give "
                "data of other seeds, or name trajectories and --allow-leak"
            )
        return tuple(TimeWindow(i, free[i] or range(data.frames)) for i in chosen)
    windows = []
    for i in trajectories:
        if not 0 <= i < data.trajectories:
            raise ValueError(f"{data.path} has trajectories 0 to {data.trajectories - 1}; got {i}")
        frames = free[i]
        if frames is None and not allow_leak:
            known = [s.name for s in fitted if s.seen(data, i)]
            raise ValueError(
                f"trajectory {i} was seen in training or validation by {', '.join(known)}: choose another, or score it "
                "all the same with --allow-leak"
            )
        windows.append(TimeWindow(i, frames if frames is not None else range(data.frames)))
    return tuple(windows)


def leaks(fitted: Sequence[Fitted], data: FlowData, windows: Sequence[TimeWindow]) -> list[int]:
    """Trajectories among those evaluated whose frames were seen."""
    return [s.trajectory for s in windows if unseen_frames(fitted, data, s.trajectory) is None]


def _who(fitted: Sequence[Fitted], data: FlowData) -> str:
    known = [s.name for s in fitted if any(s.seen(data, i) for i in range(data.trajectories))]
    return ", ".join(known)


def _words(plain: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{key} {value:g}" for key, value in plain.items() if key != "filter")
    return f"{plain['filter']} ({settings})"


def _list(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(set(numbers)))
