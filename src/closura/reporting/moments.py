"""Results at chosen steps: errors of all methods there, and how many simulations are lost by then."""

from typing import Any

import numpy as np

from closura.core import Results
from closura.metrics.statistics import geometric_mean, quantile_per_step, spread

STEPS_SHOWN = (10, 25, 50, 100, 200, 400)
"""Steps that tables show where so many were simulated: those of Closure-RL's figures, and twice as far."""

WHOLE = 1.0
"""A relative error of 100 %: the field is as wrong as a field of nothing."""


def steps_shown(results: Results, at: tuple[int, ...] = STEPS_SHOWN) -> tuple[int, ...]:
    """Those of the steps that were simulated, and the last one.

    Raises
    ------
    ValueError
        If a step is not positive.
    """
    if any(step < 1 for step in at):
        raise ValueError(f"steps to show must be positive; got {at}")
    return tuple(sorted({*(step for step in at if step <= results.steps), results.steps}))


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
        "above_100_percent": int(np.sum(~(error <= WHOLE))),
    }
    initial = results.relative_to_initial(name)
    if initial is not None:
        values = spread(initial[pick, step])
        result["relative_to_initial"] = {key: values[key] for key in ("mean", "std", "median", "mean_of_finite")}
    return result


def by_step(results: Results, at: tuple[int, ...] = STEPS_SHOWN) -> list[dict[str, Any]]:
    """For each chosen step: ``step``, ``time``, and ``methods`` with :func:`errors_at` of each that has an error."""
    return [
        {
            "step": step,
            "time": results.times[step],
            "methods": {name: errors_at(results, name, step) for name in results.compared},
        }
        for step in steps_shown(results, at)
    ]


def group_names(results: Results) -> tuple[str, ...]:
    """The groups that simulations fall into, short names first; none where there are none."""
    return tuple(sorted(set(results.groups), key=lambda name: (len(name), name)))


def by_group(results: Results, at: tuple[int, ...] = STEPS_SHOWN) -> dict[str, dict[str, Any]]:
    """For each group: ``n`` and ``steps``, a list as :func:`by_step` gives it, over its simulations alone."""
    member, steps = np.asarray(results.groups), steps_shown(results, at)
    return {
        group: {
            "n": int(np.sum(member == group)),
            "steps": [
                {
                    "step": step,
                    "time": results.times[step],
                    "methods": {name: errors_at(results, name, step, member == group) for name in results.compared},
                }
                for step in steps
            ],
        }
        for group in group_names(results)
    }
