"""Tables in words: one record for terminal, CSV, Markdown and page, and the registry of what makes them."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console

from closura.core import Registry, Results
from closura.entries import ENTRIES
from closura.metrics.pareto import COST
from closura.parts import reason
from closura.reporting.terminal import print_rows


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
        return Table(
            self.title if title is None else title,
            [self.headings[0], *(self.headings[1 + i] for i in columns)],
            [(name, [cells[i] for i in columns]) for name, cells in self.rows],
            self.note if note is None else note,
            self.left,
            self.shown,
        )

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        lines = [self.headings, ["---"] * len(self.headings), *([name, *cells] for name, cells in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


@dataclass(frozen=True)
class TableKind:
    """What makes tables of results that have the metrics it needs; see :func:`table`."""

    name: str
    make: Callable[[Results], Sequence[Table]]
    needs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    order: int = 50

    def suits(self, results: Results) -> bool:
        """Whether the results have what it needs."""
        of_problem = not self.problems or results.problem in self.problems
        if results.is_sweep and COST not in self.needs:
            return False
        return of_problem and all(need in results.data for need in self.needs)


OWN = frozenset(ENTRIES["closura.tables"])
"""Tables of the package: what goes wrong in them is a fault to be seen."""

TABLES: Registry[TableKind] = Registry("table", TableKind)


def table(
    name: str, *, needs: Iterable[str] = (), problems: Iterable[str] = (), order: int = 50
) -> Callable[[Callable[[Results], Sequence[Table]]], TableKind]:
    """Register a function that makes tables of results.

    Parameters
    ----------
    name
        Its name.
    needs
        Variables of the results without which there is nothing to tell.
    problems
        Only for these problems (default: all).
    order
        Tables stand in this order; the summary has 0.
    """

    def register(make: Callable[[Results], Sequence[Table]]) -> TableKind:
        return TABLES.add(name, TableKind(name, make, tuple(needs), tuple(problems), order))

    return register


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
            print_rows(
                console, part.headings, part.rows, title=part.title, note=part.note, bold=results.closures,
                left=part.left,
            )  # fmt: skip


WIDE = 128
"""Characters of a terminal that has room for a whole summary."""
