"""Closures side by side: from the same filtered frames to the same full frames, block by block.

Rows beside the closures: ``none`` (the filtered field itself), ``persistence`` (the first full frame of each stretch
that is judged, held) and ``climatology`` (training frames drawn at random). Deterministic rows are scored as a single
prediction, whose CRPS is the absolute error and whose intervals are empty.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Literal

import jax
import numpy as np

from closura.evaluation.ensembles import (
    LEVELS,
    EnsembleScores,
    FlowStatistics,
    FlowSummary,
    PublishedScores,
    PublishedScoring,
    Scores,
    ensemble_mean_and_std,
    kinetic_energy,
)
from closura.evaluation.flows.subjects import ClosureSubject, Stretch
from closura.reduced.baselines import NoClosure, Persistence
from closura.reduced.filters import Filter
from closura.reduced.reconstruction import Reconstruction
from closura.trajectories import FlowData

Scoring = Literal["fair", "published"]

DIAGRAM_LEVELS = tuple(sorted({*(round(0.1 * i, 1) for i in range(1, 10)), *LEVELS}))
"""Nominal coverages of the reliability diagram."""

BYTES = 2**26
"""Bytes of samples that are worked on at a time."""

PARTS = 5
"""Blocks of time that each stretch is cut into where there are too few trajectories for a spread."""

KEPT_MEMBERS = 3
"""Members of the example frame that figures may show."""


@dataclass(frozen=True, eq=False)
class ClosureStudy:
    """What is judged, on which frames.

    Parameters
    ----------
    data
        The data set.
    filter
        Makes the filtered frames.
    stretches
        What is judged of it.
    frames
        Numbers of the judged frames within each stretch, absolute; one array per stretch.
    members
        Size of the ensembles.
    seed
        Of the samples.
    scoring
        "fair", or "published": the notebooks' formulas.
    """

    data: FlowData
    filter: Filter
    stretches: tuple[Stretch, ...]
    frames: tuple[np.ndarray, ...]
    members: int = 50
    seed: int = 0
    scoring: Scoring = "fair"

    @property
    def total(self) -> int:
        """Frames that are judged, of all stretches."""
        return sum(map(len, self.frames))


@dataclass(frozen=True, eq=False)
class Unit:
    """Scores of one part: a trajectory, or a block of its time."""

    trajectory: int
    first: int
    last: int
    scores: Scores | None


@dataclass(frozen=True, eq=False)
class ClosureRow:
    """What was found of one row.

    Parameters
    ----------
    scores
        Over all frames whose samples are finite; None if there is none, or the scoring is the published one.
    units
        The same for each part.
    published
        Published scores, where asked for.
    whitened
        Published scores of standardised coefficients, for the published Gaussian process.
    flow
        Statistics of all finite samples.
    diverged
        Samples that are not finite.
    left_out
        Frames with such samples, which scores leave out.
    samples
        Samples that were drawn.
    seconds_per_frame
        Wall time of a whole ensemble of one frame, compilation left out.
    training_seconds
        Wall time of the fit.
    trace
        For figures: samples at one point over the first stretch's frames, energies along x, an example frame.
    learned
        Whether it was fitted, so that it stands out.
    """

    scores: Scores | None
    units: tuple[Unit, ...]
    published: PublishedScores | None
    whitened: PublishedScores | None
    flow: FlowSummary | None
    diverged: int
    left_out: int
    samples: int
    seconds_per_frame: float
    training_seconds: float | None
    trace: Mapping[str, np.ndarray]
    learned: bool


@dataclass(frozen=True, eq=False)
class ClosureEvaluation:
    """Everything that tables, figures and the report are made of."""

    study: ClosureStudy
    rows: Mapping[str, ClosureRow]
    truth: FlowSummary
    filtered: FlowSummary
    trace: Mapping[str, np.ndarray]
    unit: str
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def closures(self) -> tuple[str, ...]:
        """Names of the fitted closures."""
        return tuple(name for name, row in self.rows.items() if row.learned)


def spread_frames(stretch: Stretch, count: int | None, every: int | None) -> np.ndarray:
    """Numbers of the judged frames: ``count`` in the middles of equal parts, or each ``every``-th from the first on.

    Raises
    ------
    ValueError
        If both are given, or a number is not positive.
    """
    if count is not None and every is not None:
        raise ValueError("frames are spread evenly or taken at a distance: give --frames or --every")
    if min(count or 1, every or 1) < 1:
        raise ValueError(f"--frames and --every must be positive; got {count if count is not None else every}")
    available = np.asarray(stretch.frames)
    if every is not None:
        return available[::every]
    wanted = min(100 if count is None else count, len(available))
    return available[((np.arange(wanted) + 0.5) * len(available) / wanted).astype(int)]


def run_closure_study(
    study: ClosureStudy,
    subjects: Sequence[ClosureSubject],
    *,
    notes: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> ClosureEvaluation:
    """Score all rows.

    Parameters
    ----------
    study
        Data and frames.
    subjects
        Closures; the first one with a climatology gives that row.
    notes
        What has to be said beside the numbers.
    settings
        For the record.
    report
        Told the row's name, the frames that are done and their number.

    Raises
    ------
    ValueError
        If the data cannot be read or a closure does not take their frames.
    """
    blocks = list(_parts(study))
    energies = energy_range(study.data, [s.trajectory for s in study.stretches])
    truth, filtered, trace = _truth(study, energies)
    shape = (2, study.data.points, study.data.points)
    plan: list[tuple[str, Reconstruction | None, ClosureSubject | None]] = [("none", NoClosure(shape), None)]
    plan.append(("persistence", None, None))
    climate = next((s for s in subjects if s.climatology is not None), None)
    if climate is not None:
        plan.append(("climatology", climate.climatology, None))
    plan += [(subject.name, subject.closure, subject) for subject in subjects]
    rows = {}
    for name, closure, subject in plan:
        rows[name] = _row(study, name, closure, subject, blocks, energies, report)
    told = list(notes)
    if climate is None:
        told.append("No run keeps a climatology of its training frames: that row is missing.")
    elif len(subjects) > 1:
        told.append(f"The climatology is that of {climate.name}'s training frames.")
    several = len(study.stretches) > 3
    unit = "trajectories" if several else f"blocks of time (up to {PARTS} of each trajectory)"
    return ClosureEvaluation(study, rows, truth, filtered, trace, unit, tuple(told), dict(settings or {}))


def energy_range(data: FlowData, trajectories: Sequence[int]) -> tuple[float, float]:
    """A range for histograms that holds the kinetic energy at all points, with room to spare."""
    largest = max(
        float(kinetic_energy(data.read(i, first, first + 1)).max())
        for i in trajectories
        for first in np.linspace(0, data.frames - 1, min(8, data.frames)).astype(int).tolist()
    )
    return 0.0, float(max(4.0, np.ceil(2 * largest)))


@dataclass(frozen=True, eq=False)
class _Part:
    stretch: int
    trajectory: int
    frames: np.ndarray


def _parts(study: ClosureStudy) -> Iterator[_Part]:
    """The units that spreads are taken over."""
    number = 1 if len(study.stretches) > 3 else PARTS
    for index, (stretch, frames) in enumerate(zip(study.stretches, study.frames, strict=True)):
        for part in np.array_split(frames, min(number, len(frames))):
            yield _Part(index, stretch.trajectory, part)


def read_frames(data: FlowData, trajectory: int, numbers: np.ndarray) -> np.ndarray:
    """Single frames of a trajectory, float32 or float64 as they are kept; each chunk is read once."""
    step, parts = data.chunk_frames, []
    for chunk in np.unique(numbers // step):
        own = numbers[numbers // step == chunk]
        low, high = int(own.min()), int(own.max()) + 1
        parts.append(data.read(trajectory, low, high)[own - low])
    return np.concatenate(parts)


def _blocks(study: ClosureStudy, part: _Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frame numbers and full frames of a part, as many as samples fit into memory."""
    frame_bytes = 2 * study.data.points**2 * 4 * study.members
    size = max(1, BYTES // frame_bytes)
    for first in range(0, len(part.frames), size):
        numbers = part.frames[first : first + size]
        yield numbers, read_frames(study.data, part.trajectory, numbers)


def _truth(
    study: ClosureStudy, energies: tuple[float, float]
) -> tuple[FlowSummary, FlowSummary, dict[str, np.ndarray]]:
    reynolds = study.data.reynolds
    full_statistics = FlowStatistics(float(reynolds[study.stretches[0].trajectory]), energy_range=energies)
    filtered_statistics = FlowStatistics(full_statistics.reynolds, energy_range=energies)
    trace = _Trace(study)
    for part in _parts(study):
        full_statistics.reynolds = filtered_statistics.reynolds = float(reynolds[part.trajectory])
        for numbers, full in _blocks(study, part):
            filtered = study.filter(full)
            full_statistics.add(full)
            filtered_statistics.add(filtered)
            if part.stretch == 0:
                trace.add(numbers, full[None])
                trace.keep("filtered", numbers, filtered)
    return full_statistics.result(), filtered_statistics.result(), trace.result()


def _row(
    study: ClosureStudy,
    name: str,
    closure: Reconstruction | None,
    subject: ClosureSubject | None,
    parts: Sequence[_Part],
    energies: tuple[float, float],
    report: Callable[[str, int, int], None],
) -> ClosureRow:
    flow = FlowStatistics(float(study.data.reynolds[study.stretches[0].trajectory]), energy_range=energies)
    trace, published, total = _Trace(study), PublishedScoring(), EnsembleScores(levels=DIAGRAM_LEVELS)
    units: list[Unit] = []
    standardised, whitened_scores = _whitened(closure), PublishedScoring()
    diverged = left_out = samples = done = scored = 0
    seconds, held = 0.0, {}
    deterministic = name in ("none", "persistence")
    members = 1 if deterministic else study.members
    warm = False
    for part in parts:
        if name == "persistence" and part.stretch not in held:
            begin = study.stretches[part.stretch].frames.start
            held[part.stretch] = study.data.read(part.trajectory, begin, begin + 1)[0]
        asked = closure if closure is not None else Persistence(held[part.stretch])
        flow.reynolds = float(study.data.reynolds[part.trajectory])
        own, counted = EnsembleScores(levels=DIAGRAM_LEVELS), 0
        for numbers, full in _blocks(study, part):
            filtered = study.filter(full)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(study.seed), part.trajectory), int(numbers[0]))
            if not warm:
                asked.sample(filtered[:1], members, key=key)
                warm = True
            begun = perf_counter()
            drawn = np.asarray(asked.sample(filtered, members, key=key))
            seconds += perf_counter() - begun
            finite = np.isfinite(drawn).all(axis=(2, 3, 4))
            good = finite.all(axis=0)
            diverged += int((~finite).sum())
            left_out += int((~good).sum())
            samples += finite.size
            if part.stretch == 0:
                trace.add(numbers, drawn)
            if good.any():
                if study.scoring == "published":
                    published.add(*ensemble_mean_and_std(drawn[:, good]), full[good])
                    if standardised is not None:
                        true, mean, std = standardised(filtered[good], full[good])
                        whitened_scores.add(mean, std, true)
                else:
                    own.add(drawn[:, good], full[good])
                scored += int(good.sum())
                counted += int(good.sum())
            if finite.any():
                flow.add(drawn[finite])
            done += len(numbers)
            report(name, done, study.total)
        fair = counted > 0 and study.scoring == "fair"
        if fair:
            total.merge(own)
        units.append(Unit(part.trajectory, int(part.frames[0]), int(part.frames[-1]), own.result() if fair else None))
    return ClosureRow(
        scores=total.result() if scored and study.scoring == "fair" else None,
        units=tuple(units),
        published=published.result() if scored and study.scoring == "published" else None,
        whitened=whitened_scores.result() if scored and study.scoring == "published" and standardised else None,
        flow=flow.result() if samples > diverged else None,
        diverged=diverged,
        left_out=left_out,
        samples=samples,
        seconds_per_frame=seconds / study.total,
        training_seconds=None if subject is None else subject.training_seconds,
        trace=trace.result(),
        learned=subject is not None,
    )


