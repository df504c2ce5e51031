"""The problem that a command is given first: by name, as a Python file, or as an object in a module."""

from collections.abc import Iterable, Sequence
from types import FunctionType
from typing import Any, get_args

from closura.commands.console import errors
from closura.commands.options import HELP, Group
from closura.core import Registry
from closura.core.definition import BASELINES, PROBLEMS, ProblemDefinition
from closura.settings import hints_of

FITS: Registry[FunctionType] = Registry("fit", FunctionType)
"""Commands that fit something to data sets, ``run(words)``, by the name that stands where a problem does."""
EVALUATIONS: Registry[FunctionType] = Registry("evaluation", FunctionType)
"""Evaluations of problems that have their own, and of fits."""
ACTIONS: Registry[FunctionType] = Registry("action", FunctionType)
"""What ``closura data`` does."""


def is_place(text: str) -> bool:
    """Whether a word is a Python file, or an object in a module."""
    return text.partition(":")[0].endswith(".py") or (":" in text and not text.startswith("-"))


def named_problem(arguments: Sequence[str], command: str, *, others: Iterable[str] = ()) -> ProblemDefinition | None:
    """The problem that the first argument names; None for help that names none.

    ``command`` and the ``others`` that may stand there are for the message where there is none, or it is unknown.
    """
    first = arguments[0] if arguments and not arguments[0].startswith("-") else ""
    if not first:
        if HELP & set(arguments):
            return None
        valid = ", ".join([*PROBLEMS, *others])
        raise ValueError(f"which problem? closura {command} PROBLEM ...; valid: {valid}, or FILE.py")
    found = PROBLEMS.find(first)
    if command in ("evaluate", "benchmark"):
        check_baselines(found.name)
    return found


def options_of(options: type[Any], found: ProblemDefinition | None) -> Group:
    """The options of a command for a problem; help shows those of images and published settings where it has some."""
    if found is None:
        return Group(options)
    presets = get_args(hints_of(options)["preset"])
    if not found.has_preset("paper"):
        presets = tuple(name for name in presets if name != "paper")
    unused = {"data_dir": not found.reads_data, "preset": len(presets) < 2}
    return Group(options, choices={"preset": presets}, hidden=[name for name, never in unused.items() if never])


def check_baselines(problem: str) -> None:
    """Refuse baselines that a problem cannot take, and say which ones belong to no problem that is known."""
    for each in BASELINES.all().values():
        if each.problem not in PROBLEMS:
            errors.print(f"note: baseline {each.name} is for {each.problem}, a problem that is not known here")
        elif each.problem == problem and PROBLEMS.find(problem).where == "interfaces":
            raise ValueError(f"baseline {each.name}: the methods of {problem} weigh fluxes; no others can be added")
