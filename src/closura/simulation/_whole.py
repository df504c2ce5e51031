"""Whether stored simulations are what was written: a hash of every array and of the attributes.

Zarr reads an absent chunk as zeros and decodes a cut or altered one without a word. What is hashed is the content as
read, not the files: a copy with other chunks or another compression is the same.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

MANIFEST = "checksums"
_AGAIN = "copy it again from where it came, or evaluate again with --save"


def manifest(dataset: xr.Dataset) -> str:
    """What :func:`check_whole` compares with, as JSON: sizes of all axes, SHA-256 of the attributes and arrays."""
    arrays = {str(name): _hash(array) for name, array in dataset.variables.items()}
    sizes = {str(dim): size for dim, size in dataset.sizes.items()}
    return json.dumps({"sizes": sizes, "attributes": _hash_of_text(_attributes(dataset)), "arrays": arrays})


def check_whole(path: Path, dataset: xr.Dataset) -> None:
    """Hold simulations that are read to what was recorded when they were written.

    Raises
    ------
    ValueError
        If an array is missing, cut or altered, or an attribute was changed; the message names it and the path.
    """
    recorded = json.loads(dataset.attrs[MANIFEST])
    missing = [name for name in recorded["arrays"] if name not in dataset.variables]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is damaged or was cut; {_AGAIN}")
    cut = {dim: (size, dataset.sizes.get(dim, 0)) for dim, size in recorded["sizes"].items()}
    cut = {dim: pair for dim, pair in cut.items() if pair[0] != pair[1]}
    if cut:
        found = ", ".join(f"{dim} {got} of {size}" for dim, (size, got) in cut.items())
        raise ValueError(f"{path} holds a part of what was written ({found}): use the whole folder")
    if _hash_of_text(_attributes(dataset)) != recorded["attributes"]:
        raise ValueError(f"{path}: its attributes are not those that were written; {_AGAIN}")
    for name, digest in recorded["arrays"].items():
        if _hash(dataset.variables[name]) != digest:
            raise ValueError(f"{path}: {name} is not what was written (a chunk is missing or altered); {_AGAIN}")


def check_lengths(path: Path) -> None:
    """Hold each chunk to the length that its own header says.

    Raises
    ------
    ValueError
        If a chunk is shorter or longer; the message names it.
    """
    for name, array in zarr.open_group(path, mode="r").arrays():
        if array.metadata.zarr_format == 2 and [getattr(c, "codec_id", "") for c in array.compressors] == ["blosc"]:
            for chunk in sorted(path.joinpath(name).rglob("[0-9]*")):
                if chunk.is_file() and not _has_its_length(chunk):
                    raise ValueError(f"{path}: chunk {chunk.relative_to(path)} is cut or damaged; {_AGAIN}")


def check_absent(path: Path) -> None:
    """Refuse simulations without hashes of which a chunk is absent: it would be read as zeros.

    Raises
    ------
    ValueError
        If one is. A chunk of nothing but zeros was not written then, and cannot be told from one that was lost.
    """
    for name, array in zarr.open_group(path, mode="r").arrays():
        absent = array.nchunks - array.nchunks_initialized
        if absent:
            raise ValueError(
                f"{path}: {absent} of {array.nchunks} chunks of {name} are absent: lost, or nothing but zeros, which "
                f"cannot be told apart in a folder of an earlier closura; {_AGAIN}"
            )


def _has_its_length(chunk: Path) -> bool:
    """Whether a chunk of Blosc is as long as bytes 12 to 15 of it say."""
    with chunk.open("rb") as file:
        head = file.read(16)
    return len(head) == 16 and chunk.stat().st_size == int.from_bytes(head[12:], "little")


def _attributes(dataset: xr.Dataset) -> str:
    rest: dict[str, Any] = {str(key): value for key, value in dataset.attrs.items() if key != MANIFEST}
    return json.dumps(rest, sort_keys=True, default=lambda value: value.tolist())


def _hash(variable: xr.Variable) -> str:
    """SHA-256 of names of axes, type, shape and content."""
    values = np.asarray(variable.values)
    head = json.dumps([list(map(str, variable.dims)), values.shape])
    if values.dtype.kind in "OSUT":  # text has several types that mean the same
        return _hash_of_text(head + json.dumps(values.astype(str).tolist()))
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{head}{values.dtype.str}".encode())
    digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _hash_of_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
