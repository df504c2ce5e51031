"""The held-out numbers of a closure for its card, and how far those of a repetition are from them."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from closura.core import Results, Role
from closura.metrics.statistics import aggregate
from closura.reporting.findings import best_baseline
from closura.reporting.numbers import steps_shown

ROUND_OFF = 1e-3
"""Of numbers that the same command gives elsewhere, relative: closed loops of some steps in single precision."""
PART_OF_SPREAD = 0.25
"""Of the standard error: where chaos or the place of a shock makes more of round-off, no less is known of the mean."""
DIGITS = 6
ROLES = (Role.UNCORRECTED, Role.BASELINE, Role.FINE_BASELINE, Role.CLOSURE)


def measured(results: Results, name: str) -> dict[str, Any]:
    """What a card keeps of a comparison.

    Parameters
    ----------
    results
        Of the closure and what it was compared with.
    name
        The closure among the methods.

    Returns
    -------
    ``closure`` (its name), ``simulations``, ``sample`` (what statistics are over) and ``tables``, one for each metric
    that counts: its ``metric``, ``title``, ``percent``, ``better``, ``of`` ("mean", "median" or "geometric" mean) and
    ``rows``. A row has ``at`` (a time in words) and ``methods``, each with its ``role``, ``value``, the ``error`` of
    that value (standard error over the samples), their ``spread`` (standard deviation, of the logarithm for the
    geometric mean) and their number ``n``. Methods are the closure, what it corrects, the uncorrected solver, the best
    classical method on the same grid (``best``) and those on finer ones. Shares are fractions; numbers that are not
    finite are None.
    """
    counting = dict.fromkeys([*str(results.attribute("verdicts", "")).split(), results.error.name])
    views = [results.counting(metric) for metric in counting if results.has(metric, name)]
    tables = [_table(view, name) for view in views]
    return {"closure": name, "simulations": results.simulations, "sample": results.sample, "tables": tables}


def differences(found: Mapping[str, Any], stated: Mapping[str, Any]) -> Iterator[tuple[str, float, str]]:
    """Numbers of a repetition, of all methods, beside those of a card.

    Yields
    ------
    What is compared, the difference over the allowed one (:func:`allowed`), and both numbers in words.
    """
    there = {(t["metric"], row["at"]): row["methods"] for t in found["tables"] for row in t["rows"]}
    for table in stated["tables"]:
        for row in table["rows"]:
            methods = there.get((table["metric"], row["at"]), {})
            for method, entry in row["methods"].items():
                what = f"{table['title']} of {method} at {row['at']}"
                value = methods.get(method, {}).get("value")
                yield what, _beyond(value, entry), f"card {_shown(entry['value'])}, here {_shown(value)}"


def allowed(entry: Mapping[str, Any]) -> float:
    """How far a repetition may be from an entry: round-off, or a part of the standard error if that is more."""
    return max(ROUND_OFF * abs(entry["value"]), PART_OF_SPREAD * (entry["error"] or 0.0))


def gain(card: Mapping[str, Any]) -> str:
    """The last number of the first held-out table beside the best classical method's, in words; else nothing."""
    runs = [run for run in card["evaluations"].get("full", ()) if run["tables"]]
    if not runs:
        return ""
    table, row = runs[0]["tables"][0], runs[0]["tables"][0]["rows"][-1]
    text = f"{_of(table)}{table['title']} {in_words(row['methods'][runs[0]['closure']], table)}"
    best = row["methods"].get(table["best"] or "")
    return text + ("" if best is None else f" ({table['best']} {in_words(best, table)})") + f" at {row['at']}"


def in_words(entry: Mapping[str, Any], table: Mapping[str, Any], *, spread: bool = False) -> str:
    """A value with its unit, and with its spread."""
    if entry["value"] is None:
        return "not finite"
    factor, unit = (100, " %") if table["percent"] else (1, "")
    text = f"{factor * entry['value']:.3g}"
    if spread and entry["spread"] is not None and table["of"] != "geometric":
        text += f" ± {factor * entry['spread']:.2g}"
    return text + unit


def _of(table: Mapping[str, Any]) -> str:
    return {"mean": "", "median": "median ", "geometric": "geometric mean of "}[table["of"]]


def _table(results: Results, name: str) -> dict[str, Any]:
    metric, best = results.error, best_baseline(results, name)
    beside = dict.fromkeys([name, results.uncorrected_for(name), results.corrects(name), best or name])
    kept = [n for n in results.named(*ROLES) if n in beside or n in results.fine_baselines]
    timed = "time" in results.data[metric.name].dims
    rows = []
    for step in steps_shown(results) if timed else [0]:
        if timed and step == 0 and results.steps > 0:
            continue
        methods = {n: {"role": str(results.roles[n]), **_entry(results, n, step)} for n in kept}
        rows.append({"at": results.moment(step) if timed else "the end", "methods": methods})
    facts = {"metric": metric.name, "title": metric.title, "percent": metric.percent, "better": metric.better}
    return {**facts, "of": metric.aggregate, "best": best, "rows": rows}


def _entry(results: Results, name: str, step: int) -> dict[str, Any]:
    values = results.errors(name)[:, step]
    values = results.samples(np.where(np.isnan(values), np.inf, values))
    kind, n = results.error.aggregate, len(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(aggregate(values, kind))
        if kind == "geometric":
            spread = float(np.std(np.log(values)))
            error = value * spread / math.sqrt(n)
        else:
            spread = float(np.std(values))
            error = spread / math.sqrt(n)
        if kind == "median":  # of which outliers are to say nothing: from the quartiles, as for a normal distribution
            low, high = np.quantile(values, [0.25, 0.75])
            spread = float(high - low) / 1.349
            error = 1.253 * spread / math.sqrt(n)
    return {"value": _short(value), "error": _short(error), "spread": _short(spread), "n": n}


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None


def _beyond(value: float | None, entry: Mapping[str, Any]) -> float:
    if value is None or entry["value"] is None:
        return 0.0 if value is entry["value"] else math.inf
    return abs(value - entry["value"]) / max(allowed(entry), 1e-300)


def _shown(value: float | None) -> str:
    return "none that is finite" if value is None else f"{value:.6g}"
