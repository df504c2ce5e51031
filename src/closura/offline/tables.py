"""Tables of evaluations of closures and reduced-order models, beside those of every comparison."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from closura.core import Results
from closura.metrics.ensembles import LEVELS
from closura.offline.closure_scoring import PROBLEM as CLOSURES
from closura.offline.closure_scoring import PUBLISHED_WORDS
from closura.offline.model_runs import KINDS
from closura.offline.model_scoring import PROBLEM as MODELS
from closura.offline.numbers import BAR_WORDS, closure_entry, distance_numbers, lead_time_numbers, model_entry, study_of
from closura.offline.variables import (
    REFERENCE,
    SPACES,
    flow_numbers,
    resolving_shell,
    shown_methods,
)
from closura.plain import plain
from closura.reporting.formatting import bounded, duration
from closura.reporting.table import Table, table

MOMENTS = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Parts of the followed time at which scores are told."""


def _percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; a dash for what does not exist."""
    return bounded(None if value is None else 100 * value, f".{digits}f")


def _entries(results: Results) -> Iterator[tuple[str, dict[str, Any]]]:
    entry = closure_entry if results.problem == CLOSURES else model_entry
    return ((name, plain(entry(results, name))) for name in results.compared)


@table("accuracy", problems=(CLOSURES,), needs=("total_coverage",), order=5)
def accuracy(results: Results) -> list[Table]:
    """Errors, coverage and width of central intervals over all frames, and samples that are not finite."""
    rows = []
    for name, entry in _entries(results):
        found = entry.get("of_finite_frames") or entry
        headline = [_percent(found["relative_l1"]), _percent(found["relative_l2"]), bounded(found["crps"], ".4f")]
        if entry["frames_left_out"]:
            headline = [f"∞ ({text})" for text in headline]
        covered = [_percent(found["coverage"][f"{100 * level:g}"]) for level in LEVELS]
        further = [bounded(found.get("interval_width_90"), ".3f"), bounded(found.get("spread_skill"), ".2f")]
        lost = f"{entry['diverged_samples']} of {entry['samples']}" if entry["diverged_samples"] else "0"
        rows.append((name, [*headline, *covered, *further, lost]))
    headings = ["method", "relative L1 (%)", "relative L2 (%)", "CRPS"]
    headings += [
        *(f"inside {100 * level:g} %" for level in LEVELS),
        "width at 90 %",
        "spread/skill",
        "diverged samples",
    ]
    note = (
        "All frames together. Inside: share (%) of true values within central intervals of the ensemble; a calibrated "
        "one covers its nominal share, and its spread over skill is 1. CRPS and width in units of velocity. Dash: more "
        "members are needed."
    )
    if any(entry["frames_left_out"] for _, entry in _entries(results)):
        note += " ∞: samples that are not finite; in brackets: of the frames without such samples."
    return [Table("Accuracy of the full field", headings, rows, " ".join([note, *study_of(results)["notes"]]))]


@table("published-scoring", problems=(CLOSURES,), needs=("total_published_crps",), order=5)
def published_scoring(results: Results) -> list[Table]:
    """Scores over all frames as the notebooks compute them."""
    rows = []
    for name, entry in _entries(results):
        found = entry.get("of_finite_frames") or entry
        several = {name: found, f"{name}, whitened coefficients": found.get("published_whitened")}
        for label, each in several.items():
            if each is None:
                continue
            inside = each.get("published_picp_percent") or {}
            cells = [
                *(bounded(each[f"published_relative_{norm}_percent"], ".2f") for norm in ("l1", "l2")),
                *(bounded(inside.get(q), ".2f") for q in ("1", "2", "3")),
                bounded(each["published_crps"], ".4f"),
                f"{entry['diverged_samples']} of {entry['samples']}",
            ]
            rows.append((label, cells))
    headings = ["method", "L1 (%)", "L2 (%)", "PICP 1σ (%)", "PICP 2σ (%)", "PICP 3σ (%)", "CRPS (normal)", "diverged"]
    words = PUBLISHED_WORDS
    if any("whitened" in name for name, _ in rows):
        words += (
            " Whitened coefficients: prediction and reference are standardised coefficients of a few modes, as "
            "published "
            "for the Gaussian process; no physical units, and nothing of what the modes leave out."
        )
    return [Table("Published scoring", headings, rows, " ".join([words, *study_of(results)["notes"]]))]


@table("flow-statistics", problems=(CLOSURES, MODELS), needs=("flow_spectrum",), order=8)
def flow_statistics(results: Results) -> list[Table]:
    """Physics of the samples, or of the long run, beside the true flow's."""
    rows, models = [], results.problem == MODELS
    lost = {name: entry for name, entry in _entries(results) if models and entry["learned"]}
    for name, label, space, _ in shown_methods(results, "flow_spectrum"):
        flow = flow_numbers(results, name, space)
        assert flow is not None
        cells = [
            bounded(flow["spectrum_ratio"]["largest_deviation"], ".3f"),
            bounded(100 * flow["energy_error"], "+.1f"),
            bounded(100 * flow["dissipation_error"], "+.1f"),
            _percent(flow["stress_error"]),
            bounded(flow["energy_distance"], ".4f"),
            bounded(flow["relative_divergence"], ".1e"),
        ]
        if models:
            cells.append(" / ".join(str(lost[name][key]) for key in ("blown_up", "collapsed", "not_finite")))
        rows.append((label, cells))
    reference = {space: flow_numbers(results, REFERENCE, space) or {} for space in SPACES}
    headings = ["method", "spectrum", "energy (%)", "dissipation (%)", "stresses (%)", "W1 of energy", "divergence"]
    note = (
        f"Spectrum: largest |ratio − 1| over the shells 1 to {resolving_shell(results, 'full')}, which hold 99.99 % of "
        f"the true energy. Energy (reference {reference['full']['energy']:.4g}) and dissipation (reference "
        f"{reference['full']['dissipation']:.4g}): relative errors of the means. Stresses: relative L2 error of the "
        "profiles of the Reynolds stresses. W1: Wasserstein-1 distance of the kinetic energy at points to the "
        "reference's, "
        "in units of energy. Divergence: the largest root mean square of the divergence over that of the gradient."
    )
    if not models:
        return [Table("Physics of the samples", headings, rows, note)]
    runs = max((entry["runs"] for entry in lost.values()), default=0)
    note += (
        " Filtered fields beside the filtered flow, closed ones beside the full one, over all steps. Lost: members "
        "that blew up / collapsed / are not finite; the first two by mean energies over slices that leave 1/3 to 3 "
        "times the true mean of filtered fields."
    )
    title = f"The long run, {study_of(results)['steps']} steps"
    return [Table(title, [*headings, f"lost, of {runs}"], rows, note)]


