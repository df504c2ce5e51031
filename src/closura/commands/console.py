"""Talking to the person at the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from closura.io.streams import printable
from closura.runs.training import Progress as Row


class _Console(Console):
    """A terminal that nothing printed can control: names and attributes come from anybody's files."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if not self.width:  # COLUMNS=0: nothing would be printed
            self.width = 80

    def render_str(self, text: str, **settings: Any) -> Text:
        return super().render_str(printable(text, keep="\n\t"), **settings)

    def status(self, status: RenderableType, **settings: Any) -> Status:
        """A line that says what is being done; names in it are no markup."""
        return _Status(status, console=self, **settings)


class _Status(Status):
    def __init__(self, status: RenderableType, **settings: Any) -> None:
        super().__init__(_as_text(status), **settings)

    def update(self, status: RenderableType | None = None, **settings: Any) -> None:
        super().update(None if status is None else _as_text(status), **settings)


def _as_text(what: RenderableType) -> RenderableType:
    return Text(printable(what)) if isinstance(what, str) else what


# Without markup and emoji: messages hold paths and names of settings, whose brackets and colons are neither.
console = _Console(markup=False, highlight=False, emoji=False)
errors = _Console(stderr=True, markup=False, highlight=False, emoji=False)


def fail(message: str, code: int = 2) -> NoReturn:
    """Print an error in one line, and leave."""
    say_error(message)
    sys.exit(code)


def say_error(message: str) -> None:
    """Print an error in one line."""
    errors.print(Text("error: ", style="bold red") + Text(printable(message)), soft_wrap=True)


def say_verdict(verdict: str, found: str) -> None:
    """Say what is wrong with a result, if something is, and in which numbers."""
    if verdict:
        text = printable(f"{verdict}: {found}")
        console.print(Text("warning: ", style="bold yellow") + Text(text), soft_wrap=True)


FIGURES = {
    "loss": "loss {:.3g}",
    "reward": "reward {:.2e}",
    "episode_length": "length {:.0f}",
    "policy_std": "std {:.2g}",
}
"""What a training says of itself along the way."""


@contextmanager
def training_bar() -> Iterator[Callable[[Row], None]]:
    """A progress bar with the figures that matter; a plain line now and then where there is no terminal."""
    latest: dict[str, int | float] = {}
    validation = ""

    def words(progress: Row) -> str:
        nonlocal validation
        latest.update(progress.row)
        validation = progress.validation or validation
        row = {name: value for name, value in latest.items() if name != "episode_length" or value}
        parts = [text.format(row[name]) for name, text in FIGURES.items() if name in row]
        return "  ".join([*parts, *([f"validation {validation}"] if validation else [])])

    if not console.is_terminal:

        def lines(progress: Row) -> None:
            text = words(progress)
            if "validation_error" in progress.row or progress.done == progress.total:
                seconds = progress.row.get("seconds", 0.0)
                console.print(
                    f"{progress.unit} {progress.done}/{progress.total}  {seconds:.0f} s  {text}", soft_wrap=True
                )

        yield lines
        return
    with _bar("training", MofNCompleteColumn()) as bar:
        task = bar.add_task("training", total=None, name="", words="simulating the reference, compiling")

        def show(progress: Row) -> None:
            bar.update(task, total=progress.total, completed=progress.done, words=words(progress))

        yield show


@contextmanager
def work_bar(verb: str, unit: str, *, lines: int = 5) -> Iterator[Callable[..., None]]:
    """A progress bar with the time left; where there is no terminal, ``lines`` lines for each name.

    It is called with the name of the work, how much is done, how much there is, and optionally a remark.
    """
    if not console.is_terminal:
        said: dict[str, int] = {}

        def line(name: str, done: int, total: int, words: str = "") -> None:
            part = lines * done // max(total, 1)
            if part > said.get(name, 0):
                said[name] = part
                text = f"{verb} {name}: {done} of {total} {unit}  {words}".replace(" :", ":")
                console.print(text.rstrip(), soft_wrap=True)

        yield line
        return
    with _bar(verb, TextColumn("{task.completed} of {task.total} " + unit)) as bar:
        tasks: dict[str, Any] = {}

        def show(name: str, done: int, total: int, words: str = "") -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(verb, total=total, name=name, words=words)
            bar.update(tasks[name], completed=done, words=words)

        yield show


def _bar(verb: str, count: ProgressColumn) -> Progress:
    return Progress(
        SpinnerColumn(), TextColumn(verb), TextColumn("{task.fields[name]}", markup=False), BarColumn(), count,
        TextColumn("{task.fields[words]}", markup=False), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), console=console,
    )  # fmt: skip
