"""Evaluation of conservation laws: the published baseline table, references, what is measured, failures."""

import json
import math
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from law_results import named, value

from closura.core import Method, Results, Role, StepRule
from closura.grids import Grid
from closura.initial.condition import InitialCondition
from closura.metrics.comparison import paired_ratio
from closura.metrics.statistics import geometric_mean, observed_order
from closura.problems.laws.cases import law_cases
from closura.problems.laws.catalogue import LAW_PROBLEMS, find_condition, with_boundary
from closura.problems.laws.evaluate import SOLUTION, Study, run_study
from closura.problems.laws.methods import classical, comparison_of
from closura.problems.laws.metrics import conservation_error, errors, shock_position, total_variation
from closura.problems.laws.random_conditions import FAMILIES, random_summary, random_variables
from closura.problems.laws.references import fine_ratio, fine_solutions, references, shocks
from closura.problems.laws.snapshots import snapshot_variables, snapshots_of
from closura.simulation.simulate import run

BURGERS, EULER = LAW_PROBLEMS["burgers-1d"], LAW_PROBLEMS["euler-1d"]
THREE_DIGITS = 5e-4
NAMES = {"L1": "l1", "L2": "l2", "Linf": "linf"}


@pytest.fixture(scope="session")
def baseline() -> dict:
    """Errors from an independent implementation, or a skip with the reason."""
    root = os.environ.get("CLOSURA_GOLDEN")
    file = Path(root or ".") / "bptts" / "baseline.json"
    if not root or not file.exists():
        pytest.skip("CLOSURA_GOLDEN is not set, or holds no bptts/baseline.json: no table to compare with")
    return json.loads(file.read_text())


def methods(problem, names, *, courant=None, projection="component"):
    how = {"integrator": problem.integrator, "splitting": problem.splitting, "projection": projection}
    how["step"] = StepRule(courant=courant or problem.courant, even=False)
    return {name: classical(name, problem.law, **how) for name in names}


def agent(scheme, closure):
    """A closure on the stencil of a scheme."""
    return Method(scheme.solver, Role.CLOSURE, scheme.step, closure)


def study(problem, names, cells, *, time=None, **options):
    return Study(problem, {name: find_condition(problem, name) for name in names}, cells, time, **options)


def parameters_of(condition, cells, problem=BURGERS):
    return {name: value[0] for name, value in law_cases(problem.law, [condition], cells).parameters.items()}


BURGERS_TABLE = (*BURGERS.usual, "smooth-rare", "shock")


def check_burgers_table(baseline, cells):
    found = run_study(study(BURGERS, BURGERS_TABLE, cells, time=0.2), methods(BURGERS, ("weno3-js", "weno5-js")))
    compared = 0
    for entry in baseline["burgers"]:
        if entry["tag"] != "conv_T0.2" or entry["N"] not in cells:
            continue
        at = f"weno{2 * entry['r'] - 1}-js", entry["ic"].replace("_", "-"), entry["N"]
        for theirs, ours in NAMES.items():
            assert value(found, ours, *at) == pytest.approx(entry["res"][0][theirs], rel=THREE_DIGITS), (entry, ours)
        compared += 1
    assert compared == 2 * len(BURGERS_TABLE) * len(cells)
    for cells_ in cells:
        for r in (2, 3):
            mean = np.exp(
                np.mean([np.log(value(found, "l2", f"weno{2 * r - 1}-js", n, cells_)) for n in BURGERS.usual])
            )
            assert mean == pytest.approx(baseline["eval6_geomean_L2_T0p2"][f"r{r}_N{cells_}"], rel=THREE_DIGITS)


def test_burgers_table(baseline):
    """RK4, C = 0.1, T = 0.2: L1, L2 and Linf of eight initial conditions, WENO3-JS and WENO5-JS, to three digits."""
    check_burgers_table(baseline, (64, 128, 256))


@pytest.mark.slow
def test_burgers_table_on_fine_grids(baseline):
    check_burgers_table(baseline, (512, 1024))


