"""JSON and CSV of evaluations of closures and reduced-order models, beside the numbers of every comparison."""

import json
from typing import Any

import numpy as np

from closura.core import Results, Role
from closura.metrics.ensembles import LEVELS
from closura.offline.closure_scoring import TARGETS
from closura.offline.model_runs import KINDS
from closura.offline.variables import (
    REFERENCE,
    flow_numbers,
    resolving_shell,
    scores_of,
)
from closura.plain import plain
from closura.reporting.numbers import numbers

BAR_WORDS = (
    "95th percentile, over slices of as many steps of true trajectories, of the Wasserstein-1 distance between a slice "
    "and all slices of the other true trajectories together"
)


def study_of(results: Results) -> dict[str, Any]:
    """What was compared: data, filter, frames or starts, members, notes."""
    found: dict[str, Any] = json.loads(results.attribute("study"))
    return found


def _closure_rows(results: Results) -> list[dict[str, Any]]:
    """One row for each method; empty where a number does not exist."""
    scoring = study_of(results)["scoring"]
    lines = {name: _flat(plain(closure_entry(results, name))) for name in results.compared}
    columns = dict.fromkeys(key for line in lines.values() for key in line)
    return [{"method": name, "scoring": scoring, **columns, **line} for name, line in lines.items()]


def _model_rows(results: Results) -> list[dict[str, Any]]:
    """Scores against lead time, one row for each method and lead."""
    columns = ("relative_l2", "relative_l2_std", "crps", "crps_std", "spread_skill")
    return [
        {"method": name, "time": time, **{key: found[key][i] for key in columns}}
        for name in results.compared
        for found in [plain(lead_time_numbers(results, name))]
        for i, time in enumerate(found["time"])
    ]


