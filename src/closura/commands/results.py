"""Where commands put their results: checked before work starts, written before anything is printed."""

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, NamedTuple

from closura.commands.console import console
from closura.core import Results
from closura.core.registry import PLUGINS, plugin_words
from closura.io.files import check_file, check_folder, write_atomically
from closura.parts import Parts
from closura.plain import to_toml
from closura.reporting.findings import best_baseline, further_verdicts, verdict
from closura.reporting.publish import publish
from closura.reporting.table import print_tables
from closura.reporting.tables import write_json
from closura.runs.environment import describe_environment

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
    """The results that a command was asked for, checked before work starts.

    Paths come by the options that they were given with; None where an option was not given. Files are put into folders
    and left beside others; stores are written, or replaced, whole; inputs are read: no store may take their place.
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
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        """Write everything, then print: what fails costs nothing else, and is told last, by ``NotAllWritten``.

        ``writers`` are functions by option that write to a path; what they return may have a ``report``, the page to
        open. ``show`` prints the results, and ``configuration`` has the tables of ``configuration.toml`` in folders of
        results, as ``--config`` takes them.
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
            console.print(f"report: {parts.written[PAGE]}", soft_wrap=True)
        parts.close()


def numbers_and_folder(options: Any, **further: Mapping[str, Path | None]) -> Outputs:
    """The outputs of a comparison: ``--json``, ``--out``, and what else there is."""
    return Outputs(files={"--json": options.json}, folders={"--out": options.out}, **further)


def deliver(
    outputs: Outputs,
    results: Results,
    *,
    title: str,
    show: Callable[[], object] | None = None,
    writers: Mapping[str, Callable[[Path], Any]] | None = None,
    configuration: Mapping[str, Any] | None = None,
    **published: Any,
) -> Results:
    """Write the numbers of a comparison, its folder (:func:`closura.publish`) and the rest; print what it says."""
    outputs.deliver(
        {
            "--json": partial(write_json, results),
            "--out": partial(publish, results, title=title, **published),
            **(writers or {}),
        },
        show or partial(print_results, results),
        configuration=configuration,
    )
    return results


def print_results(results: Results) -> None:
    """The tables, and a verdict on each closure by what counts, or by each metric that the results name."""
    print_tables(results, console=console)
    for name in (each for each in results.closures if best_baseline(results, each)):
        for line in further_verdicts(results, name) or [verdict(results, name)]:
            console.print(f"{name}: {line}", soft_wrap=True)


def provenance(command: str, arguments: Sequence[str], **facts: Any) -> dict[str, Any]:
    """How to repeat a command: what was typed, further facts, versions and processor."""
    return {"command": command_line(command, arguments), **facts, "environment": describe_environment()}


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
