"""Truth on disk: what takes minutes to simulate is simulated once, in the cache folder (``CLOSURA_CACHE``)."""

import contextlib
import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, Scalar

from closura.fields.datasets import cache_folder
from closura.files import write_atomically
from closura.problems.problem import Problem
from closura.problems.stored import TruthStore, simulate_truth

VERSION = 1
"""Goes up when the same settings make another truth."""


def kept_truth(
    problem: Problem, slots: int, steps: int, *, key: Key[Scalar, ""], identity: str, cache: str | Path | None = None
) -> TruthStore:
    """As :func:`~closura.problems.stored.simulate_truth`, from disk if it is there, and kept there.

    Parameters
    ----------
    problem, slots, steps, key
        What is simulated. Parameters of the problem have to be a dictionary of arrays.
    identity
        Text that tells the problem's settings and split from all others, as far as truth depends on them.
    cache
        Folder (default: ``CLOSURA_CACHE``, else the user's cache folder). A damaged file there is replaced; if nothing
        can be written there, the truth is simulated every time.
    """
    text = json.dumps([VERSION, identity, slots, steps, np.asarray(jax.random.key_data(key)).tolist()])
    folder = Path(cache) if cache is not None else cache_folder()
    path = folder / "truth" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    found = _read(path)
    if found is None:
        found = simulate_truth(problem, slots, steps, key=key)
        _write(path, found)
    return found


def _read(path: Path) -> TruthStore | None:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            parameters = {name: jnp.asarray(file[f"parameter_{name}"]) for name in file["parameters"].tolist()}
            state, truth, quantities = (jnp.asarray(file[name]) for name in ("state", "truth", "quantities"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return TruthStore(state, parameters, truth, quantities)


def _write(path: Path, store: TruthStore) -> None:
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"parameter_{name}": np.asarray(value) for name, value in store.parameters.items()}
    arrays |= {"state": store.state, "truth": store.truth, "quantities": store.quantities}
    np.savez(buffer, parameters=np.asarray(sorted(store.parameters)), **arrays)
    with contextlib.suppress(OSError):  # a full disk costs time, not the simulation
        write_atomically(path, buffer.getvalue())
