"""Reading other people's flows, streamed: KolSol's HDF5, the published NumPy layout, The Well's HDF5.

* KolSol (https://github.com/MagriLab/KolSol, its data script): one trajectory per file, ``velocity_field (time, x, y,
  component)``, ``time``, ``dt``, ``re``, ``nf``, ``ndim``, ``resolution``, on [0, 2 pi)^2.
* published: one ``.npy`` file, ``(trajectory, time, 2 N^2)``: u, then v, each flattened with y running fastest, as in
  https://github.com/IsmaelZig-SU/Scale-Separation-and-stochastic-closure-for-Chaotic-Dynamics.
* the-well: ``t1_fields/velocity (trajectory, time, x, y, component)``, with ``boundary_conditions`` and parameters, as
  specified in https://github.com/PolymathicAI/the_well (docs/data_format.md) [Ohana2024]. ``dimensions`` names the axes
  of space in its attribute ``spatial_dims``, in the order of the fields' axes, and the components of vectors follow the
  same order: The Well's own reader calls them ``velocity_`` and the name of the axis. Parameters are attributes of the
  file, or arrays in ``scalars``, for all trajectories or for each.

.. code-block:: bibtex

    @inproceedings{Ohana2024,
      title = {The Well: a Large-Scale Collection of Diverse Physics Simulations for Machine Learning},
      author = {Ohana, Ruben and McCabe, Michael and Meyer, Lucas and others},
      booktitle = {Advances in Neural Information Processing Systems 37, Datasets and Benchmarks Track}, year = {2024}
    }
"""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from closura.trajectories.coordinates import check_positions, check_times, shown
from closura.trajectories.sources import Source, Stored, as_floats, numbers_of, spacing, text, texts, whole

Layout = Literal["kolsol", "published", "the-well"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
VELOCITY = "t1_fields/velocity"


@contextmanager
def open_source(path: str | Path, layout: Layout) -> Iterator[Source]:
    """Open a file in one of the layouts, checked as far as it can be without reading frames."""
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; valid: {', '.join(LAYOUTS)}")
    _check_is_file(path, layout)
    if layout == "published":
        yield _published(path)
        return
    # Only to read other people's files: the package does without.
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is no HDF5 file, which the layout {layout} is: {error}") from error
    with file:
        yield (_kolsol if layout == "kolsol" else _the_well)(path, file)


def _check_is_file(path: Path, layout: Layout) -> None:
    if path.is_dir():
        stores = any((path / name).is_file() for name in (".zgroup", ".zattrs", "zarr.json"))
        raise IsADirectoryError(
            f"{path} is a zarr store, which closura reads as it is: closura data show {shlex.quote(str(path))}"
            if stores
            else f"{path} is a folder: name the files of the layout {layout} in it"
        )
    if not path.exists():
        raise FileNotFoundError(f"no file {path}")
    if not path.is_file():
        raise ValueError(f"{path} is a device or a pipe: copy what it gives to a file first")
    with open(path, "rb") as file:
        classic = file.read(4) in (b"CDF\x01", b"CDF\x02", b"CDF\x05")
    if classic or path.suffix in (".nc", ".nc4", ".cdf"):
        raise ValueError(
            f"{path} is NetCDF, not the layout {layout}: write it as the zarr store that closura reads as it is, with "
            "xarray.open_dataset(FILE).to_zarr(FOLDER)"
        )


def _published(path: Path) -> Source:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no .npy file of numbers, which the layout published is: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: expected one array (trajectory, time, 2 N^2); got several, in an .npz file")
    if array.ndim != 3 or array.dtype.kind != "f" or min(array.shape) < 1:
        raise ValueError(
            f"{path}: expected (trajectory, time, 2 N^2) of floating-point numbers; got {array.shape} of {array.dtype}"
        )
    points = round((array.shape[2] / 2) ** 0.5)
    if 2 * points**2 != array.shape[2] or points < 2:
        raise ValueError(f"{path}: the last axis must be 2 N^2 numbers, u and v on N x N points; got {array.shape[2]}")

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        return as_floats(np.asarray(array[trajectory, start:stop:step])).reshape(-1, 2, points, points)

    return Source(array.shape[0], array.shape[1], points, read)


def _kolsol(path: Path, file: Any) -> Source:
    missing = [name for name in ("velocity_field", "time", "re", "nf") if name not in file]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by KolSol's data script")
    velocity = Stored(path, file, "velocity_field", "velocity")
    times = Stored(path, file, "time", "time")[...].reshape(-1)
    shape = velocity.shape
    if len(shape) != 4 or shape[3] != 2 or shape[1] != shape[2] or not shape[0]:
        raise ValueError(f"{path}: velocity_field must be (time, x, y, 2) on a square grid; got {shape}")
    velocity.check_axes(("time", "x", "y", "component"))
    for name, expected in (("ndim", 2), ("resolution", shape[1])):
        if name in file and (said := whole(path, name, _value(path, file, name))) != expected:
            raise ValueError(f"{path}: {name} is {said}, but velocity_field has the shape {shape}")
    check_times(str(path), times, shape[0])

    def fact(name: str, positive: bool) -> tuple[float, ...]:
        values = numbers_of(path, name, _value(path, file, name), frames=shape[0])
        if positive and min(values) <= 0:
            raise ValueError(f"{path}: {name} must be positive; got {min(values):g}")
        return values

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        return np.moveaxis(velocity[start:stop:step], 3, 1)

    # The data script keeps every step. Where dt is another time, frames were left out, or times have another unit.
    interval = {"time": spacing(times)} if shape[0] > 1 else {}
    if "dt" in file:
        interval["dt"] = fact("dt", positive=True)
    nf = whole(path, "nf", fact("nf", positive=False))
    return Source(
        trajectories=1,
        frames=shape[0],
        points=shape[1],
        read=read,
        interval=interval,
        reynolds={"re": fact("re", positive=True)},
        forcing={"nf": (float(nf),)},
    )


def _value(path: Path, file: Any, name: str) -> Any:
    """A parameter: a number or an array of numbers."""
    array = file[name]
    if getattr(getattr(array, "dtype", None), "kind", "") not in "fiu" or not hasattr(array, "shape"):
        raise ValueError(f"{path}: {name} must be a number; got {'text' if hasattr(array, 'shape') else 'a group'}")
    return Stored(path, file, name)[...]


def _the_well(path: Path, file: Any) -> Source:
    """A file of The Well that has a velocity in two dimensions."""
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
