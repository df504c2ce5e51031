"""The front drawn: error, or for how long simulations are good, against cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closura.core import Results, Role
from closura.metrics.pareto import CALLS, COST, Fronts
from closura.parts import file_name
from closura.reporting.figure import figure
from closura.reporting.style import axis_label, plain_log_axis

# Colours after Paul Tol's schemes; families are told apart by marks too.
_COLOURS = ("#CC3311", "#EE7733", "#BBAA00", "#228833", "#882299", "#777777", "#AA6644", "#EE99AA", "#000000")
_CLOSURES = ("#0077BB", "#33BBEE", "#224488", "#66CCEE")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_TITLES = {"single": "one simulation at a time", "batched": "{} simulations per call"}


def _by_reference_and_time(results: Results) -> dict[str, dict[str, Any]]:
    """A figure for each reference and time."""
    fronts = Fronts(results)
    several = len(fronts.times) > 1
    return {
        f"-{file_name(reference)}{f'-t{label}' if several else ''}": {"reference": reference, "time": time}
        for reference in fronts.references
        for time, label in enumerate(fronts.times)
    }


@figure(
    "front", needs=(COST,), order=0, variants=_by_reference_and_time,
    caption="Error against cost. The black line joins what nothing as cheap is better than; stars are closures.",
)  # fmt: skip
def front_figure(results: Results, figure: Figure, *, reference: str | None = None, time: int = -1) -> None:
    """Error against milliseconds per unit of simulated time, both logarithmic: down and left is better.

    One colour and mark per method; points of one method and grid are joined and labelled with their points per side.
    Points that no other dominates are joined by the black line. Closures are large stars. Methods that lost a
    simulation are drawn hollow where they have an aggregate error, and are not drawn where they have none.
    """
    fronts = Fronts(results)
    reference = reference or next(iter(fronts.references))
    ranked = fronts.ranked(reference)
    scale = 100.0 if results.error.percent else 1.0
    errors = {name: scale * fronts.error(name, reference, time) for name in ranked if _timed(fronts, name)}
    value = {name: error for name, error in errors.items() if 0 < error < np.inf}
    if not value:
        raise ValueError(f"no method has a finite error by {reference} and a cost; nothing to draw")
    axes = _panels(figure, fronts, reference, value, {call: fronts.front(reference, call, time) for call in CALLS})
    # A method that all but blew up would press the others together.
    drawn = list(value.values())
    high = min(max(drawn), 30 * float(np.median(drawn)))
    for panel in axes:
        panel.set_yscale("log")
        panel.set_ylim(min(drawn) / 1.5, high * 1.4)
        plain_log_axis(panel, "y")
    axes[0].set_ylabel(f"{axis_label(results.error)} at t = {fronts.times[time]}")


@figure(
    "follow", needs=(COST,), order=1, when=lambda results: bool(Fronts(results).followed),
    variants=lambda results: {f"-{file_name(name)}": {"reference": name} for name in Fronts(results).references},
    caption="For how long simulations follow the reference, against cost.",
)  # fmt: skip
def length_figure(results: Results, figure: Figure, *, reference: str | None = None) -> None:
    """For how long simulations are good against milliseconds per unit of simulated time: up and left is better.

    Marks as of :func:`front_figure`; simulations that diverged count with the time until then. The last metric of whole
    simulations is drawn.
    """
    fronts = Fronts(results)
    reference = reference or next(iter(fronts.references))
    names = [name for name in fronts.ranked(reference) if _timed(fronts, name)]
    if not fronts.followed or not names:
        raise ValueError(f"the benchmark of {results.problem} does not say for how long methods are good")
    chosen = fronts.followed[-1]
    value = {name: fronts.length(name, reference, chosen.name) for name in names}
    front = {call: fronts.longest(reference, call, chosen.name) for call in CALLS}
    axes = _panels(figure, fronts, reference, value, front)
    for panel in axes:
        panel.set_ylim(0, 1.08 * max(value.values()))
        if max(value.values()) > 0.9 * chosen.limit:
            panel.axhline(chosen.limit, color="#999999", linewidth=0.7, linestyle=":")
    axes[0].set_ylabel(f"time with {chosen.title}")


def _timed(fronts: Fronts, name: str) -> bool:
    return all(np.isfinite(fronts.cost(name, call)) for call in CALLS)


def _panels(
    figure: Figure, fronts: Fronts, reference: str, value: Mapping[str, float], front: Mapping[str, Sequence[str]]
) -> list[Axes]:
    """A panel for each kind of call: all points, the front, costs along the axis, titles and legend."""
    figure.set_size_inches(11.0, 4.8)
    axes, results = list(figure.subplots(1, 2, sharey=True)), fronts.results
    for panel, call in zip(axes, CALLS, strict=True):
        panel.set_xscale("log")
        cost = {name: fronts.cost(name, call) for name in value}
        _points(panel, fronts, cost, value)
        # Steps: until the next point is affordable, nothing is better.
        panel.step(
            [cost[name] for name in front[call] if name in cost], [value[name] for name in front[call] if name in cost],
            where="post", color="black", linewidth=1.3, zorder=2.5, label="front",
        )  # fmt: skip
        panel.set_xlim(min(cost.values()) / 1.8, max(cost.values()) * 1.5)
        plain_log_axis(panel, "x")
        panel.set_title(_TITLES[call].format(results.provenance.get("batch", "several")), fontsize=10)
        panel.set_xlabel("ms per unit of simulated time and simulation")
    title = f"{results.problem}, n = {results.simulations}; reference: {reference} ({fronts.references[reference]})"
    missing = len(fronts.ranked(reference)) - len(value)
    figure.suptitle(title + (f"; {missing} methods that diverged are not drawn" if missing else ""), fontsize=10)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return axes


def _points(axes: Axes, fronts: Fronts, cost: Mapping[str, float], value: Mapping[str, float]) -> None:
    learned, classical = _families(fronts)
    for family in (*classical, *learned):
        closure = family in learned
        index = (learned if closure else classical).index(family)
        colour = (_CLOSURES if closure else _COLOURS)[index % len(_CLOSURES if closure else _COLOURS)]
        mark, size = ("*", 11.0) if closure else (_MARKS[index % len(_MARKS)], 4.5)
        own = [name for name in cost if fronts.fact(name, "family") == family]
        if not own:
            continue
        axes.plot([], [], color=colour, marker=mark, markersize=size, linestyle="none", label=family)
        for grid in sorted({fronts.fact(name, "points") for name in own}):
            here = [name for name in own if fronts.fact(name, "points") == grid]
            found = sorted((cost[name], value[name], name) for name in here)
            axes.plot(
                [x for x, _, _ in found], [y for _, y, _ in found], color=colour, linewidth=0.7, alpha=0.6, zorder=2
            )
            for x, y, name in found:
                lost = fronts.results.diverged(name) > 0
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
    """Closures and classical methods, in one order for all figures; what only references use comes last."""
    roles = fronts.results.roles
    found = sorted(roles, key=lambda name: roles[name] is Role.REFERENCE)
    learned = list(dict.fromkeys(fronts.fact(name, "family") for name in found if roles[name] is Role.CLOSURE))
    return learned, list(dict.fromkeys(f for name in found if (f := fronts.fact(name, "family")) not in learned))
