"""The front drawn: error, or for how long simulations are good, against cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.evaluation.fronts.benchmark import CALLS, Fronts
from closura.reporting.style import figure_settings, new_figure, plain_log_axis, save_figure

# Colours after Paul Tol's schemes; families are told apart by marks too.
_COLOURS = ("#CC3311", "#EE7733", "#BBAA00", "#228833", "#882299", "#777777", "#AA6644", "#EE99AA", "#000000")
_CLOSURES = ("#0077BB", "#33BBEE", "#224488", "#66CCEE")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_TITLES = {"single": "one simulation at a time", "batched": "{} simulations per call"}


def front_figure(fronts: Fronts, truth: str, path: str | Path | None = None, *, time: int = -1) -> Figure:
    """Error against milliseconds per unit of simulated time, both logarithmic: down and left is better.

    One colour and mark per method; points of one method and grid are joined and labelled with their points per side.
    Points that no other dominates are joined by the black line. Closures are large stars. Contenders that lost a
    simulation are drawn hollow where they have a typical error, and are not drawn where they have none.

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    suite = fronts.suite
    names = [name for name in fronts.ranked(truth) if _timed(fronts, name) and fronts.error(name, truth, time) > 0]
    names = [name for name in names if np.isfinite(fronts.error(name, truth, time))]
    if not names:
        raise ValueError(f"no contender has a finite error by {truth} and a cost; nothing to draw")
    scale = 100.0 if suite.percent else 1.0
    value = {name: scale * fronts.error(name, truth, time) for name in fronts.ranked(truth)}
    front = {call: fronts.front(truth, call, time) for call in CALLS}
    with figure_settings():
        figure, axes = _panels(fronts, names, value, front)
        # A contender that all but blew up would press the others together.
        errors = [value[name] for name in names]
        high = min(max(errors), 30 * float(np.median(errors)))
        for panel in axes:
            panel.set_yscale("log")
            panel.set_ylim(min(errors) / 1.5, high * 1.4)
            plain_log_axis(panel, "y")
        unit = " (%)" if suite.percent else ""
        axes[0].set_ylabel(f"{suite.measure}{unit} at t = {suite.times[time]}")
        return _finished(figure, axes, fronts, truth, names, path)


def horizon_figure(fronts: Fronts, truth: str, path: str | Path | None = None, *, which: str | None = None) -> Figure:
    """For how long simulations are good against milliseconds per unit of simulated time: up and left is better.

    Marks as of :func:`front_figure`; simulations that diverged count with the time until then. ``which`` is the name of
    a horizon, usually the last one.

    Raises
    ------
    ValueError
        If the benchmark has no horizons, or nothing has a cost.
    """
    suite = fronts.suite
    names = [name for name in fronts.ranked(truth) if _timed(fronts, name)]
    if not suite.horizons or not names:
        raise ValueError(f"the benchmark of {suite.problem} says of nothing for how long it is good; nothing to draw")
    chosen = next(each for each in suite.horizons if each.name == (which or suite.horizons[-1].name))
    value = {name: fronts.horizon(name, truth, chosen.name) for name in names}
    front = {call: fronts.longest(truth, call, chosen.name) for call in CALLS}
    with figure_settings():
        figure, axes = _panels(fronts, names, value, front)
        for panel in axes:
            panel.set_ylim(0, 1.08 * max(value.values()))
            if max(value.values()) > 0.9 * chosen.end:
                panel.axhline(chosen.end, color="#999999", linewidth=0.7, linestyle=":")
        axes[0].set_ylabel(f"time with {chosen.name}")
        return _finished(figure, axes, fronts, truth, names, path)


def _timed(fronts: Fronts, name: str) -> bool:
    return all(np.isfinite(fronts.points[name].cost[call].median) for call in CALLS)


def _panels(
    fronts: Fronts, names: Sequence[str], value: Mapping[str, float], front: Mapping[str, Sequence[str]]
) -> tuple[Figure, list[Axes]]:
    """A panel for each kind of call: all points, the front, and costs along the axis."""
    figure = new_figure(11.0, 4.8)
    axes = list(figure.subplots(1, 2, sharey=True))
    for panel, call in zip(axes, CALLS, strict=True):
        panel.set_xscale("log")
        cost = {name: fronts.points[name].cost[call].median for name in names}
        _points(panel, fronts, cost, value)
        # Steps: until the next point is affordable, nothing is better.
        panel.step(
            [cost[name] for name in front[call] if name in cost], [value[name] for name in front[call] if name in cost],
            where="post", color="black", linewidth=1.3, zorder=2.5, label="front",
        )  # fmt: skip
        panel.set_xlim(min(cost.values()) / 1.8, max(cost.values()) * 1.5)
        plain_log_axis(panel, "x")
        panel.set_title(_TITLES[call].format(fronts.settings.get("batch", "several")), fontsize=10)
        panel.set_xlabel("ms per unit of simulated time and simulation")
    return figure, axes


def _finished(
    figure: Figure, axes: Sequence[Axes], fronts: Fronts, truth: str, names: Sequence[str], path: str | Path | None
) -> Figure:
    suite, missing = fronts.suite, len(fronts.ranked(truth)) - len(names)
    title = f"{suite.problem}, n = {suite.simulations}; truth: {truth} ({suite.words[truth]})"
    figure.suptitle(title + (f"; {missing} contenders that diverged are not drawn" if missing else ""), fontsize=10)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return save_figure(figure, path)


def _points(axes: Axes, fronts: Fronts, cost: Mapping[str, float], value: Mapping[str, float]) -> None:
    learned, classical = _families(fronts)
    for family in (*classical, *learned):
        closure = family in learned
        index = (learned if closure else classical).index(family)
        colour = (_CLOSURES if closure else _COLOURS)[index % len(_CLOSURES if closure else _COLOURS)]
        mark, size = ("*", 11.0) if closure else (_MARKS[index % len(_MARKS)], 4.5)
        own = [name for name in cost if fronts.points[name].contender.family == family]
        if not own:
            continue
        axes.plot([], [], color=colour, marker=mark, markersize=size, linestyle="none", label=family)
        for grid in sorted({fronts.points[name].contender.points for name in own}):
            here = [name for name in own if fronts.points[name].contender.points == grid]
            found = sorted((cost[name], value[name], name) for name in here)
            axes.plot(
                [x for x, _, _ in found], [y for _, y, _ in found], color=colour, linewidth=0.7, alpha=0.6, zorder=2
            )
            for x, y, name in found:
                lost = fronts.points[name].diverged > 0
                axes.plot(
                    x, y, color=colour, marker=mark, markersize=size, linestyle="none", zorder=4 if closure else 3,
                    markerfacecolor="white" if lost else colour, markeredgewidth=0.8,
                )  # fmt: skip
            x, y, _ = found[0]
            axes.annotate(
                str(grid), (x, y), xytext=(-3, -3), textcoords="offset points", fontsize=6.5, color=colour, ha="right",
                va="top", zorder=5,
            )  # fmt: skip


def _families(fronts: Fronts) -> tuple[list[str], list[str]]:
    """Closures and classical methods in an order that all figures of a benchmark share; what only truths use last."""
    found = sorted((p.contender for p in fronts.points.values()), key=lambda c: c.kind == "truth")
    learned = list(dict.fromkeys(c.family for c in found if c.kind == "closure"))
    return learned, list(dict.fromkeys(c.family for c in found if c.family not in learned))