def check_euler_rows(baseline, names, projections=("comp", "char", "char_transposed")):
    words = {"comp": "component", "char": "characteristic", "char_transposed": "transposed"}
    for mode in projections:
        chosen = methods(EULER, ("weno3-js", "weno5-js"), projection=words[mode])
        found = run_study(study(EULER, names, (128,)), chosen)
        rows = [
            e
            for e in baseline["euler"]
            if e["tag"] == "N128" and e["rk"] == "ssprk3" and e["mode"] == mode and e["ic"] in names
        ]
        assert len(rows) == 2 * len(names)
        for row in rows:
            for theirs, ours in (("L1", "l1"), ("L2", "l2")):
                error = value(found, ours, f"weno{2 * row['r'] - 1}-js", row["ic"])
                assert error == pytest.approx(row["err"]["rho"][theirs], rel=THREE_DIGITS), row


def test_euler_rows(baseline):
    """Density errors against the exact Riemann solution, SSP-RK3, C = 0.4, all three projections."""
    check_euler_rows(baseline, ("sod", "lax", "sod2"))


@pytest.mark.slow
def test_shu_osher_rows(baseline):
    """The customary reference: WENO5-JS on 2000 cells, component by component."""
    for row in baseline["shu_osher"]:
        projection = {"comp": "component", "char": "characteristic"}[row["mode"]]
        name = f"weno{2 * row['r'] - 1}-js"
        found = run_study(study(EULER, ("shu-osher",), (row["N"],)), methods(EULER, (name,), projection=projection))
        ours = [value(found, norm, name, "shu-osher") for norm in ("l1", "l2")]
        assert ours == pytest.approx([row["L1"], row["L2"]], rel=THREE_DIGITS)


def test_smooth_solutions_converge_with_the_order_of_the_scheme():
    """Before the shock: linear5 has order 5, weno5-js nearly, until the time error takes over."""
    found = run_study(
        study(BURGERS, ("smooth-sine",), (32, 64), time=0.03), methods(BURGERS, ("linear5", "weno3-js"), courant=0.1)
    )
    order = {
        name: observed_order([value(found, "l2", name, "smooth-sine", n) for n in (32, 64)], (32, 64))[0]
        for name in ("linear5", "weno3-js")
    }
    assert 4.5 < order["linear5"] < 5.5  # 5, with room for the coarse grids' higher terms
    assert 1.3 < order["weno3-js"] < 2.5  # known to lose an order at the extrema


def test_methods_on_several_grids_are_compared_on_each():
    chosen = {**methods(BURGERS, ("weno3-js", "weno5-js")), "weno5-js": methods(BURGERS, ("weno5-js",))["weno5-js"]}
    zero = agent(chosen["weno5-js"], lambda observation: jnp.zeros((6, observation.shape[1])))
    names = ("smooth-sine", "shock")
    found = run_study(study(BURGERS, names, (16, 32), time=0.02, shifts=2), {**chosen, "agent": zero})
    assert isinstance(found, Results)
    assert found.grids == (16, 32)
    assert [found.family(name) for name in found.methods[:3]] == ["weno3-js", "weno3-js", "weno5-js"]
    for cells in (16, 32):
        on_grid = [named(found, name, cells) for name in ("weno3-js", "weno5-js", "agent")]
        assert list(found.on_grid_of(on_grid[2])) == on_grid
        assert found.corrects(on_grid[2]) == on_grid[1] == found.uncorrected_for(on_grid[0])
        each = [[value(found, "l2", name, initial, cells) for initial in names] for name in ("agent", "weno5-js")]
        ratio = paired_ratio(found, on_grid[2], on_grid[1]).value
        assert ratio == pytest.approx(geometric_mean(each[0]) / geometric_mean(each[1]), rel=1e-12)


def test_observed_orders():
    assert observed_order([1.0, 1 / 8, math.inf], [32, 64, 128])[0] == pytest.approx(3)
    assert math.isnan(observed_order([1.0, 1 / 8, math.inf], [32, 64, 128])[1])


