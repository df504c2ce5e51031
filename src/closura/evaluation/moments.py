"""An evaluation at chosen steps: errors of all methods there, and how many simulations are lost by then."""

from typing import Any

import numpy as np

from closura.evaluation.metrics import quantile_per_step, spread
from closura.evaluation.results import Evaluation

STEPS_SHOWN = (10, 25, 50, 100, 200, 400)
"""Steps that tables show where so many were simulated: those of Closure-RL's figures, and twice as far."""

WHOLE = 1.0
"""A relative error of 100 %: the field is as wrong as a field of nothing."""


def steps_shown(evaluation: Evaluation, at: tuple[int, ...] = STEPS_SHOWN) -> tuple[int, ...]:
    """Those of the steps that were simulated, and the last one.

    Raises
    ------
    ValueError
        If a step is not positive.
    """
    if any(step < 1 for step in at):
        raise ValueError(f"steps to show must be positive; got {at}")
    return tuple(sorted({*(step for step in at if step <= evaluation.steps), evaluation.steps}))


def errors_at(evaluation: Evaluation, name: str, step: int, chosen: np.ndarray | None = None) -> dict[str, Any]:
    """Errors of one method at one step, over all simulations or a selection of them.

    Spread as in :func:`closura.evaluation.metrics.spread`, with the quartiles; ``n``; ``diverged``, the number
    lost until then; ``above_100_percent``, the number with a larger error or none that is finite;
    ``relative_to_initial`` (mean, std, median) where the evaluation knows the size of the initial field.
    """
    method = evaluation.methods[name]
    pick = np.ones(evaluation.simulations, bool) if chosen is None else chosen
    error, lost = method.error[pick, step], method.lost_at[pick]
    result: dict[str, Any] = {
        **spread(error),
        "lower_quartile": float(quantile_per_step(error[:, None], 0.25)[0]),
        "upper_quartile": float(quantile_per_step(error[:, None], 0.75)[0]),
        "n": int(pick.sum()),
        "diverged": int(np.sum((lost >= 0) & (lost <= step))),
        "above_100_percent": int(np.sum(~(error <= WHOLE))),
    }
    initial = evaluation.initial_error(name)
    if initial is not None:
        values = spread(initial[pick, step])
        result["relative_to_initial"] = {key: values[key] for key in ("mean", "std", "median", "mean_of_finite")}
    return result


def by_step(evaluation: Evaluation, at: tuple[int, ...] = STEPS_SHOWN) -> list[dict[str, Any]]:
    """For each chosen step: ``step``, ``time``, and ``methods`` with :func:`errors_at` of each that is judged."""
    return [
        {
            "step": step,
            "time": step * evaluation.time_step,
            "methods": {name: errors_at(evaluation, name, step) for name in evaluation.judged},
        }
        for step in steps_shown(evaluation, at)
    ]


def group_names(evaluation: Evaluation) -> tuple[str, ...]:
    """The groups that simulations fall into, short names first; none where there are none."""
    return tuple(sorted(set(evaluation.groups), key=lambda name: (len(name), name)))


def by_group(evaluation: Evaluation, at: tuple[int, ...] = STEPS_SHOWN) -> dict[str, dict[str, Any]]:
    """For each group: ``n`` and ``steps``, a list as :func:`by_step` gives it, over its simulations alone."""
    member, steps = np.asarray(evaluation.groups), steps_shown(evaluation, at)
    return {
        group: {
            "n": int(np.sum(member == group)),
            "steps": [
                {
                    "step": step,
                    "time": step * evaluation.time_step,
                    "methods": {name: errors_at(evaluation, name, step, member == group) for name in evaluation.judged},
                }
                for step in steps
            ],
        }
        for group in group_names(evaluation)
    }
