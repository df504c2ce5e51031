"""Closures that draw what is missing: variational, diffusion, flow matching, and the published two."""

from dataclasses import replace
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.numerics.fourier import divergence_free
from closura.offline.coloured_noise import ColouredNoise, degrees_of_freedom, modes_of
from closura.offline.descent import DescentConfiguration
from closura.offline.diffusion import DiffusionSettings
from closura.offline.diffusion_process import DiffusionProcess
from closura.offline.filters import SpectralCutoff
from closura.offline.first_guess import angles_of, stratified
from closura.offline.flow_matching import FlowMatchingSettings, integrate
from closura.offline.sampler import SAMPLERS, load_sampler, save_sampler
from closura.offline.variational import VariationalSettings, divergence
from closura.offline.working_grid import WorkingGrid
from closura.reproductions.published_samplers import (
    FullFieldGrid,
    PublishedDiffusionSettings,
    PublishedVariationalSettings,
    published_descent,
)
from closura.reproductions.unet import UNet, _between

MEMBERS = 32  # with fewer, more frames than asked for are drawn in one call
SMALL = {"channels": 8, "layers": 2}
SETTINGS = {
    "vae": VariationalSettings(**SMALL, encoder_layers=1, latent_points=4),
    "diffusion": DiffusionSettings(**SMALL, sampling_steps=3),
    "flow": FlowMatchingSettings(**SMALL, sampling_steps=2),
    "vae-published": PublishedVariationalSettings(widths=(16, 8), latent=3),
    "diffusion-published": PublishedDiffusionSettings(width=4, noise_steps=25),
}


def grid_of(settings, points=16, filtering=None, solenoidal=False, forcing=0):
    kind = FullFieldGrid if "Published" in type(settings).__name__ else WorkingGrid
    return kind(filtering, points, points, forcing, solenoidal, 1.0, 0.5)


@cache
def closure_of(name, **settings):
    """Untrained, with weights from NumPy: initialisation is compiled kernel by kernel, which takes long."""
    sampler, rng = SETTINGS[name], np.random.default_rng(0)
    shapes = eqx.filter_eval_shape(sampler.initial, grid_of(sampler, **settings), key=jax.random.key(0))

    def filled(leaf):
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        size = np.sqrt(leaf.shape[-1] / leaf.size) if len(leaf.shape) > 1 else 0.0
        return jnp.asarray(size * rng.normal(size=leaf.shape), leaf.dtype)

    return jax.tree.map(filled, shapes)


def frames(count=2, points=16, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 2, points, points)).astype(np.float32)


def weights(module):
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))


# All of them


CUTOFF = SpectralCutoff(2.5)


@pytest.mark.parametrize("name", SETTINGS)
def test_members_suit_the_question_and_the_flow_and_are_the_same_from_a_file(name, tmp_path):
    closure, key = closure_of(name, filtering=CUTOFF, solenoidal=True, forcing=4), jax.random.key(1)
    filtered = CUTOFF(frames())
    members = closure.sample(filtered, MEMBERS, key=key)
    assert members.shape == (MEMBERS, 2, 2, 16, 16)
    assert members.dtype == np.float32
    assert np.all(np.isfinite(members))
    assert np.std(members, axis=0).min() > 0

    path = save_sampler(tmp_path / "closure.safetensors", closure, metadata={"cutoff": 3})
    loaded, metadata = load_sampler(path)
    assert type(loaded) is type(closure) is SAMPLERS.find(name).module
    assert SAMPLERS.find(name).settings is type(SETTINGS[name])
    assert metadata == {"cutoff": 3}
    assert loaded.facts() == closure.facts()
    np.testing.assert_array_equal(loaded.sample(filtered, MEMBERS, key=key), members)

    if not name.endswith("published"):
        # No divergence and no filtered waves are added; float32 sums of a few hundred numbers of order one.
        added = members - filtered
        assert np.abs(CUTOFF(added)).max() < 1e-5
        modes = np.fft.rfft2(added[0, 0])
        assert np.abs(divergence_free(jnp.asarray(modes)) - modes).max() < 1e-3 < np.abs(modes).max() / 10


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VariationalSettings(latent=0), "latent must be positive"),
        (lambda: VariationalSettings(divergence_weight=-1.0), "must not be negative"),
        (lambda: VariationalSettings(flatness=-0.1), "between 0"),
        (lambda: DiffusionSettings(sampling_steps=0), "sampling_steps must be positive"),
        (lambda: DiffusionSettings(flatness=1.5), "between 0"),
        (lambda: DiffusionSettings(noise_steps=0), "noise_steps must be positive"),
        (lambda: DiffusionSettings(noise_steps=20, schedule="linear"), "at least 21 steps"),
        (lambda: FlowMatchingSettings(sampling_steps=0), "sampling_steps must be positive"),
        (lambda: PublishedVariationalSettings(widths=(8, 0)), "each value of widths must be positive"),
        (lambda: PublishedDiffusionSettings(width=0), "width must be positive"),
        (lambda: closure_of("vae", points=18), "does not divide into 4"),
        (lambda: closure_of("diffusion-published", points=24), "multiple of 16"),
        (lambda: UNet(width=2, key=jax.random.key(0))(jnp.zeros((4, 24, 24), jnp.float32)), "multiples of 16"),
    ],
)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Noise of a colour


