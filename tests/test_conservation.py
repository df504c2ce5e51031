"""What the equations, the actions and the reward conserve: to round-off, in numbers."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.closures import build
from closura.core import ClosureSpec
from closura.core.case import Case
from closura.environment import Environment
from closura.grids import Grid
from closura.learners import PPO, PPOConfiguration
from closura.numerics import SCHEMES, Scheme, block_mean
from closura.problems import (
    AdvectionConfiguration,
    FixedBegin,
    InitialState,
    Problem,
    Transition,
    advection,
    simulate_reference,
    with_store,
)
from closura.problems.actions import action_channels, correction
from closura.problems.flux_form import FluxFormSolver, divergence, face_velocity, face_weights, restrict_faces
from closura.problems.measures import SquaredErrorReduction
from closura.problems.problem import Quantity, total

# Sums of a thousand numbers of order one in float64: a few hundred units in the last place at worst.
ROUND_OFF = 1e-13
SMALL = AdvectionConfiguration(cells=16, ratio=2, precision="float64", maximum_steps=12, minimum_steps=2)
TINY = {"channels": 4, "layers": 1, "radius": 1}


def make_draw(problem: Problem, seed: int, dtype: type = jnp.float64) -> Case:
    """Velocities of the problem's family and a rough initial field (its images take seconds to compile)."""
    for_image, for_velocity = jax.random.split(jax.random.key(seed))
    image = jax.random.uniform(for_image, (1, 32, 32), dtype)
    return Case(image, problem.begin.cases.velocity(for_velocity))


from_draw = eqx.filter_jit(lambda problem, draw: problem.begin.from_case(draw))


@eqx.filter_jit
def drift(problem: Problem, draw: Case, steps: int) -> dict[str, jax.Array]:
    """Largest change of each method's total over the steps, relative to that of the fine initial field."""
    state, velocity = problem.coarse.init(draw)
    solvers = {"coarse": problem.coarse, **problem.baselines}
    ratio = draw.initial.size // state.size

    def step(carry: tuple, _: None) -> tuple[tuple, dict]:
        states, target = carry
        states = {name: solvers[name].step(q, velocity, problem.time_step) for name, q in states.items()}
        target = problem.reference.advance(target, states["coarse"], velocity, problem.time_step)
        return (states, target), {**{n: ratio * jnp.sum(q) for n, q in states.items()}, "fine": jnp.sum(target[0])}

    start = ({name: state for name in solvers}, problem.reference.init(draw))
    _, totals = jax.lax.scan(step, start, None, length=steps)
    return {name: jnp.max(jnp.abs(t / jnp.sum(draw.initial) - 1)) for name, t in totals.items()}


@pytest.mark.parametrize("velocity", ["train", "vortex"])
def test_flux_form_solvers_conserve_the_total(velocity: str) -> None:
    """Coarse, fine and baseline runs keep the fine initial field's total; the coarse advective one does not."""
    problem = advection(replace(SMALL, form="flux", velocity=velocity), "test")
    flux = drift(problem, make_draw(problem, 0), 50)
    assert set(flux) == {"coarse", "fine", "ACGS", "upwind3", "upwind5"}
    for name, change in flux.items():
        assert change < ROUND_OFF, name


def test_what_advective_solvers_conserve() -> None:
    """Upwind differences nothing; central ones the total on their own grid, if the velocity is periodic.

    ``sum u (q_{i+1} - q_{i-1}) = - sum q (u_{i+1} - u_{i-1})``: central differences of the periodic velocities add
    up to a divergence of zero, as at faces. Those that jump at the seam do not, and lose as much as the upwind run.
    """
    periodic = replace(advection(SMALL, "test"), baselines={})
    changes = drift(periodic, make_draw(periodic, 0), 50)
    assert changes["coarse"] > 1e-4
    assert changes["fine"] < ROUND_OFF
    published = replace(advection(advection.published(SMALL), "test"), baselines={})
    changes = drift(published, make_draw(published, 0), 50)
    assert min(changes["coarse"], changes["fine"]) > 1e-4


