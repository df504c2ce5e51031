"""What reduced-order models are compared with: frames after each start, statistics, slices and their bars."""

from collections.abc import Sequence

import numpy as np

from closura.metrics.ensembles import FlowStatistics, Histogram, SlicedHistograms, kinetic_energy, reference_bar
from closura.offline.comparisons import ModelComparison, energy_range
from closura.offline.ensembles import frames_per_step, start_span
from closura.offline.fitted import FittedModel
from closura.offline.held_out import TimeWindow
from closura.offline.traces import Trace
from closura.offline.variables import REFERENCE, SPACES, Kept
from closura.trajectories import FlowData

STATISTICS_EVERY = 5
"""Steps between the frames that long statistics are taken of: neighbours are all but copies."""


class ModelReference:
    """The held-out flow after all starts, its statistics, slices and bars."""

    def __init__(self, comparison: ModelComparison, model: FittedModel, widest: FittedModel) -> None:
        data = comparison.data
        self.comparison, self.model, self.every = comparison, model, frames_per_step(model, data)
        self.span = start_span(widest, data)
        self.horizon = min(comparison.steps, *(self._steps_after(*pair) for pair in comparison.pairs))
        self.leads = self.model.step * np.arange(1, self.horizon + 1)
        evaluated = [window.trajectory for window in comparison.windows]
        chosen, self.reference_words = reference_trajectories(data, evaluated)
        self.range = energy_range(data, chosen)
        statistics = {space: FlowStatistics(1.0, energy_range=self.range) for space in SPACES}
        slices: dict[str, list[SlicedHistograms]] = {space: [] for space in SPACES}
        self.pools = {space: Histogram(*self.range) for space in SPACES}
        numbers = np.arange(0, data.frames, self.every * STATISTICS_EVERY)
        low, high = self.range
        for i in chosen:
            for of_all in slices.values():
                length = max(1, comparison.slice_steps // STATISTICS_EVERY)
                of_all.append(SlicedHistograms(length, lower=low, upper=high))
            for begin in range(0, len(numbers), 64):
                frames = data.read_some(i, numbers[begin : begin + 64])
                for space, fields in (("full", frames), ("filtered", model.filter(frames))):
                    energy = kinetic_energy(fields)
                    slices[space][-1].add(energy)
                    self.pools[space].add(energy)
                    if i in evaluated:
                        statistics[space].reynolds = float(data.reynolds[i])
                        statistics[space].add(fields)
        self.flows = {space: each.result() for space, each in statistics.items()}
        self.bars: dict[str, tuple[float | None, np.ndarray]] = {}
        for space, of_all in slices.items():
            try:
                self.bars[space] = reference_bar(of_all)
            except ValueError:  # too few or too short trajectories
                self.bars[space] = (None, np.zeros(0))

    def _steps_after(self, window: TimeWindow, first: int) -> int:
        """Steps after a start that the data have."""
        return (window.frames.stop - 1 - (first + self.span - 1)) // self.every

    def frames(self, window: TimeWindow, first: int, *, filtered: bool = True, count: int | None = None) -> np.ndarray:
        """True frames of the steps after a start, as many as are evaluated."""
        begin = first + self.span - 1 + self.every
        numbers = begin + self.every * np.arange(self.horizon if count is None else count)
        full = self.comparison.data.read_some(window.trajectory, numbers)
        return self.model.filter(full) if filtered else full

    def kept(self) -> dict[tuple[str, str], Kept]:
        """Statistics, and what figures show of the first start."""
        window, first = self.comparison.pairs[0]
        most = min(self._steps_after(window, first), self.comparison.steps)
        full = self.frames(window, first, filtered=False, count=most)
        found = {}
        for space, fields in (("filtered", self.model.filter(full)), ("full", full)):
            trace = Trace(self.example)
            trace.add(np.arange(most), fields[None])
            found[REFERENCE, space] = Kept(self.flows[space], trace.result())
        return found

    @property
    def example(self) -> int:
        """The step whose fields figures show."""
        return max(0, min(self.horizon - 1, self.horizon // 4))


def reference_trajectories(data: FlowData, evaluated: Sequence[int]) -> tuple[list[int], str]:
    """Trajectories whose reference distributions are compared with, and words for them.

    Those that are evaluated if they are four or more; else all of the data set at Reynolds numbers that are evaluated.
    """
    if len(evaluated) > 3:
        return list(evaluated), f"the {len(evaluated)} evaluated trajectories"
    numbers = sorted({float(data.reynolds[i]) for i in evaluated})
    chosen = [i for i in range(data.trajectories) if float(data.reynolds[i]) in numbers]
    if len(chosen) == data.trajectories:
        return chosen, f"all {data.trajectories} trajectories of the data set"
    many = "trajectory" if len(chosen) == 1 else "trajectories"
    at = f"Reynolds number{'s' if len(numbers) > 1 else ''} {', '.join(f'{n:g}' for n in numbers)}"
    return chosen, f"the {len(chosen)} {many} of the data set at {at}"