@pytest.mark.parametrize("solenoidal", [False, True])
def test_coloured_noise_has_the_sizes_that_it_is_told(solenoidal):
    grid = WorkingGrid(SpectralCutoff(2.5), 16, 16, 0, solenoidal, 1.0, 1.0)
    colour = ColouredNoise(grid)
    colour = eqx.tree_at(lambda c: c.slow_logarithms, colour, -jnp.arange(16, dtype=jnp.float32) / 20)
    keys = jax.random.split(jax.random.key(0), 2000)
    noise = jax.vmap(lambda key: colour.noise(grid, key=key))(keys)
    square, surprise, flat = (
        jnp.mean(jax.vmap(lambda e, f=f: f(grid, e))(noise))
        for f in (colour.square, colour.surprise, lambda grid, e: colour.square(grid, e, 1.0))
    )
    # 2000 fields of about 200 (100) degrees of freedom: relative errors of sqrt(2 / 2e5) = 0.3 %, few large modes
    # carry most of the square, so thrice that; 2 % is six deviations.
    assert float(flat) == pytest.approx(1.0, rel=0.02)
    assert float(square) == pytest.approx(float(colour.overall(grid)) ** 2, rel=0.02)
    _, share = modes_of(grid)
    entropy = 0.5 + float(np.sum(share * np.asarray(colour.logarithms(grid))))
    assert float(surprise) == pytest.approx(entropy, abs=0.01)
    total = 2 * 15**2 - 2 * 21  # without Nyquist waves; 21 wave vectors lie within 2.5
    assert degrees_of_freedom(grid) == (total / 2 if solenoidal else total)


def test_divergence_from_the_prior_is_the_textbook_one():
    assert float(divergence(jnp.zeros(3), jnp.zeros(3))) == 0.0
    # KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1) / 2 - log s at m = 2, s = 3
    logarithm = jnp.asarray([2 * np.log(3.0)], jnp.float32)
    assert float(divergence(jnp.asarray([2.0], jnp.float32), logarithm)) == pytest.approx(6 - np.log(3), rel=1e-6)


# The diffusion process and the flow, with perfect answers

MEAN, STD = 0.7, 0.3


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("target", ["noise", "velocity"])
def test_both_samplers_recover_a_gaussian_of_which_everything_is_known(schedule, target):
    noising = DiffusionProcess(1000, schedule, target)

    def answer(x, step):
        data_part, noise_part = noising.parts(step)
        variance = data_part**2 * STD**2 + noise_part**2
        data = MEAN + data_part * STD**2 / variance * (x - data_part * MEAN)
        noise = noise_part / variance * (x - data_part * MEAN)
        return noise if target == "noise" else data_part * noise - noise_part * data

    count = 20000
    start = jax.random.normal(jax.random.key(0), (count,), jnp.float32)
    drawn = noising.ancestral(answer, start, lambda k: jax.random.normal(k, (count,), jnp.float32), jax.random.key(1))
    quick = noising.ddim(answer, start, 50)
    # standard errors 0.3 / sqrt(20000) = 0.0021 of the mean, 0.0015 of the deviation; four of them
    assert float(jnp.mean(drawn)) == pytest.approx(MEAN, abs=0.009)
    assert float(jnp.mean(quick)) == pytest.approx(float(jnp.mean(drawn)), abs=0.012)
    # variances of beta are too large where data are narrower than noise: 1 % at 1000 steps
    assert float(jnp.std(drawn)) == pytest.approx(STD, rel=0.03)
    # few steps make the spread a little too small, by less than a tenth
    assert 0.9 * STD < float(jnp.std(quick)) < 1.02 * STD