@table("valid-time", problems=(MODELS,), needs=("valid_time_censored",), order=4)
def valid_times(results: Results) -> list[Table]:
    """For how long forecasts are valid, of the ensemble mean and of single members."""
    lyapunov = results.attribute("lyapunov_exponent")

    def cell(found: dict[str, Any] | None) -> list[str]:
        if found is None:
            return ["–"] * (2 if lyapunov else 1)
        sign = "≥ " if found["censored"] else ""
        cells = [f"{sign}{bounded(found['mean'], '.2f')} ± {bounded(found['std'], '.2f')}"]
        return [*cells, f"{sign}{bounded(found['lyapunov_times'], '.2f')}"] if lyapunov else cells

    extra = ["in Lyapunov times"] if lyapunov else []
    headings = ["method", "ensemble mean", *extra, "single member", *extra]
    rows = [(n, [*cell(e["valid_time"]), *cell(e["valid_time_of_members"])]) for n, e in _entries(results)]
    note = (
        "Time until the relative L2 error of the filtered velocity exceeds 0.5; mean ± standard deviation over starts; "
        f"≥: some were still valid when the data ended (t = {results.times[-1]:g})."
    )
    return [Table("Valid prediction time", headings, rows, " ".join([note, *study_of(results)["notes"]]))]


@table("lead-times", problems=(MODELS,), needs=("skill", "spread"), order=11)
def lead_times(results: Results) -> list[Table]:
    """Scores of ensembles at parts of the followed time."""
    places = sorted({max(0, round(part * results.steps) - 1) for part in MOMENTS})
    rows = []
    for name in results.compared:
        found = plain(lead_time_numbers(results, name))
        cells = []
        for i in places:
            ratio = bounded(found["spread_skill"][i], ".2f")
            cells.append(f"{_percent(found['relative_l2'][i])} / {bounded(found['crps'][i], '.3f')} / {ratio}")
        rows.append((name, cells))
    headings = ["method", *(f"t = {results.times[1 + i]:.3g}" for i in places)]
    note = "Of filtered fields; CRPS: fair, in units of velocity."
    return [Table("Relative L2 (%) / CRPS / spread over skill, by lead time", headings, rows, note)]


@table("energy-distances", problems=(MODELS,), needs=("distance_pooled",), order=7)
def energy_distances(results: Results) -> list[Table]:
    """How far distributions of the kinetic energy are from the true flow's, as runs get longer."""
    study = study_of(results)
    slices = study["steps"] // study["slice_steps"]
    places = sorted({0, slices // 2, slices - 1})
    titles = dict(zip(KINDS, ("filtered", "before the closure", "after the closure"), strict=True))
    rows = []
    for name in results.closures:
        for kind, title in titles.items():
            found = plain(distance_numbers(results, name, kind))
            if found is None:
                continue
            cells = [
                f"{bounded(found['pooled'][i], '.4f')} / {bounded(found['single_mean'][i], '.4f')}" for i in places
            ]
            below = f"{_percent(found['pooled_below_bar'], 0)} / {_percent(found['single_below_bar'], 0)}"
            rows.append((f"{name}, {title}", [*cells, bounded(found["bar"], ".4f"), below]))
    headings = ["method", *(f"slice {i + 1} of {slices}" for i in places), "bar", "below bar (%)"]
    note = (
        f"Wasserstein-1 distance of the kinetic energy at points, in slices of {study['slice_steps']} steps (t = "
        f"{study['slice_steps'] * study['step']:g}), to {study['reference']}: filtered fields to the filtered "
        "reference, "
        "before and after the closure to the full one. All members of a start together / single members, means over "
        f"starts. Bar: {BAR_WORDS}. A single member is what the bar is made of; members together hold more values and "
        "stay below it more easily."
    )
    if np.isnan(results.data["distance_bar"].values).all():
        note += " The data have too few trajectories of that length for a bar."
    return [Table("Distance of the energy's distribution", headings, rows, note)]


@table("wall-times", problems=(CLOSURES, MODELS), order=30)
def wall_times(results: Results) -> list[Table]:
    """Wall times of sampling or of steps, of closing, and of training."""
    each = "frame" if results.problem == CLOSURES else "step"
    keys = [f"seconds_per_{each}", f"seconds_per_{each}_and_member", "training_seconds"]
    headings = [f"per {each}, {study_of(results)['members']} members", f"per {each} and member", "training"]
    if results.problem == MODELS:
        keys.append("closure_seconds_per_frame_and_member")
        headings.append("closure, per frame and member")
    rows = [(name, [duration(entry.get(key)) for key in keys]) for name, entry in _entries(results)]
    return [Table("Wall time", ["method", *headings], rows, "On this machine, compilation left out.")]
