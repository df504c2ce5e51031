"""A benchmark's numbers: terminal, Markdown, CSV."""

import csv
import io
import math
from pathlib import Path

from rich.console import Console

from closura.evaluation.fronts.benchmark import CALLS, Fronts
from closura.evaluation.fronts.contender import Horizon
from closura.evaluation.fronts.front import Paired
from closura.evaluation.fronts.records import short
from closura.evaluation.fronts.timing import StepTime
from closura.files import write_atomically
from closura.reporting.formatting import bounded
from closura.reporting.terminal import print_rows

NOTABLE = 0.95
"""A point of a front is worth a row where its error is less than that share of the last one's."""


def number(value: float, digits: int = 3) -> str:
    """Significant digits without exponents for usual sizes; a dash for what is not finite."""
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return bounded(value, f".{min(max(places, 0), 8)}f" if abs(value) >= 1e-5 else f".{digits - 1}e")


def headings(fronts: Fronts) -> list[str]:
    """Columns of the table."""
    suite = fronts.suite
    unit = ", %" if suite.percent else ""
    differs = "ratio to" if suite.typical == "geometric" else "difference from"
    truth = next(iter(suite.truths))
    return [
        "method", "grid", "step",
        *(f"error by {name}{unit}" for name in suite.truths),
        f"{differs} the reference by {truth}, 95 %",
        *(f"{each.name} for" for each in suite.horizons),
        "ms per unit of time", "ms, batched", "diverged", "front",
    ]  # fmt: skip


def row(fronts: Fronts, name: str, time: int = -1) -> list[str]:
    """A contender's line."""
    suite, point = fronts.suite, fronts.points[name]
    contender, scale = point.contender, 100.0 if suite.percent else 1.0
    errors = [number(scale * fronts.error(name, truth, time)) for truth in suite.truths]
    return [
        method_name(fronts, name),
        str(contender.points),
        contender.rule,
        *errors,
        _paired(fronts.paired(name, next(iter(suite.truths)), time), suite.typical, scale)
        if name != fronts.reference
        else "the reference",
        *(_how_long(fronts, name, each) for each in suite.horizons),
        _quartiles(point.cost["single"]),
        _quartiles(point.cost["batched"]),
        f"{point.diverged} of {suite.simulations}" if point.diverged else "",
        ", ".join(marks(fronts, name, time)),
    ]


def method_name(fronts: Fronts, name: str) -> str:
    """The method of a contender, with what a reader should know."""
    contender = fronts.points[name].contender
    if contender.kind == "truth":
        return contender.name
    return f"{contender.family} ({contender.note})" if contender.note else contender.family


def marks(fronts: Fronts, name: str, time: int = -1) -> list[str]:
    """The fronts that a contender stands on, in words."""
    found = []
    for truth in fronts.suite.truths:
        on = [call for call in CALLS if name in fronts.front(truth, call, time)]
        if on:
            found.append(truth if len(on) == len(CALLS) else f"{truth} ({on[0]})")
    return found


def important(fronts: Fronts, time: int = -1) -> list[str]:
    """Truths, closures, the reference, methods at the problem's own step, and fronts; by cost in each kind.

    Of a front only points that err less than the cheaper ones before them by :data:`NOTABLE`; of closures at many time
    steps on one grid the best.
    """
    suite, first = fronts.suite, next(iter(fronts.suite.truths))
    chosen = {fronts.reference}
    for truth in suite.truths:
        for call in CALLS:
            kept = math.inf
            for name in fronts.front(truth, call, time):
                if (error := fronts.error(name, truth, time)) < NOTABLE * kept:
                    chosen.add(name)
                    kept = error
    grids: dict[tuple[str, int], list[str]] = {}
    for name, point in fronts.points.items():
        c = point.contender
        if c.kind == "truth" or c.rule.startswith("dt") or c.note:
            chosen.add(name)
        elif c.kind == "closure":
            grids.setdefault((c.family, c.points), []).append(name)
    chosen |= {min(names, key=lambda name: fronts.error(name, first, time)) for names in grids.values()}
    order = {"truth": 0, "classical": 1, "closure": 2}
    return sorted(
        chosen, key=lambda n: (order[fronts.points[n].contender.kind], fronts.points[n].cost["single"].median, n)
    )


