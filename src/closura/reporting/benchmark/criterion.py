"""When a closure pays, in words, tables, numbers and a figure: p of the classical front, and what k demands."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Metric, Results
from closura.metrics.criterion import Criterion, Demand, Estimate, criterion_of
from closura.metrics.pareto import CALLS, CLASSICAL, COST, Fronts
from closura.parts import file_name
from closura.reporting.benchmark.numbers import number, short
from closura.reporting.figure import figure
from closura.reporting.style import axis_label, plain_log_axis
from closura.reporting.table import Table, table
from closura.reporting.tables import write_rows

SAID = {"single": "one simulation at a time", "batched": "several per call"}
EXPLAINED = (
    "p = -d ln(error) / d ln(cost) along the front of classical methods; k: the cost with a closure over that of the "
    "solver that it corrects, at the same step. A closure pays where it divides the error by more than k^p, times the "
    "factor by which its solver errs more than the front at the same cost. Brackets: 95 %, bootstrap over simulations "
    "and turns of the clock."
)


class View(NamedTuple):
    """What one criterion is of."""

    reference: str
    metric: Metric
    time: int
    call: str

    def found(self, results: Results) -> Criterion:
        """The criterion itself."""
        return criterion_of(results, self.reference, self.metric.name, self.time, self.call)

    @property
    def words(self) -> str:
        """The metric and the reference."""
        return f"{self.metric.title} by {self.reference}"


def views(results: Results, *, every_time: bool = False) -> Iterator[View]:
    """Errors by every reference at the last time, or at all, and further metrics of which less is better at the last.

    References that leave the coarse solver no error of its own are left out.
    """
    fronts = Fronts(results)
    further = [metric for metric in fronts.further if metric.better == "lower"]
    for reference in fronts.references:
        if fronts.base not in fronts.ranked(reference) or results.roles[fronts.base] not in CLASSICAL:
            continue
        for metric in (results.metrics["error"], *further):
            last = len(fronts.times) - 1
            for time in range(len(fronts.times)) if every_time and metric.name == "error" else (last,):
                for call in CALLS:
                    yield View(reference, metric, time, call)


@table("criterion", needs=(COST,), order=1)
def criterion_tables(results: Results) -> list[Table]:
    """The exponent of every front, then what closures have to achieve, and the fronts themselves."""
    fronts, found = Fronts(results), list(views(results))
    if not found:
        return []
    at = f"t = {fronts.times[-1]}"
    rows = []
    for view in found:
        c = view.found(results)
        rows.append((view.words, [SAID[view.call], _near(c), _whole(c), estimate(c.off_front)]))
    base = f"{fronts.base}"
    headings = [f"at {at}", "calls", f"p from {base} on", "p of the whole front", f"{base} over the front at its cost"]
    main = Table(f"When a closure pays, {at}", headings, rows, EXPLAINED, left=("calls",))
    details = [t for view in found for t in _details(results, view, at)]
    return [main, *details]


def _details(results: Results, view: View, at: str) -> list[Table]:
    """What closures have to achieve by one metric, and the front behind it."""
    c, fronts = view.found(results), Fronts(results)
    # The reference that is trusted most comes last; all else is one click away.
    shown = view.metric.name == "error" and view.call == CALLS[0] and view.reference == list(fronts.references)[-1]
    title = f"{view.words}, {at}, {SAID[view.call]}"
    rows = [(f"kind {each.name}", _demanded(each)) for each in c.kinds]
    rows += [(each.name, _demanded(each)) for each in chosen(fronts, c)]
    headings = ["closure", "corrects", "k", "p", "has to divide the error by", "divides it by", "margin", "so it"]
    notes = [*(sentence(each) for each in chosen(fronts, c)), *(f"note: {words}." for words in c.words)]
    demanded = Table(f"What a closure has to achieve: {title}", headings, rows, "\n".join(notes),
                     left=("corrects", "so it"), shown=shown)  # fmt: skip
    scale = 100.0 if view.metric.percent else 1.0
    unit = ", %" if view.metric.percent else ""
    front = [
        (p.name, [number(p.cost), number(p.cost / c.cost), number(scale * p.error), number(p.exponent)])
        for p in c.points
    ]  # fmt: skip
    headings = [
        "method",
        "ms per unit of time",
        "over the coarse solver's",
        f"{view.metric.title}{unit}",
        "p to the next",
    ]
    return [demanded, Table(f"The classical front: {title}", headings, front, shown=False)]


def chosen(fronts: Fronts, c: Criterion) -> list[Demand]:
    """Of closures at several time steps on one grid the one with the largest margin."""
    best: dict[tuple[str, int], Demand] = {}
    for each in c.closures:
        place = fronts.fact(each.name, "family") + fronts.fact(each.name, "note"), fronts.fact(each.name, "points")
        kept = best.get(place)
        if kept is None or _margin(each) > _margin(kept):
            best[place] = each
    return list(best.values())


def _margin(each: Demand) -> float:
    value = math.nan if each.margin is None else each.margin.value
    return -math.inf if math.isnan(value) else value


def sentence(each: Demand) -> str:
    """Whether a closure pays, with its numbers."""
    assert each.margin is not None and each.gain is not None  # noqa: PT018
    costs = f"At {estimate(each.k)} times the cost of {each.base}"
    if each.lost and not each.gain.value > 0:
        return f"{each.name} does not pay: it lost {each.lost} simulations."
    if each.needed.value == 0:
        return f"{each.name} pays: no classical method is as cheap."
    least = "at least " if each.at_least else ""
    said = each.verdict if each.verdict != "undecided" else f"is undecided: its margin {estimate(each.margin)} holds 1"
    return (
        f"{each.name} {said}. {costs} it has to divide the error by {least}{estimate(each.needed)} and divides it by "
        f"{estimate(each.gain)}"
        + (f"; it lost {each.lost} simulations" if each.lost else "")
        + (", beyond the dearest classical method that was measured" if each.at_least else "")
        + "."
    )


def _demanded(each: Demand) -> list[str]:
    least = "≥ " if each.at_least else ""
    return [
        each.base, estimate(each.k), number(each.exponent.value), least + estimate(each.needed),
        "" if each.gain is None else estimate(each.gain), "" if each.margin is None else estimate(each.margin),
        each.verdict or "",
    ]  # fmt: skip


def estimate(found: Estimate) -> str:
    """A number with its interval, if there is one."""
    if math.isinf(found.value):
        return "∞"
    if math.isnan(found.low) or math.isnan(found.value):
        return number(found.value)
    low, high = ("∞" if math.isinf(end) else number(end) for end in (found.low, found.high))
    return f"{number(found.value)} [{low}, {high}]"


def _near(c: Criterion) -> str:
    return "–" if math.isnan(c.local.value) else f"{estimate(c.local)} (to {number(c.reach)} times the cost)"


def _whole(c: Criterion) -> str:
    points = f"({c.fitted} point{'' if c.fitted == 1 else 's'})"
    return f"{'–' if c.fitted < 2 else estimate(c.whole)} {points}"


def criterion_rows(results: Results, chosen: Iterable[View] | None = None) -> list[dict[str, Any]]:
    """A row for each fit and each closure: by every reference, at every time, by both kinds of calls, or of some."""
    fronts, rows = Fronts(results), []
    for view in views(results, every_time=True) if chosen is None else chosen:
        c = view.found(results)
        same: dict[str, Any] = {
            "metric": view.metric.title,
            "reference": view.reference,
            "time": fronts.times[view.time],
        }
        same |= {"calls": view.call, "coarse_solver": c.base}
        words = "; ".join(c.words)
        rows.append(same | {"what": "front, local", **_ends("p", c.local), "reach": short(c.reach), "words": words})
        rows.append(same | {"what": "front, whole", **_ends("p", c.whole), "points": c.fitted})
        for kind, demands in (("kind", c.kinds), ("closure", c.closures)):
            rows += [same | {"what": f"{kind} {each.name}", **_numbers(each)} for each in demands]
    return rows


def _ends(name: str, found: Estimate | None) -> dict[str, float | None]:
    found = found or Estimate(math.nan)
    return dict(zip((name, f"{name}_low", f"{name}_high"), map(short, found), strict=True))


def _numbers(each: Demand) -> dict[str, Any]:
    """What a closure has to achieve and does; of kinds without a gain."""
    return {
        "corrects": each.base, **_ends("p", each.exponent), **_ends("k", each.k), **_ends("needed", each.needed),
        **_ends("off_front", each.off_front), "needed_at_least": "yes" if each.at_least else "",
        **_ends("gain", each.gain), **_ends("margin", each.margin), "verdict": each.verdict or "", "lost": each.lost,
    }  # fmt: skip


def criterion_numbers(results: Results) -> list[dict[str, Any]]:
    """The same for JSON, with the fronts themselves."""
    fronts = Fronts(results)
    return [
        {
            "metric": view.metric.title, "reference": view.reference, "time": fronts.times[view.time],
            "calls": view.call, "coarse_solver": c.base, "cost": short(c.cost), "error": short(c.error),
            "local": {**_ends("p", c.local), "reach": short(c.reach)},
            "whole": {**_ends("p", c.whole), "points": c.fitted},
            "off_front": _ends("value", c.off_front),
            "front": [{"name": p.name, "cost": short(p.cost), "error": short(p.error), "p": short(p.exponent)}
                      for p in c.points],
            "kinds": {each.name: _numbers(each) for each in c.kinds},
            "closures": {each.name: _numbers(each) for each in c.closures},
            "words": list(c.words),
        }
        for view in views(results, every_time=True)
        for c in [view.found(results)]
    ]  # fmt: skip


def write_criterion_csv(results: Results, path: str | Path) -> Path:
    """Write :func:`criterion_rows`."""
    return write_rows(criterion_rows(results), path)


def _by_reference(results: Results) -> dict[str, dict[str, Any]]:
    return {f"-{file_name(view.reference)}": {"reference": view.reference}
            for view in views(results) if view.metric.name == "error"}  # fmt: skip


@figure(
    "criterion", needs=(COST,), order=2, variants=_by_reference,
    caption="What a closure has to achieve: the front of classical methods, and the error of the coarse solver divided "
    "by k^p, with the local p and its 95 % interval. Ticks are the costs of kinds of closures, stars "
    "are closures with their 95 % intervals: one below the front pays.",
)  # fmt: skip
def criterion_figure(results: Results, figure: Figure, *, reference: str | None = None) -> None:
    """Error against the cost over that of the coarse solver, both logarithmic; a panel for each kind of call."""
    reference = reference or next(iter(Fronts(results).references))
    metric = results.metrics["error"]
    figure.set_size_inches(11.0, 4.8)
    panels = list(figure.subplots(1, 2, sharey=True))
    for panel, call in zip(panels, CALLS, strict=True):
        _draw(panel, results, View(reference, metric, len(Fronts(results).times) - 1, call))
        panel.set_title(SAID[call], fontsize=10)
        panel.set_xlabel("cost over that of the coarse solver, k")
    panels[0].set_ylabel(f"{axis_label(metric)} at t = {Fronts(results).times[-1]}")
    figure.suptitle(f"{results.problem}, n = {results.simulations}; reference: {reference}", fontsize=10)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _draw(axes: Axes, results: Results, view: View) -> None:
    c, fronts = view.found(results), Fronts(results)
    if not (math.isfinite(c.cost) and 0 < c.error < math.inf and c.points):
        raise ValueError(f"{c.base} has no finite error and cost by {view.reference}; nothing to draw")
    scale = 100.0 if view.metric.percent else 1.0
    axes.set_xscale("log")
    axes.set_yscale("log")
    x = np.asarray([p.cost for p in c.points]) / c.cost
    y = scale * np.asarray([p.error for p in c.points])
    axes.plot(x, y, color="black", marker="o", markersize=4, linewidth=1.2, label="classical front", zorder=3)
    axes.plot(1, scale * c.error, color="#CC3311", marker="s", markersize=7, linestyle="none", zorder=4,
              label=f"coarse solver: {c.base}")  # fmt: skip
    if math.isfinite(c.local.value):
        k = np.geomspace(1, max(c.reach, 2.0), 50)
        said = f"coarse error over k^p, p = {estimate(c.local)}"
        axes.plot(k, scale * c.error * k**-c.local.value, color="#CC3311", linestyle="--", linewidth=1, label=said)
        if math.isfinite(c.local.low):
            low, high = (scale * c.error * k**-end for end in (c.local.low, c.local.high))
            axes.fill_between(k, low, high, color="#CC3311", alpha=0.15, linewidth=0)
    for each in c.kinds:
        if math.isfinite(each.k.value):
            axes.axvline(each.k.value, color="#999999", linewidth=0.8, linestyle=":", zorder=1)
            axes.annotate(each.name, (each.k.value, 1.0), xycoords=("data", "axes fraction"), xytext=(2, -3),
                          textcoords="offset points", fontsize=7, rotation=90, va="top", color="#666666")  # fmt: skip
    for each in chosen(fronts, c):
        at, error = fronts.cost(each.name, view.call) / c.cost, fronts.of(each.name, view.reference)
        value = scale * fronts.error(each.name, view.reference)
        if math.isfinite(at) and 0 < value < math.inf and len(error):
            axes.plot(at, value, color="#0077BB", marker="*", markersize=11, linestyle="none", zorder=5)
            axes.annotate(
                each.name, (at, value), xytext=(6, 4), textcoords="offset points", fontsize=7.5, color="#0077BB"
            )
    for axis in ("x", "y"):
        plain_log_axis(axes, axis)