def test_errors_and_means():
    assert errors(np.array([1.0, -3.0]), 0.5) == pytest.approx((2.0, math.sqrt(5.0), 3.0))
    assert errors(np.array([1.0, np.nan]), 0.5) == (math.inf,) * 3
    assert geometric_mean([1e-2, 1e-4]) == pytest.approx(1e-3)
    assert geometric_mean([1.0, math.inf]) == math.inf


def test_total_variation_goes_round_periodic_ends():
    wave = find_condition(BURGERS, "smooth-sine")
    step = find_condition(BURGERS, "shock")
    field = np.array([0.0, 1.0, 3.0, 3.0])
    assert total_variation(field, parameters_of(step, 8)) == 3.0
    assert total_variation(field, parameters_of(wave, 8)) == 6.0
    problem = LAW_PROBLEMS["burgers-2d"]
    plane = parameters_of(find_condition(problem, "gaussian"), 5, problem)
    # A bump of one cell: up and down along both axes, times the width of a cell.
    bump = np.zeros((5, 5))
    bump[2, 2] = 1.0
    assert total_variation(bump, plane) == pytest.approx(4 / 5)


def test_conservation_is_to_rounding_and_unknown_where_ends_are_open():
    found = run_study(
        study(BURGERS, ("smooth-sine", "other-sine", "shock"), (64,), time=0.2), methods(BURGERS, ("weno5-js",))
    )
    # A few hundred steps of rounding errors.
    assert value(found, "conservation", "weno5-js", "smooth-sine") < 1e-13
    assert value(found, "conservation", "weno5-js", "other-sine") < 1e-13
    assert math.isnan(value(found, "conservation", "weno5-js", "shock"))
    walls = parameters_of(find_condition(EULER, "blast-waves"), 8, EULER)
    assert conservation_error(np.ones(8), 1.5 * np.ones(8), walls) == pytest.approx(0.5)


def test_shock_position_is_found_within_a_cell():
    """A smeared front of equal area on both sides of 0.4321 is found to a tenth of a cell, next to another front."""
    shock = find_condition(BURGERS, "shock")
    x = shock.points((100,))[0]
    front = 1 + 2 * (1 - 1 / (1 + np.exp(-(x - 0.4321) / 0.006)))
    steeper_elsewhere = front + np.where(x > 0.8, -5.0, 0.0)
    for field in (front, steeper_elsewhere):
        assert shock_position(field, 0.0, 0.01, 0.43, (3.0, 1.0)) == pytest.approx(0.4321, abs=1e-3)
    assert math.isnan(shock_position(np.ones(100), 0.0, 0.01, 0.43, (3.0, 1.0)))


def test_captured_shocks_stand_where_the_exact_ones_are():
    """Conservative schemes: within half a cell, which is what sampling a jump at cell centres loses."""
    names = ("accelshock", "tophat", "shock")
    found = run_study(study(BURGERS, names, (128,), time=0.2), methods(BURGERS, ("weno5-js",)))
    for name in names:
        assert value(found, "shock_position_error", "weno5-js", name) * 128 < 1 / 2
    # 1 + (u_L / u_R) tau + (x_0 - 1 - u_L / u_R) sqrt(tau) with tau = 1.6.
    exact = 1 + 1.6 - 1.75 * math.sqrt(1.6)
    assert shocks(find_condition(BURGERS, "accelshock"), 0.2) == pytest.approx([exact], abs=1e-9)
    assert shocks(find_condition(BURGERS, "rarefaction"), 0.2).size == 0


def test_fine_reference_is_odd_large_and_close_to_the_exact_solution():
    for cells in (64, 100, 128, 1024):
        ratio = fine_ratio(cells, 1)
        assert ratio % 2 == 1
        assert ratio >= 3
        assert ratio * cells >= 2000
    condition = find_condition(BURGERS, "rarefaction")
    (exact,) = references(BURGERS.law, condition, condition.points((40,)), (0.1,))
    (fine,) = fine_solutions(BURGERS.law, condition, (40,), (0.1,))
    # 51 times 40 cells: the corners of the fan are smeared by a few of them.
    assert np.abs(fine - exact).mean() < 1e-3