def markdown(fronts: Fronts, *, everyone: bool = False, time: int = -1) -> str:
    """A table in Markdown: :func:`important` contenders, or all."""
    names = list(fronts.points) if everyone else important(fronts, time)
    lines = ["| " + " | ".join(headings(fronts)) + " |", "|---" * len(headings(fronts)) + "|"]
    for name in names:
        cells = row(fronts, name, time)
        if cells[-1]:
            cells[0] = f"**{cells[0]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(fronts: Fronts) -> str:
    """Everything in words and tables, as Markdown."""
    suite = fronts.suite
    lines = [f"# {suite.problem}: error against cost", "", f"`{fronts.settings.get('command', '')}`", ""]
    lines += [f"{suite.simulations} held-out simulations; {_typical(suite.typical)} of the {suite.measure}.", ""]
    lines += [f'* truth "{name}": {words}' for name, words in suite.words.items()]
    lines += [f"* {remark}" for remark in suite.remarks]
    lines += [f"* reference of the differences: {fronts.reference}", f"* machine: {machine(fronts)}", ""]
    for time, label in enumerate(suite.times):
        lines += [f"## t = {label}", "", markdown(fronts, time=time)]
    lines += [f"## All contenders, t = {suite.times[-1]}", "", markdown(fronts, everyone=True)]
    return "\n".join(lines)


def machine(fronts: Fronts) -> str:
    """What the times were measured on, in a line."""
    found = fronts.settings.get("environment", {})
    devices = ", ".join(dict.fromkeys(found.get("devices", ())))
    cores, jax = found.get("processors", "?"), found.get("packages", {}).get("jax", "?")
    clock = f"{fronts.settings.get('clock', 'wall')} time, batches of {fronts.settings.get('batch', '?')}"
    where = f"{found.get('backend', '?')} ({devices}), {found.get('processor', '?')}, {cores} cores, JAX {jax}"
    return f"{where}; {clock}"


def print_fronts(fronts: Fronts, console: Console) -> None:
    """The important rows at the last time, in few columns."""
    suite, truths = fronts.suite, list(fronts.suite.truths)
    title = f"{suite.problem}: {suite.measure} at t = {suite.times[-1]}, n = {suite.simulations}"
    unit, scale = (" (%)", 100.0) if suite.percent else ("", 1.0)
    middle = [*(f"by {truth}{unit}" for truth in truths), *(each.name for each in suite.horizons)]
    rows = []
    for name in important(fronts):
        point = fronts.points[name]
        on = [truth for truth in truths if any(name in fronts.front(truth, call) for call in CALLS)]
        cells = [
            *(number(scale * fronts.error(name, truth)) for truth in truths),
            *(_how_long(fronts, name, each) for each in suite.horizons),
            *(number(point.cost[call].median) for call in CALLS),
            str(point.diverged) if point.diverged else "",
            ", ".join(on),
        ]
        rows.append((name if name != fronts.reference else f"{name} (reference)", cells))
    headings = ["contender", *middle, "ms per time", "batched", "lost", "front"]
    print_rows(console, headings, rows, title=title, left=("front",))
    for name, words in suite.words.items():
        console.print(f"error by {name}: {words}", soft_wrap=True)
    console.print(f"ms per unit of simulated time and simulation; {machine(fronts)}", soft_wrap=True)


def write_csv(fronts: Fronts, path: str | Path) -> Path:
    """One line per contender, truth and time."""
    suite, text = fronts.suite, io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    columns = ["contender", "family", "kind", "points", "step", "truth", "time", "error", "low", "high", "diverged"]
    out.writerow([*columns, "front", *(f"ms_{call}_{q}" for call in CALLS for q in ("lower", "median", "upper"))])
    for name, point in fronts.points.items():
        c = point.contender
        for truth in suite.truths:
            for time, label in enumerate(suite.times):
                beside = fronts.paired(name, truth, time)
                on = "+".join(call for call in CALLS if name in fronts.front(truth, call, time))
                costs = [v for call in CALLS for v in vars(point.cost[call]).values()]
                numbers = [fronts.error(name, truth, time), beside.low, beside.high]
                facts = [name, c.family, c.kind, c.points, c.rule, truth, label, *(short(v) for v in numbers)]
                out.writerow([*facts, point.diverged, on, *(short(v) for v in costs)])
    return write_atomically(path, text.getvalue())


def _quartiles(cost: StepTime) -> str:
    if not math.isfinite(cost.median):
        return "–"
    return f"{number(cost.median)} ({number(cost.lower, 2)}–{number(cost.upper, 2)})"


def _paired(found: Paired, typical: str, scale: float) -> str:
    if not math.isfinite(found.value):
        return "–"
    if typical == "geometric":
        return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"
    return f"{scale * found.value:+.3g} [{scale * found.low:+.3g}, {scale * found.high:+.3g}]"


def _how_long(fronts: Fronts, name: str, horizon: Horizon) -> str:
    """Mean and standard deviation by the first truth; a lower bound where simulations were good to the end."""
    times = fronts.points[name].horizons[next(iter(fronts.suite.truths))][horizon.name]
    at_least = "≥ " if (times >= horizon.end * (1 - 1e-9)).any() else ""
    return f"{at_least}{number(float(times.mean()))} ± {number(float(times.std()), 2)}"


def _typical(kind: str) -> str:
    return {"mean": "mean", "median": "median", "geometric": "geometric mean"}[kind]
