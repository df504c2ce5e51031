"""Fitted modules as safetensors files: named arrays, and plain facts in the header. Nothing is executed on loading."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from closura.core.registry import Registry
from closura.io.files import write_atomically
from closura.io.tensor_files import facts_of, packed, read_arrays, read_header_text, version_of
from closura.plain import to_json
from closura.settings import Settings, build_settings

FORMAT_VERSION = 2
"""Version 2 has arrays among its metadata."""

OF_METADATA = "metadata."
"""How the names of such arrays begin."""

Module = TypeVar("Module", bound=eqx.Module)
ModuleClass = TypeVar("ModuleClass", bound="type[FittedModule]")


@dataclass(frozen=True)
class StoredSettings(Settings):
    """Settings some of which belong to what was fitted, and into its file."""

    OF_NETWORK: ClassVar[tuple[str, ...]] = ()
    """Names of those that what was fitted needs too."""

    def of_network(self) -> Any:
        """These settings, all but :attr:`OF_NETWORK` being the usual ones."""
        return type(self)(**{name: getattr(self, name) for name in self.OF_NETWORK})

    def facts(self) -> dict[str, Any]:
        """The settings of the network, as JSON knows them."""
        return {name: getattr(self, name) for name in self.OF_NETWORK}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Any:
        """Settings of what :meth:`facts` gave."""
        return build_settings(cls, dict(facts))


def arrays_of(module: eqx.Module) -> dict[str, np.ndarray]:
    """All weights by their place in the module, as ``network.first.kernel``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(module, eqx.is_inexact_array))
    return {jax.tree_util.keystr(path).lstrip("."): np.asarray(leaf) for path, leaf in leaves}


def with_arrays(blank: Module, arrays: Mapping[str, np.ndarray]) -> Module:
    """A module with the arrays that :func:`arrays_of` gave, all of them.

    ``blank`` has the same shapes, or is the shapes alone (``eqx.filter_eval_shape``), for which nothing is computed.
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
    """Write a file, replacing it atomically; ``kind`` says what it holds ("closura reconstruction").

    Metadata are what JSON knows, or arrays.
    """
    metadata = metadata or {}
    beside = {OF_METADATA + key: value for key, value in metadata.items() if isinstance(value, np.ndarray)}
    header = {
        "format": kind,
        "version": str(FORMAT_VERSION if beside else 1),
        "name": name,
        "facts": to_json(facts),
        "metadata": to_json({key: value for key, value in metadata.items() if OF_METADATA + key not in beside}),
    }
    return write_atomically(path, packed({**arrays, **beside}, header))


def read_stored(path: str | Path, kind: str) -> tuple[str, dict[str, np.ndarray], dict[str, Any], dict[str, Any]]:
    """Name, arrays, facts and metadata of a file."""
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no {kind.removeprefix('closura ')} at {path}")
    header = read_header_text(path)
    if header.get("format") != kind:
        what = header.get("format", "arrays that do not say what they are")
        raise ValueError(f"{path} holds {what}, expected a {kind}")
    version_of(header, path, FORMAT_VERSION)
    if not header.get("name"):
        raise ValueError(
            f"{path}: its header does not say which {kind.removeprefix('closura ')} it holds; it is damaged"
        )
    arrays, metadata = read_arrays(path), facts_of(header, "metadata", path)
    for name in [name for name in arrays if name.startswith(OF_METADATA)]:
        metadata[name.removeprefix(OF_METADATA)] = arrays.pop(name)
    return header["name"], arrays, facts_of(header, "facts", path), metadata


class FittedModule(eqx.Module):
    """What was fitted, as files keep it: named arrays, and facts that JSON knows."""

    def state(self) -> dict[str, np.ndarray]:
        """All fitted arrays by name."""
        return arrays_of(self)

    def facts(self) -> dict[str, Any]:
        """Everything else that :meth:`from_state` needs, as JSON knows it."""
        return {}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> Any:
        """Rebuild from :meth:`state` and :meth:`facts`."""
        return cls(**arrays, **facts)


@dataclass(frozen=True)
class FittedKind:
    """A class of fitted modules by its name, and the class of the settings that fit it (None: it is not fitted)."""

    name: str
    module: type[FittedModule]
    settings: type[Any] | None = None


class FittedKinds(Registry[FittedKind]):
    """Classes of fitted modules by name, and their files, which begin by saying ``file_format``."""

    def __init__(self, what: str, file_format: str) -> None:
        super().__init__(what, FittedKind)
        self.file_format = file_format

    def register(self, name: str, *, settings: type[Any] | None = None) -> Callable[[ModuleClass], ModuleClass]:
        """Register a class by a name, with the class of its settings."""

        def register(module: ModuleClass) -> ModuleClass:
            self.add(name, FittedKind(name, module, settings), module)
            return module

        return register

    def of(self, module: FittedModule) -> FittedKind:
        """What a module's class is registered as."""
        for kind in self.loaded().values():
            if kind.module is type(module):
                return kind
        raise ValueError(f"{type(module).__name__} is not registered: no name to find it by on loading")

    def save(self, path: str | Path, module: FittedModule, *, metadata: Mapping[str, Any] | None = None) -> Path:
        """Write a fitted module to one safetensors file, by custom ``*.safetensors``, replacing it atomically.

        ``metadata`` is anything that JSON knows, or arrays. ValueError if the module's class is not registered.
        """
        return write_stored(path, self.file_format, self.of(module).name, module.state(), module.facts(), metadata)

    def load(self, path: str | Path) -> tuple[Any, dict[str, Any]]:
        """Read a fitted module and its metadata.

        ValueError if the file is damaged, holds something else, is of a later format, or of a class that is not
        registered.
        """
        name, arrays, facts, metadata = read_stored(path, self.file_format)
        kind = self.find(name)
        try:
            return kind.module.from_state(arrays, facts), metadata
        except Exception as error:  # a damaged header can ask for anything
            raise ValueError(f"{path} does not hold what its header says: {type(error).__name__}: {error}") from error


def in_blocks(function: Callable[[np.ndarray], Array], count: int, size: int) -> np.ndarray:
    """``function(numbers)`` for ``count`` numbers from 0 on, block by block.

    The last block is filled up, so that nothing is compiled twice.
    """
    parts = []
    for first in range(0, count, size):
        chosen = np.minimum(np.arange(first, first + size), count - 1)
        parts.append(np.asarray(function(chosen))[: count - first])
    return np.concatenate(parts)
