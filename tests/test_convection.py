"""Two-dimensional convection, columns of layers, and the problem they make."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.core.case import Case
from closura.grids import Grid
from closura.problems.convection.column import Adjustment, Bulk, Column, Profiles, implicit
from closura.problems.convection.flow import Convection, layers
from closura.problems.convection.setup import Coolings, box, convection, profile_error

VISCOSITY = 2e-4
COLUMN = Grid((16,), (1.0,), ("outflow",))
PARAMETERS = {"flux": jnp.float32(2e-3), "stratification": jnp.float32(1.0)}


def flow(points: tuple[int, int]) -> Convection:
    return Convection(box(points), VISCOSITY)


def divergence(solver: Convection, state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    (u, w, _), (dx, dz) = state, solver.grid.spacing
    return (jnp.roll(u, -1, 0) - u) / dx + (w[:, 1:] - w[:, :-1]) / dz


def test_a_flow_has_no_divergence_and_its_buoyancy_changes_by_the_fluxes_at_the_lids() -> None:
    solver = flow((24, 16))
    state, parameters = solver.init(Coolings(2e-3, 2e-3, 1.0).sample(key=jax.random.key(0)))
    after = solver.march(state, parameters, 0.1, 100)
    assert jnp.abs(after[1]).max() > 1e-3  # it convects
    # Rounding of single precision over the spacing.
    assert jnp.abs(divergence(solver, after)).max() < 24 * 1e-6
    change = jnp.mean(after[2].astype(jnp.float64)) - jnp.mean(state[2].astype(jnp.float64))
    assert change == pytest.approx(-(2e-3 + VISCOSITY) * 10, abs=2e-6)


def test_a_projection_takes_gradients_away_and_leaves_flows_without_divergence() -> None:
    solver, rng = flow((12, 8)), np.random.default_rng(0)
    u, w = jnp.asarray(rng.normal(size=(12, 8))), jnp.asarray(rng.normal(size=(12, 9))).at[:, [0, -1]].set(0.0)
    once = solver.project(u, w)
    assert jnp.abs(divergence(solver, (*once, u))).max() < 1e-12
    for a, b in zip(once, solver.project(*once), strict=True):
        assert jnp.abs(a - b).max() < 1e-13
    pressure = jnp.asarray(rng.normal(size=(12, 8)))
    dx, dz = solver.grid.spacing
    gradient = (pressure - jnp.roll(pressure, 1, 0)) / dx, jnp.pad(jnp.diff(pressure, axis=1), ((0, 0), (1, 1))) / dz
    assert all(jnp.abs(part).max() < 1e-12 for part in solver.project(*gradient))


def test_advection_of_momentum_conserves_energy_in_the_limit_of_short_steps() -> None:
    """Fluxes of central differences on a staggered grid make no energy (Harlow and Welch 1965; Morinishi 1998)."""
    solver, rng = Convection(box((12, 8)), 0.0), np.random.default_rng(1)
    u, w = solver.project(
        jnp.asarray(rng.normal(size=(12, 8))), jnp.asarray(rng.normal(size=(12, 9))).at[:, [0, -1]].set(0.0)
    )
    du, dw, _ = solver.tendency((u, w, jnp.zeros((12, 8))), jnp.zeros(()), jnp.zeros(()))
    assert abs(jnp.sum(u * du) + jnp.sum(w * dw)) < 1e-11 * (jnp.sum(u**2) + jnp.sum(w**2)) * 100


def test_a_wave_of_the_stratification_has_the_frequency_of_the_dispersion_relation() -> None:
    """Standing internal wave: ``omega^2 = N^2 k^2 / (k^2 + m^2)``, to second order in the spacing."""
    errors = []
    for n in (16, 32):
        solver = Convection(box((2 * n, n)), 0.0)
        (nx, nz), k, m = solver.grid.shape, jnp.pi, jnp.pi  # one wave in x, half a one in z
        x, faces = (np.arange(nx) + 0.5) * 2 / nx, np.arange(nz + 1) / nz
        w = 1e-4 * np.cos(k * x)[:, None] * np.sin(m * faces)[None]
        z = (np.arange(nz) + 0.5) / nz
        left = np.arange(nx) * 2 / nx
        u = -1e-4 * np.sin(k * left)[:, None] * np.cos(m * z)[None] * float(m / k)
        state = (*solver.project(jnp.asarray(u), jnp.asarray(w)), jnp.asarray(np.tile(z, (nx, 1))))
        period = 2 * np.pi / np.sqrt(k**2 / (k**2 + m**2))
        still = {"flux": jnp.asarray(0.0), "stratification": jnp.asarray(1.0)}
        after = solver.march(state, still, period / 4 / 64, 64)  # at a quarter of a period it is at rest
        errors.append(float(jnp.abs(after[1]).max()) / 1e-4)
    assert errors[1] < errors[0] / 3.5
    assert errors[1] < 2e-3


def test_means_over_layers_need_no_whole_cells() -> None:
    profile = jnp.arange(6.0)
    assert layers(profile, 3).tolist() == [0.5, 2.5, 4.5]
    assert layers(profile, 4) == pytest.approx([1 / 3, 1.0 + 2 / 3, 3 + 1 / 3, 4 + 2 / 3])


def test_implicit_diffusion_of_a_cosine_decays_as_backward_euler_says() -> None:
    n, exchange, exact = 16, 3.0, jnp.float64
    cosine = jnp.cos(jnp.pi * (jnp.arange(n, dtype=exact) + 0.5) / n)
    after = implicit(cosine, jnp.full(n - 1, exchange, exact))
    rate = exchange * (2 - 2 * np.cos(np.pi / n))
    assert np.asarray(after) == pytest.approx(np.asarray(cosine / (1 + rate)), rel=1e-12)


COLUMNS = [
    Adjustment(COLUMN, VISCOSITY, 0.01),
    Bulk(COLUMN, VISCOSITY, 0.2, 0.01),
    Profiles(COLUMN, VISCOSITY, 0.8, 0.3, 3.0),
]


@pytest.mark.parametrize("solver", COLUMNS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("dt", [0.1, 5.0])
def test_columns_exchange_buoyancy_only_with_their_ends(solver: Column, dt: float) -> None:
    state, parameters = solver.init(Case(jnp.zeros((2, 1)), PARAMETERS))

    def closure(seen: jax.Array) -> jax.Array:
        return 2 * jnp.sin(10 * jnp.arange(16.0))[None] + 0 * seen[:1]

    after = state
    for _ in range(10):
        after = solver.step(after, parameters, dt, closure)
    assert jnp.all(jnp.isfinite(after))
    # Rounding of single precision in ten steps.
    assert jnp.mean(state - after) == pytest.approx(10 * dt * (2e-3 + VISCOSITY), abs=1e-5 * dt + 2e-6)


def test_the_bulk_layer_has_the_depth_of_its_law() -> None:
    """``h = sqrt(2 (1 + 2 A) B t) / N``, on a fine column; a diffusivity of zero below."""
    depth = {}
    for share in (0.0, 0.2):
        solver = Bulk(Grid((128,), (1.0,), ("outflow",)), 0.0, share, 1.0)
        state, parameters = solver.init(Case(jnp.zeros((2, 1)), PARAMETERS))
        after = solver.march(state, parameters, 0.05, 400)[0]
        changed = jnp.abs(after - state[0]) > 2e-3
        depth[share] = float(jnp.mean(changed))
    assert depth[0.0] == pytest.approx(np.sqrt(2 * 2e-3 * 20), rel=0.03)
    assert depth[0.2] == pytest.approx(np.sqrt(2 * 1.4 * 2e-3 * 20), rel=0.05)


def test_an_action_is_a_flux_in_units_of_the_surface_flux() -> None:
    solver = Adjustment(COLUMN, VISCOSITY, 0.01)
    state, parameters = solver.init(Case(jnp.zeros((2, 1)), PARAMETERS))
    action = jnp.zeros((1, 16)).at[0, 3].set(0.5).at[0, 15].set(9.0)  # the last one is at the surface
    change = solver.correct(state, parameters, 0.5, action) - state
    expected = np.zeros(16)
    expected[3], expected[4] = -0.5 * 2e-3 * 0.5 * 16, 0.5 * 2e-3 * 0.5 * 16
    assert np.asarray(change[0]) == pytest.approx(expected, abs=1e-7)
    seen = solver.observe(state, parameters)
    assert seen.shape == (4, 16)
    assert np.asarray(seen[:2, :-1]) == pytest.approx(1.0 - 0.5 / 16 / np.asarray(seen[2, :-1]) * [[0], [1]], abs=1e-3)


def test_the_problem_steps_and_has_a_gradient() -> None:
    problem = convection(convection.settings(points=(16, 12), layers=8), "train")
    assert set(problem.baselines) == {"bulk", "k-profile"}
    begun = problem.begin(key=jax.random.key(0))

    def error(size: jax.Array) -> jax.Array:
        state = begun.state
        for _ in range(2):
            state, _ = problem.step(state, begun.parameters, lambda seen: size * jnp.tanh(seen[:1]))
        return profile_error(state.astype(jnp.float64), begun.state * 0.9)

    found, width = jax.grad(error)(jnp.float64(0.3)), 1e-2
    difference = (error(jnp.float64(0.3 + width)) - error(jnp.float64(0.3 - width))) / (2 * width)
    assert float(found) == pytest.approx(float(difference), rel=2e-2)  # states are in single precision
