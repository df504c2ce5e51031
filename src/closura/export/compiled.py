"""Exports as shared libraries: compiled, and called through ctypes."""

import ctypes
import math
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from closura.export.c import rendered
from closura.export.package import ExportError
from closura.grids import BOUNDARIES

FLAGS = ("-O3", "-fPIC", "-shared")
C_COMPILERS = ("cc", "gcc", "clang")
FORTRAN_COMPILERS = ("gfortran", "flang", "flang-new", "ifx", "nvfortran")


def compiler_of(given: str, known: Sequence[str]) -> list[str]:
    """The words of a compiler's command: the one given, or the first that is installed; none if there is none.

    Raises
    ------
    ExportError
        If the one given is not installed.
    """
    found = given.split() or [each for each in known if shutil.which(each)][:1]
    if given and not shutil.which(found[0]):
        raise ExportError(f"there is no compiler {given}: install it, or name another one")
    return found


def c_library(folder: Path, name: str, where: Path, *, compiler: str = "", flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Compile the C file of an export into a folder, and load it.

    Raises
    ------
    ExportError
        If there is no compiler, or it refuses.
    """
    command = compiler_of(compiler, C_COMPILERS)
    if not command:
        raise ExportError("no C compiler: install one, or name it with --compiler")
    return _library([*command, "-std=c99", *FLAGS, *flags], [folder / f"{name}.c"], where / f"{name}.so")


def fortran_library(
    folder: Path, card: dict[str, Any], where: Path, *, pure: bool, command: Sequence[str], flags: Sequence[str] = ()
) -> ctypes.CDLL:
    """Compile the Fortran of an export into a folder, with C beside it or pure, and load it.

    Raises
    ------
    ExportError
        If the compiler refuses.
    """
    name = card["name"]
    module = folder / f"{name}_{'pure' if pure else 'module'}.f90"
    shim = where / f"{module.stem}_shim.f90"
    values = {
        "name": name, "pure": pure, "axes": len(card["boundary"]), "observed": len(card["observation"]),
        "answered": len(card["action"]),
    }  # fmt: skip
    shim.write_text(rendered("shim.f90", values))
    objects = [] if pure else [folder / f"{name}.c"]
    return _library([*command, *FLAGS, *flags], [module, shim, *objects], where / f"{module.stem}.so")


def _library(command: Sequence[str], sources: Sequence[Path], library: Path) -> ctypes.CDLL:
    run = [*command, "-o", str(library), *(str(each.resolve()) for each in sources), "-lm"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=library.parent)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        first = next((line.strip() for line in lines if "error" in line.lower()), " ".join([*lines[-1:], *run][:1]))
        raise ExportError(f"{sources[0].name} does not compile: {first}")
    return ctypes.CDLL(str(library))


def c_answer(
    code: ctypes.CDLL, card: dict[str, Any], observation: Float[np.ndarray, "channel *grid"]
) -> Float[np.ndarray, "action *grid"]:
    """The action of a compiled export for an observation, float64, with the card's boundaries.

    Raises
    ------
    ExportError
        If the closure refuses it.
    """
    name = card["name"]
    grid = grid_of(observation.shape[1:], card["boundary"])
    handle = ctypes.c_void_p()
    status = getattr(code, f"{name}_init")(ctypes.byref(handle), ctypes.byref(grid))
    seen = np.ascontiguousarray(observation, np.float64)
    action = np.zeros((len(card["action"]), *seen.shape[1:]))
    if status == 0:
        status = getattr(code, f"{name}_apply")(handle, _pointers(seen), _pointers(action))
        free = getattr(code, f"{name}_free")
        free.argtypes = [ctypes.c_void_p]
        free(handle)
    if status:
        message = getattr(code, f"{name}_message")
        message.restype = ctypes.c_char_p
        raise ExportError(f"{name}: {message(status).decode()}")
    return action


def fortran_answer(
    code: ctypes.CDLL, card: dict[str, Any], observation: Float[np.ndarray, "channel *grid"]
) -> Float[np.ndarray, "action *grid"]:
    """The same of Fortran: there the first index of a grid runs fastest, and channels come last.

    Raises
    ------
    ExportError
        If the closure refuses it.
    """
    shape = observation.shape[1:]
    n = (ctypes.c_int * len(shape))(*shape)
    kinds = (ctypes.c_int * len(shape))(*(BOUNDARIES.index(each) for each in card["boundary"]))
    seen = np.asfortranarray(np.moveaxis(observation, 0, -1), np.float64)
    action = np.zeros((*shape, len(card["action"])), order="F")
    status = ctypes.c_int()
    pointer = ctypes.POINTER(ctypes.c_double)
    code.closura_call(n, kinds, seen.ctypes.data_as(pointer), action.ctypes.data_as(pointer), ctypes.byref(status))
    if status.value:
        raise ExportError(f"{card['name']} in Fortran: status {status.value} for {math.prod(shape)} cells")
    return np.moveaxis(action, -1, 0)


def grid_of(shape: Sequence[int], boundary: Sequence[str]) -> ctypes.Structure:
    """The argument of ``NAME_init`` for contiguous arrays."""
    axes = len(shape)

    class Grid(ctypes.Structure):
        _fields_ = (
            ("n", ctypes.c_size_t * axes), ("low", ctypes.c_int * axes), ("high", ctypes.c_int * axes),
            ("stride", ctypes.c_ssize_t * axes), ("out_stride", ctypes.c_ssize_t * axes),
        )  # fmt: skip

    grid = Grid()
    grid.n[:] = list(shape)
    grid.low[:] = grid.high[:] = [BOUNDARIES.index(each) for each in boundary]
    return grid


def _pointers(arrays: np.ndarray) -> Any:
    kind = ctypes.POINTER(ctypes.c_double)
    return (kind * len(arrays))(*(each.ctypes.data_as(kind) for each in arrays))
