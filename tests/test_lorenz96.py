"""The two-scale Lorenz-96 system: orders, limits, published statistics, fitted parametrisations, rivals."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.io.closures import load_closure, shipped
from closura.metrics.ensembles import crps_ensemble
from closura.problems import build_problem, family, simulate_reference
from closura.problems.lorenz96.parametrisations import fit
from closura.problems.lorenz96.setup import FITTED
from closura.problems.lorenz96.solvers import Constants, OnAttractor, OneScale, TwoScale
from closura.runs.validation import ensembles

SETTINGS = family("lorenz96").settings


def states(solver, members, **times):
    keys = jax.random.split(jax.random.key(0), members)
    return jax.jit(jax.vmap(lambda key: OnAttractor(solver, **times).sample(key=key).initial))(keys)


def double(state):
    return jax.tree.map(lambda x: x.astype(jnp.float64), state)


@pytest.mark.parametrize("fast", [0, 4])
def test_both_solvers_are_of_fourth_order(fast):
    """In float64, errors at t = 0.08 of halved steps: ratios near 16 on smooth times of either scale."""
    constants = Constants(slow=8, fast=4, separation=2.0)
    state = states(TwoScale(constants, 4), 1, time=1.0)
    both = fast > 0
    solver = TwoScale(constants, 4) if both else OneScale(constants)
    begun = double(jax.tree.map(lambda x: x[0], state) if both else state[0][0])
    run = jax.jit(lambda steps: solver.march(begun, None, 0.08 / steps, steps), static_argnums=0)
    exact, *errors = (run(steps) for steps in (256, 4, 8, 16))
    differences = [float(jnp.max(jnp.abs(jax.tree.leaves(e)[0] - jax.tree.leaves(exact)[0]))) for e in errors]
    orders = np.log2(np.divide(differences[:-1], differences[1:]))
    assert np.all(np.abs(orders - 4) < 0.3), orders


def test_right_hand_sides_index_by_index():
    """The equations as they are written, with loops, from a derivative by a step of 1e-6 in float64."""
    c = Constants(slow=5, fast=3, coupling=0.7, ratio=8.0, separation=3.0, forcing=6.0)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=5), rng.normal(size=15)
    dx, dy = np.zeros(5), np.zeros(15)
    for k in range(5):
        coupling = 0.7 * 3 / 8 * sum(y[3 * k + j] for j in range(3))
        dx[k] = -x[k - 1] * (x[k - 2] - x[(k + 1) % 5]) - x[k] + 6 - coupling
    for j in range(15):
        dy[j] = -24 * y[(j + 1) % 15] * (y[(j + 2) % 15] - y[j - 1]) - 3 * y[j] + 0.7 * 3 / 8 * x[j // 3]
    solver, begun = TwoScale(c, 3), (jnp.asarray(x)[None], jnp.asarray(y))
    following = solver.advance(begun, None, 1e-6)
    np.testing.assert_allclose((following[0][0] - x) / 1e-6, dx, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((following[1] - y) / 1e-6, dy, rtol=1e-4, atol=1e-3)


def test_without_coupling_the_scales_are_apart():
    """h = 0: X is that of the slow variables alone to rounding, which a closure of zero leaves as it is."""
    c = Constants(coupling=0.0)
    both, alone = TwoScale(c, 32), OneScale(c)
    begun = jax.tree.map(lambda x: x[0], states(both, 1, time=1.0))
    x = both.march(begun, None, 0.005, 20)[0]
    np.testing.assert_allclose(x, alone.march(begun[0], None, 0.005, 20), rtol=1e-4, atol=1e-4)
    held = alone.march(begun[0], None, 0.005, 20, lambda seen: jnp.zeros_like(seen))
    np.testing.assert_array_equal(held, alone.march(begun[0], None, 0.005, 20))


def test_climate_is_in_the_published_range_and_keeps_its_budgets():
    """F = 20, h = 1, b = c = 10: X lies between -12 and 17 (the published histogram), and in the mean over time

        F <X> = <X^2> + <X U>,   F <X> = <X^2> + c sum_j <Y_j^2>,

    since advection conserves both energies and the coupling their sum. 64 runs of 3 units: sampling errors of 2 %.
    """
    constants = Constants()
    solver = TwoScale(constants, 32)

    def look(state, _):
        x, y = state
        fast = jnp.sum(jnp.square(y)) / 8
        means = jnp.stack([jnp.mean(x), jnp.mean(x**2), jnp.mean(x * solver.coupling(state)), fast])
        return solver.march(state, None, 0.005, 4), (means, jnp.stack([jnp.min(x), jnp.max(x)]))

    run = jax.jit(jax.vmap(lambda state: jax.lax.scan(look, state, None, length=150)[1]))
    means, ends = run(states(solver, 64, time=4.0))
    x, square, product, fast = np.asarray(means).mean(axis=(0, 1))
    assert square + product == pytest.approx(20 * x, rel=0.06)
    assert square + 10 * fast == pytest.approx(20 * x, rel=0.06)
    assert np.mean(np.asarray(ends)[..., 0] < -12) < 0.01
    assert np.mean(np.asarray(ends)[..., 1] > 17) < 0.01


def test_the_fitted_table_is_what_a_fit_finds():
    """Sampling error of 16 simulations of two units; the published noise: phi 0.986 at 0.005, so 0.986^4 at 0.02."""
    known = FITTED[Constants(), 0.02]
    found = fit(Constants(), 0.02, time=2.0, members=16, seed=3)
    x = np.linspace(-6, 12, 30)
    for weights, other in ((known.polynomial.weights, found.polynomial.weights),):
        np.testing.assert_allclose(np.polyval(weights[::-1], x), np.polyval(other[::-1], x), atol=1.0)
    assert found.polynomial.sigma == pytest.approx(known.polynomial.sigma, rel=0.1)
    assert found.polynomial.phi == pytest.approx(known.polynomial.phi, abs=0.05)
    assert 0.7 < known.polynomial.phi < 0.986**4


def test_the_problem_and_its_rivals():
    """Shortly after the beginning polynomials beat no closure, and both scales with longer steps beat those."""
    problem = build_problem(SETTINGS(), "train")
    stored = simulate_reference(problem, 12, 10, key=jax.random.key(0))

    def error(states):
        return float(jnp.sqrt(jnp.mean(jnp.square(states - stored.reference[:, -1]))))

    def run(solver):
        begun = jax.vmap(lambda s, k: solver.begun(solver.adopt(s, problem.coarse), None, key=k))
        found = begun(stored.state, jax.random.split(jax.random.key(1), 12))
        ended = jax.vmap(lambda s: problem.coarse.adopt(solver.march(s, None, 0.02, 10), solver))(found)
        return error(ended)

    errors = {name: run(solver) for name, solver in {"none": problem.coarse, **problem.baselines}.items()}
    assert max(errors[name] for name in problem.baselines) < 0.5 * errors["none"], errors
    assert set(problem.baselines) == {"polynomial", "polynomial-ar1", "arx"}
    assert {name: each.substeps for name, each in problem.finer.items()} == {
        "both, long steps": 2, "both, slowed by 4": 1, "both, 8 fast": 2,
    }  # fmt: skip
    with pytest.raises(ValueError, match="must divide step"):
        SETTINGS(step=0.0215)
    with pytest.raises(ValueError, match="at least 4"):
        SETTINGS(slow=3)


def test_the_closure_of_the_package_is_ahead_of_red_noise():
    """24 held-out simulations at t = 0.5, 10 members: fair CRPS 0.75 of polynomial and red noise in 48 others."""
    problem = build_problem(SETTINGS(), "test")
    closure = load_closure(shipped("lorenz96"), problem.spec)
    assert shipped("lorenz96").stat().st_size < 20_000
    stored = simulate_reference(problem, 24, 25, key=jax.random.key(11))
    rival = problem.baselines["polynomial-ar1"].closure

    def crps(solver, closure):
        states = ensembles(replace(problem, coarse=solver), closure, stored)
        return np.mean(crps_ensemble(np.moveaxis(np.asarray(states[:, -1]), 1, 0), np.asarray(stored.reference[:, -1])))

    found = [crps(problem.coarse, closure), crps(OneScale(Constants(), "stage"), rival)]
    assert found[0] < 0.9 * found[1], found


def test_more_simulations_than_run_side_by_side():
    """Parts of 33 simulations, one more than fit a batch: all are there, and none twice."""
    problem = build_problem(SETTINGS(reference_step=0.01), "train")
    stored = simulate_reference(problem, 33, 1, key=jax.random.key(0), parts=1)
    assert len(np.unique(np.asarray(stored.state)[:, 0, 0])) == 33
    assert stored.quantities.shape == (33, 0)
