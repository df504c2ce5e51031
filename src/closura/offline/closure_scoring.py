"""Closures side by side: from the same filtered frames to the same full frames, block by block.

Beside the closures: ``none`` (the filtered field itself), ``persistence`` (the first full frame of each window, held)
and ``climatology`` (training frames drawn at random). Those without spread are scored as a single prediction, whose
CRPS is the absolute error and whose intervals are empty.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from time import perf_counter
from typing import Any

import jax
import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.metrics.ensembles import EnsembleScores, FlowSummary, Scores
from closura.metrics.ensembles.published import PublishedScores, PublishedScoring, ensemble_mean_and_std
from closura.offline.baselines import NoClosure, Persistence
from closura.offline.closure_comparison import DIAGRAM_LEVELS, PARTS, ClosureComparison, Part
from closura.offline.fitted import FittedClosure
from closura.offline.frames import energy_range
from closura.offline.sampler import ConditionalSampler
from closura.offline.sources import SOURCE
from closura.offline.variables import REFERENCE, Kept, field_variables, padded, score_variables
from closura.plain import to_json
from closura.seeds import key_of

PROBLEM = "kolmogorov-closure"

TARGETS = ("fields", "whitened")
"""What published scores are of: fields, or standardised coefficients of the published Gaussian process."""

PUBLISHED_WORDS = (
    "Published scoring: the notebooks' formulas (intervals of mean ± q standard deviations, CRPS of normal "
    "distributions with the ensemble's mean and deviation), against the full field in physical units. Not comparable "
    "with fair scores."
)

# Metrics are functions of the scores of a part.
_FAIR = (
    Metric("relative_l2", attrgetter("relative_l2"), "relative L2 error", percent=True),
    Metric("relative_l1", attrgetter("relative_l1"), "relative L1 error", percent=True),
    Metric("crps", attrgetter("crps"), "CRPS", "velocity"),
    Metric(
        "coverage_90",
        lambda scores: scores.coverage[scores.levels.index(0.9)],
        "coverage at 90 %",
        percent=True,
        better="",
    ),
)
_PUBLISHED = (
    Metric(
        "published_relative_l2", lambda scores: scores.relative_l2_percent / 100, "published L2 error", percent=True
    ),
    Metric(
        "published_relative_l1", lambda scores: scores.relative_l1_percent / 100, "published L1 error", percent=True
    ),
    Metric("published_crps", attrgetter("crps"), "published CRPS (normal)", "velocity"),
)


def score_closures(
    comparison: ClosureComparison,
    closures: Sequence[FittedClosure],
    *,
    notes: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Results:
    """Draw and score samples of all closures; cases are parts of the frames.

    Metrics are of each part; ``total_NAME`` over all frames, ``flow_NAME`` of all finite samples
    (:mod:`closura.offline.variables`).

    Parameters
    ----------
    comparison
        Data and frames.
    closures
        The first one with a climatology gives that row.
    notes
        What has to be said beside the numbers.
    provenance
        For the record.
    report
        Told the method's name, the frames that are done and their number.

    Raises
    ------
    ValueError
        If the data cannot be read or a closure does not take their frames.
    """
    c, data = comparison, comparison.data
    energies = energy_range(data, [window.trajectory for window in c.windows])
    none = NoClosure((2, data.points, data.points))
    plan: dict[str, tuple[Role, ConditionalSampler | None, int]] = {"none": (Role.UNCORRECTED, none, 1)}
    plan["persistence"] = (Role.NAIVE, None, 1)
    told, climate = list(notes), next((each for each in closures if each.climatology is not None), None)
    if climate is None:
        told.append("No run keeps a climatology of its training frames: that row is missing.")
    else:
        plan["climatology"] = (Role.NAIVE, climate.climatology, c.members)
        if len(closures) > 1:
            told.append(f"The climatology is that of {climate.name}'s training frames.")
    plan |= {each.name: (Role.CLOSURE, each.closure, c.members) for each in closures}
    training = {each.name: {"training_seconds": each.training_seconds} for each in closures}
    rows = {name: _Row(c, sampler, energies) for name, (_, sampler, _) in plan.items()}
    for name, (_, sampler, members) in plan.items():
        rows[name].draw(sampler, members, lambda done, name=name: report(name, done, c.total))  # type: ignore[misc]
    kept = {(name, "full"): Kept(row.statistics, row.trace.result()) for name, row in rows.items()}
    kept |= _reference(c, energies)
    methods = {
        name: rows[name].method(role, {k: v for k, v in training.get(name, {}).items() if v is not None})
        for name, (role, _, _) in plan.items()
    }
    error = _metrics(c)[0].name
    methods[REFERENCE] = MethodResult(Role.REFERENCE, {error: np.zeros(len(c.parts))})
    several = len(c.windows) > 3
    unit = "trajectories" if several else f"blocks of time (up to {PARTS} of each trajectory)"
    first = c.frames[0]
    return Results.build(
        PROBLEM,
        methods,
        _metrics(c),
        error=error,
        groups=[part.name for part in c.parts],
        variables={
            **score_variables({name: rows[name].scores if name in rows else None for name in methods}),
            **_published_variables(rows, tuple(methods)),
            **field_variables(kept, tuple(methods), data.times[first]),
            "frames_left_out": (("method", "case"), [rows[n].left_out if n in rows else _none(c) for n in methods]),
            **{
                f"finite_{metric.name}": (
                    ("method", "case"),
                    [[each[metric.name] for each in rows[n].parts] if n in rows else _none(c) for n in methods],
                )
                for metric in _metrics(c)
            },
        },
        description={"split": _split(c)},
        provenance=provenance,
        samples="part",
        same="from the same filtered frames for all methods",
        cost="frame",
        end="held-out frames",
        sources=SOURCE,
        title=_title(c),
        example_time=float(data.times[first[len(first) // 2]]),
        study=to_json(_study(c, unit, told)),
    )


def _none(comparison: ClosureComparison) -> list[float]:
    return [float("nan")] * len(comparison.parts)


def _metrics(comparison: ClosureComparison) -> tuple[Metric, ...]:
    return _FAIR if comparison.scoring == "fair" else _PUBLISHED


def _reference(c: ClosureComparison, energies: tuple[float, float]) -> dict[tuple[str, str], Kept]:
    """Statistics and pictures of the full and of the filtered frames."""
    flows = {space: c.statistics(energies) for space in ("filtered", "full")}
    traces = {space: c.trace for space in flows}
    for part in c.parts:
        for numbers, full in c.blocks(part):
            for space, frames in (("full", full), ("filtered", c.filter(full))):
                flows[space].reynolds = float(c.data.reynolds[part.trajectory])
                flows[space].add(frames)
                if part.window == 0:
                    traces[space].add(numbers, frames[None])
    return {(REFERENCE, space): Kept(flow.result(), traces[space].result()) for space, flow in flows.items()}


class _Row:
    """One method's samples, summed up; those that are not finite are counted, and their frames left out of scores."""

    def __init__(self, c: ClosureComparison, sampler: ConditionalSampler | None, energies: tuple[float, float]) -> None:
        self.c, self.fair = c, c.scoring == "fair"
        self.whitened = None if self.fair else getattr(getattr(sampler, "inner", sampler), "whitened", None)
        self.flow, self.trace = c.statistics(energies), c.trace
        self.total = EnsembleScores(levels=DIAGRAM_LEVELS)
        self.published = {target: PublishedScoring() for target in TARGETS}
        self.parts: list[dict[str, float]] = []
        self.left_out: list[float] = []
        self.samples = self.diverged = self.scored = 0
        self.seconds = 0.0

    def draw(self, sampler: ConditionalSampler | None, members: int, report: Callable[[int], None]) -> None:
        """Draw and score all samples; without a sampler the first full frame of each window is held."""
        c, done, warm = self.c, 0, False
        held: dict[int, Persistence] = {}
        for part in c.parts:
            if sampler is None and part.window not in held:
                begin = c.windows[part.window].frames.start
                held[part.window] = Persistence(c.data.read(part.trajectory, begin, begin + 1)[0])
            asked = sampler if sampler is not None else held[part.window]
            self.flow.reynolds = float(c.data.reynolds[part.trajectory])
            self.left_out.append(0)
            own: Any = EnsembleScores(levels=DIAGRAM_LEVELS) if self.fair else PublishedScoring()
            counted = self.scored
            for numbers, full in c.blocks(part):
                filtered = c.filter(full)
                key = jax.random.fold_in(jax.random.fold_in(key_of(c.seed), part.trajectory), int(numbers[0]))
                if not warm:
                    asked.sample(filtered[:1], members, key=key)
                    warm = True
                begun = perf_counter()
                drawn = np.asarray(asked.sample(filtered, members, key=key))
                self.seconds += perf_counter() - begun
                self._add(own, part, numbers, filtered, full, drawn)
                done += len(numbers)
                report(done)
            self._close(own, self.scored > counted)

    def _add(
        self, own: Any, part: Part, numbers: np.ndarray, filtered: np.ndarray, full: np.ndarray, drawn: np.ndarray
    ) -> None:
        """Take samples ``(member, time, component, x, y)`` of some frames."""
        finite = np.isfinite(drawn).all(axis=(2, 3, 4))
        good = finite.all(axis=0)
        self.samples += finite.size
        self.diverged += int((~finite).sum())
        self.left_out[-1] += int((~good).sum())
        self.scored += int(good.sum())
        if part.window == 0:
            self.trace.add(numbers, drawn)
        if finite.any():
            self.flow.add(drawn[finite])
        if not good.any():
            return
        if self.fair:
            own.add(drawn[:, good], full[good])
            return
        own.add(*ensemble_mean_and_std(drawn[:, good]), full[good])
        if self.whitened is not None:
            true, mean, std = self.whitened(filtered[good], full[good])
            self.published["whitened"].add(mean, std, true)

    def _close(self, own: Any, scored: bool) -> None:
        """Scores of a part whose frames are all there."""
        metrics = _metrics(self.c)
        if not scored:
            self.parts.append({metric.name: float("nan") for metric in metrics})
            return
        total: Any = self.total if self.fair else self.published["fields"]
        total.merge(own)
        self.parts.append({metric.name: metric.of(own.result()) for metric in metrics})

    @property
    def scores(self) -> Scores | None:
        """Fair ones over all frames whose samples are finite."""
        return self.total.result() if self.fair and self.scored else None

    def published_scores(self, target: str) -> PublishedScores | None:
        """Published ones of fields or whitened coefficients."""
        there = self.scored and not self.fair and (target == "fields" or self.whitened is not None)
        return self.published[target].result() if there else None

    @property
    def statistics(self) -> FlowSummary | None:
        """Of all finite samples."""
        return self.flow.result() if self.samples > self.diverged else None

    def method(self, role: Role, facts: Mapping[str, Any]) -> MethodResult:
        """All of it; the scores of parts that lost frames are not finite."""
        lost = np.asarray(self.left_out) > 0
        names = [metric.name for metric in _metrics(self.c)]
        values = {name: np.where(lost, np.nan, [part[name] for part in self.parts]) for name in names}
        seconds = self.seconds / self.c.total
        own = {"samples": self.samples, "diverged_samples": self.diverged, "seconds_per_frame": seconds, **facts}
        return MethodResult(role, values, milliseconds_per_step=1000 * seconds, facts=own)


