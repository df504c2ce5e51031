"""Learning to weigh fluxes: gradients through solvers, failures in a batch, what agents cannot break, rewards."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from law_results import value
from numpy.testing import assert_allclose, assert_array_equal

from closura.cli import main
from closura.closures.weights import WeightsClosure
from closura.core import Method, Role, StepRule
from closura.environment import Environment
from closura.grids import Grid
from closura.initial.burgers import burgers_1d
from closura.initial.condition import ENDS
from closura.initial.gas import euler_1d
from closura.learners import A2C, BPTTS, PPO, BPTTSConfiguration, averaged
from closura.numerics.weno import candidates, interface_value, smoothness, smoothness_forms
from closura.problems import Problem
from closura.problems.laws.cases import law_cases, place
from closura.problems.laws.catalogue import LAW_PROBLEMS, find_condition
from closura.problems.laws.evaluate import Study, run_study
from closura.problems.laws.fluxes import interface_flux, keep_positive, split_stencils
from closura.problems.laws.law import Burgers, Euler
from closura.problems.laws.methods import classical
from closura.problems.laws.rewards import STEEPNESS, FreeReward, OneStep
from closura.problems.laws.setup import Burgers1DConfiguration, Euler1DConfiguration, conservation_law
from closura.problems.laws.setup import euler_1d as euler_problem
from closura.problems.laws.weighted_fluxes import WeightedFluxes
from closura.problems.problem import Transition
from closura.reporting.figures.training import training_curves
from closura.runs import RunFolder, TrainConfiguration, ValidationConfiguration, train
from closura.runs.configuration import train_preset
from closura.runs.tracking import read_metrics
from closura.runs.training import Progress, build_closure
from closura.runs.validation import prepare_validation, validation_error
from closura.simulation.simulate import run

PERIODIC, OUTFLOW = ENDS.index("periodic"), ENDS.index("outflow")
EPS = float(jnp.finfo(jnp.float64).eps)


def small(name: str = "burgers-1d", *, cells: int = 24, steps: int = 6, **learning: Any) -> TrainConfiguration:
    """The published training, shrunk."""
    paper = train_preset("paper", problem=name)
    settings = {"horizons": (steps,), "updates": 4, **learning}
    return replace(
        paper,
        problem=replace(paper.problem, cells=cells, steps=steps),
        network=replace(paper.network, hidden=(8,)),
        learning=replace(paper.learning, **settings),
        validation=ValidationConfiguration(simulations=len(paper.problem.initial), steps=2 * steps, every=1),
        log_every=1,
    )


def parts(configuration: TrainConfiguration) -> tuple[Problem, BPTTS, Any]:
    problem = conservation_law(configuration.problem)
    return problem, BPTTS(configuration.learning), build_closure(configuration, problem, key=jax.random.key(1))


def loss_of(problem: Problem, learner: BPTTS, closure: Any) -> tuple[Callable, Any]:
    """The mean loss of windows with its gradient, compiled, of weights and initial states; and the weights."""
    weights, static = eqx.partition(closure, eqx.is_inexact_array)
    horizon = learner.configuration.horizons[0]

    def loss(weights: Any, episodes: Any) -> jax.Array:
        agents = eqx.combine(weights, static)
        return jnp.mean(jax.vmap(lambda e: learner.window(problem, agents, e, horizon))(episodes).loss)

    return jax.jit(jax.value_and_grad(loss)), weights


def drawn(closure: Any, size: float, *, key: jax.Array) -> Any:
    """Weights drawn at random: an untrained guided agent says nothing."""
    leaves, tree = jax.tree.flatten(eqx.filter(closure, eqx.is_inexact_array))
    keys = jax.random.split(key, len(leaves))
    random = [size * jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return eqx.combine(jax.tree.unflatten(tree, random), closure)


def any_answer(number: Any = 0, size: float = 4.0) -> Callable:
    """Logits without sense: weights between nothing and all."""
    return lambda seen: size * jax.random.normal(jax.random.key(number), (6, seen.shape[1]), seen.dtype)


RANDOM_AGENTS = any_answer()


# Gradients


@pytest.mark.parametrize("r", [3, 5])
def test_derivatives_written_by_hand_are_those_of_the_formulas(r: int) -> None:
    """Smoothness, weighted candidates and the cutting of stencils against derivatives of plain formulas."""
    keys = jax.random.split(jax.random.key(r), 4)
    s = jax.random.normal(keys[0], (2 * r - 1, 3, 4), jnp.float64)
    w, g = (jax.random.normal(k, (r, 3, 4), jnp.float64) for k in keys[1:3])

    def plain_smoothness(s: jax.Array) -> jax.Array:
        forms = [jnp.asarray(f) for f in smoothness_forms(r)]
        return jnp.stack([jnp.einsum("i...,ij,j...->...", s[k : k + r], f, s[k : k + r]) for k, f in enumerate(forms)])

    def plain_value(s: jax.Array, w: jax.Array) -> jax.Array:
        rows = jnp.asarray(candidates(r))
        return sum(w[k] * jnp.einsum("j,j...->...", rows[k], s[k : k + r]) for k in range(r))

    # Two orders of adding the same numbers: some thousand units of rounding where large ones cancel.
    near = {"rtol": 1e-11, "atol": 1e-11}
    assert_allclose(smoothness(s), plain_smoothness(s), **near)
    ours, plain = (jax.grad(lambda s, f=f: jnp.sum(g * f(s)))(s) for f in (smoothness, plain_smoothness))
    assert_allclose(ours, plain, **near)
    ours, plain = (
        jax.grad(lambda s, w, f=f: jnp.sum(g[0] * f(s, w)), argnums=(0, 1))(s, w)
        for f in (interface_value, plain_value)
    )
    jax.tree.map(lambda a, b: assert_allclose(a, b, **near), ours, plain)

    @jax.jit
    def stencils(q: jax.Array) -> jax.Array:
        return split_stencils(Burgers(), q, jnp.asarray(OUTFLOW, jnp.int32), axis=0, r=r).stencils

    q = jax.random.normal(keys[3], (1, 12), jnp.float64)
    directions = jax.random.normal(keys[0], (2, *q.shape), jnp.float64)
    weigh = jax.random.normal(keys[1], stencils(q).shape, jnp.float64)
    slope = jax.grad(lambda q: jnp.sum(weigh * stencils(q)))(q)
    for d in directions:
        # Quadratic but for the largest speed, whose cell a step of 1e-6 does not change.
        ahead, behind = (float(jnp.sum(weigh * stencils(q + e * d))) for e in (1e-6, -1e-6))
        assert float(jnp.sum(slope * d)) == pytest.approx((ahead - behind) / 2e-6, rel=1e-7)


@pytest.mark.parametrize("loss", ["reward", "mse"])
def test_gradient_of_a_full_unrolling_is_that_of_differences(loss: str) -> None:
    """Six steps through WENO's target and the agents: single weights of both layers, and the whole gradient."""
    configuration = small(loss=loss)
    problem, learner, closure = parts(configuration)
    episodes = Environment(problem).reset_batch(3, key=jax.random.key(0))
    value, weights = loss_of(problem, learner, closure)
    gradient = value(weights, episodes)[1]
    layers = gradient.network.layers
    assert all(float(jnp.abs(x).max()) > 0 for x in jax.tree.leaves(layers))

    def along(direction: Any, step: float) -> float:
        ends = (jax.tree.map(lambda w, d, e=e: w + e * d, weights, direction) for e in (step, -step))
        ahead, behind = (float(value(w, episodes)[0]) for w in ends)
        return (ahead - behind) / (2 * step)

    nothing = jax.tree.map(jnp.zeros_like, weights)
    places = [(0, "weight", (4, 2)), (0, "weight", (7, 5)), (0, "bias", (1,)), (1, "weight", (2, 4)), (1, "bias", (0,))]
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient))
    for layer, kind, place_ in places:
        one = eqx.tree_at(
            lambda w: getattr(w.network.layers[layer], kind), nothing, replace_fn=lambda x: x.at[place_].set(1.0)
        )
        exact = float(getattr(layers[layer], kind)[place_])
        # Central differences of 1e-5: truncation and rounding of about 1e-7 of the largest; few relu turn over.
        assert along(one, 1e-5) == pytest.approx(exact, rel=1e-4, abs=1e-5 * scale), (layer, kind, place_)
    unit = jax.tree.map(lambda g: g / jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(gradient))), gradient)
    length = float(jnp.sqrt(sum(jnp.sum(x * x) for x in jax.tree.leaves(gradient))))
    assert along(unit, 1e-5) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize("name", ["burgers-1d", "euler-1d"])
