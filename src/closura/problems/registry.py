"""The problems that can be asked for by name, each with the class of its settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from closura.problems.advection_setup import AdvectionConfiguration, advection
from closura.problems.burgers_setup import BurgersConfiguration, burgers
from closura.problems.problem import Problem


class Family(NamedTuple):
    """A kind of problem: its settings and the function that builds it from them."""

    configuration: type
    build: Callable[..., Problem]


PROBLEMS: dict[str, Family] = {
    "advection": Family(AdvectionConfiguration, advection),
    "burgers": Family(BurgersConfiguration, burgers),
}


def family(name: str) -> Family:
    """The problem of a name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    if name not in PROBLEMS:
        raise ValueError(f"unknown problem {name!r}; valid: {', '.join(PROBLEMS)}")
    return PROBLEMS[name]


def build_problem(configuration: Any, split: str = "train", *, data_dir: str | Path | None = None) -> Problem:
    """Build the problem that settings describe; their class says which it is.

    Parameters
    ----------
    configuration
        Settings of any registered problem.
    split
        "train", "validation" or "test".
    data_dir
        Folder with image files, for problems that use them.

    Raises
    ------
    TypeError
        If the settings belong to no registered problem.
    """
    for known in PROBLEMS.values():
        if type(configuration) is known.configuration:
            return known.build(configuration, split, data_dir=data_dir)
    raise TypeError(f"{type(configuration).__name__} are no settings of a problem; valid: {', '.join(PROBLEMS)}")
