"""A benchmark in a file: all its numbers, without fields, from which tables and figures can be made again."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from closura.evaluation.fronts.benchmark import CALLS, Fronts, Point
from closura.evaluation.fronts.contender import Contender, Horizon, Suite
from closura.evaluation.fronts.timing import StepTime
from closura.files import write_atomically
from closura.metrics.statistics import spread


def short(value: float | int) -> float | int | None:
    """Four significant digits; None for what is not finite."""
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(f"{value:.4g}") if math.isfinite(value) else None


def as_json(fronts: Fronts) -> dict[str, Any]:
    """All numbers, per simulation too; null for what is not finite."""
    suite = fronts.suite
    contenders = []
    for name, point in fronts.points.items():
        c = point.contender
        errors: dict[str, Any] = {}
        for truth in suite.truths:
            errors[truth] = {}
            for time, label in enumerate(suite.times):
                found = spread(point.errors[truth][:, time])
                kept = {k: short(found[k]) for k in ("mean", "std", "median", "mean_of_finite", "not_finite")}
                errors[truth][label] = {
                    "typical": short(fronts.error(name, truth, time)),
                    **kept,
                    "front": [call for call in CALLS if name in fronts.front(truth, call, time)],
                    "paired": {k: short(v) for k, v in fronts.paired(name, truth, time)._asdict().items()},
                    "per_simulation": [short(e) for e in point.errors[truth][:, time]],
                }
        contenders.append(
            {
                "name": name, "family": c.family, "kind": c.kind, "points": c.points, "step": c.rule, "note": c.note,
                "no_place_on": sorted(c.kin),
                "steps_per_unit_of_time": short(point.frequency), "diverged": point.diverged,
                "milliseconds_per_unit_of_time": {
                    call: {k: short(v) for k, v in vars(cost).items()} for call, cost in point.cost.items()
                },
                "errors": errors,
                **({"horizons": _horizons(fronts, name)} if suite.horizons else {}),
            }
        )  # fmt: skip
    return {
        "problem": suite.problem, "simulations": suite.simulations, "times": list(suite.times), "coarse": suite.coarse,
        "measure": suite.measure, "percent": suite.percent, "typical": suite.typical, "truths": dict(suite.words),
        "reference": fronts.reference, "remarks": list(suite.remarks), "settings": plain(dict(fronts.settings)),
        **({"horizons": {each.name: short(each.end) for each in suite.horizons}} if suite.horizons else {}),
        "contenders": contenders,
    }  # fmt: skip


def _horizons(fronts: Fronts, name: str) -> dict[str, Any]:
    """By truth and name; those that reach the end are lower bounds."""
    found: dict[str, Any] = {}
    for truth in fronts.suite.truths:
        found[truth] = {}
        for each in fronts.suite.horizons:
            times = fronts.points[name].horizons[truth][each.name]
            found[truth][each.name] = {
                "mean": short(float(times.mean())), "std": short(float(times.std())),
                "median": short(float(np.median(times))), "at_the_end": int((times >= each.end * (1 - 1e-9)).sum()),
                "paired": {k: short(v) for k, v in fronts.longer(name, truth, each.name)._asdict().items()},
                "per_simulation": [short(t) for t in times],
            }  # fmt: skip
    return found


def write_json(fronts: Fronts, path: str | Path) -> Path:
    """:func:`as_json` in a file, one contender per line."""
    whole = as_json(fronts)
    contenders = whole.pop("contenders")
    head = json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)
    lines = ",\n".join(json.dumps(c, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for c in contenders)
    return write_atomically(path, f'{head[:-2]},\n "contenders": [\n{lines}\n ]\n}}\n')


def read_json(path: str | Path) -> Fronts:
    """What :func:`write_json` wrote; its contenders cannot be run again.

    Raises
    ------
    ValueError
        If it is no such file.
    FileNotFoundError
        If there is none.
    """
    try:
        found = json.loads(Path(path).read_text())
        points = {each["name"]: _point(each, found["times"]) for each in found["contenders"]}
        suite = Suite(
            problem=found["problem"], draws=None, simulations=found["simulations"], times=tuple(found["times"]),
            contenders=tuple(point.contender for point in points.values()),
            truths=dict.fromkeys(found["truths"], _gone), words=found["truths"], error=_gone, coarse=found["coarse"],
            typical=found["typical"], percent=found["percent"], measure=found["measure"],
            remarks=tuple(found["remarks"]),
            horizons=tuple(Horizon(name, _gone, end) for name, end in found.get("horizons", {}).items()),
        )  # fmt: skip
        return Fronts(suite, points, found["reference"], found["settings"])
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} holds no benchmark that closura can read: {error!r}") from error


def _point(each: dict[str, Any], times: list[str]) -> Point:
    contender = Contender(
        name=each["name"], family=each["family"], kind=each["kind"], points=each["points"], rule=each["step"],
        run=_gone, work=_gone, work_key=each["name"], kin=frozenset(each["no_place_on"]), note=each["note"],
    )  # fmt: skip
    errors = {
        truth: np.asarray([_numbers(by_time[time]["per_simulation"], math.inf) for time in times], np.float64).T
        for truth, by_time in each["errors"].items()
    }
    cost = {
        call: StepTime(*_numbers([quartiles[q] for q in ("lower", "median", "upper")], math.nan))
        for call, quartiles in each["milliseconds_per_unit_of_time"].items()
    }
    frequency = _numbers([each["steps_per_unit_of_time"]], math.nan)[0]
    horizons = {
        truth: {name: np.asarray(found["per_simulation"], np.float64) for name, found in by_name.items()}
        for truth, by_name in each.get("horizons", {}).items()
    }
    return Point(contender, errors, frequency, cost, each["diverged"], horizons)


def _numbers(values: list[float | None], missing: float) -> list[float]:
    return [missing if value is None else float(value) for value in values]


def _gone(*_: Any) -> NoReturn:
    raise ValueError("this benchmark was read from a file: its simulations cannot be run again")
