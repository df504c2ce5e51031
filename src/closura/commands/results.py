"""Where commands put their results: checked before work starts, written before anything is printed."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from closura.commands.console import console
from closura.core.registry import PLUGINS, plugin_words
from closura.io.files import check_file, check_folder, write_atomically
from closura.parts import Parts
from closura.plain import to_toml

KEPT = ("table.json", "fronts.json")
"""Files of a folder of results whose names ``--json`` may have: they hold the same numbers."""


WORK = (".safetensors", ".checkpoint", ".jsonl", ".npz", ".pt", ".state")
"""Endings of files of weights and runs, which no table or page replaces."""

PAGE = "report.html"
CONFIGURATION = "configuration.toml"


class _Place(NamedTuple):
    option: str
    path: Path
    kind: Literal["file", "folder", "store"]

    @property
    def said(self) -> str:
        return f"{self.option} {self.path}"


class Outputs:
    """The results that a command was asked for.

    Parameters
    ----------
    files, folders, stores
        Paths by the options that they were given with; None where an option was not given. Files are put into folders
        and left beside others; stores are written, or replaced, whole.
    inputs
        What is read, by option: no store may take its place.

    Raises
    ------
    OSError
        If something cannot be written.
    ValueError
        If two results are to go to one place, or one in the place of weights, a file of a run, or into a data set.
    """

    def __init__(
        self,
        *,
        files: Mapping[str, Path | None] | None = None,
        folders: Mapping[str, Path | None] | None = None,
        stores: Mapping[str, Path | None] | None = None,
        inputs: Mapping[str, Path | None] | None = None,
    ) -> None:
        self._places = [
            *_given(files, "file"),
            *_given(folders, "folder"),
            *_given(stores, "store"),
        ]
        for place in self._places:
            try:
                (check_file if place.kind == "file" else check_folder)(place.path)
                if place.kind == "store":  # it is made beside its place
                    check_folder(place.path.resolve().parent)
            except OSError as error:
                raise type(error)(f"{place.option}: {error}") from error
            if place.kind != "store":
                _refuse_work(place)
        for one, other in combinations(self._places, 2):
            _refuse_collision(one, other)
        for place in self._places:
            for source in _given(inputs, "folder"):
                if place.kind == "store" and _within(source.path, place.path):
                    raise ValueError(f"{place.said} would replace what is read, {source.said}: choose another name")

    def deliver(
        self,
        writers: Mapping[str, Callable[[Path], Any]],
        show: Callable[[], object] = lambda: None,
        *,
        page: str = "report:",
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        """Write everything, then print: what fails costs nothing else, and is told last.

        Parameters
        ----------
        writers
            Functions by option that write to a path. What they return may have a ``report``, the page to open.
        show
            Prints the results.
        page
            What stands before the page to open.
        configuration
            Tables for ``configuration.toml`` in folders of results, as ``--config`` takes them.

        Raises
        ------
        NotAllWritten
            At the end, if something could not be written.
        """
        parts = Parts()
        for place in self._places:
            if place.option not in writers:
                continue
            with console.status(f"writing {place.said}"):
                found = parts.write(place.said, place.path, writers[place.option])
            if configuration is not None and place.kind == "folder" and place.path.is_dir():
                content = to_toml(configuration)
                parts.write(CONFIGURATION, place.path / CONFIGURATION, partial(write_atomically, content=content))
            if isinstance(getattr(found, "report", None), Path):
                parts.written[PAGE] = found.report
            elif (place.option, place.kind) == ("--out", "file") and place.said in parts.written:
                parts.written[PAGE] = place.path
        show()
        if PAGE in parts.written:
            console.print(f"{page} {parts.written[PAGE]}", soft_wrap=True)
        parts.close()


def command_line(command: str, arguments: Sequence[str]) -> str:
    """A command as it may be typed, for the record; bytes that are no text, of names of files, as escapes."""
    words = ["closura", command, *arguments, *plugin_words(PLUGINS)]
    return shlex.join(words).encode(errors="backslashreplace").decode()


def _given(paths: Mapping[str, Path | None] | None, kind: Any) -> Iterator[_Place]:
    return (_Place(option, path, kind) for option, path in (paths or {}).items() if path is not None)


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _refuse_work(place: _Place) -> None:
    """What was trained or simulated is no result to be replaced, though it is a file like any other."""
    path = place.path.resolve()
    run = (path.parent / "configuration.json").exists() and path.stem in ("configuration", "environment", "status")
    if place.kind == "file" and path.exists() and (run or path.suffix in WORK):
        raise ValueError(f"{place.said} would replace weights, or a file of a run: choose another name")
    for folder in (path, *path.parents):
        if any((folder / name).exists() for name in (".zgroup", ".zattrs", ".zarray", "zarr.json")):
            raise ValueError(f"{place.said} lies in the data set {folder}: choose another name")


def _refuse_collision(one: _Place, other: _Place) -> None:
    if one.path.resolve() == other.path.resolve():
        raise ValueError(f"{one.said} and {other.said} are the same place: give one of them another name")
    for inner, outer in ((one, other), (other, one)):
        if not _within(inner.path, outer.path) or (outer.kind == "folder" and not _taken(inner, outer)):
            continue
        what = {"file": "is a file", "store": "is replaced whole", "folder": "holds results under that name"}
        raise ValueError(f"{inner.said} lies in {outer.said}, which {what[outer.kind]}: choose another name")


def _taken(inner: _Place, folder: _Place) -> bool:
    """Whether a folder of results holds something of its own under the first part of a path in it."""
    first = inner.path.resolve().relative_to(folder.path.resolve()).parts[0]
    if inner.kind == "file" and first in KEPT:
        return False
    endings = (".html", ".csv", ".nc", ".npz", ".md", ".toml")
    return first in (*KEPT, "figures", "run") or Path(first).suffix in endings
