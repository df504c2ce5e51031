"""Mistakes in code of users, told in one line: where in their file, what happened, and what was expected."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from closura.core.registry import FILE_MODULE

_TRACED = "JAX traces this code: take jax.numpy for NumPy, jnp.where for `if`, and make no numbers or lists of arrays"


def place_of(error: BaseException) -> str:
    """File and line of a user that an error passed last; nothing where it passed none."""
    frames, place = error.__traceback__, ""
    while frames is not None:
        if str(frames.tb_frame.f_globals.get("__name__", "")).startswith(FILE_MODULE):
            place = f"{Path(frames.tb_frame.f_code.co_filename).name}, line {frames.tb_lineno}"
        frames = frames.tb_next
    return place


def in_a_line(error: BaseException) -> str:
    """What an error says; its first line, with the place, where it passed a user's file."""
    place = place_of(error)
    if not place:
        return str(error)
    line = ", ".join([(str(error).splitlines() or [""])[0], *getattr(error, "__notes__", [])])
    if isinstance(error, jax.errors.JAXTypeError):
        line = f"{line.split(' The problem arose')[0]} {_TRACED}"
    if isinstance(error, UserWarning) and "Explicitly requested dtype" in line:
        line = "64-bit arrays are off: run with JAX_ENABLE_X64=1, or give the settings precision = 'float64'"
    return f"{place}: {line}" if isinstance(error, ValueError) else f"{place}: {type(error).__name__}: {line}"


def in_callback(error: BaseException) -> str:
    """The ValueError that a function has raised that was called back from a compiled program; nothing for others."""
    said, _, own = str(error).rpartition("\nValueError: ")
    return " ".join(own.split()) if "callback" in said else ""


@contextmanager
def told_as(what: str) -> Iterator[None]:
    """Errors of users' code within are ValueErrors in a line, after ``what``."""
    try:
        yield
    except Exception as error:
        placed = place_of(error) != ""
        said = in_a_line(error) if placed else str(error).partition("\n")[0]
        kind = "" if placed or isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{what}: {kind}{said}") from error


def in_words(value: Any) -> str:
    """What was got instead of something, in words."""
    if value is None:
        return "nothing: forgot `return`?"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of {value.dtype} with shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {', '.join(in_words(item) for item in value) or 'nothing'}"
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
