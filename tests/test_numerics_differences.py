"""Schemes, spectral derivatives, padding and restrictions against exact derivatives."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.grids import Grid
from closura.numerics import (
    SCHEMES,
    Scheme,
    advective_derivative,
    block_mean,
    derivative,
    get_scheme,
    laplacian,
    pad,
    pad_all,
    second_derivative,
    subsample,
)

FINITE = [name for name in SCHEMES if name != "spectral"]


def wave(grid, dtype=np.float64):
    """Two waves across the grid, a velocity that takes both signs along every axis, and exact results.

    Returns field and velocity (JAX), the list of the field's derivatives, the advective derivative (NumPy).
    """
    axes = [np.arange(n) * h for n, h in zip(grid.shape, grid.spacing, strict=True)]
    points = np.meshgrid(*axes, indexing="ij")
    phases = [2 * np.pi * x / length for x, length in zip(points, grid.extent, strict=True)]
    total = sum(phases)
    field = np.stack([np.sin(total), np.cos(total) + 2])
    gradient = [np.stack([np.cos(total), -np.sin(total)]) * (2 * np.pi / length) for length in grid.extent]
    velocity = np.stack([(axis + 1) * np.cos(phases[-1] + axis) for axis in range(grid.dimensions)])
    exact = sum(velocity[axis] * gradient[axis] for axis in range(grid.dimensions))
    return jnp.asarray(field.astype(dtype)), jnp.asarray(velocity.astype(dtype)), gradient, exact


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("name", SCHEMES)
def test_order_of_schemes(name, dimensions):
    errors = []
    for size in (16, 32):
        grid = Grid((size,) * dimensions, (1.0, 1.5, 0.7)[:dimensions])
        field, velocity, _, exact = wave(grid)
        advect = jax.jit(lambda q, u, grid=grid: advective_derivative(q, u, grid, name))
        errors.append(np.abs(advect(field, velocity) - exact).max())
    order = get_scheme(name).order
    if math.isinf(order):
        assert max(errors) < 1e-12  # rounding of a few transforms of values of order ten
    else:
        # 16 points per wave: the next term of the error is (2 pi / 16)^2 = 15 % of the first
        assert abs(math.log2(errors[0] / errors[1]) - order) < 0.2


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("name", FINITE)
def test_exact_on_polynomials_away_from_outflow(name, sign):
    scheme = get_scheme(name)
    grid = Grid((16,), (16.0,), ("outflow",))
    x = np.arange(16.0)
    differentiate = jax.jit(lambda q, u: derivative(q, 0, grid, name, velocity=u))
    for power in range(scheme.order + 1):
        result = differentiate(jnp.asarray(((x - 8) ** power)[None]), jnp.asarray(np.full(16, sign)))[0]
        inner = slice(scheme.radius, 16 - scheme.radius)
        exact = power * (x - 8) ** max(power - 1, 0)
        # values up to 8^5: rounding errors of 1e-16 times that, with room
        np.testing.assert_allclose(result[inner], exact[inner], atol=1e-10)


@pytest.mark.parametrize("name", FINITE)
def test_upwind_side_and_mirror(name):
    grid = Grid((12,))
    field = jnp.asarray(np.random.default_rng(0).random((1, 12)))
    velocity = jnp.ones(12)
    differentiate = jax.jit(lambda q, u: derivative(q, 0, grid, name, velocity=u))
    right = differentiate(field, velocity)
    mirrored = -np.asarray(differentiate(field[:, ::-1], -velocity))[:, ::-1]
    np.testing.assert_allclose(right, mirrored, atol=1e-12)  # the same sums, in another order
    weights = dict(get_scheme(name).coefficients)
    expected = sum(w * np.roll(np.asarray(field), -k, axis=1) for k, w in weights.items()) * 12
    np.testing.assert_allclose(right, expected, atol=1e-12)
    if name == "upwind1":  # zero counts as negative, as in Closure-RL
        zero = differentiate(field, 0 * velocity)
        np.testing.assert_allclose(zero, (np.roll(field, -1, axis=1) - field) * 12, atol=1e-12)


def test_derivative_and_advection_agree():
    grid = Grid((10, 14), (1.0, 2.0), ("periodic", "outflow"))
    field, velocity, _, _ = wave(grid)
    for name in FINITE:

        @jax.jit
        def both(field, velocity, name=name):
            parts = [derivative(field, axis, grid, name, velocity=velocity[axis]) for axis in range(2)]
            total = velocity[0] * parts[0] + velocity[1] * parts[1]
            return total, advective_derivative(field, velocity, grid, name)

        # the same numbers summed in two ways
        np.testing.assert_allclose(*both(field, velocity), atol=1e-11)


@pytest.mark.parametrize("name", FINITE)
@pytest.mark.parametrize("boundary", ["periodic", "outflow"])
def test_constants_stay_constant(name, boundary):
    grid = Grid((7, 5), (1.0, 1.0), (boundary, boundary))
    _, velocity, _, _ = wave(grid, np.float32)
    field = jnp.asarray(np.full((1, 7, 5), 0.1, np.float32))
    result = jax.jit(lambda q, u: advective_derivative(q, u, grid, name) + laplacian(q, grid))
    assert not np.any(result(field, velocity))  # to the last bit


def test_outflow_repeats_the_last_point():
    grid = Grid((5,), (5.0,), ("outflow",))
    field = jnp.asarray([[1.0, 2.0, 4.0, 8.0, 16.0]])
    np.testing.assert_array_equal(derivative(field, 0, grid, "upwind1", velocity=jnp.ones(5)), [[0, 1, 2, 4, 8]])
    np.testing.assert_array_equal(derivative(field, 0, grid, "upwind1", velocity=-jnp.ones(5)), [[1, 2, 4, 8, 0]])
    np.testing.assert_array_equal(derivative(field, 0, grid, "central2"), [[0.5, 1.5, 3, 6, 4]])
    np.testing.assert_array_equal(second_derivative(field, 0, grid), [[1, 1, 2, 4, -8]])


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_order_of_laplacian(dimensions):
    errors = []
    for size in (16, 32):
        grid = Grid((size,) * dimensions, (1.0, 1.5, 0.7)[:dimensions])
        field, _, _, _ = wave(grid)
        offset = np.asarray([0.0, 2.0]).reshape(2, *[1] * dimensions)
        exact = -sum((2 * np.pi / length) ** 2 for length in grid.extent) * (np.asarray(field) - offset)
        result = jax.jit(lambda q, grid=grid: laplacian(q, grid))(field)
        errors.append(np.abs(result - exact).max())
    assert abs(math.log2(errors[0] / errors[1]) - 2) < 0.2  # as for the schemes


@pytest.mark.parametrize("size", [11, 12])
def test_spectral_derivatives_are_exact(size):
    grid = Grid((5, size, 4), (1.0, 3.0, 1.0))
    y = np.broadcast_to((np.arange(size) * 2 * np.pi / size)[:, None], grid.shape)
    first = jax.jit(lambda q: derivative(q, 1, grid, "spectral"))
    for mode in range(1, (size + 1) // 2):
        scale = 2 * np.pi * mode / 3
        # rounding of transforms, times the largest wavenumber
        expected = scale * np.cos(mode * y + 0.3)
        np.testing.assert_allclose(first(jnp.asarray(np.sin(mode * y + 0.3)[None]))[0], expected, atol=1e-12)
    if size % 2 == 0:  # the Nyquist wave has no first derivative
        np.testing.assert_allclose(first(jnp.asarray(np.cos(size / 2 * y)[None])), 0, atol=1e-12)


def test_padding():
    field = jnp.asarray([[1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(pad(field, 2, "periodic", 0), [[2, 3, 1, 2, 3, 1, 2]])
    np.testing.assert_array_equal(pad(field, 2, "outflow", 0), [[1, 1, 1, 2, 3, 3, 3]])
    np.testing.assert_array_equal(pad(field, 4, "periodic", 0), [[3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]])
    both = pad_all(jnp.ones((2, 3, 4)), 1, ("periodic", "outflow"))
    assert both.shape == (2, 5, 6)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_restrictions(ratio, dimensions):
    fine = Grid((12, 18, 6)[:dimensions])
    coarse = fine.coarsen(ratio)
    field = np.random.default_rng(1).random((2, *fine.shape))
    field[1] = 3.0
    means = field.reshape(2, -1).mean(1)
    for restrict in (subsample, block_mean):
        result = np.asarray(jax.jit(lambda q, restrict=restrict: restrict(q, ratio))(jnp.asarray(field)))
        assert result.shape == (2, *coarse.shape)
        np.testing.assert_allclose(result[1], 3.0, rtol=1e-14)  # constants stay, but for rounding
        if restrict is subsample:
            np.testing.assert_array_equal(result, field[(slice(None), *[slice(None, None, ratio)] * dimensions)])
        else:
            np.testing.assert_allclose(result.reshape(2, -1).mean(1), means, rtol=1e-14)  # rounding


def test_block_mean_is_the_published_filter():
    """For odd ratios: the mean filter of Closure-RL's Burgers problem, at the middle of each block."""
    field = jnp.asarray(np.random.default_rng(2).random((1, 15, 10)))
    filtered = sum(np.roll(field, (i, j), (1, 2)) for i in range(-2, 3) for j in range(-2, 3)) / 25
    np.testing.assert_allclose(block_mean(field, 5), filtered[:, 2::5, 2::5], rtol=1e-14)  # rounding


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_preserved(dtype):
    grid = Grid((8, 6))
    field, velocity, _, _ = wave(grid, dtype)
    assert field.dtype == velocity.dtype == dtype

    def everything(field, velocity):
        yield from (advective_derivative(field, velocity, grid, name) for name in SCHEMES)
        yield from (derivative(field, 1, grid, name, velocity=velocity[1]) for name in SCHEMES)
        yield laplacian(field, grid)
        yield from (restrict(field, 2) for restrict in (subsample, block_mean))
        yield pad(field, 1, "outflow", 1)

    results = jax.eval_shape(lambda q, u: list(everything(q, u)), field, velocity)
    assert {result.dtype for result in results} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("boundary", ["periodic", "outflow"])
