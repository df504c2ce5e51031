"""The published reduced-order model: sizes, the offset in time, the loss term by term, windows, training, scores."""

import json
import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from closura.offline.data import FilterSettings, SplitSettings
from closura.offline.descent import DescentConfiguration
from closura.offline.rom import load_model, rollout, save_model
from closura.reproductions.dense_autoencoder import DenseAutoencoder
from closura.reproductions.published_model import (
    EPOCH,
    PaddedWindows,
    PublishedModel,
    PublishedModelSettings,
    divergence,
    mean_energy,
    published_descent,
    steps_of,
)
from closura.reproductions.published_transformer import PublishedTransformer
from closura.reproductions.scale_separation_scores import (
    error_by_shift,
    headline_scores,
    prediction_limit,
    trajectory_scores,
)
from closura.runs.configuration import to_plain
from closura.runs.fitting.configuration import (
    ForecastValidation,
    ModelFitConfiguration,
)
from closura.runs.fitting.fit import fit
from closura.trajectories import FlowDescription, Segment, new_flow, open_flow
from closura.trajectories.schema import VELOCITY_DIMENSIONS

SMALL = PublishedModelSettings(past=4, horizon=3, latent=8, widths=(16, 12), heads=2, blocks=1)


def count(module):
    return sum(leaf.size for leaf in jax.tree.leaves(module) if hasattr(leaf, "shape"))


def model_of(settings=SMALL, points=8, seed=0):
    return settings.initial(points, reynolds=34.0, key=jax.random.key(seed))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


# Sizes


@pytest.mark.parametrize(("variant", "weights"), [("big", 8_751_040), ("deep", 8_759_360)])
def test_the_autoencoder_has_the_published_number_of_weights(variant, weights):
    assert count(eqx.filter_eval_shape(DenseAutoencoder, 64, variant=variant, key=jax.random.key(0))) == weights


def test_the_transformer_has_the_published_number_of_weights_less_the_dead_ones():
    assert count(eqx.filter_eval_shape(PublishedTransformer, key=jax.random.key(0))) == 91_840 - 8_320
    # One number is embedded by 64 weights and 64 biases.
    conditioned = eqx.filter_eval_shape(PublishedTransformer, conditioned=True, key=jax.random.key(0))
    assert count(conditioned) == 91_840 - 8_320 + 128


def test_weights_begin_as_pytorch_begins_them():
    layer = DenseAutoencoder(16, key=jax.random.key(0)).down[0]
    bound = 1 / np.sqrt(512)
    # Uniform: standard deviation bound / sqrt(3); of 262 144 draws it is known to 0.1 %.
    assert float(jnp.std(layer.weight)) == pytest.approx(bound / np.sqrt(3), rel=0.01)
    assert float(jnp.max(jnp.abs(layer.weight))) <= bound
    assert float(jnp.max(jnp.abs(layer.bias))) <= bound


def test_frames_and_latents_keep_shape_and_precision():
    model = model_of()
    mean, logarithm = model.distribution(normal(2, 8, 8))
    assert mean.shape == logarithm.shape == (8,)
    assert mean.dtype == logarithm.dtype == jnp.float32
    frame = model.decode(mean)
    assert frame.shape == (2, 8, 8)
    assert frame.dtype == jnp.float32


def test_the_components_are_flattened_one_after_the_other_x_before_y():
    model = model_of()
    field = normal(2, 8, 8)
    flat = np.concatenate([np.asarray(field[0]).ravel(), np.asarray(field[1]).ravel()])
    h = flat
    for layer in model.autoencoder.down[:-1]:
        h = np.maximum(np.asarray(layer.weight) @ h + np.asarray(layer.bias), 0)
    last = model.autoencoder.down[-1]
    h = np.asarray(last.weight) @ h + np.asarray(last.bias)  # nothing after the last, which may be negative
    expected = np.asarray(model.autoencoder.mean.weight) @ h + np.asarray(model.autoencoder.mean.bias)
    # Single precision: 1e-5 is a hundred roundings.
    np.testing.assert_allclose(model.distribution(field)[0], expected, atol=1e-5)


