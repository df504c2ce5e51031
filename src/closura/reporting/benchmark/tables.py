"""A benchmark's numbers in words and tables: terminal, Markdown, page."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from closura.core import Metric, Results, Role
from closura.io.files import write_atomically
from closura.metrics.comparison import Paired
from closura.metrics.pareto import CALLS, COST, QUARTILES, Fronts
from closura.metrics.statistics import aggregate
from closura.reporting.benchmark.criterion import criterion_tables
from closura.reporting.benchmark.numbers import number
from closura.reporting.table import Table, print_table, table

NOTABLE = 0.95
"""A point of a front is worth a row where its error is less than that share of the last one's."""


def front_table(results: Results, *, everyone: bool = False, time: int = -1) -> Table:
    """:func:`important` methods, or all, at a time."""
    fronts, error = Fronts(results), results.error
    scale = 100.0 if error.percent else 1.0
    differs = "ratio to" if error.aggregate == "geometric" else "difference from"
    first = next(iter(fronts.references))
    on = ["front"] if len(fronts.references) == 1 else [f"front by {name}" for name in fronts.references]
    rows = []
    for name in results.methods if everyone else important(fronts, time):
        beside = "compared with this"
        if name != fronts.compared_with:
            beside = _paired(fronts.paired(name, first, time), error.aggregate, scale)
        cells = [
            str(fronts.fact(name, "points")),
            fronts.fact(name, "rule"),
            *(_with_spread(fronts.errors(name, reference, time), error) for reference in fronts.references),
            beside,
            *(_with_spread(fronts.values(name, first, each.name, time), each) for each in fronts.further),
            *(_how_long(fronts, name, each.name) for each in fronts.followed),
            *(_quartiles(fronts, name, call) for call in CALLS),
            f"{results.diverged(name)} of {results.simulations}" if results.diverged(name) else "",
            *(_on(fronts, name, reference, time) for reference in fronts.references),
        ]
        rows.append((method_name(fronts, name), cells))
    headings = [
        "method", "grid", "step",
        *(f"error by {name}{_unit(error)}" for name in fronts.references),
        f"{differs} {fronts.compared_with} by {first}, 95 %",
        *(f"{each.title}{_unit(each)}" for each in fronts.further),
        *(f"{each.title} for" for each in fronts.followed),
        "ms per unit of time", "ms, batched", "diverged", *on,
    ]  # fmt: skip
    return Table(f"t = {fronts.times[time]}", headings, rows, left=("step", *on))


@table("fronts", needs=(COST,), order=0)
def _fronts(results: Results) -> list[Table]:
    """The table of each time, the last one first, and all methods."""
    times = reversed(range(len(Fronts(results).times)))
    tables = [front_table(results, time=time) for time in times]
    everyone = front_table(results, everyone=True)
    return [*tables, Table("All methods", everyone.headings, everyone.rows, "\n".join(_notes(results)), shown=False)]


def _notes(results: Results) -> list[str]:
    references = [f"error by {name}: {words}" for name, words in Fronts(results).references.items()]
    return [_what(results), *references, *remarks(results), machine(results)]


def method_name(fronts: Fronts, name: str) -> str:
    """The family of a method, with what a reader should know."""
    if fronts.is_reference(name):
        return name
    note = fronts.fact(name, "note")
    return f"{fronts.fact(name, 'family')} ({note})" if note else str(fronts.fact(name, "family"))


def _on(fronts: Fronts, name: str, reference: str, time: int) -> str:
    """Whether a method stands on a front: "yes", or with the only cost by which it does; nothing where it does not."""
    on = fronts.calls_on_front(name, reference, time)
    return "yes" if len(on) == len(CALLS) else "".join(f"yes, {call} only" for call in on)


def important(fronts: Fronts, time: int = -1) -> list[str]:
    """References, closures, methods at the problem's own step, fronts, what all are compared with; by role and cost.

    Of a front only points that err less than the cheaper ones before them by :data:`NOTABLE`; of closures at many time
    steps on one grid the best.
    """
    first, results = next(iter(fronts.references)), fronts.results
    chosen = {fronts.compared_with}
    for reference in fronts.references:
        for call in CALLS:
            kept = math.inf
            for name in fronts.front(reference, call, time):
                if (error := fronts.error(name, reference, time)) < NOTABLE * kept:
                    chosen.add(name)
                    kept = error
    grids: dict[tuple[str, int], list[str]] = {}
    for name, role in results.roles.items():
        if role is Role.REFERENCE or str(fronts.fact(name, "rule")).startswith("dt") or fronts.fact(name, "note"):
            chosen.add(name)
        elif role is Role.CLOSURE:
            grids.setdefault((fronts.fact(name, "family"), fronts.fact(name, "points")), []).append(name)
    chosen |= {min(names, key=lambda name: fronts.error(name, first, time)) for names in grids.values()}
    order = {Role.REFERENCE: 0, Role.CLOSURE: 2}
    return sorted(chosen, key=lambda n: (order.get(results.roles[n], 1), fronts.cost(n, "single"), n))


