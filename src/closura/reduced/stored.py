"""Fitted modules as safetensors files: named arrays, and plain facts in the header. Nothing is executed on loading."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from closura.files import write_atomically

FORMAT_VERSION = 1
Module = TypeVar("Module", bound=eqx.Module)


def arrays_of(module: eqx.Module) -> dict[str, np.ndarray]:
    """All weights by their place in the module, as ``network.first.kernel``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(module, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def with_arrays(blank: Module, arrays: Mapping[str, np.ndarray]) -> Module:
    """A module with the arrays that :func:`arrays_of` gave.

    Parameters
    ----------
    blank
        A module of the same shapes, or the shapes alone (``eqx.filter_eval_shape``), for which nothing is computed.
    arrays
        All its weights.

    Raises
    ------
    ValueError
        If names or shapes differ.
    """
    weights, rest = eqx.partition(blank, _is_weight)
    leaves, structure = jax.tree_util.tree_flatten_with_path(weights)
    places = [(jax.tree_util.keystr(path).lstrip("."), leaf) for path, leaf in leaves]
    if {name for name, _ in places} != set(arrays):
        missing, unknown = (
            sorted(a - b) for a, b in ((set(dict(places)), set(arrays)), (set(arrays), set(dict(places))))
        )
        raise ValueError(
            f"the arrays are not those of this module: missing {', '.join(missing) or 'none'}; unknown "
            f"{', '.join(unknown) or 'none'}"
        )
    for name, leaf in places:
        if arrays[name].shape != leaf.shape:
            raise ValueError(f"array {name}: expected shape {leaf.shape}; got {arrays[name].shape}")
    filled = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in places]
    return eqx.combine(jax.tree_util.tree_unflatten(structure, filled), rest)


def _is_weight(leaf: Any) -> bool:
    shape = isinstance(leaf, jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jnp.inexact)
    return shape or eqx.is_inexact_array(leaf)


def write_stored(
    path: str | Path,
    kind: str,
    name: str,
    arrays: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a file, replacing it atomically; ``kind`` says what it holds ("closura reconstruction")."""
    header = {
        "format": kind,
        "version": str(FORMAT_VERSION),
        "name": name,
        "facts": json.dumps(dict(facts)),
        "metadata": json.dumps(dict(metadata or {})),
    }
    contiguous = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
    return write_atomically(path, safetensors.numpy.save(contiguous, metadata=header))


def read_stored(path: str | Path, kind: str) -> tuple[str, dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """Name, arrays, facts and metadata of a file.

    Raises
    ------
    ValueError
        If the file is damaged, holds something else, or is of a later format.
    FileNotFoundError
        If there is no such file.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no {kind.removeprefix('closura ')} at {path}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file, or damaged: {error}") from error
    if header.get("format") != kind:
        what = header.get("format", "arrays that do not say what they are")
        raise ValueError(f"{path} holds {what}, expected a {kind}")
    if int(header.get("version", 0)) > FORMAT_VERSION:
        raise ValueError(f"{path} has format {header['version']}, later than {FORMAT_VERSION}: update closura")
    return header["name"], arrays, json.loads(header["facts"]), json.loads(header["metadata"])
