"""Tables of what statistics are over, where that is no single simulation: each initial condition, say, on each grid."""

from itertools import pairwise

import numpy as np

from closura.core import Metric, Results
from closura.metrics.comparison import paired_ratio
from closura.metrics.statistics import geometric_mean, observed_order
from closura.reporting.formatting import bounded, quantity
from closura.reporting.table import Table, table


@table("samples", needs=("group",), order=20)
def _samples(results: Results) -> list[Table]:
    """One table for each metric, that of the one that counts open; observed orders on several grids."""
    if results.sample == "simulation":
        return []
    metrics = [results.error, *(m for m in results.metrics.values() if m.name != results.error.name)]
    tables = [sample_table(results, metric) for metric in metrics]
    return [tables[0], *([order_table(results)] if results.grids else []), *tables[1:]]


def sample_table(results: Results, metric: Metric) -> Table:
    """Values by sample and method; on several grids a column for each, with rows of means and their ratios."""
    counts = metric.name == results.error.name
    unit = " (%)" if metric.percent else f" ({metric.unit})" if metric.unit not in ("", "1") else ""
    title = f"{metric.title[:1].upper()}{metric.title[1:]}{unit} at {results.moment(results.steps)}"
    rows = [(group, values) for group, values in _by_sample(results, metric).items()]
    if metric.aggregate == "geometric":
        rows.append(("geometric mean", {n: geometric_mean(results.last(n, metric.name)) for n in results.compared}))
    cells = [(row, {n: _cell(v, metric) for n, v in values.items()}) for row, values in rows]
    if counts and metric.aggregate == "geometric":
        cells.append((f"by that of {results.family(results.uncorrected)}", _ratios(results)))
    return _arranged(results, title, cells, shown=counts)


def order_table(results: Results) -> Table:
    """Observed orders of the metric that counts between each grid and the next."""
    grids = sorted(results.grids)
    values = {**_by_sample(results, results.error)}
    values["geometric mean"] = {n: geometric_mean(results.last(n)) for n in results.compared}
    rows = []
    for family in dict.fromkeys(map(results.family, results.compared)):
        on = {_points(results, n): n for n in results.compared if results.family(n) == family}
        for row, found in values.items():
            orders = observed_order([found[on[n]] if n in on else np.nan for n in grids], grids)
            rows.append((family, [row, *(bounded(order, ".2f") for order in orders)]))
    headings = ["method", results.sample, *(f"{a} to {b}" for a, b in pairwise(grids))]
    return Table(f"Observed order in {results.error.title}", headings, rows, left=(results.sample,))


def _arranged(results: Results, title: str, cells: list[tuple[str, dict[str, str]]], *, shown: bool) -> Table:
    if not results.grids:
        rows = [(row, [found[n] for n in results.compared]) for row, found in cells]
        return Table(title, [results.sample, *results.compared], rows, shown=shown)
    rows = []
    for family in dict.fromkeys(map(results.family, results.compared)):
        on = {_points(results, n): n for n in results.compared if results.family(n) == family}
        rows += [(family, [row, *(found[on[n]] if n in on else "–" for n in results.grids)]) for row, found in cells]
    headings = ["method", results.sample, *(f"N = {n}" for n in results.grids)]
    return Table(title, headings, rows, left=(results.sample,), shown=shown)


def _by_sample(results: Results, metric: Metric) -> dict[str, dict[str, float]]:
    values = {name: results.last(name, metric.name) for name in results.compared}
    return {
        group: {name: float(values[name][number]) for name in values}
        for number, group in enumerate(dict.fromkeys(results.groups))
    }


def _ratios(results: Results) -> dict[str, str]:
    found = {}
    for name in results.compared:
        other = results.uncorrected_for(name)
        found[name] = "–" if other == name else bounded(paired_ratio(results, name, other).value, ".3f")
    return found


def _cell(value: float, metric: Metric) -> str:
    """Values of very different size, as published tables have them, or a number as in other tables."""
    if metric.aggregate == "geometric" and not metric.percent:
        return bounded(value, ".3e")
    return "–" if np.isnan(value) else quantity(value, metric.percent, metric.floor) if np.isfinite(value) else "∞"


def _points(results: Results, name: str) -> int:
    return int(results.data["points"].sel({"method": name}).item())
