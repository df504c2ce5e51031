"""The NumPy environment of the benchmarks, and the fine solver's fast path, against their definitions."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core.case import Case
from closura.environment import Environment
from closura.grids import Grid
from closura.numerics import get_integrator
from closura.problems import AdvectionConfiguration, AdvectionSolver, FixedBegin, advection


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """``benchmarks/numpy_environment.py``, which belongs to no package."""
    path = Path(__file__).parents[1] / "benchmarks" / "numpy_environment.py"
    specification = importlib.util.spec_from_file_location("numpy_environment", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


# float64: rounding of a few steps in another order; float32: the same at its precision.
@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
def test_numpy_environment_is_the_published_one(reference: ModuleType, precision: str, tolerance: float) -> None:
    cells, ratio, rng = 16, 2, np.random.default_rng(0)
    configuration = AdvectionConfiguration(
        cells=cells, ratio=ratio, precision=precision, published_boundary=True, minimum_steps=2, error_threshold=0.05
    )
    fine = rng.random((cells * ratio, cells * ratio))
    u, v = rng.uniform(-1, 1, (2, cells * ratio, cells * ratio))
    plain = reference.NumpyEnvironment(
        cells, ratio, precision, minimum=2, error_threshold=configuration.error_threshold
    )
    observation = plain.reset(fine, u, v)

    problem = advection(configuration)
    dtype = jnp.dtype(precision)
    draw = Case(jnp.asarray(fine.T[None], dtype), jnp.asarray(np.stack([u.T, v.T]), dtype))
    environment = Environment(replace(problem, begin=FixedBegin(problem.begin.from_case(draw))))
    episode = environment.reset(key=jax.random.key(0))
    ends = []
    for _ in range(4):
        expected = np.asarray(environment.observe(episode)).transpose(0, 2, 1)
        # Observations are float32 in both: the last bit may differ.
        np.testing.assert_allclose(observation, expected, atol=max(tolerance, 3e-7), rtol=0)
        action = 0.3 * rng.normal(size=(cells, cells))
        observation, reward, done = plain.step(action)
        episode, timestep = environment.step(episode, jnp.asarray(action.T[None], dtype))
        for got, want in (
            (plain.state, episode.state[0]),
            (plain.fine, episode.reference[0][0]),
            (reward, timestep.reward),
        ):
            assert got.dtype == dtype
            np.testing.assert_allclose(got, np.asarray(want).T, atol=tolerance, rtol=0)
        assert done == bool(timestep.done)
        ends.append(done)
    assert ends == [False, True, True, True]


@pytest.mark.parametrize(
    ("scheme", "integrator"),
    [
        ("central2", "rk4"),
        ("central2", "forward-euler"),
        ("central4", "ssp-rk3"),
        ("upwind5", "rk4"),
        ("spectral", "rk4"),
    ],
)
def test_solver_takes_the_integrators_steps(scheme: str, integrator: str) -> None:
    """Horner's rule, and ghost points for all stages at once, change the rounding of a few operations only."""
    grid = Grid((18, 11), (1.0, 0.7))
    keys = jax.random.split(jax.random.key(1), 2)
    psi = jax.random.normal(keys[0], (2, *grid.shape), jnp.float64)
    velocity = jax.random.uniform(keys[1], (2, *grid.shape), jnp.float64, -1, 1)
    solver = AdvectionSolver(grid, scheme, integrator)
    expected = psi
    for _ in range(3):
        expected = get_integrator(integrator).step(lambda q: solver.tendency(q, velocity), expected, 0.02 / 3)
    np.testing.assert_allclose(solver.march(psi, velocity, 0.02 / 3, 3), expected, atol=2e-14, rtol=0)


def test_outflow_boundaries_keep_their_ghost_points() -> None:
    """At an outflow the ghost points repeat the end point at every stage: the periodic short cut must not act."""
    grid = Grid((12, 9), boundary=("outflow", "periodic"))
    psi = jax.random.normal(jax.random.key(0), (1, *grid.shape), jnp.float64)
    velocity = jnp.ones((2, *grid.shape), jnp.float64)
    solver = AdvectionSolver(grid, "central2", "rk4")
    expected = get_integrator("rk4").step(lambda q: solver.tendency(q, velocity), psi, 0.01)
    np.testing.assert_allclose(solver.step(psi, velocity, 0.01), expected, atol=1e-14, rtol=0)
