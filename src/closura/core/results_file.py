"""The file of results: NetCDF 4 with a checksum, replaced whole or not at all."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from closura.io.files import write_atomically
from closura.plain import plain

FILE = "results.nc"
FORMAT = 1

T = TypeVar("T")


def write_data(data: xr.Dataset, folder: str | Path) -> Path:
    """Write ``results.nc``, replaced atomically; returns its path."""
    data = data.assign_attrs(closura_format=FORMAT, checksum=_checksum(data))
    with tempfile.TemporaryDirectory() as scratch:
        data.to_netcdf(Path(scratch, FILE), engine="h5netcdf")
        return write_atomically(Path(folder, FILE), Path(scratch, FILE).read_bytes())


def read_data(folder: str | Path, make: Callable[[xr.Dataset], T]) -> T:
    """What ``make`` makes of the data in a folder or file; errors as :meth:`closura.core.Results.open` says."""
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"there are no results at {path}")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            data = file.load()
        found, written = data.attrs.pop("closura_format"), data.attrs.pop("checksum", None)
        if found != FORMAT:
            raise ValueError(f"format {found}; this closura reads {FORMAT}")
        if written != _checksum(data):
            raise ValueError("it is damaged or was changed: its checksum is another")
        return make(data)
    except Exception as error:  # of damaged files the library of HDF5 says what it likes
        raise ValueError(f"{path} holds no results that closura can read: {error}") from error


def _checksum(data: xr.Dataset) -> str:
    """SHA-256 of all names, axes, values and attributes: NetCDF itself has none for them."""

    def attributes(of: Mapping[Any, Any]) -> Any:
        return sorted((str(name), plain(value)) for name, value in of.items())

    digest = hashlib.sha256(json.dumps(attributes(data.attrs)).encode())
    for name, variable in sorted(data.variables.items(), key=lambda item: str(item[0])):
        values = np.asarray(variable.values)
        head = [str(name), list(map(str, variable.dims)), values.shape, attributes(variable.attrs)]
        digest.update(json.dumps(head).encode())
        if values.dtype.kind in "OSUT":  # text has several types that mean the same
            digest.update(json.dumps(values.astype(str).tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
