"""The Kolmogorov flow with a closure in the loop: dynamics, reference, initial conditions, eddy viscosity, learning."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.closures import build
from closura.environment import Environment
from closura.learners import BPTTS, PPO, BPTTSConfiguration, PPOConfiguration, averaged
from closura.numerics.fourier import coarsen, divergence_free, wavenumbers
from closura.offline.symmetries import Symmetry
from closura.problems import KolmogorovConfiguration, Transition, build_problem, simulate_reference, with_store
from closura.problems.kolmogorov import developed_states as pools
from closura.problems.kolmogorov.baselines import steps_needed
from closura.problems.kolmogorov.developed_states import KolmogorovCases, developed_states, move
from closura.problems.kolmogorov.dynamics import CoarseFlow
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.rewards import NextErrorReduction
from closura.problems.kolmogorov.setup import pool_settings
from closura.problems.kolmogorov.smagorinsky import SmagorinskyFlow, tune
from closura.problems.measures import relative_l2
from closura.runs.validation import prepare_validation, validation_error

TINY = KolmogorovConfiguration(
    cells=8, fine_cells=24, reynolds=15.0, forcing=2, finer=(12,), pool=8, chains=2, transient=6.0, spacing=2.0,
    settle=0.6, spin_cells=12, maximum_steps=20,
)  # fmt: skip
RE = {"reynolds": jnp.float32(15.0)}


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory):
    """Pools of these tests live in a folder of their own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("CLOSURA_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def problem():
    return build_problem(TINY, "train")


@pytest.fixture(scope="module")
def initial(problem):
    return problem.begin(key=jax.random.key(3))


def test_shapes_and_names(problem, initial):
    assert initial.state.shape == (2, 8, 8)
    assert initial.state.dtype == jnp.float32
    seen = problem.coarse.observe(initial.state, initial.parameters)
    assert seen.shape == (4, 8, 8)
    assert len(problem.spec.observation) == 4
    # sin(n y) with n = 2 at y = 2 pi / 8 is one.
    np.testing.assert_allclose(np.asarray(seen[2, :, 1]), 1.0, atol=1e-6)
    assert set(problem.baselines) == {"smagorinsky"}
    assert set(problem.finer) == {"12x12"}
    blind = build_problem(replace(TINY, observe_forcing=False), "train")
    assert blind.coarse.observe(initial.state, initial.parameters).shape == (2, 8, 8)
    wide = build_problem(replace(TINY, precision="float64"), "train").begin(key=jax.random.key(3))
    assert wide.state.dtype == jnp.float64


def test_reference_is_the_fine_solver_and_the_coarse_grid_sees_its_waves(problem, initial):
    spectrum, parameters = initial.reference
    fine, steps = problem.reference.solver.flow, problem.reference.substeps
    after, _ = problem.reference.advance(initial.reference, initial.state, initial.parameters, TINY.time_step)
    again = fine.march(spectrum, parameters["reynolds"], TINY.time_step / steps, steps)
    np.testing.assert_array_equal(np.asarray(after), np.asarray(again))
    shown = jnp.fft.rfft2(problem.reference.field((after, parameters)))
    kx, ky = wavenumbers(8)
    held = (np.abs(kx) < 4) & (ky < 4)
    # Transforms of 8 and 24 points in float32 agree to a few ulp of the largest coefficient.
    np.testing.assert_allclose(np.asarray(shown) * held, np.asarray(coarsen(after, 8)) * held, atol=2e-5)
    np.testing.assert_allclose(np.asarray(shown) * ~held, 0.0, atol=2e-5)
    # The coarse simulation begins with the reference.
    np.testing.assert_allclose(
        np.asarray(initial.state), np.asarray(problem.reference.field(initial.reference)), atol=1e-6
    )


def test_stored_reference_is_the_recomputed_one(problem):
    key = jax.random.key(5)
    store = simulate_reference(problem, 3, 4, key=key)
    one = problem.begin.member(jnp.int32(1), key=jax.random.split(key, 3)[1])
    target = one.reference
    for step in range(5):
        # The same program in another loop: rounding of float32 may differ.
        np.testing.assert_allclose(
            np.asarray(store.reference[1, step]), np.asarray(problem.reference.field(target)), atol=2e-6
        )
        target = problem.reference.advance(target, one.state, one.parameters, problem.time_step)


def test_a_correction_is_subtracted_after_the_step_without_divergence_and_mean(problem, initial):
    answer = jax.random.normal(jax.random.key(0), (2, 8, 8), jnp.float32)
    alone, _ = problem.step(initial.state, RE)
    with_it, acted = problem.step(initial.state, RE, lambda _: answer)
    taken = alone - with_it
    clipped = jnp.clip(answer, -TINY.action_bound, TINY.action_bound)
    expected = jnp.fft.irfft2(problem.coarse.flow.project(jnp.fft.rfft2(0.2 * clipped)).at[:, 0, 0].set(0), s=(8, 8))
    np.testing.assert_allclose(np.asarray(taken), np.asarray(expected), atol=2e-6)
    np.testing.assert_allclose(np.asarray(initial.state - acted), np.asarray(taken), atol=2e-6)
    kx, ky = wavenumbers(8)
    spectrum = np.asarray(jnp.fft.rfft2(taken))
    assert np.abs(kx * spectrum[0] + ky * spectrum[1]).max() < 1e-4  # of coefficients of order 10
    assert np.abs(spectrum[:, 0, 0]).max() < 1e-5


def test_zero_answers_change_nothing(problem, initial):
    alone, _ = problem.step(initial.state, RE)
    held, _ = problem.step(initial.state, RE, lambda seen: jnp.zeros((2, 8, 8), jnp.float32))
    np.testing.assert_allclose(np.asarray(alone), np.asarray(held), atol=1e-7)


def test_the_best_single_correction_earns_all_of_the_error(problem, initial):
    """The reward of the correction that leads to the reference is the error without one, exactly."""
    target = problem.reference.advance(initial.reference, initial.state, initial.parameters, TINY.time_step)
    reference = problem.reference.field(target)
    alone, _ = problem.step(initial.state, RE)
    after, acted = problem.step(initial.state, RE, lambda _: (alone - reference) / TINY.time_step)
    # The difference of two divergence-free fields without mean survives the projection; float32 rounding remains.
    np.testing.assert_allclose(np.asarray(after), np.asarray(reference), atol=3e-6)
    reward = NextErrorReduction()(Transition(initial.state, acted, after, initial.state, reference, jnp.zeros(0)))
    expected = jnp.sum((alone - reference) ** 2, axis=0) / jnp.mean(jnp.sum(reference**2, axis=0))
    np.testing.assert_allclose(np.asarray(reward), np.asarray(expected), atol=1e-6)
    assert float(relative_l2(after, reference)) < 1e-5 < 1e-3 < float(relative_l2(alone, reference))


def test_gradient_through_two_steps_is_that_of_finite_differences():
    """In float64, where central differences with a step of 1e-6 are good to about 1e-9."""
    problem = build_problem(replace(TINY, precision="float64"), "train")
    start = problem.begin(key=jax.random.key(1))
    pattern = jax.random.normal(jax.random.key(2), (2, 8, 8), jnp.float64)

    def loss(size):
        state = start.state
        for _ in range(2):
            # Depends on what is seen, so that the gradient runs through the observation too.
            state, _ = problem.step(state, start.parameters, lambda seen: size * pattern * (1.0 + seen[0]))
        return jnp.sum(state**2)

    gradient = float(jax.grad(loss)(jnp.float64(0.3)))
    numeric = float((loss(0.3 + 1e-4) - loss(0.3 - 1e-4)) / 2e-4)
    # Observations are float32: differences over 2e-4 carry its rounding, about 1e-7 / 2e-4 of the loss's change.
    assert gradient == pytest.approx(numeric, rel=2e-3)


@pytest.mark.parametrize(("slides", "turns"), [(0, 0), (1, 0), (2, 1), (3, 1)])
def test_moving_a_spectrum_is_moving_its_field_and_commutes_with_the_solver(slides, turns):
    flow = KolmogorovFlow(16, 2)
    start = jnp.asarray(flow.random_start(4, magnitude=40.0))
    shift = 2 * math.pi * 3 / 16
    moved = move(start, shift, slides, turns, forcing=2)
    by_points = Symmetry(3, slides, turns, forcing=2)(np.asarray(flow.to_velocity(start)))
    # float64 throughout.
    np.testing.assert_allclose(np.asarray(flow.to_velocity(moved)), by_points, atol=1e-13)
    reynolds = jnp.float64(15.0)
    one = flow.march(moved, reynolds, 0.02, 20)
    other = move(flow.march(start, reynolds, 0.02, 20), shift, slides, turns, forcing=2)
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-11)


