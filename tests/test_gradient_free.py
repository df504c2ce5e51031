"""Learners that take no gradient of the solver: ensemble Kalman inversion, and fits to residuals of one step."""

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from waves import GRID, TRUE, Wave, wave

from closura import Problem
from closura.learners.eki import EKI, EKIConfiguration, kalman, spread_out
from closura.learners.supervised import Supervised, SupervisedConfiguration, check_corrects
from closura.problems import BurgersConfiguration, burgers


class Cubic(eqx.Module):
    """A closure of two parameters."""

    weights: jax.Array

    def __call__(self, seen):
        return self.weights[0] * seen + self.weights[1] * seen**3


def trained(learner: Any, problem: Problem, updates: int) -> tuple[Any, dict[str, float]]:
    state = learner.init(problem, Cubic(jnp.zeros(2)), key=jax.random.key(1))
    state, metrics = learner.advance(problem, state, jnp.asarray(updates, jnp.int32), 0)
    return state, {name: float(value) for name, value in metrics.items()}


def linear(seed: int, members: int, weights: int, observations: int) -> tuple[np.ndarray, ...]:
    """A linear map, data in units of their noise, a prior mean and an ensemble (float64)."""
    generator = np.random.default_rng(seed)
    A = generator.normal(size=(observations, weights))
    return (
        A,
        generator.normal(size=observations),
        generator.normal(size=weights),
        generator.normal(size=(members, weights)),
    )


@pytest.mark.parametrize("regularisation", [0.0, 4.0])
def test_a_step_is_that_of_the_kalman_filter(regularisation: float) -> None:
    """Mean and covariance after a step of size h, by the textbook's formulas with dense covariances."""
    A, y, prior, ensemble = linear(0, 9, 4, 7)
    c = EKIConfiguration(step=0.5, regularisation=regularisation, spread=0.3)
    whole, count = jnp.ones(9, bool), jnp.asarray(7.0)
    moved, step = kalman(jnp.asarray(ensemble), jnp.asarray(ensemble @ A.T - y), whole, jnp.asarray(prior), count, c,
                         key=jax.random.key(0))  # fmt: skip
    assert float(step) == 0.5
    H, z = A, y
    if regularisation:
        H, z = np.vstack([A, np.eye(4) * 2 / 0.3]), np.concatenate([y, prior * 2 / 0.3])
    C = np.cov(ensemble.T)
    K = C @ H.T @ np.linalg.inv(H @ C @ H.T + np.eye(len(z)) / 0.5)
    mean = ensemble.mean(axis=0)
    np.testing.assert_allclose(np.mean(moved, axis=0), mean + K @ (z - H @ mean), rtol=1e-9)
    np.testing.assert_allclose(np.cov(np.asarray(moved).T), (np.eye(4) - K @ H) @ C, rtol=1e-8, atol=1e-10)


def test_perturbed_observations_move_each_member_by_its_own_draw() -> None:
    A, y, prior, ensemble = linear(1, 8, 3, 5)
    c, key = EKIConfiguration(step=0.25, form="perturbed"), jax.random.key(2)
    moved, _ = kalman(jnp.asarray(ensemble), jnp.asarray(ensemble @ A.T - y), jnp.ones(8, bool), jnp.asarray(prior),
                      jnp.asarray(5.0), c, key=key)  # fmt: skip
    C = np.cov(ensemble.T)
    K = C @ A.T @ np.linalg.inv(A @ C @ A.T + np.eye(5) / 0.25)
    drawn = np.asarray(jax.random.normal(key, (8, 5), jnp.float64)) / np.sqrt(0.25)
    np.testing.assert_allclose(moved, ensemble + (y + drawn - ensemble @ A.T) @ K.T, rtol=1e-8)


@pytest.mark.parametrize("regularisation", [0.0, 10.0])
def test_many_adaptive_steps_solve_least_squares(regularisation: float) -> None:
    """A member fails in each of the first steps, and is drawn anew."""
    A, y, prior, ensemble = linear(3, 12, 5, 20)
    c = EKIConfiguration(members=12, regularisation=regularisation, spread=1.0, jitter=0.1)
    found, noise = jnp.asarray(ensemble), 0.1
    for k in range(60):
        one, two = jax.random.split(jax.random.key(k))
        whole = (jnp.arange(12) != k) | (k >= 12)
        misfits = jnp.where(whole[:, None], (found @ A.T - y) / noise, 0)
        moved, _ = kalman(found, misfits, whole, jnp.asarray(prior), jnp.asarray(20.0), c, key=one)
        assert np.isfinite(moved).all()
        found = spread_out(moved, whole, c, key=two)
    ridge = regularisation * noise**2
    expected = np.linalg.solve(A.T @ A + ridge * np.eye(5), A.T @ y + ridge * prior)
    # Jitter and draws leave the mean where it is: the steps end at the solution, here by a fifth of the way each.
    np.testing.assert_allclose(np.mean(found, axis=0), expected, atol=1e-3)