@pytest.mark.parametrize("velocity", ["train", "vortex"])
def test_a_uniform_field_stays_uniform(velocity: str) -> None:
    """Because velocities at faces have no discrete divergence, on both grids."""
    problem = advection(replace(SMALL, form="flux", velocity=velocity), "test")
    draw = make_draw(problem, 1)
    coarse = restrict_faces(draw.parameters, 2)
    for faces, grid in ((draw.parameters, Grid((32, 32))), (coarse, Grid((16, 16)))):
        # Differences of numbers below one, divided by the spacing.
        assert jnp.max(jnp.abs(divergence(faces, grid))) < 1e-14 * grid.shape[0]
        assert jnp.max(jnp.abs(faces)) > 0.05
    uniform = jnp.full((1, 16, 16), 0.7)
    advanced = problem.baselines["upwind5"].step(uniform, coarse, problem.time_step)
    np.testing.assert_allclose(advanced, uniform, atol=1e-15)


def test_coarse_faces_carry_what_their_fine_faces_carry() -> None:
    """Restriction of any velocity: the coarse divergence is the mean of the fine ones."""
    fine = face_velocity(jax.random.normal(jax.random.key(2), (2, 12, 18), jnp.float64))
    coarse = restrict_faces(fine, 3)
    expected = block_mean(divergence(fine, Grid((12, 18)))[None], 3)[0]
    np.testing.assert_allclose(divergence(coarse, Grid((4, 6))), expected, atol=1e-12)
    np.testing.assert_allclose(coarse[0, 1, 2], jnp.mean(fine[0, 3, 6:9]), rtol=1e-14)
    np.testing.assert_allclose(coarse[1, 1, 2], jnp.mean(fine[1, 3:6, 6]), rtol=1e-14)
    with pytest.raises(ValueError, match="ratio"):
        restrict_faces(fine, 5)


def test_face_values_are_the_textbook_reconstructions() -> None:
    """LeVeque 2002 and the usual finite-volume tables, at the face between cells -1 and 0."""
    expected = {
        "upwind1": {-1: 1.0},
        "upwind2": {-2: -1 / 2, -1: 3 / 2},
        "upwind3": {-2: -1 / 6, -1: 5 / 6, 0: 1 / 3},
        "upwind5": {-3: 1 / 30, -2: -13 / 60, -1: 47 / 60, 0: 9 / 20, 1: -1 / 20},
        "central2": {-1: 1 / 2, 0: 1 / 2},
        "central4": {-2: -1 / 12, -1: 7 / 12, 0: 7 / 12, 1: -1 / 12},
    }
    for name, weights in expected.items():
        found = face_weights(name)
        assert set(weights) <= set(found)
        for offset, weight in found.items():
            assert weight == pytest.approx(weights.get(offset, 0.0), abs=1e-15), (name, offset)
    with pytest.raises(ValueError, match="no stencil"):
        face_weights("spectral")


@pytest.mark.parametrize("name", [name for name, scheme in SCHEMES.items() if isinstance(scheme, Scheme)])
def test_flux_form_converges_to_the_exact_solution(name: str) -> None:
    """Means over cells of a travelling wave, velocities of both signs; order of scheme (and of Euler)."""
    integrator = "forward-euler" if name == "upwind1" else "rk4"
    order = SCHEMES[name].order
    velocity, duration = (0.6, -0.4), 0.2

    def mean(n: int, time: float) -> jax.Array:
        """sin(2 pi (x + 2 y - c t)): its mean over a cell is its value in the middle times two sinc factors."""
        x = (jnp.arange(n) + 0.5) / n
        phase = x[:, None] + 2 * x[None, :] - (velocity[0] + 2 * velocity[1]) * time
        return (np.sinc(1 / n) * np.sinc(2 / n) * jnp.sin(2 * jnp.pi * phase))[None]

    errors = []
    sizes = (64, 128) if order == 1 else (32, 64)
    for n in sizes:
        # Small Courant numbers: with RK4 the error in time is then far below that in space.
        steps = round(duration * n / 0.2)
        faces = jnp.broadcast_to(jnp.asarray(velocity)[:, None, None], (2, n, n))
        solver = FluxFormSolver(Grid((n, n)), name, integrator)
        run = jax.jit(lambda q, v, s=solver, k=steps: s.march(q, v, duration / k, k))
        errors.append(float(jnp.max(jnp.abs(run(mean(n, 0.0), faces) - mean(n, duration)))))
    # The leading term of the error rules at these sizes up to a tenth of an order.
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_flux_form_refuses_what_would_not_conserve() -> None:
    for option in ("published_velocity", "published_boundary"):
        with pytest.raises(ValueError, match="seam"):
            advection(replace(SMALL, form="flux", **{option: True}), "test")
    with pytest.raises(ValueError, match="seam"):
        advection(advection.published(replace(SMALL, form="flux")), "test")
    with pytest.raises(ValueError, match="periodic"):
        FluxFormSolver(Grid((8, 8), boundary=("outflow", "periodic")), "upwind1", "rk4")
    with pytest.raises(ValueError, match="periodic along every axis"):
        action_channels("flux", ("psi",), (0,), ("periodic", "outflow"))
    with pytest.raises(ValueError, match="one per axis"):
        correction(jnp.zeros((3, 4, 4)), "flux")
    with pytest.raises(ValueError, match="valid: forcing, mean-free, flux"):
        correction(jnp.zeros((1, 4, 4)), "balanced")


