"""Exporting a trained closure: a folder with its code, weights, card and test vectors, which ``verify`` checks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from closura.cards.card import FORMAT, facts_of, fitting_card
from closura.cards.facts import in_its_precision, made_for
from closura.cards.probe import answer, drawn
from closura.closures import ActorCritic
from closura.closures.convolution import plain_convolutions
from closura.closures.program import Program
from closura.export.c import hash_of, identifier, sources
from closura.export.to_onnx import onnx_model
from closura.io.closures import shipped
from closura.io.files import write_atomically
from closura.io.weights import load_weights, read_header
from closura.plain import to_json

EARLIER_FORMAT = "closura export"
USUAL = 4
"""Training simulations from which the range is taken, where no card has it."""
KEPT = ("problem", "observation", "action", "actions", "how_to_apply", "bound", "boundary", "range", "licence", "hash")
"""Of the card inside of ONNX files."""
TARGETS = ("c", "fortran", "fortran-pure", "onnx", "stablehlo")


class ExportError(ValueError):
    """A closure that cannot be exported as asked, with the reason."""


def export(
    closure_path: str | Path,
    out: str | Path,
    *,
    to: Sequence[str] = ("c",),
    name: str = "",
    simulations: int | None = None,
) -> dict[str, Any]:
    """Write a closure for use outside of Python.

    Parameters
    ----------
    closure_path
        A run folder, a ``.safetensors`` file, or the name of a closure that comes with the package.
    out
        The folder; files of the same names are replaced.
    to
        "c": C99; "fortran": a module of Fortran 2008 around it as well; "fortran-pure": Fortran 2008 alone, for
        closures that see their own cell or interface only; "onnx": for any batch and grid; "stablehlo": a module for
        the grid that the closure was trained on, by ``jax.export``.
    name
        Prefix of names in C (default: that of the run or file).
    simulations
        Training simulations from which the range of the observation is taken (default: the range in the card beside the
        weights, else 4 simulations); 0: none, and no guard.

    Returns
    -------
    The card, as it is written to ``NAME.json``.

    Raises
    ------
    ExportError
        If the closure is of a kind that has no ``program()``, or a target is unknown or not for this closure.
    FileNotFoundError, WeightsError
        If there is no closure at the path.
    """
    unknown = [each for each in to if each not in TARGETS]
    if unknown or not to:
        raise ExportError(f"unknown target {', '.join(unknown) or '(none)'}; valid: {', '.join(TARGETS)}")
    path = shipped(closure_path)
    file = path / "weights.safetensors" if path.is_dir() else path
    with in_its_precision(read_header(file)):
        return _export(
            file, Path(out), identifier(name or (path.name if path.is_dir() else path.stem)), to, simulations
        )


def _is_card(path: Path) -> bool:
    text = path.read_text(errors="replace")
    return FORMAT in text or EARLIER_FORMAT in text


def _export(file: Path, folder: Path, name: str, to: Sequence[str], simulations: int | None) -> dict[str, Any]:
    closure = load_weights(file)
    if not hasattr(closure.closure if isinstance(closure, ActorCritic) else closure, "program"):
        raise ExportError(
            f"{type(closure).__name__} cannot be exported to {', '.join(to)}: it has no method program() "
            "(closura.closures.program says what it returns)"
        )
    program = closure.program()
    known = _card(file, simulations)
    card = known | {"name": name, "hash": hash_of(program), "targets": list(to)}
    observation = drawn(closure.spec, card["range"])
    vectors = observation, answer(closure, observation)
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str | bytes] = {}
    shown = card | {"title": f"{name}: a learned closure", "made_for": made_for(card)}
    try:
        files |= sources(program, name, card=shown, vectors=vectors, to=to)
    except ValueError as error:
        raise ExportError(f"{name}: {error}") from error
    if "onnx" in to:
        files[f"{name}.onnx"] = _onnx(program, name, card)
    if "stablehlo" in to:
        files[f"{name}.stablehlo"] = _stablehlo(closure, card["grid"])
    files[f"{name}.safetensors"] = file.read_bytes()
    card["files"] = sorted([*files, f"{name}.json"])
    files[f"{name}.json"] = to_json(card, indent=1) + "\n"
    for file_name, content in files.items():
        write_atomically(folder / file_name, content if isinstance(content, bytes) else content.encode())
    return card


def read_card(folder: str | Path) -> dict[str, Any]:
    """The card of an export.

    Raises
    ------
    FileNotFoundError
        If the folder holds none.
    ExportError
        If it is damaged.
    """
    cards = [each for each in sorted(Path(folder).glob("*.json")) if _is_card(each)]
    if not cards:
        raise FileNotFoundError(f"{folder} holds no export: expected a folder made by closura export")
    try:
        card: dict[str, Any] = json.loads(cards[0].read_text(encoding="utf-8"))
        missing = [key for key in ("format", "name", "hash", "targets", "observation", "action") if key not in card]
    except (ValueError, TypeError) as error:
        raise ExportError(f"{cards[0]} is damaged: {error}") from error
    if missing:
        raise ExportError(f"{cards[0]} has no {', '.join(missing)}: it is damaged")
    return card


def _card(file: Path, simulations: int | None) -> dict[str, Any]:
    """The card beside the weights; where there is none, or simulations are asked for, one that is made now."""
    try:
        card = fitting_card(file)
        if card is not None and not simulations:
            return card if simulations is None else card | {"range": None}
        found = facts_of(file, simulations=USUAL if simulations is None else simulations)
    except ValueError as error:
        raise ExportError(str(error)) from error
    return found if card is None else found | {"evaluations": card["evaluations"]}


def _onnx(program: Program, name: str, card: dict[str, Any]) -> bytes:
    about = {key: card[key] if isinstance(card[key], str) else to_json(card[key]) for key in KEPT}
    try:
        return onnx_model(program, name, about)
    except ImportError as error:
        raise ExportError("onnx needs the package onnx: pip install 'closura[export]'") from error
    except ValueError as error:
        raise ExportError(f"{name}: {error}") from error


def _stablehlo(closure: Any, grid: Sequence[int]) -> bytes:
    shape = jax.ShapeDtypeStruct((len(closure.spec.observation), *grid), jnp.float32)
    limited = closure.spec.limit(closure)
    with plain_convolutions():
        exported = jax.export.export(jax.jit(lambda seen: limited(seen)))(shape)
    try:
        return bytes(exported.serialize())
    except ImportError as error:
        raise ExportError("stablehlo needs flatbuffers: pip install 'closura[export]'") from error
