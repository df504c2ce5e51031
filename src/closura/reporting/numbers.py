"""All numbers of a comparison in one dictionary, ready for JSON: at the last step, at chosen steps, by group."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from closura.core import Metric, Registry, Results
from closura.core.metric import CONSERVATION
from closura.metrics.comparison import improvement_on, paired_difference, paired_ratio, worse_than_corrected
from closura.metrics.statistics import (
    geometric_mean,
    mean_per_step,
    quantile_per_step,
    spread,
    std_per_step,
    steps_below_threshold,
)
from closura.plain import plain
from closura.reporting.kind import Kind


@dataclass(frozen=True)
class NumbersKind(Kind):
    """Further numbers for the JSON of results.

    Those under ``methods`` join the numbers of each method; all others stand beside them. With ``replaces`` they take
    the place of entries of the same names, in files alone, or with ``whole`` of all of them. ``rows`` gives the rows of
    ``table.csv`` in place of those that all results have, one for each method.
    """

    replaces: bool = False
    whole: bool = False
    rows: Callable[[Results], list[dict[str, Any]]] | None = None


NUMBERS: Registry[NumbersKind] = Registry("number", NumbersKind)


def numbers(name: str, **settings: Any) -> Callable[[Callable[[Results], dict[str, Any]]], NumbersKind]:
    """Register a function that gives numbers of results; settings are those of :class:`NumbersKind`."""
    return lambda make: NUMBERS.add(name, NumbersKind(name, make, **settings))


STEPS_SHOWN = (10, 25, 50, 100, 200, 400)
"""Steps that tables show where so many were simulated: those of Closure-RL's figures, and twice as far."""


def error_key(results: Results) -> str:
    """The title of the metric that counts as a key of tables: ``relative_mae``."""
    return results.error.title.lower().replace(" ", "_")


def all_numbers(results: Results) -> dict[str, Any]:
    """:func:`summary` as a problem's JSON has it: with the entries that take the place of others."""
    kinds = [kind for kind in NUMBERS.all().values() if kind.suits(results)]
    for kind in kinds:
        if kind.whole:
            return {"problem": results.problem, **plain(kind.make(results))}
    found = summary(results)
    for kind in kinds:
        if kind.replaces:
            found |= plain(kind.make(results))
    return found


def summary(results: Results) -> dict[str, Any]:
    """All numbers of a comparison as plain Python values, ready for JSON (not finite: None).

    All shares are fractions; ``percent`` of a metric says that tables write it in percent. Every method has its
    error at the last step under the name that ``error`` says (``relative_mae``, ``relative_l2_error``), the same
    with ``_per_step`` (index 0 = initial state), ``role``, ``diverged``, times in milliseconds, ``mass_error`` (the
    absolute relative error of the conserved ``quantity`` at the last step, or None), ``steps_below_threshold``
    where there is a threshold, ``improvement`` (of the means, against the uncorrected solver; positive is better),
    ``base`` (the method that it corrects) and ``improvement_on_base``, ``paired_difference_to_<uncorrected>`` (and
    to the base), ``parameters``, and every other metric by its name. Where errors are relative to the field at the
    same time, ``relative_to_initial`` and ``relative_to_initial_per_step`` refer them to the initial field.
    Closures have ``worse_than_base``; where the geometric mean counts, ``ratio`` is that by the uncorrected
    solver's. ``by_step`` holds the errors at chosen steps (:func:`errors_at`), ``by_group`` the same for each group
    of simulations.
    """
    methods = {name: _entry(results, name) for name in results.methods}
    found: dict[str, Any] = {}
    for kind in NUMBERS.all().values():
        if not (kind.replaces or kind.whole) and kind.suits(results):
            further = kind.make(results)
            for name, entry in further.pop("methods", {}).items():
                methods[name] |= entry
            found |= further
    return plain(
        {
            **found,
            "problem": results.problem,
            "steps": results.steps,
            "simulations": results.simulations,
            "time_step": results.time_step,
            "time": results.times[-1],
            "baseline": results.uncorrected,
            "truth": results.reference,
            "error": error_key(results),
            "metrics": {metric.name: metric.facts for metric in results.metrics.values()},
            "methods": methods,
            "threshold": results.attribute("threshold"),
            "quantity": results.attribute("quantity"),
            "by_step": by_step(results),
            "by_group": by_group(results),
            "failures": results.failures,
            "description": results.description,
            "configuration": results.provenance,
        }
    )  # fmt: skip


