"""The optimal action against exact solutions, the published correlations, and equations that must be found again."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import network
from jaxtyping import Array

from closura.cli import main
from closura.closures import build
from closura.commands.interpret import parse_interpret
from closura.grids import Grid
from closura.interpretation import (
    Factor,
    Moments,
    Study,
    Term,
    Trajectories,
    UpwindEulerError,
    action_scale,
    candidate_terms,
    collect,
    compare,
    correlation_figure,
    evaluate_terms,
    interpret,
    interpretation_figure,
    least_squares,
    notebook_estimate,
    pearson,
    stepwise,
    symbolic_reading,
    theoretical_terms,
    truncation_of,
    write_equation,
)
from closura.io.closures import load_closure
from closura.io.weights import save_weights
from closura.problems import AdvectionConfiguration, AdvectionSolver, advection
from closura.problems.burgers import BurgersSolver
from closura.problems.burgers_setup import BurgersConfiguration, burgers
from closura.problems.problem import FixedBegin, InitialState, Problem
from closura.problems.stored import simulate_reference, with_store
from closura.runs import RunFolder
from closura.runs.validation import rollout

ROOT = Path(__file__).parent.parent
PUBLISHED = {
    # family: by the notebook's formula (table 6), by the theory (an independent run, 50 rollouts)
    ("mnist", "train"): (0.82, 0.908),
    ("fashion-mnist", "train"): (0.70, 0.832),
    ("mnist", "vortex"): (0.82, 0.925),
    ("fashion-mnist", "vortex"): (0.72, 0.865),
}


@pytest.fixture(scope="module")
def small() -> Problem:
    """Stored initial conditions: to draw them anew would be compiled for each closure."""
    problem = advection(AdvectionConfiguration(cells=24, ratio=2), "test")
    return with_store(problem, simulate_reference(problem, 6, 20, key=jax.random.key(5), parts=1))


@pytest.fixture(scope="module")
def small_burgers() -> Problem:
    problem = burgers(BurgersConfiguration(cells=24, ratio=2, fine_steps=4), "test")
    return with_store(problem, simulate_reference(problem, 6, 20, key=jax.random.key(5), parts=1))


@pytest.fixture(scope="module")
def known(small: Problem) -> Trajectories:
    """Rollouts of a closure whose equation is known."""
    return collect(small, formula_for(small), simulations=4, times=8, key=jax.random.key(0))


@pytest.fixture(scope="module")
def burgers_study(small_burgers: Problem) -> Study:
    formula = formula_for(small_burgers, times_step=True)
    return interpret(small_burgers, formula, simulations=4, step=5, key=jax.random.key(0), minimum_gain=1e-4)


def formula_for(problem: Problem, **options: Any) -> "Formula":
    return Formula(problem.time_step, problem.grid.spacing[0], **options)


def standing(configuration: AdvectionConfiguration) -> Problem:
    """An advection problem that always begins with the same field, at rest."""
    problem = advection(configuration, "test")
    x, y = problem.grid.coordinates(jnp.float32)
    field = (0.5 + 0.3 * jnp.sin(2 * jnp.pi * x) * jnp.cos(4 * jnp.pi * y))[None]
    at_rest = InitialState(field, jnp.zeros((2, *problem.grid.shape), jnp.float32), (), jnp.zeros((1,), jnp.float32))
    return replace(problem, begin=FixedBegin(at_rest))


class Formula(eqx.Module):
    """A closure whose equation is known, in differences written independently of those that search for it."""

    time_step: float
    spacing: float
    times_step: bool = False
    weights: tuple[float, float, float, float] = (0.37, 0.41, -0.9, -5.0)

    def __call__(self, seen: Array) -> Array:
        h, dt = self.spacing, self.time_step
        x, y = -2, -1

        def first(q: Array, axis: int) -> Array:
            return (jnp.roll(q, -1, axis) - jnp.roll(q, 1, axis)) / (2 * h)

        def second(q: Array, axis: int) -> Array:
            return (jnp.roll(q, -1, axis) - 2 * q + jnp.roll(q, 1, axis)) / h**2

        if not self.times_step:
            psi, u, v = seen
            third = first(second(psi, x), x)
            mixed = first(first(psi, x), y)
            a, b, c, d = self.weights
            diffusion = a * jnp.abs(u) * dt * h * second(psi, x) + b * jnp.abs(v) * dt * h * second(psi, y)
            return (diffusion + c * u * dt * h**2 * third + d * u * v * dt**2 * mixed)[None]
        u, v = seen
        return jnp.stack([0.5 * jnp.abs(u) * h * second(u, x) - 0.3 * v * first(u, y), -0.2 * jnp.abs(v) * first(v, x)])


# ---------------------------------------------------------------------------------------------------------------
# The optimal action


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1)])
def test_advection_scheme_minus_exact_solution_is_the_truncation_error(signs: tuple[int, int]) -> None:
    """G(q) - exact = dt eps (1 + O(h)): the difference halves with the spacing. Sign and axes both matter."""
    c = np.array(signs) * (0.9, 0.5)
    left = []
    for cells in (48, 96):
        grid = Grid((cells, cells))
        dt = 0.25 / cells
        x, y = grid.coordinates(jnp.float64)

        def exact(t: float, x: Array = x, y: Array = y) -> Array:
            # Different scales along x and y: swapped axes would not pass.
            a, b = x - c[0] * t, y - c[1] * t
            return (jnp.sin(2 * jnp.pi * a) + 0.3 * jnp.sin(2 * jnp.pi * (a + 2 * b)))[None]

        velocity = jnp.asarray(c)[:, None, None] * jnp.ones((2, cells, cells), jnp.float64)
        solver = AdvectionSolver(grid, "upwind1", "forward-euler")
        made = np.asarray(solver.step(exact(0.0), velocity, dt) - exact(dt))
        history = jnp.stack([exact(-dt), exact(0.0), exact(dt)])
        theory = dt * np.asarray(UpwindEulerError(grid, dt)(history, velocity))
        left.append(np.abs(made - theory).max() / np.abs(made).max())
        assert np.corrcoef(made.ravel(), theory.ravel())[0, 1] > 0.97
    assert left[0] < 0.25
    assert left[1] == pytest.approx(left[0] / 2, rel=0.15)


@cache
def accurate_burgers(cells: int) -> tuple[Grid, float, Array, Array]:
    """Three states, a coarse time step apart, on the points of the coarse grid."""
    coarse = Grid((cells, cells))
    ratio, dt = 240 // cells, 0.3 / cells
    fine = coarse.refine(ratio)
    x, y = fine.coordinates(jnp.float64)
    start = jnp.stack([
        0.6 + 0.3 * jnp.sin(2 * jnp.pi * x) * jnp.cos(2 * jnp.pi * y),
        -0.5 + 0.3 * jnp.cos(2 * jnp.pi * (x + y)),
    ])  # fmt: skip
    nu = jnp.asarray(0.002, jnp.float64)
    solver = BurgersSolver(fine, "upwind5", "rk4")
    advance = eqx.filter_jit(lambda q, nu: solver.march(q, {"viscosity": nu}, dt / ratio, ratio))
    states = [start]
    for _ in range(2):
        states.append(advance(states[-1], nu))
    return coarse, dt, nu, jnp.stack([s[:, ::ratio, ::ratio] for s in states])


@pytest.mark.parametrize("published_switch", [False, True])
def test_burgers_scheme_minus_fine_solution_is_the_truncation_error(published_switch: bool) -> None:
    """Against fifth-order upwind with RK4 on a grid ten times finer; smooth fields, one coarse step.

    The median, because at the sign changes of u and v the leaning of differences is not smooth.
    """
    left = []
    for cells in (24, 48):
        coarse, dt, nu, history = accurate_burgers(cells)
        scheme = BurgersSolver(coarse, "upwind1", "forward-euler", published_switch=published_switch)
        made = np.asarray(scheme.step(history[1], {"viscosity": nu}, dt) - history[2])
        theory = dt * np.asarray(UpwindEulerError(coarse, dt, published_switch)(history, history[1]))
        other = dt * np.asarray(UpwindEulerError(coarse, dt, not published_switch)(history, history[1]))
        left.append(np.median(np.abs(made - theory)) / np.median(np.abs(made)))
        # u and v differ in sign everywhere: the other switch is another error.
        assert np.median(np.abs(made - other)) > 3 * np.median(np.abs(made - theory))
    assert left[1] < 0.15
    assert left[1] < 0.65 * left[0]


def test_notebook_formula_is_the_theory_with_swapped_axes_and_another_sign() -> None:
    n, dt = 128, 1 / 512
    x, y = np.meshgrid(np.arange(n) / n, np.arange(n) / n, indexing="ij")
    times = np.arange(5) * dt
    states = np.stack([np.sin(2 * np.pi * (x - 0.7 * t)) + 0.3 * np.cos(4 * np.pi * (y + 0.4 * t)) for t in times])
    velocity = np.stack([np.full((n, n), 0.7), np.full((n, n), -0.4)])
    h = (1 / n, 1 / n)
    theory = UpwindEulerError(Grid((n, n)), dt)(jnp.asarray(states[1:4])[:, None], jnp.asarray(velocity))[0]
    repaired = notebook_estimate(states, velocity, h, dt, 2, swapped=False, time_sign=-1.0)
    # Wide stencils and one-sided ends: the same away from the ends up to (2 h)^2 terms.
    inner = (slice(4, -4),) * 2
    scale = np.abs(dt * np.asarray(theory)).max()
    np.testing.assert_allclose(repaired[inner], dt * np.asarray(theory)[inner], atol=0.01 * scale)
    published = notebook_estimate(states, velocity, h, dt, 2)
    swapped = notebook_estimate(states, velocity[::-1], h, dt, 2, swapped=False)
    np.testing.assert_allclose(published, swapped, rtol=1e-12)
    assert np.abs(published - repaired).max() > 0.3 * scale
    # One interior value by hand: (f_{i+2} - 2 f_i + f_{i-2}) / 4 h^2 along all three axes.
    f, i, j = states, 50, 60
    in_time = (f[4, i, j] - 2 * f[2, i, j] + f[0, i, j]) / (4 * dt**2)
    along_x = (f[2, i + 2, j] - 2 * f[2, i, j] + f[2, i - 2, j]) / (4 * h[0] ** 2)
    along_y = (f[2, i, j + 2] - 2 * f[2, i, j] + f[2, i, j - 2]) / (4 * h[1] ** 2)
    by_hand = dt * (dt / 2 * in_time + 0.7 * h[0] / 2 * along_y + 0.4 * h[1] / 2 * along_x)
    assert published[i, j] == pytest.approx(by_hand, rel=1e-10)
    with pytest.raises(ValueError, match="two states on either side"):
        notebook_estimate(states, velocity, h, dt, 3)


def test_no_theory_for_other_schemes_is_said() -> None:
    with pytest.raises(ValueError, match="upwind1 and forward-euler"):
        truncation_of(burgers(BurgersConfiguration(cells=16, ratio=1, base="upwind3"), "test"))
    flux = standing(AdvectionConfiguration(cells=16, ratio=2, form="flux"))
    with pytest.raises(ValueError, match="FluxFormSolver"):
        truncation_of(flux)
    study = interpret(flux, lambda seen: jnp.float32(0.01) * seen[:1], simulations=2, step=3, key=jax.random.key(0))
    assert study.comparisons == ()
    assert "FluxFormSolver" in study.no_theory
    # The equation does not need the theory.
    assert study.equations[0].terms == ("psi",)
    assert study.equations[0].coefficients[0] == pytest.approx(0.01, rel=1e-5)


# ---------------------------------------------------------------------------------------------------------------
# Rollouts


def test_trajectories_are_those_of_the_evaluation(small: Problem) -> None:
    closure, key = formula_for(small), jax.random.key(3)
    kept = collect(small, closure, simulations=4, times=5, key=key, part=2)
    store = simulate_reference(small, 4, 4, key=key, parts=1)
    expected = rollout(small, small.coarse, small.spec.limit(closure), store)
    assert kept.state.dtype == kept.action.dtype == np.float32
    # The same operations, compiled apart.
    np.testing.assert_allclose(kept.state, np.asarray(expected), atol=2e-6)
    answer = np.asarray(closure(jnp.asarray(kept.observation[1, 2])))
    np.testing.assert_allclose(kept.action[1, 2], np.clip(answer, -1, 1), atol=2e-6)
    assert np.abs(answer).max() > 0


def test_action_is_what_is_taken_away_whatever_its_form(small: Problem, small_burgers: Problem) -> None:
    assert action_scale(small, key=jax.random.key(0)) == 1
    assert action_scale(small_burgers, key=jax.random.key(0)) == small_burgers.time_step
    ramp = jnp.linspace(0.0, 0.5, 24, dtype=jnp.float32)[None, :, None] * jnp.ones((1, 24, 24), jnp.float32)
    free = standing(AdvectionConfiguration(cells=24, ratio=2, action="mean-free"))
    assert action_scale(free, key=jax.random.key(0)) == 1
    kept = collect(free, lambda seen: ramp, simulations=1, times=2, key=jax.random.key(0))
    np.testing.assert_allclose(kept.action[0, 0], np.asarray(ramp) - 0.25, atol=1e-6)
    flux = standing(AdvectionConfiguration(cells=24, ratio=2, action="flux"))
    assert action_scale(flux, key=jax.random.key(0)) == 1
    kept = collect(flux, lambda seen: jnp.tile(ramp, (2, 1, 1)), simulations=1, times=2, key=jax.random.key(0))
    outflow = np.roll(np.asarray(ramp), -1, axis=1) - np.asarray(ramp)
    np.testing.assert_allclose(kept.action[0, 1], outflow, atol=1e-6)
    # Beyond the bound answers are clipped.
    kept = collect(small, lambda seen: 7.0 * jnp.ones_like(seen[:1]), simulations=1, times=2, key=jax.random.key(0))
    assert (kept.action == 1).all()
    with pytest.raises(ValueError, match="at least one simulation"):
        collect(small, lambda seen: seen[:1], simulations=0, times=2, key=jax.random.key(0))


def test_actions_that_are_not_subtracted_are_refused(small: Problem) -> None:
    class Multiplied(AdvectionSolver):
        def correct(self, state, parameters, dt, action):  # type: ignore[no-untyped-def]
            return state * action

    problem = replace(small, coarse=Multiplied(small.grid, "upwind1", "forward-euler"))
    with pytest.raises(ValueError, match="subtracted from the state"):
        action_scale(problem, key=jax.random.key(0))


def test_optimal_closure_correlates_with_the_theory(small: Problem) -> None:
    """A closure that answers with the diffusive part of the optimum, of the state that it sees."""
    kept = collect(
        small, formula_for(small, weights=(0.4, 0.4, 0.0, 0.0)), simulations=3, times=8, key=jax.random.key(0)
    )
    rows = compare(small, kept, scale=1.0, step=6)
    assert [row.formula for row in rows] == ["theory", "notebook", "theory, + time term"]
    theory, notebook, _ = rows
    assert theory.correlation.shape == (3,)
    assert theory.correlation.min() > 0.9 > notebook.correlation.mean()
    with pytest.raises(ValueError, match="from 3 to 6"):
        compare(small, kept, scale=1.0, step=7)


def test_correlation_is_pearsons_and_undefined_for_no_action() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5, 4))
    expected = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(pearson(a, b), expected, rtol=1e-12)
    a[0], b[1, 2, 2] = 0.0, np.nan
    assert np.isnan(pearson(a, b)).tolist() == [True, True, False]


# ---------------------------------------------------------------------------------------------------------------
# Equations


def test_known_equation_is_found_again_exactly(small: Problem, known: Trajectories) -> None:
    found, theory, fitted = symbolic_reading(small, known, scale=1.0, step=6, minimum_gain=1e-4)
    coefficients = dict(zip(found.terms, found.coefficients, strict=True))
    # Third differences of float32 fields lose some four digits.
    assert coefficients == {
        "|u| dt dx psi_xx": pytest.approx(0.37, rel=1e-3),
        "|v| dt dx psi_yy": pytest.approx(0.41, rel=1e-3),
        "u dt dx^2 psi_xxx": pytest.approx(-0.9, rel=1e-3),
        "u v dt^2 psi_xy": pytest.approx(-5.0, rel=2e-3),
    }
    assert found.r2 > 0.99999
    assert found.simulations == (2, 2)
    assert "0.41 |v| dt dx psi_yy" in found.text
    assert str(found).endswith("(R2 = 1.000 on 2 held-out simulations)")
    # The theory's own terms lack the third derivative.
    assert theory.r2 < fitted.r2 < 0.999


def test_burgers_has_one_equation_per_component(small_burgers: Problem, burgers_study: Study) -> None:
    study = burgers_study
    first, second = study.equations
    assert study.scale == small_burgers.time_step
    assert dict(zip(first.terms, first.coefficients, strict=True)) == {
        "|u| dx u_xx": pytest.approx(0.5, rel=1e-3),
        "v u_y": pytest.approx(-0.3, rel=1e-3),
    }
    assert second.text == "A_v = -0.2 |v| v_x"
    assert [c.component for c in study.comparisons] == ["u", "v"]


def test_theory_in_terms_of_the_state_is_the_optimal_action(small: Problem) -> None:
    """Terms of the present state against the difference in time of an exact solution, for a rigid rotation."""
    grid, dt = Grid((96, 96)), small.time_step / 4
    problem = advection(AdvectionConfiguration(cells=96, ratio=1, courant=dt * 96), "test")
    x, y = (c - 0.5 for c in grid.coordinates(jnp.float64))

    def exact(t: float) -> Array:
        # d psi / dt + u psi_x + v psi_y = 0 with (u, v) = 6 (-y, x): what turns by 6 t.
        a, b = x * np.cos(6 * t) + y * np.sin(6 * t), y * np.cos(6 * t) - x * np.sin(6 * t)
        return jnp.exp(-60 * ((a - 0.15) ** 2 + 2 * b**2))[None]

    velocity = jnp.stack([-6 * y, 6 * x])
    history = jnp.stack([exact(-dt), exact(0.0), exact(dt)])
    optimal = dt * np.asarray(truncation_of(problem)(history, velocity))[0]
    terms = theoretical_terms(problem)
    values = evaluate_terms(list(terms), np.concatenate([exact(0.0), velocity]), grid, dt)
    # Both second order in the spacing.
    largest = np.abs(optimal).max()
    np.testing.assert_allclose(np.tensordot(list(terms.values()), values, 1), optimal, atol=0.02 * largest)
    # Without what stands for the time term they would differ by more.
    assert np.abs(np.tensordot(list(terms.values())[:2], values[:2], 1) - optimal).max() > 0.1 * largest


def test_candidates_have_units_and_no_growth_with_refinement(small: Problem, small_burgers: Problem) -> None:
    for problem in (small, small_burgers):
        terms = candidate_terms(problem.spec)
        assert len(set(terms)) == len(terms) > 50
        assert all(sum(term.powers(2)[1]) >= 0 for term in terms)
        assert not set(theoretical_terms(problem)) - set(terms)
    u, psi = Factor(1, (0, 0), along=0), Factor(0, (2, 0))
    grid = Grid((8, 4), (1.0, 1.0))
    swapped = Term((Factor(2, (0, 0), absolute=True, along=1),), psi)
    assert write_equation([swapped, Term((u, u), psi), Term()], [0.5, -2.0, 0.25], small.spec, grid) == (
        "A = 0.5 |v| dt dx^2 psi_xx / dy - 2 u^2 dt^2 psi_xx + 0.25"
    )
    assert write_equation([Term()], [-1.0], small.spec, grid, less_time=1) == "A = -1 1 / dt"
    assert write_equation([], [], small.spec, grid) == "A = 0"
    # dx^2 psi_xx of x^2 is 2 dx^2, also next to a boundary that is not periodic... except where it repeats the end.
    x, _ = Grid((8, 4), boundary=("outflow", "periodic")).coordinates(jnp.float64)
    seen = np.stack([x**2, np.full_like(x, 0.5), np.zeros_like(x)])
    values = evaluate_terms([Term((u,), psi), Term()], seen, Grid((8, 4), boundary=("outflow", "periodic")), 0.1)
    np.testing.assert_allclose(values[0, 1:-1], 0.5 * 0.1 * 2 / 8, rtol=1e-10)
    assert (values[1] == 1).all()


def test_stand_ins_leave_and_dependent_candidates_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5000))
    # The first candidate is closest to the answer by itself, but not needed once the other two are there.
    candidates = np.stack([a + b + 0.1 * rng.normal(size=5000), 1e-6 * a, b, 2 * b, np.zeros(5000)])
    answer = a + 0.8 * b + 3.0
    moments = Moments.join(
        [Moments.of(candidates[:, :2000], answer[:2000]), Moments.of(candidates[:, 2000:], answer[2000:])]
    )
    w = [0.3, 2e5, 0.1]
    left = answer - np.array(w) @ candidates[:3]
    assert moments.r2([0, 1, 2], w) == pytest.approx(1 - (left**2).sum() / ((answer - answer.mean()) ** 2).sum())
    with_one = Moments.of(np.concatenate([candidates, np.ones((1, 5000))]), answer)
    fit = stepwise(with_one, maximum_terms=4)
    assert sorted(fit.chosen) in ([1, 2, 5], [1, 3, 5])
    assert with_one.r2(*fit) == pytest.approx(1, abs=1e-9)
    both, alone = least_squares(with_one, [2, 3]), least_squares(with_one, [2])
    assert both.coefficients[0] + 2 * both.coefficients[1] == pytest.approx(alone.coefficients[0], rel=1e-9)
    assert max(np.abs(both.coefficients)) < 1
    assert np.isnan(Moments.of(candidates, np.zeros(5000)).r2([0], [1.0]))
    with pytest.raises(ValueError, match="at least one term"):
        stepwise(moments, maximum_terms=0)


def test_simulations_that_are_lost_are_left_out_and_said(small: Problem, known: Trajectories) -> None:
    kept = jax.tree.map(lambda leaf: leaf[:3], known)
    action = kept.action.copy()
    action[1, 4] = np.nan
    lost = kept._replace(action=action)
    assert symbolic_reading(small, lost, scale=1.0, step=4)[0].simulations == (1, 1)
    assert np.isnan(compare(small, lost, scale=1.0, step=4)[0].correlation).tolist() == [False, True, False]
    action[2, 4] = np.nan
    with pytest.raises(ValueError, match="1 of 3 are finite"):
        symbolic_reading(small, kept._replace(action=action), scale=1.0, step=4)


# ---------------------------------------------------------------------------------------------------------------
# The published network, the command, the figures


def test_published_network_on_one_family(golden_folder: Path, data_folder: Path) -> None:
    """Eight rollouts instead of 50: spreads of 0.03 and 0.01 leave 0.01 and 0.004 to the means."""
    configuration = advection.published(AdvectionConfiguration(images="mnist", velocity="vortex", ratio=8))
    problem = advection(configuration, "test", data_dir=data_folder)
    closure = load_closure(network(golden_folder, "advection"), problem.spec)
    study = interpret(problem, closure, simulations=8, key=jax.random.key(0))
    found = {row["formula"]: row for row in study.numbers()["correlations"]}
    notebook, theory = PUBLISHED["mnist", "vortex"]
    assert found["notebook"]["mean"] == pytest.approx(notebook, abs=0.04)
    assert found["theory"]["mean"] == pytest.approx(theory, abs=0.04)
    assert found["theory"]["simulations"] == 8
    equation = study.equations[0]
    assert equation.r2 > 0.85
    # Numerical diffusion along both axes, with the right sign, and most of the theory's 1/2.
    coefficients = dict(zip(equation.terms, equation.coefficients, strict=True))
    assert 0.3 < coefficients["|u| dt dx psi_xx"] < 0.5
    assert 0.3 < coefficients["|v| dt dx psi_yy"] < 0.5


@pytest.mark.slow
def test_table_6_is_reproduced(golden_folder: Path, data_folder: Path, tmp_path: Path) -> None:
    """Fifty rollouts of each family, by the notebook's formula and by the theory: all eight within 0.04."""
    file = tmp_path / "interpretation.json"
    command = [
        sys.executable, str(ROOT / "benchmarks" / "interpretation.py"), "--data-dir", str(data_folder),
        "--weights", str(network(golden_folder, "advection")), "--json", str(file), "--simulations", "50",
    ]  # fmt: skip
    subprocess.run(command, check=True)
    families = json.loads(file.read_text())["families"]
    assert list(families) == [" / ".join(name) for name in PUBLISHED]
    for name, (notebook, theory) in PUBLISHED.items():
        found = {row["formula"]: row for row in families[" / ".join(name)]["correlations"]}
        assert found["notebook"]["simulations"] == found["theory"]["simulations"] == 50
        assert found["notebook"]["mean"] == pytest.approx(notebook, abs=0.04), name
        assert found["theory"]["mean"] == pytest.approx(theory, abs=0.04), name


