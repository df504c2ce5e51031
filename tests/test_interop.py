"""Weights come in and go out unchanged, nothing is executed, and misfits are named."""

import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import requests
import safetensors.numpy
from golden import network, read
from safetensors import safe_open

from closura.closures import build, compact
from closura.core import ClosureSpec
from closura.io import published as published_module
from closura.io.closures import load_closure
from closura.io.published import PUBLISHED, content_hash, fetch_published, read_arrays
from closura.io.tensor_files import read_npz
from closura.io.torch_files import TorchFileError, read_torch_file
from closura.io.weights import WeightsError, load_weights, read_header, save_weights
from closura.offline import load_sampler
from closura.offline.stored import read_stored, write_stored
from closura.problems.laws.methods import stencils_of

ADVECTION = ClosureSpec(("psi", "u", "v"), ("forcing",), ("periodic", "periodic"), scale=0.01)
BURGERS = ClosureSpec(("u", "v"), ("forcing_u", "forcing_v"), ("periodic", "periodic"), acts_on=(0, 1))


class Stub:
    """Pickled as a call of a named function; stands for what PyTorch's pickles contain."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class Reference:
    """A storage: pickled by its persistent identity."""

    def __init__(self, *identity: Any) -> None:
        self.identity = identity


class Writer(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        return thing.identity if isinstance(thing, Reference) else None


@pytest.fixture
def torch_names(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """The two names of PyTorch that a state dictionary mentions, so that files can be written without it."""
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*arguments: Any) -> None:
        raise AssertionError("only named, never called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    storage = type("FloatStorage", (), {"__module__": "torch"})
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch.FloatStorage, torch._utils = storage, utilities  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utilities)
    return types.SimpleNamespace(rebuild=_rebuild_tensor_v2, storage=storage)


def write_torch_file(path: Path, entries: dict[str, Any], storages: dict[str, bytes]) -> Path:
    """A zip archive as ``torch.save`` makes it: a pickle, and one member per storage."""
    content = io.BytesIO()
    Writer(content, protocol=2).dump(OrderedDict(entries))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content.getvalue())
        archive.writestr("archive/byteorder", "little")
        for name, data in storages.items():
            archive.writestr(f"archive/data/{name}", data)
        archive.writestr("archive/version", "3\n")
    return path


def state_dictionary(
    arrays: dict[str, np.ndarray], names: types.SimpleNamespace
) -> tuple[dict[str, Any], dict[str, bytes]]:
    entries, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        stride = tuple(s // array.itemsize for s in array.strides)
        reference = Reference("storage", names.storage, str(key), "cpu", array.size)
        entries[name] = Stub(names.rebuild, reference, 0, array.shape, stride, False, OrderedDict())
        storages[str(key)] = array.astype("<f4").tobytes()
    return entries, storages


def published_arrays(golden_folder: Path) -> dict[str, np.ndarray]:
    return read(network(golden_folder, "advection"))


def same_weights(a: Any, b: Any) -> bool:
    left, right = (jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (a, b))
    return len(left) == len(right) and all(
        x.dtype == y.dtype and np.array_equal(x, y) for x, y in zip(left, right, strict=True)
    )


def test_torch_file_with_aliases(golden_folder: Path, tmp_path: Path, torch_names: types.SimpleNamespace) -> None:
    """56 names for 16 arrays, as the authors' files have them, give the network of the ``.npz``."""
    arrays = published_arrays(golden_folder)
    entries, storages = state_dictionary(arrays, torch_names)
    entries |= {n.replace("actor.", "critic.", 1): t for n, t in entries.items() if ".backbone." in n}
    entries |= {f"_actor_critic.{n}": t for n, t in entries.items()}
    assert len(entries) == 56
    path = write_torch_file(tmp_path / "policy_ep1499.pt", entries, storages)
    assert content_hash(read_arrays(path)) == PUBLISHED["closure-rl-advection"].content
    expected = load_closure(network(golden_folder, "advection"), ADVECTION)
    assert same_weights(load_closure(path, ADVECTION), expected)


