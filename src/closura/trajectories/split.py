"""Which frames are for training and which are held out.

Neighbouring frames of a flow are all but copies of each other: at Reynolds number 34 a frame differs from the one 0.12
later by 1 %, and interpolation between even frames gives the odd ones to 0.05 %. What is held out must be another
trajectory, or a later time with a gap of several Lyapunov times (14.7 each there).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from closura.trajectories.flow_data import FlowData
from closura.trajectories.identity import enough, same_simulation, spread


@dataclass(frozen=True)
class Segment:
    """Frames ``start, start + step, ..`` below ``stop`` of one trajectory; ValueError if there are none."""

    trajectory: int
    start: int
    stop: int
    step: int = 1

    def __post_init__(self) -> None:
        if self.trajectory < 0 or self.start < 0 or self.stop <= self.start or self.step < 1:
            raise ValueError(
                f"a segment needs 0 <= start < stop and a step of at least 1; got "
                f"trajectory {self.trajectory}, frames {self.start} to {self.stop} by {self.step}"
            )

    @property
    def frames(self) -> range:
        """The numbers of its frames."""
        return range(self.start, self.stop, self.step)

    def __len__(self) -> int:
        """How many frames."""
        return len(self.frames)


class Split(NamedTuple):
    """Segments for training, for choosing between models, and for the final validation."""

    train: tuple[Segment, ...]
    validation: tuple[Segment, ...]
    test: tuple[Segment, ...]


def by_trajectory(
    data: FlowData, held_out: Sequence[int] = (7,), validation: Sequence[int] = (6,), *, step: int = 1
) -> Split:
    """Hold out whole trajectories: the honest split.

    Raises
    ------
    ValueError
        If there is no such trajectory, one is in both, or none is left for training.
    """
    wanted = [*held_out, *validation]
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"a trajectory is held out once; got {list(held_out)} and {list(validation)}")
    if not all(0 <= each < data.trajectories for each in wanted):
        raise ValueError(f"{data.path} has trajectories 0 to {data.trajectories - 1}; got {wanted}")
    rest = [each for each in range(data.trajectories) if each not in wanted]
    if not rest:
        raise ValueError(f"no trajectory of {data.trajectories} is left for training")

    def whole(numbers: Sequence[int]) -> tuple[Segment, ...]:
        return tuple(Segment(each, 0, data.frames, step) for each in numbers)

    return Split(whole(rest), whole(validation), whole(held_out))


def by_time(
    data: FlowData, shares: tuple[float, float, float] = (0.7, 0.1, 0.2), *, gap: int = 0, step: int = 1
) -> Split:
    """Cut every trajectory into a first part for training, a middle for validation, and an end for the test.

    ``shares`` are of the frames, gaps not counted, and add up to 1; the second may be 0. ``gap`` frames are left out
    between the parts; of the rest every ``step``-th is taken.

    Raises
    ------
    ValueError
        If the shares do not add up to 1 or a part would have no frame.
    """
    if abs(sum(shares) - 1) > 1e-9 or min(shares) < 0 or gap < 0:
        raise ValueError(f"shares must add up to 1 and not be negative, nor the gap; got {shares} and {gap}")
    parts = [share for share in shares if share > 0]
    usable = data.frames - gap * (len(parts) - 1)
    if usable < len(parts):
        raise ValueError(f"{data.frames} frames leave nothing beside gaps of {gap}")
    edges = np.round(np.cumsum((0.0, *shares)) * usable).astype(int)
    starts = edges[:-1] + gap * np.cumsum([0, *(share > 0 for share in shares[:-1])])
    sizes = np.diff(edges)
    if any(share > 0 and size < 1 for share, size in zip(shares, sizes, strict=True)):
        raise ValueError(f"shares {shares} of {usable} frames leave a part without a frame")

    def part(share: float, start: int, size: int) -> tuple[Segment, ...]:
        return tuple(Segment(i, start, start + size, step) for i in range(data.trajectories)) if share else ()

    return Split(*(part(*each) for each in zip(shares, starts.tolist(), sizes.tolist(), strict=True)))


def interleaved(data: FlowData) -> Split:
    """Even frames for training, odd ones for the test: the published split, which tests next to nothing.

    Raises
    ------
    ValueError
        If there is a single frame.
    """
    if data.frames < 2:
        raise ValueError(f"{data.path} has {data.frames} frame: nothing to interleave")
    even, odd = (tuple(Segment(i, first, data.frames, 2) for i in range(data.trajectories)) for first in (0, 1))
    return Split(even, (), odd)


def check_split(train: Sequence[Segment], test: Sequence[Segment], *, gap: int = 0, allow_leak: bool = False) -> None:
    """Refuse test frames among, or nearer than ``gap`` frames to, training frames of the same trajectory of one data
    set.

    Raises
    ------
    ValueError
        Says which segments, and how they leak, unless ``allow_leak``.
    """
    if allow_leak:
        return
    for known in train:
        for held in test:
            if known.trajectory != held.trajectory:
                continue
            first, last = known.frames[0], known.frames[-1]
            begin, end = held.frames[0], held.frames[-1]
            between = max(begin - last, first - end) - 1
            if between >= gap:
                continue
            if set(known.frames) & set(held.frames):
                how = "share frames"
            elif between < 0:
                how = "interleave"
            else:
                how = f"have {between} frames between them, fewer than {gap}"
            raise ValueError(
                f"test frames leak: {known} and {held} {how}; hold out whole trajectories (by_trajectory), or a later "
                "time with a gap (by_time), or allow it by name (allow_leak)"
            )


def shared_trajectories(first: FlowData, second: FlowData) -> list[tuple[int, int]]:
    """Pairs of trajectories of two data sets that are the same simulation: by name, or by the frames that both hold."""
    known = [first.samples(i, np.arange(first.frames), first.points) for i in range(first.trajectories)]
    return [
        (i, j)
        for i in range(first.trajectories)
        for j in range(second.trajectories)
        if second.is_called(j, first.identities[i]) or holds_frames(second, j, known[i], first.interval, first.points)
    ]


def holds_frames(
    data: FlowData, trajectory: int, known: Float[np.ndarray, "known 32"], interval: float, points: int
) -> bool:
    """Whether a trajectory holds known frames: samples of consecutive ones, ``interval`` apart, on ``points`` per side.

    A first part that both have in common, before they differ, does not count: see ``identity.same_simulation``.
    """
    if not len(known):
        return False
    numbers = spread(data.frames, enough(data.frames, data.interval, len(known), interval))
    return same_simulation(data.times[numbers], data.samples(trajectory, numbers, points), known, interval)