def test_a_coarser_working_grid_gives_back_the_waves_that_it_resolves():
    coder = DenseAutoencoder(16, working_points=8, key=jax.random.key(0))
    x = 2 * np.pi * np.arange(16) / 16
    frame = jnp.asarray(np.stack([np.cos(3 * x)[:, None] * np.sin(2 * x), 0 * x[:, None] + np.cos(x)]), jnp.float32)
    work = coder.to_work(frame)
    np.testing.assert_allclose(work, frame[:, ::2, ::2], atol=1e-5)
    np.testing.assert_allclose(coder.to_data(work), frame, atol=1e-5)


# The transformer


def attention_by_hand(layer, tokens):
    q, k, v = (tokens @ np.asarray(w.weight).T + np.asarray(w.bias) for w in (layer.query, layer.keys, layer.values))
    size = tokens.shape[1] // layer.heads
    out = []
    for h in range(layer.heads):
        part = slice(h * size, (h + 1) * size)
        scores = np.exp(q[:, part] @ k[:, part].T / np.sqrt(size))
        out.append(scores / scores.sum(1, keepdims=True) @ v[:, part])
    return np.concatenate(out, 1) @ np.asarray(layer.output.weight).T + np.asarray(layer.output.bias)


def test_the_transformer_is_the_published_one():
    net = PublishedTransformer(8, blocks=2, heads=2, key=jax.random.key(1))
    tokens = normal(5, 8)
    position, rate = np.arange(5)[:, None], 10000.0 ** (-np.arange(0, 8, 2) / 8)
    h = np.asarray(tokens, np.float64)
    h[:, 0::2] += np.sin(position * rate)
    h[:, 1::2] += np.cos(position * rate)

    def norm(h):
        return (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-5)

    def through(inner, outer, h):
        h = np.maximum(h @ np.asarray(inner.weight).T + np.asarray(inner.bias), 0)
        return h @ np.asarray(outer.weight).T + np.asarray(outer.bias)

    for block in net.blocks:
        h = h + attention_by_hand(block.attention, norm(h))
        h = h + through(block.inner, block.outer, norm(h))
    # Single precision through two blocks.
    np.testing.assert_allclose(net(tokens), through(net.inner, net.outer, h[-1:])[0], atol=2e-5)


def test_attention_is_full_unless_asked_otherwise():
    full, causal = (PublishedTransformer(8, blocks=2, heads=2, causal=c, key=jax.random.key(1)) for c in (False, True))
    tokens = normal(5, 8)
    assert float(jnp.max(jnp.abs(full(tokens) - causal(tokens)))) > 1e-3


def test_the_conditioned_variant_knows_the_reynolds_number_and_the_last_token_only():
    net = PublishedTransformer(8, blocks=2, heads=2, conditioned=True, key=jax.random.key(1))
    tokens, reynolds = normal(5, 8), jnp.float32(34)
    answer = net(tokens, reynolds)
    np.testing.assert_array_equal(net(tokens.at[:-1].add(1.0), reynolds), answer)
    assert float(jnp.max(jnp.abs(net(tokens, jnp.float32(90)) - answer))) > 1e-4
    with pytest.raises(ValueError, match="needs the Reynolds number"):
        net(tokens)


# The offset


class LastToken(eqx.Module):
    """Says what it saw last: its answer for step n + 2 is z_n."""

    def __call__(self, tokens, reynolds=None):
        return tokens[-1]


class Remembering(eqx.Module):
    """Says the number after the next of what it saw last, on a sequence of whole numbers."""

    def __call__(self, tokens, reynolds=None):
        return tokens[-1] + 2


