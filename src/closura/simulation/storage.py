"""Simulations on disk: labelled arrays (xarray) in chunks (zarr), one chunk per method and simulation.

The dimension of the methods is called ``solver``: ``sel(method=...)`` means something else to xarray.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from closura.io.files import replaced_folder
from closura.plain import plain
from closura.simulation._whole import MANIFEST, check_absent, check_lengths, check_whole, manifest

FORMAT = "closura simulations"
FORMAT_VERSION = 2
"""Since version 2 hashes of all arrays are among the attributes; version 1, without them, is still read."""
AXES = ("x", "y", "z")
CONVENTIONS = (
    "state(solver, simulation, step, component, x, y, z): the axis after component is x; point i of an axis "
    "with n cells and length L sits at i L / n; all fields are on the coarse grid"
)


@dataclass(frozen=True, eq=False)
class Simulations:
    """Fields of several methods in several simulations, with what is needed to read them.

    Parameters
    ----------
    problem
        Name of the problem.
    methods
        Fields of each method, ``(simulation, step, component, *grid)``, all of one shape.
    steps
        Which coarse steps were kept, ``(step,)``.
    time_step
        Coarse time step, in ``time_unit``.
    extent
        Length of the domain along each axis, in ``length_unit``.
    truth
        The truth on the coarse grid, of the same shape, or None.
    parameters
        What differs between simulations (velocity, viscosity): arrays that start with the simulation axis.
    components
        Names of the components (default: their numbers).
    title
        A line for people.
    configuration
        How to make it again; anything that JSON knows.
    length_unit, time_unit, field_unit
        Units as text; ``"1"`` means without dimension.

    Raises
    ------
    ValueError
        If there is no method or shapes disagree.
    """

    problem: str
    methods: Mapping[str, Float[np.ndarray, "_ _ _ *_"]]
    steps: Int[np.ndarray, "_"]
    time_step: float
    extent: tuple[float, ...]
    truth: Float[np.ndarray, "_ _ _ *_"] | None = None
    parameters: Mapping[str, Shaped[np.ndarray, "_ ..."]] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    title: str = ""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    length_unit: str = "1"
    time_unit: str = "1"
    field_unit: str = "1"

    def __post_init__(self) -> None:
        if not self.methods:
            raise ValueError("simulations need at least one method; got none")
        shape = next(iter(self.methods.values())).shape
        if not 4 <= len(shape) <= 6:
            raise ValueError(f"fields must be (simulation, step, component, *grid), 1 to 3 axes; got {shape}")
        if not self.components:
            object.__setattr__(self, "components", tuple(str(index) for index in range(shape[2])))
        arrays = {**self.methods, **({} if self.truth is None else {"truth": self.truth})}
        wrong = {name: array.shape for name, array in arrays.items() if array.shape != shape}
        if wrong:
            raise ValueError(f"all fields must have the shape {shape} of the first method; got {wrong}")
        found = (len(self.steps), len(self.components), len(self.extent))
        if found != (shape[1], shape[2], len(shape) - 3):
            raise ValueError(
                f"fields of shape {shape} need {shape[1]} steps, {shape[2]} components and {len(shape) - 3} "
                f"lengths; got {found[0]}, {found[1]} and {found[2]}"
            )
        for name, array in self.parameters.items():
            if array.ndim < 1 or array.shape[0] != shape[0]:
                raise ValueError(f"parameter {name!r} must start with {shape[0]} simulations; got {array.shape}")


def save_simulations(path: str | Path, simulations: Simulations, *, overwrite: bool = False) -> Path:
    """Write simulations as a zarr folder, which xarray and other tools can read.

    Written beside ``path`` first and renamed at the end, so an interrupted call leaves nothing half-written
    under the name.

    Parameters
    ----------
    path
        The folder, usually ending in ``.zarr``.
    simulations
        What to write.
    overwrite
        Replace an existing folder of simulations (never anything else).

    Raises
    ------
    FileExistsError
        If something is there and ``overwrite`` is false, or it is not a folder of simulations.
    """
    path = Path(path)
    check_replaceable(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset = _dataset(simulations)
    # Format 2: fixed-length text and consolidated metadata are part of it, not extensions.
    encoding = {name: _encoding(array) for name, array in dataset.variables.items()}
    with replaced_folder(path) as temporary:
        dataset.to_zarr(temporary, mode="w-", zarr_format=2, consolidated=True, encoding=encoding)
    return path


def check_replaceable(path: str | Path, *, overwrite: bool) -> None:
    """Refuse what :func:`save_simulations` would refuse to replace, before there is anything to save.

    Raises
    ------
    FileExistsError
        If something is there and ``overwrite`` is false, or it is not a folder of simulations.
    """
    path = Path(path)
    if not path.exists() and not path.is_symlink():
        return
    if not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    try:
        open_simulations(path).close()
    except (ValueError, FileNotFoundError) as error:
        raise FileExistsError(f"{path} exists and is not a folder of simulations: {error}") from error


def open_simulations(path: str | Path) -> xr.Dataset:
    """The folder as an xarray dataset whose arrays are read when they are used; close it afterwards.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is not a folder of simulations, or one of another version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no simulations at {path}")
    if not any((path / name).is_file() for name in (".zattrs", ".zmetadata", "zarr.json")):
        raise ValueError(f"{path} is no folder written by save_simulations: it has no zarr attributes")
    together = (path / ".zmetadata").is_file()
    try:
        check_lengths(path)
        # Steps and times stay numbers: "1" or "s" are units here, not calendars.
        dataset = xr.open_dataset(path, engine="zarr", chunks=None, consolidated=together, decode_times=False)
    except Exception as error:  # a damaged description of an array can raise anything
        raise _damaged(path, error) from error
    if dataset.attrs.get("format") != FORMAT:
        dataset.close()
        raise ValueError(f"{path} is zarr, but not written by save_simulations (no format {FORMAT!r})")
    found = dataset.attrs.get("format_version")
    if found not in (1, FORMAT_VERSION):
        writer = dataset.attrs.get("closura_version", "unknown")
        dataset.close()
        raise ValueError(
            f"{path} has format version {found}, written by closura {writer}; this closura reads versions up to "
            f"{FORMAT_VERSION}: install the closura that wrote it"
        )
    return dataset


