"""Reading other people's flows, streamed: KolSol's HDF5, the published NumPy layout, The Well's HDF5.

* KolSol (https://github.com/MagriLab/KolSol, its data script): one trajectory per file, ``velocity_field (time, x, y,
  component)``, ``time``, ``re``, ``nf``, ``ndim``, on [0, 2 pi)^2.
* published: one ``.npy`` file, ``(trajectory, time, 2 N^2)``: u, then v, each flattened with y running fastest, as in
  https://github.com/IsmaelZig-SU/Scale-Separation-and-stochastic-closure-for-Chaotic-Dynamics.
* the-well: ``t1_fields/velocity (trajectory, time, x, y, component)`` with ``dimensions`` and ``boundary_conditions``,
  as specified in https://github.com/PolymathicAI/the_well (docs/data_format.md) [Ohana2024].

.. code-block:: bibtex

    @inproceedings{Ohana2024,
      title = {The Well: a Large-Scale Collection of Diverse Physics Simulations for Machine Learning},
      author = {Ohana, Ruben and McCabe, Michael and Meyer, Lucas and others},
      booktitle = {Advances in Neural Information Processing Systems 37, Datasets and Benchmarks Track}, year = {2024}
    }
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from closura.trajectories.checks import check_positions, check_times

Layout = Literal["kolsol", "published", "the-well"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True, eq=False)
class Source:
    """An open file of flows: what it says of itself, None where it does not, and how to read it.

    Parameters
    ----------
    trajectories, frames, points
        Sizes.
    read
        ``read(trajectory, start, stop, step)`` gives frames ``(time, 2, x, y)``.
    interval, reynolds, forcing
        Facts, where the file has them.
    """

    trajectories: int
    frames: int
    points: int
    read: Callable[[int, int, int, int], Float[np.ndarray, "time 2 x y"]]
    interval: float | None = None
    reynolds: float | None = None
    forcing: int | None = None


@contextmanager
def open_source(path: str | Path, layout: Layout) -> Iterator[Source]:
    """Open a file in one of the layouts, checked as far as it can be without reading frames.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If the layout is unknown or the file does not have it, or the flow is not periodic, not on a uniform grid of
        [0, 2 pi)^2, or not at uniform times.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; valid: {', '.join(LAYOUTS)}")
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
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


def _published(path: Path) -> Source:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no .npy file of numbers, which the layout published is: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind != "f":
        shape = array.shape if isinstance(array, np.ndarray) else "several arrays"
        raise ValueError(f"{path}: expected (trajectory, time, 2 N^2) of floating-point numbers; got {shape}")
    points = round((array.shape[2] / 2) ** 0.5)
    if 2 * points**2 != array.shape[2] or points < 2:
        raise ValueError(f"{path}: the last axis must be 2 N^2 numbers, u and v on N x N points; got {array.shape[2]}")

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        return np.asarray(array[trajectory, start:stop:step]).reshape(-1, 2, points, points)

    return Source(array.shape[0], array.shape[1], points, read)


def _kolsol(path: Path, file: Any) -> Source:
    missing = [name for name in ("velocity_field", "time", "re", "nf") if name not in file]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it was not written by KolSol's data script")
    field, times = _array(path, file, "velocity_field"), _array(path, file, "time")[...].reshape(-1)
    if field.ndim != 4 or field.shape[3] != 2 or field.shape[1] != field.shape[2] or not field.shape[0]:
        raise ValueError(f"{path}: velocity_field must be (time, x, y, 2) on a square grid; got {field.shape}")
    check_times(str(path), times, field.shape[0])

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        return np.moveaxis(field[start:stop:step], 3, 1)

    return Source(
        trajectories=1,
        frames=field.shape[0],
        points=field.shape[1],
        read=read,
        interval=_spacing(times),
        reynolds=_number(path, "re", file["re"]),
        forcing=_whole(path, "nf", file["nf"]),
    )


