"""Reading data sets of flows: opened lazily, checked before anything is computed from them."""

import hashlib
import itertools
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from jaxtyping import Float

from closura.trajectories.checks import TIME_TOLERANCE, check_positions, check_times, shown
from closura.trajectories.schema import (
    FORMAT,
    FORMAT_VERSION,
    PRECISIONS,
    UNKNOWN_SEED,
    VELOCITY_DIMENSIONS,
    FlowDescription,
)

# Attributes that say how a store was written, not what is in it.
OF_THE_STORE = ("complete", "created", "closura_version", "command")


@dataclass(frozen=True, eq=False)
class FlowData:
    """A data set of flows; made by :func:`open_flow`. Frames are read when they are asked for.

    Parameters
    ----------
    path
        The zarr folder.
    reynolds
        Reynolds number of each trajectory, ``(trajectory,)``.
    forcing
        Wavenumber of the forcing.
    times
        Time of each frame, ``(time,)``, float64.
    attributes
        Attributes of the store.
    """

    path: Path
    reynolds: Float[np.ndarray, " trajectory"]
    forcing: int
    times: Float[np.ndarray, " time"]
    attributes: dict[str, Any]
    _velocity: Any
    _seeds: tuple[int, ...]

    @property
    def trajectories(self) -> int:
        """Number of trajectories."""
        return int(self._velocity.shape[0])

    @property
    def frames(self) -> int:
        """Frames per trajectory."""
        return int(self._velocity.shape[1])

    @property
    def points(self) -> int:
        """Points per side."""
        return int(self._velocity.shape[-1])

    @property
    def interval(self) -> float:
        """Time between frames."""
        return _interval(self.path, self.times, self.attributes)

    @property
    def dtype(self) -> np.dtype:
        """In which frames are kept, and read."""
        return np.dtype(self._velocity.dtype)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed of each trajectory, -1 where unknown."""
        return self._seeds

    @property
    def chunk_frames(self) -> int:
        """Frames in a chunk of the store: reading in multiples of it, from a multiple of it, reads nothing twice."""
        return int(self._chunks[1])

    @cached_property
    def identities(self) -> tuple[str, ...]:
        """One name per trajectory: data sets with a name in common hold the same simulation.

        Of a store that does not say, the name is a hash of the first frame.
        """
        kept = self.attributes.get("identities")
        if isinstance(kept, list) and len(kept) == self.trajectories:
            return tuple(str(each) for each in kept)
        return tuple(identity_of_frame(self.read(i, 0, 1)[0]) for i in range(self.trajectories))

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
        """Frames ``start, .., stop - 1`` of a trajectory, in the store's precision.

        Raises
        ------
        ValueError
            If there are no such frames, a chunk's file is missing or damaged, or a value is not finite.
        """
        stop = self.frames if stop is None else stop
        if not 0 <= trajectory < self.trajectories or not 0 <= start < stop <= self.frames:
            raise ValueError(
                f"{self.path} has trajectories 0 to {self.trajectories - 1} of {self.frames} frames; got trajectory "
                f"{trajectory}, frames {start} to {stop}"
            )
        for file in self._files(trajectory, start, stop):
            if not file.is_file():
                raise ValueError(f"{file} is missing: the data set is damaged; make or copy it again")
        try:
            frames: np.ndarray = self._velocity[trajectory, start:stop]
        except Exception as error:
            raise self._damaged(trajectory, start, stop, error) from error
        bad = ~np.isfinite(frames).all(axis=(1, 2, 3))
        if bad.any():
            first = start + int(np.argmax(bad))
            raise ValueError(
                f"{self.path} is not finite in trajectory {trajectory}, frame {first}, time {self.times[first]:g}"
            )
        return frames

    def dataset(self) -> xr.Dataset:
        """The store as an xarray data set whose arrays are read when they are used; close it afterwards."""
        # Times stay numbers: "1" is a unit here, not a calendar.
        return xr.open_dataset(self.path, engine="zarr", chunks=None, decode_times=False)

    @property
    def _chunks(self) -> tuple[int, ...]:
        # Shards are the files of stores that have them.
        return self._velocity.shards or self._velocity.chunks

    def _files(self, trajectory: int, start: int, stop: int) -> list[Path]:
        """Files of the chunks that hold these frames."""
        low = (trajectory, start, 0, 0, 0)
        high = (trajectory + 1, stop, *self._velocity.shape[2:])
        ranges = [range(a // c, -(-b // c)) for a, b, c in zip(low, high, self._chunks, strict=True)]
        key = self._velocity.metadata.encode_chunk_key
        return [self.path / "velocity" / key(index) for index in itertools.product(*ranges)]

    def _damaged(self, trajectory: int, start: int, stop: int, error: Exception) -> ValueError:
        """Which chunk it was."""
        step = self._chunks[1]
        for first in range(start - start % step, stop, step):
            begin, end = max(first, start), min(first + step, stop)
            try:
                self._velocity[trajectory, begin:end]
            except Exception as own:
                files = self._files(trajectory, begin, end)
                names = str(files[0]) if len(files) == 1 else f"one of {files[0]} .. {files[-1]}"
                return ValueError(f"{names} is damaged ({own}): make or copy the data set again")
        return ValueError(f"{self.path} could not be read ({error})")


def open_flow(path: str | Path) -> FlowData:
    """Open a data set of flows and check all that can be checked without reading frames.

    Any zarr store (format 2 or 3) will do that has ``velocity (trajectory, time, component, x, y)``, coordinates
    ``time``, ``x``, ``y``, a Reynolds number (``reynolds`` per trajectory, or an attribute) and the attribute
    ``forcing``.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is no zarr store, something is missing, the generation has not finished, or the frames are not on a
        periodic, uniform, square grid of [0, 2 pi)^2 at uniform times.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no data set at {path}")
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        attributes: dict[str, Any] = dict(group.attrs.asdict())
    except Exception as error:
        raise ValueError(f"{path} is no zarr store of flows: {error}") from error
    if attributes.get("format") == FORMAT and attributes.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {shown(attributes.get('format_version'))}, written by closura "
            f"{shown(attributes.get('closura_version', 'unknown'))}; this closura reads version {FORMAT_VERSION}"
        )
    if attributes.get("complete") is False:
        how = attributes.get("command")
        raise ValueError(f"{path} is not finished; " + (f"go on with: {shown(how)}" if how else "make it again"))
    missing = [f"variable {name!r}" for name in ("velocity", "time", "x", "y") if name not in group]
    if "reynolds" not in group and "reynolds" not in attributes:
        missing.append("'reynolds' (a coordinate per trajectory, or an attribute)")
    if "forcing" not in attributes:
        missing.append("attribute 'forcing' (the wavenumber)")
    if missing:
        raise ValueError(f"{path} lacks what a data set of flows needs: {', '.join(missing)}")
    velocity: Any = group["velocity"]
    _check_velocity(path, velocity, attributes)
    for axis, name in ((3, "x"), (4, "y")):
        check_positions(str(path), name, _values(path, group, name), velocity.shape[axis])
    times = _values(path, group, "time")
    check_times(str(path), times, velocity.shape[1])
    _interval(path, times, attributes)
    count = velocity.shape[0]
    reynolds = _values(path, group, "reynolds") if "reynolds" in group else np.asarray(attributes["reynolds"])
    try:
        reynolds = np.asarray(reynolds, np.float64).reshape(-1)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: Reynolds numbers must be numbers ({error})") from error
    forcing = _number(path, "forcing", attributes["forcing"])
    if forcing != round(forcing) or forcing < 0:
        raise ValueError(f"{path}: the attribute 'forcing' must be a whole number, 0 or more; got {forcing:g}")
    if reynolds.size == 1:
        reynolds = np.full(count, reynolds[0])
    if reynolds.shape != (count,) or not (np.isfinite(reynolds) & (reynolds > 0)).all():
        raise ValueError(f"{path} needs one positive Reynolds number per trajectory ({count}); got {reynolds}")
    seeds = _values(path, group, "seed") if "seed" in group else np.full(count, UNKNOWN_SEED)
    return FlowData(
        path=path,
        reynolds=reynolds,
        forcing=round(forcing),
        times=times.astype(np.float64),
        attributes=attributes,
        _velocity=velocity,
        _seeds=tuple(int(each) for each in seeds),
    )


