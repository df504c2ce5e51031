"""All numbers of a comparison in one dictionary, ready for JSON."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from closura.core import Metric, Registry, Results
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
from closura.reporting.moments import STEPS_SHOWN, by_group, by_step


@dataclass(frozen=True)
class NumbersKind:
    """What adds numbers to the JSON of results that have the variables it needs; see :func:`numbers`."""

    name: str
    of: Callable[[Results], dict[str, Any]]
    needs: tuple[str, ...]
    replaces: bool = False
    whole: bool = False
    rows: Callable[[Results], list[dict[str, Any]]] | None = None

    def suits(self, results: Results) -> bool:
        """Whether the results have what it needs."""
        return all(need in results.data for need in self.needs)


NUMBERS: Registry[NumbersKind] = Registry("number", NumbersKind)


def numbers(
    name: str,
    *,
    needs: Iterable[str],
    replaces: bool = False,
    whole: bool = False,
    rows: Callable[[Results], list[dict[str, Any]]] | None = None,
) -> Callable[[Callable[[Results], dict[str, Any]]], NumbersKind]:
    """Register a function that gives further numbers for the JSON of results with the variables of ``needs``.

    Those under ``methods`` join the numbers of each method; all others stand beside them. With ``replaces`` they take
    the place of entries of the same names, in files alone, or with ``whole`` of all of them. ``rows`` gives the rows of
    ``table.csv`` in place of those that all results have, one for each method.
    """
    return lambda of: NUMBERS.add(name, NumbersKind(name, of, tuple(needs), replaces or whole, whole, rows))


CONSERVATION = "conservation_error"
"""The relative change of what the equations conserve, without its sign."""


def error_key(results: Results) -> str:
    """The title of the metric that counts as a key of tables: ``relative_mae``."""
    return results.error.title.lower().replace(" ", "_")


def summary(
    results: Results,
    *,
    reference: str | None = None,
    published: bool = False,
    at: tuple[int, ...] = STEPS_SHOWN,
) -> dict[str, Any]:
    """All numbers of a comparison as plain Python values, ready for JSON (not finite: None).

    Errors are fractions. Every method has its error at the last step under the name that ``error`` says
    (``relative_mae``, ``relative_l2_error``), the same with ``_per_step`` (index 0 = initial state), ``role``,
    ``diverged``, times in milliseconds, ``mass_error`` (the absolute relative error of the conserved ``quantity`` at
    the last step, or None), ``steps_below_threshold`` where there is a threshold, ``improvement`` (of the means,
    against the uncorrected solver; positive is better), ``base`` (the method that it corrects) and
    ``improvement_on_base``, ``paired_difference_to_<uncorrected>`` (and to the base and the reference), ``parameters``,
    and every other metric by its name. Where errors are relative to the field at the same time,
    ``relative_to_initial`` and ``relative_to_initial_per_step`` refer them to the initial field. Closures have
    ``worse_than_base``; where the geometric mean counts, ``ratio`` is that by the uncorrected solver's. ``by_step``
    holds the errors at chosen steps, ``by_group`` the same for each group of simulations (see
    :mod:`closura.reporting.moments`).

    Parameters
    ----------
    results
        What was measured.
    reference
        Name of a method (say, the published closure) to which paired differences are added too.
    published
        Count simulations that never exceed the threshold as the published code does: see
        :func:`closura.metrics.statistics.steps_below_threshold`.
    at
        Steps of ``by_step`` and ``by_group``; those that were not simulated are left out, the last one is added.

    Raises
    ------
    KeyError
        If ``reference`` is unknown.
    """
    if reference is not None:
        results.check(reference)
    methods = {name: _entry(results, name, reference, published) for name in results.methods}
    found: dict[str, Any] = {}
    for kind in NUMBERS.all().values():
        if not kind.replaces and kind.suits(results):
            further = kind.of(results)
            for name, entry in further.pop("methods", {}).items():
                methods[name] |= entry
            found |= further
    found = plain(
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
            "metrics": {m.name: {"title": m.title, "unit": m.unit, "better": m.better, "aggregate": m.aggregate}
                        for m in results.metrics.values()},
            "methods": methods,
            "threshold": results.attribute("threshold"),
            "quantity": results.attribute("quantity"),
            "by_step": by_step(results, at),
            "by_group": by_group(results, at),
            "failures": results.failures,
            "description": results.description,
            "configuration": results.provenance,
        }
    )  # fmt: skip
    return found


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


def _entry(results: Results, name: str, reference: str | None, published: bool) -> dict[str, Any]:
    role, corrected, key = results.roles[name], results.corrects(name), error_key(results)
    milliseconds, errors = results.milliseconds(name), results.errors(name)
    entry: dict[str, Any] = {
        "role": str(role),
        key: spread_of(results.error, _infinite(results.last(name))),
        f"{key}_per_step": _per_step(errors),
        "diverged": results.diverged(name),
        "milliseconds_per_step": milliseconds,
        "milliseconds_per_simulation": milliseconds * results.steps if results.steps else math.nan,
        "mass_error": None,
        "improvement": improvement_on(results, name, results.uncorrected_for(name)),
        "base": corrected if role.learned else None,
        "improvement_on_base": improvement_on(results, name, corrected) if role.learned else math.nan,
        "worse_than_base": worse_than_corrected(results, name) if role.learned and corrected != name else None,
        "parameters": results.parameters(name),
    }
    if results.error.aggregate == "geometric":
        entry["ratio"] = paired_ratio(results, name, results.uncorrected_for(name))["ratio"]
    if results.attribute("threshold") is not None:
        entry["steps_below_threshold"] = _steps_below(results, name, published)
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
    for other in dict.fromkeys([results.uncorrected_for(name), corrected, reference]):
        if other is not None and other != name:
            entry[f"paired_difference_to_{other}"] = paired_difference(results, name, other)
    return entry


def _steps_below(results: Results, name: str, published: bool) -> dict[str, Any]:
    count, censored = steps_below_threshold(results.errors(name), results.attribute("threshold"), published=published)
    steps = spread(count.astype(np.float64))
    return {
        **{key: steps[key] for key in ("mean", "std", "median", "min", "max")},
        "censored": int(censored.sum()),
        "time": {key: float(steps[key]) * results.time_step for key in ("mean", "median")},
    }


def _per_step(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": mean_per_step(values), "median": quantile_per_step(values), "std": std_per_step(values)}


def _exists(results: Results, metric: Metric) -> np.ndarray:
    """Whether a metric exists at the end of each simulation: for some method it is a number."""
    known = ~np.isnan(results.data[metric.name].values).all(axis=0)
    return np.asarray(known if known.ndim == 1 else known[:, -1])


def _infinite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)


def all_numbers(results: Results, *, reference: str | None = None, published: bool = False) -> dict[str, Any]:
    """:func:`summary` as a problem's JSON has it: with the entries that take the place of others."""
    for kind in NUMBERS.all().values():
        if kind.whole and kind.suits(results):
            return {"problem": results.problem, **plain(kind.of(results))}
    found = summary(results, reference=reference, published=published)
    for kind in NUMBERS.all().values():
        if kind.replaces and kind.suits(results):
            found |= plain(kind.of(results))
    return found
