"""Tables and figures of flows: one form for terminal and page, colours of rows, pictures of fields."""

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closura.evaluation.fields import draw_picture
from closura.evaluation.scales import ROUNDING, colour_map
from closura.evaluation.style import MethodStyle, method_styles

TRUTH: dict[str, Any] = {"color": "#228833", "lw": 5.0, "alpha": 0.45, "label": "truth"}
"""Broad and pale, so that it can be seen beneath what agrees with it."""
FILTERED: dict[str, Any] = {"color": "#CC3311", "lw": 1.5, "ls": (0, (6.0, 2.0)), "label": "filtered truth"}

BASELINE_STYLES = {
    "none": MethodStyle("#CC3311", (0, (6.0, 2.0)), "s", 1.5),
    "persistence": MethodStyle("#000000", (0, (1.0, 2.0)), ".", 1.3),
    "climatology": MethodStyle("#8A8A8A", (0, (5.0, 1.5, 1.0, 1.5)), "D", 1.5),
}
_CLOSURES = ("#0077BB", "#EE7733", "#882299", "#009988", "#BB5566", "#DDAA33")


class Block(NamedTuple):
    """One table: a title, headings (the first belongs to the row's name), rows, words beneath."""

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]
    note: str = ""


def styles_of(names: Sequence[str]) -> dict[str, MethodStyle]:
    """How rows are drawn: no closure red, persistence black dots, climatology grey; the others solid, in colours."""
    learned = [name for name in names if name not in BASELINE_STYLES]
    found = method_styles(dict.fromkeys(learned, "closure"))
    styles = {}
    for name in names:
        if name in BASELINE_STYLES:
            styles[name] = BASELINE_STYLES[name]
            continue
        number = learned.index(name)
        own = found[name]
        styles[name] = MethodStyle(_CLOSURES[number % len(_CLOSURES)], own.line, own.marker, own.width)
    return styles


def picture(axes: Axes, field: np.ndarray, scale: Normalize, colours: str = "RdBu_r") -> AxesImage:
    """One field, x to the right, y upwards."""
    return draw_picture(axes, field, scale, colour_map(colours), "lower")


def symmetric(*fields: np.ndarray) -> Normalize:
    """A scale about zero that holds 99.9 % of all values."""
    values = np.concatenate([np.abs(field[np.isfinite(field)]).ravel() for field in fields])
    limit = float(np.quantile(values, 0.999)) if values.size else 1.0
    return Normalize(-max(limit, 1e-12), max(limit, 1e-12))


def positive(*fields: np.ndarray, size: float = 0.0) -> Normalize:
    """A scale from zero that holds 99.9 % of all values; of ``size``, that of the fields, no less than rounding."""
    values = np.concatenate([field[np.isfinite(field)].ravel() for field in fields])
    limit = float(np.quantile(values, 0.999)) if values.size else 1.0
    return Normalize(0.0, max(limit, ROUNDING * size, 1e-12))


@contextmanager
def nothing_is_nan() -> Iterator[None]:
    """Means and quantiles of nothing but NaN are NaN, without a warning: what was lost is told elsewhere."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent; a dash for what does not exist."""
    return plain(None if value is None else 100 * value, f".{digits}f")


def plain(value: float | None, form: str) -> str:
    """A number in a form; a dash for what does not exist."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else format(value, form)


def seconds(value: float | None) -> str:
    """A wall time with its unit."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs"
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 600 else f"{value / 60:.0f} min"


def count(number: int, what: str, several: str | None = None) -> str:
    """A number of things."""
    return f"{number} {what if number == 1 else several or what + 's'}"


def stand_out(block: Block, learned: Sequence[str]) -> list[str]:
    """Names of rows that belong to what was fitted: its name, or its name and what of it, after a comma."""
    return [name for name, _ in block.rows if name in learned or name.rpartition(", ")[0] in learned]


def print_blocks(blocks: Sequence[Block], learned: Sequence[str], console: Console) -> None:
    """Print tables, learned rows in bold; one that is too wide for the terminal in several parts."""
    for block in blocks:
        console.print(f"{block.title}:", style="bold", soft_wrap=True)
        bold = stand_out(block, learned)
        widths = [
            _width(heading, [cells[i] for _, cells in block.rows]) for i, heading in enumerate(block.headings[1:])
        ]
        first = max((len(name) for name, _ in block.rows), default=0) + 3
        for part in _parts(widths, console.width - first - 2):
            table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
            table.add_column(escape(block.headings[0]), min_width=first - 3, overflow="fold")
            for i in part:
                table.add_column(escape(block.headings[i + 1]), justify="right", min_width=widths[i] - 2)
            for name, cells in block.rows:
                words = [escape(cells[i]).replace(" ", "\u00a0") for i in part]
                table.add_row(escape(name), *words, style="bold" if name in bold else None)
            console.print(table)
        if block.note:
            console.print(block.note + "\n", style="dim")


def _width(heading: str, cells: Sequence[str]) -> int:
    """Cells are not broken, headings between words."""
    return max([*map(len, cells), *map(len, heading.split())]) + 2


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns in groups that fit."""
    parts: list[list[int]] = [[]]
    for index, width in enumerate(widths):
        if parts[-1] and sum(widths[i] for i in parts[-1]) + width > room:
            parts.append([])
        parts[-1].append(index)
    return parts