def test_actions_by_hand() -> None:
    action = jnp.asarray([[0.5, 3.0, -0.5, -9.0]])  # one axis, clipped to 1: mean 0
    np.testing.assert_array_equal(correction(jnp.clip(action, -1.0, 1.0), "forcing"), [[0.5, 1.0, -0.5, -1.0]])
    # Clipped to 0.75, 1, -0.25, -1: mean 0.125, taken off after the clip.
    np.testing.assert_array_equal(
        correction(jnp.clip(action + 0.25, -1.0, 1.0), "mean-free"), [[0.625, 0.875, -0.375, -1.125]]
    )
    # A flux through the lower face of cell 1 of x, and one through the lower face of cell 0, which is the seam, of y.
    fluxes = jnp.zeros((2, 3, 3)).at[0, 1, 2].set(0.25).at[1, 0, 0].set(7.0)
    expected = jnp.zeros((1, 3, 3)).at[0, 0, 2].set(0.25).at[0, 1, 2].add(-0.25)
    expected = expected.at[0, 0, 2].add(1.0).at[0, 0, 0].add(-1.0)
    np.testing.assert_array_equal(correction(jnp.clip(fluxes, -1.0, 1.0), "flux"), expected)


def test_channels_of_vector_problems() -> None:
    """Two components on two axes: fluxes are ordered (component, axis), and each component's total is kept."""
    periodic = ("periodic", "periodic")
    assert action_channels("flux", ("u", "v"), (0, 1), periodic) == (
        ("flux u x", "flux u y", "flux v x", "flux v y"),
        (0, 0, 1, 1),
    )
    assert action_channels("mean-free", ("u", "v"), (0, 1), periodic) == (("forcing u", "forcing v"), (0, 1))
    action = jax.random.normal(jax.random.key(3), (4, 6, 5), jnp.float64)
    both = correction(jnp.clip(action, -0.5, 0.5), "flux")
    assert both.shape == (2, 6, 5)
    np.testing.assert_array_equal(both[1:], correction(jnp.clip(action[2:], -0.5, 0.5), "flux"))
    for form in ("flux", "mean-free"):
        sums = jnp.sum(correction(jnp.clip(action, -0.5, 0.5), form), axis=(1, 2))
        np.testing.assert_allclose(sums, 0, atol=1e-13)
    sums = jax.vmap(jnp.sum)(correction(action[:1, 0], "flux"))  # one axis
    np.testing.assert_allclose(sums, 0, atol=1e-14)


@pytest.mark.parametrize(
    ("form", "action"),
    [("flux", "forcing"), ("flux", "mean-free"), ("flux", "flux"), ("advective", "mean-free"), ("advective", "flux")],
)
def test_what_an_action_adds(form: str, action: str) -> None:
    """Actions of a policy that samples, many of them clipped: on the advective problem the closure adds nothing,
    in flux form the total stays what it was at the start. A free forcing does neither."""
    problem = advection(replace(SMALL, form=form, action=action), "test")
    # A tight bound, so that many of the samples are clipped, and none pushes psi out of the range it is clipped to.
    problem = replace(problem, spec=replace(problem.spec, bound=0.3))
    policy = build("compact", problem.spec, explores=True, options=TINY, initial_std=0.4, key=jax.random.key(4))

    @eqx.filter_jit
    def play(initial: InitialState, key: jax.Array) -> tuple[jax.Array, ...]:
        def step(state: jax.Array, key: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            def sample(observation: jax.Array) -> jax.Array:
                return policy.evaluate(observation)[0].sample(key)

            following, acted = problem.step(state, initial.parameters, sample)
            return following, (jnp.sum(acted) - jnp.sum(state), jnp.sum(following), jnp.max(jnp.abs(acted)))

        added, totals, largest = jax.lax.scan(step, initial.state, jax.random.split(key, 3))[1]
        initial = initial.quantities[0]
        return added / initial, totals / initial - 1, largest

    added, change, largest = play(from_draw(problem, make_draw(problem, 5)), jax.random.key(6))
    assert jnp.max(largest) < 3  # the clip of the state did not act
    if action == "forcing":
        assert jnp.max(jnp.abs(added)) > 1e-2
    else:
        assert jnp.max(jnp.abs(added)) < ROUND_OFF
    if form == "flux" and action != "forcing":
        assert jnp.max(jnp.abs(change)) < ROUND_OFF


def test_float32_fields_stay_float32_and_keep_their_total_as_well_as_they_can() -> None:
    problem = advection(replace(SMALL, form="flux", action="flux", precision="float32"), "test")
    initial = from_draw(problem, make_draw(problem, 6, jnp.float32))
    answer = 0.1 * jax.random.normal(jax.random.key(7), (2, 16, 16), jnp.float32)
    state, acted = eqx.filter_jit(problem.step)(initial.state, initial.parameters, lambda _: answer)
    assert state.dtype == acted.dtype == initial.parameters.dtype == jnp.float32
    totals = [float(np.sum(np.asarray(q, np.float64))) for q in (initial.state, acted, state)]
    # Each of 256 cells of order one is rounded a few times: 6e-8 each, of a total of about 130.
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)