def _the_well(path: Path, file: Any) -> Source:
    missing = [name for name in ("t1_fields/velocity", "dimensions/time", "dimensions/x", "dimensions/y",
                                 "boundary_conditions") if name not in file]  # fmt: skip
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: it does not follow The Well's format for two dimensions")
    grid = _text(file.attrs.get("grid_type", "cartesian"))
    if grid.lower() != "cartesian":
        raise ValueError(f"{path}: expected a cartesian grid; got grid_type {grid!r}")
    boundaries = file["boundary_conditions"]
    if not hasattr(boundaries, "items"):
        raise ValueError(f"{path}: boundary_conditions must be a group; got an array")
    for name, group in boundaries.items():
        kind = _text(group.attrs.get("bc_type", "unknown"))
        if kind.lower() != "periodic":
            raise ValueError(f"{path} is not periodic: boundary condition {name!r} is {kind!r}")
    field = _array(path, file, "t1_fields/velocity")
    if field.ndim != 5 or field.shape[4] != 2 or min(field.shape) < 1:
        raise ValueError(f"{path}: t1_fields/velocity must be (trajectory, time, x, y, 2); got {field.shape}")
    said = file.attrs.get("n_trajectories")
    if said is not None and _whole(path, "n_trajectories", said) != field.shape[0]:
        raise ValueError(f"{path}: n_trajectories is {said}, but the velocity has {field.shape[0]}")
    if field.shape[2] != field.shape[3]:
        raise ValueError(f"{path}: expected a square grid; got {field.shape[2]} x {field.shape[3]} points")
    for axis, name in ((2, "x"), (3, "y")):
        check_positions(
            str(path), name, np.atleast_1d(_array(path, file, f"dimensions/{name}")[...]), field.shape[axis]
        )
    times = _array(path, file, "dimensions/time")[...]
    # Times may differ between trajectories; then each row must do, and all must agree.
    rows = times if times.ndim == 2 else times[None]
    for row in rows:
        check_times(str(path), row, field.shape[1])
    intervals = [_spacing(row) for row in rows]
    if None not in intervals and np.ptp(np.asarray(intervals)) > 1e-3 * float(intervals[0] or 1.0):
        raise ValueError(f"{path}: the time between frames differs between trajectories: {intervals}")

    def read(trajectory: int, start: int, stop: int, step: int) -> np.ndarray:
        return np.moveaxis(field[trajectory, start:stop:step], 3, 1)

    names = {str(name).lower(): name for name in file.attrs}
    reynolds = names.get("reynolds", names.get("re"))
    return Source(
        trajectories=field.shape[0],
        frames=field.shape[1],
        points=field.shape[2],
        read=read,
        interval=intervals[0],
        reynolds=None if reynolds is None else _number(path, str(reynolds), file.attrs[reynolds]),
    )


def _spacing(times: np.ndarray) -> float | None:
    if len(times) < 2:
        return None
    return float(f"{(float(times[-1]) - float(times[0])) / (len(times) - 1):.6g}")


def _array(path: Path, file: Any, name: str) -> Any:
    """An array of numbers in a file; a group has no type of elements."""
    array = file[name]
    kind = getattr(getattr(array, "dtype", None), "kind", None)
    if kind is None or kind not in "fiu":
        what = "a group" if kind is None else f"elements of type {array.dtype}"
        raise ValueError(f"{path}: {name} must be an array of numbers; got {what}")
    return array


def _number(path: Path, name: str, value: Any) -> float:
    try:
        number = float(np.asarray(value).reshape(-1)[0])
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path}: {name} must be a number ({error})") from error
    if not np.isfinite(number):
        raise ValueError(f"{path}: {name} must be a finite number; got {number}")
    return number


def _whole(path: Path, name: str, value: Any) -> int:
    number = _number(path, name, value)
    if number != round(number):
        raise ValueError(f"{path}: {name} must be a whole number; got {number:g}")
    return round(number)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