def test_the_transformer_predicts_two_steps_after_the_last_that_it_sees():
    window = jnp.arange(5, dtype=jnp.float32)[:, None] * jnp.ones((1, 8), jnp.float32)  # frames 0 .. 4 = n
    model = eqx.tree_at(lambda m: m.transformer, model_of(replace(SMALL, past=5)), LastToken())
    # For n + 1 it has seen n - 1, for n + 2 n, for n + 3 its own answer for n + 1.
    np.testing.assert_array_equal(model.rollout(window, 4)[:, 0], [3, 4, 3, 4])
    model = eqx.tree_at(lambda m: m.transformer, model, Remembering())
    np.testing.assert_array_equal(model.rollout(window, 4)[:, 0], [5, 6, 7, 8])


# The loss


def loss_by_hand(settings, model, windows, key):
    """All terms in NumPy loops over windows and frames."""
    encode, inner = eqx.filter_jit(model.autoencoder.encode), eqx.filter_jit(model.autoencoder.decode)
    step = eqx.filter_jit(model.transformer)

    def decode(z):
        return np.asarray(inner(jnp.asarray(z, jnp.float32)), np.float64)

    batch, length = windows.shape[:2]
    latents = np.zeros((batch, length, settings.latent))
    means, logarithms = latents.copy(), latents.copy()
    for b in range(batch):
        for t in range(length):
            means[b, t], logarithms[b, t] = map(np.asarray, encode(windows[b, t]))
    noise = np.asarray(jax.random.normal(key, (batch, length, settings.latent), jnp.float32))
    latents = means + np.exp(logarithms / 2) * noise
    frames = np.asarray(windows, np.float64)
    sums = {"latent": [], "state": [], "reconstruction": [], "energy": []}
    s = settings.past
    for b in range(batch):
        queue = list(latents[b, :s])
        for j in range(settings.horizon):
            answer = np.asarray(step(jnp.asarray(np.stack(queue[:-1]), jnp.float32)))
            queue = [*queue[1:], answer]
            field, reference = decode(answer), frames[b, s + j]
            sums["latent"].append(np.mean((answer - latents[b, s + j]) ** 2))
            sums["state"].append(np.mean((field - reference) ** 2))
            energy = [(np.mean(f[0] ** 2) + np.mean(f[1] ** 2)) / 2 for f in (field, reference)]
            sums["energy"].append((energy[0] - energy[1]) ** 2)
            sums["reconstruction"].append(np.mean((decode(latents[b, s - 1 + j]) - frames[b, s - 1 + j]) ** 2))
    terms = {name: np.mean(values) for name, values in sums.items()}
    m, v = means[:, :s], logarithms[:, :s]
    terms["divergence"] = -0.5 * np.mean(1 + v - m**2 - np.exp(v))
    terms["uncertainty"] = np.mean(np.exp(logarithms))
    return terms


def test_every_term_of_the_loss_is_the_published_one():
    settings = replace(SMALL, state_weight=0.7)
    model, windows, key = model_of(settings), normal(3, 7, 2, 8, 8), jax.random.key(5)
    loss, metrics = eqx.filter_jit(settings.loss)(model, windows, jnp.full(3, 34, jnp.float32), key=key)
    expected = loss_by_hand(settings, model, windows, key)
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-4), name  # single precision against double
    total = (
        expected["latent"]
        + 0.7 * expected["state"]
        + 100 * (expected["reconstruction"] + 5e-4 * expected["divergence"])
        + expected["energy"]
    )
    assert float(loss) == pytest.approx(total, rel=1e-4)
    assert loss.dtype == jnp.float32


def test_divergence_and_energy_are_means_over_all_elements():
    mean, logarithm = normal(2, 3, 4), normal(2, 3, 4, seed=1)
    # Between N(m, s^2) and N(0, 1): (m^2 + s^2 - 1 - ln s^2) / 2.
    each = (np.asarray(mean) ** 2 + np.exp(logarithm) - 1 - np.asarray(logarithm)) / 2
    assert float(divergence(mean, logarithm)) == pytest.approx(each.mean(), rel=1e-5)
    frames = jnp.stack([jnp.full((4, 4), 3.0, jnp.float32), jnp.full((4, 4), 4.0, jnp.float32)])
    assert float(mean_energy(frames)) == 12.5