@pytest.mark.parametrize("name", SCHEMES)
def test_gradients_against_finite_differences(name, boundary):
    if name == "spectral" and boundary == "outflow":
        pytest.skip("spectral derivatives are for periodic axes")
    grid = Grid((9, 8), (1.0, 1.0), (boundary, boundary))
    generator = np.random.default_rng(3)
    field, weight = (jnp.asarray(generator.random((2, 9, 8))) for _ in range(2))
    # away from zero, where |u| has a corner
    velocity = jnp.asarray(generator.choice([-1.0, 1.0], (2, 9, 8)) * generator.uniform(0.5, 1, (2, 9, 8)))

    @jax.jit
    def value(field, velocity):
        return jnp.sum(weight * advective_derivative(field, velocity, grid, name) ** 2)

    directions = (
        jnp.asarray(generator.standard_normal((2, 9, 8))),
        jnp.asarray(generator.standard_normal((2, 9, 8))),
    )
    gradients = jax.jit(jax.grad(value, (0, 1)))(field, velocity)
    for argument, (gradient, direction) in enumerate(zip(gradients, directions, strict=True)):
        step, shifted = 1e-6, []
        for sign in (1, -1):
            arguments = [field, velocity]
            arguments[argument] = arguments[argument] + sign * step * direction
            shifted.append(value(*arguments))
        # centred differences of a quadratic: exact but for rounding, 1e-16 / 1e-6
        expected = (shifted[0] - shifted[1]) / (2 * step)
        np.testing.assert_allclose(jnp.sum(gradient * direction), expected, rtol=1e-6)


