"""Fronts of error against cost: dominance, pairing, grids, steps, and errors that agree with ``closura evaluate``."""

import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from law_results import value

from closura.core import Method, Metric, Role, StepRule
from closura.core.case import Case
from closura.core.front import FRONTS, Benchmark, Outcome, Sweep, Work, check_grids, named
from closura.core.solver import Solver
from closura.core.transfer import interpolation, transfer
from closura.grids import Grid
from closura.metrics.comparison import paired
from closura.metrics.pareto import Fronts, on_front
from closura.metrics.statistics import aggregate
from closura.numerics import block_mean, courant_limit, get_integrator, subsample
from closura.problems import AdvectionConfiguration, BurgersConfiguration, build_problem
from closura.problems.advection import AdvectionSolver
from closura.problems.burgers import BurgersSolver
from closura.problems.characteristics import cubic
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.evaluate import Study, run_study
from closura.problems.laws.front import held_out_conditions, law_benchmark
from closura.problems.laws.methods import classical
from closura.reporting.benchmark.record import front_rows, read_json
from closura.reporting.benchmark.tables import front_table, important
from closura.reporting.numbers import all_numbers
from closura.reporting.tables import write_csv, write_json
from closura.simulation.benchmark import run_benchmark
from closura.simulation.cost import Timing
from closura.simulation.evaluate import evaluate
from closura.simulation.march import schedule
from closura.simulation.simulate import run
from closura.simulation.sweep import problem_benchmark

KEY = jax.random.key(3)
ADVECTION = AdvectionConfiguration(cells=16, ratio=2)
BURGERS = BurgersConfiguration(cells=16, ratio=2)


def suite_of(configuration, sweep, closures=None, simulations=3):
    problem = build_problem(configuration, "test")
    front = FRONTS.find(problem.name)
    found = problem_benchmark(
        front, problem, configuration, sweep, closures or {}, {}, simulations=simulations, key=KEY
    )
    return problem, found


def errors(benchmark, name, reference="published"):
    one = benchmark.methods[name]
    return benchmark.error.of(benchmark.run(one).fields, benchmark.references[reference](one))


@pytest.fixture(scope="module")
def advection():
    sweep = Sweep(schemes=("upwind5", "central2"), grids=(8, 32, 64), courant=(0.5,))
    return suite_of(ADVECTION, sweep, {"nudge": nudge})


def nudge(observed):
    """A closure of no merit: it takes a little of the field away."""
    return 0.01 * observed[:1]


# --- the front --------------------------------------------------------------------------------------------------------


def test_front_by_hand():
    cost = [1.0, 2.0, 3.0, 2.0, 5.0, 0.5, np.nan]
    error = [9.0, 5.0, 6.0, 4.0, 1.0, np.inf, 0.0]
    # 2 is dear and wrong, 1 costs as much as 3 and errs more, 5 diverged, 6 was not timed.
    assert on_front(cost, error).tolist() == [True, False, False, True, True, False, False]


def test_equal_points_share_the_front():
    assert on_front([1.0, 1.0], [2.0, 2.0]).tolist() == [True, True]
    assert on_front([1.0, 2.0], [2.0, 2.0]).tolist() == [True, False]


def test_no_point_off_the_front_is_undominated():
    rng = np.random.default_rng(0)
    cost, error = rng.uniform(size=(2, 60))
    front = on_front(cost.tolist(), error.tolist())
    for i in range(60):
        dominated = np.any((cost <= cost[i]) & (error <= error[i]) & ((cost < cost[i]) | (error < error[i])))
        assert front[i] == (not dominated)


def test_aggregate_errors():
    e = np.asarray([1.0, 4.0, 16.0])
    assert aggregate(e, "mean") == 7.0
    assert aggregate(e, "median") == 4.0
    assert aggregate(e, "geometric") == pytest.approx(4.0, rel=1e-12)
    lost = np.asarray([1.0, np.nan, 2.0])
    assert aggregate(lost, "mean") == aggregate(lost, "geometric") == np.inf
    assert aggregate(lost, "median") == 2.0  # a lost one is the largest


@pytest.mark.parametrize("bootstrap", [False, True])
def test_pairing(bootstrap):
    rng = np.random.default_rng(1)
    reference = rng.uniform(1, 2, 40)
    found = paired(reference - 0.5, reference, "mean", bootstrap=bootstrap)
    # The same difference everywhere: no spread, whatever the errors' own spread is.
    assert np.allclose(found[:3], -0.5, atol=1e-12)
    assert (found.better, found.not_finite) == (40, 0)
    noisy = paired(reference + rng.normal(0.1, 0.2, 40), reference, "mean", bootstrap=bootstrap)
    assert noisy.low < noisy.value < noisy.high
    # Either interval and normal theory agree to a few percent of the width at n = 40.
    assert noisy.high - noisy.low == pytest.approx(2 * 1.96 * 0.2 / np.sqrt(40), rel=0.35)


