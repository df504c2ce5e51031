"""Simulations on disk: labelled arrays (xarray) in chunks (zarr), one chunk per method and simulation.

The dimension of the methods is called ``solver``: ``sel(method=...)`` means something else to xarray.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, Shaped

from closura import __version__
from closura.io.files import replaced_folder
from closura.io.stores import CHECKSUMS, check_absent, check_lengths, check_whole, checksums, open_arrays
from closura.plain import plain
from closura.problems import Problem, ReferenceStore, measure

FORMAT = "closura simulations"
FORMAT_VERSION = 2
"""Since version 2 hashes of all arrays are among the attributes; version 1, without them, is still read."""
AXES = ("x", "y", "z")
CONVENTIONS = (
    "state(solver, simulation, step, component, x, y, z): the axis after component is x; point i of an axis "
    "with n cells and length L sits at i L / n; all fields are on the coarse grid"
)
ALONE = "velocity"
"""What parameters that are a single array are called in the file: so far they are advection's velocity."""
GROUP = "group"
"""The groups of simulations, among the parameters in the file."""
_AGAIN = "copy it again from where it came, or evaluate again with --save"


def labelled_simulations(
    problem: str,
    methods: Mapping[str, Float[np.ndarray, "simulation step component *grid"]],
    *,
    reference: Float[np.ndarray, "simulation step component *grid"] | None = None,
    steps: Int[np.ndarray, " step"],
    time_step: float,
    extent: tuple[float, ...],
    parameters: Mapping[str, Shaped[np.ndarray, "simulation ..."]],
    components: tuple[str, ...],
    configuration: Mapping[str, Any],
    title: str = "",
) -> xr.Dataset:
    """Fields of several methods in several simulations, with what is needed to read them."""
    axes = AXES[: len(extent)]
    dims = ("simulation", "step", "component", *axes)
    state = np.stack(list(methods.values()))
    variables: dict[str, Any] = {"state": (("solver", *dims), state, {"units": "1"})}
    if reference is not None:
        variables["truth"] = (dims, reference, {"units": "1"})
    for name, array in parameters.items():
        own = tuple(f"{name}_axis_{number}" for number in range(1, array.ndim))
        variables[f"parameter_{name}"] = (("simulation", *own), array)
    coordinates: dict[str, Any] = {
        "solver": np.asarray(list(methods), np.str_),
        "component": np.asarray(components, np.str_),
        "step": ("step", np.asarray(steps), {"long_name": "coarse step"}),
        "time": ("step", np.asarray(steps, np.float64) * time_step, {"units": "1"}),
    }
    for axis, length, size in zip(axes, extent, state.shape[4:], strict=True):
        coordinates[axis] = (axis, np.arange(size, dtype=np.float64) * (length / size), {"units": "1"})
    attributes = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "closura_version": __version__,
        "conventions": CONVENTIONS,
        "title": title,
        "problem": problem,
        "time_step": float(time_step),
        "extent": json.dumps(list(extent)),
        "configuration": json.dumps(plain(configuration), allow_nan=False),
        "length_unit": "1",
        "time_unit": "1",
        "field_unit": "1",
    }
    return xr.Dataset(variables, coordinates, attributes)