def test_gradient_at_rest_is_finite():
    grid = Grid((8,))
    gradient = jax.jit(jax.grad(lambda u: jnp.sum(advective_derivative(u, u, grid, "upwind5"))))
    assert np.all(np.isfinite(gradient(jnp.zeros((1, 8)))))


def test_vmap_adds_the_batch():
    grid = Grid((8, 8))
    field, velocity, _, _ = wave(grid)
    batch = jnp.stack([field, 2 * field])
    result = jax.jit(jax.vmap(lambda q: advective_derivative(q, velocity, grid, "upwind3")))(batch)
    # doubling is exact in binary arithmetic; fused sums may round differently
    np.testing.assert_allclose(result[1], 2 * result[0], rtol=1e-12, atol=1e-12)


def test_errors_say_what_to_do():
    grid, open_grid = Grid((8,)), Grid((8,), (1.0,), ("outflow",))
    field, velocity = jnp.zeros((1, 8)), jnp.ones((1, 8))
    with pytest.raises(ValueError, match=r"unknown scheme 'weno'.*upwind1, .*central4, spectral"):
        get_scheme("weno")
    with pytest.raises(ValueError, match="pass velocity="):
        derivative(field, 0, grid, "upwind1")
    with pytest.raises(ValueError, match=r"axis from 0 \(x\) to 0; got 1"):
        derivative(field, 1, grid, "central2")
    with pytest.raises(ValueError, match="need a periodic axis"):
        advective_derivative(field, velocity, open_grid, "spectral")
    with pytest.raises(ValueError, match=r"expected a field of shape \(component, 9\)"):
        laplacian(field, Grid((9,)))
    with pytest.raises(ValueError, match="float64; got float32"):
        advective_derivative(field, velocity.astype(jnp.float32), grid, "upwind1")
    with pytest.raises(ValueError, match=r"per axis, shape \(1, 8\); got \(2, 8\)"):
        advective_derivative(field, jnp.ones((2, 8)), grid, "upwind1")
    with pytest.raises(ValueError, match="claims order 2"):
        Scheme("wrong", 2, ((-1, -1.0), (0, 1.0)))
    with pytest.raises(ValueError, match=r"divides every size of \(8,\); got 3"):
        block_mean(field, 3)
    with pytest.raises(ValueError, match="ghost points >= 0"):
        pad(field, -1, "periodic", 0)
    with pytest.raises(ValueError, match="one per axis"):
        pad_all(field, 1, ("periodic", "periodic"))
