"""What a study of reduced-order models found: JSON, CSV, and tables for terminal and page."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from closura.evaluation.flows.closure_tables import score_numbers, spectrum_ratio
from closura.evaluation.flows.forecasts import Forecast
from closura.evaluation.flows.long_runs import Distances
from closura.evaluation.flows.look import Block, percent, seconds
from closura.evaluation.flows.model_study import ModelEvaluation, ModelRow
from closura.io.files import write_atomically
from closura.metrics.ensembles import compare_flows
from closura.metrics.ensembles.predictability import Horizon
from closura.plain import plain as jsonable
from closura.reporting.formatting import bounded, count

MOMENTS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Parts of the followed time at which scores are told."""

BAR_WORDS = (
    "95th percentile, over slices of as many steps of true trajectories, of the Wasserstein-1 distance between a slice "
    "and all slices of the other true trajectories together"
)


def numbers(evaluation: ModelEvaluation) -> dict[str, Any]:
    """All numbers: ``methods`` by row; fractions, times in the flow's unit; None for what does not exist."""
    study = evaluation.study
    return {
        "problem": "kolmogorov-rom",
        "data": str(study.data.path),
        "filter": dict(evaluation.filter),
        "starts": [
            {
                "trajectory": stretch.trajectory,
                "simulation": study.data.identities[stretch.trajectory],
                "reynolds": float(study.data.reynolds[stretch.trajectory]),
                "first_frame": first,
            }
            for stretch, first in study.pairs
        ],
        "members": study.members,
        "steps": study.steps,
        "step": evaluation.step,
        "followed_time": float(evaluation.leads[-1]),
        "lyapunov_exponent": study.lyapunov,
        "closure": None if study.closure is None else study.closure.name,
        "seed": study.seed,
        "slice_steps": study.slice_steps,
        "bar_definition": BAR_WORDS,
        "reference": evaluation.reference,
        "methods": {name: method_numbers(evaluation, name) for name in evaluation.rows},
        "truth": {
            "full": {"energy": evaluation.truth.energy.mean(), "dissipation": evaluation.truth.dissipation.mean()},
            "filtered": {
                "energy": evaluation.filtered_truth.energy.mean(),
                "dissipation": evaluation.filtered_truth.dissipation.mean(),
            },
        },
        "notes": list(evaluation.notes),
        "settings": dict(evaluation.settings),
    }


def method_numbers(evaluation: ModelEvaluation, name: str) -> dict[str, Any]:
    """The numbers of one row."""
    row = evaluation.rows[name]
    found = forecast_numbers(evaluation, row.forecast)
    if not row.learned:
        return {**found, "learned": False}
    slices: dict[str, Any] = {
        kind: None if distances is None else distance_numbers(distances)
        for kind, distances in (("filtered", row.filtered), ("unclosed", row.unclosed), ("closed", row.closed))
    }
    flows = {
        "flow": _flow(row.flow, evaluation.filtered_truth),
        "closed_flow": _flow(row.closed_flow, evaluation.truth),
    }
    return {
        **found,
        "learned": True,
        "runs": row.runs,
        **row.lost,
        "energy_distance": slices,
        **flows,
        "seconds_per_step": row.seconds_per_step,
        "seconds_per_step_and_member": _per_member(row, evaluation.study.members),
        "closure_seconds_per_frame_and_member": row.closure_seconds,
        "training_seconds": row.training_seconds,
    }


def _per_member(row: ModelRow, members: int) -> float | None:
    return None if row.seconds_per_step is None else row.seconds_per_step / members


def forecast_numbers(evaluation: ModelEvaluation, forecast: Forecast) -> dict[str, Any]:
    """Valid times and scores against lead time."""
    leads = evaluation.leads
    total = {} if forecast.total is None else score_numbers(forecast.total)
    return {
        "valid_time": horizon_numbers(forecast.horizons),
        "valid_time_of_members": horizon_numbers(forecast.member_horizons) if forecast.member_horizons else None,
        "lead_time": {
            "time": leads,
            "relative_l2": _mean(forecast.relative_l2),
            "relative_l2_std": np.std(forecast.relative_l2, axis=0),
            "crps": _mean(forecast.crps),
            "crps_std": np.std(forecast.crps, axis=0),
            "spread_skill": forecast.spread_skill,
            "n": len(forecast.relative_l2),
        },
        "coverage": total.get("coverage"),
        "interval_width_90": total.get("interval_width_90"),
        "reliability": total.get("reliability"),
        "rank_histogram": total.get("rank_histogram"),
    }


def _mean(values: np.ndarray) -> np.ndarray:
    """Over starts; NaN where one is: a member that was lost is not averaged away."""
    return np.asarray(np.mean(values, axis=0))


