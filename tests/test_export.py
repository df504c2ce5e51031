"""Closures as C and Fortran: compiled, run on grids of several shapes and boundaries, compared with JAX."""

import ctypes
import json
import subprocess

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exported import COMPACT, COMPILER, INTERFACES, compiled, drawn, grid_of, near, pointers, pointwise, run, spec_of

from closura.cli import main
from closura.closures import build
from closura.export.c import TOLERANCE
from closura.export.package import ExportError, export, read_card
from closura.export.verify import observation_for, verify
from closura.io.closures import SHIPPED

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


CASES = (
    *COMPACT,
    ("periodic", 3, {"by_speed": True, "activation": "tanh"}, False),
    ("periodic", 1, {"hidden": (6, 4)}, True),
    ("outflow", 2, {"hidden": (5,), "radius": 1}, False),
)


@pytest.mark.parametrize(("boundary", "axes", "options", "explores"), CASES)
def test_c_answers_as_jax_does(boundary, axes, options, explores, tmp_path):
    kind, size = ("pointwise", {}) if "hidden" in options else ("compact", {"channels": 9, "layers": 3})
    closure = drawn(kind, spec_of(axes, boundary), explores=explores, **size, **options)
    library, halo = compiled(closure, tmp_path)
    rng = np.random.default_rng(1)
    for n in {1: [(33,), (3,)], 2: [(12, 9), (5, 3)], 3: [(5, 7, 6)]}[axes]:  # smaller than the halo too
        seen = rng.normal(size=(axes + 1, *n))
        wanted = closure(jnp.asarray(seen, jnp.float32))
        status, found, _ = run(library, seen, boundary)
        assert (status, near(found, wanted)) == (0, True)
        if boundary == "periodic":  # ghost cells that hold what a neighbouring process would send
            around = np.stack([np.pad(each, halo, mode="wrap") for each in seen])
            status, found, _ = run(library, around, "halo", ghosts=halo)
            assert (status, near(found, wanted)) == (0, True)
        if explores:
            noise = rng.normal(size=(2, *n))
            normal, _ = closure.evaluate(jnp.asarray(seen, jnp.float32))
            _, found, _ = run(library, seen, boundary, noise=noise)
            assert near(found, normal.mean + normal.std * noise)


def test_published_network_and_strided_arrays(tmp_path):
    closure = build("ircnn", spec_of(2), key=jax.random.key(3))
    closure = eqx.tree_at(lambda c: c.head.kernel, closure, jnp.full_like(closure.head.kernel, 0.01))
    library, _ = compiled(closure, tmp_path)
    seen = np.random.default_rng(2).normal(size=(9, 11, 3))  # channels last: strides that are not contiguous
    status, found, _ = run(library, np.moveaxis(seen, -1, 0), "periodic")
    assert (status, near(found, closure(jnp.asarray(np.moveaxis(seen, -1, 0), jnp.float32)))) == (0, True)


@pytest.mark.parametrize(
    "options", [{"even": True, "largest": 0.0}, {"activation": "tanh"}, {"form": "published", "even": True}]
)
def test_weights_of_stencils(options, tmp_path):
    closure = drawn("weights", INTERFACES, hidden=(9, 5), **options)
    library, halo = compiled(closure, tmp_path)
    seen = observation_for(closure, (1001,))
    status, found, _ = run(library, seen, "outflow", actions=6)
    wanted = np.asarray(closure(jnp.asarray(seen)))
    assert (status, halo) == (0, 0)
    assert np.abs(found - wanted).max() < TOLERANCE * np.abs(wanted).max()


def test_a_pointwise_closure(tmp_path):
    closure = pointwise(spec_of(2), activation="gelu")
    library, halo = compiled(closure, tmp_path)
    seen = observation_for(closure, (11, 37))
    status, found, _ = run(library, seen, "periodic")
    assert (status, halo) == (0, 0)
    assert near(found, closure(jnp.asarray(seen, jnp.float32)))


