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
from rich.console import Console

from closura.core import Role
from closura.reporting.figures.fields import draw_picture
from closura.reporting.formatting import bounded
from closura.reporting.scales import ROUNDING, colour_map
from closura.reporting.style import MethodStyle, method_styles
from closura.reporting.terminal import print_rows

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
    found = method_styles(dict.fromkeys(learned, Role.CLOSURE))
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
    return bounded(None if value is None else 100 * value, f".{digits}f")


def seconds(value: float | None) -> str:
    """A wall time with its unit."""
    if value is None or not math.isfinite(value):
        return "–"
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs"
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    return f"{value:.3g} s" if value < 600 else f"{value / 60:.0f} min"


def stand_out(block: Block, learned: Sequence[str]) -> list[str]:
    """Names of rows that belong to what was fitted: its name, or its name and what of it, after a comma."""
    return [name for name, _ in block.rows if name in learned or name.rpartition(", ")[0] in learned]


def print_blocks(blocks: Sequence[Block], learned: Sequence[str], console: Console) -> None:
    """Print tables, learned rows in bold."""
    for block in blocks:
        bold = stand_out(block, learned)
        print_rows(console, block.headings, block.rows, title=f"{block.title}:", note=block.note, bold=bold)