def write_markdown(results: Results, path: str | Path) -> Path:
    """Everything in words and tables, as Markdown; what stands on a front is bold."""
    fronts = Fronts(results)
    lines = [f"# {results.problem}: error against cost", "", f"`{results.provenance.get('command', '')}`", ""]
    lines += [_what(results), ""]
    lines += [f'* reference "{name}": {words}' for name, words in fronts.references.items()]
    lines += [f"* {remark}" for remark in remarks(results)]
    lines += [f"* all are compared with {fronts.compared_with}", f"* machine: {machine(results)}", ""]
    for time, label in enumerate(fronts.times):
        lines += [f"## t = {label}", "", _bold(front_table(results, time=time)).markdown()]
    lines += [part for each in criterion_tables.make(results) for part in _section(each)]
    lines += [f"## All methods, t = {fronts.times[-1]}", "", _bold(front_table(results, everyone=True)).markdown()]
    return write_atomically(path, "\n".join(lines))


def _section(each: Table) -> list[str]:
    return [f"## {each.title}", "", each.markdown(), each.note.replace("\n", "\n\n"), ""]


def _bold(plain: Table) -> Table:
    on = [i - 1 for i, heading in enumerate(plain.headings) if heading.partition(" by ")[0] == "front"]
    rows = [(f"**{name}**" if any(cells[i] for i in on) else name, cells) for name, cells in plain.rows]
    return replace(plain, rows=rows)


def remarks(results: Results) -> list[str]:
    """What a reader must know of the benchmark."""
    found: list[str] = json.loads(results.attribute("remarks"))
    return found


def machine(results: Results) -> str:
    """What the times were measured on, in a line."""
    said: dict[str, Any] = results.provenance
    found = said.get("environment", {})
    devices = ", ".join(dict.fromkeys(found.get("devices", ())))
    cores, jax = found.get("processors", "?"), found.get("packages", {}).get("jax", "?")
    clock = f"{said.get('clock', 'wall')} time, batches of {said.get('batch', '?')}"
    where = f"{found.get('backend', '?')} ({devices}), {found.get('processor', '?')}, {cores} cores, JAX {jax}"
    return f"{where}; {clock}"


def print_fronts(results: Results, console: Console) -> None:
    """The important rows at the last time."""
    fronts = Fronts(results)
    shown = SPREADS[results.error.aggregate]
    title = f"{results.problem}: {results.error.title} at t = {fronts.times[-1]}, n = {results.simulations}; {shown}"
    print_table(replace(front_table(results), title=title), console)
    for name, words in fronts.references.items():
        console.print(f"error by {name}: {words}", soft_wrap=True)
    console.print(f"ms per unit of simulated time and simulation; {machine(results)}\n", soft_wrap=True)
    for each in criterion_tables.make(results):
        if each.shown:
            print_table(each, console)


SPREADS = {
    "mean": "mean ± standard deviation",
    "median": "median (quartiles)",
    "geometric": "geometric mean ×/÷ geometric standard deviation",
}
"""How an error and its spread over simulations are written."""


def _with_spread(values: np.ndarray, metric: Metric) -> str:
    """Values of all simulations as :data:`SPREADS` says; the first number alone where a simulation was lost."""
    how, scale = metric.aggregate, 100.0 if metric.percent else 1.0
    middle = number(scale * aggregate(values, how))
    if not np.isfinite(values).all() or (how == "geometric" and not (values > 0).all()):
        return middle
    if how == "mean":
        return f"{middle} ± {number(scale * float(values.std()))}"
    if how == "median":
        low, high = (number(scale * float(end), 2) for end in np.percentile(values, (25, 75)))
        return f"{middle} ({low}–{high})"
    return f"{middle} ×/÷ {number(float(np.exp(np.log(values).std())))}"


def _unit(metric: Metric) -> str:
    return ", %" if metric.percent else "" if metric.unit in ("", "1") else f", {metric.unit}"


def _quartiles(fronts: Fronts, name: str, call: str) -> str:
    low, middle, high = (fronts.cost(name, call, quartile) for quartile in QUARTILES)
    return f"{number(middle)} ({number(low, 2)}–{number(high, 2)})" if math.isfinite(middle) else "–"


def _paired(found: Paired, how: str, scale: float) -> str:
    if not math.isfinite(found.value):
        return "–"
    if how == "geometric":
        return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"
    return f"{scale * found.value:+.3g} [{scale * found.low:+.3g}, {scale * found.high:+.3g}]"


def _how_long(fronts: Fronts, name: str, metric: str) -> str:
    """Mean and standard deviation by the first reference; a lower bound where simulations were good to the end."""
    times = fronts.results.of(metric, name)
    at_least = "≥ " if fronts.results.metrics[metric].at_limit(times).any() else ""
    return f"{at_least}{number(float(times.mean()))} ± {number(float(times.std()), 2)}"


def _what(results: Results) -> str:
    """What was measured of how many simulations."""
    shown = SPREADS[results.error.aggregate]
    return f"{results.simulations} held-out simulations; {shown} of the {results.error.title}."