def test_what_is_wrong_is_a_status_and_guards_count(tmp_path):
    closure = drawn("compact", spec_of(2), channels=4, layers=2)
    library, _ = compiled(closure, tmp_path, known=[[-2.0, 2.0]] * 3, flags=("-O1", "-fsanitize=undefined"))
    handle, seen = ctypes.c_void_p(), np.full((3, 6, 5), 0.5)
    for grid in (grid_of((0, 5), (0, 0), (0, 0)), grid_of((6, 5), (0, 0), (1, 0)), grid_of((6, 5), (0, 0), (0, 7))):
        assert library.c_init(ctypes.byref(handle), ctypes.byref(grid)) == 2
        assert not handle
    assert library.c_init(None, ctypes.byref(grid_of((6, 5), (0, 0), (0, 0)))) == 1
    assert library.c_init(ctypes.byref(handle), None) == 1
    assert library.c_apply(None, pointers(seen), pointers(seen[:2])) == 1
    seen[0] += np.random.default_rng(0).normal(size=(6, 5)) / 10
    _, plain, _ = run(library, seen, "periodic")
    seen[0, 2, 3], seen[1, 0, 0] = np.nan, 1e30
    status, found, outside = run(library, seen, "periodic")
    assert (status, outside, np.abs(found).max()) == (4, 0, 0.0)
    status, found, outside = run(library, seen, "periodic", guard=2)
    assert (status, outside) == (0, 2)
    assert np.all(found[:, [2, 0], [3, 0]] == 0)
    assert np.abs(plain).max() > 0
    assert np.isfinite(found).all()
    status, found, outside = run(library, seen, "periodic", guard=1)
    assert (status, outside) == (0, 2)
    assert np.isfinite(found).all()


def test_a_guard_needs_a_range(tmp_path):
    library, _ = compiled(drawn("compact", spec_of(1), channels=4, layers=1), tmp_path)
    handle = ctypes.c_void_p()
    assert library.c_init(ctypes.byref(handle), ctypes.byref(grid_of((6,), (0,), (0,)))) == 0
    assert library.c_guard(handle, 1) == 5
    library.c_free(handle)


@pytest.mark.parametrize("name", SHIPPED)
def test_closures_of_the_package_are_exported_and_verified(name, tmp_path):
    card = export(name, tmp_path, to=("c", "fortran"), simulations=0)
    assert (card["range"], card["licence"]) == (None, "MIT")
    assert max(verify(tmp_path, flags=("-O1",)).values()) <= TOLERANCE
    assert set(card["files"]) == {each.name for each in tmp_path.iterdir()}


def test_the_command_line_and_the_self_test(tmp_path, capsys):
    out = tmp_path / "out"
    main(["export", "burgers", "--out", str(out), "--simulations", "1", "--to", "c", "stablehlo"])
    card = read_card(out)
    low, high = np.transpose(card["range"])
    assert np.all(low < high)
    capsys.readouterr()
    main(["verify", str(out)])
    assert "stablehlo: largest difference" in capsys.readouterr().out
    done = subprocess.run(["make", "sanitize", "CFLAGS=-O1"], cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    weights = out / "burgers.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ExportError, match="not those of its card"):
        verify(out)


def test_what_cannot_be_exported_is_refused(tmp_path, capsys):
    with pytest.raises(ExportError, match="unknown target rust; valid: c, fortran, fortran-pure, onnx, stablehlo"):
        export("burgers", tmp_path, to=("rust",))
    with pytest.raises(FileNotFoundError, match="holds no export"):
        verify(tmp_path)
    (tmp_path / "x.json").write_text(json.dumps({"format": "closura export"}))
    with pytest.raises(ExportError, match="has no name, hash"):
        read_card(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(tmp_path / "nothing")])
    assert "nothing" in capsys.readouterr().err
