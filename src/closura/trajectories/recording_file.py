"""One file of recordings of any equation: zarr, NetCDF or HDF5, with axes known by name or by what they are said to be.

Values are decoded by the conventions CF (``scale_factor``, ``_FillValue``, ...); what is missing becomes NaN, which is
refused when it is read. Times and lengths are numbers in the file's own units.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from closura.io.stores import Arrays, open_arrays
from closura.trajectories.coordinates import check_times, shown
from closura.trajectories.sources import Stored, as_floats, numbers_of, text

AXES = ("x", "y", "z")
ROLES = ("simulation", "time", "component", *AXES)
HDF5 = b"\x89HDF"
NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
USUAL_BYTES = 2**22
MOST_BYTES = 2**26
"""Of frames that are read at once, where a file has no chunks, and where it has large ones."""
UNIFORM = 1e-4
"""Relative difference of distances between points that single precision explains."""

Dims = Mapping[str, str] | Sequence[str] | None


class Array(NamedTuple):
    """An array in a file; axes without a name are called ""."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...] | None
    attributes: Mapping[str, Any]
    read: Callable[[Any], np.ndarray]


class RecordingFile:
    """Simulations in a file, checked as far as can be without reading fields.

    Parameters
    ----------
    path
        A zarr store, or a file in NetCDF or HDF5.
    variables
        Names of the arrays whose components are stacked; of HDF5 their places, "group/u".
    dims
        Names of the axes in the file by what they are (those of :data:`ROLES` that are called something else); or of
        each axis in the order of the arrays what it is.
    parameters
        Names of numbers, or of a number for each simulation: arrays or attributes.
    interval
        Time between frames, where the file has no times.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If something is missing, has a wrong shape or is damaged, or times are not uniform.
    """

    def __init__(
        self,
        path: Path,
        variables: tuple[str, ...],
        dims: Dims = None,
        parameters: tuple[str, ...] = (),
        interval: float | None = None,
    ) -> None:
        self.path, self._dims = path, dims
        self._names, self._get, self._attributes = _opened(path)
        self._arrays = [(array, self._roles(array)) for array in map(self._array, variables)]
        sizes = [{r: array.shape[i] for i, r in enumerate(roles)} for array, roles in self._arrays]
        alike = [{role: n for role, n in each.items() if role != "component"} for each in sizes]
        for (array, _), each in zip(self._arrays, alike, strict=True):
            if each != alike[0]:
                first = self._arrays[0][0].name
                raise ValueError(f"{path}: {array.name} has the axes {_said(each)}, {first} has {_said(alike[0])}")
        self.labelled_simulations = "simulation" in alike[0]
        self.simulations, self.frames = alike[0].get("simulation", 1), alike[0]["time"]
        self.points = tuple(alike[0][axis] for axis in AXES if axis in alike[0])
        if min(self.simulations, self.frames, *self.points) < 1:
            raise ValueError(f"{path} holds nothing: {_said(alike[0])}")
        self.components = tuple(
            name for (array, _), each in zip(self._arrays, sizes, strict=True) for name in self._components(array, each)
        )
        self.units = tuple(text(array.attributes.get("units", "")) for array, _ in self._arrays)
        self.interval = self._interval(interval)
        self.lengths = tuple(self._length(axis, n) for axis, n in zip(AXES, self.points, strict=False))
        self.parameters = {name: self._parameter(name) for name in parameters}

    @property
    def chunk_frames(self) -> int:
        """Frames that are best read together."""
        frame = 4 * len(self.components) * int(np.prod(self.points))
        chunks = [a.chunks[roles.index("time")] for a, roles in self._arrays if a.chunks]
        found = min(chunks) if chunks else USUAL_BYTES // frame
        return max(1, min(found, self.frames, MOST_BYTES // frame))

    def names(self) -> tuple[str, ...]:
        """What the simulations are called: by the file where there is one, by the file's labels or numbers."""
        if not self.labelled_simulations:
            return (self.path.stem,)
        label = self._file_name("simulation")
        values = self._get(label).read(...) if label in self._names else np.arange(self.simulations)
        found = tuple(text(value) for value in np.asarray(values).reshape(-1))
        return found if len(set(found)) == self.simulations else tuple(map(str, range(self.simulations)))

    def read(self, simulation: int, start: int, stop: int) -> Float[np.ndarray, "time component *points"]:
        """Frames ``start, .., stop - 1`` of a simulation, float32, as they are kept: finite or not."""
        parts = []
        for array, roles in self._arrays:
            index = tuple(
                simulation if r == "simulation" else slice(start, stop) if r == "time" else slice(None) for r in roles
            )
            try:
                values = array.read(index)
            except Exception as error:  # what is damaged can raise anything
                said = " ".join(str(error).split())
                raise ValueError(
                    f"{self.path}: {array.name} of simulation {simulation}, frames {start} to {stop - 1}, cannot be "
                    f"read ({said}): make or copy it again"
                ) from error
            left = [role for role in roles if role != "simulation"]
            wanted = [role for role in ("time", "component", *AXES) if role in left]
            values = values.transpose([left.index(role) for role in wanted])
            parts.append(values if "component" in left else values[:, None])
        with np.errstate(over="ignore"):
            return np.concatenate(parts, axis=1).astype(np.float32)

    def _array(self, name: str) -> Array:
        if name not in self._names:
            there = ", ".join(sorted(self._names)) or "nothing"
            raise ValueError(f"{self.path} has no variable {name!r}; it holds {shown(there)}")
        return self._get(name)

    def _file_name(self, role: str) -> str:
        return self._dims.get(role, role) if isinstance(self._dims, Mapping) else role

    def _roles(self, array: Array) -> tuple[str, ...]:
        """What each axis is."""
        where, shape = f"{self.path}: {array.name}", " x ".join(map(str, array.shape))
        if self._dims is not None and not isinstance(self._dims, Mapping):
            roles = tuple(self._dims)
            if len(roles) != len(array.shape):
                raise ValueError(f"{where} has {len(array.shape)} axes ({shape}); dims names {', '.join(roles)}")
        elif not any(array.dims):
            raise ValueError(
                f"{where} has axes without names ({shape}): say what they are in their order, such as "
                'dims=("simulation", "time", "x")'
            )
        else:
            known = {self._file_name(role): role for role in ROLES}
            unknown = [name for name in array.dims if name not in known]
            if unknown:
                raise ValueError(
                    f"{where} has the axes {', '.join(array.dims)}; expected {', '.join(known)}: say what "
                    f'{unknown[0]!r} is, such as dims={{"time": {unknown[0]!r}}}'
                )
            roles = tuple(known[name] for name in array.dims)
        wrong = [role for role in roles if role not in ROLES]
        if wrong or len(set(roles)) < len(roles):
            raise ValueError(f"dims must be some of {', '.join(ROLES)}, each once; got {', '.join(roles)}")
        axes = [axis for axis in AXES if axis in roles]
        if "time" not in roles or not axes or axes != list(AXES[: len(axes)]):
            raise ValueError(f"{where} needs the axes time and x (then y, z); got {', '.join(roles)}")
        return roles

    def _components(self, array: Array, sizes: Mapping[str, int]) -> tuple[str, ...]:
        name = array.name.rsplit("/", 1)[-1]
        if "component" not in sizes:
            return (name,)
        label, count = self._file_name("component"), sizes["component"]
        if label in self._names and len(named := self._get(label).read(...).reshape(-1)) == count:
            return tuple(text(each) for each in named)
        return tuple(f"{name}{i}" for i in range(count))

    def _interval(self, given: float | None) -> float:
        where, name = str(self.path), self._file_name("time")
        if name not in self._names:
            if given is None:
                raise ValueError(f"{where} has no variable {name!r}: give the time between frames, interval=0.1 say")
            return float(given)
        times = self._get(name)
        if times.attributes and str(text(times.attributes.get("units", ""))).startswith("datetime"):
            raise ValueError(f"{where}: {name} must be numbers")
        values = np.atleast_2d(times.read(...))
        if values.dtype.kind not in "fiu":
            raise ValueError(f"{where}: {name} must be numbers; got {values.dtype}")
        if values.shape not in ((1, self.frames), (self.simulations, self.frames)):
            raise ValueError(f"{where}: {name} has the shape {times.shape} for {self.frames} frames")
        if self.frames < 2:
            if given is None:
                raise ValueError(f"{where} has a single frame: nothing can be learned from it; leave it out")
            return float(given)
        for row in values.astype(np.float64 if values.dtype.kind in "iu" else values.dtype):
            steps = np.diff(row)
            if not (steps > 0).all():
                first = int(np.argmin(steps > 0))
                raise ValueError(
                    f"{where}: times must grow; frame {first} is at {row[first]:g}, frame {first + 1} at "
                    f"{row[first + 1]:g}: put frames in order, or cut them there"
                )
            check_times(where, row, self.frames)
        found = (values[:, -1].astype(np.float64) - values[:, 0]) / (self.frames - 1)
        if np.ptp(found) > 1e-3 * found[0]:
            raise ValueError(f"{where}: the time between frames differs, from {found.min():g} to {found.max():g}")
        if given is not None and abs(given - found[0]) > 1e-3 * given:
            raise ValueError(f"{where}: frames are {found[0]:.6g} apart by its times; interval is {given:.6g}")
        return float(f"{found[0]:.7g}")

    def _length(self, axis: str, points: int) -> float | None:
        """Length of the domain along an axis, where its points say it; they are as many cells."""
        name = self._file_name(axis)
        if name not in self._names:
            return None
        array = self._get(name)
        if array.shape != (points,) or points < 2:
            return None
        values = np.asarray(array.read(...), np.float64)
        if np.array_equal(values, np.arange(points)):  # numbers of points
            return None
        steps = np.diff(values)
        step = (values[-1] - values[0]) / (points - 1)
        if not step > 0 or np.abs(steps - step).max() > UNIFORM * abs(values[-1] - values[0]):
            raise ValueError(
                f"{self.path}: the points along {name} are not uniform (distances {steps.min():g} to {steps.max():g}): "
                "interpolate to a uniform grid first"
            )
        return float(step * points)

    def _parameter(self, name: str) -> tuple[float, ...]:
        where = self._attributes.get(name) if name not in self._names else self._get(name).read(...)
        if where is None:
            there = ", ".join([*sorted(self._names), *sorted(self._attributes)])
            raise ValueError(f"{self.path} has no parameter {name!r}; it holds {shown(there)}")
        axes = self._get(name).dims if name in self._names else ()
        by_simulation = True if self._file_name("simulation") in axes else None
        return numbers_of(
            self.path, name, where, trajectories=self.simulations, frames=self.frames, sample_varying=by_simulation,
            time_varying=False if by_simulation else None,
        )  # fmt: skip


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{role} {size}" for role, size in sizes.items())


def _opened(path: Path) -> tuple[set[str], Callable[[str], Array], Mapping[str, Any]]:
    """Names of the arrays, what gives one, and the attributes."""
    if not path.exists():
        raise FileNotFoundError(f"no recordings at {path}")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == HDF5:
                return _hdf5(path)
    arrays = open_arrays(path)
    names = {str(name) for name in arrays.dataset.variables}
    return names, lambda name: _labelled(arrays, name), dict(arrays.dataset.attrs)


def _hdf5(path: Path) -> tuple[set[str], Callable[[str], Array], Mapping[str, Any]]:
    import h5py  # only to read other people's files

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} cannot be read as HDF5 ({error}): make or copy it again") from error
    names: set[str] = set()

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not text(item.attrs.get("NAME", "")).startswith(NO_VARIABLE):
            names.add(name)

    file.visititems(note)

    def get(name: str) -> Array:
        if h5py.check_string_dtype(file[name].dtype):
            labels = file[name]
            return Array(name, ("",), labels.shape, None, {}, lambda index: np.asarray(labels[index]))
        stored = Stored(path, file, name, "any")
        return Array(name, stored.dims, stored.shape, stored.chunks, stored.attributes, stored.__getitem__)

    return names, get, dict(file.attrs)


def _labelled(arrays: Arrays, name: str) -> Array:
    """An array of a zarr store or a classic NetCDF file."""
    variable = arrays.dataset[name].variable
    kept: Any = arrays.group[name] if arrays.group is not None else None
    # Format 2 of zarr has a fill value in any case, 0 if nobody says another: zeros are values then.
    plain = kept is not None and variable.encoding.get("_FillValue") == 0 and "scale_factor" not in variable.encoding
    chunks = None if kept is None else tuple(kept.shards or kept.chunks)

    def read(index: Any) -> np.ndarray:
        if kept is not None and index is not ... and kept.ndim:
            low = [i if isinstance(i, int) else i.start or 0 for i in index]
            high = [i + 1 if isinstance(i, int) else n if i.stop is None else i.stop
                    for i, n in zip(index, kept.shape, strict=True)]  # fmt: skip
            absent = [file for file in arrays.files(name, low, high) if not file.is_file()]
            if absent:
                raise ValueError(f"{absent[0].name} is missing, lost or nothing but the fill value")
        values = np.asarray(kept[index] if plain else variable[index].values)
        return as_floats(values) if values.dtype.kind in "fiu" else values

    if variable.dtype.kind not in "fiuSUO":
        raise ValueError(f"{arrays.path}: {name} must be an array of numbers; got {variable.dtype}")
    return Array(name, tuple(map(str, variable.dims)), variable.shape, chunks, dict(variable.attrs), read)
