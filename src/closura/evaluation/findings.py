"""What an evaluation says, in sentences made from its numbers.

The closure stands beside the coarse solver, the best classical scheme on the same grid, and its cost; worse
is said as plainly as better.
"""

import math

import numpy as np

from closura.evaluation.metrics import paired_difference, spread, steps_below_threshold
from closura.evaluation.results import Evaluation
from closura.evaluation.tables import percent


def findings(evaluation: Evaluation) -> dict[str, list[str]]:
    """Sentences for each closure: divergence, error, best classical rival, low-error steps, mass, cost."""
    return {name: _closure(evaluation, name) for name in evaluation.closures}


def best_rival(evaluation: Evaluation) -> str | None:
    """The classical method with the smallest median error at the last step, the baseline excluded."""
    if not evaluation.rivals:
        return None
    return min(evaluation.rivals, key=lambda name: spread(evaluation.methods[name].error[:, -1])["median"])


def _closure(evaluation: Evaluation, name: str) -> list[str]:
    method, base = evaluation.methods[name], evaluation.methods[evaluation.baseline]
    sentences = []
    if method.diverged:
        sentences.append(f"Diverged in {method.diverged} of {evaluation.simulations} simulations.")
    if name != evaluation.baseline:
        sentences.append(_against(evaluation, name, evaluation.baseline, f"{evaluation.baseline}, no closure"))
    rival = best_rival(evaluation)
    if rival is None:
        sentences.append("No classical rival on the same grid was evaluated.")
    else:
        sentences.append(_against(evaluation, name, rival, f"{rival}, the best classical scheme on this grid"))
    own, others = (
        float(np.median(steps_below_threshold(each.error, evaluation.threshold)[0])) for each in (method, base)
    )
    sentences.append(
        f"It stays below a relative error of {100 * evaluation.threshold:g} % for {own:g} steps "
        f"({evaluation.baseline}: {others:g}; medians, {evaluation.steps} steps simulated)."
    )
    if method.mass_error is not None and base.mass_error is not None:
        mine, theirs = (spread(np.abs(each.mass_error[:, -1])) for each in (method, base))  # type: ignore[index]
        sentences.append(
            f"Its mass error at the last step is {percent(mine['median'])} % "
            f"({evaluation.baseline}: {percent(theirs['median'])} %; medians)."
        )
    sentences.extend(_cost(evaluation, name, rival))
    return sentences


def _against(evaluation: Evaluation, name: str, other: str, label: str) -> str:
    mine, theirs = (spread(evaluation.methods[key].error[:, -1]) for key in (name, other))
    difference = paired_difference(evaluation, name, other)
    n, wins = evaluation.simulations, difference["better"]
    which = "mean" if math.isfinite(mine["mean"]) and math.isfinite(theirs["mean"]) else "median"
    low, high = float(difference["low"]), float(difference["high"])
    if which == "median":
        verdict = f"{which} relative error"
    elif high < 0:
        verdict = "lower error"
    elif low > 0:
        verdict = "higher error"
    else:
        verdict = "no clear difference in error"
    text = (
        f"Against {label}: {verdict}, {percent(mine[which])} % against {percent(theirs[which])} % "
        f"({which} at step {evaluation.steps}), smaller in {wins} of {n} simulations"
    )
    if which == "mean" and math.isfinite(low):
        text += (
            f"; paired difference {100 * float(difference['mean']):+.3g} percentage points "
            f"(95 % interval {100 * low:+.3g} to {100 * high:+.3g})"
        )
    return text + "."


def _cost(evaluation: Evaluation, name: str, rival: str | None) -> list[str]:
    own = evaluation.methods[name].milliseconds_per_step
    if not (math.isfinite(own) and own > 0):
        return []
    parts = []
    for other in dict.fromkeys([evaluation.baseline, rival, evaluation.truth]):
        if other is None or other == name:
            continue
        theirs = evaluation.methods[other].milliseconds_per_step
        if math.isfinite(theirs) and theirs > 0:
            ratio = own / theirs
            words = f"{ratio:.3g} times as much" if ratio >= 1 else f"{1 / ratio:.3g} times less"
            parts.append(f"{words} than {other}" if ratio < 1 else f"{words} as {other}")
    compared = f": {', '.join(parts)}" if parts else ""
    return [f"A step costs {own:.3g} ms{compared}."]
