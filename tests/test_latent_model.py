"""The spectral encoding is exact and turns symmetries into rotations; the latent model steps, learns and is stored."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.offline.descent import Descent, DescentConfiguration
from closura.offline.encoding import SpectralEncoding, random_move
from closura.offline.filters import SpectralCutoff
from closura.offline.latent_model import LatentModel, LatentModelSettings, encode_all
from closura.offline.rom import load_model, rollout, save_model
from closura.offline.symmetries import Symmetry, shift_along_x
from closura.offline.transformer import Attention, Block, sinusoids
from closura.problems.kolmogorov.flow import KolmogorovFlow


@pytest.fixture(scope="module")
def frames():
    """Filtered frames of a small flow, Re 15 on 16 points, 0.2 apart."""
    flow = KolmogorovFlow(16)
    state = jnp.asarray(flow.random_start(0, magnitude=300.0))
    state = flow.march(state, jnp.asarray(15.0), 0.02, 1500)

    def step(state, _):
        state = flow.march(state, jnp.asarray(15.0), 0.02, 10)
        return state, flow.to_velocity(state)

    _, velocity = jax.lax.scan(step, state, None, length=160)
    return SpectralCutoff(3.0)(np.asarray(velocity, np.float32))


@pytest.fixture(scope="module")
def encoding(frames):
    return SpectralEncoding.fitted(frames, 3.0)


def test_encoding_is_exact(frames, encoding):
    assert encoding.latent == 28  # waves with 0 < |k| <= 3: 28 real numbers
    latents = jax.vmap(encoding.encode)(jnp.asarray(frames))
    np.testing.assert_allclose(jax.vmap(encoding.decode)(latents), frames, atol=3e-6)
    # Squares of weighted latents are twice the energy.
    size = np.sum((np.asarray(latents) * encoding.velocity_weights()) ** 2, axis=-1)
    np.testing.assert_allclose(size, np.mean(np.sum(frames**2, axis=1), axis=(-2, -1)), rtol=1e-5)


def test_symmetries_are_rotations(frames, encoding):
    turns = encoding.turns()
    assert turns.shape == (16, 28, 28)
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(28), turns.shape), atol=2e-6)
    encode = jax.vmap(encoding.encode)
    latents = np.asarray(encode(jnp.asarray(frames[:5])))
    for slides, half_turns in ((1, 0), (3, 1), (0, 1)):
        moved = np.asarray(encode(jnp.asarray(Symmetry(0, slides, half_turns)(frames[:5]))))
        np.testing.assert_allclose(latents @ turns[2 * slides + half_turns].T, moved, atol=1e-5)
    shifted = np.asarray(encode(jnp.asarray(shift_along_x(frames[:5], 0.7))))
    np.testing.assert_allclose(encoding.shift(jnp.asarray(latents), jnp.asarray(0.7)), shifted, atol=1e-5)


def test_random_moves_keep_the_energy(frames, encoding):
    latents = jax.vmap(encoding.encode)(jnp.asarray(frames[:6]))
    turns = jnp.asarray(encoding.turns())
    moved = random_move(encoding, turns, latents, key=jax.random.key(3))
    weights = encoding.velocity_weights()
    np.testing.assert_allclose(
        np.sum((moved * weights) ** 2, -1), np.sum((np.asarray(latents) * weights) ** 2, -1), rtol=1e-5
    )
    assert float(jnp.max(jnp.abs(moved - latents))) > 0.1


def test_attention_is_causal():
    tokens = jnp.asarray(np.random.default_rng(0).standard_normal((5, 8)), jnp.float32)
    changed = tokens.at[3].add(1.0)
    for causal in (True, False):
        block = Block(8, 2, 16, causal=causal, key=jax.random.key(0))
        difference = np.max(np.abs(np.asarray(block(tokens) - block(changed))), axis=1)
        assert (difference[:3] == 0).all() == causal
        assert difference[3] > 0
    with pytest.raises(ValueError, match="multiple of the heads"):
        Attention(8, 3, causal=True, key=jax.random.key(0))


def test_position_code():
    code = sinusoids(4, 6)
    assert code[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert code[2, 2] == pytest.approx(np.sin(2 / 10000 ** (2 / 6)), abs=1e-6)


SETTINGS = LatentModelSettings(
    window=3, width=32, blocks=1, heads=2, noise=4, horizons=((0.0, 1), (0.5, 2)),
    descent=DescentConfiguration(updates=300, batch=16, learning_rate=3e-3, average=0.98),
)  # fmt: skip


def encoded(*parts):
    """The encoding of frames, and their latent vectors."""
    sample = np.concatenate([part[:: max(1, len(part) // 100)] for part in parts])
    encoding = SpectralEncoding.fitted(sample, 3.0, forcing=4)
    return encoding, [encode_all(encoding, part) for part in parts]


@pytest.fixture(scope="module")
def trained(frames):
    encoding, latents = encoded(frames)
    model = SETTINGS.initial(encoding, latents, 1, key=jax.random.key(0))
    turns = jnp.asarray(encoding.turns())
    descent = Descent(SETTINGS.descent, lambda m, w, *, key: SETTINGS.loss(m, w, turns, key=key))
    state = descent.init(model, key=jax.random.key(1))
    losses = []
    batches = SETTINGS.batches(latents, 1, seed=0)
    for _ in range(300):
        state, metrics = descent.update(state, jnp.asarray(next(batches)))
        losses.append(float(metrics["error"]))
    return state.averaged, losses


def test_learns_to_step(trained):
    _, losses = trained
    # Error of the first step in units of the usual change: it begins with the last change going on.
    assert np.mean(losses[-20:]) < 0.6 * np.mean(losses[:5])


def test_rollouts_are_bounded_repeatable_and_apart(frames, trained):
    model, _ = trained
    first, second = (
        np.concatenate(list(rollout(model, frames[:3], 230, 4, key=jax.random.key(7), block=100)), axis=1)
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.shape == (4, 230, 2, 16, 16)
    assert np.isfinite(first).all()
    assert np.max(np.abs(np.std(first, axis=0)[-1])) > 0  # members differ
    with pytest.raises(ValueError, match="starts from 3 frames"):
        next(rollout(model, frames[:2], 5, 1, key=jax.random.key(0)))


def test_saving(trained, frames, tmp_path):
    model, _ = trained
    path = save_model(tmp_path / "model.safetensors", model, metadata={"every_frames": 1})
    loaded, metadata = load_model(path)
    assert isinstance(loaded, LatentModel)
    assert metadata == {"every_frames": 1}
    runs = [next(rollout(m, frames[:3], 4, 2, key=jax.random.key(0))) for m in (model, loaded)]
    np.testing.assert_array_equal(*runs)


def test_windows_grow_with_the_horizon_and_do_not_depend_on_what_came_before(frames):
    encoding, latents = encoded(frames, frames[:50])
    assert next(SETTINGS.batches(latents, 2, seed=1)).shape == (16, 4, 28)
    late = SETTINGS.batches(latents, 2, seed=1, first=150)
    assert next(late).shape == (16, 5, 28)
    whole = SETTINGS.batches(latents, 2, seed=1)
    for _ in range(151):
        next(whole)
    np.testing.assert_array_equal(next(whole), next(late))
    with pytest.raises(ValueError, match="do not fit"):
        next(SETTINGS.batches([latents[0][:4]], 2, seed=0))


def test_bad_cutoff():
    with pytest.raises(ValueError, match="from 1 to below 8"):
        SpectralEncoding.pairs(16, 9.0)
