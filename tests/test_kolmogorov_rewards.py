"""Rewards of the flow: by the error against the reference, and by the energy spectrum alone."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.grids import Grid
from closura.metrics.ensembles.flow_statistics import energy_spectrum
from closura.problems import KolmogorovConfiguration, Transition, build_problem, reference_identity
from closura.problems.kolmogorov.rewards import (
    ENERGIES,
    NextErrorReduction,
    SpectrumGain,
    without_correction,
)
from closura.problems.statistics import Statistics, shells_of

N = 12
GRID = Grid((N, N), (2 * math.pi, 2 * math.pi))
TINY = KolmogorovConfiguration(
    cells=8, fine_cells=16, reynolds=15.0, forcing=2, finer=(), pool=4, chains=1, transient=4.0, spacing=2.0,
    settle=0.6, spin_cells=12,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("CLOSURA_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def waves(amplitudes):
    """u = sum of a cos(k_x x + k_y y), v = 0: each wave with energy a^2 / 4."""
    x, y = np.meshgrid(*[2 * np.pi * np.arange(N) / N] * 2, indexing="ij")
    u = sum(a * np.cos(kx * x + ky * y) for (kx, ky), a in amplitudes.items())
    return jnp.asarray(np.stack([u, np.zeros((N, N))]))


def transition(before, change, reference=None):
    """A step that would have led to ``before`` and was corrected by ``change``; the state before it is anything."""
    state = jax.random.normal(jax.random.key(9), before.shape, before.dtype)
    after = before + change
    return Transition(state, state + change, after, state, after if reference is None else reference, jnp.zeros(0))


def energies(field):
    return ENERGIES.of(field, GRID)


def gain(reference, band=0.0, weights=1.0, shared=False):
    """The reward of shells with these mean energies in true flow."""
    return SpectrumGain(Statistics((ENERGIES,), GRID, weights, band), jnp.log(reference), shared)


def distance(field, reference, band=0.0):
    deviation = np.log(np.asarray(energies(field) / reference))
    outside = np.sign(deviation) * np.maximum(np.abs(deviation) - band, 0)
    return float(np.mean(outside**2))


def noise(seed, size, dtype=jnp.float64):
    return size * jax.random.normal(jax.random.key(seed), (2, N, N), dtype)


def test_shells_are_those_of_the_evaluation():
    field = noise(0, 1.0)
    spectrum = jnp.fft.rfft2(field) * jnp.asarray(shells_of((N, N), GRID.extent) > 0)
    mine = np.asarray(energies(jnp.fft.irfft2(spectrum, s=(N, N))))
    theirs = energy_spectrum(np.asarray(jnp.fft.irfft2(spectrum, s=(N, N))))
    # Waves up to 5 along either axis: |k| up to 7.07, so seven shells.
    assert mine.shape == (7,)
    np.testing.assert_allclose(mine, theirs[1:8], rtol=1e-12)


def test_reward_of_a_constructed_case_by_hand():
    """A wave per shell, one of which the correction halves: E_3 falls from 1/4 to 1/16, and its reference is 1/16."""
    one_each = {(0, 1): 2.0, (0, 2): 1.0, (0, 3): 1.0, (0, 4): 1.0, (0, 5): 1.0, (4, 5): 1.0, (5, 5): 1.0}
    before, change = waves(one_each), waves({(0, 3): -0.5})
    shells = np.asarray(energies(before))
    np.testing.assert_allclose(shells, [1.0, *[0.25] * 6], rtol=1e-12)
    reference = jnp.asarray(np.where(np.arange(7) == 2, 1 / 16, shells))
    paid = transition(before, change)
    total = math.log(4) ** 2 / 7  # over seven shells
    shared = gain(reference, shared=True)(paid)
    # float64; 1e-12 of the energy is added before each logarithm.
    np.testing.assert_allclose(np.asarray(shared), total, rtol=1e-9)
    divided = np.asarray(gain(reference)(paid))
    # Only the third shell is away from its reference: cells are paid as cos^2(3 y), of mean 1/2. Two points of Gauss
    # find the gain of so large a change to 0.6 %, and the rest is the same everywhere.
    y = 2 * np.pi * np.arange(N) / N
    expected = 2 * total * np.broadcast_to(np.cos(3 * y) ** 2, (N, N))
    np.testing.assert_allclose(divided, expected, atol=0.01 * total)
    assert float(np.mean(divided)) == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("band", [0.0, 0.4])
@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0])
def test_cells_share_exactly_what_the_distance_falls_by(size, band):
    before, change = noise(1, 1.0), noise(2, size)
    reference = energies(noise(3, 1.0))
    paid = transition(before, change)
    total = distance(before, reference, band) - distance(before + change, reference, band)
    divided = gain(reference, band)(paid)
    # float64. The gain itself is a difference of numbers of order 0.1: 1e-16 of that is left of 1e-6.
    assert float(jnp.mean(divided)) == pytest.approx(total, rel=1e-7, abs=1e-14)
    assert float(gain(reference, band, shared=True)(paid)[3, 4]) == pytest.approx(total, rel=1e-7, abs=1e-14)


def test_taking_surplus_energy_out_is_paid_and_putting_more_in_costs():
    reference = noise(4, 1.0)
    shells = energies(reference)
    spectrum = jnp.fft.rfft2(reference)
    high = shells_of((N, N), GRID.extent) >= 5
    surplus = jnp.fft.irfft2(spectrum * high, s=(N, N))
    before = reference + 0.5 * surplus  # 2.25 times the energy of true flow in shells 5 to 7
    for reward in (gain(shells), gain(shells, shared=True)):
        assert float(jnp.mean(reward(transition(before, -0.5 * surplus)))) > 0.1
        assert float(jnp.mean(reward(transition(before, 0.1 * surplus)))) < -0.02
    # It is paid where it is done: on the half of the grid in which the correction is, nearly all of it.
    half = jnp.asarray(np.arange(N) < 6, jnp.float64)[:, None]
    paid = gain(shells)(transition(before, -0.5 * surplus * half))
    assert float(jnp.sum(jnp.abs(paid[6:]))) < 0.01 * float(jnp.sum(paid[:6]))


def test_shells_count_by_their_weights():
    before, change = noise(12, 1.0), noise(13, 0.2)
    reference = energies(noise(14, 1.0))
    paid = transition(before, change)
    alone = [gain(reference, 0.0, jnp.eye(7)[k])(paid) for k in range(7)]
    weights = jnp.asarray([3.0, 0.5, 1.0, 0.0, 2.0, 0.1, 0.4])
    together = sum(float(w) * each for w, each in zip(weights, alone, strict=True))
    # D is a sum over shells: float64 rounding.
    np.testing.assert_allclose(np.asarray(gain(reference, 0.0, weights)(paid)), np.asarray(together), atol=1e-12)


def test_within_the_band_nothing_counts():
    before = noise(5, 1.0)
    reference = 1.1 * energies(before)  # ln 1.1 = 0.095
    paid = gain(reference, 0.3)(transition(before, 0.01 * before))
    assert float(jnp.max(jnp.abs(paid))) == 0.0
    assert float(jnp.mean(gain(reference)(transition(before, 0.01 * before)))) > 0


@pytest.mark.parametrize("shared", [False, True])
def test_no_correction_earns_nothing_and_float32_stays(shared):
    before = noise(6, 1.0, jnp.float32)
    reference = energies(noise(7, 1.0, jnp.float32))
    reward = gain(reference, 0.1 * jnp.ones(7, jnp.float32), shared=shared)
    nothing = reward(transition(before, jnp.zeros_like(before)))
    assert nothing.dtype == jnp.float32
    assert float(jnp.max(jnp.abs(nothing))) == 0.0
    assert reward(transition(before, 0.1 * before)).dtype == jnp.float32
    small, exact = 1e-5 * noise(8, 1.0, jnp.float32), 1e-5 * noise(8, 1.0, jnp.float32).astype(jnp.float64)
    single = gain(reference)(transition(before, small))
    double = gain(reference.astype(jnp.float64))(transition(before.astype(jnp.float64), exact))
    # acted - state has lost five of its seven digits, the gain keeps two: no difference of two distances would.
    np.testing.assert_allclose(np.asarray(single), np.asarray(double), atol=0.03 * float(jnp.max(jnp.abs(double))))


def test_lost_simulations_do_not_hide():
    before = noise(10, 1.0).at[0, 0, 0].set(jnp.nan)
    reward = gain(jnp.ones(7))(transition(before, noise(11, 0.1)))
    assert not bool(jnp.any(jnp.isfinite(reward)))


@pytest.mark.parametrize("solver", ["spectral", "staggered"])
def test_problems_pay_what_their_settings_say(solver):
    c = replace(TINY, solver=solver, reward="spectrum", reward_band=0.5, reward_weights="spread")
    problem, held_out = build_problem(c, "train"), build_problem(c, "test")
    # Every split is paid by the statistics of the training split.
    np.testing.assert_array_equal(np.asarray(problem.reward.target), np.asarray(held_out.reward.target))
    assert problem.reward.target.dtype == jnp.float32
    assert problem.reward.target.shape == (4,)  # |k| <= 3 sqrt(2)
    initial = problem.begin(key=jax.random.key(0))
    after, acted = problem.step(initial.state, initial.parameters, lambda seen: 0.1 * seen[:2])
    step = Transition(initial.state, acted, after, initial.state, after, jnp.zeros(0), initial.parameters)
    alone, _ = problem.step(initial.state, initial.parameters)
    # float32 fields of order one.
    np.testing.assert_allclose(np.asarray(without_correction(step)), np.asarray(alone), atol=2e-6)
    assert float(jnp.mean(problem.reward.statistics.weights)) == pytest.approx(1.0, rel=1e-6)
    # What fluctuates least counts most.
    assert int(jnp.argmax(problem.reward.statistics.weights)) == int(jnp.argmin(problem.reward.statistics.band))
    shared = build_problem(replace(c, reward="shared-spectrum"), "train").reward(step)
    # Float32, in which the two forms round differently.
    assert float(jnp.mean(problem.reward(step))) == pytest.approx(float(shared[0, 0]), rel=1e-3, abs=1e-6)
    assert isinstance(build_problem(TINY, "train").reward, NextErrorReduction)


def test_rewards_are_no_part_of_the_reference_and_bands_are_not_negative():
    other = replace(TINY, reward="spectrum", reward_band=1.0)
    assert reference_identity(other, "test") == reference_identity(TINY, "test")
    assert "reward" not in reference_identity(TINY, "test")
    with pytest.raises(ValueError, match="reward_band must not be negative"):
        build_problem(replace(TINY, reward_band=-1.0), "train")
