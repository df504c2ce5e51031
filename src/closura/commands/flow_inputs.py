"""What the commands that judge and run fits to flows have in common: how they read what they are given."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from closura.commands.closures import named_closure
from closura.commands.results import command_line
from closura.evaluation.flows import ClosureSubject, load_closure_subject
from closura.evaluation.flows.subjects import ROWS
from closura.runs.environment import describe_environment
from closura.trajectories import FlowData, open_flow


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


def load_closure(text: str) -> ClosureSubject:
    """The closure at PATH or NAME=PATH."""
    return load_closure_subject(*named_closure(text))


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
