"""What an evaluation says, in sentences made from its numbers.

The closure stands beside the coarse solver, the best classical scheme on the same grid, and its cost; worse
is said as plainly as better.
"""

import math

import numpy as np

from closura.evaluation.bases import worse_than_base
from closura.evaluation.metrics import paired_difference, spread, steps_below_threshold
from closura.evaluation.moments import group_names
from closura.evaluation.results import Evaluation
from closura.evaluation.words import percent, short


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
    corrected = evaluation.base(name)
    sentences = []
    if method.diverged:
        sentences.append(f"Diverged in {method.diverged} of {evaluation.simulations} simulations.")
    if corrected != evaluation.baseline:
        sentences.append(_against(evaluation, name, corrected, f"{corrected}, the solver that it corrects"))
    sentences.append(_against(evaluation, name, evaluation.baseline, f"{evaluation.baseline}, no closure"))
    sentences.append(_harm(evaluation, name))
    rival = best_rival(evaluation)
    if rival is None:
        sentences.append("No classical rival on the same grid was evaluated.")
    elif rival != corrected:
        sentences.append(_against(evaluation, name, rival, f"{rival}, the best classical scheme on this grid"))
    sentences += [_against(evaluation, name, other, f"{other}, on a finer grid") for other in evaluation.finer]
    own, others = (
        float(np.median(steps_below_threshold(each.error, evaluation.threshold)[0])) for each in (method, base)
    )
    sentences.append(
        f"It stays below a relative error of {100 * evaluation.threshold:g} % for {own:g} steps, time "
        f"{own * evaluation.time_step:.3g} ({evaluation.baseline}: {others:g}, time "
        f"{others * evaluation.time_step:.3g}; medians, {evaluation.steps} steps simulated)."
    )
    sentences += _initial(evaluation, name) + _groups(evaluation, name)
    if method.mass_error is not None and base.mass_error is not None:
        mine, theirs = (spread(np.abs(each.mass_error[:, -1])) for each in (method, base))  # type: ignore[index]
        sentences.append(
            f"Its {evaluation.quantity} error at the last step is {percent(mine['median'])} % "
            f"({evaluation.baseline}: {percent(theirs['median'])} %; medians)."
        )
    sentences.extend(_cost(evaluation, name, rival))
    return sentences


def _harm(evaluation: Evaluation, name: str) -> str:
    found = worse_than_base(evaluation, name)
    if not found["simulations"]:
        return f"Its error never exceeded that of {found['base']}, in any simulation at any step."
    return (
        f"Its error exceeds that of {found['base']} at some step in {found['simulations']} of {found['n']} simulations "
        f"(first at {evaluation.moment(found['first_step'])}), and at the last step in {found['at_last_step']}."
    )


def _initial(evaluation: Evaluation, name: str) -> list[str]:
    both = [evaluation.initial_error(each) for each in (name, evaluation.baseline)]
    if any(error is None for error in both):
        return []
    mine, theirs = (spread(error[:, -1])["median"] for error in both if error is not None)
    return [
        f"Relative to the initial field, which decays, its error at the end is {percent(mine)} % "
        f"({evaluation.baseline}: {percent(theirs)} %; medians)."
    ]


def _groups(evaluation: Evaluation, name: str) -> list[str]:
    groups, member = group_names(evaluation), np.asarray(evaluation.groups)
    if len(groups) < 2:
        return []
    last = evaluation.methods[name].error[:, -1]
    medians = {group: float(spread(last[member == group])["median"]) for group in groups}
    best, worst = min(medians, key=lambda g: medians[g]), max(medians, key=lambda g: medians[g])
    above = [group for group in groups if not np.all(last[member == group] <= 1.0)]
    text = (
        f"By group of simulations its median error at the end lies between {percent(medians[best])} % ({best}) and "
        f"{percent(medians[worst])} % ({worst})"
    )
    if above:
        text += f"; {int(np.sum(~(last <= 1.0)))} simulations end above 100 % or diverged, in {', '.join(above)}"
    return [text + "."]


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
        f"({which} at {evaluation.moment(evaluation.steps)}), smaller in {wins} of {n} simulations"
    )
    if which == "mean":
        # A few bad simulations make a mean: the median tells how the others fare.
        text += f"; medians {percent(mine['median'])} % against {percent(theirs['median'])} %"
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
    for other in dict.fromkeys([evaluation.baseline, rival, *evaluation.finer, evaluation.truth]):
        if other is None or other == name:
            continue
        theirs = evaluation.methods[other].milliseconds_per_step
        if math.isfinite(theirs) and theirs > 0:
            ratio = own / theirs
            words = f"{short(ratio)} times as much" if ratio >= 1 else f"{short(1 / ratio)} times less"
            parts.append(f"{words} than {other}" if ratio < 1 else f"{words} as {other}")
    compared = f": {', '.join(parts)}" if parts else ""
    return [f"A step costs {own:.3g} ms{compared}."]
