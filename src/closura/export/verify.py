"""Verifying exports: they are compiled or loaded, and their answers compared with those of JAX."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from closura.export.c import TOLERANCE, hash_of
from closura.export.package import ExportError, needs_double, read_card
from closura.grids import BOUNDARIES
from closura.io.weights import load_weights, read_header

FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared")


def verify(folder: str | Path, *, compiler: str = "", flags: Sequence[str] = ()) -> dict[str, float]:
    """Compare an export with its closure, computed by JAX.

    Parameters
    ----------
    folder
        Made by :func:`closura.export.package.export`.
    compiler
        Of C (default: cc, else gcc or clang).
    flags
        Further flags for it.

    Returns
    -------
    The largest difference of each check, relative to the largest action.

    Raises
    ------
    ExportError
        If a difference is above 1e-5, the weights are others than the card says, or nothing can be compiled.
    FileNotFoundError
        If there is no export.
    """
    folder = Path(folder)
    card = read_card(folder)
    weights = folder / f"{card['name']}.safetensors"
    with jax.enable_x64(needs_double(read_header(weights)) or bool(jax.config.read("jax_enable_x64"))):
        found = _verify(folder, card, load_weights(weights), compiler, flags)
    wrong = {name: value for name, value in found.items() if not value <= TOLERANCE}
    if wrong:
        shown = ", ".join(f"{name} {value:.1e}" for name, value in wrong.items())
        raise ExportError(f"{folder} differs from JAX by more than {TOLERANCE:g}: {shown}")
    return found


def _verify(folder: Path, card: dict[str, Any], closure: Any, compiler: str, flags: Sequence[str]) -> dict[str, float]:
    if hash_of(closure.program()) != card["hash"]:
        raise ExportError(f"the weights in {folder} are not those of its card")
    found: dict[str, float] = {}
    if "c" in card["targets"] or "fortran" in card["targets"]:
        found |= _verify_c(folder, card, closure, compiler, flags)
    if "stablehlo" in card["targets"]:
        exported = jax.export.deserialize(bytearray((folder / f"{card['name']}.stablehlo").read_bytes()))
        seen = observation_for(closure, tuple(card["grid"]))
        found["stablehlo"] = _difference(np.asarray(exported.call(jnp.asarray(seen, jnp.float32))), closure, seen)
    return found


def observation_for(closure: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A random observation, ``(channel, *shape)``; positive where logarithms are taken."""
    spec = closure.spec
    seen = np.random.default_rng(sum(shape)).normal(size=(len(spec.observation), *shape))
    if spec.where == "interfaces":
        seen = 1 / (1 + np.exp(-seen))
        seen[-1] = 1 - seen[-2]
    if spec.diffusivity is not None:
        seen[spec.diffusivity] = np.abs(seen[spec.diffusivity]) + 0.1
    return np.asarray(seen, np.float64)


def _difference(action: np.ndarray, closure: Any, seen: np.ndarray) -> float:
    kind = jnp.float64 if closure.spec.where == "interfaces" else jnp.float32
    limited = closure.spec.limit(closure)
    wanted = np.asarray(limited(jnp.asarray(seen, kind)), np.float64)
    return float(np.abs(action - wanted).max() / max(np.abs(wanted).max(), 1e-300))


def _compiled(folder: Path, name: str, compiler: str, flags: Sequence[str], where: Path) -> ctypes.CDLL:
    command = compiler or next((each for each in ("cc", "gcc", "clang") if shutil.which(each)), "")
    if not command or not shutil.which(command.split()[0]):
        raise ExportError(f"no C compiler{f' {compiler}' if compiler else ''}: install one, or name it with --compiler")
    library = where / f"{name}.so"
    run = [*command.split(), *FLAGS, *flags, "-o", str(library), str(folder / f"{name}.c"), "-lm"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(f"{name}.c does not compile: {done.stderr.strip().splitlines()[-1] if done.stderr else run}")
    return ctypes.CDLL(str(library))


def _verify_c(
    folder: Path, card: dict[str, Any], closure: Any, compiler: str, flags: Sequence[str]
) -> dict[str, float]:
    spec = closure.spec
    sizes: dict[int, list[tuple[int, ...]]] = {1: [(33,), (5,)], 2: [(24, 17), (5, 3)], 3: [(7, 9, 8), (3, 5, 2)]}
    with tempfile.TemporaryDirectory() as place:
        code = _compiled(folder, card["name"], compiler, flags, Path(place))
        found = {}
        for shape in sizes[spec.dimensions]:
            seen = observation_for(closure, shape)
            found[f"c {'x'.join(map(str, shape))}"] = _difference(answer(code, card, seen), closure, seen)
    return found


def answer(code: ctypes.CDLL, card: dict[str, Any], observation: np.ndarray) -> np.ndarray:
    """The action of a compiled export for an observation ``(channel, *grid)``, float64, with the card's boundaries.

    Raises
    ------
    ExportError
        If the closure refuses it.
    """
    axes, name = observation.ndim - 1, card["name"]
    grid = _grid(axes)(
        n=observation.shape[1:],
        low=[BOUNDARIES.index(each) for each in card["boundary"]],
        high=[BOUNDARIES.index(each) for each in card["boundary"]],
    )
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


def _grid(axes: int) -> Any:
    class Grid(ctypes.Structure):
        _fields_ = (
            ("n", ctypes.c_size_t * axes), ("low", ctypes.c_int * axes), ("high", ctypes.c_int * axes),
            ("stride", ctypes.c_ssize_t * axes), ("out_stride", ctypes.c_ssize_t * axes),
        )  # fmt: skip

    def make(**values: Sequence[int]) -> Grid:
        grid = Grid()
        for key, numbers in values.items():
            getattr(grid, key)[:] = list(numbers)
        return grid

    return make


def _pointers(arrays: np.ndarray) -> Any:
    kind = ctypes.POINTER(ctypes.c_double)
    return (kind * len(arrays))(*(each.ctypes.data_as(kind) for each in arrays))