def test_starts_of_held_out_splits_take_states_in_turn_and_training_draws(problem):
    pool = jnp.asarray(developed_states(pool_settings(TINY, "test")))
    draw = KolmogorovCases(pool, jnp.float32(15.0), 2, in_turn=True)
    first, again = (draw.member(jnp.int32(i), key=jax.random.key(0)).initial for i in (1, 9))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))  # 8 states, counted round
    energies = {
        float(jnp.sum(jnp.abs(draw.member(jnp.int32(i), key=jax.random.key(i)).initial) ** 2)) for i in range(8)
    }
    assert len(energies) == 8
    assert not problem.begin.cases.in_turn
    train = developed_states(pool_settings(TINY, "train"))
    assert not np.allclose(train, np.asarray(pool))


def test_pool_is_repeatable_kept_and_rebuilt_when_damaged(tmp_path, capsys):
    settings = pool_settings(TINY, "validation")
    first = developed_states(settings, cache=tmp_path)
    (file,) = (tmp_path / "flows").iterdir()
    assert "states of developed flow" in capsys.readouterr().err
    pools._developed_states.cache_clear()
    np.testing.assert_array_equal(developed_states(settings, cache=tmp_path), first)
    assert capsys.readouterr().err == ""  # read, not simulated
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    for damaged in (bytes(content), b"nothing", b""):
        file.write_bytes(damaged)
        pools._developed_states.cache_clear()
        np.testing.assert_array_equal(developed_states(settings, cache=tmp_path), first)
        assert "states of developed flow" in capsys.readouterr().err
    # The flow has no divergence and no Nyquist waves.
    scale = np.abs(first).max()
    assert np.abs(np.asarray(divergence_free(jnp.asarray(first[0]))) - first[0]).max() < 1e-6 * scale
    assert np.abs(first[:, :, 12]).max() == 0.0


