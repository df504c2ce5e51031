"""Files of named arrays: safetensors with a header of text, and NumPy's archives. Nothing is executed on loading.

Equal content gives equal bytes: keys of the header are sorted, which the safetensors library leaves to chance. Its
``sha256`` is of all else in the file; files without one, of others and older ones, are read unchecked.
"""

import io
import json
import struct
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import safe_open


def packed(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> bytes:
    """A safetensors file as bytes: always the same ones for the same arrays and header."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = safetensors.numpy.save(contiguous, metadata=dict(header))
    (length,) = struct.unpack("<Q", content[:8])
    described = json.loads(content[8 : 8 + length])
    body = content[8 + length :]
    described["__metadata__"] = {**header, "sha256": _checksum(described, header, body)}
    text = _text(described)
    text += b" " * (-len(text) % 8)  # arrays begin at a multiple of eight bytes
    return struct.pack("<Q", len(text)) + text + body


def _text(described: Mapping[str, Any]) -> bytes:
    return json.dumps(described, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()


def _checksum(described: Mapping[str, Any], header: Mapping[str, str], body: bytes) -> str:
    rest = {name: text for name, text in header.items() if name != "sha256"}
    return sha256(_text({**described, "__metadata__": rest}) + body).hexdigest()


def _check(path: str | Path, header: Mapping[str, str]) -> None:
    if "sha256" not in header:
        return
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    if _checksum(json.loads(content[8 : 8 + length]), header, content[8 + length :]) != header["sha256"]:
        raise ValueError(f"{path} is damaged: its {len(content)} bytes do not have the SHA-256 in its header")


def read_header_text(path: str | Path) -> dict[str, str]:
    """The header of a file, as text; the whole file is checked.

    ValueError if the file is no safetensors file, or damaged.
    """
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = dict(file.metadata() or {})
    except Exception as error:  # of safetensors, and of what a damaged file can lead to
        raise ValueError(f"{path} is no safetensors file, or damaged: {error}") from error
    _check(path, header)
    return header


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a file.

    ValueError if the file is damaged, or an array is none of numbers or holds one that is not finite.
    """
    try:
        arrays: dict[str, np.ndarray] = safetensors.numpy.load_file(str(path))
    except Exception as error:
        raise ValueError(f"{path} is no safetensors file, or damaged: {error}") from error
    check_numbers(arrays, str(path))
    return arrays


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a NumPy archive; nothing in it is executed."""
    try:
        with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # of NumPy, zipfile, zlib, and of what a damaged file can lead to
        raise ValueError(f"{path} is no .npz of arrays, or damaged: {error}") from error


def check_numbers(arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Refuse weights that cannot be weights.

    ValueError if an array is none of numbers, or holds one that is not finite.
    """
    for name, array in arrays.items():
        if array.dtype.kind not in "biufc" and not np.can_cast(array.dtype, np.float32):
            raise ValueError(f"{source}: array {name} holds no numbers but {array.dtype}")
        lost = array.size - int(np.isfinite(array).sum())
        if lost:
            raise ValueError(
                f"{source}: array {name} holds {lost} of {array.size} numbers that are not finite: damaged, or of a "
                "training that diverged; take another"
            )


def version_of(header: Mapping[str, str], path: str | Path, latest: int) -> int:
    """The version of a format that a header states (ValueError if it is no number, or a later one than ``latest``)."""
    text = header.get("version", "0")
    if not text.isdecimal():
        raise ValueError(f"{path}: its header has version {text!r}, expected a number up to {latest}; it is damaged")
    if int(text) > latest:
        raise ValueError(f"{path} has format {text}, later than {latest}: update closura")
    return int(text)


def facts_of(header: Mapping[str, str], key: str, path: str | Path) -> dict[str, Any]:
    """An entry of a header that is a JSON object.

    ValueError if it is missing, no JSON, or something else than an object.
    """
    try:
        found = json.loads(header[key])
    except KeyError as error:
        raise ValueError(f"{path}: its header has no {key!r}; it is damaged, or not of closura") from error
    except ValueError as error:
        raise ValueError(f"{path}: {key!r} in its header is no JSON ({error}); it is damaged") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: {key!r} in its header is {found!r:.60}, expected an object; it is damaged")
    return found