def horizon_numbers(horizons: tuple[Horizon, ...]) -> dict[str, Any]:
    """Mean, deviation and median of valid times, and how many the data's end cut."""
    times = np.asarray([horizon.time for horizon in horizons])
    lyapunov = [h.lyapunov_times for h in horizons if h.lyapunov_times is not None]
    return {
        "mean": float(times.mean()),
        "std": float(times.std()),
        "median": float(np.median(times)),
        "lyapunov_times": float(np.mean(lyapunov)) if lyapunov else None,
        "censored": sum(horizon.censored for horizon in horizons),
        "n": len(horizons),
    }


def distance_numbers(distances: Distances) -> dict[str, Any]:
    """Distances by slice: means over starts (and members), and how many stay below the bar."""
    bar = distances.bar

    def below(values: np.ndarray) -> float | None:
        return float((values <= bar).mean()) if bar is not None and values.size else None

    return {
        "pooled": distances.pooled.mean(axis=0),
        "single_mean": distances.single.mean(axis=(0, 1)) if distances.single.size else [],
        "single_95": np.quantile(distances.single, 0.95, axis=(0, 1)) if distances.single.size else [],
        "bar": bar,
        "bar_from": int(distances.truths.size),
        "pooled_below_bar": below(distances.pooled),
        "single_below_bar": below(distances.single),
    }


def _flow(flow: Any, truth: Any) -> dict[str, Any] | None:
    if flow is None:
        return None
    compared = compare_flows(flow, truth)
    shells, ratio, largest = spectrum_ratio(flow.spectrum, truth.spectrum, truth.resolving_shell)
    return {
        "energy": float(flow.energy.mean()),
        "energy_error": compared["energy"],
        "dissipation": float(flow.dissipation.mean()),
        "dissipation_error": compared["dissipation"],
        "stress_error": compared["stress_all"],
        "energy_distance": compared["energy_distance"],
        "spectrum_ratio": {"shells": shells, "ratio": ratio, "largest_deviation": largest},
        "spectrum": flow.spectrum,
        "relative_divergence": flow.divergence,
    }


def blocks(evaluation: ModelEvaluation) -> list[Block]:
    """The tables."""
    entries = {name: jsonable(method_numbers(evaluation, name)) for name in evaluation.rows}
    models = {name: entry for name, entry in entries.items() if entry["learned"]}
    return [
        _horizons(evaluation, entries), _leads(evaluation, entries), _distances(evaluation, models),
        _long(evaluation, models), _cost(evaluation, models),
    ]  # fmt: skip


def _horizons(evaluation: ModelEvaluation, entries: dict[str, Any]) -> Block:
    lyapunov = evaluation.study.lyapunov

    def cell(found: dict[str, Any] | None) -> list[str]:
        if found is None:
            return ["–"] * (2 if lyapunov else 1)
        sign = "≥ " if found["censored"] else ""
        cells = [f"{sign}{bounded(found['mean'], '.2f')} ± {bounded(found['std'], '.2f')}"]
        return [*cells, f"{sign}{bounded(found['lyapunov_times'], '.2f')}"] if lyapunov else cells

    extra = ["in Lyapunov times"] if lyapunov else []
    headings = ["row", "ensemble mean", *extra, "single member", *extra]
    rows = [(name, [*cell(e["valid_time"]), *cell(e["valid_time_of_members"])]) for name, e in entries.items()]
    study = evaluation.study
    starts = f"{count(len(study.pairs), 'start')} on {count(len(study.stretches), 'trajectory', 'trajectories')}"
    note = (
        "Time until the relative L2 error of the filtered velocity exceeds 0.5. "
        f"n = {starts}, {study.members} members; mean ± standard deviation over starts; ≥: "
        f"some were still valid when the truth ended (t = {evaluation.leads[-1]:g}). persistence: the last filtered "
        "frame, held; climatology: filtered training frames at random."
    )
    if lyapunov:
        note += f" Leading Lyapunov exponent: {lyapunov:g} per unit of time."
    return Block("Valid prediction time", headings, rows, " ".join([note, *evaluation.notes]))


def _leads(evaluation: ModelEvaluation, entries: dict[str, Any]) -> Block:
    last = len(evaluation.leads)
    places = sorted({max(0, round(part * last) - 1) for part in MOMENTS})
    rows = []
    for name, entry in entries.items():
        found = entry["lead_time"]
        cells = []
        for i in places:
            ratio = bounded(found["spread_skill"][i], ".2f")
            cells.append(f"{percent(found['relative_l2'][i])} / {bounded(found['crps'][i], '.3f')} / {ratio}")
        rows.append((name, cells))
    return Block(
        "Relative L2 (%) / CRPS / spread over skill, by lead time",
        ["row", *(f"t = {evaluation.leads[i]:.3g}" for i in places)],
        rows,
        "Of filtered fields; CRPS: fair, in units of velocity.",
    )


