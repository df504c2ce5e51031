"""What a study of closures found: JSON, CSV, and tables for terminal and page."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from closura.evaluation.flows.closure_results import ClosureEvaluation, ClosureRow
from closura.evaluation.flows.look import Block, percent, seconds
from closura.io.files import write_atomically
from closura.metrics.ensembles import LEVELS, Scores, compare_flows
from closura.plain import plain as jsonable
from closura.reporting.formatting import bounded, count
from closura.reproductions.scale_separation_scores import PublishedScores

PUBLISHED_WORDS = (
    "Published scoring: the notebooks' formulas (intervals of mean ± q standard deviations, CRPS of normal "
    "distributions with the ensemble's mean and deviation), against the full field in physical units. Not comparable "
    "with fair scores."
)


def numbers(evaluation: ClosureEvaluation) -> dict[str, Any]:
    """All numbers: ``methods`` by row; fractions, not percent; None for what does not exist."""
    study = evaluation.study
    return {
        "problem": "kolmogorov-closure",
        "scoring": study.scoring,
        "data": str(study.data.path),
        "filter": study.filter.plain(),
        "trajectories": [
            {
                "trajectory": s.trajectory,
                "simulation": study.data.identities[s.trajectory],
                "reynolds": float(study.data.reynolds[s.trajectory]),
                "frames": len(f),
                "first_frame": int(f[0]),
                "last_frame": int(f[-1]),
            }
            for s, f in zip(study.stretches, study.frames, strict=True)
        ],
        "frames": study.total,
        "members": study.members,
        "seed": study.seed,
        "spread_over": evaluation.unit,
        "methods": {name: method_numbers(evaluation, name) for name in evaluation.rows},
        "truth": {
            "energy": float(evaluation.truth.energy.mean()),
            "dissipation": float(evaluation.truth.dissipation.mean()),
            "resolving_shell": evaluation.truth.resolving_shell,
            "relative_divergence": evaluation.truth.divergence,
            "spectrum": evaluation.truth.spectrum,
        },
        "notes": list(evaluation.notes),
        "settings": dict(evaluation.settings),
    }


def method_numbers(evaluation: ClosureEvaluation, name: str) -> dict[str, Any]:
    """The numbers of one row. With samples that are not finite the scores are None, and those of the frames whose
    samples are finite stand in ``of_finite_frames``.
    """
    row = evaluation.rows[name]
    found: dict[str, Any] = {}
    if evaluation.study.scoring == "published":
        scores = published_numbers(row.published)
        if row.whitened is not None:
            scores["published_whitened"] = published_numbers(row.whitened)
    else:
        scores = score_numbers(row.scores)
    if row.left_out:
        found = {key: _nothing(value) for key, value in scores.items()}
        found["of_finite_frames"] = scores
    else:
        found = dict(scores)
    if evaluation.study.scoring == "fair":
        found["spread_over_parts"] = {
            key: part_spread(row, key) for key in ("relative_l1", "relative_l2", "crps", "coverage_90")
        }
    return {
        **found,
        "learned": row.learned,
        "samples": row.samples,
        "diverged_samples": row.diverged,
        "frames_left_out": row.left_out,
        "seconds_per_frame": row.seconds_per_frame,
        "seconds_per_frame_and_member": row.seconds_per_frame / _members(evaluation, name),
        "training_seconds": row.training_seconds,
        **flow_numbers(evaluation, row),
    }


def _members(evaluation: ClosureEvaluation, name: str) -> int:
    return 1 if name in ("none", "persistence") else evaluation.study.members


def _nothing(value: Any) -> Any:
    return {key: None for key in value} if isinstance(value, dict) else None


def score_numbers(scores: Scores | None) -> dict[str, Any]:
    """Fair scores by name."""
    nan = float("nan")
    if scores is None:
        keys = ("relative_l1", "relative_l2", "crps", "interval_width_90", "spread_skill")
        return {**dict.fromkeys(keys, nan), "coverage": {f"{100 * level:g}": nan for level in LEVELS}}
    place = {level: index for index, level in enumerate(scores.levels)}
    return {
        "relative_l1": scores.relative_l1,
        "relative_l2": scores.relative_l2,
        "crps": scores.crps,
        "coverage": {f"{100 * level:g}": scores.coverage[place[level]] for level in LEVELS},
        "interval_width_90": scores.width[place[0.9]],
        "interval_width": {f"{100 * level:g}": scores.width[place[level]] for level in LEVELS},
        "component_l1": scores.component_l1,
        "component_l2": scores.component_l2,
        "crps_plain": scores.crps_plain,
        "rms_error": scores.skill,
        "spread": scores.spread,
        "spread_skill": scores.spread_skill,
        "members": scores.members,
        "reliability": {"nominal": scores.levels, "coverage": scores.coverage, "width": scores.width},
        "rank_histogram": scores.histogram,
    }


def published_numbers(scores: PublishedScores | None) -> dict[str, Any]:
    """Published scores; every name says so."""
    if scores is None:
        return {"published_relative_l1_percent": None, "published_relative_l2_percent": None, "published_crps": None}
    return {
        "published_relative_l1_percent": scores.relative_l1_percent,
        "published_relative_l2_percent": scores.relative_l2_percent,
        "published_picp_percent": {str(q): value for q, value in scores.picp_percent.items()},
        "published_crps": scores.crps,
        "published_mpiw": {str(q): value for q, value in scores.mpiw.items()},
    }


def part_spread(row: ClosureRow, key: str) -> dict[str, float | int]:
    """Mean and standard deviation of a score over the parts, and their number; parts without a score do not count."""
    values = []
    for unit in row.units:
        if unit.scores is None:
            continue
        if key == "coverage_90":
            values.append(unit.scores.coverage[unit.scores.levels.index(0.9)])
        else:
            values.append(getattr(unit.scores, key))
    array = np.asarray(values, np.float64)
    if not array.size:
        return {"mean": float("nan"), "std": float("nan"), "n": 0}
    return {"mean": float(array.mean()), "std": float(array.std()), "n": int(array.size)}


def flow_numbers(evaluation: ClosureEvaluation, row: ClosureRow) -> dict[str, Any]:
    """Statistics of the samples beside those of the truth."""
    if row.flow is None:
        return {"flow": None}
    truth = evaluation.truth
    compared = compare_flows(row.flow, truth)
    shells, ratio, largest = spectrum_ratio(row.flow.spectrum, truth.spectrum, truth.resolving_shell)
    return {
        "flow": {
            "energy": float(row.flow.energy.mean()),
            "energy_error": compared["energy"],
            "dissipation": float(row.flow.dissipation.mean()),
            "dissipation_error": compared["dissipation"],
            "stress_error": compared["stress_all"],
            "stress_errors": {key: compared[f"stress_{key}"] for key in ("uu", "uv", "vv")},
            "relative_divergence": row.flow.divergence,
            "energy_distance": compared["energy_distance"],
            "log_spectrum_error": compared["spectrum"],
            "spectrum_ratio": {"shells": shells, "ratio": ratio, "largest_deviation": largest},
            "spectrum": row.flow.spectrum,
        }
    }


def spectrum_ratio(
    spectrum: np.ndarray, truth: np.ndarray, resolving_shell: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Shells that hold 99.99 % of the true energy (k = 0 left out), the ratio there, its largest distance from 1."""
    shells = np.arange(1, max(resolving_shell, 1) + 1)
    shells = shells[truth[shells] > 0]
    ratio = spectrum[shells] / truth[shells]
    return shells, ratio, float(np.abs(ratio - 1).max()) if ratio.size else float("nan")


