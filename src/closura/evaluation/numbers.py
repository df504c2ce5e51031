"""All numbers of an evaluation in one dictionary, ready for JSON."""

import math
from typing import Any

import numpy as np

from closura.evaluation.bases import improvement_on, worse_than_base
from closura.evaluation.metrics import (
    mean_per_step,
    paired_difference,
    plain,
    quantile_per_step,
    spread,
    std_per_step,
    steps_below_threshold,
)
from closura.evaluation.moments import STEPS_SHOWN, by_group, by_step
from closura.evaluation.results import Evaluation


def summary(
    evaluation: Evaluation,
    *,
    reference: str | None = None,
    published: bool = False,
    at: tuple[int, ...] = STEPS_SHOWN,
) -> dict[str, Any]:
    """All numbers of an evaluation as plain Python values, ready for JSON (not finite: None).

    Errors are fractions. Every method has its error at the last step under the name that ``error`` says
    (``relative_mae``, ``relative_l2_error``), the same with ``_per_step`` (index 0 = initial state), ``diverged``,
    times in milliseconds, ``mass_error`` (the absolute relative error of the conserved ``quantity`` at the last step,
    or None), ``steps_below_threshold``, ``improvement`` (of the means, against the baseline; positive is better),
    ``base`` and ``improvement_on_base``, ``paired_difference_to_<baseline>`` (and to the base and the reference) and
    ``parameters``. Where errors are relative to the field at the same time, ``relative_to_initial`` and
    ``relative_to_initial_per_step`` refer them to the initial field. Closures have ``worse_than_base``. ``by_step``
    holds the errors at chosen steps, ``by_group`` the same for each group of simulations (see
    :mod:`closura.evaluation.moments`).

    Parameters
    ----------
    evaluation
        What was measured.
    reference
        Name of a method (say, the published closure) to which paired differences are added too.
    published
        Count simulations that never exceed the threshold as the published code does: see
        :func:`closura.evaluation.metrics.steps_below_threshold`.
    at
        Steps of ``by_step`` and ``by_group``; those that were not simulated are left out, the last one is added.

    Raises
    ------
    KeyError
        If ``reference`` is unknown.
    """
    if reference is not None:
        evaluation.method(reference)
    methods = {name: _entry(evaluation, name, reference, published) for name in evaluation.methods}
    result: dict[str, Any] = plain(
        {
            "problem": evaluation.problem,
            "steps": evaluation.steps,
            "simulations": evaluation.simulations,
            "time_step": evaluation.time_step,
            "time": evaluation.steps * evaluation.time_step,
            "baseline": evaluation.baseline,
            "truth": evaluation.truth,
            "error": evaluation.error_key,
            "methods": methods,
            "threshold": evaluation.threshold,
            "quantity": evaluation.quantity,
            "by_step": by_step(evaluation, at),
            "by_group": by_group(evaluation, at),
            "description": evaluation.description,
            "configuration": evaluation.configuration,
        }
    )
    return result


def _entry(evaluation: Evaluation, name: str, reference: str | None, published: bool) -> dict[str, Any]:
    method, base = evaluation.methods[name], evaluation.base(name)
    count, censored = steps_below_threshold(method.error, evaluation.threshold, published=published)
    steps = spread(count.astype(np.float64))
    key = evaluation.error_key
    entry: dict[str, Any] = {
        key: {**spread(_infinite(method.error[:, -1])), "n": evaluation.simulations},
        f"{key}_per_step": _per_step(method.error),
        "diverged": method.diverged,
        "milliseconds_per_step": method.milliseconds_per_step,
        "milliseconds_per_simulation": method.milliseconds_per_simulation,
        "mass_error": None if method.mass_error is None else spread(np.abs(_infinite(method.mass_error[:, -1]))),
        "steps_below_threshold": {
            **{key: steps[key] for key in ("mean", "std", "median", "min", "max")},
            "censored": int(censored.sum()),
            "time": {key: float(steps[key]) * evaluation.time_step for key in ("mean", "median")},
        },
        "improvement": improvement_on(evaluation, name, evaluation.baseline),
        "base": base if method.learned else None,
        "improvement_on_base": improvement_on(evaluation, name, base) if method.learned else math.nan,
        "worse_than_base": worse_than_base(evaluation, name) if method.learned and base != name else None,
        "parameters": method.parameters,
    }
    initial = evaluation.initial_error(name)
    if initial is not None:
        entry["relative_to_initial"] = spread(_infinite(initial[:, -1]))
        entry["relative_to_initial_per_step"] = _per_step(initial)
    for other in dict.fromkeys([evaluation.baseline, base, reference]):
        if other is not None and other != name:
            entry[f"paired_difference_to_{other}"] = paired_difference(evaluation, name, other)
    return entry


def _per_step(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"mean": mean_per_step(values), "median": quantile_per_step(values), "std": std_per_step(values)}


def _infinite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.inf)
