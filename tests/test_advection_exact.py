"""The exact reference of advection, the solvers that closures correct, and settings that older runs do not know."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core.case import Case
from closura.core.solver import Solver
from closura.grids import Grid
from closura.initial.synthetic import Collages
from closura.initial.velocities import vortex_field
from closura.problems import AdvectionConfiguration, advection, as_evaluated, as_trained
from closura.problems.advection import AdvectionSolver
from closura.problems.characteristics import Characteristics, bilinear, cubic
from closura.problems.reference import SolverReference
from closura.runs.configuration import from_plain, train_preset

SMALL = AdvectionConfiguration(cells=16, ratio=4)
RUNS = Path(__file__).parents[1] / "benchmarks" / "results"


@eqx.filter_jit
def follow(solver: Solver, case: Case, dt: float, steps: int, cells: int = 16) -> jax.Array:
    """The field on a coarse grid after some steps."""
    state, velocity = solver.init(case)
    return solver.to_grid(solver.march(state, velocity, dt, steps), Grid((cells, cells)))


def smooth(n: int) -> jax.Array:
    """A smooth periodic field ``(1, n, n)`` in float64."""
    x = 2 * np.pi * np.arange(n) / n
    return jnp.asarray(np.sin(x)[:, None] * np.cos(x)[None] + 0.3 * np.cos(2 * x)[:, None], jnp.float64)[None]


def test_a_uniform_velocity_shifts_the_field() -> None:
    """By 3 and -5 fine points in six steps of 1/128: bilinear values at grid points are the points' own."""
    field = jax.random.uniform(jax.random.key(0), (1, 32, 32), jnp.float64)
    speed = jnp.asarray([3.0, -5.0], jnp.float64) * 128 / 6 / 32
    draw = Case(field, jnp.broadcast_to(speed[:, None, None], (2, 32, 32)))
    shown = follow(Characteristics(Grid((32, 32))), draw, 1 / 128, 6, 32)
    # Positions of size 32 are exact to 1e-14; slopes are at most 1 per point.
    np.testing.assert_allclose(shown, jnp.roll(field, (3, -5), (1, 2)), atol=1e-11)


