"""Gaussian processes against formulas written out; calibration of the closure; the published recipe and its scoring."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.offline.filters import SpectralCutoff
from closura.offline.gaussian_process import GaussianProcessSettings
from closura.offline.gaussian_regression import SharedGaussianProcess, fit_shared, kernel_of, maximise
from closura.offline.sampler import load_sampler, save_sampler
from closura.offline.symmetries import Symmetry
from closura.reproductions.published_gaussian_process import PublishedGaussianProcessSettings, maximise_evidence

N = 16
X = 2 * np.pi * np.arange(N) / N


def travelling_waves(count=120, seed=0, noise=0.0):
    """Divergence-free waves whose small scales follow from the large: two angles that walk at random.

    The wave (0, 1) of u tells one angle by its phase and amplitude; the other is a shift along x.
    """
    rng = np.random.default_rng(seed)
    a, b = ((np.cumsum(rng.standard_normal(count)) * 0.5 + rng.uniform(0, 6))[:, None, None] for _ in range(2))
    x, y = X[:, None], X[None, :]
    u = (
        0.0 * x
        + np.sin(4 * y)
        + (0.8 + 0.3 * np.cos(a)) * np.sin(y + 0.2 + 0.1 * np.sin(a))
        + 0.3 * np.sin(2 * a + 5 * y)
    )
    v = 0.0 * y + np.cos(x - b) + 0.3 * np.cos(a) * np.sin(6 * (x - b))
    full = np.stack([u, v], axis=1)
    full = full + noise * rng.standard_normal(full.shape)
    return SpectralCutoff(3.5)(full), full


def test_prediction_is_the_textbook_formula():
    rng = np.random.default_rng(0)
    x, y, new = rng.standard_normal((30, 3)), rng.standard_normal((30, 2)), rng.standard_normal((7, 3))
    process = SharedGaussianProcess(x, y, "rbf", 1.3, 0.2)

    def k(a, b):
        return np.exp(-np.sum((a[:, None] - b[None]) ** 2, axis=-1) / (2 * 1.3**2))

    inverse = np.linalg.inv(k(x, x) + 0.2 * np.eye(30))
    mean, covariance = process.predict(new)
    np.testing.assert_allclose(mean, k(new, x) @ inverse @ y, atol=1e-12)
    expected = k(new, new) - k(new, x) @ inverse @ k(x, new) + 0.2 * np.eye(7)
    np.testing.assert_allclose(covariance, expected, atol=1e-12)
    blocks = process.mean_and_variance(new, at_once=3)
    np.testing.assert_allclose(blocks[0], mean, atol=1e-13)
    np.testing.assert_allclose(blocks[1], np.diag(covariance), atol=1e-13)


def test_left_out_blocks_are_predictions_from_the_others():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((23, 2)), rng.standard_normal((23, 3))
    process = SharedGaussianProcess(x, y, "matern52", 0.9, 0.1)
    mean, variance = process.left_out(4)
    for block in np.array_split(np.arange(23), 4):
        others = np.delete(np.arange(23), block)
        direct = SharedGaussianProcess(x[others], y[others], "matern52", 0.9, 0.1).mean_and_variance(x[block])
        np.testing.assert_allclose(mean[block], direct[0], atol=1e-11)
        np.testing.assert_allclose(variance[block], direct[1], atol=1e-11)


def test_maximise_finds_maxima_inside_and_on_bounds():
    def hill(p):
        return -((jnp.log(3.0) - jnp.log(p[0])) ** 2) - 2 * (jnp.log(p[1]) - jnp.log(p[0])) ** 2

    best, value = maximise(jax.value_and_grad(hill), np.ones(2), np.full(2, 0.1), np.full(2, 1000.0))
    # The search ends where a step gains less than 1e-9; the value is quadratic, so parameters are good to 1e-4.
    np.testing.assert_allclose(best, 3.0, rtol=2e-4)
    assert value == pytest.approx(0.0, abs=1e-8)
    best, _ = maximise(jax.value_and_grad(lambda p: jnp.log(p[0])), np.ones(1), np.full(1, 0.1), np.full(1, 50.0))
    assert 49 < best[0] <= 50


def test_single_precision_outside_changes_nothing_inside():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((40, 2)), rng.standard_normal((40, 1))
    expected = SharedGaussianProcess(x, y, "matern32", 1.0, 1e-6).predict(x[:5] + 0.1)[0]
    with jax.enable_x64(False):
        inside = SharedGaussianProcess(x, y, "matern32", 1.0, 1e-6).predict(x[:5] + 0.1)[0]
    np.testing.assert_array_equal(inside, expected)


def test_hyperparameters_of_a_known_process_are_recovered():
    """200 draws of outputs from a process of length 1.5 and noise 0.01: the likelihood knows both to a few per cent."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-4, 4, (80, 2))
    covariance = np.asarray(kernel_of("matern52", 1.5)(x, x)) + 0.01 * np.eye(80)
    y = np.linalg.cholesky(covariance) @ rng.standard_normal((80, 200)) * rng.uniform(0.1, 10, 200)
    fitted = fit_shared(x, y, evidence_outputs=200)
    assert fitted.length == pytest.approx(1.5, rel=0.05)
    assert fitted.noise == pytest.approx(0.01, rel=0.1)