def _published_variables(rows: Mapping[str, _Row], methods: Sequence[str]) -> dict[str, Any]:
    """Published scores over all frames, ``published_NAME (method, target, ...)``."""
    found = {
        (name, target): scores
        for name, row in rows.items()
        for target in TARGETS
        if (scores := row.published_scores(target)) is not None
    }
    if not found:
        return {}
    widths = list(next(iter(found.values())).mpiw)
    variables: dict[str, Any] = {"target": ("target", list(TARGETS)), "deviations": ("deviations", widths)}
    for key in ("relative_l1_percent", "relative_l2_percent", "crps"):
        values = padded({at: getattr(scores, key) for at, scores in found.items()}, methods, TARGETS)
        variables[f"total_published_{key}"] = (("method", "target"), values)
    for key in ("picp_percent", "mpiw"):
        values = padded({at: [getattr(s, key)[q] for q in widths] for at, s in found.items()}, methods, TARGETS)
        variables[f"total_published_{key}"] = (("method", "target", "deviations"), values)
    return variables


def _split(c: ClosureComparison) -> str:
    parts = "trajectories" if len(c.windows) > 3 else "blocks of their time"
    text = (
        f"{c.total} frames, held-out trajectories: {len(c.windows)}; parts are {parts}; {c.members} members. none: the "
        "filtered field; persistence: the first full frame of each window, held; climatology: training frames at "
        "random. CRPS: fair, of a method without spread its absolute error."
    )
    return f"{text} {PUBLISHED_WORDS}" if c.scoring == "published" else text


def _title(c: ClosureComparison) -> str:
    reynolds = sorted({float(c.data.reynolds[window.trajectory]) for window in c.windows})
    trajectories = ", ".join(str(window.trajectory) for window in c.windows[:6])
    return (
        f"Kolmogorov flow, Re {', '.join(f'{r:g}' for r in reynolds)}, trajectory {trajectories}"
        f"{', …' if len(c.windows) > 6 else ''}, {c.total} frames, {c.members} members"
    )


def _study(c: ClosureComparison, unit: str, notes: Sequence[str]) -> dict[str, Any]:
    """What was compared, as JSON has it."""
    return {
        "scoring": c.scoring,
        "data": str(c.data.path),
        "filter": c.filter.plain(),
        "trajectories": [
            {
                "trajectory": window.trajectory,
                "simulation": c.data.identities[window.trajectory],
                "reynolds": float(c.data.reynolds[window.trajectory]),
                "frames": len(frames),
                "first_frame": int(frames[0]),
                "last_frame": int(frames[-1]),
            }
            for window, frames in zip(c.windows, c.frames, strict=True)
        ],
        "frames": c.total,
        "members": c.members,
        "seed": c.seed,
        "spread_over": unit,
        "notes": list(notes),
    }
