"""On which held-out frames closures are compared, in which parts and blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from closura.metrics.ensembles import LEVELS, FlowStatistics
from closura.offline.filters import Filter
from closura.offline.held_out import TimeWindow
from closura.offline.traces import Trace
from closura.trajectories import FlowData

Scoring = Literal["fair", "published"]

DIAGRAM_LEVELS = tuple(sorted({*(round(0.1 * i, 1) for i in range(1, 10)), *LEVELS}))
"""Nominal coverages of the reliability diagram."""

BYTES = 2**26
"""Bytes of samples that are worked on at a time."""

PARTS = 5
"""Blocks of time that each window is cut into where there are too few trajectories for a spread."""


@dataclass(frozen=True, eq=False)
class ClosureComparison:
    """On which frames closures are compared, and how.

    Parameters
    ----------
    data
        The data set.
    filter
        Makes the filtered frames.
    windows
        Held-out frames.
    frames
        Numbers of the scored frames within each window, absolute; one array per window.
    members
        Size of the ensembles.
    seed
        Of the samples.
    scoring
        "fair", or "published": the notebooks' formulas.
    """

    data: FlowData
    filter: Filter
    windows: tuple[TimeWindow, ...]
    frames: tuple[np.ndarray, ...]
    members: int = 50
    seed: int = 0
    scoring: Scoring = "fair"

    @property
    def total(self) -> int:
        """Frames that are scored, of all windows."""
        return sum(map(len, self.frames))

    @property
    def parts(self) -> list["Part"]:
        """What spreads are taken over: trajectories, or blocks of their time where they are few."""
        number = 1 if len(self.windows) > 3 else PARTS
        return [
            Part(index, window.trajectory, part)
            for index, (window, frames) in enumerate(zip(self.windows, self.frames, strict=True))
            for part in np.array_split(frames, min(number, len(frames)))
        ]

    def blocks(self, part: "Part") -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Frame numbers and full frames of a part, as many as samples fit into memory."""
        size = max(1, BYTES // (2 * self.data.points**2 * 4 * self.members))
        for first in range(0, len(part.frames), size):
            numbers = part.frames[first : first + size]
            yield numbers, self.data.read_some(part.trajectory, numbers)

    def statistics(self, energies: tuple[float, float]) -> FlowStatistics:
        """For fields of the first trajectory, with a range of the histogram of kinetic energy."""
        return FlowStatistics(float(self.data.reynolds[self.windows[0].trajectory]), energy_range=energies)

    @property
    def trace(self) -> Trace:
        """An empty one for the first window."""
        return Trace(int(self.frames[0][len(self.frames[0]) // 2]))


@dataclass(frozen=True, eq=False)
class Part:
    """Some frames of one window."""

    window: int
    trajectory: int
    frames: np.ndarray

    @property
    def name(self) -> str:
        return f"trajectory {self.trajectory}, frames {self.frames[0]} to {self.frames[-1]}"