def save_simulations(path: str | Path, simulations: xr.Dataset, *, overwrite: bool = False) -> Path:
    """Write :func:`labelled_simulations` as a zarr folder, which xarray and other tools can read.

    Written beside ``path`` first and renamed at the end, so an interrupted call leaves nothing half-written
    under the name. With ``overwrite`` an existing folder of simulations is replaced, never anything else.
    """
    path = Path(path)
    check_replaceable(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    # NaN in a field is a value, not a gap to be filled.
    encoding: dict[Any, dict[str, Any]] = {
        name: {"_FillValue": None} if array.dtype.kind == "f" else {} for name, array in simulations.variables.items()
    }
    for name, array in simulations.variables.items():
        if array.ndim > 1:
            single = ("solver", "simulation")
            encoding[name]["chunks"] = tuple(1 if dim in single else size for dim, size in array.sizes.items())
    whole = simulations.assign_attrs({CHECKSUMS: json.dumps(checksums(simulations))})
    with replaced_folder(path) as temporary:
        # Format 2: fixed-length text and consolidated metadata are part of it, not extensions.
        whole.to_zarr(temporary, mode="w-", zarr_format=2, consolidated=True, encoding=encoding)
    return path


def check_replaceable(path: str | Path, *, overwrite: bool) -> None:
    """Refuse (FileExistsError) what :func:`save_simulations` would not replace, before there is anything to save."""
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
    """The folder as an xarray dataset whose arrays are read when they are used; close it afterwards."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no simulations at {path}")
    if not any((path / name).is_file() for name in (".zattrs", ".zmetadata", "zarr.json")):
        raise ValueError(f"{path} is no folder written by save_simulations: it has no zarr attributes")
    try:
        check_lengths(path, _AGAIN)
        dataset = open_arrays(path).dataset
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


def load_simulations(path: str | Path) -> xr.Dataset:
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
        missing = [name for name in ("state", "solver", "step", "component") if name not in dataset.variables]
        if missing:
            raise ValueError(f"{path} lacks {', '.join(missing)}: the folder is damaged, write it again")
        for name, array in dataset.variables.items():
            try:
                array.load()
            except Exception as error:  # a damaged chunk can raise anything
                raise _damaged(path, error, f" in {name}") from error
        try:
            if dataset.attrs["format_version"] < 2:
                check_absent(path, _AGAIN)
            else:
                check_whole(path, dataset, _AGAIN)
            for name in ("extent", "configuration"):
                json.loads(dataset.attrs[name])
            float(dataset.attrs["time_step"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _damaged(path, error) from error
    return dataset


def configuration_of(simulations: xr.Dataset) -> dict[str, Any]:
    """How saved simulations were made."""
    found: dict[str, Any] = json.loads(simulations.attrs["configuration"])
    return found


def saver(
    path: str | Path, problem: Problem, configuration: Mapping[str, Any], *, overwrite: bool = False
) -> Callable[[ReferenceStore, dict[str, np.ndarray]], None]:
    """What :func:`closura.simulation.evaluate.evaluate` calls to keep all fields of all methods in a zarr folder.

    Fields keep their precision, so that an evaluation that starts from them repeats this one.
    """

    def save(store: ReferenceStore, fields: dict[str, np.ndarray]) -> None:
        simulations = labelled_simulations(
            problem.name,
            {name: np.asarray(field) for name, field in fields.items()},
            reference=np.asarray(store.reference),
            steps=np.arange(store.steps + 1),
            time_step=problem.time_step,
            extent=problem.grid.extent,
            parameters={name: np.asarray(leaf) for name, leaf in _named(store.parameters, store.group).items()},
            components=problem.components,
            title=f"{problem.name}: {', '.join(fields)}",
            configuration={**configuration, "description": dict(problem.description)},
        )
        save_simulations(path, simulations, overwrite=overwrite)

    return save


def load_store(path: str | Path, problem: Problem) -> tuple[ReferenceStore, dict[str, str]]:
    """Initial states and references of saved simulations, for other methods to start from, and their description."""
    found = load_simulations(path)
    state = found["state"].isel(solver=0, step=0).values
    expected: dict[str, tuple[Any, Any]] = {
        "problem": (problem.name, found.attrs.get("problem")),
        "grid": (problem.grid.shape, state.shape[2:]),
        "components": (problem.components, tuple(str(name) for name in found["component"].values)),
        "time step": (round(problem.time_step, 12), round(float(found.attrs["time_step"]), 12)),
        "steps": (list(range(found.sizes["step"])), [int(s) for s in found["step"].values]),
    }
    wrong = [f"{name}: expected {want}, got {got}" for name, (want, got) in expected.items() if want != got]
    begins = jax.eval_shape(lambda key: problem.begin(key=key), jax.random.key(0))
    needed = _named(begins.parameters, begins.group)
    wrong += [] if "truth" in found else ["no reference"]
    wrong += [f"no {name}" for name in needed if f"parameter_{name}" not in found]
    if wrong:
        raise ValueError(f"cannot start from {path}: {'; '.join(wrong)}")
    held = {"the initial state": state, "the reference": found["truth"].values}
    held |= {f"the parameter {name}": found[f"parameter_{name}"].values for name in needed}
    for name, array in held.items():
        lost = [index for index, each in enumerate(array) if not np.isfinite(each).all()]
        if lost:
            raise ValueError(
                f"cannot start from {path}: {name} is not finite in {len(lost)} of {len(state)} simulations (first "
                f"{lost[0]}, counted from 0), and no method can be evaluated from there; save others"
            )
    dtype = begins.state.dtype
    leaves = {name: jnp.asarray(held[f"the parameter {name}"], leaf.dtype) for name, leaf in needed.items()}
    group = None if begins.group is None else leaves.pop(GROUP)
    begun = jnp.asarray(state, dtype)
    store = ReferenceStore(
        begun,
        jax.tree.unflatten(jax.tree.structure(begins.parameters), leaves.values()),
        jnp.asarray(held["the reference"], dtype),
        jax.vmap(lambda state: measure(problem.quantities, state))(begun),
        group,
    )
    return store, {**configuration_of(found).get("description", {}), "start": f"saved simulations, {Path(path).name}"}


def _named(parameters: Any, group: Any) -> dict[str, Any]:
    """The leaves of parameters by name, in the order of the tree, and the groups where there are any."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(parameters)
    return {**{_name(path): leaf for path, leaf in leaves}, **({} if group is None else {GROUP: group})}


def _name(path: tuple[Any, ...]) -> str:
    words = [str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path]
    return "_".join(words) or ALONE


def _damaged(path: Path, error: Exception, where: str = "") -> ValueError:
    """The error with the path in its message."""
    if isinstance(error, ValueError) and str(path) in str(error):
        return error
    return ValueError(f"{path} is damaged{where}: {type(error).__name__}: {error}")