@pytest.mark.parametrize("which", ["past", "future"])
def test_gradients_flow_into_both_sampled_latents(which):
    # With the other terms off, only the latent term is left, (zh - z*)^2.
    settings = replace(SMALL, state_weight=0.0, autoencoder_weight=0.0, energy_weight=0.0)
    model, windows = model_of(settings), normal(2, 7, 2, 8, 8)

    def loss(windows):
        return settings.loss(model, windows, jnp.zeros(2, jnp.float32), key=jax.random.key(0))[0]

    gradient = jnp.max(jnp.abs(jax.jit(jax.grad(loss))(windows)), axis=(0, 2, 3, 4))
    chosen = gradient[:4] if which == "past" else gradient[4:]
    assert bool(jnp.all(chosen > 0))


def test_the_rates_are_the_published_table():
    c = published_descent()
    assert (c.updates, c.batch, c.weight_decay, c.coupled, c.clip, c.average) == (235_000, 64, 1e-5, True, 0.0, 0.0)
    rates = c.rates()
    table = {0: 1e-4, 499: 1e-4, 500: 5e-5, 999: 5e-5, 1000: 1e-5, 2000: 5e-6, 3000: 1e-6, 4000: 5e-7, 4999: 5e-7}
    for epoch, rate in table.items():
        assert float(rates(epoch * EPOCH)) == pytest.approx(rate, rel=1e-5), epoch
    assert float(rates(500 * EPOCH - 1)) == pytest.approx(1e-4, rel=1e-5)


# Running it


def test_the_mean_path_has_no_noise_and_starts_from_copies_of_one_frame():
    model, frame = model_of(), np.asarray(normal(1, 2, 8, 8))
    (runs,) = rollout(model, frame, 5, 2, key=jax.random.key(0))
    assert runs.shape == (2, 5, 2, 8, 8)
    np.testing.assert_array_equal(runs[0], runs[1])
    z = model.distribution(jnp.asarray(frame[0]))[0]
    latents = eqx.filter_jit(model.rollout)(jnp.repeat(z[None], 4, axis=0), 5)
    np.testing.assert_allclose(runs[0], jax.vmap(model.decode)(latents), atol=1e-5)


def test_the_ensemble_path_encodes_a_window_of_decoded_fields_anew_at_every_step():
    model = model_of(replace(SMALL, path="ensemble"))
    frame, key = normal(2, 8, 8), jax.random.key(3)
    carry = model.start(frame[None], key=key)
    np.testing.assert_array_equal(carry, jnp.repeat(frame[None], 4, axis=0))
    following, latent = model.step(carry, key=key)
    means, logarithms = jax.vmap(model.distribution)(carry)
    z = means + jnp.exp(logarithms / 2) * jax.random.normal(key, means.shape, means.dtype)
    np.testing.assert_allclose(latent, model.transformer(z[:-1]), atol=1e-6)
    np.testing.assert_array_equal(following[:3], carry[1:])
    np.testing.assert_allclose(following[3], model.decode(latent), atol=1e-6)
    (runs,) = rollout(model, np.asarray(frame[None]), 3, 3, key=key)
    assert float(np.min(np.std(runs[:, -1], axis=0))) > 0


def test_a_warm_start_takes_a_whole_window():
    model = model_of(replace(SMALL, warm=True))
    frames = normal(4, 2, 8, 8)
    assert model.window == 4
    np.testing.assert_allclose(
        model.start(frames, key=jax.random.key(0)), jax.vmap(lambda f: model.distribution(f)[0])(frames), atol=1e-6
    )


