"""Training states on disk: written whole or not at all, and checked whole when read.

A file is one line of JSON (plain facts about the progress, and the length and SHA-256 of all that follows the line's
own checksum) and the state's leaves. The first version's checksum was of the leaves alone; its files are read too.
"""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx

from closura.io.files import write_atomically
from closura.plain import plain, to_json

T = TypeVar("T")

VERSION = 2


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be used: damaged, or of another training."""


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; numbers that are not finite are null."""
    write_atomically(path, to_json(content, indent=2) + "\n")


def save_checkpoint(path: Path, state: Any, progress: dict[str, Any]) -> None:
    """Save the arrays of a state, and a few plain facts about its progress; numbers that are not finite are null."""
    buffer = io.BytesIO()
    eqx.tree_serialise_leaves(buffer, eqx.filter(state, eqx.is_array))
    content, facts = buffer.getvalue(), plain(progress)
    write_atomically(path, to_json(_header(facts, content)).encode() + b"\n" + content)


def read_progress(path: Path, *, total: int | None = None) -> dict[str, Any]:
    """The plain facts that were saved with a state, without the state.

    With ``total``, the updates of the whole training, they have to be those of such a training.
    """
    progress = _read(path)[0]
    if total is not None:
        _check_facts(path, progress, total)
    return progress


def load_checkpoint(path: Path, like: T, *, total: int | None = None) -> tuple[T, dict[str, Any]]:
    """Load a state with the structure of ``like``, and its progress.

    ``total`` is as in :func:`read_progress`; if given, the state has to count as many ``updates`` as its progress.
    """
    progress, content = _read(path)
    arrays, static = eqx.partition(like, eqx.is_array)
    try:
        arrays = eqx.tree_deserialise_leaves(io.BytesIO(content), arrays)
    except (RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(f"{path} does not fit this training: {error}") from error
    state = eqx.combine(arrays, static)
    if total is not None:
        _check_facts(path, progress, total)
        done = int(getattr(state, "updates"))  # noqa: B009 - all states of learners have it
        if done != progress["update"]:
            raise _damaged(path, f"its state has made {done} updates, its first line says {progress['update']}")
    return state, progress


def _header(progress: Any, content: bytes) -> dict[str, Any]:
    checksum = hashlib.sha256(to_json(progress).encode() + b"\n" + content).hexdigest()
    return {"version": VERSION, "length": len(content), "sha256": checksum, "progress": progress}


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        line, content = path.read_bytes().split(b"\n", 1)
        header = json.loads(line)
    except FileNotFoundError as error:
        raise CheckpointError(f"no checkpoint at {path}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "its first line is no JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("progress"), dict):
        raise _damaged(path, "its first line does not say what follows")
    if header.keys() == {"length", "sha256", "progress"}:
        expected = {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        whole = all(header[name] == value for name, value in expected.items())
    else:
        if isinstance(header.get("version"), int) and header["version"] > VERSION:
            raise CheckpointError(f"{path} has format {header['version']}, later than {VERSION}: update closura")
        # Compared as written: another spelling of the same facts is damage too.
        whole = line == to_json(_header(header["progress"], content)).encode()
    if not whole:
        raise _damaged(path, f"its {len(line) + 1 + len(content)} bytes do not have the SHA-256 in its first line")
    return header["progress"], content


def _check_facts(path: Path, progress: dict[str, Any], total: int) -> None:
    update = progress.get("update")
    if not isinstance(update, int) or isinstance(update, bool) or not 0 <= update <= total:
        raise _damaged(path, f"expected a number of updates from 0 to {total}, got {update!r}")
    for name, optional in (("best", True), ("seconds", False)):
        value = progress.get(name)
        if not (_is_finite(value) or (optional and value is None)):
            raise _damaged(path, f"expected a finite number as {name!r}, got {value!r}")
    rows = progress.get("rows", [])
    if not isinstance(rows, list) or not all(isinstance(r, dict) and all(map(_is_finite, r.values())) for r in rows):
        raise _damaged(path, f"expected rows of finite numbers, got {rows!r:.60}")
    if not isinstance(progress.get("data", ""), str):
        raise _damaged(path, f"expected text as 'data', got {progress['data']!r}")


def _is_finite(value: Any) -> bool:
    largest = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -largest <= value <= largest


def _damaged(path: Path, why: str) -> CheckpointError:
    weights = path.parent.parent / "weights.safetensors"
    left = f"the weights of the best update are still in {weights}, " if weights.exists() else "no weights are left, "
    return CheckpointError(
        f"{path} is damaged: {why}; {left}but nothing can go on from here: start over with --overwrite, or in another "
        "folder with --run"
    )