def test_pool_goes_on_where_nothing_can_be_kept(tmp_path, capsys):
    (tmp_path / "flows").write_text("a file where the folder would be")
    pool = developed_states(pool_settings(TINY, "validation"), cache=tmp_path)
    assert np.isfinite(pool).all()
    assert "not kept" in capsys.readouterr().err


def test_smagorinsky_dissipates_and_leaves_uniform_flow_alone():
    model = SmagorinskyFlow(16, 2, constant=jnp.float64(0.2))
    spectrum = jnp.asarray(model.random_start(1, magnitude=40.0))
    stress = model.eddy_stress(spectrum)
    _, ky = wavenumbers(16)
    counts = np.where((ky > 0) & (ky < 8), 2.0, 1.0)
    power = float(jnp.sum(counts * (jnp.conj(spectrum) * stress).real)) / 16**4
    s_xx, s_xy, size = model.strain(spectrum)
    viscosity = (0.2 * 2 * math.pi / 16) ** 2 * size
    # Energy lost: the mean of 2 nu_t S:S, S:S = 2 (S_xx^2 + S_xy^2). Both are sums over the same points: exact.
    expected = -float(jnp.mean(4 * viscosity * (s_xx**2 + s_xy**2)))
    assert power == pytest.approx(expected, rel=1e-9)
    assert power < 0
    uniform = jnp.zeros_like(spectrum).at[:, 0, 0].set(256.0)
    assert float(jnp.abs(model.eddy_stress(uniform)).max()) == 0.0
    none = SmagorinskyFlow(16, 2, constant=jnp.float64(0.0))
    np.testing.assert_allclose(
        np.asarray(none.tendency(spectrum, jnp.float64(15.0))),
        np.asarray(KolmogorovFlow(16, 2).tendency(spectrum, jnp.float64(15.0))),
        atol=1e-12,
    )


