"""Tables in a terminal of any width: no column is ever lost, no number cut."""

import re
from collections.abc import Collection, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from closura.io.streams import printable

SPACE = 3
"""Columns of characters between two columns of a table."""


def print_rows(
    console: Console,
    headings: Sequence[str],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    title: str = "",
    note: str = "",
    bold: Collection[str] = (),
    left: Collection[str] = (),
) -> None:
    """Print a table, in several parts where the terminal is too narrow, as a line per value where it is narrower still.

    Parameters
    ----------
    console
        Where to.
    headings
        Of the rows' names, and of each cell of a row.
    rows
        Names and cells.
    title, note
        A line above, and words beneath.
    bold
        Names of rows that stand out.
    left
        Headings of columns of words, which stand at the left.
    """
    if title:
        console.print(Text(printable(title), style="bold"), soft_wrap=True)
    columns = [_Column(headings[i + 1], [cells[i] for _, cells in rows]) for i in range(len(headings) - 1)]
    names = [headings[0], *(name for name, _ in rows)]
    first = max(cell_len(printable(name)) for name in names) + SPACE
    room = console.width - first - 1
    if max((column.width for column in columns), default=0) > room:
        _print_lines(console, headings, rows, bold)
        console.print()
    else:
        # Rather break cells between their parts than a table between its columns.
        broken = sum(column.width for column in columns) > room >= sum(column.broken for column in columns)
        for part in [list(range(len(columns)))] if broken else _parts([column.width for column in columns], room):
            table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
            table.add_column(_text(headings[0]), min_width=first - SPACE, no_wrap=True)
            widths = _widened(
                [columns[i].broken if broken else columns[i].width for i in part],
                [columns[i].wanted for i in part],
                room,
            )
            for i, width in zip(part, widths, strict=True):
                justify = "left" if headings[i + 1] in left else "right"
                table.add_column(_text(headings[i + 1]), justify=justify, width=width - SPACE)  # type: ignore[arg-type]
            for name, cells in rows:
                words = [_whole(cells[i], broken) for i in part]
                table.add_row(_text(name), *words, style="bold" if name in bold else None)
            console.print(table)
    if note:
        console.print(_text(note, keep="\n").append("\n"), style="dim")


class _Column:
    """How wide a column must be: headings break between words; cells nowhere, or, where need be, at spaces."""

    def __init__(self, heading: str, cells: Sequence[str]) -> None:
        words = [printable(word) for word in heading.split()]
        self.width = max(map(cell_len, [*map(printable, cells), *words]), default=0) + SPACE
        parts = [printable(part) for cell in cells for part in _breakable(cell)]
        self.broken = max(map(cell_len, [*parts, *words]), default=0) + SPACE
        self.wanted = max(self.width, cell_len(printable(heading)) + SPACE)


def _breakable(cell: str) -> list[str]:
    """Parts of a cell between which a line may end: before brackets, and after semicolons."""
    return re.split(r"(?<=;) | (?=\()", cell)


def _whole(cell: str, broken: bool) -> Text:
    """A cell that stays on one line, or on one for each part; a number and its spread are never parted."""
    return _text(" ".join(part.replace(" ", "\u00a0") for part in (_breakable(cell) if broken else [cell])))


def _text(text: str, keep: str = "") -> Text:
    return Text(printable(text, keep))


def _print_lines(
    console: Console, headings: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], bold: Collection[str]
) -> None:
    for name, cells in rows:
        console.print(_text(name), style="bold" if name in bold else None, soft_wrap=True)
        for heading, cell in zip(headings[1:], cells, strict=True):
            console.print(_text(f"  {heading}: {cell}"), soft_wrap=True)


def _widened(widths: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """Widths of columns, those that lack most of what they would like first, as long as there is room."""
    widths = list(widths)
    for _ in range(room - sum(widths)):
        lacking = [full - width for full, width in zip(wanted, widths, strict=True)]
        if max(lacking) <= 0:
            break
        widths[lacking.index(max(lacking))] += 1
    return widths


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns in groups that fit; the last one is not alone if another can join it."""
    parts: list[list[int]] = [[]]
    for index, width in enumerate(widths):
        if parts[-1] and sum(widths[i] for i in parts[-1]) + width > room:
            parts.append([])
        parts[-1].append(index)
    if len(parts) > 1 and len(parts[-1]) == 1 and len(parts[-2]) > 2 and sum(widths[-2:]) <= room:
        parts[-1].insert(0, parts[-2].pop())
    return parts
