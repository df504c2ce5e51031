"""Exporting a trained closure: a folder with its code, weights, card and test vectors, which ``verify`` checks."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import closura
from closura.closures import ActorCritic
from closura.closures._checks import count_parameters
from closura.closures.convolution import plain_convolutions
from closura.closures.program import Program
from closura.core.definition import PROBLEMS
from closura.export.c import hash_of, identifier, sources
from closura.export.to_onnx import onnx_model
from closura.io.closures import shipped
from closura.io.files import write_atomically
from closura.io.weights import load_weights, read_header
from closura.plain import to_json
from closura.problems import Problem, build_problem
from closura.runs.configuration import TrainConfiguration, from_plain
from closura.simulation.ranges import recorded

CARD_FORMAT = "closura export"
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
    simulations: int = 4,
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
        Training simulations from which the range of the observation and the test vectors are taken; 0: none, and no
        guard.

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
    header = read_header(file)
    with jax.enable_x64(needs_double(header) or bool(jax.config.read("jax_enable_x64"))):
        return _export(
            file, header, Path(out), identifier(name or (path.name if path.is_dir() else path.stem)), to, simulations
        )


def needs_double(header: dict[str, Any]) -> bool:
    """Whether a closure was trained in double precision, as those at interfaces are."""
    configuration = header["metadata"].get("configuration")
    settings = configuration.get("problem", {}) if isinstance(configuration, dict) else {}
    return header["decision"].get("agents") == "interfaces" or settings.get("precision") == "float64"


def _export(
    file: Path, header: dict[str, Any], folder: Path, name: str, to: Sequence[str], simulations: int
) -> dict[str, Any]:
    closure = load_weights(file)
    if not hasattr(closure.closure if isinstance(closure, ActorCritic) else closure, "program"):
        raise ExportError(
            f"{type(closure).__name__} cannot be exported to {', '.join(to)}: it has no method program() "
            "(closura.closures.program says what it returns)"
        )
    program = closure.program()
    configuration = _configuration(header)
    problem = None if configuration is None else _problem(configuration)
    vectors, known = None, None
    if problem is not None and simulations:
        vectors, known = _recorded(problem, closure, simulations)
    if vectors is None:
        vectors = _drawn(closure)
    card = _card(name, header, closure, problem, known) | {"hash": hash_of(program), "targets": list(to)}
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str | bytes] = {}
    shown = card | {"title": f"{name}: a learned closure", "made_for": _made_for(card)}
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
    cards = [each for each in sorted(Path(folder).glob("*.json")) if CARD_FORMAT in each.read_text(errors="replace")]
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


def _configuration(header: dict[str, Any]) -> TrainConfiguration | None:
    plain = header["metadata"].get("configuration")
    return from_plain(plain) if isinstance(plain, dict) else None


def _problem(configuration: TrainConfiguration) -> Problem:
    """The problem of the training; generated images where it had images, which are not needed for its range."""
    settings = configuration.problem
    images = {"images": "synthetic"} if hasattr(settings, "images") else {}
    return build_problem(replace(settings, **images), "train")


def _recorded(problem: Problem, closure: Any, simulations: int) -> tuple[Any, Any]:
    """An observation with its action, and the range of each observed channel over training simulations."""
    if problem.spec.where != "cells":
        return None, None
    try:
        known, seen = recorded(problem, closure, simulations)
    except ValueError as error:
        raise ExportError(str(error)) from error
    seen = seen.astype(np.float32)
    seen = seen[(slice(None), *(slice(0, 14 - 2 * axis) for axis in range(seen.ndim - 1)))]
    return _answered(closure, seen), known


def _drawn(closure: Any) -> tuple[np.ndarray, np.ndarray]:
    """A smooth observation of no problem in particular, and its action."""
    spec = closure.spec
    shape = (12, 10, 8)[: spec.dimensions] if spec.where == "cells" else (40,)
    places = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    rng = np.random.default_rng(0)
    seen = []
    for _ in spec.observation:
        phases, waves = rng.uniform(0, 2 * np.pi, len(shape)), rng.integers(1, 3, len(shape))
        parts = zip(places, phases, waves, strict=True)
        seen.append(sum(np.sin(2 * np.pi * k * x + p) for x, p, k in parts) / len(shape))
    observation: np.ndarray = np.stack(seen).astype(np.float32)
    if spec.where == "interfaces":  # standardised stencils lie between 0 and 1, sizes add up to one
        observation = (observation + 1) / 2
        if len(observation) % 2 == 0 and len(observation) > 2 * len(spec.action) - 2:
            observation[-1] = 1 - observation[-2]
    return _answered(closure, observation)


def _answered(closure: Any, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    limited = closure.spec.limit(closure)
    return observation, np.asarray(limited(jnp.asarray(observation)), np.float64)


def _card(name: str, header: dict[str, Any], closure: Any, problem: Problem | None, known: Any) -> dict[str, Any]:
    spec, about = closure.spec, header["metadata"]
    physics = about.get("problem", "")
    grid = list(problem.grid.shape) if problem is not None and spec.where == "cells" else [64] * spec.dimensions
    kind = PROBLEMS.find(physics) if physics in PROBLEMS else None
    sources_ = list(kind.sources) if kind else []
    return {
        "format": CARD_FORMAT, "version": 1, "name": name, "problem": physics,
        "about": (kind.about if kind is not None and kind.about else f"learned on {physics or 'an unnamed problem'}"),
        "closure": header["architecture"]["closure"], "parameters": count_parameters(closure),
        "observation": list(spec.observation), "action": list(spec.action),
        "actions": [_acts(spec, i) for i in range(len(spec.action))], "boundary": list(spec.boundary),
        "how_to_apply": _how(spec), "bound": spec.bound, "grid": grid,
        "time_step": float(problem.time_step) if problem is not None and problem.time_step is not None else None,
        "range": known, "validation_error": about.get("validation_error"), "updates": about.get("update"),
        "licence": "MIT", "citation": sources_, "closura_version": closura.__version__,
    }  # fmt: skip


def _acts(spec: Any, i: int) -> str:
    if spec.where == "interfaces":
        return f"{spec.action[i]}: a logit"
    return f"{spec.action[i]}, taken from {spec.observation[spec.acts_on[i]]}"


def _how(spec: Any) -> str:
    if spec.where == "interfaces":
        return "The softmax over the logits of each side are the weights of its sub-stencils' values."
    if spec.unit == 1.0:
        return "Subtract the action from the field before each step of the solver."
    return (
        f"The action is a rate: subtract the time step ({spec.unit:g} in training) times the action before each step."
    )


def _made_for(card: dict[str, Any]) -> str:
    grid = " x ".join(map(str, card["grid"]))
    step = "" if card["time_step"] is None else f", time step {card['time_step']:g}"
    return f"{card['problem'] or 'an unnamed problem'} on {grid} cells{step}"


def _onnx(program: Program, name: str, card: dict[str, Any]) -> bytes:
    kept = (
        "problem",
        "observation",
        "action",
        "actions",
        "how_to_apply",
        "bound",
        "boundary",
        "range",
        "licence",
        "hash",
    )
    about = {key: card[key] if isinstance(card[key], str) else to_json(card[key]) for key in kept}
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