def _distances(evaluation: ModelEvaluation, entries: dict[str, Any]) -> Block:
    study = evaluation.study
    slices = study.steps // study.slice_steps
    places = sorted({0, slices // 2, slices - 1}) if slices else []
    words = {"filtered": "filtered", "unclosed": "before the closure", "closed": "after the closure"}
    rows = []
    for name, entry in entries.items():
        for kind, title in words.items():
            found = entry["energy_distance"][kind]
            if found is None or not slices:
                continue
            rows.append(
                (
                    f"{name}, {title}",
                    [
                        *(
                            f"{bounded(found['pooled'][i], '.4f')} / {bounded(found['single_mean'][i], '.4f')}"
                            for i in places
                        ),
                        bounded(found["bar"], ".4f"),
                        f"{percent(found['pooled_below_bar'], 0)} / {percent(found['single_below_bar'], 0)}",
                    ],
                )
            )
    length = study.slice_steps * evaluation.step
    headings = ["row", *(f"slice {i + 1} of {slices}" for i in places), "bar", "below bar (%)"]
    note = (
        f"Wasserstein-1 distance of the kinetic energy at points, in slices of {study.slice_steps} steps (t = "
        f"{length:g}), to the truth of {evaluation.reference}: filtered fields to the filtered truth, before and after "
        "the closure to the full one. All members of a start together / single members, means over starts. Bar: "
        f"{BAR_WORDS}. A single member is what the bar is made of; members together hold more values and stay below it "
        "more easily."
    )
    if any(r.filtered is not None and r.filtered.bar is None for r in evaluation.rows.values()):
        note += " The data have too few trajectories of that length for a bar."
    return Block("Distance of the energy's distribution", headings, rows, note)


def _long(evaluation: ModelEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    for name, entry in entries.items():
        for key, title in (("flow", "filtered"), ("closed_flow", "closed")):
            flow = entry[key]
            if flow is None:
                continue
            rows.append(
                (
                    f"{name}, {title}",
                    [
                        bounded(flow["spectrum_ratio"]["largest_deviation"], ".3f"),
                        bounded(100 * flow["energy_error"], "+.1f"),
                        bounded(100 * flow["dissipation_error"], "+.1f"),
                        percent(flow["stress_error"]),
                        f"{entry['blown_up']} / {entry['collapsed']} / {entry['not_finite']}",
                    ],
                )
            )
    runs = max((entry["runs"] for entry in entries.values()), default=0)
    headings = ["row", "spectrum", "energy (%)", "dissipation (%)", "stresses (%)", f"lost, of {runs}"]
    return Block(
        f"The long run, {evaluation.study.steps} steps", headings, rows,
        "Filtered fields beside the filtered truth, closed ones beside the full truth, over all steps. Spectrum: "
        "largest |ratio − 1| over the shells with 99.99 % of the true energy. Energy, dissipation: of the means. "
        "Lost: members that blew up / collapsed / are not finite; the first two by mean energies over slices that "
        "leave 1/3 to 3 times the true mean of filtered fields.",
    )  # fmt: skip


def _cost(evaluation: ModelEvaluation, entries: dict[str, Any]) -> Block:
    rows = [
        (
            name,
            [
                seconds(entry["seconds_per_step"]),
                seconds(entry["seconds_per_step_and_member"]),
                seconds(entry["closure_seconds_per_frame_and_member"]),
                seconds(entry["training_seconds"]),
            ],
        )
        for name, entry in entries.items()
    ]
    headings = ["row", f"per step, {evaluation.study.members} members", "per step and member",
                "closure, per frame and member", "training"]  # fmt: skip
    return Block("Wall time", headings, rows, "On this machine, compilation left out.")


def write_json(evaluation: ModelEvaluation, path: str | Path) -> Path:
    """All numbers, without NaN or Infinity."""
    text = json.dumps(jsonable(numbers(evaluation)), indent=1, allow_nan=False, ensure_ascii=False)
    return write_atomically(path, text + "\n")


def write_csv(evaluation: ModelEvaluation, path: str | Path) -> Path:
    """Scores against lead time, one line per row and lead; empty cells where a number does not exist."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("relative_l2", "relative_l2_std", "crps", "crps_std", "spread_skill")
    writer.writerow(["method", "time", *columns])
    for name, row in evaluation.rows.items():
        found = jsonable(forecast_numbers(evaluation, row.forecast))["lead_time"]
        for i, time in enumerate(found["time"]):
            writer.writerow([name, time, *("" if found[c][i] is None else found[c][i] for c in columns)])
    return write_atomically(path, text.getvalue())