def test_steps_of_the_schedules_are_the_published_ones():
    betas = DiffusionProcess(1000, "linear").betas()
    assert betas[0] == pytest.approx(1e-4)
    assert betas[-1] == pytest.approx(0.02)
    assert DiffusionProcess(1000, "linear").kept()[-1] == pytest.approx(4.036e-5, rel=1e-3)
    cosine = DiffusionProcess(1000, "cosine")
    # cos(pi / 4)^2 half way
    assert cosine.kept()[499] == pytest.approx(0.5, abs=1e-9)
    assert cosine.betas().max() == 0.999


@pytest.mark.parametrize("target", ["noise", "velocity"])
def test_separating_undoes_mixing(target):
    noising = DiffusionProcess(1000, "linear", target)
    data, noise = jnp.asarray(frames(1)[0]), jnp.asarray(frames(1, seed=1)[0])
    x, right = noising.mix(data, noise, jnp.asarray(300))
    for found, true in zip(noising.separate(x, right, jnp.asarray(300)), (data, noise), strict=True):
        np.testing.assert_allclose(found, true, atol=1e-5)  # float32, parts of 0.6 and 0.8


def test_flow_carries_one_gaussian_to_another():
    def velocity(x, time):
        variance = (1 - time) ** 2 + time**2 * STD**2
        return MEAN + (time * STD**2 - (1 - time)) / variance * (x - time * MEAN)

    start = jnp.asarray([-1.0, 0.0, 2.0], jnp.float32)
    exact = MEAN + STD * start
    errors = {
        (method, steps): float(jnp.max(jnp.abs(integrate(velocity, start, steps, method) - exact)))
        for method in ("euler", "heun")
        for steps in (20, 40)
    }
    # first and second order: errors fall two- and fourfold, here within 15 %
    assert errors["euler", 20] / errors["euler", 40] == pytest.approx(2, rel=0.15)
    assert errors["heun", 20] / errors["heun", 40] == pytest.approx(4, rel=0.15)
    assert errors["heun", 20] < 0.01


def test_times_are_spread_evenly_and_noise_levels_tell_them_apart():
    times = np.sort(np.asarray(stratified(10, key=jax.random.key(0))))
    np.testing.assert_array_equal(np.floor(times * 10), np.arange(10))
    features = np.stack([np.asarray(angles_of(jnp.asarray(a, jnp.float32))) for a in np.linspace(0, np.pi / 2, 50)])
    assert np.all(np.isfinite(features))
    assert np.linalg.norm(np.diff(features, axis=0), axis=1).min() > 0.05


# Training on a problem whose answer is known


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("vae", {"encoder_layers": 1, "latent_points": 1, "latent": 1}),
        ("diffusion", {"first_guess": False}),
        ("flow", {}),
    ],
)
def test_samples_recover_mean_and_spread_of_a_linear_problem(name, settings):
    rng = np.random.default_rng(1)
    filtered = frames(400, 8)
    mean = 0.5 * np.roll(filtered, 1, axis=2)
    residual = mean + 0.3 * rng.normal(size=filtered.shape).astype(np.float32)
    descent = DescentConfiguration(updates=250, batch=32, learning_rate=1e-2, warmup=20, average=0.98)
    sampler = SAMPLERS.find(name).settings(channels=16, layers=1, symmetries=False, descent=descent, **settings)
    closure = sampler.fit(filtered[:-8], (filtered + residual)[:-8], key=jax.random.key(0), forcing=0)
    # Nyquist waves cannot be in a residual: they are a quarter of the modes of eight points.
    clean = np.asarray(jax.vmap(closure.grid.admissible)(jnp.asarray(mean[-8:])))
    members = closure.sample(filtered[-8:], 64, key=jax.random.key(1)) - filtered[-8:]
    error = np.sqrt(np.mean((members.mean(axis=0) - clean) ** 2))
    spread = np.sqrt(np.mean(members.var(axis=0, ddof=1)))
    expected = 0.3 * np.sqrt(49 / 64)
    # 64 members leave 0.26 / 8 = 0.033 of error in their mean; half of the deviation is far from the 0.44 of no answer
    assert error < 0.1
    assert spread == pytest.approx(expected, rel=0.15)


