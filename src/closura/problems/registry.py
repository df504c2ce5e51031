"""Problems of settings: what they build, and what they share."""

import difflib
import re
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from closura.core.definition import PROBLEMS as PROBLEMS
from closura.core.definition import ProblemDefinition, baselines_of, definition_of
from closura.core.mistakes import in_words
from closura.core.problem import Problem as Described
from closura.problems.from_solvers import from_solvers
from closura.problems.problem import Problem


def family(name: str) -> ProblemDefinition:
    """The problem of a name, a file or an object in a module."""
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
    definition = definition_of(configuration)
    try:
        found: Problem | Described = definition(configuration, split, data_dir=data_dir)
    except TypeError as error:
        unknown = re.search(r"Problem.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
        near = difflib.get_close_matches(unknown[1], [f.name for f in fields(Described)], 1) if unknown else []
        if near:
            error.add_note(f"did you mean {near[0]}?")
        raise
    if isinstance(found, Described):
        return from_solvers(definition.name, _completed(definition.name, found), split)
    if not isinstance(found, Problem):
        raise ValueError(
            f"the function of problem {definition.name} must return a closura.Problem; got {in_words(found)}"
        )
    further = baselines_of(definition.name, (*found.names, *found.baselines, *found.finer))
    made = {name: baseline(found.grid) for name, baseline in further.items()}
    return replace(found, baselines={**found.baselines, **made}) if made else found


def described_by_solvers(configuration: Any, split: str = "test") -> Described | None:
    """What the author of a problem wrote, where it is described by its solvers."""
    definition = definition_of(configuration)
    found = definition(configuration, split)
    return _completed(definition.name, found) if isinstance(found, Described) else None


def _completed(name: str, found: Described) -> Described:
    """With the baselines that were added to the problem by plug-ins."""
    return found.with_baselines(baselines_of(name, (found.uncorrected, *found.baselines)))


def as_evaluated(configuration: Any) -> Any:
    """Settings of a problem without those that belong to a closure: equal ones share reference and baselines."""
    return definition_of(configuration).uncorrected(configuration)


def reference_identity(configuration: Any, split: str) -> str:
    """Text that tells the reference of these settings and split from all others."""
    return definition_of(configuration).reference_identity(configuration, split)


def as_trained(configuration: Any, trained: Any, *, keep: Collection[str] = ()) -> Any:
    """The settings with those that belong to a closure taken from its training, but for some names to keep."""
    return definition_of(configuration).as_trained(configuration, trained, keep=keep)
