"""What positions, times, orders and texts of a data set must be like, and their units.

Lengths and times are without dimension here; a store that gives them with a unit is read in metres and seconds. What
is not understood is refused by name.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from closura.trajectories.schema import COMPONENTS, COORDINATES, FORMAT

# Coordinates may be kept in single precision.
POSITION_TOLERANCE = 1e-5
TIME_TOLERANCE = 1e-3

# Of the divergence over the gradients: fields in single precision reach 1e-5, and in half precision 1e-2.
DIVERGENT, DIVERGENCE_FREE = 0.1, 1e-2

# All but the fields and their statistics: small arrays.
BESIDE = (*COORDINATES, "frame_check")

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
PLAIN_UNITS = ("", "1", "-", "none", "dimensionless", "non-dimensional", "nondimensional", "unitless")


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


def factor_of(unit: str, known: Mapping[str, float]) -> float | None:
    """What numbers of a unit are multiplied by; None if it is not among the known ones, or their plurals."""
    if unit.lower() in PLAIN_UNITS:
        return 1.0
    short = unit if unit in known else unit.lower()
    # Plurals are those of words: ds are no days.
    short = short.removesuffix("s") if short not in known and len(short) > 2 else short
    return None if unit.startswith("M") and short in MILLI else known.get(short)


def _factor(where: str, name: str, unit: str, known: Mapping[str, float], example: str | None) -> float:
    found = factor_of(unit, known)
    if found is None:
        valid = "without dimension (unit 1)" + (f", or in {example}" if example else "")
        raise ValueError(f"{where}: {name} has the unit {unit!r}, which is not understood: give it {valid}")
    return found


def _scaled(values: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1:
        return values
    values = values.astype(np.float64)
    # 250 ms are 0.25 s to the last digit.
    return values * factor if factor > 1 else values / round(1 / factor, 9)


def check_positions(where: str, name: str, positions: Float[np.ndarray, " points"], expected: int) -> None:
    """Refuse all but the points 2 pi i / N (ValueError says which points there are)."""
    n = len(positions)
    if positions.ndim != 1 or n != expected or n < 2:
        raise ValueError(f"{where}: {name} has {positions.shape} positions for {expected} points")
    steps, box = np.diff(positions.astype(np.float64)), 2 * np.pi
    step = float(np.mean(steps))
    if not np.all(np.abs(steps - step) <= POSITION_TOLERANCE * box):
        raise ValueError(
            f"{where}: the points along {name} are not uniform (distances {steps.min():g} to {steps.max():g}); "
            "interpolate to a uniform grid first"
        )
    if abs(step * (n - 1) - box) <= POSITION_TOLERANCE * box and abs(step * n - box) > POSITION_TOLERANCE * box:
        raise ValueError(
            f"{where}: the points along {name} include both ends of the box: that is not a periodic grid [0, 2 pi); "
            "drop the last point"
        )
    if abs(step * n - box) > POSITION_TOLERANCE * box:
        raise ValueError(
            f"{where}: the box along {name} has the length {step * n:g}, expected 2 pi = {box:g}; rescale lengths and "
            "times"
        )
    if abs(float(positions[0])) > POSITION_TOLERANCE * box:
        raise ValueError(f"{where}: the points along {name} begin at {float(positions[0]):g}, expected 0")


def check_times(where: str, times: Float[np.ndarray, " time"], frames: int) -> None:
    """Refuse times that are not uniform (ValueError names the first gap)."""
    if times.shape != (frames,):
        raise ValueError(f"{where}: {times.shape} times for {frames} frames")
    if frames == 1:
        return
    steps = np.diff(times.astype(np.float64))
    usual = float(np.median(steps))
    # Times in single precision are as far off as their own rounding.
    rounding = 4 * float(np.finfo(times.dtype).eps) * float(np.max(np.abs(times))) if times.dtype.kind == "f" else 0.0
    bad = ~(np.abs(steps - usual) <= TIME_TOLERANCE * abs(usual) + rounding)
    if not usual > 0 or bad.any():
        first = int(np.argmax(bad)) if bad.any() else 0
        raise ValueError(
            f"{where}: times are not uniform: from frame {first} to {first + 1} the time goes from {times[first]:g} to "
            f"{times[first + 1]:g}, elsewhere by {usual:g}; cut the data there"
        )


def interval_of(where: str, times: Float[np.ndarray, " time"], attributes: Mapping[str, Any]) -> float:
    """Time between frames: what the times say, or the attribute ``interval`` of a single frame.

    The attribute goes on saying what it did of a data set of ours whose frames xarray has thinned out.

    ValueError if neither says, or they contradict each other.
    """
    said = attributes.get("interval")
    said = None if said is None else number_of(where, "interval", said)
    if len(times) < 2:
        if said is None:
            raise ValueError(
                f"{where} has a single frame and no attribute 'interval': the time between frames is unknown"
            )
        return said
    found = float(times[-1] - times[0]) / (len(times) - 1)
    if said is None:
        return found
    often = round(found / said) if said > 0 and attributes.get("format") == FORMAT else 1
    if abs(max(often, 1) * said - found) > TIME_TOLERANCE * found:
        raise ValueError(f"{where}: the attribute 'interval' is {said:g}, but times are {found:g} apart")
    return max(often, 1) * said


def number_of(where: str, name: str, value: Any) -> float:
    """An attribute that must be a finite number (ValueError if it is none)."""
    try:
        number = float(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: the attribute {name!r} must be a number; got {value!r}") from error
    if not np.isfinite(number):
        raise ValueError(f"{where}: the attribute {name!r} must be a finite number; got {number}")
    return number


def check_order(where: str, frame: Float[np.ndarray, "2 x y"]) -> None:
    """Refuse a frame that has no divergence only if its numbers are read in another order.

    Flows of these data sets are incompressible, so that u and v, or x and y, in the wrong order show. A frame that is
    divergent in every order is accepted: the initial fields of the published data are.

    ValueError says which order it would be.
    """
    if not np.isfinite(frame).all() or _divergence(frame) <= DIVERGENT:
        return
    # The coarser the numbers and the finer the grid, the more divergence rounding makes.
    limit = min(max(DIVERGENCE_FREE, float(np.finfo(frame.dtype).eps) * frame.shape[-1]), DIVERGENT)
    last = np.moveaxis(frame.reshape(*frame.shape[1:], 2), 2, 0)
    others = {
        "x and y, or u and v, the other way round": (frame[::-1],),
        "the component as last axis": (last, last[::-1]),
    }
    for words, readings in others.items():
        if min(map(_divergence, readings)) < limit:
            raise ValueError(
                f"{where}: the flow is incompressible only with {words}: reorder the numbers of the file; expected "
                "(component, x, y) with u along x"
            )


def _divergence(frame: Float[np.ndarray, "2 x y"]) -> float:
    """Root mean square of the divergence over that of the gradients in it; 0 for a uniform frame."""
    points = frame.shape[-1]
    wide = frame.astype(np.float64)
    spectrum = np.fft.fft2(wide / (np.abs(wide).max() or 1.0))
    waves = np.fft.fftfreq(points, 1.0 / points)
    waves = np.where(2 * np.abs(waves) == points, 0.0, waves)
    along_x, along_y = waves[:, None] * spectrum[0], waves[None, :] * spectrum[1]
    size = np.sqrt(np.sum(np.abs(along_x) ** 2 + np.abs(along_y) ** 2))
    return float(np.sqrt(np.sum(np.abs(along_x + along_y) ** 2)) / size) if size > 1e-9 * points**2 else 0.0


def shown(value: Any, length: int = 500) -> str:
    """What a file says, for a terminal: on one line, without characters that command it, and not longer than that."""
    words = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(value))
    return words if len(words) <= length else f"{words[:length]} ..."