# The published networks


def test_published_networks_have_as_many_weights_as_published():
    settings = PublishedVariationalSettings()
    grid = grid_of(settings, points=64)
    shapes = eqx.filter_eval_shape(lambda key: settings.initial(grid, key=key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(shapes, lambda x: hasattr(x, "dtype")))) == 8_743_642
    shapes = eqx.filter_eval_shape(lambda key: UNet(key=key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(shapes, lambda x: hasattr(x, "dtype")))) == 31_379_586


def test_published_training_is_the_published_one():
    for settings in (PublishedVariationalSettings(), PublishedDiffusionSettings()):
        assert settings.descent == published_descent(40_000)
        assert not settings.symmetries
    descent = published_descent(40_000)
    assert float(descent.rates()(0)) == pytest.approx(1e-5)
    assert float(descent.rates()(39_999)) == pytest.approx(1e-5)
    assert (PublishedDiffusionSettings().noise_steps, PublishedDiffusionSettings().sampler) == (1000, "ancestral")


def test_published_closures_answer_with_whole_frames():
    closure = closure_of("vae-published", solenoidal=True, filtering=CUTOFF, forcing=4)
    low, key = jnp.asarray(frames(1)[0]), jax.random.key(5)

    @eqx.filter_jit
    def both(closure):
        return closure.grid.close(low, closure.draw(low, key=key)), closure.frame(low, key=key)

    closed, frame = both(closure)
    # Nothing is taken out: not even Nyquist waves, divergence or filtered waves. Float32 there and back.
    np.testing.assert_allclose(closed, frame, atol=1e-5 * float(jnp.abs(frame).max()))


def test_published_losses_are_mean_squares_over_everything():
    closure, settings = closure_of("vae-published"), replace(SETTINGS["vae-published"], divergence_weight=0.0)
    silent = eqx.tree_at(lambda c: (c.logarithm.weight, c.logarithm.bias), closure, replace_fn=jnp.zeros_like)
    quiet = eqx.tree_at(lambda c: c.logarithm.bias, silent, replace_fn=lambda b: b - 60.0)
    low, residuals = jnp.asarray(frames(3)), jnp.asarray(frames(3, seed=1))
    loss, metrics = settings.loss(quiet, low, residuals, key=jax.random.key(0))
    full = low + 0.5 * residuals
    answers = jax.vmap(lambda x: quiet.frame(x, key=jax.random.key(7)))(low)
    # without variance of the latents nothing is random
    assert float(loss) == pytest.approx(float(jnp.mean((answers - full) ** 2)), rel=1e-5)
    mean, _ = jax.vmap(quiet.encode)(low)
    expected = float(jnp.mean(mean**2 + np.exp(-60.0) - 1 + 60.0)) / 2
    assert float(metrics["divergence"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "rate"), [("vae-published", 1e-3), ("diffusion-published", 1e-2)])
def test_published_losses_fall(name, rate):
    descent = replace(published_descent(60), learning_rate=rate, batch=8)
    settings = replace(SETTINGS[name], descent=descent)
    low = (frames(1) * np.linspace(-1, 1, 32)[:, None, None, None]).astype(np.float32)
    pairs = np.stack([low, 1.5 * low], axis=1)
    grid = settings.working_grid(low, pairs[:, 1], forcing=0)
    learner = settings.descent_on(grid)
    state = learner.init(settings.initial(grid, key=jax.random.key(0)), key=jax.random.key(1))
    losses = []
    for i in range(60):
        state, metrics = learner.update(state, jnp.asarray(pairs[i % 4 :: 4]))
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_interpolation_of_the_u_net_is_linear_with_fixed_corners():
    matrix = _between(3)
    # places 0, 0.4, 0.8, 1.2, 1.6, 2
    np.testing.assert_allclose(matrix @ np.array([0.0, 1.0, 2.0]), np.linspace(0, 2, 6), atol=1e-15)
    np.testing.assert_allclose(matrix @ np.array([0.0, 1.0, 0.0]), [0, 0.4, 0.8, 0.8, 0.4, 0], atol=1e-15)
    np.testing.assert_array_equal(_between(1), [[1.0], [1.0]])