@pytest.fixture(scope="module")
def fluxes() -> Problem:
    """The flux form with fluxes as actions, float32, its reference stored."""
    problem = advection(replace(SMALL, form="flux", action="flux", precision="float32"), "train")
    initial = from_draw(problem, make_draw(problem, 8, jnp.float32))
    return with_store(
        problem, simulate_reference(replace(problem, begin=FixedBegin(initial)), 2, 6, key=jax.random.key(8))
    )


def test_policies_learn_fluxes(fluxes: Problem) -> None:
    """PPO takes the specification as it is: one update changes the weights, and the total stays."""
    assert fluxes.spec.action == ("flux x", "flux y")
    learner = PPO(PPOConfiguration(updates=4, environments=2, steps=2, minibatch=4, epochs=1))
    policy = build("compact", fluxes.spec, explores=True, options=TINY, key=jax.random.key(9))
    state = learner.init(fluxes, policy, key=jax.random.key(10))
    after, metrics = learner.advance(fluxes, state, jnp.asarray(1, jnp.int32), 0)
    assert all(bool(jnp.isfinite(v)) for v in metrics.values())
    weights = [jax.tree.leaves(eqx.filter(s.closure, eqx.is_inexact_array)) for s in (state, after)]
    assert any(bool(jnp.any(a != b)) for a, b in zip(*weights, strict=True))
    keeps_the_total(fluxes, after.closure)


def test_gradients_reach_fluxes(fluxes: Problem) -> None:
    """The gradient of the error after one step, with respect to each flux, against finite differences."""
    problem = replace(fluxes, spec=replace(fluxes.spec, bound=np.inf))
    initial = problem.begin(key=jax.random.key(11))
    state, velocity = initial.state.astype(jnp.float64), initial.parameters.astype(jnp.float64)
    reference = jnp.zeros_like(state)
    answer = 0.01 * jax.random.normal(jax.random.key(12), (2, 16, 16), jnp.float64)

    @jax.jit
    def error(answer: jax.Array) -> jax.Array:
        return jnp.mean(jnp.square(problem.step(state, velocity, lambda _: answer)[0] - reference))

    gradient = jax.grad(error)(answer)
    for index in ((0, 3, 4), (1, 0, 0)):
        nudge = jnp.zeros_like(answer).at[index].set(1e-4)
        # Quadratic in the action: central differences are exact up to round-off of about 1e-16 / 1e-4.
        expected = (error(answer + nudge) - error(answer - nudge)) / 2e-4
        assert float(gradient[index]) == pytest.approx(float(expected), abs=1e-11)
        assert abs(float(expected)) > 1e-7


def test_the_published_network_answers_with_fluxes(fluxes: Problem) -> None:
    keeps_the_total(fluxes, build("ircnn", fluxes.spec, explores=True, key=jax.random.key(9)))


def keeps_the_total(problem: Problem, closure: eqx.Module) -> None:
    initial = problem.begin(key=jax.random.key(11))
    assert closure(problem.coarse.observe(initial.state, initial.parameters)).shape == (2, 16, 16)
    _, acted = eqx.filter_jit(problem.step)(initial.state, initial.parameters, closure)
    totals = [float(np.sum(np.asarray(q, np.float64))) for q in (initial.state, acted)]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)  # float32, as above