def test_command_prints_and_writes(small: Problem, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "network.safetensors"
    options = {"channels": 4, "layers": 1, "radius": 1}
    network = build("compact", small.spec, explores=True, options=options, key=jax.random.key(0))
    save_weights(weights, network, architecture={"closure": "compact", "options": options})
    out = tmp_path / "out"
    arguments = ["--cells", "24", "--ratio", "2", "--simulations", "2", "--step", "4", "--terms", "2"]
    main(["interpret", str(weights), *arguments, "--out", str(out)])
    printed = capsys.readouterr().out
    assert "2 held-out simulations" in printed
    assert "notebook" in printed
    assert "found: A = " in printed
    content = json.loads((out / "interpretation.json").read_text())
    assert content["settings"]["cells"] == 24
    assert content["settings"]["published_velocity"] is False
    assert len(content["correlations"][0]["each"]) == 2
    assert len(content["equations"][0]["terms"]) <= 2
    written = {"interpretation.json", "interpretation.png", "correlations.png", "configuration.toml"}
    assert {p.name for p in out.iterdir()} == written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which closure?"),
        (("--step", "4"), "which closure?"),
        (("nowhere",), "there is no closure at nowhere"),
        (("nowhere.npz", "--images", "synthetic", "--simulations", "1"), "there is no closure"),
    ],
)
def test_command_refuses(arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["interpret", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_command_takes_the_settings_of_a_run() -> None:
    run = str(ROOT / "benchmarks" / "results" / "compact-mnist")
    trained = RunFolder(run).read_configuration().problem
    for path in (run, f"{run}/weights.safetensors"):
        found, options, settings = parse_interpret([path, "--simulations", "7"])
        assert (found, options.simulations, settings) == (path, 7, trained)
    assert parse_interpret([run, "--preset", "paper"])[2] == advection.published(trained)
    assert parse_interpret(["some.npz", "--problem", "burgers"])[2] == burgers.published(BurgersConfiguration())
    assert parse_interpret(["some.safetensors"])[2] == AdvectionConfiguration()
    with pytest.raises(ValueError, match="trained on advection; leave out --problem burgers"):
        parse_interpret([run, "--problem", "burgers"])


def test_too_little_to_interpret_is_refused(small: Problem) -> None:
    for options in ({"simulations": 1}, {"step": 2}):
        with pytest.raises(ValueError, match="at least two simulations"):
            interpret(small, lambda seen: seen[:1], key=jax.random.key(0), **options)


def test_figures_show_every_component(small_burgers: Problem, burgers_study: Study, tmp_path: Path) -> None:
    study = burgers_study
    figure = interpretation_figure(
        small_burgers, study.trajectories, study.comparisons, tmp_path / "a.png", simulation=1
    )
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert [t for t in titles if "step" in t and "action" not in t] == ["u, step 5", "v, step 5"]
    r = [c.correlation[1] for c in study.comparisons]
    assert [t for t in titles if t.startswith("r =")] == [
        f"r = {x:.3f}, slope {c.slope[1]:.2f}" for x, c in zip(r, study.comparisons, strict=True)
    ]
    picture = next(axes for axes in figure.axes if axes.get_title() == "u, step 5").get_images()[0].get_array()
    np.testing.assert_array_equal(picture, study.trajectories.state[1, 5, 0].T)
    assert (tmp_path / "a.png").stat().st_size > 10_000
    correlation_figure(study.comparisons, tmp_path / "b.png")
    assert (tmp_path / "b.png").stat().st_size > 5_000
    with pytest.raises(ValueError, match="comparisons with the theory"):
        interpretation_figure(small_burgers, study.trajectories, [])
