"""Training states on disk: written whole or not at all, and checked when read.

A file is one line of JSON (what the state belongs to, its length and SHA-256) and the state's leaves.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

from closura.files import write_atomically

T = TypeVar("T")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: damaged, or of another training."""


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically."""
    write_atomically(path, (json.dumps(content, indent=2, sort_keys=False) + "\n").encode())


def save_checkpoint(path: Path, state: Any, progress: dict[str, Any]) -> None:
    """Save the arrays of a state, and a few plain facts about its progress."""
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, eqx.filter(state, eqx.is_array))
    content = buffer.getvalue()
    header = {"length": len(content), "sha256": hashlib.sha256(content).hexdigest(), "progress": progress}
    write_atomically(path, json.dumps(header).encode() + b"\n" + content)


def read_progress(path: Path) -> dict[str, Any]:
    """The plain facts that were saved with a state, without the state.

    Raises
    ------
    CheckpointError
        If the file is missing or its first line damaged.
    """
    return _read(path)[0]["progress"]


def load_checkpoint(path: Path, like: T) -> tuple[T, dict[str, Any]]:
    """Load a state with the structure of ``like``, and its progress.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, or holds arrays of other shapes.
    """
    header, content = _read(path)
    expected = header["sha256"]
    if len(content) != header["length"] or hashlib.sha256(content).hexdigest() != expected:
        raise CheckpointError(
            f"{path} is damaged: expected {header['length']} bytes with SHA-256 {expected}, got {len(content)} bytes; "
            "the weights of the best update are still in weights.safetensors beside it"
        )
    arrays, static = eqx.partition(like, eqx.is_array)
    try:
        arrays = eqx.tree_deserialise_leaves(io.BytesIO(content), arrays)
    except (RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path} does not fit this training: {error}") from error
    return eqx.combine(arrays, static), header["progress"]


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        line, content = path.read_bytes().split(b"\n", 1)
        header = json.loads(line)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is no checkpoint or its first line is damaged") from error
    if not isinstance(header, dict) or not {"length", "sha256", "progress"} <= header.keys():
        raise CheckpointError(f"{path} is no checkpoint or its first line is damaged")
    return header, content
