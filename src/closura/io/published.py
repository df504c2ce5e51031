"""Published networks: import, and download from their public source.

Closure-RL: kernels of the published files are ``(out, in, row = y, column = x)``; ours are ``(x, y, in, out)``.

BPTTS, agents with two hidden layers of 64 for the Euler equations: an ``.npz`` with ``W0, b0, W1, b1, W2, b2``, used as
``x @ W + b`` in float64; inputs are the two standardised stencils (plus before minus), outputs the logits of the two
sets of weights. The authors' own zip files hold the same arrays under the names of their framework. Source: Way,
Kapilavai, Fu and Yu (arXiv:2203.08937), weights in side branches of their public code (MIT licence).
"""

import hashlib
import io
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from closura.closures import ActorCritic, WeightsClosure, ircnn
from closura.core import ClosureSpec
from closura.io.download import cache_folder, download_file
from closura.io.earlier import todays_names
from closura.io.files import write_atomically
from closura.io.tensor_files import check_numbers, read_npz
from closura.io.torch_files import read_torch_file
from closura.io.weights import WeightsError, fill

NOTICE = """\
Weights of Closure-RL (https://github.com/cselab/Closure-RL), redistributed under the terms of its MIT-style
licence. Copyright (c) 2025 Closure-RL authors.
"""


class _Source(NamedTuple):
    """Where a file is, and the hash of what it holds (:func:`content_hash`); its own is not known."""

    folder: str
    file: str
    content: str


_REPOSITORY = "https://raw.githubusercontent.com/cselab/Closure-RL/88cb91d/weights/policy_launch_platform/"
PUBLISHED = {
    "closure-rl-advection": _Source(
        _REPOSITORY + "mnist_train_ppo_IRCNN_eplen%3A4_seed%3A0_subsample%3A4_discount%3A0.95_growing_ep_len_maxed/",
        "policy_ep1499.pt",
        "de6fd23e0c7dd7cd94ef883dd044d158257fd8e012504df7881b578e65677646",
    )
}


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file under the names of its parameters, each once."""
    if not path.exists():
        raise FileNotFoundError(f"there are no weights at {path}")
    try:
        arrays = read_torch_file(path) if path.suffix == ".pt" else read_npz(path)
        check_numbers(arrays, str(path))
    except (ValueError, OSError) as error:
        raise WeightsError(str(error)) from error
    for name, array in arrays.items():
        twin = name.replace("critic.", "actor.", 1)
        if name.startswith("critic.backbone.") and twin in arrays and not np.array_equal(array, arrays[twin]):
            raise WeightsError(f"{path}: {name} differs from {twin}, but actor and critic share their backbone here")
    # The authors' files hold every parameter up to three times, under the names of the modules that share it.
    shared = ("_actor_critic.", "critic.backbone.")
    return {name: array for name, array in arrays.items() if not name.startswith(shared)}


def convert(arrays: Mapping[str, np.ndarray], spec: ClosureSpec, source: str) -> ActorCritic:
    """Turn published arrays into our network."""
    if arrays and not any(name.startswith("actor.") for name in arrays):
        raise WeightsError(
            f"{source} holds {', '.join(sorted(arrays)[:3])}, ...: an actor without its critic (actor.pt), "
            "or no network of Closure-RL; use a policy*.pt"
        )
    key = jax.random.key(0)
    policy = ActorCritic(spec, ircnn(spec, key=key), key=key)
    names = {}
    for i in range(len(policy.closure.backbone.layers)):
        names[f"actor.backbone.model.{2 * i}"] = f"backbone.layers[{i}]"
    names |= {"actor.last_layer": "actor", "critic.last_layer": "critic"}
    renamed = {}
    for name, array in arrays.items():
        module, _, kind = name.rpartition(".")
        if module not in names or kind not in ("weight", "bias"):
            renamed[name] = array
        elif kind == "bias":
            renamed[f"{names[module]}.bias"] = array
        else:
            renamed[f"{names[module]}.kernel"] = (
                np.ascontiguousarray(array.transpose(3, 2, 1, 0)) if array.ndim == 4 else array
            )
    filled: ActorCritic = fill(policy, todays_names(renamed), source)
    return filled


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, shapes and float32 bytes: the same for a ``.pt`` and an ``.npz`` of one network."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def fetch_published(name: str, *, cache: str | Path | None = None) -> Path:
    """Download published weights into the cache, verify what they hold, and return their ``.npz``.

    A file in the cache that is damaged or holds something else is downloaded again; what turns out to be something
    else after the download is not kept.
    """
    if name not in PUBLISHED:
        raise ValueError(f"unknown published weights {name!r}; valid: {', '.join(PUBLISHED)}")
    folder = (Path(cache) if cache else cache_folder()) / "models"
    path = folder / f"{name}.npz"
    source = PUBLISHED[name]
    if path.exists() and _holds(path, source.content):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    # What an earlier call left would be taken for the download.
    (folder / source.file).unlink(missing_ok=True)
    otherwise = "name it instead: closura evaluate advection --closure FILE.pt"
    downloaded = download_file(source.file, None, mirrors=[source.folder], folder=folder, otherwise=otherwise)
    url = source.folder + source.file
    try:
        arrays = read_arrays(downloaded)
        found = content_hash(arrays)
    except WeightsError as error:
        raise WeightsError(f"{url} is not what was published: {error}; try again later") from error
    finally:
        downloaded.unlink(missing_ok=True)
    if found != source.content:
        raise WeightsError(
            f"{url} is not what was published: expected content {source.content}, got {found}; try again later"
        )
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
    write_atomically(folder / f"{name}.LICENSE.txt", NOTICE)
    return path


def _holds(path: Path, content: str) -> bool:
    """Whether a file holds arrays of that hash; a damaged one does not, and is replaced."""
    try:
        return content_hash(read_arrays(path)) == content
    except WeightsError:
        return False


def holds_weno_agent(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the names of arrays are those of a published agent."""
    return bool(arrays) and all(re.fullmatch(r"[Wb]\d+", name) for name in arrays)


