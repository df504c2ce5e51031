"""What the commands that evaluate and run fits to flows have in common: their inputs and outputs."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from closura.commands.closures import named_closure
from closura.commands.console import console
from closura.commands.results import Outputs, command_line
from closura.core import Results
from closura.offline.fitted import FittedClosure, load_fitted_closure
from closura.offline.numbers import study_of
from closura.offline.variables import REFERENCE
from closura.reporting.publish import publish
from closura.reporting.table import print_tables
from closura.reporting.tables import write_json
from closura.runs.environment import describe_environment
from closura.trajectories import FlowData, open_flow

ROWS = ("none", "persistence", "climatology", REFERENCE)
"""Methods that every table has."""


def one_each(arguments: Sequence[str], option: str) -> list[str]:
    """``--option A B`` as ``--option A --option B``: several after one flag, or the flag several times."""
    found: list[str] = []
    listing, first = False, False
    for word in arguments:
        if word.startswith("-"):
            listing = first = word == option
            found.append(word)
            continue
        if listing and not first:
            found.append(option)
        first = False
        found.append(word)
    return found


def named_runs(texts: Sequence[str]) -> list[tuple[str, Path]]:
    """Names and paths of runs that are given as PATH or NAME=PATH.

    Raises
    ------
    ValueError
        If two have one name, or that of a row that every table has.
    """
    pairs = [named_closure(text) for text in texts]
    names = [name for name, _ in pairs]
    for name in names:
        if name in ROWS:
            raise ValueError(f"{name} is the name of a row that every table has: give another with NAME=PATH")
        if names.count(name) > 1:
            raise ValueError(f"two are called {name}: give one another name with NAME=PATH")
    return pairs


def load_closure(text: str) -> FittedClosure:
    """The closure at PATH or NAME=PATH."""
    return load_fitted_closure(*named_closure(text))


def flow_data(path: Path | None, option: str = "--data") -> FlowData:
    """The data set of an option.

    Raises
    ------
    FileNotFoundError, ValueError
        If none was given, or it cannot be used.
    """
    if path is None:
        raise ValueError(f"which data? give {option} FILE.zarr; make one with: closura data generate kolmogorov --help")
    return open_flow(path)


def leak_note(trajectories: Sequence[int]) -> list[str]:
    """What has to be said beside numbers of trajectories that were seen."""
    if not trajectories:
        return []
    return [f"LEAK: trajectories {', '.join(map(str, trajectories))} were seen in training or validation."]


def settings_of(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Command and environment, for the record."""
    return {"command": command_line("evaluate", [name, *arguments]), "environment": describe_environment()}


def deliver(outputs: Outputs, results: Results, title: str, introduction: str) -> Results:
    """Write what was asked for, and print the tables."""
    notes = (introduction, *study_of(results)["notes"])
    outputs.deliver(
        {"--json": partial(write_json, results), "--out": lambda out: publish(results, out, title=title, notes=notes)},
        partial(print_tables, results, console=console),
    )
    return results