def test_smagorinsky_of_a_shear_flow_is_the_formula():
    """u = sin y: S_xy = cos(y) / 2, nu_t = (C D)^2 |cos y|, force d/dy(nu_t cos y) = -2 (C D)^2 |cos y| sin y."""
    model = SmagorinskyFlow(32, 2, constant=jnp.float64(0.1))
    y = 2 * np.pi * np.arange(32) / 32
    velocity = np.stack([np.broadcast_to(np.sin(y), (32, 32)), np.zeros((32, 32))])
    found = model.to_velocity(model.eddy_stress(model.to_spectrum(jnp.asarray(velocity))))
    expected = -2 * (0.1 * 2 * np.pi / 32) ** 2 * np.abs(np.cos(y)) * np.sin(y)
    # |cos| has a kink, at which its Fourier series, cut at wavenumber 15, is off by some percent.
    off = np.abs(np.asarray(found[0, 0]) - expected) / np.abs(expected).max()
    assert off.max() < 0.12
    assert np.median(off) < 0.01
    assert np.abs(np.asarray(found[1])).max() < 1e-15


def test_tuning_prefers_the_model_that_made_the_reference():
    """Reference made by the model with a constant of 0.3 is followed best with 0.3."""
    flow = SmagorinskyFlow(12, 2, constant=jnp.float32(0.3))
    start = jnp.asarray(flow.random_start(2, magnitude=60.0), jnp.complex64)

    @jax.jit
    def run(start):
        def step(each, _):
            return flow.march(each, jnp.float32(40.0), 0.1, 2), flow.to_velocity(each)

        return jax.lax.scan(step, start, None, length=60)[1]

    best, series = tune(KolmogorovFlow(12, 2), run(start)[None], 40.0, 0.2, 2, constants=(0.1, 0.3, 0.5))
    assert best == 0.3
    assert series.shape == (3, 59)
    # The same solver, from a field that went through the grid once more: rounding of float32, grown for a while.
    assert series[1].min() > 0.999


def test_steps_of_the_integrator_follow_the_stable_range():
    # Reynolds 34 on 64 points: carried waves limit to 0.7 * 2.828 / (1.5 * 31 * 2.5 * 0.773) = 0.0220.
    assert steps_needed(0.2, 64, 34.0, 4) == 10
    assert steps_needed(0.2, 12, 34.0, 4) == 2
    # Viscosity limits slow flows: 0.7 * 2.785 * 1 / (2 * 31^2) = 0.00101.
    assert steps_needed(0.2, 64, 1.0, 4) == 198