def _whitened(closure: Reconstruction | None) -> Callable[..., tuple[Any, Any, Any]] | None:
    """What gives truth, mean and deviation as the published scores of the Gaussian process take them."""
    return getattr(getattr(closure, "inner", closure), "whitened", None)


class _Trace:
    """What figures show of the first stretch: one point over time, energy along x over time, one frame."""

    def __init__(self, study: ClosureStudy) -> None:
        frames, points = study.frames[0], study.data.points
        self._times = study.data.times[frames]
        self._example = int(frames[len(frames) // 2])
        self._point = points // 2, points // 4
        self._at_point: list[np.ndarray] = []
        self._along_x: list[np.ndarray] = []
        self._kept: dict[str, np.ndarray] = {}

    def add(self, numbers: np.ndarray, drawn: np.ndarray) -> None:
        """Take samples ``(member, time, component, x, y)``."""
        x, y = self._point
        self._at_point.append(drawn[:, :, :, x, y].astype(np.float64))
        first = np.nan_to_num(drawn[0].astype(np.float64))
        self._along_x.append(0.5 * np.square(first).sum(axis=1).mean(axis=-1))
        here = np.flatnonzero(numbers == self._example)
        if here.size:
            frame = drawn[:, here[0]].astype(np.float64)
            self._kept["members"] = frame[:KEPT_MEMBERS]
            self._kept["mean"], self._kept["std"] = frame.mean(axis=0), frame.std(axis=0, ddof=min(1, len(frame) - 1))

    def keep(self, name: str, numbers: np.ndarray, frames: np.ndarray) -> None:
        """Keep the example frame of another field."""
        here = np.flatnonzero(numbers == self._example)
        if here.size:
            self._kept[name] = frames[here[0]].astype(np.float64)

    def result(self) -> dict[str, np.ndarray]:
        """Arrays by name: ``times``, ``at_point (member, time, component)``, ``along_x (time, x)``, ``members``, ..."""
        return {
            "times": self._times,
            "at_point": np.concatenate(self._at_point, axis=1),
            "along_x": np.concatenate(self._along_x),
            "example_time": np.asarray(self._times[len(self._times) // 2]),
            "point": np.asarray(self._point),
            **self._kept,
        }
