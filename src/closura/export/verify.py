"""Verifying exports: they are compiled or loaded, and their answers compared with those of JAX."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from closura.cards.facts import in_its_precision
from closura.export.c import TOLERANCE, hash_of
from closura.export.compiled import (
    FORTRAN_COMPILERS,
    c_answer,
    c_library,
    compiler_of,
    fortran_answer,
    fortran_library,
)
from closura.export.package import ExportError, read_card
from closura.io.weights import load_weights, read_header

SIZES: dict[int, list[tuple[int, ...]]] = {1: [(1001,), (5,)], 2: [(24, 17), (5, 3)], 3: [(7, 9, 8), (3, 5, 2)]}
"""Grids on which answers are compared, by the number of axes: odd sizes, and ones smaller than a neighbourhood."""


def verify(
    folder: str | Path, *, compiler: str = "", fortran_compiler: str = "", flags: Sequence[str] = ()
) -> dict[str, float]:
    """Compare an export with its closure, computed by JAX.

    Parameters
    ----------
    folder
        Made by :func:`closura.export.package.export`.
    compiler
        Of C (default: cc, else gcc or clang).
    fortran_compiler
        Of Fortran (default: gfortran or another one that is installed; without one Fortran is not compared).
    flags
        Further flags for both.

    Returns
    -------
    The largest difference of each check, relative to the largest action; the names of checks begin with the target.

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
    with in_its_precision(read_header(weights)):
        found = _verify(folder, card, load_weights(weights), compiler, fortran_compiler, flags)
    wrong = {name: value for name, value in found.items() if not value <= TOLERANCE}
    if wrong:
        shown = ", ".join(f"{name} {value:.1e}" for name, value in wrong.items())
        raise ExportError(f"{folder} differs from JAX by more than {TOLERANCE:g}: {shown}")
    return found


def _verify(
    folder: Path, card: dict[str, Any], closure: Any, compiler: str, fortran_compiler: str, flags: Sequence[str]
) -> dict[str, float]:
    if hash_of(closure.program()) != card["hash"]:
        raise ExportError(f"the weights in {folder} are not those of its card")
    found: dict[str, float] = {}
    targets = set(card["targets"])
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        if targets & {"c", "fortran"}:
            code = c_library(folder, card["name"], where, compiler=compiler, flags=flags)
            found |= _each("c", closure, partial(c_answer, code, card), SIZES)
        fortran = compiler_of(fortran_compiler, FORTRAN_COMPILERS)
        for target in sorted(targets & {"fortran", "fortran-pure"}) if fortran else ():
            pure = target == "fortran-pure"
            code = fortran_library(folder, card, where, pure=pure, command=fortran, flags=flags)
            found |= _each(target, closure, partial(fortran_answer, code, card), SIZES)
    if "onnx" in targets:
        found |= _each("onnx", closure, partial(onnx_answer, folder / f"{card['name']}.onnx"), SIZES)
    if "stablehlo" in targets:
        exported = jax.export.deserialize(bytearray((folder / f"{card['name']}.stablehlo").read_bytes()))
        seen = observation_for(closure, tuple(card["grid"]))
        found["stablehlo"] = _difference(np.asarray(exported.call(jnp.asarray(seen, jnp.float32))), closure, seen)
    return found


def onnx_answer(path: Path, observation: np.ndarray) -> np.ndarray:
    """The action by onnxruntime for two members: the observation, and it mirrored along its first axis.

    Raises
    ------
    ExportError
        If onnxruntime is missing.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ExportError("onnx is verified by onnxruntime: pip install 'closura[export]'") from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    kind = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    batch = np.stack([observation[:, ::-1], observation]).astype(kind)
    answers = session.run(["action"], {"observation": batch})[0]
    return np.asarray(answers[1], np.float64)


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


def _each(
    name: str, closure: Any, answer: Callable[[np.ndarray], np.ndarray], sizes: Mapping[int, Sequence[tuple[int, ...]]]
) -> dict[str, float]:
    """The differences on grids of several sizes."""
    found = {}
    for shape in sizes[closure.spec.dimensions]:
        seen = observation_for(closure, shape)
        found[f"{name} {'x'.join(map(str, shape))}"] = _difference(answer(seen), closure, seen)
    return found
