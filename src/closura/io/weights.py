"""Weights that travel: safetensors files that say themselves which network they belong to.

Nothing in the file is executed on loading; a closure that was defined in a Python file is imported from that file. The
header holds the closure's name and options, its specification (under the names "decision" and "agents", which all
versions of the format have), and whatever facts the writer added (the run's configuration, its validation error).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from closura.closures import ActorCritic, build
from closura.core import ClosureSpec
from closura.io.earlier import todays_names
from closura.io.files import write_atomically
from closura.io.tensor_files import check_numbers, facts_of, packed, read_arrays, read_header_text, version_of
from closura.plain import to_json
from closura.settings import build_settings

FORMAT = "closura weights"
FORMAT_VERSION = 1

_STORED = {"where": "agents"}
"""Fields of a specification that have another name in headers."""


class WeightsError(ValueError):
    """A file of weights that cannot be used, with what is wrong and what to do."""


def save_weights(
    path: str | Path,
    closure: Any,
    *,
    architecture: Mapping[str, Any],
    spec: ClosureSpec | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a network's weights, replacing the file atomically. Equal networks and facts give equal files.

    Parameters
    ----------
    path
        The file, by custom ``*.safetensors``.
    closure
        The network.
    architecture
        ``closure`` (its name) and ``options``, as :func:`closura.closures.build` takes them; of a policy,
        ``initial_std`` may stand among these.
    spec
        What it observes and answers (default: its attribute ``spec``).
    metadata
        Further facts, anything that JSON knows.
    """
    header = {
        "format": FORMAT,
        "version": str(FORMAT_VERSION),
        "architecture": to_json({**architecture, "stochastic": isinstance(closure, ActorCritic)}),
        "decision": to_json({_STORED.get(name, name): value for name, value in vars(spec or closure.spec).items()}),
        "metadata": to_json(metadata or {}),
    }
    arrays = {name: np.asarray(leaf) for name, leaf in named_weights(closure).items()}
    return write_atomically(path, packed(arrays, header))


def named_weights(closure: PyTree[Array]) -> dict[str, Array]:
    """All weights by their place in the network, as ``backbone.layers[0].kernel``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(closure, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path).lstrip("."): leaf for path, leaf in leaves}


def read_header(path: str | Path) -> dict[str, Any]:
    """Architecture, specification ("decision") and metadata of a file."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        header = read_header_text(path)
        if header.get("format") != FORMAT:
            raise WeightsError(f"{path} holds weights, but not of closura: its header does not say which network")
        version_of(header, path, FORMAT_VERSION)
        facts = {name: facts_of(header, name, path) for name in ("architecture", "decision", "metadata")}
    except ValueError as error:
        raise WeightsError(str(error)) from error
    for name, kind in (("closure", str), ("options", dict), ("stochastic", bool)):
        value = facts["architecture"].get(name)
        if type(value) is not kind:
            raise WeightsError(
                f"{path}: the architecture in its header: {name!r} is {value!r:.60}, expected {kind.__name__}; it is "
                "damaged, or not of closura"
            )
    if facts["decision"].get("bound", 1.0) is None:  # what JSON makes of infinity
        facts["decision"]["bound"] = math.inf
    _specification(facts["decision"], path)
    return facts


def load_weights(path: str | Path, spec: ClosureSpec | None = None) -> Any:
    """Rebuild a network from a file of :func:`save_weights`; WeightsError if it is damaged or does not fit ``spec``.

    The network must have been made for the same channels and as many axes; boundaries and scales are those of ``spec``.
    """
    header = read_header(path)
    architecture = header["architecture"]
    try:
        stored = _specification(header["decision"], path)
        arrays = read_arrays(path)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    if spec is not None:
        _check_fit(str(path), stored, spec)
    options = {name: _tuple(value) for name, value in architecture["options"].items()}
    try:
        network = build(
            architecture["closure"],
            spec or stored,
            explores=architecture["stochastic"],
            initial_std=options.pop("initial_std", None),
            options=options,
            key=jax.random.key(0),
        )
    except Exception as error:  # a damaged header can ask for anything
        raise WeightsError(f"{path}: no network can be built as its header says: {error}") from error
    if isinstance(network, ActorCritic):
        arrays = todays_names(arrays)
    return fill(network, arrays, str(path))


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def fill(network: Any, arrays: Mapping[str, np.ndarray], source: str) -> Any:
    """Put named arrays in the places of a network's weights."""
    expected = named_weights(network)
    # Earlier files have single numbers as arrays of one.
    single = {name for name, leaf in expected.items() if leaf.shape == ()}
    arrays = {n: array.reshape(()) if n in single and array.shape == (1,) else array for n, array in arrays.items()}
    wrong = [f"missing {name}" for name in expected if name not in arrays]
    wrong += [f"unexpected {name}" for name in arrays if name not in expected]
    wrong += [
        f"{name}: expected shape {leaf.shape}, got {arrays[name].shape}"
        for name, leaf in expected.items()
        if name in arrays and arrays[name].shape != leaf.shape
    ]
    if wrong:
        raise WeightsError(f"the weights in {source} do not fit the network: {'; '.join(wrong)}")
    try:
        check_numbers(arrays, source)
    except ValueError as error:
        raise WeightsError(str(error)) from error
    if any(array.dtype.kind == "c" for array in arrays.values()):
        raise WeightsError(f"the weights in {source} are complex; those of networks are real")
    weights, rest = eqx.partition(network, eqx.is_inexact_array)
    _, structure = jax.tree.flatten(weights)
    leaves = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in expected.items()]
    return eqx.combine(jax.tree.unflatten(structure, leaves), rest)


def _check_fit(source: str, stored: ClosureSpec, wanted: ClosureSpec) -> None:
    pairs = {
        "observation": (wanted.observation, stored.observation),
        "action": (wanted.action, stored.action),
        "axes": (wanted.dimensions, stored.dimensions),
    }
    wrong = [f"{name}: expected {a}, got {b}" for name, (a, b) in pairs.items() if a != b]
    if wrong:
        raise WeightsError(f"the network in {source} was made for another problem: {'; '.join(wrong)}")


def _specification(stored: Mapping[str, Any], path: str | Path) -> ClosureSpec:
    """The specification in a header."""
    today = {name: own for own, name in _STORED.items()}
    values = {today.get(name, name): value for name, value in stored.items()}
    unbounded = values.get("bound") == math.inf
    if unbounded:
        del values["bound"]
    try:
        spec: ClosureSpec = build_settings(ClosureSpec, values)
        return replace(spec, bound=math.inf) if unbounded else spec
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: the specification in its header: {error}; it is damaged") from error