def test_gradients_are_finite_on_constant_data(name: str) -> None:
    """Deviations and smoothness are exactly zero there: nothing may divide by them, nor take their root."""
    configuration = small(name)
    problem, learner, closure = parts(configuration)
    episodes = Environment(problem).reset_batch(2, key=jax.random.key(0))  # Sod is constant but for one jump
    still = jnp.broadcast_to(episodes.state[..., :1], episodes.state.shape)
    still = eqx.tree_at(lambda e: e.state, episodes, still)
    value, weights = loss_of(problem, learner, closure)
    for begun in (episodes, still):
        loss, gradient = value(weights, begun)
        assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(gradient))
    # Constants stay what they are whatever the agents answer: the reward has nothing to say (up to rounding, which
    # it multiplies by a thousand).
    assert float(loss) == pytest.approx(0, abs=1e-9)


def test_one_step_targets_share_the_stencils_of_the_agents() -> None:
    """The shared way gives both steps as the two ways apart do, for one stage and for several."""
    state, parameters = place(Burgers(), burgers_1d("accelshock"), 24)
    parameters["time_step"] = jnp.asarray(4e-4, jnp.float64)
    for integrator in ("forward-euler", "ssp-rk3"):
        dynamics = WeightedFluxes(Burgers(), integrator=integrator)
        together = eqx.filter_jit(OneStep(dynamics).advance_beside)
        dt = parameters["time_step"]
        following, _, beside = together(None, dynamics, state, parameters, dt, any_answer())
        step = eqx.filter_jit(dynamics.step)
        assert_allclose(following, step(state, parameters, dt, any_answer()), rtol=8 * EPS)
        assert_allclose(beside, step(state, parameters, dt), rtol=8 * EPS)


