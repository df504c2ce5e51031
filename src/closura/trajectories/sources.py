"""Open files of other people's flows: what they say of themselves, and arrays of HDF5 read as they are meant.

Arrays are decoded by xarray after the conventions of climate and forecast data (CF): ``scale_factor``, ``add_offset``,
``_FillValue``, ``missing_value``. What is missing becomes NaN, which no data set takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from closura.trajectories.coordinates import LENGTHS, SECONDS, SPEEDS, factor_of, shown

ENCODINGS = ("scale_factor", "add_offset", "_FillValue", "missing_value", "_Unsigned")
UNITS = {"time": SECONDS, "position": LENGTHS, "velocity": SPEEDS}


@dataclass(frozen=True, eq=False)
class Source:
    """An open file of flows: what it says of itself, and ``read(trajectory, start, stop, step)``: ``(time, 2, x, y)``.

    Facts are by the place in the file that says them, a number for each trajectory. Several places may disagree, and
    there may be none.
    """

    trajectories: int
    frames: int
    points: int
    read: Callable[[int, int, int, int], Float[np.ndarray, "time 2 x y"]]
    interval: Mapping[str, Sequence[float]] = field(default_factory=dict)
    reynolds: Mapping[str, Sequence[float]] = field(default_factory=dict)
    forcing: Mapping[str, Sequence[float]] = field(default_factory=dict)


class Stored:
    """An array of numbers in an HDF5 file.

    ``kind`` is what it holds, which decides the units it may have: "time", "position", "velocity", "" for plain
    numbers, or "any".
    """

    def __init__(self, path: Path, file: Any, name: str, kind: str = "") -> None:
        self.path, self.name = path, name
        self._array = array = file[name]
        element = getattr(getattr(array, "dtype", None), "kind", None)
        if element is None or element not in "fiu":
            what = "a group" if element is None else f"elements of type {array.dtype}"
            raise ValueError(f"{path}: {name} must be an array of numbers; got {what}")
        self.shape: tuple[int, ...] = array.shape
        self.attributes: dict[str, Any] = dict(array.attrs)
        self._encoding = {key: _single(self.attributes[key]) for key in ENCODINGS if key in self.attributes}
        if kind == "velocity" and element != "f" and "scale_factor" not in self._encoding:
            raise ValueError(f"{path}: {name} must be floating-point numbers; got {array.dtype} without a scale_factor")
        self._check_units(kind)
        self._check_written()

    def __getitem__(self, index: Any) -> np.ndarray:
        """Decoded values; those that are missing are NaN (ValueError if they cannot be read)."""
        try:
            values = np.asarray(self._array[index])
        except OSError as error:
            raise ValueError(f"{self.path}: {self.name} cannot be read ({error}): make or copy it again") from error
        if not self._encoding:
            return as_floats(values)
        dimensions = [f"axis {i}" for i in range(values.ndim)]
        encoded = xr.Dataset({"values": (dimensions, values, self._encoding)})
        try:
            return as_floats(xr.decode_cf(encoded, decode_times=False)["values"].values)
        except (ValueError, TypeError) as error:
            said = ", ".join(f"{key} {value}" for key, value in self._encoding.items())
            raise ValueError(f"{self.path}: {self.name} cannot be decoded by its {said} ({error})") from error

    def flag(self, name: str) -> bool | None:
        """An attribute that is true or false; None where it is absent."""
        value = self.attributes.get(name)
        return None if value is None else bool(np.all(value))

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Sizes of the chunks that are read as a whole; None where there are none."""
        found: tuple[int, ...] | None = self._array.chunks
        return found

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes, from their scales or labels; empty for an axis that has none."""
        scales = (next((s.name for s in each.values()), "") or each.label for each in self._array.dims)
        return tuple(str(name).rsplit("/", 1)[-1] for name in scales)

    def check_axes(self, expected: Sequence[str]) -> None:
        """Refuse axes whose labels, where there are any, are those of others (ValueError says what the labels are)."""
        labels = [each.label or next(iter(each.keys()), "") for each in self._array.dims]
        labels = [str(label).rsplit("/", 1)[-1] for label in labels]
        if any(label in expected and label != own for label, own in zip(labels, expected, strict=False)):
            raise ValueError(
                f"{self.path}: the axes of {self.name} are labelled ({shown(', '.join(labels))}); expected "
                f"({', '.join(expected)}): reorder them"
            )

    def _check_units(self, kind: str) -> None:
        units = text(self.attributes.get("units", "")).strip().lower()
        if kind != "any" and factor_of(units, UNITS.get(kind, {})) != 1:
            raise ValueError(
                f"{self.path}: {self.name} has the units {units!r}; expected plain, non-dimensional numbers: rescale it"
            )

    def _check_written(self) -> None:
        """HDF5 gives its fill value, mostly zero, for what was never written: nothing tells it from data later."""
        array = self._array
        if array.is_virtual:
            folder = self.path.resolve().parent
            lost = [each.file_name for each in array.virtual_sources()
                    if each.file_name != "." and not (folder / each.file_name).exists()]  # fmt: skip
            if lost:
                raise ValueError(f"{self.path}: {self.name} refers to files that are not there: {', '.join(lost)}")
            return
        if not array.size or array.external:
            return
        if array.chunks is None:
            written, needed = int(array.id.get_storage_size() > 0), 1
        else:
            needed = int(np.prod([-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True)]))
            written = array.id.get_num_chunks()
        if written < needed:
            raise ValueError(
                f"{self.path}: {written} of {needed} parts of {self.name} were written: the file is not complete; make "
                "or copy it again"
            )


def as_floats(values: np.ndarray) -> np.ndarray:
    """Numbers in a type of at most 64 bits: whole numbers and longer ones in float64."""
    with np.errstate(over="ignore"):
        return values.astype(np.float64) if values.dtype.kind in "iu" or values.dtype.itemsize > 8 else values


def numbers_of(
    path: Path,
    name: str,
    value: Any,
    *,
    trajectories: int = 1,
    frames: int = 1,
    sample_varying: bool | None = None,
    time_varying: bool | None = None,
) -> tuple[float, ...]:
    """A fact of each trajectory, from a number, a number for each, or either of them repeated for each frame.

    ValueError if the value is not numeric, not finite, changes in time, or is not for these trajectories.
    """
    try:
        values = np.asarray(value, np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {name} must be a number ({error})") from error
    if not values.size:
        raise ValueError(f"{path}: {name} must be a number; got nothing")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: {name} must be a finite number; got {_first(values[~np.isfinite(values)])}")
    shape = values.shape
    by_frame = ((trajectories, frames), (frames,)) if sample_varying is None else (
        ((trajectories, frames),) if sample_varying else ((frames,),)
    )  # fmt: skip
    by_trajectory = time_varying is not True and shape == (trajectories,) and sample_varying is not False
    if time_varying is not False and shape in by_frame and not by_trajectory:
        if not np.allclose(values, values[..., :1], rtol=1e-6, atol=0.0):
            raise ValueError(f"{path}: {name} changes in time, from {values.min():g} to {values.max():g}")
        values = values[..., 0]
    if values.size == 1:
        return (_first(values),) * trajectories
    if values.shape != (trajectories,) or sample_varying is False:
        raise ValueError(f"{path}: {name} must be one number, or one for each trajectory ({trajectories}); got {shape}")
    if trajectories == frames and sample_varying is None and time_varying is None and np.ptp(values) > 0:
        raise ValueError(
            f"{path}: {name} has {trajectories} numbers, which may be for trajectories or for frames: say with its "
            "attributes sample_varying and time_varying"
        )
    return tuple(float(each) for each in values)


def whole(path: Path, name: str, value: Any) -> int:
    """A single whole number (ValueError if it is something else)."""
    (number,) = numbers_of(path, name, value)
    if number != round(number):
        raise ValueError(f"{path}: {name} must be a whole number; got {number:g}")
    return round(number)


def text(value: Any) -> str:
    """An attribute as text."""
    value = _single(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def texts(value: Any) -> tuple[str, ...]:
    """An attribute as a list of texts; a single one is a list too."""
    return tuple(text(each) for each in np.atleast_1d(np.asarray(value, object)))


def spacing(times: np.ndarray) -> tuple[float, ...]:
    """The time between frames, to six digits; nothing of a single frame."""
    if len(times) < 2:
        return ()
    return (float(f"{(float(times[-1]) - float(times[0])) / (len(times) - 1):.6g}"),)


def _first(values: np.ndarray) -> float:
    return float(values.reshape(-1)[0])


def _single(value: Any) -> Any:
    """Attributes of one element are arrays in files of some programs."""
    return value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
