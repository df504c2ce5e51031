"""Closures as source code: C99, a module of Fortran around it, or Fortran alone, with the weights inside."""

import hashlib
import re
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from closura.closures.program import Program
from closura.export.fortran import values as fortran_values
from closura.export.fortran import vector
from closura.export.tables import array, number, tables
from closura.grids import BOUNDARIES

TOLERANCE = 1e-5
"""Of exports against JAX, relative to the largest action: both compute in float32, in other orders."""
TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, trim_blocks=True,
        keep_trailing_newline=True, variable_start_string="@{", variable_end_string="}@",
        block_start_string="/*%", block_end_string="%*/", comment_start_string="/*#", comment_end_string="#*/",
    )  # fmt: skip


def identifier(name: str) -> str:
    """A name that C and Fortran take, made of another one.

    Raises
    ------
    ValueError
        If nothing is left of it.
    """
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    if not found or not found[0].isalpha():
        found = f"closure_{found}".rstrip("_")
    return found[:40]


def hash_of(program: Program) -> str:
    """SHA-256 over all weights, as the exports and their cards name it."""
    digest = hashlib.sha256()
    for each in (*program.passes, *program.spread):
        for layer in each.layers:
            digest.update(np.ascontiguousarray(layer.weight).tobytes() + np.ascontiguousarray(layer.bias).tobytes())
    return digest.hexdigest()


def sources(
    program: Program,
    name: str,
    *,
    card: Mapping[str, Any],
    vectors: tuple[np.ndarray, np.ndarray] | None = None,
    to: Collection[str] = ("c",),
) -> dict[str, str]:
    """The files of an export by their names.

    Parameters
    ----------
    program
        What the closure computes.
    name
        Prefix of all names in C, an identifier.
    card
        ``title``, ``about``, ``made_for``, ``observation`` and ``actions`` (names of the channels), ``how_to_apply``,
        ``grid``, and ``range``: lowest and highest value of each observed channel, or None.
    vectors
        An observation and its action, for the self-test.
    to
        "c", "fortran" (C and a module around it), "fortran-pure" (without C).

    Raises
    ------
    ValueError
        If a closure sees more than its own cell, and pure Fortran is asked for.
    """
    spec = program.spec
    known = card.get("range")
    values: dict[str, Any] = {
        "name": name, "prefix": name.upper(), "hash": hash_of(program), "fortran": "fortran" in to,
        "title": card["title"], "about": card["about"], "made_for": card["made_for"],
        "observation_lines": [f"{i}: {text}" for i, text in enumerate(card["observation"])],
        "action_lines": [f"{i}: {text}" for i, text in enumerate(card["actions"])],
        "how_to_apply": card["how_to_apply"], "observed": len(spec.observation), "answered": len(spec.action),
        "has_range": int(known is not None), "example": card["grid"],
    }  # fmt: skip
    low, high = np.transpose(known) if known is not None else 2 * [np.zeros(len(spec.observation))]
    found = {}
    if "fortran-pure" in to:
        pure = values | fortran_values(program) | {"lowest": vector(low), "highest": vector(high)}
        found[f"{name}_pure.f90"] = rendered("closure_pure.f90", pure)
    if not {"c", "fortran"} & set(to):
        return found
    files = {f"{name}.h": "closure.h", f"{name}.c": "closure.c"}
    values |= tables(program) | {"lowest": ", ".join(map(number, low)), "highest": ", ".join(map(number, high))}
    if "fortran" in to:
        files[f"{name}_module.f90"] = "closure_module.f90"
    if vectors is not None:
        observation, action = vectors
        values |= {
            "test_arrays": [
                array("OBSERVATION", "double", observation.reshape(len(observation), -1).astype(np.float64)),
                array("ACTION", "double", action.reshape(len(action), -1).astype(np.float64)),
            ],
            "test_shape": observation.shape[1:], "test_cells": observation[0].size, "tolerance": TOLERANCE,
            "test_boundary": BOUNDARIES.index(spec.boundary[0]),
        }  # fmt: skip
        files |= {f"{name}_test.c": "self_test.c", "Makefile": "Makefile"}
    return found | {file: rendered(template, values) for file, template in files.items()}


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A file made from one of the templates."""
    return _environment().get_template(template).render(values)
