"""Reading data sets of flows: opened lazily, checked before anything is computed from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from closura.io.stores import Arrays, open_arrays, plain_attributes
from closura.trajectories.coordinates import (
    BESIDE,
    check_plain,
    check_positions,
    check_times,
    component_order,
    decoded_positions,
    decoded_times,
    interval_of,
    number_of,
    shown,
)
from closura.trajectories.identity import (
    NAMED,
    NUMBERS,
    Names,
    first_frame_name,
    frame_checks,
    kept_names,
    name_of_frames,
    sample,
    spread,
)
from closura.trajectories.schema import (
    CHUNK_BYTES,
    FORMAT,
    FORMAT_VERSION,
    PRECISIONS,
    UNKNOWN_SEED,
    VELOCITY_DIMENSIONS,
    FlowDescription,
)

# Attributes that say how a store was written, not what is in it, or that cuts by xarray make untrue.
OF_THE_STORE = ("complete", "created", "closura_version", "command", "identities")


@dataclass(frozen=True, eq=False)
class FlowData:
    """A data set of flows; made by :func:`open_flow`. Frames are read when they are asked for.

    ``reynolds`` and ``seeds`` (-1 where unknown) are of each trajectory, ``forcing`` is the wavenumber of the forcing,
    ``interval`` the time between frames.
    """

    path: Path
    reynolds: Float[np.ndarray, " trajectory"]
    forcing: int
    times: Float[np.ndarray, " time"]
    attributes: dict[str, Any]
    interval: float
    seeds: tuple[int, ...]
    _arrays: Arrays
    _velocity: xr.Variable
    _order: tuple[Int[np.ndarray, " 2"], Int[np.ndarray, " x"], Int[np.ndarray, " y"]]
    _names: Names

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return int(self._velocity.sizes["trajectory"])

    @property
    def frames(self) -> int:
        """Frames per trajectory."""
        return int(self._velocity.sizes["time"])

    @property
    def points(self) -> int:
        """Points per side."""
        return int(self._velocity.sizes["x"])

    @property
    def dtype(self) -> np.dtype:
        """In which frames are read: that of the store, or float32 where it keeps half precision."""
        return np.promote_types(self._velocity.dtype.newbyteorder("="), np.float32)

    @property
    def chunk_frames(self) -> int:
        """Frames in a chunk of the store: reading in multiples of it, from a multiple of it, reads nothing twice."""
        axis = self._velocity.dims.index("time")
        sizes = self._velocity.encoding.get("shards") or self._velocity.encoding.get("chunks")
        sizes = sizes or self._velocity.encoding.get("chunksizes")
        # A file without chunks is read by the mebibyte.
        frame = 2 * self.points**2 * self.dtype.itemsize
        return int(sizes[axis]) if sizes else max(1, min(self.frames, CHUNK_BYTES // frame))

    @cached_property
    def identities(self) -> tuple[str, ...]:
        """One name per trajectory: data sets with a name in common hold the same simulation.

        The name is the one that the store gives it, if its frames bear that out; otherwise a hash of its parameters
        and of frames spread over it.
        """
        return tuple(
            name if name is not None and self._believed[i] and not name.startswith("frame-") else self._by_frames(i)
            for i, name in enumerate(self._names.own)
        )

    def is_called(self, trajectory: int, name: str) -> bool:
        """Whether a simulation's name is that of a trajectory; also as earlier versions called it."""
        if name == self.identities[trajectory]:
            return True
        # They named flows of unknown origin by their first frame.
        if not name.startswith("frame-"):
            return False
        kept = self._names.own[trajectory] if self._believed[trajectory] else None
        return name == (kept or first_frame_name(self._raw(trajectory, 0, 1)[0]))

    def may_be(self, trajectory: int, name: str) -> bool:
        """Whether a trajectory is, or might be, a simulation: all names of a store whose order is in doubt count."""
        return self.is_called(trajectory, name) or (not self._believed[trajectory] and name in self._names.every)

    def samples(
        self, trajectory: int, numbers: Int[np.ndarray, " chosen"], points: int
    ) -> Float[np.ndarray, "chosen 32"]:
        """Samples of some frames (see ``identity.sample``), read chunk by chunk, one in memory at a time; kept."""
        key = (trajectory, points, numbers.tobytes())
        if key not in self._sampled:
            parts = [sample(self._raw(trajectory, low, high)[own], points) for low, high, own in self._chunks(numbers)]
            self._sampled[key] = np.concatenate([np.empty((0, NUMBERS), np.float32), *parts])
        return self._sampled[key]

    @cached_property
    def _sampled(self) -> dict[tuple[int, int, bytes], np.ndarray]:
        return {}

    @cached_property
    def _believed(self) -> tuple[bool, ...]:
        """Whether the name of each trajectory is borne out by frames at its start, middle and end."""
        checks = self._names.checks
        if checks is None or not self._names.sure:
            return tuple(self._names.sure and (name is not None or not self._names.every) for name in self._names.own)
        believed = []
        for i, name in enumerate(self._names.own):
            frames = self._some(i, 3)
            finite = np.isfinite(frames).all(axis=(1, 2, 3))
            said = checks[i][spread(self.frames, 3)]
            believed.append(name is not None and bool((frame_checks(name, frames) == said)[finite].all()))
        return tuple(believed)

    def _by_frames(self, trajectory: int) -> str:
        return name_of_frames(float(self.reynolds[trajectory]), self.forcing, self._some(trajectory, NAMED))

    def _some(self, trajectory: int, count: int) -> np.ndarray:
        """Frames that are spread over a trajectory."""
        numbers = spread(self.frames, count)
        return np.concatenate([self._raw(trajectory, low, high)[own] for low, high, own in self._chunks(numbers)])

    def _chunks(self, numbers: Int[np.ndarray, " chosen"]) -> Iterator[tuple[int, int, np.ndarray]]:
        """For each chunk that holds some of the frames: the first of them, the end, and where they are in between."""
        for chunk in np.unique(numbers // self.chunk_frames):
            own = numbers[numbers // self.chunk_frames == chunk]
            low = int(own.min())
            yield low, int(own.max()) + 1, own - low

    @property
    def description(self) -> FlowDescription:
        """All but the frames: what a store with changed frames (filtered, say) begins with."""
        precision = str(self.dtype)
        return FlowDescription(
            points=self.points,
            frames=self.frames,
            interval=self.interval,
            forcing=self.forcing,
            reynolds=tuple(float(each) for each in self.reynolds),
            identities=self.identities,
            seeds=self.seeds,
            precision="float64" if precision == "float64" else "float32",
            attributes={key: value for key, value in self.attributes.items() if key not in OF_THE_STORE},
        )

    def read(self, trajectory: int, start: int = 0, stop: int | None = None) -> Float[np.ndarray, "time 2 x y"]:
        """Frames ``start, .., stop - 1`` of a trajectory, decoded, u before v.

        Raises
        ------
        ValueError
            If there are no such frames, a chunk's file is missing or damaged, or a value is missing or not finite.
        """
        stop = self.frames if stop is None else stop
        if not 0 <= trajectory < self.trajectories or not 0 <= start < stop <= self.frames:
            raise ValueError(
                f"{self.path} has trajectories 0 to {self.trajectories - 1} of {self.frames} frames; got trajectory "
                f"{trajectory}, frames {start} to {stop}"
            )
        frames = self._raw(trajectory, start, stop)
        # zarr reads a missing file as the fill value: that is what was written, unless checksums or NaN say otherwise.
        absent = [file for file in self._files(trajectory, start, stop) if not file.is_file()]
        bad = ~np.isfinite(frames).all(axis=(1, 2, 3))
        if absent and (bad.any() or not self._borne_out(trajectory, start, frames)):
            raise ValueError(f"{absent[0]} is missing: the data set is damaged; make or copy it again")
        if bad.any():
            first = start + int(np.argmax(bad))
            raise ValueError(
                f"{self.path} is not finite in trajectory {trajectory}, frame {first}, time {self.times[first]:g}"
            )
        return frames

    def chunks(self, trajectory: int, stop: int | None = None) -> Iterator[tuple[int, Float[np.ndarray, "time 2 x y"]]]:
        """A trajectory, or its frames up to ``stop``, chunk by chunk: the number of the first frame, and frames."""
        stop = self.frames if stop is None else stop
        for start in range(0, stop, self.chunk_frames):
            yield start, self.read(trajectory, start, min(start + self.chunk_frames, stop))

    def read_some(self, trajectory: int, numbers: Int[np.ndarray, " chosen"]) -> Float[np.ndarray, "chosen 2 x y"]:
        """Single frames of a trajectory, in rising order, as :meth:`read` gives them; each chunk is read once."""
        return np.concatenate([self.read(trajectory, low, high)[own] for low, high, own in self._chunks(numbers)])

    def dataset(self) -> xr.Dataset:
        """The store as an xarray data set whose arrays are read when they are used; close it afterwards."""
        # Times stay numbers: "1" is a unit here, not a calendar.
        engine: Any = None if self._arrays.group is None else "zarr"
        return xr.open_dataset(self.path, engine=engine, chunks=None, decode_times=False)

    def _raw(self, trajectory: int, start: int, stop: int) -> np.ndarray:
        """Frames as they are kept, finite or not."""
        try:
            block = self._velocity.isel(trajectory=trajectory, time=slice(start, stop)).load()
        except Exception as error:
            raise self._damaged(trajectory, start, stop, error) from error
        frames = block.transpose(*VELOCITY_DIMENSIONS[1:]).values.astype(self.dtype, copy=False)
        for axis, order in enumerate(self._order, start=1):
            if not np.array_equal(order, np.arange(len(order))):
                frames = np.take(frames, order, axis=axis)
        return frames

    def _borne_out(self, trajectory: int, start: int, frames: np.ndarray) -> bool:
        name, checks = self._names.own[trajectory], self._names.checks
        if name is None or checks is None:
            return True
        return bool((frame_checks(name, frames) == checks[trajectory, start : start + len(frames)]).all())

    def _files(self, trajectory: int, start: int, stop: int) -> list[Path]:
        """Files of the chunks that hold these frames."""
        low = {"trajectory": trajectory, "time": start}
        high = {**self._velocity.sizes, "trajectory": trajectory + 1, "time": stop}
        dims = [str(name) for name in self._velocity.dims]
        return self._arrays.files("velocity", [low.get(name, 0) for name in dims], [high[name] for name in dims])

    def _damaged(self, trajectory: int, start: int, stop: int, error: Exception) -> ValueError:
        """Which chunk it was."""
        step = self.chunk_frames
        for first in range(start - start % step, stop, step):
            begin, end = max(first, start), min(first + step, stop)
            try:
                self._velocity.isel(trajectory=trajectory, time=slice(begin, end)).load()
            except Exception as own:
                files = self._files(trajectory, begin, end)
                if not files:
                    break
                names = str(files[0]) if len(files) == 1 else f"one of {files[0]} .. {files[-1]}"
                return ValueError(f"{names} is damaged ({own}): make or copy the data set again")
        return ValueError(f"{self.path} could not be read ({error})")


def open_flow(path: str | Path) -> FlowData:
    """Open a data set of flows and check all that can be checked without reading frames.

    Any zarr store (format 2 or 3) or NetCDF file will do that has ``velocity`` with the dimensions ``trajectory, time,
    component, x, y`` in any order, coordinates ``time``, ``x``, ``y``, a Reynolds number (``reynolds`` per trajectory,
    or an attribute) and the attribute ``forcing``. Arrays are decoded as xarray does (conventions CF); ``component``
    names u and v in any order; times with a unit are read in seconds.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no such store, something is missing, damaged or has an unknown unit, the generation has not finished,
        or the frames are not on a periodic, uniform, square grid of [0, 2 pi)^2 at uniform times.
    """
    path = Path(path)
    arrays = open_arrays(path, BESIDE)
    try:
        return _checked(path, arrays)
    except ValueError as error:
        absent = arrays.absent()
        if not absent:
            raise
        # What is read in its place is the fill value.
        raise ValueError(f"{absent[0]} is missing: make or copy the data set again ({error})") from error


def _checked(path: Path, arrays: Arrays) -> FlowData:
    where, data, attributes = str(path), arrays.dataset, plain_attributes(arrays.dataset.attrs)
    if attributes.get("format") == FORMAT and attributes.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {shown(attributes.get('format_version'))}, written by closura "
            f"{shown(attributes.get('closura_version', 'unknown'))}; this closura reads version {FORMAT_VERSION}"
        )
    if attributes.get("complete") == 0:
        how = attributes.get("command")
        raise ValueError(f"{path} is not finished; " + (f"go on with: {shown(how)}" if how else "make it again"))
    missing = [f"variable {name!r}" for name in ("velocity", "time", "x", "y") if name not in data.variables]
    if "reynolds" not in data.variables and "reynolds" not in attributes:
        missing.append("'reynolds' (a coordinate per trajectory, or an attribute)")
    if "forcing" not in attributes:
        missing.append("attribute 'forcing' (the wavenumber)")
    if missing:
        raise ValueError(f"{path} lacks what a data set of flows needs: {', '.join(missing)}")
    velocity = data["velocity"].variable
    _check_velocity(where, velocity, attributes)
    orders = [component_order(where, data["component"].variable if "component" in data.variables else None)]
    for name in ("x", "y"):
        positions = decoded_positions(where, name, data[name].variable)
        # Points in another order are put in theirs.
        order = np.argsort(positions, kind="stable") if positions.ndim == 1 else np.arange(positions.size)
        check_positions(where, name, positions[order] if positions.ndim == 1 else positions, velocity.sizes[name])
        orders.append(order)
    times = decoded_times(where, data["time"].variable)
    check_times(where, times, velocity.sizes["time"])
    forcing = number_of(where, "forcing", attributes["forcing"])
    if forcing != round(forcing) or forcing < 0:
        raise ValueError(f"{path}: the attribute 'forcing' must be a whole number, 0 or more; got {forcing:g}")
    reynolds = _reynolds(where, data, attributes, velocity.sizes["trajectory"])
    seeds = _seeds(where, data, velocity.sizes["trajectory"])
    return FlowData(
        path=path,
        reynolds=reynolds,
        forcing=round(forcing),
        times=times.astype(np.float64),
        attributes=attributes,
        interval=interval_of(where, times, attributes),
        seeds=seeds,
        _arrays=arrays,
        _velocity=velocity,
        _order=(orders[0], orders[1], orders[2]),
        _names=kept_names(where, data, attributes, reynolds, seeds, round(forcing)),
    )


def _check_velocity(where: str, velocity: xr.Variable, attributes: dict[str, Any]) -> None:
    if sorted(map(str, velocity.dims)) != sorted(VELOCITY_DIMENSIONS):
        raise ValueError(f"{where}: velocity must have the dimensions {VELOCITY_DIMENSIONS}; got {velocity.dims}")
    shape = tuple(velocity.sizes[name] for name in VELOCITY_DIMENSIONS)
    if shape[2] != 2 or shape[3] != shape[4] or min(shape) < 1:
        raise ValueError(f"{where}: velocity must be 2 components on a square grid; got {shape}")
    kind = velocity.dtype.newbyteorder("=")
    if kind not in (np.float16, *PRECISIONS):
        raise ValueError(f"{where}: velocity must be float16, {' or '.join(PRECISIONS)} when decoded; got {kind}")
    check_plain(where, "velocity", velocity, speed=True)
    boundary = attributes.get("boundary", "periodic")
    if boundary != "periodic":
        raise ValueError(f"{where} is not periodic (boundary {boundary!r}): flows must be periodic in x and y")


def _reynolds(where: str, data: xr.Dataset, attributes: dict[str, Any], count: int) -> np.ndarray:
    values = attributes.get("reynolds")
    if "reynolds" in data.variables:
        variable = data["reynolds"].variable
        check_plain(where, "reynolds", variable)
        if variable.size > 1 and variable.dims != ("trajectory",):
            raise ValueError(f"{where}: reynolds must have the dimension trajectory; got {variable.dims}")
        values = variable.values
    try:
        reynolds = np.asarray(values, np.float64).reshape(-1)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: Reynolds numbers must be numbers ({error})") from error
    if reynolds.size == 1:
        reynolds = np.full(count, reynolds[0])
    if reynolds.shape != (count,) or not (np.isfinite(reynolds) & (reynolds > 0)).all():
        raise ValueError(f"{where} needs one positive Reynolds number per trajectory ({count}); got {reynolds}")
    return reynolds


def _seeds(where: str, data: xr.Dataset, count: int) -> tuple[int, ...]:
    if "seed" not in data.variables:
        return (UNKNOWN_SEED,) * count
    values = np.atleast_1d(data["seed"].values)
    if values.shape != (count,) or values.dtype.kind not in "iuf":
        raise ValueError(f"{where} needs one seed per trajectory ({count}), a whole number; got {values}")
    return tuple(int(each) if np.isfinite(each) else UNKNOWN_SEED for each in values)
