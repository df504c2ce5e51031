"""What an evaluation says, in sentences made from its numbers.

The verdict on a closure is against the best method on the same grid that learns nothing, chosen by the results, with
its cost; worse is said as plainly as better.
"""

import math

import numpy as np

from closura.evaluation.bases import worse_than_base
from closura.evaluation.metrics import paired_difference, spread, steps_below_threshold
from closura.evaluation.moments import group_names
from closura.evaluation.results import Evaluation
from closura.evaluation.words import cost_beside, percent, standing, times


def findings(evaluation: Evaluation) -> dict[str, list[str]]:
    """Sentences for each closure: divergence, error, best classical scheme, low-error steps, mass, cost."""
    return {name: _closure(evaluation, name) for name in evaluation.closures}


def best_rival(evaluation: Evaluation) -> str:
    """The method on the same grid that learns nothing, baseline included, with the smallest error at the last step.

    By the mean over simulations, and the median where means are not finite.
    """

    def size(name: str) -> tuple[float, float]:
        error = spread(evaluation.methods[name].error[:, -1])
        return float(error["mean"]), float(error["median"])

    return min((evaluation.baseline, *evaluation.rivals), key=size)


def verdict(evaluation: Evaluation, name: str) -> str:
    """A closure beside the best method on the same grid that learns nothing: errors, how sure, cost."""
    return _against(evaluation, name, best_rival(evaluation), cost=True)


def _closure(evaluation: Evaluation, name: str) -> list[str]:
    method, base = evaluation.methods[name], evaluation.methods[evaluation.baseline]
    best = best_rival(evaluation)
    sentences = []
    if method.diverged:
        sentences.append(f"Diverged in {method.diverged} of {evaluation.simulations} simulations.")
    sentences.append(verdict(evaluation, name))
    if not evaluation.rivals:
        sentences.append("No classical rival on the same grid was evaluated.")
    others = dict.fromkeys([evaluation.base(name), evaluation.baseline, *evaluation.finer])
    sentences += [_against(evaluation, name, other) for other in others if other != best]
    sentences.append(_harm(evaluation, name))
    own, others_steps = (
        float(np.median(steps_below_threshold(each.error, evaluation.threshold)[0])) for each in (method, base)
    )
    sentences.append(
        f"It stays below a relative error of {100 * evaluation.threshold:g} % for {own:g} steps, time "
        f"{own * evaluation.time_step:.3g} ({evaluation.baseline}: {others_steps:g}, time "
        f"{others_steps * evaluation.time_step:.3g}; medians, {evaluation.steps} steps simulated)."
    )
    sentences += _initial(evaluation, name) + _groups(evaluation, name)
    if method.mass_error is not None and base.mass_error is not None:
        mine, theirs = (spread(np.abs(each.mass_error[:, -1])) for each in (method, base))  # type: ignore[index]
        sentences.append(
            f"Its {evaluation.quantity} error at the last step is {percent(mine['median'])} % "
            f"({evaluation.baseline}: {percent(theirs['median'])} %; medians)."
        )
    sentences.extend(_cost(evaluation, name, best))
    return sentences


def _called(evaluation: Evaluation, name: str, other: str) -> str:
    """A method that a closure stands beside, with all that it is."""
    facts = []
    if other == evaluation.base(name) and other != evaluation.baseline:
        facts.append("the solver that it corrects")
    if other == evaluation.baseline:
        facts.append("no closure")
    if evaluation.rivals and other == best_rival(evaluation):
        facts.append("the best classical scheme on this grid")
    if other in evaluation.finer:
        facts.append("on a finer grid")
    return ", ".join([other, " and ".join(facts)])


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


def _against(evaluation: Evaluation, name: str, other: str, *, cost: bool = False) -> str:
    mine, theirs = (spread(evaluation.methods[key].error[:, -1]) for key in (name, other))
    difference = paired_difference(evaluation, name, other)
    n, wins = evaluation.simulations, difference["better"]
    which = "mean" if math.isfinite(mine["mean"]) and math.isfinite(theirs["mean"]) else "median"
    low, high = float(difference["low"]), float(difference["high"])
    found = (standing(low, high) if which == "mean" else "") or f"{which} {evaluation.error_name}"
    text = (
        f"Against {_called(evaluation, name, other)}: {found}, {percent(mine[which])} % against "
        f"{percent(theirs[which])} % ({which} at {evaluation.moment(evaluation.steps)}), smaller in {wins} of {n} "
        "simulations"
    )
    if which == "mean":
        # A few bad simulations make a mean: the median tells how the others fare.
        text += f"; medians {percent(mine['median'])} % against {percent(theirs['median'])} %"
    if which == "mean" and math.isfinite(low):
        text += (
            f"; paired difference {100 * float(difference['mean']):+.3g} percentage points "
            f"(95 % interval {100 * low:+.3g} to {100 * high:+.3g})"
        )
    if cost:
        own, rival = (evaluation.methods[key].milliseconds_per_step for key in (name, other))
        text += cost_beside(own, rival, other)
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
            parts.append(times(own, theirs, other))
    compared = f": {', '.join(parts)}" if parts else ""
    return [f"A step costs {own:.3g} ms{compared}."]
