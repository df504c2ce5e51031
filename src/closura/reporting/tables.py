"""The tables that every comparison has: a summary, errors as time goes on, groups of simulations; CSV and JSON.

Percent for people (terminal, CSV columns that say so), fractions in JSON.
"""

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from closura.core import Metric, Results, Role
from closura.core.metric import CONSERVATION
from closura.io.files import write_atomically
from closura.metrics.statistics import spread
from closura.plain import plain
from closura.reporting.formatting import bounded, count, quantity, short, with_spread
from closura.reporting.numbers import (
    NUMBERS,
    all_numbers,
    by_group,
    by_step,
    error_key,
    steps_shown,
    summary,
)
from closura.reporting.style import amount
from closura.reporting.table import Table, table

ROLE = "role"


class _Column(NamedTuple):
    """Heading, the part of a narrow table that it belongs to, and the cell of a method with its numbers."""

    heading: str
    part: int
    cell: Callable[[str, dict[str, Any]], str]


def _columns(results: Results) -> list[_Column]:
    error, key, percent = results.error, error_key(results), results.error.percent
    unit, family = " (%)" if percent else "", results.family(results.uncorrected)
    threshold = results.attribute("threshold")

    def compared(name: str) -> bool:
        return name in results.compared and name != results.uncorrected_for(name)

    def improvement(which: str, name: str, entry: dict[str, Any]) -> str:
        return bounded(None if entry[which] is None else 100 * entry[which], "+.1f") if compared(name) else "–"

    def on_base(name: str, entry: dict[str, Any]) -> str:
        text = improvement("improvement_on_base", name, entry) if entry["base"] else "–"
        return text if text == "–" else f"{text} ({entry['base']})"

    def steps(_: str, entry: dict[str, Any]) -> str:
        found = entry["steps_below_threshold"]
        return f"{'≥ ' if found['censored'] else ''}{bounded(found['mean'], '.1f')} ± {bounded(found['std'], '.1f')}"

    def harm(_: str, entry: dict[str, Any]) -> str:
        found = entry["worse_than_base"]
        return "–" if found is None else f"{found['simulations']} of {found['n']}"

    def further(metric: Metric) -> _Column:
        if metric.name == CONSERVATION:
            heading, share, key = f"{results.attribute('quantity', 'mass')} error (%)", True, "mass_error"
        else:
            shown = f" ({metric.unit})" if metric.unit not in ("1", "") else (" (%)" if metric.percent else "")
            mean = ", geometric mean" if metric.aggregate == "geometric" else ""
            heading, share, key = f"{metric.title}{shown}{mean}", metric.percent, metric.name
        lost = "-∞" if metric.better == "higher" else "∞"

        def cell(_: str, entry: dict[str, Any]) -> str:
            found = entry.get(key)
            if found is None or found.get("n") == 0:  # it need not exist in every simulation
                return "–"
            if metric.aggregate == "geometric":
                return quantity(found["geometric_mean"], share)
            return ("≥ " if found.get("censored") else "") + with_spread(found, share, metric.floor).replace("∞", lost)

        return _Column(heading, 1, cell)

    at, geometric = f"{error.title}{unit} at {results.moment(results.steps)}", error.aggregate == "geometric"
    if geometric:
        columns = [
            _Column(f"{at}, geometric mean", 0, lambda _, e: quantity(e[key]["geometric_mean"], percent)),
            _Column(f"by that of {family}", 0, lambda n, e: bounded(e["ratio"], ".3f") if compared(n) else "–"),
        ]
    else:
        columns = [
            _Column(at, 0, lambda _, e: with_spread(e[key], percent)),
            _Column(f"median{unit}", 0, lambda _, e: quantity(e[key]["median"], percent)),
        ]
    columns.insert(0, _Column(ROLE, 0, lambda _, e: str(e["role"])))
    if "scale" in results.data:
        columns.append(_Column("of initial field (%)", 0, lambda _, e: with_spread(e["relative_to_initial"], True)))
    if not geometric:
        columns.append(_Column(f"on {family} (%)", 0, partial(improvement, "improvement")))
    if any(results.corrects(name) != results.uncorrected_for(name) for name in results.closures):
        columns.append(_Column("on its base (%)", 0, on_base))
    if threshold is not None:
        columns.append(_Column(f"steps below {amount(error, threshold)}", 0, steps))
        columns.append(_Column("median", 0, lambda _, e: f"{e['steps_below_threshold']['median']:g}"))
    for metric in results.metrics.values():
        counts = metric.better or results.sample == "simulation" or metric.name == CONSERVATION
        if metric.name != error.name and counts:
            columns.append(further(metric))
    columns.append(_Column("diverged", 1, lambda _, e: str(e["diverged"])))
    if _harmful(results):
        columns.append(_Column("ever worse than base", 1, harm))
    cost = f"ms per {results.attribute('cost', 'step')}"
    columns.append(_Column(cost, 1, lambda _, e: short(e["milliseconds_per_step"])))
    if results.steps > 0:
        columns.append(_Column("ms per simulation", 1, lambda _, e: short(e["milliseconds_per_simulation"])))
    columns.append(_Column("parameters", 1, lambda _, e: "–" if e["parameters"] is None else f"{e['parameters']:,}"))
    return columns