def test_pairing_is_the_same_every_time():
    a, b = np.random.default_rng(1).uniform(1, 2, (2, 40))
    assert paired(a, b, "median", bootstrap=True) == paired(a, b, "median", bootstrap=True)


def test_pairing_of_ratios_and_of_lost_simulations():
    a, b = np.asarray([1.0, 2.0, 3.0]), np.asarray([2.0, 4.0, 6.0])
    for bootstrap in (False, True):
        found = paired(a, b, "geometric", bootstrap=bootstrap)
        assert np.allclose(found[:3], 0.5, rtol=1e-12)
        turned = paired(-a, -b, "mean", bootstrap=bootstrap).turned()
        np.testing.assert_allclose(turned[:3], paired(a, b, "mean", bootstrap=bootstrap)[:3], rtol=1e-12)
        lost = paired(np.asarray([1.0, np.inf]), np.asarray([2.0, 1.0]), "mean", bootstrap=bootstrap)
        assert np.isnan(lost.value)
        assert (lost.better, lost.not_finite, lost.of_finite) == (1, 1, -1.0)


# --- grids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "cubic", "trigonometric"])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("n", "m"), [(8, 16), (16, 12), (9, 27)])
def test_interpolation_keeps_constants_and_converges(kind, centred, n, m):
    matrix = interpolation(n, m, kind, centred=centred)
    assert np.allclose(matrix.sum(axis=1), 1, atol=1e-12)
    offset = 0.5 if centred else 0.0
    here, there = (np.arange(n) + offset) / n, (np.arange(m) + offset) / m
    wave = matrix @ np.sin(2 * np.pi * here)
    # Eight points of a wave: h^2/8 f'' = 0.077, 3 h^4/128 f'''' = 0.009, and round-off.
    bound = {"linear": 0.08, "cubic": 0.01, "trigonometric": 1e-12}[kind]
    assert np.max(np.abs(wave - np.sin(2 * np.pi * there))) < bound


@pytest.mark.parametrize("seam", [False, True])
def test_velocities_on_finer_grids_are_those_of_the_exact_reference(seam):
    """The interpolant that methods on finer grids get is the one that characteristics follow."""
    field = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 8)))
    ours = transfer(field, Grid((24, 24)), seam=seam)
    places = jnp.asarray(np.stack(np.meshgrid(np.arange(24) / 3, np.arange(24) / 3, indexing="ij")))
    assert np.allclose(ours, cubic(field, places, seam=seam), atol=1e-12)


def test_transfers_restrict_as_the_problem_does():
    field = jnp.asarray(np.random.default_rng(0).normal(size=(2, 12, 12)), jnp.float32)
    for restrict, centred in ((subsample, False), (block_mean, True)):
        assert np.array_equal(transfer(field, Grid((4, 4)), centred=centred), restrict(field, 3))
        assert transfer(field, Grid((12, 12)), centred=centred) is field
    finer = transfer(field, Grid((24, 24)))
    assert finer.dtype == jnp.float32
    # Points that both grids have keep their values.
    assert np.allclose(finer[:, ::2, ::2], field, atol=1e-6)


def test_grids_that_cannot_be_compared():
    check_grids((16, 32, 64, 192), 64)
    with pytest.raises(ValueError, match="a grid of 96 points per side cannot be compared on 64"):
        check_grids((64, 96), 64)


# --- steps ------------------------------------------------------------------------------------------------------------


GRID = Grid((16, 16))


def simulated(solver, rule, times, cases):
    """Fields at the times, steps, and failures, on sixteen points."""
    found = run(Method(solver, Role.BASELINE, rule), times, GRID, cases)
    return found.fields[:, 1:], found.steps, found.failed.any(axis=1)


def smooth_draw(n, velocity):
    x = np.arange(n) / n
    wave = np.sin(2 * np.pi * x)[:, None] + np.cos(2 * np.pi * x)[None]
    return Case(jnp.asarray(wave[None], jnp.float64), velocity)


