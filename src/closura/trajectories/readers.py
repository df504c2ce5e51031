"""Reading other people's flows, streamed: KolSol's HDF5, the published NumPy layout, The Well's HDF5.

* KolSol (https://github.com/MagriLab/KolSol, its data script): one trajectory per file, ``velocity_field (time, x, y,
  component)``, ``time``, ``dt``, ``re``, ``nf``, ``ndim``, ``resolution``, on [0, 2 pi)^2.
* published: one ``.npy`` file, ``(trajectory, time, 2 N^2)``: u, then v, each flattened with y running fastest, as in
  https://github.com/IsmaelZig-SU/Scale-Separation-and-stochastic-closure-for-Chaotic-Dynamics.
* the-well: ``t1_fields/velocity (trajectory, time, x, y, component)``, in the order of axes that ``dimensions`` gives,
  with ``boundary_conditions`` and parameters, as specified in https://github.com/PolymathicAI/the_well
  (docs/data_format.md) [Ohana2024].

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

from closura.trajectories.coordinates import check_times
from closura.trajectories.sources import Source, Stored, as_floats, numbers_of, spacing, whole
from closura.trajectories.the_well import read_the_well

Layout = Literal["kolsol", "published", "the-well"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@contextmanager
def open_source(path: str | Path, layout: Layout) -> Iterator[Source]:
    """Open a file in one of the layouts, checked as far as it can be without reading frames.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    IsADirectoryError
        If there is a folder.
    ValueError
        If the layout is unknown or the file does not have it, or the flow is not periodic, not on a uniform grid of
        [0, 2 pi)^2, or not at uniform times, or the file says something that is not understood.
    """
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
        yield (_kolsol if layout == "kolsol" else read_the_well)(path, file)


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