def test_a_stencil_of_fluxes_starts_as_no_closure_and_acts_on_psi() -> None:
    spec = ClosureSpec(("psi", "u"), ("flux x", "flux y"), ("periodic", "periodic"), (0, 0))
    closure = build("compact", spec, explores=False, options=TINY, key=jax.random.key(12))
    observation = jax.random.normal(jax.random.key(13), (2, 6, 6), jnp.float32)
    assert closure(observation).shape == (2, 6, 6)
    np.testing.assert_array_equal(closure(observation), 0)
    bias = closure.head.mix.bias.at[:].set(1.0)
    closure = eqx.tree_at(lambda c: c.head.mix.bias, closure, bias)
    # All weights 0.1: the sum of differences to the eight neighbours, for both fluxes.
    psi = np.asarray(observation[0])
    neighbours = sum(np.roll(psi, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)) - 9 * psi
    for channel in closure(observation):
        np.testing.assert_allclose(channel, 0.1 * neighbours, atol=2e-6)


def test_global_reward_by_hand() -> None:
    """Appendix E on two cells: M_0 = 4, total 5 before the action and 3.5 after it; weight 0.1."""
    mass = (Quantity("mass", total(0)),)
    state, acted, reference = (jnp.asarray([x]) for x in ([2.0, 3.0], [1.0, 2.5], [1.0, 3.0]))
    transition = Transition(state, acted, state, reference, reference, jnp.asarray([4.0]))
    local = np.asarray([1.0 - 0.0, 0.0 - 0.25])
    # 0.1 [ (5 - 4)^2 - (3.5 - 4)^2 ] / 4
    np.testing.assert_allclose(SquaredErrorReduction(mass, (0.1,))(transition), local + 0.1 * 0.75 / 4, rtol=1e-12)
    np.testing.assert_allclose(SquaredErrorReduction(mass, (0.0,))(transition), local, rtol=1e-12)
    # Nothing beyond the total: an action that moves psi from cell to cell has no global reward.
    moved = transition._replace(acted=jnp.asarray([[2.5, 2.5]]))
    np.testing.assert_allclose(SquaredErrorReduction(mass, (0.1,))(moved), [1.0 - 2.25, 0.0 - 0.25], rtol=1e-12)


def test_global_reward_of_two_quantities() -> None:
    """Two components with a weight each, the second's initial total negative, and an energy that was zero."""
    quantities = (
        Quantity("mass", total(0)), Quantity("momentum", total(1)), Quantity("energy", lambda q: jnp.sum(q * q)),
    )  # fmt: skip
    state = jnp.asarray([[2.0, 3.0], [-1.0, -3.0]])
    acted = jnp.asarray([[1.0, 2.5], [-1.0, -2.0]])
    transition = Transition(state, acted, state, state, state, jnp.asarray([4.0, -2.0, 0.0]))
    local = -np.asarray([1.0 + 0.0, 0.25 + 1.0])
    mass, momentum = (1.0 - 0.25) / 4, (4.0 - 1.0) / 2  # divided by |Q_0|
    energy = 23.0**2 - 12.25**2  # Q_0 = 0: divided by nothing
    for weights in ((0.1, 0.0, 0.0), (0.0, 0.2, 0.0), (0.1, 0.2, 0.003)):
        expected = local + weights[0] * mass + weights[1] * momentum + weights[2] * energy
        np.testing.assert_allclose(SquaredErrorReduction(quantities, weights)(transition), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="one weight per conserved quantity"):
        SquaredErrorReduction(quantities, (0.1,))


def test_mass_weight_reaches_the_environment() -> None:
    """The same action with and without weight: the difference is the global term, the same in every cell."""
    rewards = {}
    for weight in (0.0, 0.5):
        environment = Environment(advection(replace(SMALL, mass_weight=weight), "test"))
        initial = from_draw(environment.problem, make_draw(environment.problem, 14))
        environment = replace(environment, problem=replace(environment.problem, begin=FixedBegin(initial)))
        episode = environment.reset(key=jax.random.key(0))
        _, timestep = eqx.filter_jit(environment.step)(episode, jnp.full((1, 16, 16), 0.01))
        rewards[weight] = timestep.reward
    initial, before = float(episode.quantities[0]), float(jnp.sum(episode.state))
    term = 0.5 * ((before - initial) ** 2 - (before - 2.56 - initial) ** 2) / initial
    np.testing.assert_allclose(rewards[0.5] - rewards[0.0], term, rtol=1e-9)
