"""Vector Burgers: exact solutions, symmetries, the switch, the stable range, fields and settings."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura import cli
from closura.commands.problems import FITS
from closura.core.transfer import trigonometric_interpolation
from closura.environment import Environment
from closura.grids import Grid
from closura.initial.velocities import TRAIN2_SETS, RandomWaves, make_velocity
from closura.interpretation.collect import action_scale
from closura.numerics import block_mean
from closura.problems import (
    PROBLEMS,
    BurgersConfiguration,
    BurgersSolver,
    as_evaluated,
    as_trained,
    build_problem,
    burgers,
)
from closura.problems.burgers import ORIENTATIONS, Turn, turned
from closura.problems.measures import SquaredErrorReduction, mean_size, relative_mae
from closura.problems.problem import Transition
from closura.runs.configuration import train_preset
from closura.settings import build_settings

NU = 0.05


def cole_hopf(grid: Grid, time: float) -> np.ndarray:
    """Exact: q = -2 nu grad(phi) / phi, phi = 2 + cos(2 pi x) cos(2 pi y) exp(-8 pi^2 nu t) diffuses."""
    x, y = (2 * np.pi * np.asarray(c, np.float64) for c in grid.coordinates(jnp.float64))
    decay = np.exp(-8 * np.pi**2 * NU * time)
    phi = 2 + np.cos(x) * np.cos(y) * decay
    gradient = -2 * np.pi * decay * np.stack([np.sin(x) * np.cos(y), np.cos(x) * np.sin(y)])
    return -2 * NU * gradient / phi


def viscous(viscosity: float) -> dict[str, jax.Array]:
    return {"viscosity": jnp.asarray(viscosity)}


@pytest.mark.parametrize(("scheme", "order"), [("upwind1", 1.0), ("upwind3", 2.0), ("upwind5", 2.0)])
def test_converges_to_an_exact_solution(scheme: str, order: float) -> None:
    """Against Cole and Hopf's solution; the Laplacian is of second order, so no scheme does better than two."""
    errors = []
    for n in (24, 48):
        grid = Grid((n, n))
        solver = BurgersSolver(grid, scheme, "rk4")
        count = 4 * (n // 12) ** 2
        run = jax.jit(lambda q, s=solver, k=count: s.march(q, viscous(NU), 0.2 / k, k))
        found = run(jnp.asarray(cole_hopf(grid, 0.0)))
        errors.append(float(jnp.mean(jnp.abs(found - cole_hopf(grid, 0.2)))))
    # Within 0.25 of the order: two grids, both nearly in the asymptotic range.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)
    assert errors[1] < 0.02 * np.abs(cole_hopf(grid, 0.2)).mean()


def test_shear_only_diffuses() -> None:
    """(q . grad) q vanishes for u(y): one discrete eigenvalue of the Laplacian, to rounding."""
    grid = Grid((16, 16))
    y = np.asarray(grid.coordinates(jnp.float64)[1])
    shear = jnp.asarray(np.stack([np.sin(2 * np.pi * y), np.zeros_like(y)]))
    step = 1e-3
    found = BurgersSolver(grid, "upwind5", "forward-euler").step(shear, viscous(NU), step)
    eigenvalue = (2 * np.cos(2 * np.pi / 16) - 2) * 16**2
    np.testing.assert_allclose(found, (1 + step * NU * eigenvalue) * shear, rtol=0, atol=1e-14)


@pytest.mark.parametrize("turn", ORIENTATIONS[8])
def test_the_equation_does_not_notice_a_turn(turn: Turn) -> None:
    """The solver commutes with all eight, to rounding; a scalar beside the velocity keeps its sign."""
    grid = Grid((12, 12))
    q = RandomWaves((12, 12), dtype=jnp.float64)(jax.random.key(0))
    solver = BurgersSolver(grid, "upwind5", "rk4")
    found = turned(solver.step(turned(q, turn), viscous(NU), 0.01), turn, back=True)
    np.testing.assert_allclose(found, solver.step(q, viscous(NU), 0.01), rtol=0, atol=1e-14)
    three = jnp.concatenate([q, jnp.abs(q[:1])])
    assert np.array_equal(turned(turned(three, turn), turn, back=True), three)
    assert (np.asarray(turned(three, turn)[2]) >= 0).all()


@pytest.mark.parametrize("form", ["forcing", "flux"])
@pytest.mark.parametrize("size", [1, 2, 8])
def test_answers_in_several_orientations(size: int, form: str) -> None:
    """The step commutes with the turns of its group whatever the closure answers, and a constant push cancels."""
    configuration = BurgersConfiguration(cells=12, orientations=size, action=form, observe_viscosity=True)
    problem = burgers(configuration)
    assert problem.coarse.calls_per_step == size
    q = RandomWaves((12, 12))(jax.random.key(3))
    weights = jax.random.normal(jax.random.key(4), (4 if form == "flux" else 2, 3, 3, 3), jnp.float32)

    def answer(seen: jax.Array) -> jax.Array:
        lines = jnp.stack([jnp.roll(seen, s, 1) for s in (-1, 0, 1)], axis=1)
        near = jnp.stack([jnp.roll(lines, s, 3) for s in (-1, 0, 1)], axis=2)
        return jnp.einsum("acij,cijxy->axy", weights, near)

    def step(q: jax.Array, ask: Callable[[jax.Array], jax.Array] = answer) -> np.ndarray:
        return np.asarray(problem.step(q, {"viscosity": jnp.asarray(0.003, jnp.float32)}, ask)[0])

    for turn in ORIENTATIONS[8]:
        found = np.asarray(turned(jnp.asarray(step(turned(q, turn))), turn, back=True))
        # Sums in another order: a few units in the last place of numbers near one.
        same = np.abs(found - step(q)).max() < 3e-6
        assert same if turn in ORIENTATIONS[size] else not same
    if form == "forcing" and size > 1:
        pushed = step(q, lambda seen: jnp.ones_like(seen[:2]))
        np.testing.assert_allclose(pushed, step(q, lambda seen: jnp.zeros_like(seen[:2])), rtol=0, atol=1e-6)


def test_one_action_is_not_enough_for_several_orientations() -> None:
    problem = burgers(BurgersConfiguration(cells=12, orientations=2))
    environment = Environment(problem)
    episode = environment.reset(key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"asks 2 times a step.*set orientations to 1.*learn with bptts"):
        environment.step(episode, jnp.zeros((2, 12, 12), jnp.float32))
    with pytest.raises(ValueError, match="ask once a step"):
        action_scale(problem, key=jax.random.key(0))


@pytest.mark.parametrize("switch", [False, True])
def test_exchanging_the_axes_exchanges_the_components(switch: bool) -> None:
    grid = Grid((12, 12))
    q = RandomWaves((12, 12), dtype=jnp.float64)(jax.random.key(0))
    solver = BurgersSolver(grid, "upwind1", "forward-euler", published_switch=switch)
    exchanged = solver.step(q.transpose(0, 2, 1)[::-1], viscous(NU), 0.01).transpose(0, 2, 1)[::-1]
    np.testing.assert_allclose(exchanged, solver.step(q, viscous(NU), 0.01), rtol=0, atol=1e-15)


def test_the_published_switch_is_downwind_where_signs_differ() -> None:
    """d u / d y with u > 0, v < 0: the published code looks left although the flow comes from the right."""
    grid = Grid((8, 8))
    rng = np.random.default_rng(0)
    u, v = 0.5 + rng.random((8, 8)), -0.5 - rng.random((8, 8))
    q = jnp.asarray(np.stack([u, v]))
    change = {
        switch: BurgersSolver(grid, "upwind1", "forward-euler", published_switch=switch).tendency(q, jnp.asarray(0.0))
        for switch in (False, True)
    }
    left = {axis: lambda a, axis=axis: (a - np.roll(a, 1, axis)) * 8 for axis in (0, 1)}
    right = {axis: lambda a, axis=axis: (np.roll(a, -1, axis) - a) * 8 for axis in (0, 1)}
    np.testing.assert_allclose(change[False][0], -u * left[0](u) - v * right[1](u), rtol=0, atol=1e-13)
    np.testing.assert_allclose(change[True][0], -u * left[0](u) - v * left[1](u), rtol=0, atol=1e-13)
    np.testing.assert_allclose(change[True][1], -u * right[0](v) - v * right[1](v), rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="belongs to scheme upwind1"):
        BurgersSolver(grid, "upwind5", "rk4", published_switch=True)


def test_first_order_obeys_the_maximum_principle_in_the_stable_range() -> None:
    """At the largest allowed step no component ever leaves its initial range (1e-6: float32)."""
    problem = burgers(BurgersConfiguration(size=(1.2, 1.2)))
    assert problem.time_step / problem.grid.spacing[0] * 1.2 + 4 * 0.003 * problem.time_step * 900 < 1
    for seed in range(3):
        q = first = problem.begin(key=jax.random.key(seed)).state
        step = eqx.filter_jit(problem.step)
        for _ in range(100):
            q, _ = step(q, viscous(0.003))
        for c in range(2):
            assert float(first[c].min()) - 1e-6 <= float(q[c].min())
            assert float(q[c].max()) <= float(first[c].max()) + 1e-6


def test_time_steps_outside_the_stable_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"exceeds 1.*Lower courant"):
        burgers(BurgersConfiguration(courant=0.9))
    with pytest.raises(ValueError, match="150 x 150"):
        burgers(BurgersConfiguration(fine_steps=4))
    # The published settings leave it, as published.
    assert burgers(burgers.published(BurgersConfiguration())).time_step == pytest.approx(0.03)