def test_the_maximum_that_scikit_learn_finds():
    """scikit-learn 1.9.1, ConstantKernel(1, (0.1, 1000)) * RBF(1, (0.1, 1000)), alpha=1, no restarts, on these points.

    Its stopping rule leaves about 1e-6 in the value; the value is flat there, so parameters agree to 1e-3.
    """
    t = np.arange(60) * 0.1
    points = np.stack([np.sin(t), np.cos(0.7 * t)], axis=1)
    targets = 3 * np.sin(t + np.cos(0.7 * t)) + 0.2 * np.cos(13 * t)
    (variance, length), value = maximise_evidence(points, targets)
    assert value == pytest.approx(REFERENCE["value"], abs=1e-5)
    assert variance == pytest.approx(REFERENCE["variance"], rel=2e-3)
    assert length == pytest.approx(REFERENCE["length"], rel=2e-3)


REFERENCE = {"value": -77.9013777315979, "variance": 79.23351156, "length": 1.15992247}


@pytest.fixture(scope="module")
def fitted():
    filtered, full = travelling_waves(150, seed=1, noise=0.02)
    settings = GaussianProcessSettings(inputs=6, outputs=6)
    return settings.fit(filtered, full, key=jax.random.key(0))


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_closure_of_another_trajectory(fitted):
    filtered, full = travelling_waves(60, seed=9, noise=0.02)
    mean, std = fitted.mean_and_std(filtered)
    # Without closure half of the energy is missing; the noise alone is 0.02 of about 0.8.
    assert relative(filtered, full) > 0.6
    assert relative(mean, full) < 0.08
    inside = np.mean(np.abs(full - mean) < std)
    # Nominal 68 %; 120 000 numbers, but only 60 correlated frames.
    assert 0.6 < inside < 0.85
    assert np.mean(np.abs(full - mean) < 3 * std) > 0.98


def test_members_have_the_stated_mean_and_deviation(fitted):
    filtered, _ = travelling_waves(4, seed=9)
    mean, std = fitted.mean_and_std(filtered)
    members = fitted.sample(filtered, 600, key=jax.random.key(1))
    # Means of 600 scatter by std / sqrt(600) at each of 2048 points: beyond five of them once in a thousand tests.
    assert np.max(np.abs(members.mean(axis=0) - mean) / std) < 5 / np.sqrt(600)
    # Each variance scatters by 5.8 %; their mean over a dozen independent ones and more by less than 2 %.
    assert np.mean(members.var(axis=0, ddof=1)) / np.mean(std**2) == pytest.approx(1.0, abs=0.06)
    again = fitted.sample(filtered, 600, key=jax.random.key(1))
    np.testing.assert_array_equal(again, members)
    assert np.any(fitted.sample(filtered, 1, key=jax.random.key(2)) != members[:1])


def test_closure_is_equivariant(fitted):
    """Frames moved by a symmetry are closed to the moved answer, to round-off."""
    filtered, _ = travelling_waves(5, seed=4)
    mean, std = fitted.mean_and_std(filtered)
    for move in (Symmetry(3, 1, 0), Symmetry(5, 6, 1)):
        moved_mean, moved_std = fitted.mean_and_std(move(filtered))
        np.testing.assert_allclose(moved_mean, move(mean), atol=1e-10)
        np.testing.assert_allclose(moved_std, np.abs(move(std)), atol=1e-7)