def _flat(entry: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{before}{key}_"))
        elif not isinstance(value, list):
            flat[before + key] = value
    return flat


@numbers("offline-closures", needs=("frames_left_out",), whole=True, rows=_closure_rows)
def closure_numbers(results: Results) -> dict[str, Any]:
    """``methods`` by name, fractions, not percent; what was compared, and the statistics of the true fields."""
    reference = flow_numbers(results, REFERENCE, "full") or {}
    return {
        **study_of(results),
        "methods": {name: closure_entry(results, name) for name in results.compared},
        "truth": {
            "resolving_shell": resolving_shell(results, "full"),
            **{key: reference[key] for key in ("energy", "dissipation", "relative_divergence", "spectrum")},
        },
        "settings": results.provenance,
    }


def closure_entry(results: Results, name: str) -> dict[str, Any]:
    """The numbers of one method.

    With samples that are not finite the scores are None, and those of the frames whose samples are finite stand in
    ``of_finite_frames``.
    """
    study = study_of(results)
    fair, members = study["scoring"] == "fair", 1 if name in ("none", "persistence") else study["members"]
    found = _score_numbers(results, name) if fair else _published_numbers(results, name)
    lost = int(results.of("frames_left_out", name).sum())
    if lost:
        nothing = {key: dict.fromkeys(value) if isinstance(value, dict) else None for key, value in found.items()}
        found = {**nothing, "of_finite_frames": found}
    if fair:
        found["spread_over_parts"] = {
            key: _part_spread(results, key, name) for key in ("relative_l1", "relative_l2", "crps", "coverage_90")
        }
    seconds = _fact(results, "seconds_per_frame", name)
    return {
        **found,
        "learned": results.roles[name] is Role.CLOSURE,
        "samples": int(_fact(results, "samples", name)),
        "diverged_samples": int(_fact(results, "diverged_samples", name)),
        "frames_left_out": lost,
        "seconds_per_frame": seconds,
        "seconds_per_frame_and_member": seconds / members,
        "training_seconds": _fact(results, "training_seconds", name),
        "flow": flow_numbers(results, name, "full"),
    }


def _part_spread(results: Results, key: str, name: str) -> dict[str, float | int]:
    """Mean and standard deviation of a score over the parts, and their number; parts without a score do not count."""
    found = results.of(f"finite_{key}", name)
    known = found[~np.isnan(found)] if key != "coverage_90" else found[~np.isnan(results.of("finite_crps", name))]
    if not known.size:
        return {"mean": float("nan"), "std": float("nan"), "n": 0}
    return {"mean": float(known.mean()), "std": float(known.std()), "n": int(known.size)}


def _fact(results: Results, key: str, name: str) -> float:
    """A number about a method; NaN where it has none."""
    return float(results.data[key].sel({"method": name})) if key in results.data.coords else float("nan")


def _score_numbers(results: Results, name: str) -> dict[str, Any]:
    """Fair scores over everything."""
    scores, nan = scores_of(results, name), float("nan")
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


def _published_numbers(results: Results, name: str) -> dict[str, Any]:
    """Published scores over everything; every name says so."""
    keys = ("published_relative_l1_percent", "published_relative_l2_percent", "published_crps")
    found: dict[str, Any] = {}
    for target in TARGETS:
        if f"total_{keys[0]}" not in results.data:
            break
        own = results.data.sel({"method": name, "target": target})
        entry: dict[str, Any] = {key: float(own[f"total_{key}"]) for key in keys}
        widths = own["deviations"].values.tolist()
        for key in ("published_picp_percent", "published_mpiw"):
            entry[key] = dict(zip(map(str, widths), own[f"total_{key}"].values.tolist(), strict=True))
        if target == "fields":
            found = entry if not np.isnan(entry[keys[0]]) else {}
        elif not np.isnan(entry[keys[0]]):
            found["published_whitened"] = entry
    return found or dict.fromkeys(keys)


@numbers("offline-models", needs=("valid_time_censored",), whole=True, rows=_model_rows)
def model_numbers(results: Results) -> dict[str, Any]:
    """``methods`` by name; fractions, times in the flow's unit; None for what does not exist."""
    reference = {space: flow_numbers(results, REFERENCE, space) or {} for space in ("full", "filtered")}
    return {
        **study_of(results),
        "bar_definition": BAR_WORDS,
        "methods": {name: model_entry(results, name) for name in results.compared},
        "truth": {space: {key: each[key] for key in ("energy", "dissipation")} for space, each in reference.items()},
        "settings": results.provenance,
    }


def model_entry(results: Results, name: str) -> dict[str, Any]:
    """The numbers of one method."""
    total, learned = _score_numbers(results, name), results.roles[name] is Role.CLOSURE
    several = bool(np.isfinite(results.of("member_valid_time", name)).any())
    found = {
        "valid_time": _horizon_numbers(results, name, "valid_time"),
        "valid_time_of_members": _horizon_numbers(results, name, "member_valid_time") if several else None,
        "lead_time": lead_time_numbers(results, name),
        **{key: total.get(key) for key in ("coverage", "interval_width_90", "reliability", "rank_histogram")},
        "learned": learned,
    }
    if not learned:
        return found
    seconds = _fact(results, "seconds_per_step", name)
    return {
        **found,
        **{key: int(_fact(results, key, name)) for key in ("runs", "not_finite", "blown_up", "collapsed")},
        "energy_distance": {kind: distance_numbers(results, name, kind) for kind in KINDS},
        **{key: _model_flow(results, name, space) for key, space in (("flow", "filtered"), ("closed_flow", "full"))},
        "seconds_per_step": seconds,
        "seconds_per_step_and_member": seconds / study_of(results)["members"],
        "closure_seconds_per_frame_and_member": _fact(results, "closure_seconds", name),
        "training_seconds": _fact(results, "training_seconds", name),
    }


def _model_flow(results: Results, name: str, space: str) -> dict[str, Any] | None:
    found = flow_numbers(results, name, space)
    left_out = ("stress_errors", "log_spectrum_error")
    return None if found is None else {key: value for key, value in found.items() if key not in left_out}


def lead_time_numbers(results: Results, name: str) -> dict[str, Any]:
    """Scores against lead time, the start left out: NaN where one is, a member that was lost is not averaged away."""
    relative, crps, skill, spread = (results.of(key, name)[:, 1:] for key in ("relative_l2", "crps", "skill", "spread"))
    return {
        "time": results.times[1:],
        "relative_l2": relative.mean(axis=0),
        "relative_l2_std": relative.std(axis=0),
        "crps": crps.mean(axis=0),
        "crps_std": crps.std(axis=0),
        "spread_skill": spread_skill(skill, spread),
        "n": len(relative),
    }


def spread_skill(skill: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Spread over skill of all starts ``(start, lead)`` together; NaN at leads with nothing finite."""
    with np.errstate(invalid="ignore", divide="ignore"):
        there = np.isfinite(spread).sum(axis=0)
        ratio = np.nansum(spread**2, axis=0) / np.nansum(skill**2, axis=0)
        return np.where(there > 0, np.sqrt(ratio), np.nan)


def _horizon_numbers(results: Results, name: str, key: str) -> dict[str, Any]:
    """Mean, deviation and median of valid times, and how many the data's end cut."""
    times, cut = (results.of(each, name).ravel() for each in (key, f"{key}_censored"))
    exponent = results.attribute("lyapunov_exponent")
    return {
        "mean": float(times.mean()),
        "std": float(times.std()),
        "median": float(np.median(times)),
        "lyapunov_times": None if exponent is None else float((times * exponent).mean()),
        "censored": int(cut.sum()),
        "n": len(times),
    }


def distances(results: Results, name: str, kind: str) -> tuple[np.ndarray, np.ndarray, float | None] | None:
    """Distances of members together ``(start, slice)``, of single ones ``(start, member, slice)``, and the bar."""
    own = results.data.sel({"method": name, "kind": kind})
    if results.roles[name] is not Role.CLOSURE or (kind == "closed" and study_of(results)["closure"] is None):
        return None
    bar = float(own["distance_bar"])
    return own["distance_pooled"].values, own["distance_single"].values, None if np.isnan(bar) else bar


def distance_numbers(results: Results, name: str, kind: str) -> dict[str, Any] | None:
    """Distances by slice: means over starts (and members), and how many stay below the bar."""
    found = distances(results, name, kind)
    if found is None:
        return None
    pooled, single, bar = found

    def below(values: np.ndarray) -> float | None:
        return float((values <= bar).mean()) if bar is not None and values.size else None

    return {
        "pooled": pooled.mean(axis=0),
        "single_mean": single.mean(axis=(0, 1)) if single.size else [],
        "single_95": np.quantile(single, 0.95, axis=(0, 1)) if single.size else [],
        "bar": bar,
        "bar_from": int(results.data["distance_bar_from"].sel(kind=kind)),
        "pooled_below_bar": below(pooled),
        "single_below_bar": below(single),
    }