def identity_of_frame(frame: Float[np.ndarray, "2 x y"]) -> str:
    """The name of a simulation of unknown origin: a hash of its first frame in single precision."""
    content = np.ascontiguousarray(frame, dtype="<f4").tobytes()
    return "frame-" + hashlib.sha256(content).hexdigest()[:16]


def _interval(path: Path, times: np.ndarray, attributes: dict[str, Any]) -> float:
    said = attributes.get("interval")
    said = None if said is None else _number(path, "interval", said)
    if len(times) < 2:
        if said is None:
            raise ValueError(
                f"{path} has a single frame and no attribute 'interval': the time between frames is unknown"
            )
        return said
    found = float(times[-1] - times[0]) / (len(times) - 1)
    if said is None:
        return found
    if abs(said - found) > TIME_TOLERANCE * found:
        raise ValueError(f"{path}: the attribute 'interval' is {said:g}, but times are {found:g} apart")
    return said


def _number(path: Path, name: str, value: Any) -> float:
    """An attribute that must be a finite number."""
    try:
        number = float(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: the attribute {name!r} must be a number; got {value!r}") from error
    if not np.isfinite(number):
        raise ValueError(f"{path}: the attribute {name!r} must be a finite number; got {number}")
    return number


def _check_velocity(path: Path, velocity: Any, attributes: dict[str, Any]) -> None:
    named = velocity.attrs.get("_ARRAY_DIMENSIONS") or getattr(velocity.metadata, "dimension_names", None)
    if tuple(named or ()) != VELOCITY_DIMENSIONS:
        raise ValueError(f"{path}: velocity must have the dimensions {VELOCITY_DIMENSIONS}; got {tuple(named or ())}")
    shape = velocity.shape
    if shape[2] != 2 or shape[3] != shape[4] or min(shape) < 1:
        raise ValueError(f"{path}: velocity must be 2 components on a square grid; got {shape}")
    if str(velocity.dtype) not in PRECISIONS:
        raise ValueError(f"{path}: velocity must be {' or '.join(PRECISIONS)}; got {velocity.dtype}")
    boundary = attributes.get("boundary", "periodic")
    if boundary != "periodic":
        raise ValueError(f"{path} is not periodic (boundary {boundary!r}): flows must be periodic in x and y")


def _values(path: Path, group: Any, name: str) -> np.ndarray:
    try:
        values = np.asarray(group[name][...])
    except Exception as error:
        raise ValueError(f"{path / name} is damaged ({error}): make or copy the data set again") from error
    # Tiny arrays are checked for their file too: what is missing would be read as the fill value.
    key = group[name].metadata.encode_chunk_key((0,) * group[name].ndim)
    if not (path / name / key).is_file():
        raise ValueError(f"{path / name / key} is missing: the data set is damaged; make or copy it again")
    return values