def _entry(results: Results, name: str) -> dict[str, Any]:
    role, corrected, key = results.roles[name], results.corrects(name), error_key(results)
    uncorrected, milliseconds = results.uncorrected_for(name), results.milliseconds(name)
    entry: dict[str, Any] = {
        "role": str(role),
        key: spread_of(results.error, _infinite(results.last(name))),
        f"{key}_per_step": _per_step(results.errors(name)),
        "diverged": results.diverged(name),
        "milliseconds_per_step": milliseconds,
        "milliseconds_per_simulation": milliseconds * results.steps if results.steps else math.nan,
        "mass_error": None,
        "improvement": improvement_on(results, name, uncorrected),
        "base": corrected if role.learned else None,
        "improvement_on_base": improvement_on(results, name, corrected) if role.learned else math.nan,
        "worse_than_base": worse_than_corrected(results, name) if role.learned and corrected != name else None,
        "parameters": results.parameters(name),
    }
    if results.error.aggregate == "geometric":
        entry["ratio"] = paired_ratio(results, name, uncorrected).value
    if results.attribute("threshold") is not None:
        count, censored = steps_below_threshold(results.errors(name), results.attribute("threshold"))
        steps = spread(count.astype(np.float64))
        entry["steps_below_threshold"] = {
            **{key: steps[key] for key in ("mean", "std", "median", "min", "max")},
            "censored": int(censored.sum()),
            "time": {key: float(steps[key]) * results.time_step for key in ("mean", "median")},
        }
    for metric in results.metrics.values():
        if metric.name == results.error.name or not results.has(metric.name, name):
            continue
        values = results.of(metric.name, name)
        last = values if values.ndim == 1 else values[:, -1]
        if metric.name == CONSERVATION:
            entry["mass_error"] = spread(np.abs(_infinite(last)))
        else:
            last = results.samples(np.where(np.isnan(last) & _exists(results, metric), np.inf, last))
            entry[metric.name] = spread_of(metric, last[~np.isnan(last)])
    initial = results.relative_to_initial(name)
    if initial is not None:
        entry["relative_to_initial"] = spread(_infinite(initial[:, -1]))
        entry["relative_to_initial_per_step"] = _per_step(initial)
    for other in dict.fromkeys([uncorrected, corrected]):
        if other != name:
            entry[f"paired_difference_to_{other}"] = paired_difference(results, name, other)
    return entry


def spread_of(metric: Metric, values: np.ndarray) -> dict[str, Any]:
    """Spread of a metric over simulations, ``n`` of them: with the geometric mean where that is what counts.

    ``censored`` counts those that are lower bounds, where the metric has a limit.
    """
    if not len(values):
        return {key: math.nan for key in spread(np.zeros(1))} | {"not_finite": 0, "n": 0}
    found: dict[str, Any] = {**spread(values, better=metric.better), "n": len(values)}
    if metric.aggregate == "geometric":
        found["geometric_mean"] = geometric_mean(values)
    if math.isfinite(metric.limit):
        found["censored"] = int(metric.at_limit(values).sum())
    return found


def _per_step(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": mean_per_step(values), "median": quantile_per_step(values), "std": std_per_step(values)}


def _exists(results: Results, metric: Metric) -> np.ndarray:
    """Whether a metric exists at the end of each simulation: for some method it is a number."""
    known = ~np.isnan(results.data[metric.name].values).all(axis=0)
    return np.asarray(known if known.ndim == 1 else known[:, -1])


def _infinite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)


def steps_shown(results: Results) -> tuple[int, ...]:
    """Those of :data:`STEPS_SHOWN` that were simulated, and the last one."""
    return tuple(sorted({*(step for step in STEPS_SHOWN if step <= results.steps), results.steps}))


def errors_at(results: Results, name: str, step: int, chosen: np.ndarray | None = None) -> dict[str, Any]:
    """Errors of one method at one step, over all simulations or a selection of them.

    Spread as in :func:`closura.metrics.statistics.spread`, with the quartiles; ``n``; ``diverged``, the number
    lost until then; ``above_100_percent``, the number with a larger error or none that is finite;
    ``relative_to_initial`` (mean, std, median) where the size of the initial field is known.
    """
    pick = np.ones(results.simulations, bool) if chosen is None else chosen
    lost = results.diverged_at(name)[pick]
    error = results.errors(name)[pick, step]
    if chosen is None:
        error = results.samples(np.where(np.isnan(error), np.inf, error))
    sign = -1.0 if results.error.better == "higher" else 1.0
    quartiles = sorted(sign * float(quantile_per_step(sign * error[:, None], part)[0]) for part in (0.25, 0.75))
    result: dict[str, Any] = {
        **spread(error, better=results.error.better),
        "lower_quartile": quartiles[0],
        "upper_quartile": quartiles[1],
        "n": len(error),
        **({"geometric_mean": geometric_mean(error)} if results.error.aggregate == "geometric" else {}),
        "diverged": int(np.sum((lost >= 0) & (lost <= step))),
        "above_100_percent": int(np.sum(~(error <= 1.0))),
    }
    initial = results.relative_to_initial(name)
    if initial is not None:
        values = spread(initial[pick, step])
        result["relative_to_initial"] = {key: values[key] for key in ("mean", "std", "median", "mean_of_finite")}
    return result


def by_step(results: Results, chosen: np.ndarray | None = None) -> list[dict[str, Any]]:
    """For each shown step: ``step``, ``time``, and ``methods`` with :func:`errors_at` of each that has an error."""
    return [
        {
            "step": step,
            "time": results.times[step],
            "methods": {name: errors_at(results, name, step, chosen) for name in results.compared},
        }
        for step in steps_shown(results)
    ]


def group_names(results: Results) -> tuple[str, ...]:
    """The groups that simulations fall into, short names first; none where there are none."""
    return tuple(sorted(set(results.groups), key=lambda name: (len(name), name)))


def by_group(results: Results) -> dict[str, dict[str, Any]]:
    """For each group: ``n`` and ``steps``, a list as :func:`by_step` gives it, over its simulations alone."""
    members = {group: np.asarray(results.groups) == group for group in group_names(results)}
    return {group: {"n": int(member.sum()), "steps": by_step(results, member)} for group, member in members.items()}
