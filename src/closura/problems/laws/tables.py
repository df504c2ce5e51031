"""What tables and JSON of conservation laws have beside those of every comparison: failures, random conditions."""

import math
from typing import Any

import numpy as np

from closura.core import Results
from closura.metrics.statistics import geometric_mean
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.metrics import NORMS
from closura.problems.laws.random_conditions import random_summary
from closura.reporting.formatting import bounded
from closura.reporting.numbers import numbers, summary
from closura.reporting.table import Table, table


@table("failures", problems=LAW_PROBLEMS, needs=("failed_step",), order=5)
def failures(results: Results) -> list[Table]:
    """Where simulations failed, the first of each initial condition, and what may help."""
    rows = []
    for failure in _first_failures(results):
        cell = ", ".join(map(str, failure["cell"]))
        place = "" if failure["step"] is None else f"step {failure['step']}, cell {cell}"
        rows.append((failure["name"], [failure["initial"], place, failure["what"], failure["remedy"]]))
    words = ("initial condition", "first bad step and cell", "what was wrong", "what may help")
    return [Table("Failures", ["method", *words], rows, left=words)] if rows else []


@table("random", problems=LAW_PROBLEMS, needs=("random_error",), order=30)
def random_conditions(results: Results) -> list[Table]:
    """Random initial conditions: means, ratios, the share of simulations with a smaller error."""
    rows = []
    for row in random_summary(results):
        same = row["rival"] == row["method"]
        ratio, better = ("–", "–") if same else (bounded(row["ratio"], ".3f"), f"{100 * row['better']:.0f} %")
        cells = [
            row["family"],
            str(row["n"]),
            bounded(row["mean"], ".3e"),
            ratio,
            better,
            str(row["diverged"]),
            row["rival"],
        ]
        rows.append((row["method"], cells))
    headings = ["method", "family", "n", f"{results.error.title}, mean", "ratio", "better in", "diverged", "by that of"]
    points = results.data["random_cells"].values
    note = (
        "Random initial conditions of the published families with continuous parameters, N = int(2^U(6, 10)) cells "
        f"({points.min()} to {points.max()}). Geometric means are over those that neither method lost; lost ones count "
        "as worse."
    )
    return [Table("Random initial conditions", headings, rows, note, left=("family", "by that of"))]


@numbers("laws", needs=("failed_step", "remedy"), replaces=True)
def entries(results: Results) -> dict[str, Any]:
    """``methods``, ``means`` and ``details`` by method, initial condition and grid; failures; random conditions.

    The entries of :func:`closura.reporting.numbers.summary` by method are in ``statistics``. Initial conditions are
    named as the user wrote them, numbers of cells are strings.
    """
    data, groups = results.data, list(dict.fromkeys(results.groups))
    member = np.asarray(results.groups)
    found: dict[str, Any] = {"methods": {}, "means": {}, "details": {}}
    for name in results.methods:
        family, cells = results.family(name), str(data["points"].sel({"method": name}).item())
        other = str(data["compared_with"].sel({"method": name}).item())
        last = {metric: results.of(metric, name) for metric in results.metrics}
        lost = results.diverged_at(name) >= 0
        for group in groups:
            own = {metric: values[member == group] for metric, values in last.items()}
            at = found["methods"].setdefault(family, {}).setdefault(group, {})
            at[cells] = {**{norm: own[norm].mean() for norm in NORMS}, "diverged": bool(lost[member == group].any())}
            at = found["details"].setdefault(family, {}).setdefault(group, {})
            at[cells] = {
                **{key: own[key].mean() for key in ("total_variation", "total_variation_excess")},
                "conservation_error": _mean(own["conservation"]),
                "shock_position_error": _mean(own["shock_position_error"]),
                "steps": own["steps"].mean(),
                "simulations": int((member == group).sum()),
            }
        means = {n: {norm: geometric_mean(results.last(n, norm)) for norm in NORMS} for n in (name, other)}
        found["means"].setdefault(family, {})[cells] = {
            norm: {
                "geometric_mean": means[name][norm],
                "ratio": _quotient(means[name][norm], means[other][norm]),
                "rival": results.family(other),
            }
            for norm in NORMS
        }
    failed = [{k: v for k, v in each.items() if k not in ("name", "remedy")} for each in _first_failures(results)]
    found |= {"failures": failed, "settings": results.provenance, "statistics": summary(results)["methods"]}
    cost = {results.family(n): results.milliseconds(n) for n in results.methods if results.milliseconds(n) > 0}
    return {
        **found,
        **({"milliseconds_per_step": cost} if cost else {}),
        **({"scatter": random_summary(results)} if "random_error" in data else {}),
    }


def _first_failures(results: Results) -> list[dict[str, Any]]:
    """The first simulation that failed of each method, initial condition and grid."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for failure in results.failures:
        name, group = failure["method"], failure["group"]
        remedy = results.data["remedy"].sel({"method": name, "case": failure["case"]}).item()
        found.setdefault(
            (name, group),
            {
                "method": results.family(name), "initial": group,
                "cells": int(results.data["points"].sel({"method": name}).item()),
                **{key: failure[key] for key in ("step", "cell", "what")}, "name": name, "remedy": str(remedy),
            },
        )  # fmt: skip
    families, groups = (list(dict.fromkeys(each)) for each in (map(results.family, results.methods), results.groups))
    return sorted(found.values(), key=lambda each: (families.index(each["method"]), groups.index(each["initial"])))


def _mean(values: np.ndarray) -> float:
    """Of the values that exist."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _quotient(a: float, b: float) -> float:
    """``a / b``; NaN where ``b`` is zero or not finite, infinite where only ``a`` is infinite."""
    return a / b if math.isfinite(b) and b > 0 else math.nan