@pytest.mark.parametrize("outside", [False, True])
def test_two_parameters_are_recovered(outside: bool) -> None:
    """Also where the solver is a function of NumPy, which has no derivative."""
    learner = EKI(EKIConfiguration(members=8, batch=4, horizon=4, spread=0.05, noise=1e-3, jitter=0.01, average=0.8))
    state, metrics = trained(learner, wave(outside=outside), 40)
    # The closure can be exact; the ensemble's spread, about the jitter of 5e-4, is what is left.
    np.testing.assert_allclose(state.closure.weights, TRUE, atol=5e-4)
    assert metrics["left_out"] == 0
    assert state.transitions == 40 * 8 * 4 * 4


def test_statistics_alone_recover_them() -> None:
    """No field is compared with a field: spectrum and moments of a batch say how much is lost."""
    c = EKIConfiguration(
        members=8, batch=4, horizon=4, spread=0.05, noise=1e-3, jitter=0.01, average=0.8,
        statistics=("spectrum", "moments"),
    )  # fmt: skip
    state, _ = trained(EKI(c), wave(), 60)
    np.testing.assert_allclose(state.closure.weights, TRUE, atol=2e-3)


def test_members_that_fail_are_drawn_anew_and_counted() -> None:
    """Fields above two are lost: so are members that add too much, and the others learn."""
    c = EKIConfiguration(members=16, batch=4, horizon=6, spread=0.3, noise=1e-2, jitter=0.02)
    state, metrics = trained(EKI(c), wave(breaks_at=2.0), 1)
    assert 0 < metrics["redrawn"] < 0.9
    assert 0 < metrics["left_out"] < 1
    assert np.isfinite(state.carry.ensemble).all()
    state, metrics = trained(EKI(c), wave(breaks_at=2.0), 30)
    np.testing.assert_allclose(state.closure.weights, TRUE, atol=0.02)
    before = EKI(c).init(wave(), Cubic(jnp.zeros(2)), key=jax.random.key(1))
    after, metrics = trained(EKI(c), wave(breaks_at=0.1), 1)
    assert metrics["left_out"] == 1
    np.testing.assert_array_equal(after.carry.ensemble, before.carry.ensemble)


def test_members_side_by_side_are_those_in_turn() -> None:
    c = EKIConfiguration(members=6, batch=2, horizon=3)
    found = [trained(EKI(replace(c, at_once=n)), wave(), 2)[0].carry.ensemble for n in (1, 4)]
    # float32; batches of another size sum in another order.
    np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize("outside", [False, True])
def test_a_missing_linear_term_is_fitted_to_first_order_in_the_step(outside: bool) -> None:
    """Corrections enter before the step: what is missed falls with the time step, to nothing."""
    learner, off = Supervised(SupervisedConfiguration(updates=300, batch=8, learning_rate=3e-3)), []
    for dt in (0.2, 0.1) if not outside else (0.2,):
        state, metrics = trained(learner, wave(dt, missing=(0.03, 0.0), outside=outside), 300)
        off.append(abs(float(state.closure.weights @ jnp.asarray([1.0, 0.5])) / 0.03 - 1))
        assert metrics["left_out"] == 0
    assert off[0] < 0.02
    assert outside or off[1] < 0.6 * off[0]


def test_supervised_refuses_actions_that_are_no_change_of_the_state() -> None:
    with pytest.raises(ValueError, match="asks 2 times"):
        check_corrects(burgers(BurgersConfiguration(cells=10, ratio=3, orientations=2)))

    class Elsewhere(Wave):
        def corrected_step(self, state, parameters, dt, closure):
            following = self.advance(state, parameters, dt)
            return (following, state) if closure is None else (following * (1 - closure(state)), state)

    problem = wave()
    with pytest.raises(ValueError, match=r"those of .* enter its step elsewhere"):
        check_corrects(replace(problem, coarse=Elsewhere(GRID)))
    for form in ("forcing", "mean-free", "flux"):
        check_corrects(burgers(BurgersConfiguration(cells=10, ratio=3, action=form)))
