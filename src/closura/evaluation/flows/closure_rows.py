"""One row of a study of closures: samples drawn block by block, and sums over them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import jax
import numpy as np

from closura.evaluation.flows.closure_results import DIAGRAM_LEVELS, ClosureRow, ClosureStudy, Unit
from closura.evaluation.flows.frames import read_frames
from closura.evaluation.flows.subjects import ClosureSubject
from closura.evaluation.flows.traces import Trace
from closura.metrics.ensembles import EnsembleScores, FlowStatistics, FlowSummary
from closura.offline.baselines import Persistence
from closura.offline.sampler import ConditionalSampler
from closura.reproductions.scale_separation_scores import PublishedScoring, ensemble_mean_and_std
from closura.seeds import key_of

BYTES = 2**26
"""Bytes of samples that are worked on at a time."""

PARTS = 5
"""Blocks of time that each stretch is cut into where there are too few trajectories for a spread."""


@dataclass(frozen=True, eq=False)
class Part:
    """Frames that one of the spread's units consists of, of one stretch of one trajectory."""

    stretch: int
    trajectory: int
    frames: np.ndarray


def parts_of(study: ClosureStudy) -> list[Part]:
    """The units that spreads are taken over: trajectories, or blocks of their time where they are few."""
    number = 1 if len(study.stretches) > 3 else PARTS
    return [
        Part(index, stretch.trajectory, part)
        for index, (stretch, frames) in enumerate(zip(study.stretches, study.frames, strict=True))
        for part in np.array_split(frames, min(number, len(frames)))
    ]


def truth_of(
    study: ClosureStudy, parts: Sequence[Part], energies: tuple[float, float]
) -> tuple[FlowSummary, FlowSummary, dict[str, np.ndarray]]:
    """Statistics of the full and of the filtered frames, and the full ones' trace."""
    full_statistics, filtered_statistics = (_statistics(study, energies) for _ in range(2))
    trace = Trace(study.data, study.frames[0])
    for part in parts:
        full_statistics.reynolds = filtered_statistics.reynolds = float(study.data.reynolds[part.trajectory])
        for numbers, full in _blocks(study, part):
            filtered = study.filter(full)
            full_statistics.add(full)
            filtered_statistics.add(filtered)
            if part.stretch == 0:
                trace.add(numbers, full[None])
                trace.keep("filtered", numbers, filtered)
    return full_statistics.result(), filtered_statistics.result(), trace.result()


def score_row(
    study: ClosureStudy,
    name: str,
    closure: ConditionalSampler | None,
    subject: ClosureSubject | None,
    parts: Sequence[Part],
    energies: tuple[float, float],
    report: Callable[[str, int, int], None],
) -> ClosureRow:
    """Draw and score all samples of a row.

    Parameters
    ----------
    study
        Data and frames.
    name
        The row's name; "none" and "persistence" have a single member.
    closure
        What draws; None for persistence, which holds the first full frame of each stretch.
    subject
        Where it comes from, if it was fitted.
    parts
        Of :func:`parts_of`.
    energies
        Range of the histogram of the kinetic energy.
    report
        Told the name, the frames that are done and their number.
    """
    sums = _Sums(study, _whitened(closure), energies)
    members = 1 if name in ("none", "persistence") else study.members
    held: dict[int, Persistence] = {}
    done, seconds, warm = 0, 0.0, False
    for part in parts:
        if closure is None and part.stretch not in held:
            begin = study.stretches[part.stretch].frames.start
            held[part.stretch] = Persistence(study.data.read(part.trajectory, begin, begin + 1)[0])
        asked = closure if closure is not None else held[part.stretch]
        sums.begin(part)
        for numbers, full in _blocks(study, part):
            filtered = study.filter(full)
            key = jax.random.fold_in(jax.random.fold_in(key_of(study.seed), part.trajectory), int(numbers[0]))
            if not warm:
                asked.sample(filtered[:1], members, key=key)
                warm = True
            begun = perf_counter()
            drawn = np.asarray(asked.sample(filtered, members, key=key))
            seconds += perf_counter() - begun
            sums.add(part, numbers, filtered, full, drawn)
            done += len(numbers)
            report(name, done, study.total)
        sums.end(part)
    return sums.row(seconds / study.total, subject)


