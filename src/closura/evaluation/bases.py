"""A closure beside the solver that it corrects: improvement on it, and where it does harm."""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int

from closura.evaluation.metrics import spread
from closura.evaluation.results import Evaluation


def worse_since(evaluation: Evaluation, name: str) -> Int[np.ndarray, "simulation"]:
    """First step, ``(simulation,)``, at which the error exceeds that of the closure's base; -1 for never.

    An error that is not finite exceeds every finite one and none that is not finite either.
    """
    own, base = (
        np.where(np.isfinite(error), error, np.inf)
        for error in (evaluation.methods[name].error, evaluation.methods[evaluation.base(name)].error)
    )
    worse = own > base
    return np.where(worse.any(axis=1), worse.argmax(axis=1), -1)


def worse_than_base(evaluation: Evaluation, name: str) -> dict[str, Any]:
    """In how many simulations a closure is worse than the solver that it corrects.

    Returns
    -------
    dict
        ``base``; ``simulations``, the number in which its error is larger at any step, and the ``first_step``
        of all and the ``median_first_step`` of these where that happens (None for never);
        ``at_last_step``, the number in which it is larger at the end; ``n``.
    """
    since = worse_since(evaluation, name)
    base = evaluation.base(name)
    own, other = (
        np.where(np.isfinite(last), last, np.inf)
        for last in (evaluation.methods[name].error[:, -1], evaluation.methods[base].error[:, -1])
    )
    found = since[since >= 0]
    return {
        "base": base,
        "simulations": len(found),
        "first_step": int(found.min()) if found.size else None,
        "median_first_step": float(np.median(found)) if found.size else None,
        "at_last_step": int(np.sum(own > other)),
        "n": evaluation.simulations,
    }


def improvement_on(evaluation: Evaluation, name: str, other: str) -> float:
    """Relative improvement of the mean error at the last step, positive is better; NaN where a mean is not finite."""
    own, base = (float(spread(evaluation.methods[each].error[:, -1])["mean"]) for each in (name, other))
    if not (np.isfinite(base) and np.isfinite(own)) or base <= 0:
        return float("nan")
    return (base - own) / base


def improvement_per_simulation(
    evaluation: Evaluation, name: str, other: str | None = None
) -> Float64[np.ndarray, "simulation step"]:
    """Relative improvement, (CGS - x) / CGS, of each simulation at each step, on the baseline or on ``other``.

    Minus infinity where the method is not finite but the other is; NaN where the other is 0 or not finite.
    Closure-RL, Fig. 2 and 4 (middle), draws the mean over simulations of minus this.

    Raises
    ------
    KeyError
        If a name is unknown.
    """
    base, own = (evaluation.method(each).error for each in (other or evaluation.baseline, name))
    usable = np.isfinite(base) & (base > 0)
    with np.errstate(over="ignore"):
        ratio = np.where(np.isfinite(own), own, np.inf) / np.where(usable, base, 1.0)
    return np.where(usable, 1.0 - ratio, np.nan)