def test_the_reference_is_converged() -> None:
    """Against twice the points at t = 0.75: 0.13 % in the median, a tenth of what upwind5 gets wrong; bound 0.4."""
    problem = burgers(BurgersConfiguration(precision="float64"))
    fine = problem.reference.solver
    w = trigonometric_interpolation(150, (np.arange(300) + 0.5) / 2 - 0.5)
    twice = BurgersSolver(fine.grid.refine(2), "upwind5", "rk4")
    q = problem.begin(key=jax.random.key(3)).reference[0]
    run = eqx.filter_jit(lambda solver, q, k: solver.march(q, viscous(0.003), 0.75 / k, k))
    finer = run(twice, jnp.einsum("ax,by,cxy->cab", w, w, q), 50 * 20)
    error = relative_mae(block_mean(run(fine, q, 50 * 8), 5), block_mean(finer, 10))
    assert float(error) < 0.004


def test_trigonometric_interpolation_is_exact_for_waves() -> None:
    points = np.array([0.0, 0.3, 7.75, 11.5])
    for n in (12, 13):
        matrix = trigonometric_interpolation(n, points)
        for k in range(5):
            wave = np.cos(2 * np.pi * k * np.arange(n) / n + 0.4)
            expected = np.cos(2 * np.pi * k * points / n + 0.4)
            np.testing.assert_allclose(matrix @ wave, expected, rtol=0, atol=1e-13)