@pytest.mark.parametrize("changes", [{}, {"variant": "deep", "conditioned": True, "path": "ensemble", "warm": True}])
def test_a_saved_model_comes_back(tmp_path, changes):
    model = model_of(replace(SMALL, working_points=4, causal=True, **changes))
    save_model(tmp_path / "model.safetensors", model, metadata={"update": 3})
    back, metadata = load_model(tmp_path / "model.safetensors")
    assert metadata == {"update": 3}
    assert isinstance(back, PublishedModel)
    assert back.facts() == model.facts()
    assert json.dumps(model.facts())
    np.testing.assert_array_equal(back.decode(normal(8)), model.decode(normal(8)))
    window = normal(4, 8)
    np.testing.assert_array_equal(back.following(window)[1], model.following(window)[1])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: replace(SMALL, past=1), "past must be at least 2"),
        (lambda: replace(SMALL, heads=3), "multiple of the heads"),
        (lambda: model_of(replace(SMALL, variant="huge")), "variant must be one of big, deep|Literal"),
        (lambda: model_of(replace(SMALL, working_points=9)), "1 to 8 points"),
        (lambda: replace(SMALL, path="median"), "path must be one of mean, ensemble|Literal"),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


# Windows and training


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    """Two travelling waves of 24 frames on 16 points, of one wavenumber."""
    path = tmp_path_factory.mktemp("data") / "waves.zarr"
    x = 2 * np.pi * np.arange(16) / 16
    t = 0.1 * np.arange(24)
    velocity = np.zeros((2, 24, 2, 16, 16), np.float32)
    for i in range(2):
        phase = x[None, :, None] + 2 * x[None, None, :] - t[:, None, None] + i
        velocity[i, :, 0], velocity[i, :, 1] = 2 * np.cos(phase), -np.cos(phase)
    description = FlowDescription(
        points=16, frames=24, interval=0.1, forcing=4, reynolds=(34.0, 40.0), identities=("a", "b")
    )
    with new_flow(path, description) as writer:
        for i in range(2):
            writer.write(i, 0, velocity[i])
    return path


def test_windows_are_padded_with_zeros_where_a_trajectory_begins(flow):
    data = open_flow(flow)
    windows = PaddedWindows(data, steps_of([Segment(0, 0, 24, 2), Segment(1, 0, 24, 2)], 2), 4, 3)
    even = np.asarray(data.read(1, 0, 24))[::2]
    # A window for each of the 12 even frames that has 3 after it, of 2 trajectories.
    assert len(windows) == 2 * (12 - 3)
    for i in (0, 1, 3, 8):
        window = windows[9 + i]
        padded = np.concatenate([np.zeros((3, 2, 16, 16), np.float32), even])
        np.testing.assert_array_equal(window, padded[i : i + 7])
    batch = next(windows.batches(18, seed=0))
    chosen = windows.order(0, 18, seed=0)
    np.testing.assert_array_equal(batch, np.stack([windows[int(w)] for w in chosen]))


def test_segments_of_all_frames_become_one_segment_per_phase():
    assert steps_of([Segment(3, 10, 21)], 2) == [Segment(3, 10, 21, 2), Segment(3, 11, 21, 2)]
    assert steps_of([Segment(3, 10, 21, 2)], 2) == [Segment(3, 10, 21, 2)]
    with pytest.raises(ValueError, match="none are 3 apart"):
        steps_of([Segment(3, 10, 21, 2)], 3)


