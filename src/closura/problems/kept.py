"""References on disk: what takes minutes to simulate is simulated once, in the cache folder (``CLOSURA_CACHE``)."""

import contextlib
import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, Scalar

from closura.io.download import cache_folder
from closura.io.files import write_atomically
from closura.io.locks import BEAT, FolderInUse, lock_of, locked
from closura.io.tensor_files import read_npz
from closura.problems.problem import Problem
from closura.problems.stored import ReferenceStore, reference_shapes, simulate_reference

VERSION = 1
"""Goes up when the same settings make another reference."""


def stored_reference(
    problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""], identity: str, cache: str | Path | None = None
) -> ReferenceStore:
    """As :func:`~closura.problems.stored.simulate_reference`, from disk if it is there, and kept there.

    Parameters
    ----------
    problem, slots, steps, key
        What is simulated.
    identity
        Text that tells the problem's settings and split from all others, as far as the reference depends on them.
    cache
        Folder (default: ``CLOSURA_CACHE``, else the user's cache folder). A damaged file there is replaced; if nothing
        can be written there, the reference is simulated every time. While another process simulates this reference, it
        is waited for.
    """
    text = json.dumps([VERSION, identity, slots, steps, np.asarray(jax.random.key_data(key)).tolist()])
    folder = Path(cache) if cache is not None else cache_folder()
    path = folder / "references" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    places, structure = jax.tree_util.tree_flatten_with_path(reference_shapes(problem, slots, steps, key=key))
    names = [_name(place) for place, _ in places]

    def make() -> dict[str, np.ndarray]:
        leaves = jax.tree.leaves(simulate_reference(problem, slots, steps, key=key))
        return dict(zip(names, map(np.asarray, leaves), strict=True))

    shapes = {name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for name, (_, leaf) in zip(names, places, strict=True)}
    # Settings do not say which images a folder holds: what simulations are drawn from belongs to the reference too.
    drawn = [np.asarray(leaf) for leaf in jax.tree.leaves(problem.begin) if eqx.is_array(leaf)]
    source = _checksum({str(number): array for number, array in enumerate(drawn)})
    found = kept_arrays(path, shapes, make, moving="reference", source=source)
    return jax.tree_util.tree_unflatten(structure, [jnp.asarray(found[name]) for name in names])


def kept_arrays(
    path: Path,
    shapes: Mapping[str, jax.ShapeDtypeStruct],
    make: Callable[[], Mapping[str, np.ndarray]],
    *,
    moving: str,
    source: str = "",
    say: Callable[[str], None] = lambda words: None,
) -> Mapping[str, np.ndarray]:
    """Arrays from a file of a cache if it is whole, else made and kept there, by one process at a time.

    Parameters
    ----------
    path
        The file (``.npz``), with a checksum over names, types, shapes and numbers. Files of earlier versions have
        none: they are taken if nothing of ``moving`` is at rest.
    shapes
        Shape and type of each array; all have to be finite.
    make
        Makes the arrays.
    moving
        The array that holds flows, along its first axis.
    source
        Text that tells what the arrays are made from, as far as the file's name does not.
    say
        Is told what is waited for, and how long it took to make the arrays and where they are.
    """
    found = _read(path, shapes, moving, source)
    if found is None:
        with _alone(path, say):
            found = _read(path, shapes, moving, source)  # another process may have made it meanwhile
            if found is None:
                begun = time.perf_counter()
                found = make()
                try:
                    _write(path, found, source)
                    say(f"{time.perf_counter() - begun:.0f} s; kept in {path}")
                except OSError as error:  # a full disk costs time, not the simulation
                    say(f"not kept: {error}")
    return found


def _name(place: Any) -> str:
    """The name of a leaf of a ReferenceStore in its file: that of a field, or of a parameter."""
    field, *inner = (str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in place)
    if field == "group":
        field, inner = "parameters", [field]
    return field if field != "parameters" else "_".join(["parameter", *inner])


@contextlib.contextmanager
def _alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file of a cache; wait for who holds it, but not for a holder that gives no sign of life."""
    with contextlib.ExitStack() as held:
        waits = False
        while True:
            try:
                held.enter_context(locked(path, "file of the cache"))
            except FolderInUse as error:
                if _lives(path):
                    if not waits:
                        say(f"waiting: {error}")
                    waits = True
                    time.sleep(0.2)
                    continue
            except OSError:  # nothing can be written there
                pass
            break
        yield


def _lives(path: Path) -> bool:
    """Whether the holder of a file's lock has given a sign of life lately, or has just let go."""
    try:
        return time.time() - lock_of(path).stat().st_mtime < 10 * BEAT
    except OSError:
        return True


def _read(
    path: Path, shapes: Mapping[str, jax.ShapeDtypeStruct], moving: str, source: str
) -> Mapping[str, np.ndarray] | None:
    try:
        found = read_npz(path)
        arrays = {name: found[name] for name in shapes}
    except (OSError, ValueError, KeyError):
        return None
    checksum = str(found["sha256"]) if "sha256" in found else None
    fits = all(arrays[name].shape == s.shape and arrays[name].dtype == s.dtype for name, s in shapes.items())
    if not fits or not all(np.isfinite(array).all() for array in arrays.values()):
        return None
    if checksum is None:
        flows = arrays[moving]
        return arrays if flows.reshape(len(flows), -1).any(axis=1).all() else None
    return arrays if checksum == _checksum(arrays, source) else None


def _write(path: Path, arrays: Mapping[str, np.ndarray], source: str) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, sha256=np.asarray(_checksum(arrays, source)), **arrays)
    write_atomically(path, buffer.getvalue())


def _checksum(arrays: Mapping[str, np.ndarray], source: str = "") -> str:
    digest = hashlib.sha256(source.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
