"""Exports to ONNX, run by onnxruntime on several grids and batches and compared with JAX."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exported import COMPACT, INTERFACES, drawn, near, spec_of

from closura.closures import build
from closura.core import ClosureSpec
from closura.export.c import TOLERANCE
from closura.export.package import ExportError, export
from closura.export.to_onnx import onnx_model
from closura.export.verify import observation_for, verify

onnxruntime = pytest.importorskip("onnxruntime")
CASES = (*COMPACT, ("periodic", 3, {"output": "action", "activation": "tanh"}, False))


def session_of(closure, **about):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = onnx_model(closure.program(), "closure", about)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("boundary", "axes", "options", "explores"), CASES)
def test_onnx_answers_as_jax_does(boundary, axes, options, explores):
    closure = drawn("compact", spec_of(axes, boundary), explores=explores, channels=9, layers=3, **options)
    session = session_of(closure)
    for n in {1: [(33,), (3,)], 2: [(12, 9), (5, 3)], 3: [(5, 4, 6)]}[axes]:  # smaller than the neighbourhood too
        seen = np.stack([observation_for(closure, n), 0.5 * observation_for(closure, n)]).astype(np.float32)
        found = session.run(None, {"observation": seen})
        if explores:
            normal, _ = jax.vmap(closure.evaluate)(jnp.asarray(seen))
            assert near(found[0], normal.mean)
            assert np.abs(found[1] - normal.std).max() <= TOLERANCE * normal.std.max()
        else:
            assert len(found) == 1
            assert near(found[0], jax.vmap(closure)(jnp.asarray(seen)))


@pytest.mark.parametrize(
    "options", [{"even": True, "largest": 0.0}, {"activation": "tanh"}, {"form": "published", "double": True}]
)
def test_weights_of_stencils(options):
    closure = drawn("weights", INTERFACES, hidden=(9, 5), **options)
    seen = np.stack([observation_for(closure, (41,)), 1 - observation_for(closure, (41,))])
    (found,) = session_of(closure).run(None, {"observation": seen})
    wanted = np.asarray(jax.vmap(closure)(jnp.asarray(seen)))
    assert found.dtype == np.float64
    assert np.abs(found - wanted).max() < (1e-13 if options.get("double") else TOLERANCE) * np.abs(wanted).max()


def test_an_observed_diffusivity_and_a_dilated_network():
    spec = ClosureSpec(
        ("u", "nu"), ("f",), ("periodic",), acts_on=(0,), bound=5.0, velocity=(0,), diffusivity=1,
    )  # fmt: skip
    published = build("ircnn", spec_of(2), key=jax.random.key(3))
    published = eqx.tree_at(lambda c: c.head.kernel, published, jnp.full_like(published.head.kernel, 0.01))
    for closure, shape in ((drawn("compact", spec, channels=5, by_speed=True), (14,)), (published, (9, 7))):
        seen = observation_for(closure, shape).astype(np.float32)
        (found,) = session_of(closure).run(None, {"observation": seen[None]})
        assert near(found[0], closure(jnp.asarray(seen)))


def test_the_file_says_what_it_is(tmp_path):
    card = export("burgers", tmp_path, to=("onnx",), simulations=0)
    assert max(verify(tmp_path).values()) <= TOLERANCE
    session = onnxruntime.InferenceSession(tmp_path / "burgers.onnx", providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    assert (about["hash"], about["observation"]) == (card["hash"], '["u", "v"]')
    assert session.get_inputs()[0].shape == ["batch", 2, "x", "y"]


def test_other_neighbourhoods_than_boxes_are_refused(monkeypatch, tmp_path):
    closure = drawn("compact", spec_of(1), channels=4, layers=1)
    program = closure.program()
    program.passes[0].offsets[0] = -2
    with pytest.raises(ValueError, match="other cells than a box"):
        onnx_model(program, "closure", {})
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ExportError, match=r"pip install 'closura\[export\]'"):
        export("advection", tmp_path, to=("onnx",), simulations=0)
