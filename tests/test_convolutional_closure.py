"""The convolutional closure: its score is proper, and it learns a known distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.numerics.fourier import divergence_free, wavenumbers
from closura.offline.calibration import Calibrated, calibrate
from closura.offline.convolutional import ConvolutionalSettings, ensemble_score
from closura.offline.descent import DescentConfiguration
from closura.offline.filters import SpectralCutoff
from closura.offline.sampler import load_sampler, save_sampler


def test_score_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 3)), rng.standard_normal(3)
    pairs = np.abs(x[:, None] - x[None]).sum((0, 1))
    near = np.abs(x - y).mean(0)
    np.testing.assert_allclose(ensemble_score(jnp.asarray(x), jnp.asarray(y), 1.0), near - pairs / (2 * 4 * 3))
    np.testing.assert_allclose(ensemble_score(jnp.asarray(x), jnp.asarray(y), 0.0), near - pairs / (2 * 16))


def test_fair_score_is_smallest_for_the_true_spread():
    rng = np.random.default_rng(1)
    reference = rng.standard_normal(200_000)
    noise = rng.standard_normal((2, reference.size))
    scores = [float(jnp.mean(ensemble_score(jnp.asarray(s * noise), jnp.asarray(reference)))) for s in (0.7, 1.0, 1.4)]
    # Expected: sqrt(2/pi) (sqrt(1 + s^2) - s / sqrt 2); statistical error 0.6 / sqrt(200000) = 0.0014.
    expected = [np.sqrt(2 / np.pi) * (np.sqrt(1 + s**2) - s / np.sqrt(2)) for s in (0.7, 1.0, 1.4)]
    np.testing.assert_allclose(scores, expected, atol=0.006)
    assert scores[1] == min(scores)


NOISE = 0.3


def toy(count, seed):
    """A mean flow u = a; the residual is 0.8 a sin(4 y) and divergence-free white noise of the size NOISE."""
    rng = np.random.default_rng(seed)
    y = 2 * np.pi * np.arange(16) / 16
    a = rng.uniform(-1, 1, count)
    modes = np.fft.rfft2(rng.standard_normal((count, 2, 16, 16)))
    kx, ky = wavenumbers(16)
    modes *= (np.hypot(kx, ky) > 2) & (np.abs(kx) < 8) & (ky < 8)
    noise = np.stack([np.fft.irfft2(np.asarray(divergence_free(jnp.asarray(m))), s=(16, 16)) for m in modes])
    noise *= NOISE / np.sqrt(np.mean(noise**2))
    full = noise
    full[:, 0] += a[:, None, None] * (1 + 0.8 * np.sin(4 * y))
    full = full.astype(np.float32)
    return SpectralCutoff(2.0)(full), full, a


@pytest.fixture(scope="module")
def fitted():
    settings = ConvolutionalSettings(
        channels=16,
        layers=2,
        noise=2,
        members=4,
        working_points=16,
        symmetries=False,
        descent=DescentConfiguration(updates=250, batch=16, learning_rate=1e-2, average=0.98),
    )
    filtered, full, _ = toy(400, 0)
    return settings.fit(filtered, full, key=jax.random.key(0), filtering=SpectralCutoff(2.0))


def test_learns_mean_and_spread_of_a_known_distribution(fitted):
    filtered, full, a = toy(60, 1)
    drawn = np.asarray(fitted.sample(filtered, 40, key=jax.random.key(3)))
    y = 2 * np.pi * np.arange(16) / 16
    amplitude = 2 * np.mean(drawn[:, :, 0].mean(0) * np.sin(4 * y), axis=(-2, -1))
    # True: 0.8 a. A short training of a small network.
    assert np.sqrt(np.mean((amplitude - 0.8 * a) ** 2)) < 0.15
    assert 0.6 * NOISE < np.sqrt(np.mean(drawn.var(0))) < 1.4 * NOISE


def test_the_filtered_field_is_kept(fitted):
    filtered, _, _ = toy(3, 2)
    drawn = np.asarray(fitted.sample(filtered, 2, key=jax.random.key(0)))
    np.testing.assert_allclose(SpectralCutoff(2.0)(drawn[0]), filtered, atol=5e-6)


def test_samples_repeat_and_do_not_depend_on_blocks(fitted):
    filtered, _, _ = toy(70, 3)
    whole = np.asarray(fitted.sample(filtered, 3, key=jax.random.key(5)))
    again = np.asarray(fitted.sample(filtered, 3, key=jax.random.key(5)))
    np.testing.assert_array_equal(whole, again)
    assert whole.shape == (3, 70, 2, 16, 16)
    assert np.std(whole[0] - whole[1]) > 0
    mean, std = fitted.mean_and_std(filtered[:2])
    assert mean.shape == std.shape == (2, 2, 16, 16)


def test_saving(fitted, tmp_path):
    filtered, _, _ = toy(2, 4)
    path = save_sampler(tmp_path / "closure.safetensors", fitted, metadata={"score": 1.5})
    loaded, metadata = load_sampler(path)
    assert metadata == {"score": 1.5}
    np.testing.assert_array_equal(
        loaded.sample(filtered, 2, key=jax.random.key(1)), fitted.sample(filtered, 2, key=jax.random.key(1))
    )


def test_calibration_meets_its_level(fitted, tmp_path):
    filtered, full, _ = toy(200, 6)
    narrow = Calibrated(fitted, 0.5)
    mended = calibrate(narrow, filtered, full, members=20, key=jax.random.key(2))
    fresh_filtered, fresh, _ = toy(200, 7)
    drawn = np.sort(np.asarray(mended.sample(fresh_filtered, 39, key=jax.random.key(4))), axis=0)
    inside = (fresh >= drawn[1]) & (fresh <= drawn[-2])  # orders 2 and 38 of 39: 90 %
    # 200 fields of independent noise: statistical error below 0.5 %; ensembles of 20 and 39 members differ a little.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
    path = save_sampler(tmp_path / "mended.safetensors", mended)
    loaded, _ = load_sampler(path)
    assert loaded.factor == mended.factor


def test_bad_settings_and_questions(fitted):
    with pytest.raises(ValueError, match="at least two members"):
        ConvolutionalSettings(members=1)
    with pytest.raises(ValueError, match="expected frames"):
        fitted.sample(np.zeros((2, 2, 8, 8), np.float32), 2, key=jax.random.key(0))
    with pytest.raises(ValueError, match="at least one member"):
        fitted.sample(np.zeros((2, 2, 16, 16), np.float32), 0, key=jax.random.key(0))