def _harmful(results: Results) -> bool:
    """Whether closures correct a solver at several times, so that they may make it worse at one."""
    return bool(results.closures and results.steps > 0 and results.named(Role.UNCORRECTED, Role.BASELINE))


def summary_table(results: Results) -> Table:
    """One row for each method: error, improvement, other metrics, losses and cost."""
    columns, numbers = _columns(results), summary(results)["methods"]
    return Table(
        results.problem,
        ["method", *(column.heading for column in columns)],
        [(name, [column.cell(name, entry) for column in columns]) for name, entry in numbers.items()],
        "\n".join(footnotes(results)),
        left=(ROLE,),
        narrow=[[i for i, column in enumerate(columns) if column.part == part] for part in (0, 1)],
    )


def footnotes(results: Results) -> list[str]:
    """What must stand beneath the summary: how many simulations, which data, how diverged ones count."""
    how_long = ""
    if not math.isnan(results.times[-1]):
        how_long = f" of {count(results.steps, 'step')} (time {results.times[-1]:.4g})"
    n, better = count(results.simulations, "simulation"), ""
    if results.sample != "simulation":
        groups = len(set(results.groups))
        averaged = f" ({n}, averaged for each {results.sample})" if results.simulations > groups else ""
        n = f"{count(groups, results.sample)}{averaged}"
    if results.error.aggregate != "geometric":
        better = f"; “on {results.family(results.uncorrected)}”: relative improvement of the mean, positive is better"
    lines = [
        f"n = {n}{how_long}, {results.attribute('same', 'from the same initial states for all methods')}. "
        f"mean ± population standard deviation over {results.sample}s{better}.",
        results.description.get("split", "No statement was given on how evaluation data were held out."),
    ]
    if stability := results.description.get("stability"):
        lines.append(f"Warning: {stability}.")
    if "scale" in results.data:
        left = float(results.data["scale"].values[:, -1].mean())
        lines.append(
            "Errors are relative to the reference at the same time; “of initial field”: relative to the initial "
            f"reference. At the end the reference has {short(100 * left)} % of its initial size on average."
        )
    if _harmful(results):
        lines.append(
            "“Ever worse than base”: simulations in which a closure does worse than the solver that it corrects, at "
            "any step."
        )
    if any(results.diverged(name) for name in results.methods):
        lines.append(
            "Diverged simulations, whose state is no longer finite or has left ten times its initial range, are "
            "counted and kept: errors that are not finite make the mean infinite (∞; in brackets the mean of the "
            "finite ones) and count as the worst values in the median."
        )
    entries = summary(results)["methods"].values()
    if any(entry.get("steps_below_threshold", {}).get("censored") for entry in entries):
        lines.append("≥: simulations that never exceeded the threshold count as all simulated steps.")
    return lines


@table("summary", order=0)
def _summary(results: Results) -> list[Table]:
    """Errors, further metrics, losses and costs of all methods."""
    return [summary_table(results)]


@table("over-time", needs=("time",), order=10)
def _over_time(results: Results) -> list[Table]:
    """Errors at chosen steps."""
    moments, percent = by_step(results), results.error.percent
    if len(moments) < 2:
        return []

    def cell(entry: dict[str, Any]) -> str:
        text = f"{with_spread(entry, percent)}; {quantity(entry['median'], percent)}"
        return f"{text}; {entry['diverged']} diverged" if entry["diverged"] else text

    title = results.error.title
    return [
        Table(
            f"{title[:1].upper()}{title[1:]}{' (%)' if percent else ''} as time goes on",
            ["method", *(results.moment(moment["step"]) for moment in moments)],
            [(name, [cell(moment["methods"][name]) for moment in moments]) for name in results.compared],
            "mean ± population standard deviation; median; how many had diverged by then.",
        )
    ]


@table("groups", order=20)
def _groups(results: Results) -> list[Table]:
    """One table for each chosen step, the last one first: it is what the other tables speak of."""
    groups = by_group(results) if results.groups and results.sample == "simulation" else {}
    moments = list(range(len(steps_shown(results)))) if groups else []
    return [_group_table(results, groups, index) for index in reversed(moments)]


def _group_table(results: Results, groups: dict[str, dict[str, Any]], index: int) -> Table:
    names, percent = results.compared, results.error.percent
    rows = []
    for group, found in groups.items():
        entries = [found["steps"][index]["methods"][name] for name in names]
        rows.append((group, [str(found["n"]), *(_in_group(entry, percent) for entry in entries)]))
    step = next(iter(groups.values()))["steps"][index]["step"]
    return Table(
        f"Groups of simulations at {results.moment(step)}: {results.error.title}{' (%)' if percent else ''}",
        ["group", "n", *names],
        rows,
        "median; mean (∞ where one diverged, in brackets the mean of the finite ones); then, if any: how many had "
        "diverged by then, how many errors exceed 100 %.",
        shown=step == results.steps,
    )


