"""Integrators and the limits of the time step."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.grids import Grid
from closura.numerics import (
    INTEGRATORS,
    SCHEMES,
    Integrator,
    advective_derivative,
    check_time_step,
    courant_limit,
    courant_number,
    get_integrator,
)


def march(integrator, rhs, state, dt, steps):
    integrator = get_integrator(integrator)
    return jax.lax.scan(lambda q, _: (integrator.step(rhs, q, dt), None), state, None, length=steps)[0]


@pytest.mark.parametrize("name", INTEGRATORS)
def test_order_of_integrators(name):
    """A non-linear, coupled system on a pytree: dx/dt = x y, dy/dt = -y^2; y = 1 / (1 + t), x = 1 + t."""

    def rhs(state):
        return {"x": state["x"] * state["y"], "y": -(state["y"] ** 2)}

    errors = []
    for steps in (20, 40):
        start = {"x": jnp.ones((2,), jnp.float64), "y": jnp.ones((2,), jnp.float64)}
        end = march(name, rhs, start, 1.0 / steps, steps)
        errors.append(max(abs(float(end["x"][0]) - 2), abs(float(end["y"][0]) - 0.5)))
    # dt = 0.05: the next term of the error is about 5 % of the first
    assert abs(math.log2(errors[0] / errors[1]) - get_integrator(name).order) < 0.15


@pytest.mark.parametrize("name", INTEGRATORS)
def test_step_follows_the_tableau(name):
    """The scan over columns against the textbook sum over rows, and against the stability polynomial."""
    integrator = get_integrator(name)
    q, dt, rhs = jnp.asarray([0.3, -1.2]), 0.4, lambda q: jnp.sin(q) - q**2
    slopes = []
    for row in integrator.tableau:
        stage = q + dt * sum((weight * k for weight, k in zip(row, slopes, strict=True)), jnp.zeros(2))
        slopes.append(rhs(stage))
    np.testing.assert_allclose(integrator.step(rhs, q, dt), stage, rtol=1e-14)  # rounding
    assert integrator.stages == len(slopes) - 1
    growth = integrator.step(lambda q: -1.5 * q, jnp.ones(1), dt)[0]
    expected = sum(c * (-1.5 * dt) ** power for power, c in enumerate(integrator.stability_polynomial))
    np.testing.assert_allclose(growth, expected, rtol=1e-14)  # rounding
    # the polynomial agrees with exp(z) up to the order
    taylor = [1 / math.factorial(power) for power in range(integrator.order + 1)]
    np.testing.assert_allclose(integrator.stability_polynomial[: integrator.order + 1], taylor, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", INTEGRATORS)
def test_dtype_of_the_state_wins(name, dtype):
    step = get_integrator(name).step
    state = (jnp.ones((3,), dtype), jnp.zeros((2, 2), dtype))
    for dt in (0.1, np.float64(0.1), jnp.asarray(0.1, jnp.float64), jnp.asarray(0.1, jnp.float32)):
        result = jax.eval_shape(lambda state, dt=dt: step(lambda q: q, state, dt), state)
        assert [leaf.dtype for leaf in result] == [dtype, dtype]


@pytest.mark.parametrize("name", INTEGRATORS)
def test_gradient_through_steps(name):
    """dx/dt = a x: the gradient of x(n dt) with respect to a is known from the stability polynomial."""
    integrator = get_integrator(name)

    def end(rate):
        return march(integrator, lambda q: rate * q, jnp.ones(()), 0.1, 10)

    polynomial = np.polynomial.Polynomial(integrator.stability_polynomial)
    expected = 10 * polynomial(0.1 * 0.7) ** 9 * polynomial.deriv()(0.1 * 0.7) * 0.1
    np.testing.assert_allclose(jax.grad(end)(jnp.asarray(0.7)), expected, rtol=1e-12)  # rounding of 10 steps
    np.testing.assert_allclose(jax.jvp(end, (0.7,), (1.0,))[1], expected, rtol=1e-12)


def test_integrator_errors():
    with pytest.raises(ValueError, match=r"unknown integrator 'rk5'; valid: forward-euler, .*rk4"):
        get_integrator("rk5")
    with pytest.raises(ValueError, match=r"rows of 0, 1, 2"):
        Integrator("implicit", 2, ((0.5,), (1.0,)))
    with pytest.raises(ValueError, match="do not add up to 1"):
        Integrator("short", 1, ((), (0.5,)))
    step = get_integrator("rk4").step
    with pytest.raises(ValueError, match="one dtype; got float32, float64"):
        step(lambda q: q, (jnp.ones(1, jnp.float32), jnp.ones(1, jnp.float64)), 0.1)
    for name in INTEGRATORS:
        with pytest.raises(ValueError, match="must return what it takes"):
            get_integrator(name).step(lambda q: q.astype(jnp.float64), jnp.ones(1, jnp.float32), 0.1)


@pytest.mark.parametrize(
    ("scheme", "integrator", "expected"),
    [
        ("upwind1", "forward-euler", 1.0),  # the classical condition
        ("upwind1", "ssp-rk2", 1.0),
        ("upwind1", "rk4", 2.7852935634 / 2),  # the real stability interval of RK4, halved
        ("upwind1", "ssp-rk3", 2.5127453266 / 2),  # the same for RK3
        ("upwind2", "ssp-rk2", 0.5),
        ("central2", "rk4", 2 * math.sqrt(2)),  # the imaginary interval of RK4
        ("central2", "ssp-rk3", math.sqrt(3)),
        ("spectral", "rk4", 2 * math.sqrt(2) / math.pi),
        ("central2", "forward-euler", 0.0),
        ("spectral", "forward-euler", 0.0),
        ("upwind3", "forward-euler", 0.0),
        ("upwind5", "forward-euler", 0.0),
        ("central4", "ssp-rk2", 0.0),
        ("upwind5", "ssp-rk2", 0.0),
    ],
)
def test_known_limits(scheme, integrator, expected):
    # sampling of the symbol: 4096 angles, an error of about (pi / 2048)^2
    assert courant_limit(scheme, integrator) == pytest.approx(expected, abs=1e-5)


def growth(scheme, integrator, velocity, grid):
    """A function of dt: the largest amplification of a wave in one step, seen in a unit impulse."""
    impulse = np.zeros((1, *grid.shape))
    impulse[(0,) * impulse.ndim] = 1  # all waves in equal parts
    step = get_integrator(integrator).step

    @jax.jit
    def after(dt):
        return step(lambda q: -advective_derivative(q, velocity, grid, scheme), jnp.asarray(impulse), dt)

    return lambda dt: float(np.abs(np.fft.fftn(np.asarray(after(dt)[0]))).max())


@pytest.mark.parametrize("integrator", INTEGRATORS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_limits_by_one_step(scheme, integrator):
    """No wave grows 2 % below the limit, some wave grows 2 % above it."""
    limit = courant_limit(scheme, integrator)
    grid = Grid((128,), (128.0,))
    largest = growth(scheme, integrator, jnp.asarray(np.full((1, 128), -1.0)), grid)
    rounding = 1e-13  # of amplification factors near 1 after a transform of 128 numbers
    if limit > 0:
        assert largest(0.98 * limit) <= 1 + rounding
        assert largest(1.02 * limit) > 1 + 10 * rounding
    else:
        for dt in (0.2, 0.5, 1.0):
            assert largest(dt) > 1 + 10 * rounding


@pytest.mark.parametrize("scheme", SCHEMES)
def test_limit_is_on_the_sum_over_axes(scheme):
    limit = courant_limit(scheme, "rk4")
    grid = Grid((48, 48), (48.0, 96.0))
    velocity = jnp.asarray(np.stack([np.full((48, 48), 0.6), np.full((48, 48), -0.8)]))
    largest = growth(scheme, "rk4", velocity, grid)
    assert courant_number(velocity, grid, 0.5) == pytest.approx(0.5)  # (0.6 / 1 + 0.8 / 2) dt
    assert largest(0.98 * limit) <= 1 + 1e-13  # rounding, as above
    # 5 %: the worst angle need not be one of 48 (the spectral scheme's largest is 23 / 24 of pi)
    assert largest(1.05 * limit) > 1 + 1e-12


def test_noise_stays_bounded_below_the_limit_and_grows_above():
    """The same over a thousand steps, for the scheme that others are compared with."""
    grid, limit = Grid((128,), (128.0,)), courant_limit("upwind5", "rk4")
    velocity = jnp.ones((1, 128))
    noise = jnp.asarray(np.random.default_rng(0).standard_normal((1, 128)))

    @jax.jit
    def final(dt):
        return jnp.linalg.norm(
            march("rk4", lambda q: -advective_derivative(q, velocity, grid, "upwind5"), noise, dt, 1000)
        )

    start = float(jnp.linalg.norm(noise))
    # the operator is normal: its norm is the largest amplification, at most 1 but for rounding
    assert float(final(0.99 * limit)) <= start * (1 + 1e-10)
    assert float(final(1.01 * limit)) > 10 * start


def test_check_time_step():
    """The published problem: dt = 0.25 dx, speeds up to 1 along both axes, so at most 0.5."""
    grid = Grid((64, 64))
    velocity = np.ones((2, 64, 64), np.float32)
    assert check_time_step(velocity, grid, 0.25 / 64, "upwind1", "forward-euler") == pytest.approx(0.5)
    assert check_time_step(jnp.asarray(velocity), grid, 0.5 / 64, "upwind1", "forward-euler") == pytest.approx(1.0)
    assert check_time_step(0 * velocity, grid, 1.0, "central2", "forward-euler") == 0.0
    # the paper's table asks for dt = 0.9 dx: unstable; the largest stable one is 0.5 dx
    with pytest.raises(ValueError, match=r"Courant number 1\.8 .*limit 1; the largest stable dt is 0\.0078125"):
        check_time_step(velocity, grid, 0.9 / 64, "upwind1", "forward-euler")
    with pytest.raises(ValueError, match="unstable at every time step"):
        check_time_step(velocity, grid, 0.1 / 64, "central2", "forward-euler")
    with pytest.raises(ValueError, match="not finite"):
        check_time_step(velocity * np.nan, grid, 0.1 / 64, "central2", "rk4")
    with pytest.raises(ValueError, match="unknown scheme"):
        courant_limit("weno", "rk4")
    with pytest.raises(ValueError, match="expected a velocity of shape"):
        courant_number(velocity[:1], grid, 0.1)