def test_reward_is_that_of_the_published_code() -> None:
    rng = np.random.default_rng(1)
    state, acted, reference = (jnp.asarray(rng.normal(size=(2, 4, 4))) for _ in range(3))
    reward = SquaredErrorReduction(relative=True)(Transition(state, acted, acted, reference, reference, jnp.zeros(0)))
    local = ((state - reference) ** 2 - (acted - reference) ** 2).sum(axis=0)
    np.testing.assert_allclose(reward, local / np.abs(reference).sum(axis=0).mean(), rtol=1e-13)
    assert float(mean_size(reference)) == pytest.approx(float(np.abs(reference).sum(axis=0).mean()))


def test_actions_are_rates_and_clipped() -> None:
    problem = burgers(BurgersConfiguration(action_bound=2.0))
    environment = Environment(problem)
    episode = environment.reset(key=jax.random.key(0))
    action = jnp.full((2, 30, 30), 5.0).at[1].set(-0.5)
    _, acted = problem.step(episode.state, episode.parameters, lambda seen: action)
    taken = np.asarray(episode.state - acted)
    np.testing.assert_allclose(taken[0], 2.0 * problem.time_step, atol=1e-6)
    np.testing.assert_allclose(taken[1], -0.5 * problem.time_step, atol=1e-6)


def test_viscosity_varies_and_is_seen() -> None:
    problem = burgers(BurgersConfiguration(viscosity_factor=2.0, observe_viscosity=True, fine_steps=12))
    assert problem.spec.observation == ("u", "v", "viscosity")
    environment = Environment(problem)
    found = []
    reset = eqx.filter_jit(environment.reset)
    for seed in range(20):
        episode = reset(key=jax.random.key(seed))
        found.append(float(episode.parameters["viscosity"]))
        seen = environment.observe(episode)
        np.testing.assert_allclose(seen[2], found[-1] / 0.003, rtol=1e-6)
    # In a fixed unit: another nominal viscosity is seen as such.
    other = burgers(BurgersConfiguration(viscosity=0.0015, observe_viscosity=True))
    episode = Environment(other).reset(key=jax.random.key(0))
    np.testing.assert_allclose(Environment(other).observe(episode)[2], 0.5, rtol=1e-6)
    assert 0.0015 <= min(found) < 0.0025 < 0.0035 < max(found) <= 0.006
    fixed = burgers(BurgersConfiguration()).begin(key=jax.random.key(0)).parameters["viscosity"]
    assert float(fixed) == pytest.approx(0.003, rel=1e-7)


