"""Reduced-order models side by side: forecasts against held-out truth, and long runs against its statistics.

Forecasts are judged in the filtered space that models live in, on steps whose truth the data still have. Long runs are
judged by distributions, spectra and dissipation: of the filtered fields against the filtered truth and, with a closure,
of the closed fields against the full one.

**The bar** for distances between distributions of the kinetic energy: slices of so many steps of every trajectory of
the reference, each against all slices of the other trajectories together; the 95th percentile of these distances
(:func:`closura.metrics.ensembles.reference_bar`, ``against="others"``). A single member's slice is what the bar is
made of, so that it is compared with the bar as it stands; all members of a slice together hold more values, and stay
below it more easily. The reference is the truth of the trajectories that are judged if they are four or more, else that
of all trajectories of the data set at Reynolds numbers that are judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import jax
import numpy as np

from closura.evaluation.flows.forecasts import Forecast, Forecasts, score_all
from closura.evaluation.flows.long_runs import Distances, MemberSlices, Slices, fates, gather
from closura.evaluation.flows.model_truth import (
    STATISTICS_EVERY,
    ModelStudy,
    ModelTruth,
    example_lead,
    point_of,
)
from closura.evaluation.flows.rollouts import GROUP, check_start, close, runs, start_frames, start_key, start_span
from closura.evaluation.flows.subjects import ModelSubject, Stretch
from closura.metrics.ensembles import FlowStatistics, FlowSummary
from closura.offline.rom import rollout
from closura.offline.sampler import ConditionalSampler
from closura.trajectories import FlowData

CLOSED_EVERY = 10
"""Steps between the frames of the long run that are closed."""

LYAPUNOV = {34.0: 0.068}
"""Leading Lyapunov exponent per unit of time, by Reynolds number, forcing 4: 0.068 +- 0.004 from twin runs."""


@dataclass(frozen=True, eq=False)
class ModelRow:
    """What was found of one row."""

    forecast: Forecast
    filtered: Distances | None = None
    unclosed: Distances | None = None
    closed: Distances | None = None
    flow: FlowSummary | None = None
    closed_flow: FlowSummary | None = None
    lost: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    seconds_per_step: float | None = None
    closure_seconds: float | None = None
    training_seconds: float | None = None
    trace: Mapping[str, np.ndarray] = field(default_factory=dict)
    learned: bool = False


@dataclass(frozen=True, eq=False)
class ModelEvaluation:
    """Everything that tables, figures and the report are made of."""

    study: ModelStudy
    step: float
    leads: np.ndarray
    rows: Mapping[str, ModelRow]
    filter: Mapping[str, Any]
    truth: FlowSummary
    filtered_truth: FlowSummary
    trace: Mapping[str, np.ndarray]
    reference: str
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(name for name, row in self.rows.items() if row.learned)


def run_model_study(
    study: ModelStudy,
    subjects: Sequence[ModelSubject],
    *,
    climate: np.ndarray | None = None,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> ModelEvaluation:
    """Score all models.

    Parameters
    ----------
    study
        Data, starts and sizes.
    subjects
        Models with one filter, step and grid.
    climate
        Full training frames ``(frame, component, x, y)`` for the climatology row; None leaves it out.
    notes, settings
        What has to be said, and the record.
    report
        Told the row's name, the steps that are done and their number.

    Raises
    ------
    ValueError
        If models do not share filter and step, or the data do not fit them.
    """
    _check_common(subjects, study.data)
    told = list(notes)
    for subject in subjects:
        for stretch, first in study.pairs:
            told += [n for n in check_start(subject, study.data, [stretch.trajectory], first) if n not in told]
    first_model = subjects[0]
    truth = ModelTruth(study, first_model, max(subjects, key=lambda s: s.model.window))
    rows: dict[str, ModelRow] = {}
    rows["persistence"] = ModelRow(_baseline(study, truth, None))
    if climate is not None:
        rows["climatology"] = ModelRow(_baseline(study, truth, first_model.filter(climate)))
    else:
        told.append("No training frames were found: the climatology row is missing.")
    for subject in subjects:
        rows[subject.name] = _Judge(study, subject, truth, report).row()
    return ModelEvaluation(
        study, first_model.step, truth.leads, rows, first_model.filter.plain(), truth.full_flow, truth.filtered_flow,
        truth.trace(), truth.reference_words, tuple(told), dict(settings or {}),
    )  # fmt: skip


def _check_common(subjects: Sequence[ModelSubject], data: FlowData) -> None:
    first, shape = subjects[0], (data.points, data.points)
    for subject in subjects[1:]:
        if not np.allclose(subject.filter.transfer(shape), first.filter.transfer(shape), rtol=0, atol=1e-9):
            raise ValueError(f"{first.name} and {subject.name} have other filters: judge models of one filter together")
        if abs(subject.step - first.step) > 1e-9 * first.step:
            raise ValueError(
                f"{first.name} steps by {first.step:g}, {subject.name} by {subject.step:g}: judge models of one step "
                "together"
            )


def _baseline(study: ModelStudy, truth: ModelTruth, climate: np.ndarray | None) -> Forecast:
    """Persistence, or draws from filtered frames ``climate``."""
    forecasts = Forecasts(truth.model.step, study.lyapunov)
    for stretch, first in study.pairs:
        last = first + truth.span - 1
        held = truth.model.filter(study.data.read(stretch.trajectory, last, last + 1))
        key = start_key(study.seed, stretch.trajectory, first)

        def drawn(lead: int, count: int, held: np.ndarray = held, key: Any = key) -> np.ndarray:
            if climate is None:
                return np.broadcast_to(held, (1, count, *held.shape[1:]))
            shape = (study.members, count)
            chosen = jax.random.randint(jax.random.fold_in(key, lead), shape, 0, len(climate), np.int32)
            return climate[np.asarray(chosen)]

        score_all(forecasts, truth.frames(stretch, first), drawn)
    return forecasts.result(members=False)


class _Judge:
    """Runs one model from all starts, and takes what is asked of its blocks."""

    def __init__(
        self, study: ModelStudy, subject: ModelSubject, truth: ModelTruth, report: Callable[[str, int, int], None]
    ) -> None:
        self.study, self.subject, self.truth, self.report = study, subject, truth, report
        self.forecasts = Forecasts(subject.step, study.lyapunov)
        self.kinds = ("filtered",) if study.closure is None else ("filtered", "closed")
        self.flows = {kind: FlowStatistics(1.0, energy_range=truth.range) for kind in self.kinds}
        self.slices = {kind: Slices(truth.range) for kind in self.kinds}
        self.any_finite = dict.fromkeys(self.kinds, False)
        self.lost = {"not_finite": 0, "blown_up": 0, "collapsed": 0}
        self.seconds = self.closing = 0.0
        self.closed_frames = self.done = 0
        self.trace = _RunTrace(truth, study)
        self.block = max(1, min(100, study.slice_steps, study.steps))

    def row(self) -> ModelRow:
        """Everything that was found."""
        study, truth = self.study, self.truth
        stretch, first = study.pairs[0]
        self._compile(start_frames(self.subject, study.data, stretch.trajectory, first))
        for number, (stretch, first) in enumerate(study.pairs):
            self._start(number, stretch, first)

        def distances(kind: str, reference: str) -> Distances:
            return self.slices[kind].distances(truth.pools[reference], *truth.bars[reference])

        closed = "closed" in self.kinds
        return ModelRow(
            forecast=self.forecasts.result(),
            filtered=distances("filtered", "filtered"),
            unclosed=distances("filtered", "full"),
            closed=distances("closed", "full") if closed else None,
            flow=self.flows["filtered"].result() if self.any_finite["filtered"] else None,
            closed_flow=self.flows["closed"].result() if closed and self.any_finite["closed"] else None,
            lost=self.lost,
            runs=study.members * len(study.pairs),
            seconds_per_step=self.seconds / (study.steps * len(study.pairs)),
            closure_seconds=self.closing / self.closed_frames if self.closed_frames else None,
            training_seconds=self.subject.training_seconds,
            trace=self.trace.result(),
            learned=True,
        )

    def _compile(self, start: np.ndarray) -> None:
        members = min(self.study.members, GROUP)
        for _ in rollout(self.subject.model, start, self.block, members, key=jax.random.key(0), block=self.block):
            pass

    def _start(self, number: int, stretch: Stretch, first: int) -> None:
        study, truth, subject = self.study, self.truth, self.subject
        for flow in self.flows.values():
            flow.reynolds = float(study.data.reynolds[stretch.trajectory])
        self.forecasts.begin()
        actual = truth.frames(stretch, first)
        energy = np.full((study.members, study.steps), np.nan)
        own = {kind: self._member_slices() for kind in self.kinds}
        waiting: dict[int, list[np.ndarray]] = {}
        # Models with shorter windows start later, so that all forecasts begin at one time.
        shifted = first + truth.span - start_span(subject, study.data)
        blocks = runs(
            subject, study.data, stretch.trajectory, shifted, steps=study.steps, members=study.members,
            seed=study.seed, block=self.block,
        )  # fmt: skip
        begun = perf_counter()
        for member, step, frames in blocks:
            self.seconds += perf_counter() - begun
            count = frames.shape[1]
            energy[member : member + len(frames), step : step + count] = _mean_energy(frames)
            if step < len(actual):
                waiting.setdefault(step, []).append(frames[:, : len(actual) - step])
                if member + len(frames) == study.members:  # all groups of this block are there
                    everyone = np.concatenate(waiting.pop(step))
                    self.forecasts.add(everyone, actual[step : step + everyone.shape[1]])
            self._long("filtered", frames, step, own["filtered"][member:], STATISTICS_EVERY)
            if number == 0:
                self.trace.add(frames, member, step)
            if study.closure is not None:
                key = jax.random.fold_in(start_key(study.seed, stretch.trajectory, first), (1 << 20) + member)
                self._close(frames, step, own["closed"][member:], key, first_start=number == 0 and member == 0)
            self.done += len(frames) * count
            self.report(subject.name, self.done, study.steps * study.members * len(study.pairs))
            begun = perf_counter()
        for name, lost in fates(energy, study.slice_steps, float(truth.filtered_flow.energy.mean())).items():
            self.lost[name] += lost
        for kind, members in own.items():
            self.slices[kind].add(members)

    def _member_slices(self) -> list[MemberSlices]:
        length, steps = self.study.slice_steps, self.study.steps
        return [MemberSlices(self.truth.range, length, steps // length) for _ in range(self.study.members)]

    def _long(self, kind: str, frames: np.ndarray, step: int, slices: Sequence[MemberSlices], every: int) -> None:
        """Take some frames of the long run into slices and statistics."""
        chosen = _chosen(step, frames.shape[1], every)
        if chosen.size:
            self.any_finite[kind] |= gather(frames[:, chosen], step + chosen, slices, self.flows[kind])

    def _close(
        self, frames: np.ndarray, step: int, slices: Sequence[MemberSlices], key: Any, *, first_start: bool
    ) -> None:
        """Close some frames, and take the result."""
        closure = self.study.closure
        assert closure is not None
        chosen = _chosen(step, frames.shape[1], CLOSED_EVERY)
        if not chosen.size:
            return
        begun = perf_counter()
        high = close(closure, frames[:, chosen], key=jax.random.fold_in(key, step))
        if not (first_start and step == 0):  # the first call compiles
            self.closing += perf_counter() - begun
            self.closed_frames += high.shape[0] * high.shape[1]
        self.any_finite["closed"] |= gather(high, step + chosen, slices, self.flows["closed"])
        if first_start:
            self.trace.add_closed(high, step + chosen, self.subject.step)
            self.trace.close_example(frames, step, lambda f: close(closure, f, key=key))


def _chosen(step: int, count: int, every: int) -> np.ndarray:
    return np.flatnonzero((step + np.arange(count)) % every == 0)


def _mean_energy(frames: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Kinetic energy, averaged over the box or over y, of what may not be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(0.5 * np.square(frames.astype(np.float64)).sum(axis=-3).mean(axis=axes))


class _RunTrace:
    """What figures show of the first start's runs."""

    def __init__(self, truth: ModelTruth, study: ModelStudy) -> None:
        self.example = example_lead(truth.horizon)
        self.point = point_of(study.data.points)
        self._at: dict[int, list[np.ndarray]] = {}
        self._along: list[np.ndarray] = []
        self._closed: list[np.ndarray] = []
        self._times: list[np.ndarray] = []
        self._examples: dict[str, np.ndarray] = {}

    def add(self, frames: np.ndarray, member: int, step: int) -> None:
        """Take filtered frames ``(member, time, ...)``."""
        x, y = self.point
        self._at.setdefault(step, []).append(frames[:, :, :, x, y].astype(np.float64))
        if member == 0:
            self._along.append(_mean_energy(frames[0], (-1,)))
            if step <= self.example < step + frames.shape[1]:
                self._examples["example_members"] = frames[:, self.example - step].astype(np.float64)

    def add_closed(self, frames: np.ndarray, steps: np.ndarray, step: float) -> None:
        """Take closed frames of some steps."""
        self._closed.append(_mean_energy(frames[0], (-1,)))
        self._times.append((steps + 1) * step)

    def close_example(self, frames: np.ndarray, step: int, closing: Callable[[np.ndarray], np.ndarray]) -> None:
        """Close the frames that are shown."""
        if step <= self.example < step + frames.shape[1]:
            shown = frames[:, self.example - step][:, None]
            self._examples["closed_example_members"] = closing(shown)[:, 0].astype(np.float64)

    def result(self) -> dict[str, np.ndarray]:
        """Arrays by name: ``at_point (member, time, component)``, ``along_x (time, x)``, ..."""
        found = dict(self._examples)
        found["at_point"] = np.concatenate([np.concatenate(self._at[s]) for s in sorted(self._at)], axis=1)
        found["along_x"] = np.concatenate(self._along)
        if self._closed:
            found["closed_along_x"], found["closed_times"] = np.concatenate(self._closed), np.concatenate(self._times)
        return found


def climate_frames(
    subject: ModelSubject, fallback: ConditionalSampler | None, read: Callable[[ModelSubject], np.ndarray | None]
) -> np.ndarray | None:
    """Full training frames for the climatology: those that the run keeps, of its data if they are there, or others."""
    for kept in (subject.climatology,):
        if kept is not None and hasattr(kept, "frames"):
            return np.asarray(kept.frames)
    found = read(subject)
    if found is not None:
        return found
    return np.asarray(fallback.frames) if fallback is not None and hasattr(fallback, "frames") else None