# Schedules, failures, resumption


def test_simulations_of_a_batch_take_the_conditions_in_turn() -> None:
    """Seven simulations of three conditions with two kinds of boundary, in one batch that can be learned from."""
    configuration = small(batch=7)
    problem, learner, closure = parts(configuration)
    names = configuration.problem.initial
    assert names == ("smooth-sine", "rarefaction", "accelshock")
    state = learner.init(problem, closure, key=jax.random.key(0))
    for k in range(7):
        expected, own = place(Burgers(), burgers_1d(names[k % 3]), 24)
        assert_array_equal(state.carry.state[k], expected)
        assert_array_equal(state.carry.parameters["ends"][k], own["ends"])
    assert {PERIODIC, OUTFLOW} == set(np.asarray(state.carry.parameters["ends"]).ravel().tolist())
    following, metrics = learner.advance(problem, state, jnp.asarray(1, jnp.int32), 0)
    assert np.isfinite(float(metrics["reward"]))
    # Simulations begin anew where they began: they are as long as a window.
    assert_array_equal(following.carry.state, state.carry.state)


def test_a_simulation_that_breaks_down_neither_stops_nor_poisons_an_update() -> None:
    """The update is the one that the other simulations make alone; the lost one begins anew."""
    configuration = small("euler-1d", batch=3, clip="simulation", gradient_norm=1.0)
    configuration = replace(configuration, problem=replace(configuration.problem, initial=("sod", "lax", "sod2")))
    problem, learner, closure = parts(configuration)
    state = learner.init(problem, closure, key=jax.random.key(0))

    def advance(episodes: Any) -> tuple[Any, dict]:
        return learner.advance(problem, replace(state, carry=episodes), jnp.asarray(1, jnp.int32), 0)

    broken, fields = {}, state.carry.state
    broken["not a number"] = fields.at[1, 0, 5].set(jnp.nan)
    broken["negative pressure"] = fields.at[1, 2, 5].set(-1.0)
    updates = []
    for field in broken.values():
        following, metrics = advance(eqx.tree_at(lambda e: e.state, state.carry, field))
        assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(eqx.filter(following, eqx.is_inexact_array)))
        assert float(metrics["lost"]) == pytest.approx(1 / 3)
        assert_array_equal(following.carry.state[1], state.carry.state[1])
        updates.append(jax.tree.leaves(eqx.filter(following.closure, eqx.is_inexact_array)))
    before = jax.tree.leaves(eqx.filter(closure, eqx.is_inexact_array))
    assert any(float(jnp.abs(a - b).max()) > 1e-5 for a, b in zip(updates[0], before, strict=True))