def test_reference_of_waves_that_are_carried_along():
    wave = find_condition(EULER, "density-wave")
    points = wave.points((16,))
    begin, half, once = references(EULER.law, wave, points, (0.0, 0.5, 1.0))
    np.testing.assert_allclose(once, begin, atol=1e-12)  # once round
    np.testing.assert_allclose(half[0], np.roll(begin[0], 8), atol=1e-12)


def test_a_simulation_that_fails_poisons_no_other():
    """slow-shock blows up component by component (known); its neighbours in the batch are as if alone."""
    chosen = methods(EULER, ("weno5-js",))["weno5-js"]
    conditions = [find_condition(EULER, name) for name in ("sod", "slow-shock", "lax")]

    def simulated(some):
        cases = law_cases(EULER.law, some, 64, ends=[condition.time for condition in some])
        return run(chosen, (1.0,), Grid((64,)), cases, batch=8)

    together = simulated(conditions)
    assert (together.failure.step >= 0).tolist() == [False, True, False]
    assert 1 <= together.failure.step[1] == together.steps[1]
    for index in (0, 2):
        alone = simulated(conditions[index : index + 1])
        assert together.steps[index] == alone.steps[0]
        # Another batch size may round differently.
        np.testing.assert_allclose(together.fields[index], alone.fields[0], rtol=1e-10, atol=1e-12)


def test_failures_are_counted_with_step_and_cell():
    names = ("sod", "slow-shock")
    found = run_study(study(EULER, names, (64,)), methods(EULER, ("weno5-js",)))
    assert value(found, "l1", "weno5-js", "slow-shock") == math.inf
    assert geometric_mean(found.last("weno5-js")) == math.inf
    (failure,) = found.failures
    assert failure["group"] == "slow-shock"
    assert failure["step"] == value(found, "steps", "weno5-js", "slow-shock")
    assert 0 <= failure["cell"][0] < 64


class Broken:
    """Agents that answer with something that is no number."""

    def __call__(self, observation):
        return jnp.full((6, observation.shape[1]), jnp.nan)


def test_agents_that_answer_nan_are_reported_as_diverged():
    scheme = methods(BURGERS, ("weno5-js",))["weno5-js"]
    both = {"weno5-js": scheme, "broken": agent(scheme, Broken())}
    found = run_study(study(BURGERS, ("shock",), (32,), time=0.05), both)
    (failure,) = found.failures
    assert (failure["method"], failure["step"], failure["what"]) == ("broken", 1, "not finite")
    assert comparison_of("broken", both) == "weno5-js" == found.corrects("broken") == found.uncorrected
    assert found.last("broken").tolist() == [math.inf]


def test_shifts_are_the_same_for_all_methods_and_leave_the_others_alone():
    mixed = study(BURGERS, ("shock", "gaussian"), (64,), time=0.05, shifts=4, seed=3)
    moved = mixed.members(mixed.initial["shock"], 64)
    assert len(moved) == 4
    distances = [condition.jumps[0] - 0.25 for condition in moved]
    assert max(abs(d) for d in distances) < 0.5 / 64
    assert len(set(distances)) == 4
    assert mixed.members(mixed.initial["gaussian"], 64) == [mixed.initial["gaussian"]]
    found = run_study(mixed, methods(BURGERS, ("weno5-js",)))
    assert found.groups == ("shock",) * 4 + ("gaussian",)
    assert found.last("weno5-js").tolist() == [value(found, "l2", "weno5-js", each) for each in ("shock", "gaussian")]
    # Half an order's worth: a captured shock's error depends on where in a cell it stands.
    unshifted = run_study(study(BURGERS, ("shock",), (64,), time=0.05), methods(BURGERS, ("weno5-js",)))
    assert 0.5 < value(found, "l2", "weno5-js", "shock") / value(unshifted, "l2", "weno5-js", "shock") < 2


