"""Stores of flows as xarray decodes them (conventions CF): fill values, scales, units, names along axes.

Lengths and times are without dimension here; a store that gives them with a unit is read in metres and seconds. What
is not understood is refused by name.
"""

import itertools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from jaxtyping import Float, Int

from closura.trajectories.schema import COMPONENTS, COORDINATES
from closura.trajectories.sources import PLAIN_UNITS

NETCDF = (b"CDF\x01", b"CDF\x02", b"CDF\x05", b"\x89HDF")

# All but the fields and their statistics: small arrays.
BESIDE = (*COORDINATES, "frame_check")

# Times stay numbers here: they are converted by their unit, see :func:`decoded_times`.
DECODING: dict[str, Any] = {"chunks": None, "cache": False, "decode_times": False, "decode_timedelta": False}

SECONDS = {
    "ns": 1e-9, "nanosecond": 1e-9, "us": 1e-6, "microsecond": 1e-6, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0,
    "d": 86400.0, "day": 86400.0, "week": 604800.0,
}  # fmt: skip
LENGTHS = {
    "rad": 1.0, "radian": 1.0, "m": 1.0, "meter": 1.0, "metre": 1.0, "cm": 1e-2, "mm": 1e-3, "km": 1e3,
    "deg": np.pi / 180, "degree": np.pi / 180,
}  # fmt: skip
# Of which a capital M makes millions: Ms is no ms.
MILLI = ("ms", "msec", "mm")
SPEEDS = {"m/s": 1.0, "m s-1": 1.0, "m s^-1": 1.0, "m s**-1": 1.0, "m.s-1": 1.0}


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of a store, read when they are used.

    Parameters
    ----------
    path
        A zarr folder or a NetCDF file.
    dataset
        What xarray makes of it, times left as numbers.
    group
        The zarr group; None for NetCDF.
    """

    path: Path
    dataset: xr.Dataset
    group: Any
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
        """Files of coordinates that are not there: zarr has none for chunks of nothing but the fill value."""
        if self.group is None:
            return []
        shapes = {name: self.group[name].shape for name in BESIDE if name in self.dataset.variables}
        found = [file for name, shape in shapes.items() for file in self.files(name, (0,) * len(shape), shape)]
        return [file for file in found if not file.is_file()]


def open_arrays(path: Path) -> Arrays:
    """Open a zarr store (format 2 or 3), or a NetCDF file with the same variables.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is none, or an array of it is damaged.
    """
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
        raise ValueError(f"{path} is no zarr store of flows: {_line(error)}") from error
    try:
        dataset = _zarr(path, group)
        # What is damaged is found here, and not in the midst of something.
        for name in BESIDE:
            if name in dataset.variables:
                dataset[name].load()
    except Exception as error:
        raise _damage(path, group, error) from error
    return Arrays(path, dataset, group)


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


def _damage(path: Path, group: Any, error: Exception) -> ValueError:
    """Which array it was."""
    for name in BESIDE:
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


def decoded_times(where: str, variable: xr.Variable) -> Float[np.ndarray, " time"]:
    """Times as numbers: as they are if they have no unit, in seconds if they do, since the first if they are dates.

    ValueError if the unit is not understood, or a value is no number.
    """
    values = variable.values
    if values.dtype.kind == "M":
        values = values - values[:1]
    if values.dtype.kind == "m":
        return np.where(np.isnat(values), np.nan, values / np.timedelta64(1, "s"))
    _check_numbers(where, "time", values)
    unit, since, _ = _unit(variable).partition(" since ")
    if since:
        # Whole numbers are subtracted as such: nanoseconds since 1970 have no digits to spare.
        values = values - values[:1]
    return _scaled(values, _factor(where, "time", unit, SECONDS, "seconds"))


def decoded_positions(where: str, name: str, variable: xr.Variable) -> Float[np.ndarray, " points"]:
    """Positions as numbers; angles in radians, lengths in metres.

    ValueError if the unit is not understood, or a value is no number.
    """
    values = variable.values
    _check_numbers(where, name, values)
    return _scaled(values, _factor(where, name, _unit(variable), LENGTHS, "radians"))


def check_plain(where: str, name: str, variable: xr.Variable, *, speed: bool = False) -> None:
    """Refuse an array with a unit, but for metres per second where it is a speed (ValueError names the unit)."""
    _factor(where, name, _unit(variable), SPEEDS if speed else {}, "metres per second" if speed else None)


def component_order(where: str, variable: xr.Variable | None) -> Int[np.ndarray, " 2"]:
    """Where u and v are along the axis ``component``; u first if nothing names them.

    ValueError if they have other names.
    """
    if variable is None:
        return np.arange(2)
    names = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in variable.values.flat]
    found = [name.strip().lower() for name in names]
    if sorted(found) != list(COMPONENTS):
        raise ValueError(f"{where}: the components of the velocity must be called u (along x) and v; got {names}")
    return np.array([found.index(name) for name in COMPONENTS])


def _check_numbers(where: str, name: str, values: np.ndarray) -> None:
    if values.dtype.kind not in "fiu":
        raise ValueError(f"{where}: {name} must be numbers; got {values.dtype}")


def _unit(variable: xr.Variable) -> str:
    return re.sub(r"\s+", " ", str(variable.attrs.get("units", ""))).strip()


def _factor(where: str, name: str, unit: str, known: dict[str, float], example: str | None) -> float:
    if unit.lower() in PLAIN_UNITS:
        return 1.0
    short = unit if unit in known else unit.lower()
    # Plurals are those of words: ds are no days.
    short = short.removesuffix("s") if short not in known and len(short) > 2 else short
    if short in known and not (unit.startswith("M") and short in MILLI):
        return known[short]
    valid = "without dimension (unit 1)" + (f", or in {example}" if example else "")
    raise ValueError(f"{where}: {name} has the unit {unit!r}, which is not understood: give it {valid}")


def _scaled(values: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return values
    values = values.astype(np.float64)
    # 250 ms are 0.25 s to the last digit.
    return values * factor if factor > 1 else values / round(1 / factor, 9)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
