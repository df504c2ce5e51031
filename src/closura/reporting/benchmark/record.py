"""The numbers of a benchmark for JSON and CSV, and reading them again: tables and figures can be made of a file."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from closura.core import MethodResult, Metric, Results, Role
from closura.metrics.comparison import Paired
from closura.metrics.pareto import CALLS, COST, QUARTILES, Fronts
from closura.metrics.statistics import aggregate, spread
from closura.reporting.benchmark.criterion import criterion_numbers
from closura.reporting.benchmark.numbers import short
from closura.reporting.numbers import numbers
from closura.simulation.benchmark import assemble
from closura.simulation.sweep import Benchmark

KINDS = {Role.REFERENCE: "reference", Role.CLOSURE: "closure"}
"""How the file calls roles; all others are "classical"."""


def front_rows(results: Results) -> list[dict[str, Any]]:
    """One row per method, reference and time; errors are shares, empty where they are not finite.

    ``difference`` (of geometric means ``ratio``) is that of the error from the error of the method ``compared_with``,
    between ``difference_low`` and ``difference_high`` with 95 %.
    """
    fronts, rows = Fronts(results), []
    beside = "ratio" if results.error.aggregate == "geometric" else "difference"
    for name in results.methods:
        costs = {f"ms_{call}_{q}": short(fronts.cost(name, call, q)) for call in CALLS for q in QUARTILES}
        facts = _facts(fronts, name)
        for reference in fronts.references:
            for time, label in enumerate(fronts.times):
                found, on = fronts.paired(name, reference, time), fronts.calls_on_front(name, reference, time)
                rows.append(
                    {"method": name, **{key: facts[key] for key in ("family", "role", "points", "step")}}
                    | {"reference": reference, "time": label, "error": short(fronts.error(name, reference, time))}
                    | {"std": short(float(spread(fronts.errors(name, reference, time))["std"]))}
                    | {"simulations": results.simulations, "aggregate": results.error.aggregate}
                    | {"compared_with": fronts.compared_with, beside: short(found.value)}
                    | {f"{beside}_low": short(found.low), f"{beside}_high": short(found.high)}
                    | {"diverged": results.diverged(name)}
                    | {f"front_{call}": "yes" if call in on else "" for call in CALLS}
                    | costs
                    | _further(fronts, name, reference, time)
                )
    return rows


@numbers("fronts", needs=(COST,), whole=True, rows=front_rows)
def front_numbers(results: Results) -> dict[str, Any]:
    """All numbers of a benchmark, per simulation too; null for what is not finite."""
    fronts, error = Fronts(results), results.error
    methods = [
        {
            **_facts(fronts, name),
            "note": fronts.fact(name, "note"),
            "no_place_on": sorted(fronts.favoured_by(name)),
            "steps_per_unit_of_time": short(fronts.fact(name, "steps_per_time")),
            "diverged": results.diverged(name),
            "milliseconds_per_unit_of_time": {
                call: {q: short(fronts.cost(name, call, q)) for q in QUARTILES} for call in CALLS
            },
            "turns": {call: [_finite(each) for each in fronts.turns(name, call)] for call in CALLS},
            "corrects": fronts.corrected(name) if results.roles[name].learned else "",
            "errors": {
                reference: {t: _errors(fronts, name, reference, time) for time, t in enumerate(fronts.times)}
                for reference in fronts.references
            },
            **({"horizons": _horizons(fronts, name)} if fronts.followed else {}),
        }
        for name in results.methods
    ]
    return {
        "simulations": results.simulations, "times": list(fronts.times),
        "coarse": int(results.attribute("coarse")), "measure": error.title, "percent": error.percent,
        "typical": error.aggregate, "truths": fronts.references, "reference": fronts.compared_with,
        "remarks": json.loads(results.attribute("remarks")), "settings": results.provenance,
        **({"metrics": {m.name: m.facts for m in fronts.further}} if fronts.further else {}),
        **({"horizons": {each.title: short(each.limit) for each in fronts.followed}} if fronts.followed else {}),
        "uncorrected": fronts.base,
        "closure_kinds": {
            name: {call: fronts.closure_turns(name, call).tolist() for call in CALLS} for name in fronts.closure_kinds
        },
        "criterion": criterion_numbers(results),
        "contenders": methods,
    }  # fmt: skip


def _facts(fronts: Fronts, name: str) -> dict[str, Any]:
    """What a method is."""
    role = fronts.results.roles[name]
    return {
        "name": name, "family": fronts.fact(name, "family"), "kind": KINDS.get(role, "classical"), "role": str(role),
        "points": fronts.fact(name, "points"), "step": fronts.fact(name, "rule"),
    }  # fmt: skip


def _errors(fronts: Fronts, name: str, reference: str, time: int) -> dict[str, Any]:
    values = fronts.errors(name, reference, time)
    found = spread(values)
    return {
        "typical": short(fronts.error(name, reference, time)),
        **{k: short(found[k]) for k in ("mean", "std", "median", "mean_of_finite", "not_finite")},
        "front": fronts.calls_on_front(name, reference, time),
        "paired": _paired(fronts.paired(name, reference, time)),
        "per_simulation": [short(e) for e in values],
        **({"metrics": _further(fronts, name, reference, time)} if fronts.further else {}),
    }


def _further(fronts: Fronts, name: str, reference: str, time: int) -> dict[str, Any]:
    """Further metrics with their standard deviations."""
    found: dict[str, Any] = {}
    for metric in fronts.further:
        values = fronts.values(name, reference, metric.name, time)
        std = spread(values)["std"]
        found |= {metric.name: short(aggregate(values, metric.aggregate)), f"{metric.name}_std": short(float(std))}
    return found


def _paired(found: Paired) -> dict[str, Any]:
    return {key: short(value) for key, value in found._asdict().items() if key != "of_finite"}


def _horizons(fronts: Fronts, name: str) -> dict[str, Any]:
    """By reference and name; those that reach the end are lower bounds."""
    found: dict[str, Any] = {}
    for reference in fronts.references:
        found[reference] = {}
        for each in fronts.followed:
            times = fronts.results.of(fronts.variable(reference, each.name), name)
            found[reference][each.title] = {
                "mean": short(float(times.mean())), "std": short(float(times.std())),
                "median": short(float(np.median(times))), "at_the_end": int(each.at_limit(times).sum()),
                "paired": _paired(fronts.longer(name, reference, each.name)),
                "per_simulation": [short(t) for t in times],
            }  # fmt: skip
    return found


def read_json(path: str | Path) -> Results:
    """The results behind a ``fronts.json`` of this version or an earlier one, to four digits.

    Raises
    ------
    ValueError
        If it is no such file.
    FileNotFoundError
        If there is none.
    """
    try:
        found = json.loads(Path(path).read_text())
        followed = tuple(
            Metric(_identifier(title), _gone, title, unit="time", better="higher", series=True, limit=float(end))
            for title, end in found.get("horizons", {}).items()
        )
        error = Metric("error", _gone, found["measure"], percent=found["percent"], aggregate=found["typical"])
        benchmark = Benchmark(
            problem=found["problem"], times=tuple(found["times"]), methods={}, run=_gone, work=_gone,
            references=dict.fromkeys(found["truths"], _gone), reference_words=found["truths"], error=error,
            coarse=found["coarse"], remarks=tuple(found["remarks"]), followed=followed,
            uncorrected=found.get("uncorrected", ""),
        )  # fmt: skip
        methods = {each["name"]: _result(each, found, followed) for each in found["contenders"]}
        cost = [
            [_numbers([each["milliseconds_per_unit_of_time"][call][q] for q in QUARTILES], math.nan) for call in CALLS]
            for each in found["contenders"]
        ]
        turns = [
            [_numbers(each["turns"][call], math.nan) for call in CALLS]
            for each in found["contenders"]
            if "turns" in each
        ]
        kinds = {
            name: np.asarray([_numbers(each[call], math.nan) for call in CALLS])
            for name, each in found.get("closure_kinds", {}).items()
        }
        return assemble(
            benchmark, methods, np.asarray(cost), np.asarray(turns) if turns else None, kinds,
            compared_with=found["reference"], provenance=found["settings"],
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no benchmark that closura can read: {error!r}") from error


def _result(each: dict[str, Any], found: dict[str, Any], followed: tuple[Metric, ...]) -> MethodResult:
    values = {}
    for number, reference in enumerate(found["truths"]):
        end = "" if number == 0 else f"_{reference}"
        by_time = each["errors"][reference]
        errors = [_numbers(by_time[time]["per_simulation"], math.inf) for time in found["times"]]
        values[f"error{end}"] = np.asarray(errors, np.float64).T
        for metric in followed:
            times = each["horizons"][reference][metric.title]["per_simulation"]
            values[f"{metric.name}{end}"] = np.asarray(times, np.float64)
    at_coarse = Role.BASELINE if each["points"] == found["coarse"] else Role.FINE_BASELINE
    role = {"truth": Role.REFERENCE, "reference": Role.REFERENCE, "closure": Role.CLOSURE}.get(each["kind"], at_coarse)
    lost = np.asarray(~np.isfinite(values["error"]).all(axis=1))
    # The file counts simulations that diverged, and does not say which have finite errors all the same.
    lost[np.flatnonzero(~lost)[: max(each["diverged"] - int(lost.sum()), 0)]] = True
    return MethodResult(
        Role(each.get("role", role)), values, diverged_at=np.where(lost, len(found["times"]) - 1, -1),
        corrects=each.get("corrects", ""),
        facts={
            "family": each["family"], "points": each["points"], "rule": each["step"], "note": each["note"],
            "favoured_by": ",".join(each["no_place_on"]),
            "steps_per_time": _numbers([each["steps_per_unit_of_time"]], math.nan)[0],
        },
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _identifier(title: str) -> str:
    """The name of a metric, from its title: "correlation > 0.8" is ``correlation_time_80``."""
    return f"correlation_time_{round(100 * float(title.split('>')[1]))}"


def _numbers(values: list[float | None], missing: float) -> list[float]:
    return [missing if value is None else float(value) for value in values]


def _gone(*_: Any) -> NoReturn:
    raise ValueError("this benchmark was read from a file: its simulations cannot be run again")