def blocks(evaluation: ClosureEvaluation) -> list[Block]:
    """The tables."""
    entries = {name: jsonable(method_numbers(evaluation, name)) for name in evaluation.rows}
    if evaluation.study.scoring == "published":
        return [_published(evaluation, entries), _physics(evaluation, entries), _cost(evaluation, entries)]
    return [_accuracy(evaluation, entries), _intervals(evaluation, entries), _physics(evaluation, entries),
            _cost(evaluation, entries)]  # fmt: skip


def _headline(entry: dict[str, Any], key: str, spread: str | None, words: Any) -> str:
    if entry["frames_left_out"]:
        finite = entry["of_finite_frames"].get(key)
        return f"∞ ({words(finite)})"
    text = words(entry.get(key))
    if spread is None or text == "–":
        return text
    return f"{text} ± {words(entry['spread_over_parts'][spread]['std'])}"


def _accuracy(evaluation: ClosureEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    for name, entry in entries.items():
        cells = [
            _headline(entry, "relative_l1", "relative_l1", percent),
            _headline(entry, "relative_l2", "relative_l2", percent),
            _headline(entry, "crps", "crps", lambda v: bounded(v, ".4f")),
            bounded(entry.get("spread_skill"), ".2f"),
            _count(entry),
        ]
        rows.append((name, cells))
    headings = ["row", "relative L1 (%)", "relative L2 (%)", "CRPS", "spread/skill", "diverged samples"]
    return Block("Accuracy of the full field", headings, rows, _note(evaluation))


def _intervals(evaluation: ClosureEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    for name, entry in entries.items():
        cells = [percent(entry["coverage"][f"{100 * level:g}"]) for level in LEVELS]
        rows.append((name, [*cells, bounded(entry.get("interval_width_90"), ".3f")]))
    headings = ["row", *(f"coverage at {100 * level:g} (%)" for level in LEVELS), "width at 90 %"]
    return Block(
        "Intervals", headings, rows,
        "Central intervals of the ensemble; a calibrated one covers its nominal share. Width in units of velocity. "
        "Dash: more members are needed. Rows that are certain have no interval.",
    )  # fmt: skip


def _published(evaluation: ClosureEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    several = []
    for name, entry in entries.items():
        several.append((name, entry))
        whitened = (entry.get("of_finite_frames") or entry).get("published_whitened")
        if whitened is not None:
            several.append((f"{name}, whitened coefficients", {**entry, **whitened}))
    for name, entry in several:
        inside = entry.get("published_picp_percent") or {}
        cells = [
            _headline(entry, "published_relative_l1_percent", None, lambda v: bounded(v, ".2f")),
            _headline(entry, "published_relative_l2_percent", None, lambda v: bounded(v, ".2f")),
            *(bounded(inside.get(q), ".2f") for q in ("1", "2", "3")),
            _headline(entry, "published_crps", None, lambda v: bounded(v, ".4f")),
            _count(entry),
        ]
        rows.append((name, cells))
    headings = ["published scoring", "L1 (%)", "L2 (%)", "PICP 1σ (%)", "PICP 2σ (%)", "PICP 3σ (%)", "CRPS (normal)",
                "diverged samples"]  # fmt: skip
    words = PUBLISHED_WORDS
    if any(row.whitened is not None for row in evaluation.rows.values()):
        words += (
            " Whitened coefficients: prediction and truth are standardised coefficients of a few modes, as published "
            "for the Gaussian process; no physical units, and nothing of what the modes leave out."
        )
    return Block("Published scoring", headings, rows, f"{words} {_note(evaluation, spread=False)}")


def _physics(evaluation: ClosureEvaluation, entries: dict[str, Any]) -> Block:
    rows = []
    for name, entry in entries.items():
        flow = entry["flow"]
        if flow is None:
            rows.append((name, ["–"] * 6))
            continue
        cells = [
            bounded(flow["spectrum_ratio"]["largest_deviation"], ".3f"),
            bounded(_signed(flow["energy_error"]), "+.1f"),
            bounded(_signed(flow["dissipation_error"]), "+.1f"),
            percent(flow["stress_error"]),
            bounded(flow["energy_distance"], ".4f"),
            bounded(flow["relative_divergence"], ".1e"),
        ]
        rows.append((name, cells))
    truth = evaluation.truth
    headings = ["row", "spectrum", "energy (%)", "dissipation (%)", "stresses (%)",
                "W1 of energy", "divergence"]  # fmt: skip
    return Block(
        "Physics of the samples", headings, rows,
        f"Spectrum: largest |ratio − 1| over the shells 1 to {truth.resolving_shell}, which hold 99.99 % of the true "
        f"energy. Energy (truth {truth.energy.mean():.4g}) and dissipation (truth {truth.dissipation.mean():.4g}): "
        "relative errors of the means. Stresses: relative L2 error of the profiles of the Reynolds stresses. W1: "
        "Wasserstein-1 distance of the kinetic energy at points to the truth's, in units of energy. Divergence: the "
        "largest root mean square of the divergence over that of the gradient.",
    )  # fmt: skip


def _cost(evaluation: ClosureEvaluation, entries: dict[str, Any]) -> Block:
    rows = [
        (
            name,
            [
                seconds(entry["seconds_per_frame"]),
                seconds(entry["seconds_per_frame_and_member"]),
                seconds(entry["training_seconds"]),
            ],
        )
        for name, entry in entries.items()
    ]
    headings = ["row", f"per frame, {evaluation.study.members} members", "per frame and member", "training"]
    return Block("Wall time", headings, rows, "Of sampling, on this machine, compilation left out.")


def _signed(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _count(entry: dict[str, Any]) -> str:
    return f"{entry['diverged_samples']} of {entry['samples']}" if entry["diverged_samples"] else "0"


def _note(evaluation: ClosureEvaluation, *, spread: bool = True) -> str:
    study = evaluation.study
    note = (
        f"n = {study.total} frames of {count(len(study.stretches), 'trajectory', 'trajectories')}, "
        f"{study.members} members. none: the filtered "
        "field; persistence: the first full frame of each stretch, held; climatology: training frames at random."
    )
    if spread:
        note += (
            f" ±: standard deviation over {len(next(iter(evaluation.rows.values())).units)} {evaluation.unit}. CRPS: "
            "fair, in units of velocity; of a row that is certain its absolute error. Spread/skill: 1 for a "
            "calibrated ensemble."
        )
    if any(row.left_out for row in evaluation.rows.values()):
        note += " ∞: samples that are not finite; in brackets: of the frames without such samples."
    return " ".join([note, *evaluation.notes])


def write_json(evaluation: ClosureEvaluation, path: str | Path) -> Path:
    """All numbers, without NaN or Infinity."""
    text = json.dumps(jsonable(numbers(evaluation)), indent=1, allow_nan=False, ensure_ascii=False)
    return write_atomically(path, text + "\n")


def write_csv(evaluation: ClosureEvaluation, path: str | Path) -> Path:
    """One line per row; empty cells where a number does not exist."""
    lines = [_flat(jsonable(method_numbers(evaluation, name))) for name in evaluation.rows]
    columns = list(dict.fromkeys(key for line in lines for key in line))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "scoring", *columns])
    for name, line in zip(evaluation.rows, lines, strict=True):
        cells = ["" if line.get(key) is None else line[key] for key in columns]
        writer.writerow([name, evaluation.study.scoring, *cells])
    return write_atomically(path, text.getvalue())


def _flat(entry: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{before}{key}_"))
        elif not isinstance(value, list):
            flat[before + key] = value
    return flat
