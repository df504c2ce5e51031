"""What networks see and give: exact where it must be, and nothing in answers that cannot be in a residual."""

import jax.numpy as jnp
import numpy as np
import pytest

from closura.numerics.fourier import divergence_free, wavenumbers
from closura.offline.filters import GaussianFilter, SpectralCutoff
from closura.offline.working_grid import WorkingGrid, prepare


def flows(count=6, points=32, reach=6, seed=0):
    """Divergence-free fields of waves up to ``reach``."""
    rng = np.random.default_rng(seed)
    kx, ky = wavenumbers(points)
    inside = (np.abs(kx) <= reach) & (ky <= reach)
    modes = np.fft.rfft2(rng.standard_normal((count, 2, points, points))) * inside
    frames = [np.fft.irfft2(np.asarray(divergence_free(jnp.asarray(m))), s=(points, points)) for m in modes]
    return np.stack(frames).astype(np.float32)


def grid_for(full, filtering, **settings):
    return prepare(filtering(full), full, forcing=4, filtering=filtering, **settings)


def test_takes_as_few_points_as_the_flow_needs():
    filtering = SpectralCutoff(3.0)
    # Waves up to 6 need more than 12 points, in multiples of eight; up to 9 more than 18.
    assert grid_for(flows(reach=6), filtering).working_points == 16
    assert grid_for(flows(reach=9), filtering).working_points == 24
    assert grid_for(flows(reach=15), filtering).working_points == 32


def test_the_true_residual_closes_the_field():
    full, filtering = flows(), SpectralCutoff(3.0)
    grid = grid_for(full, filtering)
    filtered = filtering(full)
    residual = grid.residual(jnp.asarray(filtered[0]), jnp.asarray(full[0]))
    assert residual.shape == (2, 16, 16)
    assert float(jnp.sqrt(jnp.mean(residual**2))) == pytest.approx(1.0, abs=0.3)  # in units of all frames' size
    closed = grid.close(jnp.asarray(filtered[0]), residual)
    np.testing.assert_allclose(closed, full[0], atol=2e-6)  # float32 through four transforms


def test_answers_hold_nothing_that_the_filter_kept_and_no_divergence():
    full, filtering = flows(), SpectralCutoff(3.0)
    grid = grid_for(full, filtering)
    anything = jnp.asarray(np.random.default_rng(1).standard_normal((2, 16, 16)), jnp.float32)
    answer = grid.admissible(anything)
    modes = np.fft.rfft2(np.asarray(answer, np.float64))
    kx, ky = wavenumbers(16)
    assert np.max(np.abs(modes[:, np.hypot(kx, ky) <= 3.0])) < 1e-4  # of modes of size 16
    assert np.max(np.abs(kx * modes[0] + ky * modes[1])) < 1e-3
    np.testing.assert_allclose(grid.admissible(answer), answer, atol=1e-6)
    # So the filter gives back what it was asked with, whatever a network says.
    closed = grid.close(jnp.asarray(filtering(full)[0]), anything)
    np.testing.assert_allclose(filtering(np.asarray(closed)), filtering(full)[0], atol=2e-6)


def test_smooth_filters_leave_all_waves_open():
    full, filtering = flows(), GaussianFilter(1.0)
    grid = grid_for(full, filtering)
    residual = grid.residual(jnp.asarray(filtering(full)[0]), jnp.asarray(full[0]))
    np.testing.assert_allclose(grid.admissible(residual), residual, atol=1e-5)


def test_divergence_is_kept_where_the_data_have_it():
    rng = np.random.default_rng(2)
    kx, ky = wavenumbers(32)
    modes = np.fft.rfft2(rng.standard_normal((3, 2, 32, 32))) * (np.hypot(kx, ky) < 6)
    full = np.fft.irfft2(modes, s=(32, 32)).astype(np.float32)
    assert not grid_for(full, SpectralCutoff(2.0)).solenoidal
    assert grid_for(flows(), SpectralCutoff(2.0)).solenoidal


def test_inputs_and_the_way_through_json():
    full, filtering = flows(), SpectralCutoff(3.0)
    grid = grid_for(full, filtering)
    seen = grid.inputs(jnp.asarray(filtering(full)[0]))
    assert seen.shape == (4, 16, 16)
    # The forcing's phase: sin(4 y) at the first points of y.
    np.testing.assert_allclose(seen[2, 0, :4], [0, 1, 0, -1], atol=1e-6)
    assert WorkingGrid.from_plain(grid.plain()) == grid


@pytest.mark.parametrize(("points", "message"), [(7, "even number"), (64, "from 8 to 32"), (20, "multiple of 8")])
def test_bad_numbers_of_points(points, message):
    with pytest.raises(ValueError, match=message):
        grid_for(flows(), SpectralCutoff(3.0), working_points=points)


def test_missing_modes_are_those_beyond_the_cutoff_that_the_grid_resolves():
    grid = grid_for(flows(), SpectralCutoff(3.0))
    kx, ky = wavenumbers(grid.working_points)
    resolved = (np.abs(kx) < 8) & (ky < 8)
    np.testing.assert_array_equal(grid.missing_modes(), resolved & (np.hypot(kx, ky) > 3.0))
    # A Gaussian leaves the mean alone as it is.
    assert (~grid_for(flows(), GaussianFilter(1.0)).missing_modes() & resolved).sum() == 1
