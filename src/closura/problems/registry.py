"""Problems of settings: what they build, and what they share."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from closura.core.definition import PROBLEMS as PROBLEMS
from closura.core.definition import ProblemDefinition, definition_of
from closura.problems.problem import Problem


def family(name: str) -> ProblemDefinition:
    """The problem of a name, a file or an object in a module.

    Raises
    ------
    ValueError
        If it is unknown; the message lists the valid ones.
    """
    return PROBLEMS.find(name)


def build_problem(configuration: Any, split: str = "train", *, data_dir: str | Path | None = None) -> Problem:
    """Build the problem that settings describe; their class says which it is.

    Parameters
    ----------
    configuration
        Settings of any problem.
    split
        "train", "validation" or "test".
    data_dir
        Folder with image files, for problems that use them.

    Raises
    ------
    TypeError
        If the settings belong to no problem that is known.
    """
    found: Problem = definition_of(configuration).build(configuration, split, data_dir=data_dir)  # type: ignore[arg-type]
    return found


def judged_on(configuration: Any) -> Any:
    """Settings of a problem without those that belong to a closure: equal ones share reference and baselines."""
    return definition_of(configuration).uncorrected(configuration)


def truth_identity(configuration: Any, split: str) -> str:
    """Text that tells the reference of these settings and split from all others."""
    return definition_of(configuration).reference_identity(configuration, split)


def as_trained(configuration: Any, trained: Any, *, keep: Collection[str] = ()) -> Any:
    """The settings with those that belong to a closure taken from its training, but for some names to keep."""
    return definition_of(configuration).as_trained(configuration, trained, keep=keep)