def test_snapshots_end_where_the_simulation_does():
    chosen = methods(BURGERS, ("weno5-js",))["weno5-js"]
    short = study(BURGERS, ("smooth-sine",), (32,), time=0.05)
    results = run_study(short, {"weno5-js": chosen}).assign(snapshot_variables(short, {"weno5-js": chosen}))
    found = snapshots_of(results, "smooth-sine")
    assert found.states["weno5-js"].shape == found.states[SOLUTION].shape == (41, 1, 32)
    assert found.error["weno5-js"][0] == 0
    assert found.error["weno5-js"][-1] == pytest.approx(value(results, "l2", "weno5-js", "smooth-sine"), rel=1e-3)
    assert found.weights["weno5-js"].shape == (2, 3, 33)
    np.testing.assert_allclose(found.weights["weno5-js"].sum(axis=1), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="no snapshots from shock"):
        snapshots_of(results, "shock")


def test_scatter_is_reproducible_and_its_grids_are_spread():
    assert set(FAMILIES["burgers-1d"]) == {"random", "accelshock-random", "smooth-rare-random"}
    chosen = methods(EULER, ("weno3-js",))
    short = study(EULER, ("sod",), (64,), time=0.01, seed=5)
    results = run_study(short, chosen)
    first, again = (results.assign(random_variables(short, chosen, 3)) for _ in range(2))
    assert first.data["random_family"].values.tolist() == ["random-tube"] * 3
    assert first.data.identical(again.data)
    cells = first.data["random_cells"].values
    assert ((cells >= 64) & (cells < 1024)).all()
    (row,) = random_summary(first)
    assert (row["n"], row["ratio"], row["diverged"]) == (3, pytest.approx(1.0), 0)
    with pytest.raises(ValueError, match="leave out --scatter"):
        random_variables(study(LAW_PROBLEMS["burgers-2d"], ("gaussian",), (16,)), chosen, 2)


def test_another_boundary_has_to_suit():
    sine = with_boundary(find_condition(BURGERS, "smooth-sine"), "outflow")
    assert (sine.ends, sine.reference) == (("outflow",), "fine")
    bump = with_boundary(find_condition(BURGERS, "gaussian"), "periodic")  # its tails are 3e-7
    assert bump.ends == ("periodic",)
    with pytest.raises(ValueError, match="does not suit a periodic boundary"):
        with_boundary(find_condition(BURGERS, "shock"), "periodic")


def test_cost_is_measured_on_the_grid_of_figures():
    chosen = methods(BURGERS, ("weno5-js",))
    found = run_study(study(BURGERS, ("shock",), (16, 32), time=0.01), chosen, timing=True)
    assert 0 < found.milliseconds("weno5-js, 16 cells") < 100
    assert math.isnan(found.milliseconds("weno5-js, 32 cells"))


def test_two_dimensions_repeat_one():
    """A tube along x on a plane has the errors of the line, times the width of the plane."""
    plane = LAW_PROBLEMS["euler-2d"]
    line = run_study(study(EULER, ("sod",), (32,)), methods(EULER, ("weno3-js",)))
    found = run_study(study(plane, ("1d-sod-x",), (32,)), methods(plane, ("weno3-js",)))
    # The time step is shorter by the (small) speed of sound across.
    assert value(found, "l1", "weno3-js", "1d-sod-x") == pytest.approx(value(line, "l1", "weno3-js", "sod"), rel=0.02)


def test_negative_pressure_is_refused_with_its_place():
    vacuum = InitialCondition("bad", lambda x: np.stack([np.ones_like(x), 0 * x, np.where(x > 0.5, -1.0, 1.0)]))
    with pytest.raises(ValueError, match=r"cell \(8,\).*must be positive"):
        run_study(Study(EULER, {"bad": vacuum}, (16,)), methods(EULER, ("weno5-js",)))
