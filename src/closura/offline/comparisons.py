"""On which held-out frames closures and reduced-order models are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from closura.metrics.ensembles import FlowStatistics, kinetic_energy
from closura.offline.ensembles import frames_per_step, start_span
from closura.offline.filters import Filter
from closura.offline.fitted import FittedClosure, FittedModel
from closura.offline.held_out import TimeWindow
from closura.offline.traces import Trace
from closura.trajectories import FlowData

Scoring = Literal["fair", "published"]

BYTES = 2**26
"""Bytes of samples that are worked on at a time."""

PARTS = 5
"""Blocks of time that each window is cut into where there are too few trajectories for a spread."""

SOURCE = """\
@article{zighed2025scale,
  title         = {Leveraging Scale Separation and Stochastic Closure for Data-Driven Prediction of Chaotic Dynamics},
  author        = {Zighed, Isma{\\"e}l and Thome, Nicolas and Gallinari, Patrick and Sayadi, Taraneh},
  year          = {2025},
  eprint        = {2510.24583},
  archivePrefix = {arXiv}
}"""
"""What is cited with evaluations of closures and reduced-order models."""


class Comparison:
    """What is compared on windows of a data set."""

    data: FlowData
    windows: tuple[TimeWindow, ...]
    members: int
    seed: int

    @property
    def flow_words(self) -> str:
        """The flow with its Reynolds numbers, for titles."""
        reynolds = sorted({float(self.data.reynolds[window.trajectory]) for window in self.windows})
        return f"Kolmogorov flow, Re {', '.join(f'{r:g}' for r in reynolds)}"

    def simulation(self, window: TimeWindow) -> dict[str, Any]:
        """Which simulation a window is of, as JSON knows it."""
        i = window.trajectory
        return {
            "trajectory": i, "simulation": self.data.identities[i], "reynolds": float(self.data.reynolds[i]),
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class ClosureComparison(Comparison):
    """On which frames closures are compared.

    ``frames`` are the numbers of the scored frames within each window, absolute. With the scoring "published" the
    formulas of the notebooks are taken.
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
    def fair(self) -> bool:
        """Whether scores are fair ones of ensembles, not the published formulas."""
        return self.scoring == "fair"

    @property
    def several(self) -> bool:
        """Whether there are enough trajectories to take spreads over."""
        return len(self.windows) > 3

    @property
    def parts(self) -> list["Part"]:
        """What spreads are taken over: trajectories, or blocks of their time where they are few."""
        number = 1 if self.several else PARTS
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


@dataclass(frozen=True, eq=False)
class ModelComparison(Comparison):
    """What reduced-order models are compared on: runs of ``steps`` from held-out frames.

    ``starts`` are the first frames of what models start from, by window; a ``closure`` closes the runs. ``slice_steps``
    of a long run make a slice, and ``lyapunov`` is the leading exponent per unit of time.
    """

    data: FlowData
    windows: tuple[TimeWindow, ...]
    starts: tuple[tuple[int, ...], ...]
    steps: int = 1600
    members: int = 20
    slice_steps: int = 200
    closure: FittedClosure | None = None
    lyapunov: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.slice_steps <= self.steps:
            raise ValueError(
                f"slices of {self.slice_steps} steps do not fit into runs of {self.steps} steps: give --slice "
                f"(slice_steps) of at most {self.steps}, or more --steps"
            )

    @property
    def pairs(self) -> list[tuple[TimeWindow, int]]:
        """All starts: window and first frame."""
        return [(s, first) for s, firsts in zip(self.windows, self.starts, strict=True) for first in firsts]


def choose_starts(
    models: Sequence[FittedModel], data: FlowData, windows: Sequence[TimeWindow], count: int, steps: int
) -> tuple[tuple[int, ...], ...]:
    """First frames of the starting windows: spread over the first half of each window, one alone at its start."""
    if count < 1 or steps < 1:
        raise ValueError(f"need at least one start and one step; got {count} and {steps}")
    span = max(start_span(model, data) for model in models)
    every = frames_per_step(models[0], data)
    chosen = []
    for window in windows:
        room = len(window.frames) - span - every
        if room < 0:
            raise ValueError(
                f"trajectory {window.trajectory} has {len(window.frames)} evaluated frames; a window of {span} frames "
                f"and a step of {every} do not fit"
            )
        last = room // 2 if count > 1 else 0
        firsts = np.unique(np.linspace(0, last, count).astype(int)) + window.frames.start
        chosen.append(tuple(int(f) for f in firsts))
    return tuple(chosen)


def spread_frames(window: TimeWindow, count: int | None, every: int | None) -> np.ndarray:
    """Numbers of evaluated frames: ``count`` in the middles of equal parts, or each ``every``-th from the first on."""
    if count is not None and every is not None:
        raise ValueError("frames are spread evenly or taken at a distance: give --frames or --every")
    given = count if count is not None else every
    if given is not None and given < 1:
        raise ValueError(f"--frames and --every must be positive; got {given}")
    available = np.asarray(window.frames)
    if every is not None:
        return available[::every]
    wanted = min(100 if count is None else count, len(available))
    return available[((np.arange(wanted) + 0.5) * len(available) / wanted).astype(int)]


def energy_range(data: FlowData, trajectories: Sequence[int]) -> tuple[float, float]:
    """A range for histograms that holds the kinetic energy at all points, with room to spare."""
    largest = max(
        float(kinetic_energy(data.read(i, first, first + 1)).max())
        for i in trajectories
        for first in np.linspace(0, data.frames - 1, min(8, data.frames)).astype(int).tolist()
    )
    return 0.0, float(max(4.0, np.ceil(2 * largest)))
