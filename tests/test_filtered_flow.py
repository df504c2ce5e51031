"""Spectral convection without padding: aliases that cancel between stages, the filter, baselines by name."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.numerics.fourier import divergence_free
from closura.problems import KolmogorovConfiguration, TurbulenceConfiguration, build_problem, simulate_reference
from closura.problems.kolmogorov.baselines import coarse_solver, finer_flows, steps_needed
from closura.problems.kolmogorov.configuration import scheme_of
from closura.problems.kolmogorov.dynamics import CoarseFlow
from closura.problems.kolmogorov.flow import FASTEST, KolmogorovFlow, filtered_convection, smooth_filter
from closura.problems.kolmogorov.smagorinsky import with_constant

PADDED, BARE = KolmogorovFlow(32), KolmogorovFlow(32, 4, "none")


def waves(*numbers, seed=0):
    """Half spectrum on 32 points of a real velocity without divergence made of these wavenumbers."""
    generator = np.random.default_rng(seed)
    x = 2 * np.pi * np.arange(32) / 32
    field = np.zeros((2, 32, 32))
    for k, m in numbers:
        for component in range(2):
            phase, size = generator.uniform(0, 2 * np.pi), generator.uniform(0.5, 1)
            field[component] += size * np.cos(k * x[:, None] + m * x[None, :] + phase)
    return divergence_free(jnp.asarray(np.fft.rfft2(field)))


def filtered_exactly(spectrum):
    return np.asarray(PADDED.convection(spectrum)) * smooth_filter(32)


def relative(a, b):
    return float(np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b)))


def test_products_that_the_grid_holds_are_filtered_and_nothing_else():
    spectrum = waves((3, 1), (-2, 5), (7, 7), (0, 4))
    for stage in range(4):  # wavenumbers up to 14 of 16: no aliases; rounding
        assert relative(filtered_convection(spectrum, stage), filtered_exactly(spectrum)) < 1e-13


def test_aliases_along_one_axis_cancel_between_stages():
    spectrum = waves((10, 1), (11, -2), (9, 3))  # products up to 22 along x, 6 along y
    exact = filtered_exactly(spectrum)
    even, odd = (np.asarray(filtered_convection(spectrum, stage)) for stage in (0, 1))
    assert relative(even, exact) > 0.1
    assert relative(odd, exact) > 0.1
    assert relative((even + odd) / 2, exact) < 1e-13
    twice = waves((10, 9), (11, 8), (9, 10))  # products beyond the grid along both axes keep their sign
    both = [np.asarray(filtered_convection(twice, stage)) for stage in (0, 1)]
    assert relative((both[0] + both[1]) / 2, filtered_exactly(twice)) > 0.01


def test_the_fastest_wave_is_the_one_that_steps_are_counted_for():
    k = np.linspace(0, 32, 100_001)
    fastest = float(np.max(k * np.exp(-2 * (k / 32) ** 16))) / 32
    assert fastest <= FASTEST < fastest + 0.01
    needed = [steps_needed(0.064, 64, 1000.0, 4, drag=0.1, solver=solver) for solver in ("spectral", "filtered")]
    assert needed == [6, 5]


def test_resolved_flow_is_that_of_the_padded_solver():
    start = jnp.asarray(PADDED.random_start(0, magnitude=50.0))
    reynolds = jnp.asarray(5.0)
    ends = [jax.jit(lambda s, f=flow: f.march(s, reynolds, 0.01, 200))(start) for flow in (PADDED, BARE)]
    # Waves from half of the grid's on, where the filter exceeds 3e-5, hold 1e-10 of this flow: measured 3e-8.
    assert relative(ends[1], ends[0]) < 1e-7
    assert BARE.fine_points == 32
    assert relative(ends[0], start) > 0.1


def test_gradient_goes_through_the_stages():
    start, reynolds = waves((3, 1), (10, 2)), jnp.asarray(50.0)
    direction = waves((3, 1), (-2, 5), seed=1)

    @jax.jit
    def fourth_power(size):
        return jnp.sum(BARE.to_velocity(BARE.march(start + size * direction, reynolds, 0.05, 3)) ** 4)

    size = 1e-5  # central differences: error of order size^2, rounding 1e-16 / size
    slope = (fourth_power(size) - fourth_power(-size)) / (2 * size)
    assert float(jax.grad(fourth_power)(0.0)) == pytest.approx(float(slope), rel=1e-7)


def test_an_eddy_viscosity_goes_with_it():
    model = with_constant(BARE, jnp.asarray(0.2))
    assert model.padding == "none"
    spectrum, reynolds = waves((3, 1), (10, 2)), jnp.asarray(1e6)
    rate = model.tendency(spectrum, reynolds, 1) - BARE.tendency(spectrum, reynolds, 1)
    assert float(jnp.sum((jnp.conj(spectrum) * rate).real)) < 0  # takes energy away


SMALL = KolmogorovConfiguration(
    cells=16, fine_cells=24, finer=(20,), solver="filtered", others=("central2 32", "quick 16", "spectral 20"),
    pool=4, chains=2, transient=2.0, spacing=0.5, settle=0.2, spin_cells=16,
)  # fmt: skip


def test_baselines_are_named_by_scheme_and_points():
    assert scheme_of("quick 64") == ("staggered", "quick", 64)
    coarse = coarse_solver(SMALL)
    assert isinstance(coarse, KolmogorovFlow)
    assert coarse.padding == "none"
    baselines = {name: each.solver.flow for name, each in finer_flows(SMALL, CoarseFlow(coarse)).items()}
    assert list(baselines) == ["20x20", "central2 32", "quick 16", "spectral 20"]
    assert baselines["20x20"].padding == "none"
    assert baselines["spectral 20"].padding == "3/2"
    assert baselines["central2 32"].points == 32
    # The reference is no baseline of itself.
    assert "spectral 24" not in finer_flows(replace(SMALL, others=("spectral 24",)), CoarseFlow(coarse))
    problem = build_problem(SMALL, "validation")
    assert dict(problem.description)["solver"] == "pseudo-spectral, shifted and filtered instead of padded"


@pytest.mark.parametrize("name", ["upwind 64", "central2", "central2 x", "central2 63"])
def test_unknown_baselines_are_refused(name):
    with pytest.raises(ValueError, match=r"unknown baseline|even number of points"):
        build_problem(replace(SMALL, others=(name,)), "validation")


def test_the_default_flow_names_its_baselines_well():
    for name in TurbulenceConfiguration().others:
        scheme_of(name)


def test_the_reference_may_be_filtered_too_and_is_the_same_where_it_is_resolved():
    settings = replace(SMALL, reynolds=20.0, solver="spectral", others=(), finer=(), time_step=0.1, fine_steps=8)
    padded, filtered = (
        build_problem(replace(settings, fine_solver=solver), "validation") for solver in ("spectral", "filtered")
    )
    assert filtered.reference.solver.flow.padding == "none"
    ends = [simulate_reference(each, 1, 10, key=jax.random.key(0)).reference[0, -1] for each in (padded, filtered)]
    # Float32, and waves at the end of 24 points hold a hundred thousandth of this flow.
    assert relative(ends[1], ends[0]) < 1e-3


def test_too_few_coarse_steps_are_refused():
    with pytest.raises(ValueError, match=r"1 coarse steps .* stability needs about"):
        build_problem(replace(SMALL, time_step=1.0, coarse_steps=1), "validation")