def test_steps_by_courant_number_are_equal_and_land_on_the_times():
    velocity = jnp.stack([jnp.full((32, 32), 0.5), jnp.full((32, 32), -0.25)])
    draw = smooth_draw(32, velocity)
    solver = AdvectionSolver(GRID, "upwind5", "rk4")
    draws = jax.tree.map(lambda x: x[None], draw)
    fields, steps, failed = simulated(solver, StepRule(courant=1.0), (0.1, 0.25), draws)
    # Rate 0.75 * 16 = 12: 1.2 and 1.8 steps become 2 and 2.
    assert steps.tolist() == [4]
    assert not failed.any()
    psi, v = draw.initial[:, ::2, ::2], velocity[:, ::2, ::2]
    first = solver.march(psi, v, 0.05, 2)
    second = solver.march(first, v, 0.075, 2)
    # The same steps: round-off of float64.
    assert np.allclose(fields[0, 0], first, atol=1e-13)
    assert np.allclose(fields[0, 1], second, atol=1e-13)


def test_steps_that_follow_the_field_land_on_the_times():
    x = 2 * np.pi * (np.arange(16) + 0.5) / 16
    field = np.stack([np.sin(x)[:, None] + 0 * x[None], 0.3 * np.cos(x)[None] + 0 * x[:, None]])
    viscosity = jnp.asarray(0.01, jnp.float64)
    draws = jax.tree.map(lambda a: jnp.asarray(a)[None], Case(jnp.asarray(field), {"viscosity": viscosity}))
    solver = BurgersSolver(GRID, "upwind3", "rk4")
    fields, steps, _ = simulated(solver, StepRule(courant=0.1), (0.05, 0.1), draws)
    # max(|u| + |v|) <= 1.3, plus diffusion: at least 16 * 0.1 / 0.1 steps, at most 40.
    assert 16 < steps[0] < 40
    true = solver.march(jnp.asarray(field), {"viscosity": viscosity}, 0.0005, 200)
    # RK4 with steps of 0.004 and of 0.0005 differ by (0.004 * 16)^4 / 100 or less.
    assert np.allclose(fields[0, 1], true, atol=1e-6)


def test_simulations_that_blow_up_are_counted():
    velocity = jnp.ones((2, 16, 16))
    rng = np.random.default_rng(0)
    draw = Case(jnp.asarray(rng.uniform(size=(1, 16, 16))), velocity)
    still = Case(draw.initial, 0.01 * velocity)
    draws = jax.tree.map(lambda a, b: jnp.stack([a, b]), draw, still)
    solver = AdvectionSolver(GRID, "upwind5", "rk4")
    # Two fixed steps per unit: Courant number 16 in the first simulation, 0.16 in the second.
    assert simulated(solver, StepRule(0.5), (8.0,), draws)[2].tolist() == [True, False]
    # A Courant number beyond all bounds is no endless loop either.
    assert simulated(solver, StepRule(courant=1e-9), (8.0,), draws)[2].all()


def test_times_between_own_steps_are_refused():
    rule = StepRule(0.25, exact=True)
    with pytest.raises(ValueError, match=r"no multiple of the time step 0.25.*0.25 and 0.5"):
        schedule(rule, (0.3,))
    assert schedule(rule, (0.25, 0.75)).counts.tolist() == [1, 2]
    assert schedule(StepRule(0.25), (0.3,)).counts.tolist() == [2]


def test_ladders():
    sweep = Sweep()
    assert sweep.steps(2.0) == (1.8, 1.0, 0.5)
    assert sweep.steps(0.0) == ()  # never stable
    assert Sweep(courant=(0.25, 1.0, 1.5)).steps(1.2) == (1.0, 0.25)
    with pytest.raises(ValueError, match="unknown scheme 'b'; valid: a, c"):
        Sweep(schemes=("b",)).chosen(("a", "c"))
    for wrong in ({"courant": (-1.0,)}, {"times": (0.2, 0.1)}, {"grids": (2,)}, {"grids": (16, 16)}):
        with pytest.raises(ValueError, match=r"--\w+ |grids need"):
            Sweep(**wrong)


# --- problems ---------------------------------------------------------------------------------------------------------


def test_advection_agrees_with_evaluate(advection):
    """The coarse solver, and a closure after the burn-in, have the errors that ``closura evaluate`` gives them."""
    problem, benchmark = advection
    known = evaluate(replace(problem, baselines={}), {"nudge": nudge}, simulations=3, steps=50, key=KEY, timing=False)
    for name, other in (("CGS 16 dt 0.0156", "CGS"), ("nudge, burnt in", "nudge")):
        # Another order of operations in float32, 51 steps.
        assert np.allclose(errors(benchmark, name)[:, 0], known.errors(other)[:, -1], rtol=1e-4)


