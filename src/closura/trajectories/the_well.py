"""Flows in the HDF5 format of The Well; see :mod:`closura.trajectories.readers` for the source.

``dimensions`` names the axes of space in its attribute ``spatial_dims``, in the order of the fields' axes, and the
components of vectors follow the same order: The Well's own reader calls them ``velocity_`` and the name of the axis.
Parameters are attributes of the file, or arrays in ``scalars``, for all trajectories or for each.
"""

from pathlib import Path
from typing import Any

import numpy as np

from closura.trajectories.coordinates import check_positions, check_times, shown
from closura.trajectories.sources import Source, Stored, numbers_of, spacing, text, texts, whole

VELOCITY = "t1_fields/velocity"


def read_the_well(path: Path, file: Any) -> Source:
    """A file of The Well that has a velocity in two dimensions.

    ValueError if it does not follow the format, or says of itself what a data set of flows cannot be.
    """
    missing = [name for name in (VELOCITY, "dimensions/time", "dimensions/x", "dimensions/y", "boundary_conditions")
               if name not in file]  # fmt: skip
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it does not follow The Well's format for two dimensions")
    grid = text(file.attrs.get("grid_type", "cartesian"))
    if grid.lower() != "cartesian":
        raise ValueError(f"{path}: expected a cartesian grid; got grid_type {grid!r}")
    axes = _axes(path, file)
    _check_boundaries(path, file["boundary_conditions"])
    velocity = Stored(path, file, VELOCITY, "velocity")
    trajectories, frames, points = _check_velocity(path, file, velocity, axes)
    for name in axes:
        _check_grid(path, Stored(path, file, f"dimensions/{name}", "position"), trajectories, points)

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        frames = np.moveaxis(velocity[trajectory, start:stop:step], 3, 1)
        return frames if axes == ("x", "y") else frames[:, ::-1].swapaxes(2, 3)

    return Source(
        trajectories=trajectories,
        frames=frames,
        points=points,
        read=read,
        interval=_interval(path, Stored(path, file, "dimensions/time", "time"), trajectories, frames),
        reynolds=_reynolds(path, file, trajectories, frames),
    )


def _axes(path: Path, file: Any) -> tuple[str, ...]:
    said = file["dimensions"].attrs.get("spatial_dims")
    if said is None:
        raise ValueError(
            f"{path}: dimensions lacks the attribute spatial_dims, which orders the axes: set it to x, y or to y, x"
        )
    axes = texts(said)
    count = whole(path, "n_spatial_dims", file.attrs.get("n_spatial_dims", 2))
    if count != 2 or sorted(axes) != ["x", "y"]:
        raise ValueError(f"{path}: expected the two spatial_dims x and y, in any order; got {shown(', '.join(axes))}")
    return axes


def _check_boundaries(path: Path, boundaries: Any) -> None:
    if not hasattr(boundaries, "items"):
        raise ValueError(f"{path}: boundary_conditions must be a group; got an array")
    named: set[str] = set()
    for name, group in boundaries.items():
        kind = text(group.attrs.get("bc_type", "unknown"))
        if kind.lower() != "periodic":
            raise ValueError(f"{path} is not periodic: boundary condition {name!r} is {kind!r}")
        # Conditions that do not say for which axis they are hold for both.
        named.update(texts(group.attrs.get("associated_dims", ["x", "y"])))
    if not {"x", "y"} <= named:
        raise ValueError(f"{path}: boundary_conditions say nothing of {' and '.join(sorted({'x', 'y'} - named))}")


