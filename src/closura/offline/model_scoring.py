"""Reduced-order models side by side: forecasts of held-out frames, and long runs beside the statistics of the flow.

Forecasts are scored in the filtered space that models live in, on steps that the data still have. Long runs are
compared by distributions, spectra and dissipation: filtered fields with the filtered flow and, with a closure, closed
fields with the full one.

**The bar** for distances between distributions of the kinetic energy: slices of so many steps of every trajectory of
the reference, each against all slices of the other trajectories together; the 95th percentile of these distances
(:func:`closura.metrics.ensembles.reference_bar`, ``against="others"``). A single member's slice is what the bar is
made of, so that it is compared with the bar as it stands; all members of a slice together hold more values, and stay
below it more easily. The reference is the flow of the trajectories that are scored if they are four or more, else that
of all trajectories of the data set at Reynolds numbers that are scored.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.offline.comparisons import SOURCE, ModelComparison
from closura.offline.ensembles import check_start
from closura.offline.fitted import FittedClosure, FittedModel
from closura.offline.held_out import same_transfer
from closura.offline.model_reference import ModelReference
from closura.offline.model_runs import KINDS, ModelRow, ModelRuns, naive_forecast
from closura.offline.run_scores import SERIES
from closura.offline.variables import REFERENCE, field_variables, padded, score_variables
from closura.plain import to_json
from closura.trajectories import FlowData

PROBLEM = "kolmogorov-rom"

CLIMATE = 200
"""Training frames of the climatology row."""

LYAPUNOV = {34.0: 0.068}
"""Leading Lyapunov exponent per unit of time, by Reynolds number, forcing 4: 0.068 +- 0.004 from twin runs."""


def score_models(
    comparison: ModelComparison,
    models: Sequence[FittedModel],
    *,
    climate: np.ndarray | None = None,
    notes: Sequence[str] = (),
    provenance: Mapping[str, Any] | None = None,
    report: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Results:
    """Run and score all models, which share filter and step; cases are starts, and times are lead times.

    Beside the metrics: ``total_NAME`` over all leads, ``flow_NAME`` of the long run (:mod:`closura.offline.variables`),
    ``distance_pooled`` and ``distance_single`` by slice. ``climate`` are full training frames ``(frame, component, x,
    y)`` for the climatology row; None leaves it out. ``notes`` have to be said beside the numbers; ``report`` is told
    the method's name, the steps that are done and their number.
    """
    _check_common(models, comparison.data)
    told = list(notes)
    for model in models:
        for window, first in comparison.pairs:
            told += [n for n in check_start(model, comparison.data, [window.trajectory], first) if n not in told]
    reference = ModelReference(comparison, models[0], max(models, key=lambda each: each.model.window))
    rows = {"persistence": naive_forecast(comparison, reference, None)}
    if climate is not None:
        rows["climatology"] = naive_forecast(comparison, reference, models[0].filter(climate))
    else:
        told.append("No training frames were found: the climatology row is missing.")
    for model in models:
        rows[model.name] = ModelRuns(comparison, model, reference, report).row()
    return _results(comparison, reference, rows, told, provenance)


def _results(
    comparison: ModelComparison,
    reference: ModelReference,
    rows: Mapping[str, ModelRow],
    notes: Sequence[str],
    provenance: Mapping[str, Any] | None,
) -> Results:
    step, leads = reference.model.step, reference.leads
    methods = {name: _method(row) for name, row in rows.items()}
    methods[REFERENCE] = MethodResult(
        Role.REFERENCE, {"relative_l2": np.zeros((len(comparison.pairs), len(leads) + 1))}
    )
    names = tuple(methods)
    kept = {(name, space): each for name, row in rows.items() for space, each in row.kept.items()} | reference.kept()
    limit = float(leads[-1])
    metrics = (
        Metric("relative_l2", attrgetter("relative_l2"), "relative L2 error", percent=True),
        Metric("crps", attrgetter("crps"), "CRPS", "velocity"),
        Metric(
            "valid_time", attrgetter("time"), "valid prediction time", "time", better="higher", series=True, limit=limit
        ),
    )
    measured = {metric.name for metric in metrics}
    trajectories = [f"trajectory {window.trajectory}" for window, _ in comparison.pairs]
    return Results.build(
        PROBLEM,
        methods,
        metrics,
        error="relative_l2",
        times=np.concatenate([[0.0], leads]),
        groups=trajectories if len(comparison.windows) > 1 else (),
        variables={
            **{
                key: (
                    ("method", "case", *(("time",) if key in SERIES else ("run",) if "member" in key else ())),
                    padded({(name,): row.forecast[key] for name, row in rows.items()}, names),
                )
                for key in rows["persistence"].forecast
                if key not in measured
            },
            **score_variables({name: row.total for name, row in rows.items()}, names),
            **field_variables(kept, names, step * np.arange(1, comparison.steps + 1)),
            **_distances(rows, names),
        },
        description={"split": _split(comparison, limit)},
        provenance=provenance,
        time_step=step,
        lyapunov_exponent=comparison.lyapunov,
        sources=SOURCE,
        title=f"{comparison.flow_words}, {len(comparison.pairs)} starts, {comparison.members} members",
        example_time=float(leads[reference.example]),
        study=to_json(_study(comparison, reference, notes)),
    )


def _method(row: ModelRow) -> MethodResult:
    values = {name: row.forecast[name] for name in ("relative_l2", "crps", "valid_time")}
    seconds = row.facts.get("seconds_per_step", np.nan)
    return MethodResult(row.role, values, milliseconds_per_step=1000 * seconds, facts=row.facts)


def _distances(rows: Mapping[str, ModelRow], names: Sequence[str]) -> dict[str, Any]:
    found = {(name, kind): each for name, row in rows.items() for kind, each in row.distances.items()}
    bars = {kind: next((each for at, each in found.items() if at[1] == kind), None) for kind in KINDS}
    kinds = tuple(KINDS)
    return {
        "kind": ("kind", list(kinds)),
        "distance_pooled": (
            ("method", "kind", "case", "slice"),
            padded({at: d.pooled for at, d in found.items()}, names, kinds),
        ),
        "distance_single": (
            ("method", "kind", "case", "run", "slice"),
            padded({at: d.single for at, d in found.items()}, names, kinds),
        ),
        "distance_bar": ("kind", [np.nan if d is None or d.bar is None else d.bar for d in bars.values()]),
        "distance_bar_from": ("kind", [0 if d is None else d.references.size for d in bars.values()]),
    }


def _check_common(models: Sequence[FittedModel], data: FlowData) -> None:
    first = models[0]
    for model in models[1:]:
        if not same_transfer(model.filter, first.filter, data.points):
            raise ValueError(f"{first.name} and {model.name} have other filters: give models of one filter")
        if abs(model.step - first.step) > 1e-9 * first.step:
            raise ValueError(
                f"{first.name} steps by {first.step:g}, {model.name} by {model.step:g}: evaluate models of one step "
                "together"
            )


def _split(c: ModelComparison, end: float) -> str:
    trajectories = f"{len(c.windows)} held-out {'trajectory' if len(c.windows) == 1 else 'trajectories'}"
    text = (
        f"{len(c.pairs)} starts on {trajectories}, {c.members} members, followed to t = {end:g}; "
        "persistence: the last filtered frame, held; climatology: filtered training frames at random."
    )
    return text if c.lyapunov is None else f"{text} Leading Lyapunov exponent: {c.lyapunov:g} per unit of time."


def _study(c: ModelComparison, reference: ModelReference, notes: Sequence[str]) -> dict[str, Any]:
    """What was compared, as JSON has it."""
    return {
        "data": str(c.data.path),
        "filter": reference.model.filter.plain(),
        "starts": [{**c.simulation(window), "first_frame": first} for window, first in c.pairs],
        "members": c.members,
        "steps": c.steps,
        "step": reference.model.step,
        "followed_time": float(reference.leads[-1]),
        "lyapunov_exponent": c.lyapunov,
        "closure": None if c.closure is None else c.closure.name,
        "seed": c.seed,
        "slice_steps": c.slice_steps,
        "reference": reference.reference_words,
        "notes": list(notes),
    }


def climate_frames(model: FittedModel, closure: FittedClosure | None) -> np.ndarray | None:
    """Full training frames for the climatology: those that the run keeps, of its data if they are there, or others."""
    found = getattr(model.climatology, "frames", None)
    if found is None:
        found = _training_frames(model)
    if found is None and closure is not None:
        found = getattr(closure.climatology, "frames", None)
    return None if found is None else np.asarray(found)


def _training_frames(model: FittedModel) -> np.ndarray | None:
    """Some full training frames of a model, if its data are still where they were."""
    segments = list(model.metadata.get("train", ()))
    data = model.data_of(segments)
    if data is None or not segments:
        return None
    frames = []
    for segment in segments:
        numbers = np.arange(segment["start"], min(segment["stop"], data.frames), segment["step"])
        count = min(len(numbers), max(1, CLIMATE // len(segments)))
        chosen = numbers[np.linspace(0, len(numbers) - 1, count).astype(int)]
        frames.append(data.read_some(int(segment["trajectory"]), np.unique(chosen)))
    return np.concatenate(frames)