def test_burgers_agrees_with_evaluate():
    """Without a burn-in so do the baselines."""
    problem, benchmark = suite_of(BURGERS, Sweep(schemes=("upwind5",), grids=(16,), times=(0.140625, 0.28125)))
    few = replace(problem, baselines={"upwind5": problem.baselines["upwind5"]}, finer={})
    known = evaluate(few, {}, simulations=3, steps=10, key=KEY, timing=False)
    assert problem.time_step == 0.028125
    for scheme in ("CGS", "upwind5"):
        found = errors(benchmark, f"{scheme} 16 dt 0.0281", "own")
        assert np.allclose(found, known.errors(scheme)[:, [5, 10]], rtol=2e-4)


def test_conservation_laws_agree_with_evaluate():
    law = LAW_PROBLEMS["burgers-1d"]
    benchmark = law_benchmark(law, Sweep(grids=(32,), courant=(0.5,), schemes=("weno5-js",)), {}, simulations=3, seed=0)
    how = {"integrator": law.integrator, "splitting": law.splitting, "projection": "component"}
    how["step"] = StepRule(courant=0.5, even=False)
    methods = {name: classical(name, law.law, **how) for name in ("weno5-js",)}
    initial = {c.name: c for c in held_out_conditions(law, 3, 0)}
    known = run_study(Study(law, initial, (32,), law.time), methods)
    for name in methods:
        for cells in (32,):
            theirs = [value(known, "l2", name, each) for each in initial]
            assert np.allclose(errors(benchmark, f"{name} {cells} C 0.5", "exact")[:, 0], theirs, rtol=1e-12)


def test_published_and_exact_references_of_advection(advection):
    _, benchmark = advection
    assert list(benchmark.references) == ["published", "exact"]
    assert np.all(errors(benchmark, "reference: published", "published") == 0)
    apart = errors(benchmark, "reference: published", "exact")
    assert np.array_equal(apart, errors(benchmark, "reference: exact", "published"))
    e = {n: errors(benchmark, f"upwind5 {n} C 0.5", "exact").mean() for n in (8, 64)}
    # Finer grids come nearer to the exact reference, and nearer than the published one, central differences on 32
    # points.
    assert e[8] > 4 * e[64]
    assert e[64] < 0.5 * apart.mean()
    # Near the published reference by sharing its grid: that is no merit.
    name = "central2 32 C 0.5"
    assert benchmark.methods[name].favoured_by == {"published"}
    assert errors(benchmark, name).mean() < 0.2 * errors(benchmark, name, "exact").mean()


# --- all together -----------------------------------------------------------------------------------------------------


class Toy(Solver):
    """Stands for a solver on eight points."""

    grid: Grid = eqx.field(static=True, default=Grid((8,)))

    def advance(self, state, parameters, dt):
        return state


def toy(name, error, cost, role=Role.BASELINE, favoured_by=frozenset()):
    """A method with given errors, whose step is ``cost`` multiplications of a small matrix."""
    method = Method(Toy(), role, StepRule(courant=1.0), family=name, favoured_by=favoured_by)
    return name, method, np.asarray(error, np.float64).reshape(-1, 1, 1, 1), cost


def toy_benchmark(*toys):
    zero = np.zeros((3, 1, 1, 1))
    by_method = {id(method): (fields, cost) for _, method, fields, cost in toys}

    def outcome(method):
        fields, _ = by_method[id(method)]
        return Outcome(fields, np.full(len(fields), 10.0), ~np.isfinite(fields[:, 0, 0, 0]))

    def work(method, members):
        _, cost = by_method[id(method)]

        def advance(state, context):
            return jax.lax.fori_loop(0, cost, lambda _, s: jnp.tanh(s @ context), state)

        eye = jnp.broadcast_to(jnp.eye(64, dtype=jnp.float32), (members, 64, 64))
        return Work(advance, eye, eye)

    return Benchmark(
        "toy", ("1",), named((name, method) for name, method, _, _ in toys), outcome, work,
        {"zero": lambda _: zero}, {"zero": "nothing"},
        Metric("error", lambda fields, reference: np.abs(fields - reference)[:, :, 0, 0], "error", percent=True), 8,
    )  # fmt: skip


