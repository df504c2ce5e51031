"""Problems of settings: what they build, and what they share."""

import difflib
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from closura.core.definition import PROBLEMS as PROBLEMS
from closura.core.definition import ProblemDefinition, baselines_of, definition_of
from closura.core.mistakes import in_words
from closura.problems.from_functions import from_functions
from closura.problems.from_solvers import check_shapes, from_solvers
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
        found = definition(configuration, split, data_dir=data_dir)
    except TypeError as error:
        unknown = re.search(r"(from_solvers|from_functions)\(\) got an unexpected keyword argument '(\w+)'", str(error))
        takes: dict[str, Callable[..., Problem]] = {"from_solvers": from_solvers, "from_functions": from_functions}
        if unknown and (
            near := difflib.get_close_matches(unknown[2], inspect.signature(takes[unknown[1]]).parameters, 1)
        ):
            error.add_note(f"did you mean {near[0]}?")
        raise
    if not isinstance(found, Problem):
        raise ValueError(
            f"the function of problem {definition.name} must return a closura.Problem; got {in_words(found)}"
        )
    problem: Problem = replace(found, name=definition.name)
    further = baselines_of(problem.name, (*problem.names, *problem.baselines, *problem.finer))
    problem = problem.with_baselines(further) if further else problem
    if "split" not in dict(problem.description):
        how = ("split", f"{split} set: drawn by its own random keys")
        problem = replace(problem, description=(how, *problem.description))
    if problem.methods is not None:
        check_shapes(problem)
    return problem


def as_evaluated(configuration: Any) -> Any:
    """Settings of a problem without those that belong to a closure: equal ones share reference and baselines."""
    return definition_of(configuration).uncorrected(configuration)


def reference_identity(configuration: Any, split: str) -> str:
    """Text that tells the reference of these settings and split from all others."""
    return definition_of(configuration).reference_identity(configuration, split)


def as_trained(configuration: Any, trained: Any, *, keep: Collection[str] = ()) -> Any:
    """The settings with those that belong to a closure taken from its training, but for some names to keep."""
    return definition_of(configuration).as_trained(configuration, trained, keep=keep)