def _check_velocity(path: Path, file: Any, velocity: Stored, axes: tuple[str, ...]) -> tuple[int, int, int]:
    """Trajectories, frames and points."""
    order, shape = ", ".join(axes), velocity.shape
    if len(shape) != 5 or shape[4] != 2 or min(shape) < 1:
        raise ValueError(f"{path}: {VELOCITY} must be (trajectory, time, {order}, 2); got {shape}")
    velocity.check_axes(("trajectory", "time", *axes, "component"))
    for name in ("sample_varying", "time_varying", "dim_varying"):
        if velocity.flag(name) is False:
            raise ValueError(f"{path}: {VELOCITY} has the shape {shape}, but its attribute {name} is false")
    said = file.attrs.get("n_trajectories")
    if said is not None and whole(path, "n_trajectories", said) != shape[0]:
        raise ValueError(f"{path}: n_trajectories is {text(said)}, but the velocity has {shape[0]}")
    if shape[2] != shape[3]:
        raise ValueError(f"{path}: expected a square grid; got {shape[2]} x {shape[3]} points")
    return shape[0], shape[1], shape[2]


def _rows(path: Path, array: Stored, trajectories: int) -> np.ndarray:
    """Coordinates ``(rows, points)``: one row for all trajectories, or one for each."""
    values = np.atleast_1d(array[...])
    varying = array.flag("sample_varying")
    if values.ndim > 2 or (varying is not None and varying != (values.ndim == 2)):
        raise ValueError(f"{path}: {array.name} has the shape {values.shape}, but sample_varying is {varying}")
    if values.ndim == 2 and len(values) != trajectories:
        raise ValueError(f"{path}: {array.name} has {len(values)} rows for {trajectories} trajectories")
    return values if values.ndim == 2 else values[None]


def _check_grid(path: Path, array: Stored, trajectories: int, points: int) -> None:
    if array.flag("time_varying"):
        raise ValueError(f"{path}: {array.name} changes in time (time_varying): expected a fixed grid")
    for row in _rows(path, array, trajectories):
        check_positions(str(path), array.name.rsplit("/", 1)[-1], row, points)


def _interval(path: Path, array: Stored, trajectories: int, frames: int) -> dict[str, tuple[float, ...]]:
    """Times may differ between trajectories; then each row must do, and all must be equally far apart."""
    rows = _rows(path, array, trajectories)
    for row in rows:
        check_times(str(path), row, frames)
    intervals = [each for row in rows for each in spacing(row)]
    if not intervals:
        return {}
    if np.ptp(intervals) > 1e-3 * intervals[0]:
        raise ValueError(f"{path}: the time between frames differs between trajectories: {intervals}")
    return {array.name: (intervals[0],)}


def _reynolds(path: Path, file: Any, trajectories: int, frames: int) -> dict[str, tuple[float, ...]]:
    """Reynolds numbers, also as viscosities, whose inverse they are in units of the box over 2 pi."""
    said: dict[str, tuple[float, ...]] = {}
    for name, value in file.attrs.items():
        if _is_reynolds(name) or _is_viscosity(name):
            said[f"attribute {name}"] = numbers_of(
                path, name, value, trajectories=trajectories, frames=frames, time_varying=False
            )
    scalars = file.get("scalars", {})
    for name in scalars if hasattr(scalars, "items") else ():
        if _is_reynolds(name) or _is_viscosity(name):
            array = Stored(path, file, f"scalars/{name}")
            said[array.name] = numbers_of(
                path, array.name, array[...], trajectories=trajectories, frames=frames,
                sample_varying=array.flag("sample_varying"), time_varying=array.flag("time_varying"),
            )  # fmt: skip
    for where, values in said.items():
        if min(values) <= 0:
            raise ValueError(f"{path}: {where} must be positive; got {min(values):g}")
        if _is_viscosity(where.replace("attribute ", "").replace("scalars/", "")):
            said[where] = tuple(1.0 / each for each in values)
    return said


def _is_reynolds(name: str) -> bool:
    return name.lower().replace(" ", "_") in ("reynolds", "re", "reynolds_number")


def _is_viscosity(name: str) -> bool:
    # Nu with a capital is Nusselt's number.
    return name == "nu" or name.lower().replace(" ", "_") in ("viscosity", "kinematic_viscosity", "inv_reynolds")