def test_benchmark_of_given_errors_and_costs():
    benchmark = toy_benchmark(
        toy("cheap", [4.0, 5.0, 6.0], 1),
        toy("good", [1.0, 2.0, 3.0], 200),
        toy("dominated", [2.0, 3.0, 4.0], 2000),
        toy("lost", [1.0, np.nan, 0.0], 1),
        toy("closure", [1.0, 1.0, 1.0], 3000, Role.CLOSURE),
        toy("the reference", [0.0, 0.0, 0.0], 1, Role.REFERENCE, frozenset({"zero"})),
    )
    found = run_benchmark(benchmark, timing=Timing(2, 3, 0.02, "processor"))
    results, found = found, Fronts(found)
    assert found.compared_with == "good"  # the best classical one; neither reference nor closure
    for call in ("single", "batched"):
        assert found.front("zero", call) == ["cheap", "good", "closure"]
    assert results.diverged("lost") == 1
    assert found.error("lost", "zero") == np.inf
    low, middle, high = (found.cost("dominated", "single", q) for q in ("lower", "median", "upper"))
    assert 0 < low <= middle <= high
    # Ten steps per unit of time, each of them 1500 products rather than 50.
    assert found.cost("closure", "single") > 5 * found.cost("good", "single")
    assert found.paired("closure", "zero").value == pytest.approx(-1.0)
    assert {"the reference", "cheap", "good", "closure"} <= set(important(found))
    plain = {c["name"]: c for c in all_numbers(results)["contenders"]}
    assert plain["lost"]["errors"]["zero"]["1"]["per_simulation"] == [1.0, None, 0.0]
    assert plain["lost"]["errors"]["zero"]["1"]["mean"] is None
    assert plain["good"]["errors"]["zero"]["1"]["front"] == ["single", "batched"]
    assert plain["the reference"]["errors"]["zero"]["1"]["front"] == []
    rows = {row["method"]: row for row in front_rows(results)}
    # Of 1, 1, 1 and 1, 2, 3: the differences are 0, -1, -2, and percentiles of means of three of them lie between.
    closure = rows["closure"]
    assert (closure["role"], closure["error"], closure["std"], closure["simulations"]) == ("closure", 1.0, 0.0, 3)
    assert (closure["compared_with"], closure["difference"]) == ("good", -1.0)
    assert -2 <= closure["difference_low"] < -1 < closure["difference_high"] <= 0
    assert (closure["front_single"], rows["dominated"]["front_single"]) == ("yes", "")
    assert rows["good"]["std"] == pytest.approx(math.sqrt(2 / 3), abs=1e-4)  # written with four digits
    assert (rows["the reference"]["role"], rows["lost"]["std"]) == ("reference", None)
    table = front_table(results)
    error = table.headings.index("error by zero, %") - 1
    assert dict(table.rows)["good"][error] == "200 ± 81.6"
    assert dict(table.rows)["good"][-1] == "yes"


def test_a_benchmark_comes_back_from_its_file(tmp_path):
    benchmark = toy_benchmark(toy("one", [1.0, 2.0, 3.0], 1), toy("two", [1.0, np.nan, 3.0], 2))
    found = run_benchmark(benchmark, timing=Timing(1, 1, 0.001), settings={"command": "none"})
    again = read_json(write_json(found, tmp_path / "fronts.json"))
    assert all_numbers(again) == all_numbers(found)
    both = [write_csv(each, tmp_path / f"{i}.csv").read_text() for i, each in enumerate((found, again))]
    assert both[0] == both[1]
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no benchmark"):
        read_json(tmp_path / "other.json")


def test_what_a_benchmark_refuses():
    one = toy("one", [1.0, 1.0, 1.0], 1)
    with pytest.raises(ValueError, match="two methods are called one"):
        toy_benchmark(one, one)
    with pytest.raises(ValueError, match="no method is called 'two'; valid: one"):
        run_benchmark(toy_benchmark(one), reference="two")
    with pytest.raises(ValueError, match="must be at least 1"):
        run_benchmark(toy_benchmark(one), timing=Timing(batch=0))


def test_rk4_diffusion_limit():
    """Where the field is at rest, the largest Courant number is that of diffusion alone."""
    solver = BurgersSolver(GRID, "upwind5", "rk4")
    rate = solver.rate(jnp.zeros((2, 16, 16)), {"viscosity": jnp.asarray(0.01)})
    dt = courant_limit("upwind5", "rk4") / float(rate)
    factor = get_integrator("rk4").stability_polynomial
    assert abs(np.polynomial.polynomial.polyval(-8 * 0.01 * dt * 16**2, factor)) == pytest.approx(1, abs=1e-3)
