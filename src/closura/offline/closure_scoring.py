"""Closures side by side: from the same filtered frames to the same full frames, block by block.

Beside the closures: ``none`` (the filtered field itself), ``persistence`` (the first full frame of each window, held)
and ``climatology`` (training frames drawn at random). Those without spread are scored as a single prediction, whose
CRPS is the absolute error and whose intervals are empty.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from time import perf_counter
from typing import Any

import jax
import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.metrics.ensembles import EnsembleScores, FlowSummary
from closura.metrics.ensembles.published import PublishedScoring, ensemble_mean_and_std
from closura.offline.baselines import NoClosure, Persistence
from closura.offline.comparisons import PARTS, SOURCE, ClosureComparison, Part, energy_range
from closura.offline.fitted import FittedClosure
from closura.offline.run_scores import DIAGRAM_LEVELS
from closura.offline.sampler import ConditionalSampler
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

_METRICS = {
    "fair": (
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
    ),
    "published": (
        Metric(
            "published_relative_l2", lambda scores: scores.relative_l2_percent / 100, "published L2 error", percent=True
        ),
        Metric(
            "published_relative_l1", lambda scores: scores.relative_l1_percent / 100, "published L1 error", percent=True
        ),
        Metric("published_crps", attrgetter("crps"), "published CRPS (normal)", "velocity"),
    ),
}
"""By scoring; functions of the scores of a part."""


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
    (:mod:`closura.offline.variables`). The first closure with a climatology gives that row. ``notes`` have to be said
    beside the numbers; ``report`` is told the method's name, the frames that are done and their number.
    """
    c, data = comparison, comparison.data
    energies = energy_range(data, [window.trajectory for window in c.windows])
    none = NoClosure((2, data.points, data.points))
    rows = {"none": _Row(c, Role.UNCORRECTED, none, 1, energies)}
    rows["persistence"] = _Row(c, Role.NAIVE, None, 1, energies)
    told, climate = list(notes), next((each for each in closures if each.climatology is not None), None)
    if climate is None:
        told.append("No run keeps a climatology of its training frames: that row is missing.")
    else:
        rows["climatology"] = _Row(c, Role.NAIVE, climate.climatology, c.members, energies)
        if len(closures) > 1:
            told.append(f"The climatology is that of {climate.name}'s training frames.")
    rows |= {each.name: _Row(c, Role.CLOSURE, each.closure, c.members, energies) for each in closures}
    for name, row in rows.items():
        row.draw(partial(report, name))
    training = {each.name: each.training_seconds for each in closures if each.training_seconds is not None}
    methods = {
        name: row.method({"training_seconds": training[name]} if name in training else {}) for name, row in rows.items()
    }
    metrics = _METRICS[c.scoring]
    error = metrics[0].name
    methods[REFERENCE] = MethodResult(Role.REFERENCE, {error: np.zeros(len(c.parts))})
    names = tuple(methods)
    kept = {(name, "full"): Kept(row.flow_summary, row.trace.result()) for name, row in rows.items()}
    by_part = {
        "frames_left_out": {name: row.left_out for name, row in rows.items()},
        **{
            f"finite_{metric.name}": {name: [part[metric.name] for part in row.parts] for name, row in rows.items()}
            for metric in metrics
        },
    }
    first = c.frames[0]
    return Results.build(
        PROBLEM,
        methods,
        metrics,
        error=error,
        groups=[part.name for part in c.parts],
        variables={
            **(score_variables({name: row.scores("fields") for name, row in rows.items()}, names) if c.fair else {}),
            **({} if c.fair else _published_variables(rows, names)),
            **field_variables(kept | _reference(c, energies), names, data.times[first]),
            **{
                key: (("method", "case"), padded({(name,): each for name, each in found.items()}, names))
                for key, found in by_part.items()
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
        study=to_json(_study(c, told)),
    )


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
    """One method's samples, summed up; those that are not finite are counted, and their frames left out of scores.

    Without a sampler the first full frame of each window is held.
    """

    def __init__(
        self,
        c: ClosureComparison,
        role: Role,
        sampler: ConditionalSampler | None,
        members: int,
        energies: tuple[float, float],
    ) -> None:
        self.c, self.role, self.sampler, self.members = c, role, sampler, members
        self.whitened = None if c.fair else getattr(getattr(sampler, "inner", sampler), "whitened", None)
        self.flow, self.trace = c.statistics(energies), c.trace
        self.total: dict[str, Any] = {target: self._scoring() for target in TARGETS}
        self.parts: list[dict[str, float]] = []
        self.left_out: list[float] = []
        self.samples = self.diverged = 0
        self.seconds = 0.0
        self.scored: set[str] = set()

    def _scoring(self) -> Any:
        return EnsembleScores(levels=DIAGRAM_LEVELS) if self.c.fair else PublishedScoring()

    def draw(self, report: Callable[[int, int], None]) -> None:
        """Draw and score all samples."""
        c, done, metrics = self.c, 0, _METRICS[self.c.scoring]
        held: dict[int, Persistence] = {}
        for part in c.parts:
            if self.sampler is None and part.window not in held:
                begin = c.windows[part.window].frames.start
                held[part.window] = Persistence(c.data.read(part.trajectory, begin, begin + 1)[0])
            asked = held[part.window] if self.sampler is None else self.sampler
            self.flow.reynolds = float(c.data.reynolds[part.trajectory])
            self.left_out.append(0)
            own, counted = self._scoring(), 0
            for numbers, full in c.blocks(part):
                filtered = c.filter(full)
                key = jax.random.fold_in(jax.random.fold_in(key_of(c.seed), part.trajectory), int(numbers[0]))
                if not done:  # compiled here
                    asked.sample(filtered[:1], self.members, key=key)
                begun = perf_counter()
                drawn = np.asarray(asked.sample(filtered, self.members, key=key))
                self.seconds += perf_counter() - begun
                counted += self._add(own, part, numbers, filtered, full, drawn)
                done += len(numbers)
                report(done, c.total)
            self.parts.append({metric.name: metric.of(own.result()) if counted else float("nan") for metric in metrics})
            if counted:
                self._take("fields", own)

    def _take(self, target: str, own: Any) -> None:
        self.total[target].merge(own)
        self.scored.add(target)

    def _add(
        self, own: Any, part: Part, numbers: np.ndarray, filtered: np.ndarray, full: np.ndarray, drawn: np.ndarray
    ) -> int:
        """Take samples ``(member, time, component, x, y)`` of some frames; how many of these are scored."""
        finite = np.isfinite(drawn).all(axis=(2, 3, 4))
        good = finite.all(axis=0)
        self.samples += finite.size
        self.diverged += int((~finite).sum())
        self.left_out[-1] += int((~good).sum())
        if part.window == 0:
            self.trace.add(numbers, drawn)
        if finite.any():
            self.flow.add(drawn[finite])
        if good.any():
            seen, full, drawn = filtered[good], full[good], drawn[:, good]
            own.add(*((drawn,) if self.c.fair else ensemble_mean_and_std(drawn)), full)
            if self.whitened is not None:
                true, mean, std = self.whitened(seen, full)
                self.total["whitened"].add(mean, std, true)
                self.scored.add("whitened")
        return int(good.sum())

    def scores(self, target: str) -> Any:
        """Over all frames whose samples are finite, of fields or whitened coefficients; None where there are none."""
        return self.total[target].result() if target in self.scored else None

    @property
    def flow_summary(self) -> FlowSummary | None:
        """Statistics of all finite samples."""
        return self.flow.result() if self.samples > self.diverged else None

    def method(self, facts: Mapping[str, Any]) -> MethodResult:
        """All of it; the scores of parts that lost frames are not finite."""
        lost = np.asarray(self.left_out) > 0
        values = {
            metric.name: np.where(lost, np.nan, [part[metric.name] for part in self.parts])
            for metric in _METRICS[self.c.scoring]
        }
        seconds = self.seconds / self.c.total
        own = {"samples": self.samples, "diverged_samples": self.diverged, "seconds_per_frame": seconds, **facts}
        return MethodResult(self.role, values, milliseconds_per_step=1000 * seconds, facts=own)


def _published_variables(rows: Mapping[str, _Row], methods: Sequence[str]) -> dict[str, Any]:
    """Published scores over all frames, ``total_published_NAME (method, target, ...)``."""
    found = {
        (name, target): scores
        for name, row in rows.items()
        for target in TARGETS
        if (scores := row.scores(target)) is not None
    }
    if not found:
        return {}
    widths = list(next(iter(found.values())).mpiw)
    variables: dict[str, Any] = {"target": ("target", list(TARGETS)), "deviations": ("deviations", widths)}
    for key in ("relative_l1_percent", "relative_l2_percent", "crps", "picp_percent", "mpiw"):
        values: dict[tuple[str, ...], Any] = {at: getattr(scores, key) for at, scores in found.items()}
        if key in ("picp_percent", "mpiw"):
            values = {at: [each[q] for q in widths] for at, each in values.items()}
        axes = ("method", "target", *(("deviations",) if key in ("picp_percent", "mpiw") else ()))
        variables[f"total_published_{key}"] = (axes, padded(values, methods, TARGETS))
    return variables


def _split(c: ClosureComparison) -> str:
    parts = "trajectories" if c.several else "blocks of their time"
    text = (
        f"{c.total} frames, held-out trajectories: {len(c.windows)}; parts are {parts}; {c.members} members. none: the "
        "filtered field; persistence: the first full frame of each window, held; climatology: training frames at "
        "random. CRPS: fair, of a method without spread its absolute error."
    )
    return text if c.fair else f"{text} {PUBLISHED_WORDS}"


def _title(c: ClosureComparison) -> str:
    trajectories = ", ".join(str(window.trajectory) for window in c.windows[:6])
    more = ", …" if len(c.windows) > 6 else ""
    return f"{c.flow_words}, trajectory {trajectories}{more}, {c.total} frames, {c.members} members"


def _study(c: ClosureComparison, notes: Sequence[str]) -> dict[str, Any]:
    """What was compared, as JSON has it."""
    return {
        "scoring": c.scoring,
        "data": str(c.data.path),
        "filter": c.filter.plain(),
        "trajectories": [
            {
                **c.simulation(window),
                "frames": len(frames),
                "first_frame": int(frames[0]),
                "last_frame": int(frames[-1]),
            }
            for window, frames in zip(c.windows, c.frames, strict=True)
        ],
        "frames": c.total,
        "members": c.members,
        "seed": c.seed,
        "spread_over": "trajectories" if c.several else f"blocks of time (up to {PARTS} of each trajectory)",
        "notes": list(notes),
    }