def test_torch_tensors_with_strides(tmp_path: Path, torch_names: types.SimpleNamespace) -> None:
    """Transposed tensors and tensors that begin inside a storage; one that leaves it is refused."""
    data = np.arange(12, dtype=np.float32)
    storage = Reference("storage", torch_names.storage, "0", "cpu", 12)

    def entry(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Stub:
        return Stub(torch_names.rebuild, storage, offset, shape, stride, False, OrderedDict())

    path = tmp_path / "x.pt"
    write_torch_file(path, {"t": entry(0, (4, 3), (1, 4)), "part": entry(5, (2,), (3,))}, {"0": data.tobytes()})
    found = read_torch_file(path)
    np.testing.assert_array_equal(found["t"], data.reshape(3, 4).T)
    np.testing.assert_array_equal(found["part"], [5, 8])
    for offset, shape, stride in ((8, (5,), (1,)), (0, (4, 4), (4, 1)), (-1, (2,), (1,)), (3, (2,), (-1,))):
        write_torch_file(path, {"t": entry(offset, shape, stride)}, {"0": data.tobytes()})
        with pytest.raises(TorchFileError):
            read_torch_file(path)


@pytest.mark.parametrize("function", [os.system, eval, pickle.loads, getattr])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, function: Any) -> None:
    marker = tmp_path / "executed"
    path = write_torch_file(tmp_path / "x.pt", {"weight": Stub(function, f"touch {marker}")}, {})
    with pytest.raises(WeightsError, match=r"wants to use .*\."):
        load_closure(path, ADVECTION)
    assert not marker.exists()


def test_other_torch_files(tmp_path: Path, golden_folder: Path, torch_names: types.SimpleNamespace) -> None:
    path = tmp_path / "actor.pt"
    arrays = {n.removeprefix("actor."): a for n, a in published_arrays(golden_folder).items() if "actor" in n}
    assert len(arrays) == 14
    write_torch_file(path, *state_dictionary(arrays, torch_names))
    with pytest.raises(WeightsError, match="without its critic"):
        load_closure(path, ADVECTION)
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2))  # how files before PyTorch 1.6 begin
    with pytest.raises(WeightsError, match="zip format"):
        load_closure(path, ADVECTION)
    write_torch_file(path, {"epoch": 3}, {})
    with pytest.raises(WeightsError, match="dictionary of tensors"):
        load_closure(path, ADVECTION)
    entries, storages = state_dictionary(arrays, torch_names)
    storages.pop("3")
    write_torch_file(path, entries, storages)
    with pytest.raises(WeightsError, match="damaged"):
        load_closure(path, ADVECTION)


def test_published_weights_that_do_not_fit(golden_folder: Path, tmp_path: Path) -> None:
    burgers = network(golden_folder, "burgers")
    with pytest.raises(WeightsError) as caught:
        load_closure(burgers, ADVECTION)
    # Observed channels 3 against 2, actions 1 against 2: both are named with both shapes.
    for text in ("(3, 3, 3, 64), got (3, 3, 2, 64)", "(3, 3, 64, 1), got (3, 3, 64, 2)"):
        assert text in str(caught.value)
    arrays = published_arrays(golden_folder)
    arrays.pop("actor.backbone.model.4.bias")
    arrays["actor.extra.weight"] = np.zeros(3, np.float32)
    np.savez(tmp_path / "x.npz", allow_pickle=False, **arrays)
    with pytest.raises(WeightsError, match=r"missing closure.backbone.layers\[2\].bias.*unexpected actor.extra.weight"):
        load_closure(tmp_path / "x.npz", ADVECTION)
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(burgers.read_bytes()[:20_000])
    with pytest.raises(WeightsError, match="damaged"):
        load_closure(damaged, BURGERS)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        load_closure(tmp_path / "nowhere.npz", BURGERS)


@pytest.mark.parametrize(
    ("name", "options", "stochastic"),
    [
        ("ircnn", {}, True),
        ("compact", {}, False),
        ("compact", {"channels": 6, "activation": "glu", "output": "action"}, True),
    ],
)
def test_weights_round_trip(tmp_path: Path, name: str, options: dict[str, Any], stochastic: bool) -> None:
    """The file alone rebuilds the network, bit for bit."""
    network = build(name, ADVECTION, explores=stochastic, options=options, key=jax.random.key(7))
    path = tmp_path / "weights.safetensors"
    architecture = {"closure": name, "options": options}
    save_weights(path, network, architecture=architecture, metadata={"problem": "advection", "error": 0.014})
    again = load_weights(path)
    assert same_weights(again, network)
    assert again.spec == ADVECTION
    assert jax.tree.structure(again) == jax.tree.structure(network)
    assert read_header(path)["metadata"] == {"problem": "advection", "error": 0.014}
    assert same_weights(load_closure(tmp_path, ADVECTION), network)  # the folder of a run
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]  # nothing temporary stays behind