def test_without_symmetries_and_in_single_precision():
    filtered, full = (a.astype(np.float32) for a in travelling_waves(40, seed=1))
    settings = GaussianProcessSettings(inputs=4, outputs=5, points=30, symmetries=False, kernel="rbf")
    closure = settings.fit(filtered, full, key=jax.random.key(0))
    assert closure.forcing == 0
    assert len(closure.process.inputs) == 30
    mean, std = closure.mean_and_std(filtered)
    assert mean.dtype == std.dtype == closure.sample(filtered, 2, key=jax.random.key(0)).dtype == np.float32
    assert relative(mean, full) < 0.5 * relative(filtered, full)
    with pytest.raises(ValueError, match="at least 20 training frames"):
        settings.fit(filtered[:10], full[:10], key=jax.random.key(0))


def test_storage(fitted, tmp_path):
    filtered, full = travelling_waves(40, seed=2)
    published = PublishedGaussianProcessSettings(modes=2).fit(filtered, full, key=jax.random.key(0))
    for closure in (fitted, published):
        again, _ = load_sampler(save_sampler(tmp_path / "closure.safetensors", closure))
        # The same numbers lie elsewhere in memory, and on some processors their products round differently.
        for a, b in zip(again.mean_and_std(filtered), closure.mean_and_std(filtered), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
        key = jax.random.key(3)
        drawn = closure.sample(filtered, 2, key=key)
        np.testing.assert_allclose(again.sample(filtered, 2, key=key), drawn, rtol=1e-9, atol=1e-11)


def test_published_settings():
    """Every piece against the recipe written out with NumPy, at the hyper-parameters found."""
    filtered, full = travelling_waves(60, seed=3)
    closure = PublishedGaussianProcessSettings(modes=3).fit(filtered, full, key=jax.random.key(0))
    a, b = (frames.reshape(60, -1) @ np.linalg.svd(frames.reshape(60, -1), full_matrices=False)[2][:3].T
            for frames in (filtered, full))  # fmt: skip
    count = 51
    za, zb = ((c - c[:count].mean(axis=0)) / c[:count].std(axis=0) for c in (a, b))
    held, reference = filtered[count:], full[count:]
    mean, std = closure.predict(held)
    assert np.all((closure.variances >= 0.1) & (closure.variances <= 1000) & (closure.lengths >= 0.1))
    for j, (c, length) in enumerate(zip(closure.variances, closure.lengths, strict=True)):

        def k(p, q, c=c, length=length):
            return c * np.exp(-np.sum((p[:, None] - q[None]) ** 2, axis=-1) / (2 * length**2))

        inverse = np.linalg.inv(k(za[:count], za[:count]) + np.eye(count))
        across = k(za[count:], za[:count])
        # Signs of modes are free.
        np.testing.assert_allclose(np.abs(mean[:, j]), np.abs(across @ inverse @ zb[:count, j]), atol=1e-8)
        np.testing.assert_allclose(std[:, j] ** 2, c - np.sum(across @ inverse * across, axis=1), atol=1e-8)
    basis = closure.outputs.modes.reshape(3, -1)
    target, whitened, deviation = (each.reshape(9, -1) for each in closure.whitened(held, reference))
    np.testing.assert_allclose(np.abs(target @ basis.T), np.abs(zb[count:]), atol=1e-8)
    np.testing.assert_allclose(whitened, mean @ basis, atol=1e-12)
    np.testing.assert_allclose(deviation**2, std**2 @ basis**2, atol=1e-12)
    # The truncated reference is the best that the modes can do.
    fields, _ = closure.mean_and_std(held)
    assert relative(closure.truncated(reference), reference) <= relative(fields, reference)
    clean = PublishedGaussianProcessSettings(training=1.0, bases="training")
    own = clean.fit(filtered[:count], full[:count], key=jax.random.key(0))
    leaky = PublishedGaussianProcessSettings(bases="training").fit(filtered, full, key=jax.random.key(0))
    np.testing.assert_allclose(own.mean_and_std(held)[0], leaky.mean_and_std(held)[0], atol=1e-10)
    with pytest.raises(ValueError, match="training must be a finite number above 0 and at most 1"):
        PublishedGaussianProcessSettings(training=1.5).fit(filtered, full, key=jax.random.key(0))