class Stop(Exception):
    pass


def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights and metrics to the bit, through the run folder; and which commands take such a run."""
    configuration = small(cells=16, steps=3)

    def stop(progress: Progress) -> None:
        if progress.row["update"] == 3:
            raise Stop

    train(configuration, tmp_path / "whole")
    with pytest.raises(Stop):
        train(configuration, tmp_path / "parts", report=stop)
    train(configuration, tmp_path / "parts", resume=True)
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("whole", "parts")
    ]
    assert rows[0] == rows[1]
    assert [row["update"] for row in rows[0]] == [1, 2, 3, 4]
    for file in ("weights", "final"):
        a, b = (safetensors.numpy.load_file(tmp_path / name / f"{file}.safetensors") for name in ("whole", "parts"))
        for name in a:
            assert a[name].dtype == np.float64
            assert_array_equal(a[name], b[name])
    # The best by reward, and what a selection by reward says.
    best = max(-row["validation_error"] for row in rows[0])
    facts = RunFolder(tmp_path / "whole").read_status()
    assert -facts["best"] == best < 0
    figure = training_curves(rows[0], validation="minus the summed reward")
    panel = next(axes for axes in figure.axes if axes.get_title() == "validation error")
    assert panel.get_ylabel() == "minus the summed reward"
    assert_allclose(panel.lines[0].get_ydata(), [row["validation_error"] for row in rows[0]])
    with pytest.raises(SystemExit):
        main(["interpret", str(tmp_path / "whole")])
    error = capsys.readouterr().err
    assert "weigh fluxes" in error
    assert f"closura evaluate burgers-1d --closure {tmp_path / 'whole'} --out FOLDER" in error
    main(["report", str(tmp_path / "whole"), "--out", str(tmp_path / "report.html"), "--no-timing"])
    assert "2203.08937" in (tmp_path / "report.html").read_text()


# What agents cannot break


def periodic_gas(cells: int = 32) -> tuple[jax.Array, dict]:
    """Two strong jumps in a periodic box, density and pressure close to nothing on one side."""
    x = (jnp.arange(cells, dtype=jnp.float64) + 0.5) / cells
    inside = (x > 0.25) & (x < 0.75)
    rho, v, p = jnp.where(inside, 1.0, 1e-3), jnp.where(inside, 3.0, -3.0), jnp.where(inside, 1.0, 1e-4)
    law = Euler()
    parameters = {
        "spacing": jnp.asarray([1 / cells], jnp.float64),
        "ends": jnp.asarray([PERIODIC], jnp.int32),
        "time_step": jnp.asarray(0.4 / cells / 16, jnp.float64),
    }
    return law.conserved(jnp.stack([rho, v, p])), parameters


@pytest.mark.parametrize(("law", "positivity"), [(Burgers(), False), (Euler(), False), (Euler(), True)])
def test_constants_and_totals_are_kept_whatever_agents_answer(law: Any, positivity: bool) -> None:
    dynamics = WeightedFluxes(law, positivity=positivity)
    gas, parameters = periodic_gas()
    state = gas if isinstance(law, Euler) else gas[:1] - 0.4
    constant = jnp.broadcast_to(state[:, :1], state.shape)

    @jax.jit
    def run(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        agents = any_answer(number)
        dt = parameters["time_step"]
        return dynamics.step(constant, parameters, dt, agents), dynamics.tendency(state, parameters, agents)

    for number in range(3):
        after, change = run(number)
        # A flux of order one, divided by the spacing, times the step, at three stages: rounding of some units.
        assert_allclose(after, constant, rtol=40 * EPS, atol=40 * EPS)
        scale = float(jnp.sum(jnp.abs(change)))
        assert_allclose(jnp.sum(change, axis=1), 0, atol=40 * EPS * scale)
        assert scale > 1


def test_positivity_leaves_smooth_flow_alone() -> None:
    """The limited flux is the other one to the bit; at a strong jump it is not."""
    law, end = Euler(), jnp.asarray(PERIODIC, jnp.int32)
    x = (jnp.arange(64, dtype=jnp.float64) + 0.5) / 64
    wave = jnp.sin(2 * jnp.pi * x)
    smooth = law.conserved(jnp.stack([1 + 0.2 * wave, 0.3 * wave, 1 - 0.2 * wave]))

    @jax.jit
    def both(state: jax.Array) -> tuple[jax.Array, jax.Array]:
        sweep = split_stencils(law, state, end, axis=0, r=3)
        weights = jax.nn.softmax(any_answer()(jnp.zeros((1, state.size + 3))).reshape(2, 3, 3, -1), axis=1)
        flux = interface_flux(sweep.stencils, weights, sweep.back)
        return flux, keep_positive(law, flux, sweep.edges)

    for state, alike in ((smooth, True), (periodic_gas()[0], False)):
        flux, limited = both(state)
        assert bool(jnp.all(limited == flux)) == alike


@pytest.mark.parametrize("name", ["double-rarefaction", "slow-shock", "blast-waves"])
def test_positivity_keeps_a_gas_a_gas(name: str) -> None:
    """Where WENO5-JS or agents without sense end with a negative pressure, the same with limited fluxes does not."""
    condition = euler_1d(name)
    cases, grid = law_cases(Euler(), [condition], 64, ends=[condition.time]), Grid((64,))
    solvers = {kept: WeightedFluxes(Euler(), positivity=kept) for kept in (False, True)}
    failed = {}
    for kept, agents in itertools.product((False, True), (None, RANDOM_AGENTS)):
        method = Method(solvers[kept], Role.BASELINE, StepRule(courant=0.4, even=False), agents)
        end = run(method, (1.0,), grid, cases)
        failed[kept, agents is None] = bool(end.failed.any())
        if kept:
            assert all(float(x.min()) > 0 for x in Euler().positives(jnp.asarray(end.fields[0, -1])))
    assert failed[False, False] or failed[False, True]
    assert not failed[True, False]
    assert not failed[True, True]


def guided(dynamics: WeightedFluxes, *, even: bool, size: float = 0.6) -> WeightsClosure:
    closure = WeightsClosure(dynamics.spec(), hidden=(8,), even=even, double=True, key=jax.random.key(0))
    return drawn(closure, size, key=jax.random.key(3))


@pytest.mark.parametrize(("law", "sizes"), [(Burgers(), False), (Burgers(), True), (Euler(), True)])
def test_mirrored_fields_get_mirrored_updates(law: Any, sizes: bool) -> None:
    """Of guided agents with any weights; for a gas with the even form only, for the momentum changes its sign."""
    dynamics = WeightedFluxes(law, sizes=sizes, integrator="forward-euler")
    gas, parameters = periodic_gas()
    state = gas + 0.05 * jax.random.uniform(jax.random.key(1), gas.shape, jnp.float64)
    signs = law.mirror(0).astype(jnp.float64)[:, None]
    state = state if isinstance(law, Euler) else state[1:2]

    def difference(agents: Any) -> float:
        tendency = eqx.filter_jit(dynamics.tendency)
        ahead = tendency(state, parameters, agents)
        back = signs * tendency(signs * state[:, ::-1], parameters, agents)[:, ::-1]
        return float(jnp.abs(ahead - back).max() / jnp.abs(ahead).max())

    # Rounding of the network's sums in another order, times logits of some tens.
    assert difference(guided(dynamics, even=isinstance(law, Euler))) < 1e-11
    if isinstance(law, Euler):
        assert difference(guided(dynamics, even=False)) > 1e-4


def test_guided_agents_keep_the_order_of_smooth_flow_whatever_they_have_learned() -> None:
    """Before the shock, at N = 64 and 128: the errors are those of the optimal linear scheme, fifth order."""
    problem = LAW_PROBLEMS["burgers-1d"]
    how, step = {"integrator": problem.integrator, "splitting": problem.splitting}, StepRule(courant=0.1, even=False)
    solver = WeightedFluxes(problem.law, sizes=True, **how)
    methods = {
        "linear": classical("linear5", problem.law, projection="component", step=step, **how),
        "agent": Method(solver, Role.CLOSURE, step, guided(solver, even=False)),
    }
    initial = {"smooth-sine": find_condition(problem, "smooth-sine")}
    found = run_study(Study(problem, initial, (64, 128), 0.04), methods)
    errors = {m: [value(found, "l2", m, "smooth-sine", n) for n in (64, 128)] for m in methods}
    assert np.log2(errors["agent"][0] / errors["agent"][1]) > 4.5
    assert errors["agent"][1] == pytest.approx(errors["linear"][1], rel=0.02)
    # The same agent does something where a jump is.
    state, parameters = place(problem.law, burgers_1d("shock"), 32)
    logits = methods["agent"].closure(solver.observe(state, parameters))
    optimal = jnp.log(jnp.asarray([0.1, 0.6, 0.3, 0.1, 0.6, 0.3]))[:, None]
    assert float(jnp.abs(logits - optimal).max()) > 1


# Rewards


def test_free_rewards_of_cases_made_by_hand() -> None:
    """New extrema and what misses the linear scheme on smooth flow cost; changes inside a jump's range do not."""
    linear = WeightedFluxes(Burgers(), scheme="linear5", integrator="forward-euler")
    reward, cells = eqx.filter_jit(FreeReward(linear)), 32
    parameters = {
        "spacing": jnp.asarray([1 / cells], jnp.float64),
        "ends": jnp.asarray([PERIODIC], jnp.int32),
        "time_step": jnp.asarray(1e-3, jnp.float64),
    }

    def rewards(state: jax.Array, following: jax.Array) -> np.ndarray:
        nothing = jnp.zeros((1,), jnp.float64)
        found = reward(Transition(state, state, following, state, state, nothing, parameters))
        assert found.shape == (cells + 1,)
        return np.asarray(found)

    x = (jnp.arange(cells, dtype=jnp.float64) + 0.5) / cells
    smooth = 1 + 0.1 * jnp.sin(2 * jnp.pi * x)[None]
    best = linear.step(smooth, parameters, parameters["time_step"])
    # Crests move: at the two of them the linear step goes beyond the largest value on the grid, by 6e-5.
    assert rewards(smooth, best).max() <= 0
    assert rewards(smooth, best).min() > -5e-2
    missed = rewards(smooth, best.at[0, 17].add(1e-3))
    # Cell 17 is beside interfaces 17 and 18, which each take half of its error; 1e-3 stays within its neighbours'
    # range, and the slope is steep there: both stencils are smooth.
    assert_allclose(missed[[17, 18]], np.arctan(-STEEPNESS * 0.5e-3), rtol=1e-9)
    assert np.delete(missed, [17, 18]).min() > -5e-2

    jump = jnp.where((x > 0.25) & (x < 0.75), 2.0, 1.0)[None]
    inside = jump.at[0, 8].add(-0.3)  # the first cell behind the jump, still between its neighbours
    assert_allclose(rewards(jump, inside)[[8, 9]], 0, atol=1e-9)
    beyond = jump.at[0, 8].add(0.3)
    assert_allclose(rewards(jump, beyond)[[8, 9]], np.arctan(-STEEPNESS * 0.15), rtol=1e-9)
    assert rewards(jump, beyond)[20] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("learner", ["ppo", "a2c"])
