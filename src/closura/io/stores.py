"""Labelled arrays in zarr folders and NetCDF files, decoded as xarray does (conventions CF); whether they are whole.

Zarr reads an absent chunk as its fill value and decodes a cut or altered one without a word: stores have checksums for
that, which are of the content as read, so that a copy with other chunks or another compression is the same.
"""

import hashlib
import itertools
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")

# Times stay numbers: "1" and "s" are units here, not calendars.
DECODING: dict[str, Any] = {"chunks": None, "cache": False, "decode_times": False, "decode_timedelta": False}

CHECKSUMS = "checksums"
"""Attribute with what :func:`checksums` gave when the arrays were written."""


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of a store, read when they are used."""

    path: Path
    dataset: xr.Dataset
    group: Any
    small: tuple[str, ...] = ()
    _opened: dict[str, Any] = field(default_factory=dict)

    def files(self, name: str, low: Sequence[int], high: Sequence[int]) -> list[Path]:
        """Files of the chunks of an array between two corners; none where the store is a single file."""
        if self.group is None or not self.path.is_dir():
            return []
        if name not in self._opened:
            self._opened[name] = self.group[name]
        array = self._opened[name]
        # Shards are the files of stores that have them.
        chunks = array.shards or array.chunks
        ranges = [range(a // c, -(-b // c)) for a, b, c in zip(low, high, chunks, strict=True)]
        return [self.path / name / array.metadata.encode_chunk_key(index) for index in itertools.product(*ranges)]

    def absent(self) -> list[Path]:
        """Files of small arrays that are not there: zarr has none for chunks of nothing but the fill value."""
        if self.group is None:
            return []
        shapes = {name: self.group[name].shape for name in self.small if name in self.dataset.variables}
        found = [file for name, shape in shapes.items() for file in self.files(name, (0,) * len(shape), shape)]
        return [file for file in found if not file.is_file()]


def open_arrays(path: Path, small: tuple[str, ...] = ()) -> Arrays:
    """Open a zarr store (format 2 or 3), or a NetCDF file with the same variables; times stay numbers."""
    if not path.exists():
        raise FileNotFoundError(f"no data set at {path}")
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(4)
        if begin in NETCDF:
            return Arrays(path, _netcdf(path), None)
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        group.attrs.asdict()
    except Exception as error:
        raise ValueError(f"{path} is no zarr store: {_line(error)}") from error
    try:
        dataset = _zarr(path, group)
        # What is damaged is found here, and not in the midst of something.
        for name in small:
            if name in dataset.variables:
                dataset[name].load()
    except Exception as error:
        raise _damage(path, group, small, error) from error
    return Arrays(path, dataset, group, small)


def _zarr(path: Path, group: Any) -> xr.Dataset:
    how: dict[str, Any] = {"consolidated": False, "mask_and_scale": False, "decode_coords": False, **DECODING}
    with warnings.catch_warnings():
        # Other files may lie in the folder: the state of a generation, say.
        warnings.filterwarnings("ignore", message=".*not recognized as a component")
        raw = xr.open_dataset(path, engine="zarr", **how)
    # In format 2, xarray keeps _FillValue as the fill value of zarr. zarr's own default there is 0 and means nothing:
    # so it is where x, which begins at 0, has it. NaN needs no mask.
    by_default = group.metadata.zarr_format == 2 and "x" in raw.variables and raw["x"].attrs.get("_FillValue") == 0
    for name, variable in raw.variables.items():
        fill = variable.attrs.get("_FillValue")
        unsaid = by_default and "_FillValue" not in group[str(name)].attrs
        if (np.isscalar(fill) and fill != fill) or (fill == 0 and unsaid):
            del variable.attrs["_FillValue"]
    return xr.decode_cf(raw, decode_times=False, decode_timedelta=False)


def _netcdf(path: Path) -> xr.Dataset:
    try:
        return xr.open_dataset(path, **DECODING)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as NetCDF ({_line(error)}); for other layouts see closura data convert --help"
        ) from error


def _damage(path: Path, group: Any, small: tuple[str, ...], error: Exception) -> ValueError:
    """Which array it was."""
    for name in small:
        try:
            if name in group:
                group[name][...]
        except Exception as own:
            return ValueError(f"{path / name} is damaged ({_line(own)}): make or copy the data set again")
    return ValueError(f"{path} is no store that xarray can read: {_line(error)}")


def plain_attributes(attributes: Any) -> dict[str, Any]:
    """Attributes as JSON knows them: NetCDF keeps numbers and lists as arrays."""
    return {
        str(key): value.tolist() if isinstance(value, np.generic | np.ndarray) else value
        for key, value in attributes.items()
    }


def checksums(dataset: xr.Dataset) -> dict[str, Any]:
    """Sizes of all axes, SHA-256 of the attributes and of each array, as JSON knows them."""
    rest: dict[str, Any] = {str(key): value for key, value in dataset.attrs.items() if key != CHECKSUMS}
    text = json.dumps(rest, sort_keys=True, default=lambda value: value.tolist())
    return {
        "sizes": {str(dim): size for dim, size in dataset.sizes.items()},
        "attributes": hashlib.sha256(text.encode()).hexdigest(),
        "arrays": {str(name): _hash(array) for name, array in dataset.variables.items()},
    }


def check_whole(path: Path, dataset: xr.Dataset, again: str) -> None:
    """Hold arrays that are read to the checksums with them (ValueError names what differs, and says ``again``)."""
    recorded = json.loads(dataset.attrs[CHECKSUMS])
    found = checksums(dataset)
    missing = [name for name in recorded["arrays"] if name not in found["arrays"]]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it is damaged or was cut; {again}")
    sizes = {dim: (found["sizes"].get(dim, 0), size) for dim, size in recorded["sizes"].items()}
    cut = ", ".join(f"{dim} {got} of {size}" for dim, (got, size) in sizes.items() if got != size)
    if cut:
        raise ValueError(f"{path} holds a part of what was written ({cut}): use the whole folder")
    if found["attributes"] != recorded["attributes"]:
        raise ValueError(f"{path}: its attributes are not those that were written; {again}")
    for name, digest in recorded["arrays"].items():
        if found["arrays"][name] != digest:
            raise ValueError(f"{path}: {name} is not what was written (a chunk is missing or altered); {again}")


def check_lengths(path: Path, again: str) -> None:
    """Hold each chunk of Blosc to the length that bytes 12 to 15 of it say (ValueError names one that differs)."""
    for name, array in zarr.open_group(path, mode="r").arrays():
        if array.metadata.zarr_format == 2 and [getattr(c, "codec_id", "") for c in array.compressors] == ["blosc"]:
            for chunk in sorted(path.joinpath(name).rglob("[0-9]*")):
                if not chunk.is_file():
                    continue
                with chunk.open("rb") as file:
                    head = file.read(16)
                if len(head) < 16 or chunk.stat().st_size != int.from_bytes(head[12:], "little"):
                    raise ValueError(f"{path}: chunk {chunk.relative_to(path)} is cut or damaged; {again}")


def check_absent(path: Path, again: str) -> None:
    """Refuse arrays without checksums of which a chunk is absent (ValueError): it would be read as zeros."""
    for name, array in zarr.open_group(path, mode="r").arrays():
        absent = array.nchunks - array.nchunks_initialized
        if absent:
            raise ValueError(
                f"{path}: {absent} of {array.nchunks} chunks of {name} are absent: lost, or nothing but zeros, which "
                f"cannot be told apart in a folder of an earlier closura; {again}"
            )


def _hash(variable: xr.Variable) -> str:
    """SHA-256 of names of axes, type, shape and content."""
    values = np.asarray(variable.values)
    head = json.dumps([list(map(str, variable.dims)), values.shape])
    if values.dtype.kind in "OSUT":  # text has several types that mean the same
        return hashlib.sha256((head + json.dumps(values.astype(str).tolist())).encode()).hexdigest()
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{head}{values.dtype.str}".encode())
    digest.update(values.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