def test_coarse_steps_are_those_of_the_coarse_solver_alone():
    """The transient of the pool may run on as many points as the coarse grid has: its steps are its own."""
    c = replace(TINY, cells=12, finer=(16,))
    forced = replace(c, coarse_steps=7)
    assert c.spin_cells == c.cells
    assert pool_settings(forced, "train") == pool_settings(c, "train") == pool_settings(TINY, "train")
    usual, other = build_problem(c, "train"), build_problem(forced, "train")
    assert (usual.coarse.steps, other.coarse.steps) == (steps_needed(0.2, 12, 15.0, 2), 7)
    assert {baseline.steps for baseline in other.baselines.values()} == {7}
    assert other.finer["16x16"].solver.steps == usual.finer["16x16"].solver.steps == steps_needed(0.2, 16, 15.0, 2)
    assert other.reference.substeps == usual.reference.substeps


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cells": 9}, "even number of points"),
        ({"cells": 24}, "more points than the coarse grid"),
        ({"reynolds": -1.0}, "reynolds must be positive"),
        ({"forcing": 5}, "forcing wavenumbers 1 to 3"),
        ({"pool": 7}, "whole number of states per chain"),
    ],
)
def test_unusable_settings_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        build_problem(replace(TINY, **change), "train")
    with pytest.raises(ValueError, match="unknown split"):
        build_problem(TINY, "holdout")


def test_conserving_forms_run(initial):
    problem = build_problem(replace(TINY, action="flux"), "train")
    assert len(problem.spec.action) == 4
    state, _ = problem.step(initial.state, RE, lambda seen: jnp.ones((4, 8, 8), jnp.float32))
    alone, _ = problem.step(initial.state, RE)
    np.testing.assert_allclose(np.asarray(state), np.asarray(alone), atol=1e-6)  # uniform fluxes: nothing leaves


def test_speed_is_the_unit_of_observation_and_answer(problem, initial):
    d = problem.coarse
    twice, one = CoarseFlow(d.flow, d.steps, speed=2.0), CoarseFlow(d.flow, d.steps)
    scaled, plain = (each.step(initial.state, RE, 0.2, lambda seen: 0.1 * seen[:2]) for each in (twice, one))
    np.testing.assert_allclose(np.asarray(scaled), np.asarray(plain), atol=1e-6)
    # A closure's answer is a multiple of the specification's scale, which must not change with the unit.
    assert build_problem(replace(TINY, speed=2.0), "train").spec.scale == problem.spec.scale


@pytest.fixture(scope="module")
def stored(problem):
    return with_store(problem, simulate_reference(problem, 16, 20, key=jax.random.key(7)))


def _trained(learner, problem, explores):
    options = {"channels": 12, "layers": 2, "output": "action"}
    closure = build("compact", problem.spec, explores=explores, options=options, key=jax.random.key(1))
    state = learner.init(problem, closure, key=jax.random.key(2))
    updates = sum(learner.stages())
    state, metrics = learner.advance(problem, state, jnp.int32(updates), 0)
    assert all(np.isfinite(float(value)) for value in metrics.values())
    return averaged(state)


def test_bptts_learns(stored):
    held_out = build_problem(TINY, "validation")
    validation = prepare_validation(held_out, 4, 10, key=jax.random.key(8))
    uncorrected = float(validation_error(held_out, None, validation))
    learner = BPTTS(BPTTSConfiguration(updates=120, batch=8, horizons=(4,), fractions=(1.0,), error_limit=1.0))
    closure = _trained(learner, stored, explores=False)
    # Measured: about a third of the error is left; two thirds is a wide margin.
    assert float(validation_error(held_out, closure, validation)) < 0.67 * uncorrected


def test_ppo_learns_a_little(stored):
    learner = PPO(PPOConfiguration(updates=3, environments=4, steps=4, minibatch=8, epochs=1))
    policy = _trained(learner, stored, explores=True)
    episode = Environment(stored).reset(key=jax.random.key(0))
    assert policy(Environment(stored).observe(episode)).shape == (2, 8, 8)


def test_presets_build_what_they_say():
    from closura.runs.configuration import train_preset

    for preset in ("default", "quick"):
        for learner in ("bptts", "ppo", "a2c"):
            c = train_preset(preset, problem="kolmogorov", learner=learner)
            assert c.learner == learner
            assert c.network.output == "action"
    with pytest.raises(ValueError, match="nothing was published for kolmogorov"):
        train_preset("paper", problem="kolmogorov")
