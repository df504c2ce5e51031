"""Runs of reduced-order models from all starts: forecasts and long runs, summed up while they pass by."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import jax
import numpy as np
from jaxtyping import Array

from closura.core import Role
from closura.metrics.ensembles import FlowStatistics, Scores
from closura.offline.comparisons import ModelComparison
from closura.offline.ensembles import GROUP, close, runs, start_frames, start_key, start_span
from closura.offline.fitted import FittedModel
from closura.offline.held_out import TimeWindow
from closura.offline.model_reference import STATISTICS_EVERY, ModelReference
from closura.offline.rom import rollout
from closura.offline.run_scores import Distances, Forecasts, distances, fates, gather, histograms
from closura.offline.traces import Trace, mean_energy
from closura.offline.variables import Kept

CLOSED_EVERY = 10
"""Steps between the frames of the long run that are closed."""

LEAD_BLOCK = 50
"""Leads that baselines are scored on at a time."""

KINDS = {"filtered": ("filtered", "filtered"), "unclosed": ("filtered", "full"), "closed": ("full", "full")}
"""Distances of which fields to which of the reference: filtered ones, and before and after the closure to full ones."""


@dataclass(frozen=True, eq=False)
class ModelRow:
    """What was found of one method; ``forecast`` as :meth:`Forecasts.result` gives it."""

    role: Role
    forecast: Mapping[str, np.ndarray]
    total: Scores | None
    kept: Mapping[str, Kept] = field(default_factory=dict)
    distances: Mapping[str, Distances] = field(default_factory=dict)
    facts: Mapping[str, float] = field(default_factory=dict)


def naive_forecast(comparison: ModelComparison, reference: ModelReference, climate: np.ndarray | None) -> ModelRow:
    """Persistence, or draws from filtered frames ``climate``."""
    forecasts = Forecasts(reference.model.step)
    for window, first in comparison.pairs:
        last = first + reference.span - 1
        held = reference.model.filter(comparison.data.read(window.trajectory, last, last + 1))
        key = start_key(comparison.seed, window.trajectory, first)
        forecasts.begin()
        actual = reference.frames(window, first)
        for lead in range(0, len(actual), LEAD_BLOCK):
            part = actual[lead : lead + LEAD_BLOCK]
            if climate is None:
                drawn = np.broadcast_to(held, (1, *part.shape))
            else:
                shape = (comparison.members, len(part))
                chosen = jax.random.randint(jax.random.fold_in(key, lead), shape, 0, len(climate), np.int32)
                drawn = climate[np.asarray(chosen)]
            forecasts.add(drawn, part)
    return ModelRow(Role.NAIVE, forecasts.result(members=False), forecasts.total)


class ModelRuns:
    """Runs one model from all starts, and takes what is wanted of its blocks."""

    def __init__(
        self,
        comparison: ModelComparison,
        fitted: FittedModel,
        reference: ModelReference,
        report: Callable[[str, int, int], None],
    ) -> None:
        c = self.comparison = comparison
        self.fitted, self.reference, self.report = fitted, reference, partial(report, fitted.name)
        self.forecasts = Forecasts(fitted.step)
        self.spaces = ("filtered",) if c.closure is None else ("filtered", "full")
        self.flows = {space: FlowStatistics(1.0, energy_range=reference.range) for space in self.spaces}
        size = len(c.pairs), c.members, c.steps // c.slice_steps
        self.slices = {space: histograms(reference.range, *size) for space in self.spaces}
        self.any_finite = dict.fromkeys(self.spaces, False)
        self.traces = {space: Trace(reference.example, c.steps) for space in self.spaces}
        self.lost = {"not_finite": 0, "blown_up": 0, "collapsed": 0}
        self.seconds = self.closing = 0.0
        self.closed_frames = self.done = 0
        self.block = max(1, min(100, c.slice_steps, c.steps))

    def row(self) -> ModelRow:
        """Everything that was found."""
        c, reference = self.comparison, self.reference
        window, first = c.pairs[0]
        begin = start_frames(self.fitted, c.data, window.trajectory, first)
        for _ in rollout(
            self.fitted.model, begin, self.block, min(c.members, GROUP), key=jax.random.key(0), block=self.block
        ):
            pass  # compiled here
        for number, (window, first) in enumerate(c.pairs):
            self._start(number, window, first)
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
            self.forecasts.total,
            {
                space: Kept(self.flows[space].result() if self.any_finite[space] else None, self.traces[space].result())
                for space in self.spaces
            },
            {
                kind: distances(self.slices[own], reference.pools[other], *reference.bars[other])
                for kind, (own, other) in KINDS.items()
                if own in self.spaces
            },
            {key: float(value) for key, value in facts.items() if value is not None},
        )

    def _start(self, number: int, window: TimeWindow, first: int) -> None:
        c, reference, fitted = self.comparison, self.reference, self.fitted
        for flow in self.flows.values():
            flow.reynolds = float(c.data.reynolds[window.trajectory])
        self.forecasts.begin()
        actual = reference.frames(window, first)
        energy = np.full((c.members, c.steps), np.nan)
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
            chosen = _chosen(step, count, STATISTICS_EVERY)
            self._gather("filtered", frames[:, chosen], step + chosen, number, member)
            if number == 0:
                self.traces["filtered"].add(np.arange(step, step + count), frames, member=member)
            if c.closure is not None:
                key = jax.random.fold_in(start_key(c.seed, window.trajectory, first), (1 << 20) + member)
                self._close(frames, step, number, member, key)
            self.done += len(frames) * count
            self.report(self.done, c.steps * c.members * len(c.pairs))
            begun = perf_counter()
        for name, lost in fates(energy, c.slice_steps, float(reference.flows["filtered"].energy.mean())).items():
            self.lost[name] += lost

    def _gather(self, space: str, frames: np.ndarray, steps: np.ndarray, start: int, member: int) -> None:
        """Take frames of the long run, from one member on, into slices and statistics."""
        if steps.size:
            own = self.slices[space][start, member:]
            self.any_finite[space] |= gather(frames, steps, own, self.comparison.slice_steps, self.flows[space])

    def _close(self, frames: np.ndarray, step: int, start: int, member: int, key: Array) -> None:
        """Close some frames, and take the result."""
        closure, trace = self.comparison.closure, self.traces["full"]
        assert closure is not None
        chosen = _chosen(step, frames.shape[1], CLOSED_EVERY)
        if not chosen.size:
            return
        begun = perf_counter()
        high = close(closure, frames[:, chosen], key=jax.random.fold_in(key, step))
        if (start, member, step) != (0, 0, 0):  # the first call compiles
            self.closing += perf_counter() - begun
            self.closed_frames += high.shape[0] * high.shape[1]
        self._gather("full", high, step + chosen, start, member)
        if (start, member) == (0, 0):
            trace.add(step + chosen, high)
            example = self.reference.example - step
            if 0 <= example < frames.shape[1] and example not in chosen:
                trace.keep(close(closure, frames[:, example][:, None], key=key)[:, 0])


def _chosen(step: int, count: int, every: int) -> np.ndarray:
    return np.flatnonzero((step + np.arange(count)) % every == 0)