def test_random_waves() -> None:
    """Sizes in range, zero mean, divergence-free without compression, the same field in both precisions."""
    sampler = RandomWaves((48, 48), size=(0.4, 1.2), dtype=jnp.float64)
    fields = jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(0), 64))
    fields = np.asarray(fields)
    sizes = np.abs(fields).max(axis=(2, 3)).sum(axis=1)
    assert 0.4 <= sizes.min() < 0.5
    assert 1.1 < sizes.max() <= 1.2 + 1e-12
    np.testing.assert_allclose(fields.mean(axis=(2, 3)), 0, atol=1e-13)
    single = RandomWaves((48, 48), size=(0.4, 1.2))(jax.random.split(jax.random.key(0), 64)[5])
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, fields[5], atol=2e-6)
    solenoidal = RandomWaves((48, 48), compression=0.0, dtype=jnp.float64)(jax.random.key(4))
    k = 2j * np.pi * np.fft.fftfreq(48, 1 / 48)
    u, v = np.fft.fft2(np.asarray(solenoidal))
    divergence = np.fft.ifft2(k[:, None] * u + k[None] * v).real
    # Directions are drawn in float32: 6e-8 of velocities and wave numbers of order 1 and 25.
    assert np.abs(divergence).max() < 1e-5
    for wrong in ({"waves": (0, 2)}, {"largest": 0}, {"size": (1.0, 0.5)}, {"compression": 2.0}):
        with pytest.raises(ValueError, match=r"need|expected|between"):
            RandomWaves((8, 8), **wrong)


def test_published_fields_tell_their_group() -> None:
    """The sum over a field's own modes has energy at its wavenumbers alone; frequencies as the code draws them."""
    sampler = make_velocity("train2", (32, 32), published=True, dtype=jnp.float64)
    fields, groups = jax.jit(jax.vmap(sampler.grouped))(jax.random.split(jax.random.key(0), 400))
    # u = sum_k s_k sin(pi k x) cos(pi k y): project on each mode, on points that include both ends.
    x = np.linspace(0, 1, 32)[:-1]
    for field, group in zip(np.asarray(fields[:10]), np.asarray(groups[:10]), strict=True):
        for k in (2, 4, 6, 8):
            mode = np.outer(np.sin(np.pi * k * x), np.cos(np.pi * k * x))
            weight = abs((field[0][:-1, :-1] * mode).sum()) / (mode**2).sum()
            expected = 1 / (len(TRAIN2_SETS[group]) + 1) if k in TRAIN2_SETS[group] else 0
            assert weight == pytest.approx(expected, abs=1e-12)
    counts = Counter(len(TRAIN2_SETS[g]) for g in np.asarray(groups))
    for size in (2, 3, 4):
        # A third each; 400 draws have a standard deviation of 9.4.
        assert counts[size] == pytest.approx(133, abs=38)


def test_every_problem_is_known_everywhere() -> None:
    """The registry, and the command line, which must not import problems early."""
    assert all(name in cli.USAGE for name in (*PROBLEMS, *FITS))


def test_bases_and_names() -> None:
    problem = burgers(BurgersConfiguration(base="upwind5"))
    assert problem.names == ("upwind5", "fine")
    assert set(problem.baselines) == {"CGS", "upwind3"}
    assert burgers(burgers.published(BurgersConfiguration())).names == ("CGS", "FGS")
    trained = BurgersConfiguration(base="upwind5", observe_viscosity=True, minimum_steps=3, orientations=2)
    assert as_evaluated(trained) == BurgersConfiguration()
    assert as_trained(BurgersConfiguration(size=(0.1, 0.2)), trained) == replace(trained, size=(0.1, 0.2))
    assert build_problem(trained).names[0] == "upwind5"
    with pytest.raises(TypeError, match="no settings of a problem"):
        build_problem(object())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("cells", 4), ("ratio", 0), ("viscosity", 0.0), ("viscosity_factor", 0.5), ("action_bound", 0.0)),
        *(("initial", "cats"), ("base", "weno"), ("reference", "weno"), ("orientations", 3)),
    ],
)
def test_settings_that_make_no_sense(name: str, value: float | str) -> None:
    # As a file that was edited by hand gives them.
    with pytest.raises(ValueError, match=r"need|must be"):
        burgers(build_settings(BurgersConfiguration, {name: value}))


def test_learners_that_explore_refuse_orientations_at_once():
    usual = train_preset("quick", problem="burgers", learner="ppo")
    with pytest.raises(ValueError, match=r"2 orientations ask as often: set orientations to 1, or learn by gradients"):
        replace(usual, problem=replace(usual.problem, orientations=2))
