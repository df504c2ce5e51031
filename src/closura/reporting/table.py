"""Tables in words for terminals of any width, Markdown and pages, and the registry of what makes them."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import rich.table
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from closura.core import Registry, Results
from closura.entries import ENTRIES
from closura.io.streams import printable
from closura.parts import reason
from closura.reporting.kind import Kind


@dataclass(frozen=True)
class Table:
    """Rows of formatted cells.

    Parameters
    ----------
    title
        A line above.
    headings
        Of the rows' names, and of each cell of a row.
    rows
        Names and cells.
    note
        What has to stand beneath.
    left
        Headings of columns of words.
    shown
        Whether it is shown in the terminal and open on the page.
    narrow
        The columns' numbers in parts, for terminals that have no room for all of them.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    note: str = ""
    left: Collection[str] = ()
    shown: bool = True
    narrow: Sequence[Sequence[int]] = ()

    def part(self, columns: Sequence[int], *, title: str | None = None, note: str | None = None) -> "Table":
        """Some of the columns."""
        return replace(
            self,
            title=self.title if title is None else title,
            headings=[self.headings[0], *(self.headings[1 + i] for i in columns)],
            rows=[(name, [cells[i] for i in columns]) for name, cells in self.rows],
            note=self.note if note is None else note,
            narrow=(),
        )

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        lines = [self.headings, ["---"] * len(self.headings), *([name, *cells] for name, cells in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


OWN = frozenset(ENTRIES["closura.tables"])
"""Tables of the package: what goes wrong in them is a fault to be seen."""

TABLES: Registry[Kind] = Registry("table", Kind)


def table(name: str, **settings: Any) -> Callable[[Callable[[Results], Sequence[Table]]], Kind]:
    """Register a function that makes tables of results; settings are those of :class:`closura.reporting.kind.Kind`.

    Tables stand in the order of ``order``; the summary has 0.
    """
    return lambda make: TABLES.add(name, Kind(name, make, **settings))


def tables_of(results: Results) -> list[Table]:
    """All tables of results, in order; one that cannot be made says why in its place."""
    found: list[Table] = []
    for kind in sorted(TABLES.all().values(), key=lambda kind: (kind.order, kind.name)):
        try:
            if kind.suits(results):
                found.extend(kind.make(results))
        except Exception as error:  # of a plug-in: it costs no other table
            if kind.name in OWN:
                raise
            found.append(Table(f"{kind.name}: could not be made", [""], [], reason(error)))
    return found


def print_tables(results: Results, *, console: Console | None = None) -> None:
    """Print the tables that are shown; wide ones in parts where the terminal is narrow."""
    console = console or Console()
    for each in tables_of(results):
        if not each.shown:
            continue
        parts = [each]
        if each.narrow and console.width < WIDE:
            last = len(each.narrow) - 1
            parts = [
                each.part(columns, title=None if i == 0 else "", note=None if i == last else "")
                for i, columns in enumerate(each.narrow)
            ]
        for part in parts:
            print_table(part, console, bold=results.closures)


WIDE = 128
"""Characters of a terminal that has room for a whole summary."""

SPACE = 3
"""Columns of characters between two columns of a table."""


def print_table(table: Table, console: Console, *, bold: Collection[str] = ()) -> None:
    """Print a table whole: no column is ever lost, no number cut.

    It is printed in several parts where the terminal is too narrow, as a line per value where it is narrower still;
    ``bold`` are names of rows that stand out.
    """
    headings, rows = table.headings, table.rows
    if table.title:
        console.print(Text(printable(table.title), style="bold"), soft_wrap=True)
    columns = [_Column(heading, [cells[i] for _, cells in rows]) for i, heading in enumerate(headings[1:])]
    first = max(cell_len(printable(name)) for name in (headings[0], *(name for name, _ in rows))) + SPACE
    room = console.width - first - 1
    if max((column.width for column in columns), default=0) > room:
        for name, cells in rows:
            console.print(_text(name), style="bold" if name in bold else None, soft_wrap=True)
            for heading, cell in zip(headings[1:], cells, strict=True):
                console.print(_text(f"  {heading}: {cell}"), soft_wrap=True)
        console.print()
    else:
        # Rather break cells between their parts than a table between its columns.
        broken = sum(column.width for column in columns) > room >= sum(column.broken for column in columns)
        for part in [list(range(len(columns)))] if broken else _parts([column.width for column in columns], room):
            printed = rich.table.Table(box=box.SIMPLE_HEAD, padding=(0, 1))
            printed.add_column(_text(headings[0]), min_width=first - SPACE, no_wrap=True)
            least = [columns[i].broken if broken else columns[i].width for i in part]
            widths = _widened(least, [columns[i].wanted for i in part], room)
            for i, width in zip(part, widths, strict=True):
                justify: Literal["left", "right"] = "left" if headings[i + 1] in table.left else "right"
                printed.add_column(_text(headings[i + 1]), justify=justify, width=width - SPACE)
            for name, cells in rows:
                words = [_whole(cells[i], broken) for i in part]
                printed.add_row(_text(name), *words, style="bold" if name in bold else None)
            console.print(printed)
    if table.note:
        console.print(_text(table.note, keep="\n").append("\n"), style="dim")


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
