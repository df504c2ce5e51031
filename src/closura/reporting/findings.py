"""What a comparison says, in sentences made from its numbers.

The verdict on a closure is against the best method on the same grid that learns nothing, chosen by the results, with
its cost; worse is said as plainly as better.
"""

import math

import numpy as np

from closura.core import Results, Role
from closura.core.metric import CONSERVATION
from closura.metrics.comparison import paired_difference, paired_ratio, worse_than_corrected
from closura.metrics.statistics import aggregate, spread, steps_below_threshold
from closura.reporting.formatting import cost_beside, percent, quantity, standing, times
from closura.reporting.numbers import group_names
from closura.reporting.style import amount, axis_label


def findings(results: Results) -> dict[str, list[str]]:
    """Sentences for each closure: divergence, error, best baseline, low-error steps, conservation, cost."""
    return {name: _closure(results, name) for name in results.closures}


def best_baseline(results: Results, name: str | None = None) -> str | None:
    """The method on the same grid that learns nothing, the uncorrected one included, that does best at the last step.

    By the aggregate of the metric that counts, and the median where that is not finite; with a ``name``, on the grid
    of that method. None where every method learns.
    """
    sign = -1.0 if results.error.better == "higher" else 1.0

    def size(name: str) -> tuple[float, float]:
        last = results.last(name)
        middle = aggregate(sign * last, results.error.aggregate)
        return middle, float(spread(sign * last)["median"])

    same = results.methods if name is None else results.on_grid_of(name)
    classical = [n for n in results.named(Role.UNCORRECTED, Role.BASELINE) if n in same]
    return min(classical, key=size, default=None)


def verdict(results: Results, name: str) -> str:
    """A closure beside the best method on the same grid that learns nothing: errors, how sure, cost."""
    best = best_baseline(results, name)
    return (
        "No classical method on the same grid was evaluated."
        if best is None
        else _against(results, name, best, cost=True)
    )


def further_verdicts(results: Results, name: str) -> list[str]:
    """The same by each further metric that the results name in their attribute ``verdicts``, separated by spaces."""
    views = [results.counting(metric) for metric in str(results.attribute("verdicts", "")).split()]
    return [f"By {axis_label(view.error)}: {verdict(view, name)}" for view in views if view.has(view.error.name, name)]


def _closure(results: Results, name: str) -> list[str]:
    best, sentences = best_baseline(results, name), []
    if best is None:
        return [verdict(results, name)]
    if lost := results.diverged(name):
        sentences.append(f"Diverged in {lost} of {results.simulations} simulations.")
    sentences += [verdict(results, name), *further_verdicts(results, name)]
    if not results.baselines:
        sentences.append("No other classical method on the same grid was evaluated.")
    others = dict.fromkeys([results.corrects(name), results.uncorrected_for(name), *results.fine_baselines])
    sentences += [_against(results, name, other) for other in others if other != best]
    if results.corrects(name) != name and results.steps > 0:
        sentences.append(_harm(results, name))
    sentences += _below_threshold(results, name) + _initial(results, name) + _groups(results, name)
    if results.has(CONSERVATION, name) and results.has(CONSERVATION, results.uncorrected):
        ends = (results.of(CONSERVATION, each) for each in (name, results.uncorrected))
        mine, theirs = (spread(np.abs(end[:, -1] if end.ndim == 2 else end)) for end in ends)
        sentences.append(
            f"Its {results.attribute('quantity', 'mass')} error at the last step is {percent(mine['median'])} % "
            f"({results.uncorrected}: {percent(theirs['median'])} %; medians)."
        )
    sentences.extend(_cost(results, name, best))
    return sentences


def _called(results: Results, name: str, other: str) -> str:
    """A method that a closure stands beside, with all that it is."""
    facts = []
    if other == results.corrects(name) and results.roles[other] is not Role.UNCORRECTED:
        facts.append("the solver that it corrects")
    if results.roles[other] is Role.UNCORRECTED:
        facts.append("no closure")
    if results.baselines and other == best_baseline(results, name):
        facts.append("the best classical method on this grid")
    if other in results.fine_baselines:
        facts.append("on a finer grid")
    return ", ".join([other, *([" and ".join(facts)] if facts else [])])


def _harm(results: Results, name: str) -> str:
    found = worse_than_corrected(results, name)
    if not found["simulations"]:
        return f"It never does worse than {found['base']}, in any simulation at any step."
    return (
        f"It does worse than {found['base']} at some step in {found['simulations']} of {found['n']} simulations "
        f"(first at {results.moment(found['first_step'])}), and at the last step in {found['at_last_step']}."
    )


def _below_threshold(results: Results, name: str) -> list[str]:
    threshold = results.attribute("threshold")
    if threshold is None:
        return []
    own, theirs = (
        float(np.median(steps_below_threshold(results.errors(each), threshold)[0]))
        for each in (name, results.uncorrected)
    )
    return [
        f"Its {results.error.title} stays below {amount(results.error, threshold)} for {own:g} steps, time "
        f"{own * results.time_step:.3g} ({results.uncorrected}: {theirs:g}, time {theirs * results.time_step:.3g}; "
        f"medians, {results.steps} steps simulated)."
    ]