def convert_weno_agent(arrays: Mapping[str, np.ndarray], spec: ClosureSpec, source: str) -> WeightsClosure:
    """Turn the arrays of an agent of BPTTS into our network (``form="published"``, ReLU, float64).

    WeightsError if layers are missing or do not follow on each other, the network belongs to stencils of another size,
    or the problem's closures do not act at interfaces.
    """
    count = len(arrays) // 2
    missing = [f"{kind}{i}" for i in range(count) for kind in "Wb" if f"{kind}{i}" not in arrays]
    if missing or count < 2 or len(arrays) % 2:
        raise WeightsError(f"{source}: expected W0, b0, W1, b1, ...; got {', '.join(sorted(arrays))}")
    weights = [arrays[f"W{i}"] for i in range(count)]
    if any(w.ndim != 2 for w in weights) or any(a.shape[1] != b.shape[0] for a, b in pairwise(weights)):
        raise WeightsError(f"{source}: layers do not follow on each other: {[w.shape for w in weights]}")
    inputs, outputs = weights[0].shape[0], weights[-1].shape[1]
    r = outputs // 2
    if outputs % 2 or inputs != 2 * (2 * r - 1):
        raise WeightsError(
            f"{source} is no agent of BPTTS: {inputs} inputs and {outputs} outputs; expected 2 (2 r - 1) and 2 r"
        )
    if spec.where != "interfaces":
        raise WeightsError(f"the agent in {source} weighs stencils at interfaces, and this problem's agents do not")
    if (len(spec.observation), len(spec.action)) != (inputs, outputs):
        wanted = len(spec.action) // 2
        raise WeightsError(
            f"the agent in {source} weighs {r} sub-stencils (r = {r}, {inputs} inputs), the problem's {wanted} "
            f"(r = {wanted}, {len(spec.observation)} inputs): choose --scheme weno{2 * r - 1}-js, or another agent"
        )
    if not jax.config.read("jax_enable_x64"):
        raise WeightsError(
            f"the agent in {source} needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first"
        )
    hidden = tuple(int(w.shape[1]) for w in weights[:-1])
    network = WeightsClosure(spec, hidden=hidden, form="published", largest=0.0, double=True, key=jax.random.key(0))
    renamed = {f"network.layers[{i}].weight": weights[i] for i in range(count)}
    renamed |= {f"network.layers[{i}].bias": arrays[f"b{i}"] for i in range(count)}
    filled: WeightsClosure = fill(network, renamed, source)
    return filled