def load_simulations(path: str | Path) -> Simulations:
    """Read back all that :func:`save_simulations` wrote, into memory.

    Every array and attribute is held to the hash that was recorded with it. A copy by xarray, with other chunks or
    in another format of zarr, is the same; a part of one is refused. Folders of version 1 have no hashes: of them
    chunks that are absent or cut are refused, and what cannot be decoded.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is not a folder of simulations, one of another version, or what is read is not what was written: an
        array or a chunk is missing, cut or altered. The message names the folder and the array.
    """
    path = Path(path)
    with open_simulations(path) as dataset:
        needed = ("state", "solver", "step", "component")
        missing = [name for name in needed if name not in dataset.variables]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: the folder is damaged, write it again")
        for name, array in dataset.variables.items():
            try:
                array.load()
            except Exception as error:  # a damaged chunk can raise anything
                raise _damaged(path, error, f" in {name}") from error
        try:
            if dataset.attrs["format_version"] < 2:
                check_absent(path)
            else:
                check_whole(path, dataset)
            return _simulations(dataset)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception, where: str = "") -> ValueError:
    """The error with the path in its message."""
    if isinstance(error, ValueError) and str(path) in str(error):
        return error
    return ValueError(f"{path} is damaged{where}: {type(error).__name__}: {error}")


def _simulations(dataset: xr.Dataset) -> Simulations:
    state, attributes = dataset["state"].values, dataset.attrs
    return Simulations(
        problem=attributes["problem"],
        methods={str(name): state[index] for index, name in enumerate(dataset["solver"].values)},
        steps=dataset["step"].values,
        time_step=float(attributes["time_step"]),
        extent=tuple(float(length) for length in json.loads(attributes["extent"])),
        truth=dataset["truth"].values if "truth" in dataset.variables else None,
        parameters={
            str(name)[len("parameter_") :]: array.values
            for name, array in dataset.data_vars.items()
            if str(name).startswith("parameter_")
        },
        components=tuple(str(name) for name in dataset["component"].values),
        title=attributes["title"],
        configuration=json.loads(attributes["configuration"]),
        length_unit=attributes["length_unit"],
        time_unit=attributes["time_unit"],
        field_unit=attributes["field_unit"],
    )


def _dataset(simulations: Simulations) -> xr.Dataset:
    state = np.stack(list(simulations.methods.values()))
    axes = AXES[: len(simulations.extent)]
    dims = ("simulation", "step", "component", *axes)
    variables: dict[str, Any] = {"state": (("solver", *dims), state, {"units": simulations.field_unit})}
    if simulations.truth is not None:
        variables["truth"] = (dims, simulations.truth, {"units": simulations.field_unit})
    for name, array in simulations.parameters.items():
        own = tuple(f"{name}_axis_{number}" for number in range(1, array.ndim))
        variables[f"parameter_{name}"] = (("simulation", *own), array)
    time = np.asarray(simulations.steps, np.float64) * simulations.time_step
    coordinates: dict[str, Any] = {
        "solver": np.asarray(list(simulations.methods), np.str_),
        "component": np.asarray(simulations.components, np.str_),
        "step": ("step", np.asarray(simulations.steps), {"long_name": "coarse step"}),
        "time": ("step", time, {"units": simulations.time_unit}),
    }
    for axis, length, size in zip(axes, simulations.extent, state.shape[4:], strict=True):
        points = np.arange(size, dtype=np.float64) * (length / size)
        coordinates[axis] = (axis, points, {"units": simulations.length_unit})
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "closura_version": _version(),
        "conventions": CONVENTIONS,
        "title": simulations.title,
        "problem": simulations.problem,
        "time_step": float(simulations.time_step),
        "extent": json.dumps(list(simulations.extent)),
        "configuration": json.dumps(plain(simulations.configuration), allow_nan=False),
        "length_unit": simulations.length_unit,
        "time_unit": simulations.time_unit,
        "field_unit": simulations.field_unit,
    }
    dataset = xr.Dataset(variables, coordinates, attributes)
    return dataset.assign_attrs({MANIFEST: manifest(dataset)})


def _encoding(array: Any) -> dict[str, Any]:
    """One chunk per method and simulation; NaN in a field is a value, not a gap to be filled."""
    single = ("solver", "simulation")
    chunks = tuple(1 if dim in single else size for dim, size in array.sizes.items())
    encoding: dict[str, Any] = {}
    if array.ndim > 1:
        encoding["chunks"] = chunks
    if array.dtype.kind == "f":
        encoding["_FillValue"] = None
    return encoding


def _version() -> str:
    try:
        return version("closura")
    except PackageNotFoundError:
        return "unknown"