def test_a_flipped_bit_in_weights_is_refused(tmp_path: Path) -> None:
    """In numbers, names and facts alike: each would give another closure, or other physics, without a word."""
    path = tmp_path / "weights.safetensors"
    network = compact(ADVECTION, key=jax.random.key(0))
    save_weights(path, network, architecture={"closure": "compact", "options": {}}, metadata={"courant": 0.25})
    whole = path.read_bytes()
    flips = [*range(8, len(whole), 97), whole.index(b"0.25"), whole.index(b"F32"), len(whole) - 1]
    for place in flips:
        if whole[place : place + 1] == b" ":  # what fills up the header says nothing
            continue
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(WeightsError, match=r"damaged|not of closura"):
            load_weights(path)
        with pytest.raises(WeightsError, match=r"damaged|not of closura"):
            read_header(path)
    path.write_bytes(whole)
    assert same_weights(load_weights(path), network)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = compact(ADVECTION, key=jax.random.key(0))
    save_weights(path, network, architecture={"closure": "compact", "options": {}})
    with pytest.raises(WeightsError, match=r"observation: expected \('u', 'v'\), got \('psi', 'u', 'v'\)"):
        load_weights(path, BURGERS)
    save_weights(path, network, architecture={"closure": "compact", "options": {"channels": 8}})
    with pytest.raises(WeightsError, match=r"backbone.layers\[0\].kernel: expected shape \(3, 3, 3, 8\)"):
        load_weights(path)
    safetensors.numpy.save_file({"x": np.zeros(3, np.float32)}, str(path))
    with pytest.raises(WeightsError, match="not of closura"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:30])
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(path)
    header = json.dumps({"__metadata__": {"format": "closura weights", "version": "99"}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(WeightsError, match="update closura"):
        load_weights(path)


def test_unknown_files_list_what_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"")
    for path, kind in ((tmp_path / "x.onnx", WeightsError), (tmp_path / "nowhere", FileNotFoundError)):
        with pytest.raises(kind, match=r"run folder.*safetensors.*\.npz.*\.pt"):
            load_closure(path, ADVECTION)
    with pytest.raises(WeightsError, match=r"weights\.safetensors"):
        load_closure(tmp_path, ADVECTION)


def test_fetching_published_weights(
    golden_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_names: types.SimpleNamespace
) -> None:
    """Downloaded once, verified by content, kept beside its licence; other content is refused."""
    arrays = published_arrays(golden_folder)
    downloads = []

    def download(file: str, checksum: None, *, mirrors: list[str], folder: Path, otherwise: str) -> Path:
        downloads.append(mirrors[0] + file)
        return write_torch_file(folder / "policy_ep1499.pt", *state_dictionary(arrays, torch_names))

    monkeypatch.setattr(published_module, "download_file", download)
    path = fetch_published("closure-rl-advection", cache=tmp_path)
    assert fetch_published("closure-rl-advection", cache=tmp_path) == path
    assert len(downloads) == 1
    assert ":" not in downloads[0].removeprefix("https:")  # percent-encoded
    assert "eplen%3A4_seed%3A0_subsample%3A4_discount%3A0.95" in downloads[0]
    expected = load_closure(network(golden_folder, "advection"), ADVECTION)
    assert same_weights(load_closure(path, ADVECTION), expected)
    notice = next(path.parent.glob("*LICENSE*")).read_text()
    assert "Copyright (c) 2025 Closure-RL authors" in notice
    path.unlink()
    arrays["actor.last_layer.bias"] = arrays["actor.last_layer.bias"] + np.float32(1e-6)
    with pytest.raises(WeightsError, match="not what was published"):
        fetch_published("closure-rl-advection", cache=tmp_path)
    assert not path.exists()
    with pytest.raises(ValueError, match="valid: closure-rl-advection"):
        fetch_published("closure-rl", cache=tmp_path)


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise requests.exceptions.ConnectionError("no route to host")

    monkeypatch.setattr("pooch.Pooch.fetch", unreachable)
    with pytest.raises(OSError, match=r"could not download .*https://.*no route to host.*--closure FILE"):
        fetch_published("closure-rl-advection", cache=tmp_path)


def test_published_network_keeps_the_action_unscaled(golden_folder: Path) -> None:
    """A problem's scale is for networks that start from "no closure", not for published weights."""
    path = network(golden_folder, "advection")
    x = jax.random.uniform(jax.random.key(0), (3, 8, 8), jnp.float32)
    other = ClosureSpec(ADVECTION.observation, ADVECTION.action, ADVECTION.boundary, scale=1.0)
    np.testing.assert_array_equal(load_closure(path, ADVECTION)(x), load_closure(path, other)(x))


def test_a_bad_download_is_not_kept(
    golden_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_names: types.SimpleNamespace
) -> None:
    """A page of an error instead of the file, a cut or altered file in the cache: the next call mends it."""
    arrays = published_arrays(golden_folder)
    answers: list[bytes] = []

    def fetch(source: Any, name: str, downloader: Any) -> str:
        file = Path(source.path) / name
        if not file.exists():  # as pooch does it where no hash is known
            file.write_bytes(answers.pop(0))
        return str(file)

    monkeypatch.setattr("pooch.Pooch.fetch", fetch)
    good = write_torch_file(tmp_path / "good.pt", *state_dictionary(arrays, torch_names)).read_bytes()
    other = {**arrays, "actor.last_layer.bias": arrays["actor.last_layer.bias"] + np.float32(1)}
    changed = write_torch_file(tmp_path / "other.pt", *state_dictionary(other, torch_names)).read_bytes()
    for wrong in (b"<html>try again later</html>", b"", good[:-200], changed):
        answers[:] = [wrong]
        with pytest.raises(WeightsError, match=r"https://.*is not what was published"):
            fetch_published("closure-rl-advection", cache=tmp_path)
    answers[:] = [good]
    path = fetch_published("closure-rl-advection", cache=tmp_path)
    whole = path.read_bytes()
    for wrong in (b"", whole[: len(whole) // 2], b"PK" + whole[200:]):
        path.write_bytes(wrong)
        answers[:] = [good]
        assert fetch_published("closure-rl-advection", cache=tmp_path) == path
        assert not answers
        assert path.read_bytes() == whole
    assert fetch_published("closure-rl-advection", cache=tmp_path) == path  # nothing is asked


def packed_in_any_order(path: Path, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    safetensors.numpy.save_file(arrays, str(path), metadata=content)


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    """In one process and in others: the order of header keys is not left to chance."""
    network = compact(ADVECTION, key=jax.random.key(0))
    facts = {f"fact {i}": i for i in range(20)}
    paths = [tmp_path / f"{i}.safetensors" for i in range(20)]
    for path in paths:
        save_weights(path, network, architecture={"closure": "compact", "options": {}}, metadata=facts)
    assert len({path.read_bytes() for path in paths}) == 1
    names = list(json.loads(paths[0].read_bytes()[8 : 8 + struct.unpack("<Q", paths[0].read_bytes()[:8])[0]]))
    assert names == sorted(names)
    with safe_open(str(paths[0]), framework="numpy") as file:  # what the library reads is the same
        header = {name: text for name, text in file.metadata().items() if name != "sha256"}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    packed_in_any_order(tmp_path / "earlier.safetensors", header, arrays)  # as earlier versions wrote them
    assert same_weights(load_weights(tmp_path / "earlier.safetensors"), network)
    stored = [write_stored(tmp_path / f"{i}.stored", "closura x", "n", {"b": np.ones(3), "a": np.zeros(2)}, {"k": 1})
              for i in range(10)]  # fmt: skip
    assert len({path.read_bytes() for path in stored}) == 1
    name, read, facts, _ = read_stored(stored[0], "closura x")
    assert (name, sorted(read), facts) == ("n", ["a", "b"], {"k": 1})


WRONG_HEADERS = [
    ("version", "x"), ("version", ""), ("version", "-1"), ("version", "1.5"),
    ("architecture", "[]"), ("architecture", "{"), ("architecture", "{}"), ("architecture", "null"),
    ("architecture", '{"closure": 3, "options": {}, "stochastic": false}'),
    ("architecture", '{"closure": "compact", "options": [], "stochastic": false}'),
    ("architecture", '{"closure": "compact", "options": {}, "stochastic": "no"}'),
    ("architecture", '{"closure": "nothing", "options": {}, "stochastic": false}'),
    ("architecture", '{"closure": "compact", "options": {"channels": "many"}, "stochastic": false}'),
    ("architecture", '{"closure": "compact", "options": {"colour": 1}, "stochastic": false}'),
    ("decision", "5"), ("decision", "{}"), ("metadata", "[1]"), ("metadata", "?"),
    *(("decision", (key, value)) for key, value in (
        ("observation", "psi"), ("observation", [1]), ("action", None), ("acts_on", [0.5]), ("acts_on", [7]),
        ("bound", "1"), ("bound", float("nan")), ("scale", [1.0]), ("unit", None), ("velocity", 1),
        ("diffusivity", 0.5), ("agents", 1), ("colour", "red"),
    )),
]  # fmt: skip


def test_headers_of_wrong_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, compact(ADVECTION, key=jax.random.key(0)), architecture={"closure": "compact", "options": {}})
    with safe_open(str(path), framework="numpy") as file:
        header = {name: text for name, text in file.metadata().items() if name != "sha256"}
    arrays = safetensors.numpy.load_file(str(path))
    for key, value in WRONG_HEADERS:
        text = value
        if isinstance(value, tuple):
            text = json.dumps({**json.loads(header[key]), value[0]: value[1]})
        packed_in_any_order(path, {**header, key: text}, arrays)
        with pytest.raises(WeightsError, match=r"weights\.safetensors"):
            load_weights(path)
    for key in header:
        packed_in_any_order(path, {k: v for k, v in header.items() if k != key}, arrays)
        if key != "version":
            with pytest.raises(WeightsError, match=r"weights\.safetensors"):
                load_weights(path)
    name = max(arrays, key=lambda name: arrays[name].ndim)
    kernel = arrays[name]
    infinite = np.where(kernel == kernel.max(), np.inf, kernel)
    for array in (np.full_like(kernel, np.nan), infinite, kernel[..., :-1], kernel.ravel()):
        packed_in_any_order(path, header, {**arrays, name: array})
        with pytest.raises(WeightsError, match=r"weights\.safetensors"):
            load_weights(path)


def test_stored_models_of_wrong_types_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    good = {"format": "closura reconstruction", "version": "1", "name": "none", "facts": "{}", "metadata": "{}"}
    arrays = {"mean": np.zeros(3)}
    for change in ({"version": "x"}, {"version": "99"}, {"name": ""}, {"name": "nothing"}, {"facts": "[]"},
                   {"facts": "{"}, {"metadata": "3"}, {"format": "closura model"}, {}):  # fmt: skip
        packed_in_any_order(path, {**good, **change}, arrays)
        with pytest.raises(ValueError, match=r"m\.safetensors|unknown sampler"):
            load_sampler(path)
    packed_in_any_order(path, good, {"mean": np.asarray([1.0, np.nan])})
    with pytest.raises(ValueError, match=r"m\.safetensors: array mean holds 1 of 2 numbers that are not finite"):
        load_sampler(path)


def test_a_flipped_bit_in_an_archive_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """zipfile and zlib have errors of many kinds; each is one line, and no number is another one."""
    path = tmp_path / "x.npz"
    arrays = {"w1": np.arange(40.0), "b1": np.linspace(0, 1, 30)}
    np.savez_compressed(path, **arrays)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        try:
            found = read_npz(path)
        except ValueError:
            refused += 1
            continue
        for name, array in found.items():
            if name in arrays:  # a name is no part of what zip checks
                np.testing.assert_array_equal(array, arrays[name])
    assert refused > len(whole) // 2
    path.write_bytes(whole[:40])
    with pytest.raises(WeightsError, match="damaged"):  # was a traceback of zipfile
        stencils_of(path)
