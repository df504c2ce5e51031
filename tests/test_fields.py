"""Images, velocities and synthetic images against reference arrays, definitions and statistics."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import golden_files, read

from closura.initial.datasets import load_images
from closura.initial.images import ImageSampler, resize_matrix, rotate_nearest
from closura.initial.synthetic import SyntheticImages
from closura.initial.velocities import (
    VELOCITIES,
    TrainVelocity,
    VortexVelocity,
    make_velocity,
    train_field,
    vortex_field,
)

ADVECTION = golden_files("closure-rl", "adv_*.npz")


def many(sampler, n, seed=0):
    """n draws, one after the other: less to compile than a vmap."""
    keys = jax.random.split(jax.random.key(seed), n)
    return np.asarray(eqx.filter_jit(lambda draw, keys: jax.lax.map(draw, keys))(sampler, keys))


@pytest.fixture
def random_images():
    return np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)


class TestRotation:
    @pytest.mark.parametrize("file", golden_files("closure-rl", "adv_mnist_*.npz"))
    def test_reference(self, file):
        arrays = read(file)
        image = jnp.asarray(arrays["raw_image"]).astype(jnp.float32) / jnp.float32(255)
        rotated = rotate_nearest(image, float(arrays["rotation_deg"]))
        # The same pixels must be picked; 1 / 255 may round in the last bit.
        np.testing.assert_allclose(rotated, arrays["rotated_28"], rtol=0, atol=1e-7)

    @pytest.mark.parametrize("turns", [-2, -1, 0, 1, 2])
    def test_right_angles_move_pixels_exactly(self, random_images, turns):
        image = jnp.asarray(random_images[0])
        np.testing.assert_array_equal(rotate_nearest(image, 90.0 * turns), np.rot90(random_images[0], turns))

    def test_outside_is_zero(self):
        rotated = np.asarray(rotate_nearest(jnp.ones((28, 28), jnp.float32), 45.0))
        assert rotated[0, 0] == rotated[0, -1] == rotated[-1, 0] == rotated[-1, -1] == 0
        assert rotated[14, 14] == 1
        # An octagon remains: 2 (sqrt(2) - 1) of the square's area, give or take the pixels on its edge.
        assert rotated.mean() == pytest.approx(2 * (2**0.5 - 1), abs=0.02)


class TestResize:
    def test_known_weights(self):
        # Half-pixel centres at 0.25, 0.75, 1.25, 1.75 of two cells centred at 0.5 and 1.5.
        expected = [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]]
        np.testing.assert_array_equal(resize_matrix(2, 4), expected)
        assert resize_matrix(2, 4).dtype == jnp.float32
        assert resize_matrix(2, 4, jnp.float64).dtype == jnp.float64

    @pytest.mark.parametrize(("n_in", "n_out"), [(28, 256), (28, 64), (28, 28), (28, 30), (28, 7)])
    def test_constant_and_linear_functions(self, n_in, n_out):
        matrix = np.asarray(resize_matrix(n_in, n_out, jnp.float64))
        np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-15)
        # Away from the ends a linear function is kept: exact but for round-off.
        line = matrix @ (np.arange(n_in) + 0.5)
        inside = slice(n_out // 8 + 1, -n_out // 8 - 1)
        np.testing.assert_allclose(line[inside], ((np.arange(n_out) + 0.5) * n_in / n_out)[inside], atol=1e-13)

    def test_bad_size(self):
        with pytest.raises(ValueError, match="sizes must be positive; got n_in=28, n_out=0"):
            resize_matrix(28, 0)


class TestImageSampler:
    @pytest.mark.parametrize("file", ADVECTION)
    def test_reference(self, file):
        arrays = read(file)
        degrees = float(arrays["rotation_deg"])
        raw = arrays["raw_image"]
        sampler = ImageSampler(raw[None], arrays["ic_fine"].shape, rotate=False)
        field = sampler.render(jnp.asarray(raw), None if np.isnan(degrees) else degrees)
        assert field.dtype == jnp.float32
        # float32 sums of four products: the reference agrees to a few units in the last place.
        np.testing.assert_allclose(field[0].T, arrays["ic_fine"], rtol=0, atol=1e-6)
        ratio = int(arrays["subsample"])
        np.testing.assert_allclose(field[0, ::ratio, ::ratio].T, arrays["ic_coarse"], rtol=0, atol=1e-6)

    def test_axes(self, random_images):
        sampler = ImageSampler(random_images, (56, 28), rotate=False)
        field = np.asarray(sampler.render(jnp.asarray(random_images[0])))
        assert field.shape == (1, 56, 28)  # x, the columns, is the stretched axis
        stretched = np.asarray(resize_matrix(28, 56)) @ (random_images[0].T / 255)
        np.testing.assert_allclose(field[0], stretched + 1e-6, atol=1e-6)  # float32

    def test_draws(self, random_images):
        sampler = ImageSampler(random_images, (28, 28), rotate=False)
        fields = many(sampler, 600)
        expected = random_images.transpose(0, 2, 1) / np.float32(255) + np.float32(1e-6)
        distance = np.abs(fields - expected[None]).max(axis=(2, 3))  # (draws, images)
        assert distance.min(axis=1).max() < 1e-6  # every draw is one of the images, in float32
        counts = np.bincount(distance.argmin(axis=1), minlength=6)
        assert counts.min() > 60  # 100 expected; 60 is 4.4 standard deviations below
        rotated = many(
            eqx.tree_at(
                lambda s: s.images,
                ImageSampler(random_images, (28, 28), rotate=True),
                jnp.full((1, 28, 28), 255, jnp.uint8),
            ),
            400,
        )
        # The corner stays filled near 0 and +-90 degrees only; the centre always.
        assert rotated[:, 0, 14, 14].min() > 0.999
        assert 0 < (rotated[:, 0, 0, 0] > 0.5).mean() < 0.2

    def test_one_key_one_field(self, random_images):
        sampler = ImageSampler(random_images, (64, 64), rotate=True)
        first, again, other = (sampler(jax.random.key(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - other).max() > 0.1
        double = ImageSampler(random_images, (64, 64), rotate=True, dtype=jnp.float64)(jax.random.key(1))
        assert double.dtype == jnp.float64
        np.testing.assert_allclose(double, first, atol=1e-6)  # the same image and angle, float32 round-off
        legacy = sampler(jax.random.PRNGKey(1))
        np.testing.assert_array_equal(legacy, first)

    def test_no_images(self):
        with pytest.raises(ValueError, match="at least one image"):
            ImageSampler(np.zeros((0, 28, 28), np.uint8), (64, 64), rotate=False)


@functools.cache
def velocity_draws(name, published):
    return many(make_velocity(name, (48, 40), published=published), 1500)


class TestPublishedVelocities:
    @pytest.mark.parametrize("file", golden_files("closure-rl", "adv_*_train_*.npz"))
    def test_train_reference(self, file):
        arrays = read(file)
        reference = np.stack([arrays["u_fine"].T, arrays["v_fine"].T])
        # The drawn modes first, then padding that does not count, as the sampler passes them.
        drawn = len(arrays["vel_ks"])
        wavenumbers, signs = (
            jnp.concatenate([jnp.asarray(arrays[name]), jnp.asarray(padding[: 4 - drawn])])
            for name, padding in (("vel_ks", [1, 2, 3]), ("vel_signs", [1, -1, 1]))
        )
        for dtype, tolerance in ((jnp.float64, 1e-12), (jnp.float32, 1e-6)):  # 4 sines, each good to 2e-7
            field = train_field(
                reference.shape[1:],
                wavenumbers,
                signs,
                translation=jnp.asarray(arrays["vel_translation"]),
                active=jnp.asarray([1, 1, 1, 1]) * (jnp.arange(4) < drawn),
                endpoint=True,
                dtype=dtype,
            )
            assert field.dtype == dtype
            np.testing.assert_allclose(field, reference, rtol=0, atol=tolerance)

    @pytest.mark.parametrize("file", golden_files("closure-rl", "burgers_train2_*.npz"))
    def test_train2_reference(self, file):
        arrays = read(file)
        field = train_field(
            arrays["u_fine_ic"].shape,
            jnp.asarray(arrays["vel_ks"]),
            jnp.asarray(arrays["vel_signs"]),
            endpoint=True,
            dtype=jnp.float64,
        )
        np.testing.assert_allclose(field[0].T, arrays["u_fine_ic"], rtol=0, atol=1e-12)
        np.testing.assert_allclose(field[1].T, arrays["v_fine_ic"], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("file", golden_files("closure-rl", "adv_*_vortex_*.npz"))
    def test_vortex_reference(self, file):
        arrays = read(file)
        reference = np.stack([arrays["u_fine"].T, arrays["v_fine"].T])
        amplitude = float(arrays["vel_signs"][0] * arrays["vel_amplitude"])
        for dtype in (jnp.float32, jnp.float64):  # the reference itself is float32
            field = vortex_field(reference.shape[1:], amplitude, endpoint=True, dtype=dtype)
            assert field.dtype == dtype
            np.testing.assert_allclose(field, reference, rtol=0, atol=2e-7)

    def test_train2_has_72_fields(self):
        fields = many(make_velocity("train2", (12, 12), published=True), 3000)
        assert len(np.unique(np.round(fields.reshape(3000, -1), 4), axis=0)) == 72

    def test_vortex_amplitudes(self):
        fields = many(make_velocity("vortex", (4, 4), published=False), 4000)
        amplitude = fields[:, 0, 2, 1]  # x = 1/2, y = 1/4: s a
        assert 0.5 <= np.abs(amplitude).min() < 0.51
        assert 0.99 < np.abs(amplitude).max() <= 1.0
        assert np.mean(amplitude > 0) == pytest.approx(0.5, abs=0.04)  # five standard deviations


class TestOurVelocities:
    @pytest.mark.parametrize("name", VELOCITIES)
    def test_periodic_and_divergence_free(self, name):
        n = 64
        u, v = many(make_velocity(name, (n, n), published=False, dtype=jnp.float64), 20).transpose(1, 0, 2, 3)
        # At most 4 waves fit into the box: the Fourier series is exact and so is its divergence. A jump
        # across the boundary would fill the spectrum and give divergences of order 1.
        wavenumber = 2j * np.pi * np.fft.fftfreq(n, 1 / n)
        u_hat, v_hat = np.fft.fft2(u), np.fft.fft2(v)
        divergence = np.fft.ifft2(wavenumber[:, None] * u_hat + wavenumber[None, :] * v_hat)
        assert np.abs(divergence).max() < 1e-11
        assert np.abs(u_hat[:, 8:-8, 8:-8]).max() < 1e-10

    @pytest.mark.parametrize("published", [True, False])
    @pytest.mark.parametrize("name", VELOCITIES)
    def test_never_faster_than_one(self, name, published):
        fields = velocity_draws(name, published)
        assert fields.shape == (1500, 2, 48, 40)
        assert fields.dtype == np.float32
        assert np.abs(fields).max() <= 1 + 2e-7  # round-off of a bound that is reached
        double = make_velocity(name, (48, 40), published=published, dtype=jnp.float64)
        keys = jax.random.split(jax.random.key(0), 1500)[:3]
        double = np.asarray(eqx.filter_jit(eqx.filter_vmap(double))(keys))
        assert double.dtype == np.float64
        np.testing.assert_allclose(double, fields[:3], rtol=0, atol=2e-6)  # the same draws, float32 sines

    @pytest.mark.parametrize("name", VELOCITIES)
    def test_as_strong_and_steep_as_the_published_family(self, name):
        def strength_and_steepness(published):
            fields = velocity_draws(name, published)
            along_x, along_y = 48 * np.diff(fields, axis=2), 40 * np.diff(fields, axis=3)
            return fields.std(), np.sqrt((along_x**2).mean() + (along_y**2).mean())

        # Means over 1,500 fields scatter by about 1 %; measured differences: 2 % and 6 %.
        np.testing.assert_allclose(strength_and_steepness(False), strength_and_steepness(True), rtol=0.1)

    def test_coarse_points_are_fine_points(self):
        fine, coarse = (VortexVelocity((n, n))(jax.random.key(0)) for n in (256, 64))
        np.testing.assert_allclose(fine[:, ::4, ::4], coarse, rtol=0, atol=1e-7)  # float32

    def test_errors(self):
        with pytest.raises(ValueError, match="unknown velocity 'shear'; valid: train, vortex, train2"):
            make_velocity("shear", (8, 8), published=False)
        with pytest.raises(ValueError, match=r"even positive wavenumbers; got \(2, 3\)"):
            TrainVelocity((8, 8), wavenumbers=(2, 3))
        with pytest.raises(ValueError, match="fewest between 1 and 4, got 5"):
            TrainVelocity((8, 8), fewest=5)


def statistics(fields):
    """Mean, share of empty points, total variation and rms gradient of fields ``(n, 1, nx, ny)``."""
    fields = fields[:, 0]
    along_x, along_y = np.diff(fields, axis=1) * fields.shape[1], np.diff(fields, axis=2) * fields.shape[2]
    variation = np.abs(along_x).mean() + np.abs(along_y).mean()
    return (
        fields.mean(),
        (fields < 0.01).mean(),
        variation,
        np.sqrt((along_x**2).mean() + (along_y**2).mean()),
    )


class TestSyntheticImages:
    def test_values_and_margin(self):
        images = many(SyntheticImages((28, 28)).draw, 500)
        assert images.dtype == np.float32
        assert images.min() >= 0.0
        assert images.max() <= 1.0
        assert images.max(axis=(1, 2)).min() > 0.3  # no empty image
        frame = np.ones((28, 28), bool)
        frame[1:-1, 1:-1] = False
        # Only the corner of a rotated symbol may touch the frame, as MNIST's rotated digits do (4 % of them).
        assert (images[:, frame].max(axis=1) > 0.02).mean() < 0.05
        assert len(np.unique(images.reshape(500, -1), axis=0)) == 500

    def test_same_contract_as_image_sampler(self):
        keys = jax.random.split(jax.random.key(0), 4)
        fields = many(SyntheticImages((64, 48)), 4)
        assert fields.shape == (4, 1, 64, 48)
        assert fields.dtype == np.float32
        assert fields.min() == np.float32(1e-6)
        double = SyntheticImages((64, 48), dtype=jnp.float64)
        double = np.asarray(eqx.filter_jit(eqx.filter_vmap(double))(keys))
        assert double.dtype == np.float64
        # The same images, vmapped: a pixel may round to its neighbour in the rotation, the others agree to
        # what the soft edges make of float32 round-off.
        assert (np.abs(double - fields) > 1e-4).mean() < 0.01

    def test_bad_share(self):
        with pytest.raises(ValueError, match=r"between 0 and 1; got 1\.5"):
            SyntheticImages((28, 28), garments=1.5)

    # Symbols are within 5 % of rotated digits; garments have a margin that Fashion-MNIST's have not: they
    # have three quarters of its mean grey value and 80 % of its gradients.
    @pytest.mark.parametrize(("name", "garments", "tolerance"), [("mnist", 0.0, 0.12), ("fashion-mnist", 1.0, 0.35)])
    def test_like_the_real_images(self, data_folder, name, garments, tolerance):
        images = load_images(name, "test", data_dir=data_folder).images
        real = statistics(many(ImageSampler(images, (64, 64), rotate=name == "mnist"), 600))
        ours = statistics(many(SyntheticImages((64, 64), garments=garments), 600))
        np.testing.assert_allclose(ours, real, rtol=tolerance)
        assert 0.1 < ours[0] < 0.3