def _in_group(entry: dict[str, Any], percent: bool) -> str:
    parts = [quantity(entry["median"], percent), with_spread(entry, percent).split(" ± ")[0]]
    if entry["diverged"]:
        parts.append(f"{entry['diverged']} diverged")
    if percent and entry["above_100_percent"]:
        parts.append(f"{entry['above_100_percent']} > 100 %")
    return "; ".join(parts)


_SPREAD = ("mean", "std", "median", "max", "mean_of_finite")


def write_csv(results: Results, path: str | Path) -> Path:
    """Write one row for each method; empty cells where a number does not exist or is not finite.

    Columns of shares end with ``_percent``; every further metric has its spread in columns of its own. Results whose
    numbers (:func:`closura.reporting.numbers.numbers`) give rows of their own have those.
    """
    for kind in NUMBERS.all().values():
        if kind.rows is not None and kind.suits(results):
            return write_rows(kind.rows(results), path)
    numbers, called, rows = summary(results), error_key(results), []
    for name, entry in numbers["methods"].items():
        steps = entry.get("steps_below_threshold", {})
        row = {
            "problem": results.problem,
            "method": name,
            "role": entry["role"],
            "steps": results.steps,
            "time": numbers["time"],
            "simulations": results.simulations,
            **_scaled(called, entry[called], _SPREAD, results.error.percent),
            **_scaled("relative_to_initial", entry.get("relative_to_initial", {}), _SPREAD, True),
            "improvement_percent": _hundred(entry["improvement"]),
            "base": entry["base"],
            "improvement_on_base_percent": _hundred(entry["improvement_on_base"]),
            "ever_worse_than_base": (entry["worse_than_base"] or {}).get("simulations"),
            "threshold_percent": _hundred(numbers["threshold"]),
            **{f"steps_below_threshold_{key}": steps.get(key) for key in ("mean", "std", "median", "censored")},
            **_scaled("mass_error", entry["mass_error"] or {}, ("mean", "std"), True),
        }
        for metric in _further(results):
            row |= _scaled(metric.name, entry.get(metric.name, {}), _SPREAD, metric.percent)
        plain_ones = ("diverged", "milliseconds_per_step", "milliseconds_per_simulation", "parameters")
        rows.append({**row, **{k: entry[k] for k in plain_ones}, "split": results.description.get("split", "")})
    return write_rows(rows, path)


def write_breakdown_csv(results: Results, path: str | Path) -> Path:
    """Write one row for each group ("all" first), chosen step and method; not finite: empty."""
    parts = {"all": by_step(results), **{g: found["steps"] for g, found in by_group(results).items()}}
    numbers = ("mean", "std", "median", "lower_quartile", "upper_quartile", "max", "mean_of_finite")
    rows = [
        {
            "problem": results.problem,
            "group": group,
            "step": moment["step"],
            "time": moment["time"],
            "method": name,
            "n": entry["n"],
            **_scaled(error_key(results), entry, numbers, results.error.percent),
            **_scaled("relative_to_initial", entry.get("relative_to_initial", {}), ("mean", "std", "median"), True),
            **{key: entry[key] for key in ("diverged", "above_100_percent")},
            **_further_at(results, name, group, moment["step"]),
        }
        for group, moments in parts.items()
        for moment in plain(moments)
        for name, entry in moment["methods"].items()
    ]
    return write_rows(rows, path)


def _further(results: Results) -> list[Metric]:
    """The metrics beside the one that counts and what is conserved."""
    return [m for m in results.metrics.values() if m.name not in (results.error.name, CONSERVATION)]


def _further_at(results: Results, name: str, group: str, step: int) -> dict[str, Any]:
    """Mean and standard deviation of further metrics over the simulations of a group in which they exist."""
    found: dict[str, Any] = {}
    for metric in _further(results):
        values = results.of(metric.name, name)
        values = values if values.ndim == 1 else values[:, step]
        values = values[[group in ("all", each) for each in results.groups]] if results.groups else values
        values = values[~np.isnan(values)]
        both = spread(values) if values.size and np.isfinite(values).all() else {}
        found |= _scaled(metric.name, both, ("mean", "std"), metric.percent)
    return found


def write_rows(rows: list[dict[str, Any]], path: str | Path) -> Path:
    """Write CSV, a column for each key; empty cells for None."""
    return write_atomically(path, pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n"))


def write_json(results: Results, path: str | Path) -> Path:
    """Write :func:`closura.reporting.numbers.all_numbers` as JSON without NaN or Infinity."""
    indent = None if results.is_sweep else 1  # of sweeps every simulation is there
    text = json.dumps(all_numbers(results), indent=indent, allow_nan=False, ensure_ascii=False)
    return write_atomically(path, text + "\n")


def _scaled(name: str, values: dict[str, Any], keys: tuple[str, ...], percent: bool) -> dict[str, Any]:
    if percent:
        return {f"{name}_{key}_percent": _hundred(values.get(key)) for key in keys}
    return {f"{name}_{key}": values.get(key) for key in keys}


def _hundred(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else 100 * value
