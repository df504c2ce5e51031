"""``closura new``: a file to begin with, which runs as it is."""

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

from closura.commands.console import console
from closura.commands.options import Positional, parse
from closura.core.definition import PROBLEMS
from closura.io.files import write_atomically

ENDINGS = {"c": "c", "fortran": "F90"}
"""Of programs, by language."""
CLIENTS = {"c": "closura_worker.h", "fortran": "closura_worker.f90"}


@dataclass(frozen=True)
class NewOptions:
    """What to write.

    Parameters
    ----------
    kind
        "problem": a problem of your own in a file, to be changed.
    name
        Its name: letters, digits and hyphens.
    solver
        What the solver is written in: a function in "numpy" or "jax", or a program in "c" or "fortran".
    folder
        Where to write.
    """

    kind: Positional[Literal["problem"]]
    name: Positional[str]
    solver: Literal["numpy", "jax", "c", "fortran"] = "numpy"
    folder: Path = Path()


def run_new(arguments: Sequence[str]) -> list[Path]:
    """Write the files."""
    options = parse(
        NewOptions, arguments, prog="closura new",
        description="A file to begin with: a problem of your own, commented, which runs as it is.",
    )  # fmt: skip
    written = new_problem(options.name, options.solver, options.folder)
    file = written[0]
    console.print(f"wrote {', '.join(map(str, written))}", soft_wrap=True)
    make = f"make -C {file.parent} && " if options.solver in ENDINGS else ""
    console.print(f"next: {make}closura check {file}", soft_wrap=True)
    return written


def new_problem(name: str, solver: str, folder: Path) -> list[Path]:
    """Write a problem's file and, for programs, its source, the client and a Makefile; the paths, the problem's first.

    Raises
    ------
    ValueError
        If the name cannot be one, is taken, or a file is there already.
    """
    from jinja2 import Environment, StrictUndefined

    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or keyword.iskeyword(module):
        raise ValueError(f"a problem's name is lower-case letters, digits and hyphens, such as my-flow; got {name!r}")
    if name in PROBLEMS:
        raise ValueError(f"{name} is a problem of closura already: choose another name")
    made = Environment(
        variable_start_string="@{", variable_end_string="}@", block_start_string="/*%", block_end_string="%*/",
        comment_start_string="/*#", comment_end_string="#*/", trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, undefined=StrictUndefined, autoescape=False,
    )  # fmt: skip
    templates = files("closura") / "templates"
    ending = ENDINGS.get(solver, "")
    facts = {
        "name": module, "title": name, "program": bool(ending), "ending": ending, "jax": solver == "jax",
        "fortran": solver == "fortran",
    }  # fmt: skip

    def filled(template: str) -> str:
        return made.from_string((templates / f"{template}.jinja").read_text()).render(facts)

    texts = {f"{module}.py": filled("problem.py")}
    if ending:
        texts[f"{module}.{ending}"] = filled(f"solver.{ending}")
        texts[CLIENTS[solver]] = (files("closura") / "host" / "clients" / CLIENTS[solver]).read_text()
        texts["Makefile"] = filled("Makefile")
    there = [file for file in texts if (folder / file).exists()]
    if there:
        raise ValueError(f"{folder / there[0]} is there already: choose another name or --folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        write_atomically(folder / file, text.encode())
    return [folder / file for file in texts]
