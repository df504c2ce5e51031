"""The truth that reduced-order models are judged by: frames after each start, statistics, slices and their bars."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from closura.evaluation.flows.frames import energy_range, read_frames
from closura.evaluation.flows.rollouts import frames_per_step, start_span
from closura.evaluation.flows.subjects import ClosureSubject, ModelSubject, Stretch
from closura.metrics.ensembles import FlowStatistics, Histogram, SlicedHistograms, kinetic_energy, reference_bar
from closura.trajectories import FlowData

STATISTICS_EVERY = 5
"""Steps between the frames that long statistics are taken of: neighbours are all but copies."""


@dataclass(frozen=True, eq=False)
class ModelStudy:
    """What is judged, and from where.

    Parameters
    ----------
    data
        The data set.
    stretches
        Held-out frames.
    starts
        First frames of the starting windows, one tuple per stretch.
    steps, members
        Of each run.
    slice_steps
        Steps of a slice of the long run, no more than ``steps``.
    closure
        Closes the runs, if given.
    lyapunov
        Leading exponent per unit of time, or None.
    seed
        Of all noise.

    Raises
    ------
    ValueError
        If a slice is longer than a run.
    """

    data: FlowData
    stretches: tuple[Stretch, ...]
    starts: tuple[tuple[int, ...], ...]
    steps: int = 1600
    members: int = 20
    slice_steps: int = 200
    closure: ClosureSubject | None = None
    lyapunov: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.slice_steps <= self.steps:
            raise ValueError(
                f"slices of {self.slice_steps} steps do not fit into runs of {self.steps} steps: give --slice "
                f"(slice_steps) of at most {self.steps}, or more --steps"
            )

    @property
    def pairs(self) -> list[tuple[Stretch, int]]:
        """All starts: stretch and first frame."""
        return [(s, first) for s, firsts in zip(self.stretches, self.starts, strict=True) for first in firsts]


def choose_starts(
    models: Sequence[ModelSubject], data: FlowData, stretches: Sequence[Stretch], count: int, steps: int
) -> tuple[tuple[int, ...], ...]:
    """First frames of the starting windows: spread over the first half of each stretch, one alone at its beginning.

    Raises
    ------
    ValueError
        If a stretch is too short for a window and a step.
    """
    if count < 1 or steps < 1:
        raise ValueError(f"need at least one start and one step; got {count} and {steps}")
    span = max(start_span(model, data) for model in models)
    every = frames_per_step(models[0], data)
    chosen = []
    for stretch in stretches:
        room = len(stretch.frames) - span - every
        if room < 0:
            raise ValueError(
                f"trajectory {stretch.trajectory} has {len(stretch.frames)} judged frames; a window of {span} frames "
                f"and a step of {every} do not fit"
            )
        last = room // 2 if count > 1 else 0
        firsts = np.unique(np.linspace(0, last, count).astype(int)) + stretch.frames.start
        chosen.append(tuple(int(f) for f in firsts))
    return tuple(chosen)


class ModelTruth:
    """The truth of all starts, its statistics, slices and bars."""

    def __init__(self, study: ModelStudy, model: ModelSubject, widest: ModelSubject) -> None:
        data = study.data
        self.study, self.model, self.every = study, model, frames_per_step(model, data)
        self.span = start_span(widest, data)
        available = [
            (stretch.frames.stop - 1 - (first + self.span - 1)) // self.every for stretch, first in study.pairs
        ]
        self.horizon = min(study.steps, *available)
        self.leads = self.model.step * np.arange(1, self.horizon + 1)
        judged = [s.trajectory for s in study.stretches]
        chosen, self.reference_words = reference_trajectories(data, judged)
        self.range = energy_range(data, chosen)
        reynolds = float(data.reynolds[judged[0]])
        full, filtered = (FlowStatistics(reynolds, energy_range=self.range) for _ in range(2))
        self.slices: dict[str, list[SlicedHistograms]] = {"full": [], "filtered": []}
        pools = {name: Histogram(*self.range) for name in self.slices}
        numbers = np.arange(0, data.frames, self.every * STATISTICS_EVERY)
        for i in chosen:
            own = {name: self.sliced() for name in self.slices}
            for begin in range(0, len(numbers), 64):
                frames = read_frames(data, i, numbers[begin : begin + 64])
                low = model.filter(frames)
                if i in judged:
                    full.reynolds = filtered.reynolds = float(data.reynolds[i])
                    full.add(frames)
                    filtered.add(low)
                for name, fields in (("full", frames), ("filtered", low)):
                    energy = kinetic_energy(fields)
                    own[name].add(energy)
                    pools[name].add(energy)
            for name, sliced in own.items():
                self.slices[name].append(sliced)
        self.full_flow, self.filtered_flow = full.result(), filtered.result()
        self.pools = pools
        self.bars: dict[str, tuple[float | None, np.ndarray]] = {}
        for name, sliced_all in self.slices.items():
            try:
                self.bars[name] = reference_bar(sliced_all)
            except ValueError:  # too few or too short trajectories
                self.bars[name] = (None, np.zeros(0))

    def sliced(self, every: int = STATISTICS_EVERY) -> SlicedHistograms:
        """Empty slices, for frames ``every`` steps apart."""
        low, high = self.range
        return SlicedHistograms(max(1, self.study.slice_steps // every), lower=low, upper=high)

    def frames(self, stretch: Stretch, first: int, *, filtered: bool = True, count: int | None = None) -> np.ndarray:
        """True frames of the steps after a start, as many as are judged."""
        begin = first + self.span - 1 + self.every
        numbers = begin + self.every * np.arange(self.horizon if count is None else count)
        full = read_frames(self.study.data, stretch.trajectory, numbers)
        return self.model.filter(full) if filtered else full

    def trace(self) -> dict[str, np.ndarray]:
        """What figures show of the first start's truth."""
        stretch, first = self.study.pairs[0]
        most = (stretch.frames.stop - 1 - (first + self.span - 1)) // self.every
        full = self.frames(stretch, first, filtered=False, count=min(most, self.study.steps))
        low = self.model.filter(full)
        x, y = point_of(full.shape[-1])
        return {
            "at_point": low[:, :, x, y].astype(np.float64),
            "full_at_point": full[:, :, x, y].astype(np.float64),
            "along_x": kinetic_energy(full).mean(axis=-1),
            "filtered_along_x": kinetic_energy(low).mean(axis=-1),
            "example": full[example_lead(self.horizon)].astype(np.float64),
            "filtered_example": low[example_lead(self.horizon)].astype(np.float64),
        }


def reference_trajectories(data: FlowData, judged: Sequence[int]) -> tuple[list[int], str]:
    """Trajectories whose truth distributions are compared with, and words for them.

    Those that are judged if they are four or more; else all of the data set at Reynolds numbers that are judged.
    """
    if len(judged) > 3:
        return list(judged), f"the {len(judged)} judged trajectories"
    numbers = sorted({float(data.reynolds[i]) for i in judged})
    chosen = [i for i in range(data.trajectories) if float(data.reynolds[i]) in numbers]
    if len(chosen) == data.trajectories:
        return chosen, f"all {data.trajectories} trajectories of the data set"
    many = "trajectory" if len(chosen) == 1 else "trajectories"
    at = f"Reynolds number{'s' if len(numbers) > 1 else ''} {', '.join(f'{n:g}' for n in numbers)}"
    return chosen, f"the {len(chosen)} {many} of the data set at {at}"


def example_lead(horizon: int) -> int:
    """The lead that figures show fields of."""
    return max(0, min(horizon - 1, horizon // 4))


def point_of(points: int) -> tuple[int, int]:
    """The point whose velocity figures show."""
    return points // 2, points // 4
