"""Convolutions against a plain reference, their gradients, and what vmap may do to them."""

import contextlib
import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.closures import _blocks, build, convolve
from closura.closures.convolution import plain_convolutions
from closura.core import ClosureSpec
from closura.grids import Boundary

GRIDS = {1: (11,), 2: (9, 6), 3: (5, 4, 6)}
SETTINGS: list[tuple[tuple[Boundary, ...], int]] = [
    (("periodic",), 1),
    (("outflow",), 3),
    (("periodic", "periodic"), 1),
    (("periodic", "periodic"), 4),
    (("outflow", "outflow"), 2),
    (("periodic", "outflow"), 3),
    (("outflow", "periodic"), 1),
    (("periodic",) * 3, 2),
    (("outflow", "periodic", "outflow"), 1),
]


@pytest.fixture(params=[_blocks.BLOCK_BYTES, 2000], ids=["one block", "many blocks"])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small grids fit one block; a tiny limit makes the loops run, with uneven last blocks."""
    monkeypatch.setattr(_blocks, "BLOCK_BYTES", request.param)
    return request.param


def reference(
    x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, dilation: int, boundary: tuple[Boundary, ...]
) -> np.ndarray:
    """The definition, point by point of the kernel, with wrapped or clipped indices."""
    result = np.zeros((*x.shape[:-1], kernel.shape[-1])) + bias
    for tap in itertools.product(*(range(size) for size in kernel.shape[:-2])):
        shifted = x
        for axis, (t, kind) in enumerate(zip(tap, boundary, strict=True)):
            n = x.shape[axis]
            index = np.arange(n) + dilation * (t - kernel.shape[axis] // 2)
            index = index % n if kind == "periodic" else np.clip(index, 0, n - 1)
            shifted = np.take(shifted, index, axis=axis)
        result += shifted @ kernel[tap]
    return result


def draw(
    boundary: tuple[Boundary, ...], c_in: int, c_out: int, size: int = 3, members: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    axes = len(boundary)
    x = generator.normal(size=(members, *GRIDS[axes], c_in))
    return x, generator.normal(size=(size,) * axes + (c_in, c_out)), generator.normal(size=c_out)


@pytest.mark.parametrize(("boundary", "dilation"), SETTINGS)
@pytest.mark.parametrize(("c_in", "c_out"), [(2, 5), (5, 2)])  # the shifted copies are made on either side
def test_forward(boundary: tuple[Boundary, ...], dilation: int, c_in: int, c_out: int, block_bytes: int) -> None:
    x, kernel, bias = draw(boundary, c_in, c_out)
    expected = reference(x[0], kernel, bias, dilation, boundary)
    function = functools.partial(convolve, dilation=dilation, boundary=boundary)
    ours = jax.jit(function)(jnp.asarray(x[0]), jnp.asarray(kernel), jnp.asarray(bias))
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)  # float64, sums of at most 135 terms
    assert ours.dtype == jnp.float64
    with plain_convolutions():
        plain = function(jnp.asarray(x[0]), jnp.asarray(kernel), None)
    np.testing.assert_allclose(plain + bias, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("size", [1, 5])
def test_other_sizes_of_kernel(size: int) -> None:
    x, kernel, bias = draw(("periodic", "outflow"), 3, 3, size)
    ours = convolve(
        jnp.asarray(x[0]),
        jnp.asarray(kernel),
        jnp.asarray(bias),
        dilation=2,
        boundary=("periodic", "outflow"),
    )
    expected = reference(x[0], kernel, bias, 2, ("periodic", "outflow"))
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("boundary", "dilation"),
    [(("outflow",), 3), (("periodic", "outflow"), 2)],
)
@pytest.mark.parametrize(("c_in", "c_out"), [(2, 3), (3, 2)])
def test_gradients_against_finite_differences(
    boundary: tuple[Boundary, ...], dilation: int, c_in: int, c_out: int, block_bytes: int
) -> None:
    x, kernel, bias = (jnp.asarray(a) for a in draw(boundary, c_in, c_out, members=3))

    @jax.jit
    def loss(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        y = jax.vmap(lambda x: convolve(x, kernel, bias, dilation=dilation, boundary=boundary))(x)
        return jnp.sum(jnp.sin(y))

    gradients = jax.jit(jax.grad(loss, (0, 1, 2)))(x, kernel, bias)
    generator = np.random.default_rng(1)
    for i, argument in enumerate((x, kernel, bias)):
        direction = jnp.asarray(generator.normal(size=argument.shape))
        step = 1e-5

        def moved(sign: float, i: int = i, direction: jax.Array = direction) -> jax.Array:
            arguments = [x, kernel, bias]
            arguments[i] = arguments[i] + sign * 1e-5 * direction
            return loss(*arguments)

        numerical = (moved(1.0) - moved(-1.0)) / (2 * step)
        # Central differences: truncation 1e-10 times a third derivative of some 1e4, round-off 1e-8.
        assert float(jnp.vdot(gradients[i], direction)) == pytest.approx(float(numerical), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("members", "limit"), [((3,), 2000), ((2, 2), 10_000)])
def test_vmap(members: tuple[int, ...], limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of fields, of kernels (ensembles), and per-member gradients equal a loop in Python."""
    monkeypatch.setattr(_blocks, "BLOCK_BYTES", limit)
    boundary: tuple[Boundary, ...] = ("periodic", "outflow")
    generator = np.random.default_rng(2)
    x = jnp.asarray(generator.normal(size=(*members, 9, 6, 3)))
    kernels = jnp.asarray(generator.normal(size=(*members, 3, 3, 3, 4)))

    def one(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolve(x, kernel, None, dilation=1, boundary=boundary)

    def both(x: jax.Array, kernel: jax.Array) -> tuple:
        return one(x, kernel), jax.grad(lambda x, k: jnp.sum(one(x, k) ** 2), (0, 1))(x, kernel)

    alone = jax.jit(both)
    for axes in ((0, 0), (0, None), (None, 0)):
        batched = both
        for _ in members:
            batched = jax.vmap(batched, axes)
        arguments = [a if axis == 0 else a[(0,) * len(members)] for a, axis in zip((x, kernels), axes, strict=True)]
        ours = jax.tree.leaves(jax.jit(batched)(*arguments))
        for index in np.ndindex(*members):
            single = [a[index] if axis == 0 else a for a, axis in zip(arguments, axes, strict=True)]
            for a, b in zip(ours, jax.tree.leaves(alone(*single)), strict=True):
                np.testing.assert_allclose(a[index], b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_precision_is_kept(dtype: jnp.dtype) -> None:
    x, kernel, bias = (jnp.asarray(a, dtype) for a in draw(("periodic",), 2, 3))
    function = lambda x, k: convolve(x, k, bias, dilation=1, boundary=("periodic",))
    assert function(x[0], kernel).dtype == dtype
    gradients = jax.grad(lambda x, k: jnp.sum(function(x, k)), (0, 1))(x[0], kernel)
    assert [g.dtype for g in gradients] == [dtype, dtype]


def test_gradient_of_a_rollout_of_many_members_equals_the_plain_one() -> None:
    """Both paths of a network in a time loop, with groups of members (small grid) and one by one."""
    for size, members in ((12, 6), (65, 3)):
        spec = ClosureSpec(("field", "u"), ("forcing",), ("periodic", "outflow"))
        options = {"channels": 4, "layers": 1, "wide_layers": 1, "output": "action"}
        network = build("compact", spec, explores=True, options=options, key=jax.random.key(0))
        x = jnp.asarray(np.random.default_rng(1).normal(size=(members, 2, size, size)))

        def gradient(network: eqx.Module, x: jax.Array, plain: bool) -> eqx.Module:
            def loss(network: eqx.Module) -> jax.Array:
                def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
                    return x - 0.1 * jax.vmap(network)(x), None

                return jnp.mean(jax.lax.scan(step, x, None, length=2)[0] ** 2)

            with plain_convolutions() if plain else contextlib.nullcontext():
                return eqx.filter_grad(loss)(network)

        ours = eqx.filter_jit(gradient)(network, x, False)
        plain = eqx.filter_jit(gradient)(network, x, True)
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
            # The weights, and so their gradients, are float32: rounding of the sum, 1e-7 of the largest.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_misuse_says_what_is_wrong() -> None:
    x, kernel = jnp.zeros((8, 8, 3)), jnp.zeros((3, 3, 3, 4))
    with pytest.raises(ValueError, match="expected x of 2 axes"):
        convolve(x, kernel, None, dilation=1, boundary=("periodic",))
    with pytest.raises(ValueError, match="odd"):
        convolve(x, jnp.zeros((2, 2, 3, 4)), None, dilation=1, boundary=("periodic", "periodic"))
