"""Runs of reduced-order models from all starts: forecasts and long runs, summed up while they pass by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import jax
import numpy as np

from closura.core import Role
from closura.metrics.ensembles import FlowStatistics
from closura.offline.ensembles import GROUP, close, runs, start_frames, start_key, start_span
from closura.offline.fitted import FittedModel
from closura.offline.forecasts import Forecast, Forecasts, score_all
from closura.offline.held_out import TimeWindow
from closura.offline.long_runs import Distances, MemberSlices, Slices, fates, gather
from closura.offline.model_reference import STATISTICS_EVERY, ModelComparison, ModelReference
from closura.offline.rom import rollout
from closura.offline.traces import Trace, mean_energy
from closura.offline.variables import Kept

CLOSED_EVERY = 10
"""Steps between the frames of the long run that are closed."""


@dataclass(frozen=True, eq=False)
class ModelRow:
    """What was found of one method."""

    role: Role
    forecast: Forecast
    kept: Mapping[str, Kept] = field(default_factory=dict)
    distances: Mapping[str, Distances] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


def naive_forecast(comparison: ModelComparison, reference: ModelReference, climate: np.ndarray | None) -> Forecast:
    """Persistence, or draws from filtered frames ``climate``."""
    forecasts = Forecasts(reference.model.step)
    for window, first in comparison.pairs:
        last = first + reference.span - 1
        held = reference.model.filter(comparison.data.read(window.trajectory, last, last + 1))
        key = start_key(comparison.seed, window.trajectory, first)

        def drawn(lead: int, count: int, held: np.ndarray = held, key: Any = key) -> np.ndarray:
            if climate is None:
                return np.broadcast_to(held, (1, count, *held.shape[1:]))
            shape = (comparison.members, count)
            chosen = jax.random.randint(jax.random.fold_in(key, lead), shape, 0, len(climate), np.int32)
            return climate[np.asarray(chosen)]

        score_all(forecasts, reference.frames(window, first), drawn)
    return forecasts.result(members=False)


class ModelRuns:
    """Runs one model from all starts, and takes what is wanted of its blocks."""

    def __init__(
        self,
        comparison: ModelComparison,
        fitted: FittedModel,
        reference: ModelReference,
        report: Callable[[str, int, int], None],
    ) -> None:
        self.comparison, self.fitted, self.reference, self.report = comparison, fitted, reference, report
        self.forecasts = Forecasts(fitted.step)
        self.spaces = ("filtered",) if comparison.closure is None else ("filtered", "full")
        self.flows = {space: FlowStatistics(1.0, energy_range=reference.range) for space in self.spaces}
        self.slices = {space: Slices(reference.range) for space in self.spaces}
        self.any_finite = dict.fromkeys(self.spaces, False)
        self.traces = {space: Trace(reference.example, comparison.steps) for space in self.spaces}
        self.lost = {"not_finite": 0, "blown_up": 0, "collapsed": 0}
        self.seconds = self.closing = 0.0
        self.closed_frames = self.done = 0
        self.block = max(1, min(100, comparison.slice_steps, comparison.steps))

    def row(self) -> ModelRow:
        """Everything that was found."""
        c, reference = self.comparison, self.reference
        window, first = c.pairs[0]
        self._compile(start_frames(self.fitted, c.data, window.trajectory, first))
        for number, (window, first) in enumerate(c.pairs):
            self._start(number, window, first)
        wanted = {"filtered": ("filtered", "filtered"), "unclosed": ("filtered", "full"), "closed": ("full", "full")}
        facts = {
            **self.lost,
            "runs": c.members * len(c.pairs),
            "seconds_per_step": self.seconds / (c.steps * len(c.pairs)),
            "closure_seconds": self.closing / self.closed_frames if self.closed_frames else None,
            "training_seconds": self.fitted.training_seconds,
        }
        return ModelRow(
            Role.CLOSURE,
            self.forecasts.result(),
            {
                space: Kept(self.flows[space].result() if self.any_finite[space] else None, self.traces[space].result())
                for space in self.spaces
            },
            {
                kind: self.slices[own].distances(reference.pools[other], *reference.bars[other])
                for kind, (own, other) in wanted.items()
                if own in self.spaces
            },
            {key: float(value) for key, value in facts.items() if value is not None},
        )

    def _compile(self, start: np.ndarray) -> None:
        members = min(self.comparison.members, GROUP)
        for _ in rollout(self.fitted.model, start, self.block, members, key=jax.random.key(0), block=self.block):
            pass

    def _start(self, number: int, window: TimeWindow, first: int) -> None:
        c, reference, fitted = self.comparison, self.reference, self.fitted
        for flow in self.flows.values():
            flow.reynolds = float(c.data.reynolds[window.trajectory])
        self.forecasts.begin()
        actual = reference.frames(window, first)
        energy = np.full((c.members, c.steps), np.nan)
        own = {space: self._member_slices() for space in self.spaces}
        waiting: dict[int, list[np.ndarray]] = {}
        # Models with shorter windows start later, so that all forecasts begin at one time.
        shifted = first + reference.span - start_span(fitted, c.data)
        blocks = runs(
            fitted, c.data, window.trajectory, shifted, steps=c.steps, members=c.members, seed=c.seed, block=self.block
        )
        begun = perf_counter()
        for member, step, frames in blocks:
            self.seconds += perf_counter() - begun
            count = frames.shape[1]
            energy[member : member + len(frames), step : step + count] = mean_energy(frames)
            if step < len(actual):
                waiting.setdefault(step, []).append(frames[:, : len(actual) - step])
                if member + len(frames) == c.members:  # all groups of this block are there
                    everyone = np.concatenate(waiting.pop(step))
                    self.forecasts.add(everyone, actual[step : step + everyone.shape[1]])
            self._long("filtered", frames, step, own["filtered"][member:], STATISTICS_EVERY)
            if number == 0:
                self.traces["filtered"].add(np.arange(step, step + count), frames, member=member)
            if c.closure is not None:
                key = jax.random.fold_in(start_key(c.seed, window.trajectory, first), (1 << 20) + member)
                self._close(frames, step, own["full"][member:], key, first_start=number == 0 and member == 0)
            self.done += len(frames) * count
            self.report(fitted.name, self.done, c.steps * c.members * len(c.pairs))
            begun = perf_counter()
        for name, lost in fates(energy, c.slice_steps, float(reference.flows["filtered"].energy.mean())).items():
            self.lost[name] += lost
        for space, members in own.items():
            self.slices[space].add(members)

    def _member_slices(self) -> list[MemberSlices]:
        length, steps = self.comparison.slice_steps, self.comparison.steps
        return [MemberSlices(self.reference.range, length, steps // length) for _ in range(self.comparison.members)]

    def _long(self, space: str, frames: np.ndarray, step: int, slices: Sequence[MemberSlices], every: int) -> None:
        """Take some frames of the long run into slices and statistics."""
        chosen = _chosen(step, frames.shape[1], every)
        if chosen.size:
            self.any_finite[space] |= gather(frames[:, chosen], step + chosen, slices, self.flows[space])

    def _close(
        self, frames: np.ndarray, step: int, slices: Sequence[MemberSlices], key: Any, *, first_start: bool
    ) -> None:
        """Close some frames, and take the result."""
        closure, trace = self.comparison.closure, self.traces["full"]
        assert closure is not None
        chosen = _chosen(step, frames.shape[1], CLOSED_EVERY)
        if not chosen.size:
            return
        begun = perf_counter()
        high = close(closure, frames[:, chosen], key=jax.random.fold_in(key, step))
        if not (first_start and step == 0):  # the first call compiles
            self.closing += perf_counter() - begun
            self.closed_frames += high.shape[0] * high.shape[1]
        self.any_finite["full"] |= gather(high, step + chosen, slices, self.flows["full"])
        if first_start:
            trace.add(step + chosen, high)
            example = self.reference.example - step
            if 0 <= example < frames.shape[1] and example not in chosen:
                trace.keep(close(closure, frames[:, example][:, None], key=key)[:, 0])


def _chosen(step: int, count: int, every: int) -> np.ndarray:
    return np.flatnonzero((step + np.arange(count)) % every == 0)