def test_agents_that_explore_learn_on_burgers(learner: str) -> None:
    """The summed reward of what the trained policy does, which is how it is selected, rises by a fifth or more."""
    preset = train_preset("quick", problem="burgers-1d", learner=learner)
    configuration = replace(
        preset,
        problem=replace(preset.problem, cells=48, time_step=1e-3),
        network=replace(preset.network, hidden=(32, 32)),
        learning=replace(preset.learning, updates=60, anneal=False, average=0.0),
    )
    problem = conservation_law(configuration.problem)
    policy = build_closure(configuration, problem, key=jax.random.key(0))
    kind = {"ppo": PPO, "a2c": A2C}[learner](configuration.learning)
    state = kind.init(problem, policy, key=jax.random.key(1))
    validation = prepare_validation(problem, 3, 100, key=jax.random.key(2))
    before = float(validation_error(problem, averaged(state), validation))
    state, metrics = kind.advance(problem, state, jnp.asarray(60, jnp.int32), 0)
    assert float(metrics["reward"]) < 0 < float(metrics["policy_std"])
    assert 0 < float(validation_error(problem, averaged(state), validation)) < 0.8 * before


# Bad input


def test_settings_that_cannot_work_are_refused_with_a_remedy() -> None:
    ppo = train_preset("quick", problem="burgers-1d", learner="ppo")
    with pytest.raises(ValueError, match=r"rk4 asks 4 times: set integrator to forward-euler"):
        replace(ppo, problem=replace(ppo.problem, integrator="rk4"))
    with pytest.raises(ValueError, match=r"'compact' does not act at interfaces.*choose weights"):
        train_preset("quick", problem="burgers-1d", closure="compact")
    with pytest.raises(ValueError, match=r"'weights' does not act in cells.*choose compact, ircnn"):
        train_preset("quick", closure="weights")
    with pytest.raises(ValueError, match=r"sod.*(valid|known).*smooth-sine"):
        Burgers1DConfiguration(initial=("sod",))
    with pytest.raises(ValueError, match=r"'random' or names of others; got random, tophat"):
        Burgers1DConfiguration(initial=("random", "tophat"))
    with pytest.raises(ValueError, match=r"Courant number of 5 is not stable with ssp-rk3 \(limit 1"):
        Burgers1DConfiguration(courant=(0.1, 5.0))
    with pytest.raises(ValueError, match=r"must be odd.*got 4"):
        Euler1DConfiguration(ratio=4)
    with pytest.raises(ValueError, match=r"weno9-js needs at least 10 cells"):
        Burgers1DConfiguration(scheme="weno9-js", cells=8)
    with pytest.raises(ValueError, match=r"set reference.slots to 0"):
        replace(small(), reference=replace(small().reference, slots=8))
    with pytest.raises(ValueError, match=r"sod with a time step of 0.01: a Courant number of .* is not stable"):
        conservation_law(replace(euler_problem.published(Euler1DConfiguration()), time_step=0.01))
    with pytest.raises(ValueError, match=r"closures act in cells"):
        WeightsClosure(train_problem_spec(), key=jax.random.key(0))


def train_problem_spec() -> Any:
    from closura.problems import AdvectionConfiguration, advection

    return advection(AdvectionConfiguration(cells=16, ratio=2)).spec


def test_learning_needs_horizons_and_limits_that_make_sense() -> None:
    with pytest.raises(ValueError, match="one fraction per horizon"):
        BPTTSConfiguration(horizons=(4, 8), fractions=(1.0,))
    with pytest.raises(ValueError, match="gradient_norm must not be negative"):
        BPTTSConfiguration(gradient_norm=-1.0)