def test_fine_simulations_converge_to_the_exact_solution() -> None:
    """The distance of the published fine solver, of second order, falls by four when its spacing is halved."""
    distances = []
    for n in (64, 128, 256):
        draw = Case(smooth(n), vortex_field((n, n), 0.8, dtype=jnp.float64))
        exact = follow(Characteristics(Grid((16, 16))), draw, 1 / 64, 12)
        fine = follow(AdvectionSolver(Grid((n, n)), "central2", "rk4"), draw, 1 / 4 / n, 12 * n // 16)
        distances.append(float(jnp.mean(jnp.abs(fine - exact))))
    # Bilinear initial values are of second order as well; 3.6 instead of 4 leaves room for both.
    assert distances[0] > 3.6 * distances[1] > 3.6**2 * distances[2]
    assert distances[2] < 2e-3


def test_cubic_values_do_not_cross_the_seam() -> None:
    """A cubic that jumps between its ends is met inside, and a straight line joins the ends."""
    x = jnp.arange(8, dtype=jnp.float64)
    field = jnp.broadcast_to((x**3 - 4 * x)[:, None], (8, 8))[None]
    at = jnp.asarray([[0.3, 3.7, 6.9, 7.0, 7.25], [0.0, 1.5, 7.5, 2.0, 7.9]], jnp.float64)[:, :, None]
    p = np.asarray(at[0])
    inside = p**3 - 4 * p
    line = (1 - (p - 7)) * (7**3 - 28)
    np.testing.assert_allclose(cubic(field, at, seam=True)[0], np.where(p < 7, inside, line), atol=1e-10)
    # Across the end a periodic field is smooth: fourth order, (2 pi / 32)^4 / 24 at the most.
    wave = jnp.sin(2 * jnp.pi * jnp.arange(32, dtype=jnp.float64) / 32)
    at = jnp.asarray([[31.5], [30.9]], jnp.float64)[:, :, None]
    value = cubic(jnp.broadcast_to(wave[:, None], (32, 32))[None], at, seam=False)
    np.testing.assert_allclose(value, np.sin(2 * np.pi * 31.5 / 32), atol=6e-5)
    np.testing.assert_allclose(bilinear(smooth(16), jnp.asarray([[3.0], [5.0]], jnp.float64)), smooth(16)[:, 3:4, 5])


@pytest.mark.parametrize("velocity", ["train", "vortex"])
def test_time_steps_and_precision_of_the_exact_solution(velocity: Any) -> None:
    """On the published velocities, 100 steps: four times shorter time steps change errors of half a percent little."""
    problem = advection(advection.published(AdvectionConfiguration(velocity=velocity, reference="exact")), "test")
    shown, finer = [], problem.reference.solver  # type: ignore[attr-defined]
    assert isinstance(finer, Characteristics)
    assert finer.seam == (velocity == "train")
    draw = problem.begin.cases.sample(key=jax.random.key(3))  # type: ignore[attr-defined]
    for times, dtype in ((1, jnp.float32), (4, jnp.float64)):
        wide = Case(draw.initial.astype(dtype), draw.parameters.astype(dtype))
        shown.append(np.asarray(follow(finer, wide, problem.time_step / times, 100 * times, 64), np.float64))
    # Compared with 1.5e-2 between the exact solution and the best coarse scheme: less than a hundredth.
    assert np.abs(shown[0] - shown[1]).mean() < 1e-4


def test_the_reference_is_a_setting() -> None:
    shown = {}
    for reference in ("fine", "exact", "mean"):
        problem = advection(replace(SMALL, reference=reference), "test")
        draw = problem.begin.cases.sample(key=jax.random.key(1))  # type: ignore[attr-defined]
        solved = problem.reference
        assert isinstance(solved, SolverReference)
        count = solved.substeps
        shown[reference] = follow(solved.solver, draw, problem.time_step / count, 6 * count)
        assert problem.names == ("CGS", "FGS" if reference == "fine" else "reference")
    np.testing.assert_allclose(shown["mean"], (shown["fine"] + shown["exact"]) / 2, atol=1e-6)  # float32
    assert 0 < float(jnp.mean(jnp.abs(shown["fine"] - shown["exact"]))) < 0.02


def test_the_corrected_solver_is_a_setting() -> None:
    usual = advection(SMALL, "test")
    for base in ("upwind3", "upwind5"):
        problem = advection(replace(SMALL, base=base), "test")
        assert problem.names[0] == base
        assert base not in problem.baselines
        assert set(problem.baselines) == {"CGS", *usual.baselines} - {base}
        assert problem.coarse == usual.baselines[base]
        assert problem.baselines["CGS"] == usual.coarse
    flux = advection(replace(SMALL, base="upwind5", form="flux"), "test")
    assert flux.names[0] == "upwind5"


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="values at points"):
        advection(replace(SMALL, reference="exact", form="flux"), "test")
    with pytest.raises(ValueError, match="velocity mixed"):
        advection(replace(SMALL, velocity="mixed", form="flux"), "test")


def test_families_to_learn_on() -> None:
    """Collages stay within the range of images and vary; mixed velocities are of both families, both within one."""
    draw = jax.jit(jax.vmap(Collages((32, 32)).draw))(jax.random.split(jax.random.key(0), 12))
    assert float(draw.min()) >= 0
    assert float(draw.max()) <= 1
    assert len(np.unique(np.asarray(draw).sum(axis=(1, 2)).round(3))) == 12
    problem = advection(replace(SMALL, velocity="mixed", images="collages"), "train")
    sampler = problem.begin.cases.velocity  # type: ignore[attr-defined]
    fields = np.asarray(jax.jit(jax.vmap(sampler))(jax.random.split(jax.random.key(1), 24)))
    assert np.abs(fields).max() <= 1
    # Published members jump at the seam by many times what neighbours differ by; periodic ones do not.
    jumps = np.abs(fields[:, :, 0] - fields[:, :, -1]).max(axis=(1, 2))
    steps = np.abs(np.diff(fields, axis=2)).max(axis=(1, 2, 3))
    assert 4 <= (jumps > 2 * steps).sum() <= 20


def test_the_base_belongs_to_the_closure_and_the_reference_to_the_problem() -> None:
    settings = replace(SMALL, base="upwind5", reference="exact")
    assert as_evaluated(settings) == replace(SMALL, reference="exact")
    assert as_trained(replace(SMALL, reference="fine"), settings) == replace(SMALL, base="upwind5")


def test_configurations_of_older_runs_load() -> None:
    plain = json.loads((RUNS / "compact-mnist" / "configuration.json").read_text())
    assert "base" not in plain["problem"]
    assert "view" not in plain["compact"]
    loaded = from_plain(plain)
    assert isinstance(loaded.problem, AdvectionConfiguration)
    assert (loaded.problem.base, loaded.problem.reference, loaded.network.view) == ("upwind1", "fine", "grid")
    assert train_preset("paper", problem="advection").problem == advection.published(
        AdvectionConfiguration(images="mnist")
    )