def test_370_windows_of_each_of_eight_trajectories_are_47_published_batches(flow):
    # The published size, with nothing in it.
    nothing = np.broadcast_to(np.float32(0), (8, 800, 2, 64, 64))
    data = replace(open_flow(flow), _velocity=xr.Variable(VELOCITY_DIMENSIONS, nothing))
    windows = PaddedWindows(data, [Segment(i, 0, 800, 2) for i in range(8)], 30, 30)
    assert len(windows) == 2960
    assert -(-len(windows) // 64) == EPOCH


def test_a_small_model_is_fitted_end_to_end(flow, tmp_path):
    settings = replace(
        SMALL,
        working_points=8,
        descent=DescentConfiguration(updates=60, batch=4, learning_rate=1e-2, warmup=0, clip=0.0, average=0.0),
    )
    configuration = ModelFitConfiguration(
        data=str(flow),
        model="vae",
        settings=settings,
        filtering=FilterSettings(cutoff=3.0),
        split=SplitSettings(by="interleaved", allow_leak=True),
        validation=ForecastValidation(starts=2, members=1, time=0.6, every=30),
        log_every=20,
    )
    result = fit(configuration, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert result.updates == 60
    assert np.isfinite(result.score)
    assert {"latent", "state", "reconstruction", "divergence", "energy", "uncertainty"} <= set(rows[-1])
    # 60 updates at a high rate: waves of amplitude 2 are learned in part.
    assert rows[-1]["reconstruction"] < 0.7 * rows[0]["reconstruction"]
    back, metadata = load_model(tmp_path / "run" / "weights.safetensors")
    assert isinstance(back, PublishedModel)
    assert metadata["every_frames"] == 2
    assert back.reynolds == 34.0


def test_presets_are_those_of_the_publication_and_smaller():
    paper = ModelFitConfiguration.preset("vae", "paper")
    assert paper.settings == PublishedModelSettings()
    assert paper.every_frames == 2
    assert paper.split.by == "interleaved"
    assert paper.split.allow_leak
    for name in ("default", "quick"):
        smaller = ModelFitConfiguration.preset("vae", name)
        assert smaller.split.by == "trajectory"
        assert smaller.settings.descent.updates < 10_000
        assert ModelFitConfiguration.from_plain(json.loads(json.dumps(to_plain(smaller)))) == smaller


# Scores


def test_a_row_of_the_table_is_the_published_formula():
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(2, 12, 2, 4, 4))
    row = trajectory_scores(p, y, steps=10)
    for i in (0, 1):
        a, b = p[:10, i], y[:10, i]
        assert row.l1[i] == pytest.approx(np.abs(a - b).mean() / (np.abs(b).mean() + 1e-8))
        assert row.l2[i] == pytest.approx(np.linalg.norm(a - b) / (np.linalg.norm(b) + 1e-8))
        assert row.wasserstein[i] == pytest.approx(np.abs(np.sort(a.ravel()) - np.sort(b.ravel())).mean())


def test_a_shift_compares_with_a_later_reference():
    y = np.random.default_rng(0).normal(size=(12, 2, 4, 4))
    early = np.roll(y, -3, axis=0)  # says at each time what is true three frames later
    assert trajectory_scores(early, y, shift=3).l2 == (0.0, 0.0)
    assert min(trajectory_scores(early, y).l2) > 1
    errors = error_by_shift(early, y, range(5))
    assert min(errors, key=errors.get) == 3
    assert errors[3] == 0
    with pytest.raises(ValueError, match="0 to 11 frames"):
        trajectory_scores(early, y, shift=12)


def test_the_headline_has_its_centre_from_one_run_and_its_width_from_others():
    rng = np.random.default_rng(0)
    y, run = rng.normal(size=(2, 9, 2, 4, 4))
    members = 5 + rng.normal(size=(10, 9, 2, 4, 4))  # far from the run: only their spread counts
    scores = headline_scores(run, members, y, shift=2)
    m, s, t = run[:-2], members.std(axis=0)[:-2], y[2:]
    assert scores.relative_l2_percent == pytest.approx(100 * np.linalg.norm(t - m) / np.linalg.norm(t))
    assert scores.picp_percent[1] == pytest.approx(100 * np.mean(np.abs(t - m) <= s))
    z = (t - m) / s
    cumulative = np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(z)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    crps = s * (z * (2 * cumulative - 1) + 2 * density - 1 / np.sqrt(np.pi))
    assert scores.crps == pytest.approx(crps.mean())


def test_the_limit_is_the_first_time_with_half_the_size_as_error():
    y = np.ones((6, 2, 4, 4))
    p = y * (1 + np.array([0, 0.2, 0.4, 0.6, 0.8, 1.0]))[:, None, None, None]
    limit = prediction_limit(p, y, 0.24, lyapunov_exponent=0.088)
    # The fourth frame, which is four steps after the start.
    assert limit.time == pytest.approx(0.96)
    assert limit.lyapunov_times == pytest.approx(0.96 * 0.088)
    assert not limit.censored
    assert prediction_limit(y, y, 0.24).censored