class _Sums:
    """What is kept of a row's samples; those that are not finite are counted, and their frames left out of scores."""

    def __init__(
        self, study: ClosureStudy, whitened: Callable[..., tuple[Any, Any, Any]] | None, energies: tuple[float, float]
    ) -> None:
        self.fair, self.to_whitened = study.scoring == "fair", None if study.scoring == "fair" else whitened
        self.flow = _statistics(study, energies)
        self.trace = Trace(study.data, study.frames[0])
        self.total, self.own = EnsembleScores(levels=DIAGRAM_LEVELS), EnsembleScores(levels=DIAGRAM_LEVELS)
        self.published, self.whitened = PublishedScoring(), PublishedScoring()
        self.units: list[Unit] = []
        self.reynolds = study.data.reynolds
        self.samples = self.diverged = self.left_out = self.scored = self.counted = 0

    def begin(self, part: Part) -> None:
        self.flow.reynolds = float(self.reynolds[part.trajectory])
        self.own, self.counted = EnsembleScores(levels=DIAGRAM_LEVELS), 0

    def add(self, part: Part, numbers: np.ndarray, filtered: np.ndarray, full: np.ndarray, drawn: np.ndarray) -> None:
        """Take samples ``(member, time, component, x, y)`` of some frames."""
        finite = np.isfinite(drawn).all(axis=(2, 3, 4))
        good = finite.all(axis=0)
        self.samples += finite.size
        self.diverged += int((~finite).sum())
        self.left_out += int((~good).sum())
        if part.stretch == 0:
            self.trace.add(numbers, drawn)
        if good.any():
            self._score(filtered[good], full[good], drawn[:, good])
            self.scored += int(good.sum())
            self.counted += int(good.sum())
        if finite.any():
            self.flow.add(drawn[finite])

    def _score(self, filtered: np.ndarray, full: np.ndarray, drawn: np.ndarray) -> None:
        if self.fair:
            self.own.add(drawn, full)
            return
        self.published.add(*ensemble_mean_and_std(drawn), full)
        if self.to_whitened is not None:
            true, mean, std = self.to_whitened(filtered, full)
            self.whitened.add(mean, std, true)

    def end(self, part: Part) -> None:
        fair = self.counted > 0 and self.fair
        if fair:
            self.total.merge(self.own)
        scores = self.own.result() if fair else None
        self.units.append(Unit(part.trajectory, int(part.frames[0]), int(part.frames[-1]), scores))

    def row(self, seconds_per_frame: float, subject: ClosureSubject | None) -> ClosureRow:
        fair, published = self.scored > 0 and self.fair, self.scored > 0 and not self.fair
        return ClosureRow(
            scores=self.total.result() if fair else None,
            units=tuple(self.units),
            published=self.published.result() if published else None,
            whitened=self.whitened.result() if published and self.to_whitened is not None else None,
            flow=self.flow.result() if self.samples > self.diverged else None,
            diverged=self.diverged,
            left_out=self.left_out,
            samples=self.samples,
            seconds_per_frame=seconds_per_frame,
            training_seconds=None if subject is None else subject.training_seconds,
            trace=self.trace.result(),
            learned=subject is not None,
        )


def _statistics(study: ClosureStudy, energies: tuple[float, float]) -> FlowStatistics:
    return FlowStatistics(float(study.data.reynolds[study.stretches[0].trajectory]), energy_range=energies)


def _blocks(study: ClosureStudy, part: Part) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frame numbers and full frames of a part, as many as samples fit into memory."""
    frame_bytes = 2 * study.data.points**2 * 4 * study.members
    size = max(1, BYTES // frame_bytes)
    for first in range(0, len(part.frames), size):
        numbers = part.frames[first : first + size]
        yield numbers, read_frames(study.data, part.trajectory, numbers)


def _whitened(closure: ConditionalSampler | None) -> Callable[..., tuple[Any, Any, Any]] | None:
    """What gives truth, mean and deviation as the published scores of the Gaussian process take them."""
    return getattr(getattr(closure, "inner", closure), "whitened", None)