def _initial(results: Results, name: str) -> list[str]:
    both = [results.relative_to_initial(each) for each in (name, results.uncorrected)]
    if any(error is None for error in both):
        return []
    mine, theirs = (spread(error[:, -1])["median"] for error in both if error is not None)
    return [
        f"Relative to the initial field its error at the end is {percent(mine)} % "
        f"({results.uncorrected}: {percent(theirs)} %; medians)."
    ]


def _groups(results: Results, name: str) -> list[str]:
    groups, member = group_names(results), np.asarray(results.groups)
    if len(groups) < 2:
        return []
    shares, unit = results.error.percent, " %" if results.error.percent else ""
    if results.sample != "simulation":
        other = results.corrects(name)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = results.last(name) / results.last(other)
        ends = [(f"{ratios[i]:.3g}", tuple(dict.fromkeys(results.groups))[i]) for i in np.argsort(ratios)[[0, -1]]]
        between = " and ".join(f"{value} ({group})" for value, group in ends)
        return [f"By {results.sample} its error is between {between} of that of {other}."]
    last = results.errors(name)[:, -1]
    medians = {group: float(spread(last[member == group])["median"]) for group in groups}
    best, worst = min(medians, key=lambda g: medians[g]), max(medians, key=lambda g: medians[g])
    text = (
        f"By group of simulations its median error at the end lies between {quantity(medians[best], shares)}{unit} "
        f"({best}) and {quantity(medians[worst], shares)}{unit} ({worst})"
    )
    above = [group for group in groups if shares and not np.all(last[member == group] <= 1.0)]
    if above:
        text += f"; {int(np.sum(~(last <= 1.0)))} simulations end above 100 % or diverged, in {', '.join(above)}"
    return [text + "."]


def _against(results: Results, name: str, other: str, *, cost: bool = False) -> str:
    error, shares = results.error, results.error.percent
    unit = " %" if shares else ""
    higher = error.better == "higher"
    mine, theirs = (spread(results.last(key), better=error.better) for key in (name, other))
    n, at = len(results.last(name)), ""
    if "time" in results.data[error.name].dims or "time" not in results.data.coords:
        at = f" at {results.moment(results.steps)}"
    bounds = ["≥ " if error.at_limit(results.errors(key)).any() else "" for key in (name, other)]
    sure = ""
    if error.aggregate == "geometric":
        ratio = paired_ratio(results, name, other)
        which, values = "geometric mean", [aggregate(results.last(k), "geometric") for k in (name, other)]
        found, wins = standing(ratio.low, ratio.high, even=1.0, better=error.better), ratio.better
        if math.isfinite(ratio.value):
            sure = f"; ratio {ratio.value:.3g}"
            if math.isfinite(ratio.low):
                sure += f" (95 % interval {ratio.low:.3g} to {ratio.high:.3g})"
    else:
        difference = paired_difference(results, name, other)
        which = "mean" if math.isfinite(mine["mean"]) and math.isfinite(theirs["mean"]) else "median"
        values, wins = [float(each[which]) for each in (mine, theirs)], int(difference["better"])
        low, high = float(difference["low"]), float(difference["high"])
        found = standing(low, high, better=error.better) if which == "mean" else ""
        if which == "mean":
            # A few bad simulations make a mean: the median tells how the others fare.
            medians = [quantity(float(each["median"]), shares) for each in (mine, theirs)]
            sure = f"; medians {medians[0]}{unit} against {medians[1]}{unit}"
        if which == "mean" and math.isfinite(low):
            scale, points = (100, " percentage points") if shares else (1, "")
            sure += (
                f"; paired difference {scale * float(difference['mean']):+.3g}{points} "
                f"(95 % interval {scale * low:+.3g} to {scale * high:+.3g})"
            )
    text = (
        f"Against {_called(results, name, other)}: {found or f'{which} {error.title}'}, "
        f"{bounds[0]}{quantity(values[0], shares)}{unit} against {bounds[1]}{quantity(values[1], shares)}{unit} "
        f"({which}{at}), "
        f"{'larger' if higher else 'smaller'} in {wins} of {n} {results.sample}s{sure}"
    )
    if cost:
        text += cost_beside(results.milliseconds(name), results.milliseconds(other), other)
    return text + "."


def _cost(results: Results, name: str, baseline: str) -> list[str]:
    own = results.milliseconds(name)
    if not (math.isfinite(own) and own > 0):
        return []
    parts = []
    for other in dict.fromkeys([results.uncorrected_for(name), baseline, *results.fine_baselines, results.reference]):
        if other is None or other == name:
            continue
        theirs = results.milliseconds(other)
        if math.isfinite(theirs) and theirs > 0:
            parts.append(times(own, theirs, other))
    compared = f": {', '.join(parts)}" if parts else ""
    return [f"A {results.attribute('cost', 'step')} costs {own:.3g} ms{compared}."]
