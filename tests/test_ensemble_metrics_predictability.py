"""Times for which predictions hold, and Lyapunov exponents of maps and flows whose exponents are known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.metrics.ensembles import (
    correlation_time,
    leading_exponent,
    relative_l2_series,
    valid_prediction_time,
    vorticity_correlation,
)
from closura.reproductions.scale_separation_scores import prediction_limit_error


def test_valid_time_is_that_of_the_first_frame_above():
    error = np.array([0.0, 0.2, 0.5, 0.6, 0.3, 0.9])
    valid = valid_prediction_time(error, 0.12, lyapunov_exponent=0.088)
    assert valid.time == pytest.approx(0.36)
    assert not valid.censored
    assert valid.lyapunov_times == pytest.approx(0.36 * 0.088)
    assert valid_prediction_time(error, 0.12, threshold=0.1, start=0.12).time == pytest.approx(0.24)
    ended = valid_prediction_time(error, 0.12, threshold=1.0)
    assert ended.time == pytest.approx(0.6)
    assert ended.censored
    assert ended.lyapunov_times is None
    assert valid_prediction_time(np.array([0.1, np.nan, 0.1]), 1.0).time == 1.0  # what diverged is no longer valid
    assert valid_prediction_time(np.array([0.7, 0.1]), 1.0).time == 0.0


def test_correlation_time_is_interpolated():
    correlation = np.array([1.0, 0.97, 0.93, 0.7, 0.9, 0.1])
    assert correlation_time(correlation, 0.5).time == pytest.approx(0.5 * (2 + 0.13 / 0.23))
    assert correlation_time(correlation, 0.5, threshold=0.95).time == pytest.approx(0.5 * 1.5)
    scaled = correlation_time(correlation, 0.5, threshold=0.95, start=0.5, lyapunov_exponent=2.0)
    assert scaled.time == pytest.approx(1.25)
    assert scaled.lyapunov_times == pytest.approx(2.5)
    never = correlation_time(correlation[:3], 0.5)
    assert never.time == 1.0
    assert never.censored
    first = correlation_time(correlation[3:], 0.5)
    assert first.time == 0.0
    assert not first.censored
    assert correlation_time(np.array([1.0, 0.9, np.nan]), 1.0).time == 1.0
    assert correlation_time(np.array([1.0, 0.8, 0.8]), 1.0).censored  # at the threshold is not below it


def test_errors_and_correlations_of_fields():
    generator = np.random.default_rng(0)
    reference = generator.standard_normal((4, 2, 8, 8))
    reference -= reference.mean(axis=(-2, -1), keepdims=True)
    rest = generator.standard_normal(reference.shape)
    rest -= rest.mean(axis=(-2, -1), keepdims=True)
    axes = (-3, -2, -1)
    rest -= reference * (rest * reference).sum(axes, keepdims=True) / (reference**2).sum(axes, keepdims=True)
    rest *= np.sqrt((reference**2).sum(axes, keepdims=True) / (rest**2).sum(axes, keepdims=True))
    prediction = np.stack([reference + 0.75 * rest, -2 * reference])
    np.testing.assert_allclose(relative_l2_series(prediction, reference), [[0.75] * 4, [3.0] * 4], rtol=1e-12)
    np.testing.assert_allclose(vorticity_correlation(3 * reference + 1, reference), 1.0, rtol=1e-12)
    x = 2 * np.pi * np.arange(16) / 16
    waves = np.zeros((1, 2, 16, 16))
    waves[0, 1] = np.cos(x)[:, None]
    shifted = np.zeros_like(waves)
    shifted[0, 1] = np.cos(x - 1)[:, None]
    assert vorticity_correlation(shifted, waves)[0] == pytest.approx(math.cos(1), rel=1e-12)


def test_published_limit():
    reference = np.ones((5, 1, 2, 2))
    error = prediction_limit_error(reference * np.array([1, 1.2, 1.4, 1.6, 1.8])[:, None, None, None], reference)
    assert valid_prediction_time(error, 0.24).time == pytest.approx(0.72)


def logistic(state):
    return 4 * state * (1 - state)


def test_exponent_of_the_logistic_map_is_log_two():
    result = leading_exponent(logistic, np.array([0.3]), time_step=1.0, steps=5, renormalisations=4000)
    # The growth per block scatters; the estimate comes with its error, 0.3 % here.
    assert abs(result.exponent - math.log(2)) < 4 * result.standard_error < 0.02
    assert result.time == 20_000


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_exponent_of_a_linear_map_is_that_of_its_largest_eigenvalue(complex_numbers):
    matrix = np.array([[1.1, 0.3], [0.0, 0.7]]) * (1j if complex_numbers else 1)
    start = np.array([0.0, 1e-3], matrix.dtype)
    result = leading_exponent(
        lambda state: matrix @ state, start, time_step=0.5, steps=3, renormalisations=5, discard=40, separation=1.0
    )
    # After 120 steps the smaller part is (0.7 / 1.1)^120 = 1e-24 of the larger.
    assert result.exponent == pytest.approx(math.log(1.1) / 0.5, rel=1e-12)
    assert result.standard_error < 1e-12


def lorenz(dtype):
    def tendency(s):
        return jnp.stack([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - dtype(8 / 3) * s[2]])

    def step(s, _):
        h = dtype(0.01)
        k1 = tendency(s)
        k2 = tendency(s + h / 2 * k1)
        k3 = tendency(s + h / 2 * k2)
        return s + h / 6 * (k1 + 2 * k2 + 2 * k3 + tendency(s + h * k3)), None

    return jax.jit(lambda s: jax.lax.scan(step, s, length=50)[0])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exponent_of_lorenz(dtype):
    step = lorenz(dtype)
    state = jnp.asarray([1.0, 1.0, 20.0], dtype)
    for _ in range(40):
        state = step(state)
    result = leading_exponent(step, state, time_step=0.5, steps=1, renormalisations=2000)
    # 0.9056 (Sprott, Chaos and Time-Series Analysis, 2003); 1000 time units leave 1 to 2 %.
    assert result.exponent == pytest.approx(0.9056, abs=0.04)
    assert step(state).dtype == dtype


def test_misuse_is_told():
    with pytest.raises(ValueError, match="positive exponent"):
        valid_prediction_time(np.ones(3), 0.1, lyapunov_exponent=0.0)
    with pytest.raises(ValueError, match="time step must be positive"):
        correlation_time(np.ones(3), 0.0)
    with pytest.raises(ValueError, match=r"shape \(time,\)"):
        valid_prediction_time(np.ones((3, 2)), 0.1)
    with pytest.raises(ValueError, match="each prediction and reference need the same shape"):
        relative_l2_series(np.zeros((3, 2, 4, 4)), np.zeros((4, 2, 4, 4)))
    with pytest.raises(ValueError, match="diverged or became equal"):
        leading_exponent(lambda s: 0 * s, np.ones(2), time_step=1.0, steps=1, renormalisations=2)
    with pytest.raises(ValueError, match="must be positive"):
        leading_exponent(logistic, np.ones(2), time_step=1.0, steps=0, renormalisations=2)
