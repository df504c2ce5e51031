"""Proper orthogonal decomposition against NumPy's singular values; both methods; projections; baselines."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import closura.offline.pod as pod_module
from closura.offline.baselines import Climatology, NoClosure, Persistence
from closura.offline.pod import POD, fit_pod
from closura.offline.sampler import (
    SAMPLERS,
    check_question,
    load_sampler,
    save_sampler,
)
from closura.offline.stored import arrays_of


def frames_of_rank(rank, count=40, dtype=np.float64, seed=0):
    """Random frames whose singular values fall by a factor of 0.7 each."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((count, rank)))[0]
    right = np.linalg.qr(rng.standard_normal((2 * 8 * 8, rank)))[0]
    return (left * 10 * 0.7 ** np.arange(rank) @ right.T).reshape(count, 2, 8, 8).astype(dtype)


@pytest.mark.parametrize("method", ["snapshots", "randomised"])
@pytest.mark.parametrize("remove_mean", [False, True])
def test_against_singular_values(method, remove_mean):
    frames = frames_of_rank(20)
    basis = fit_pod(frames, 6, method=method, remove_mean=remove_mean)
    rows = frames.reshape(40, -1) - (frames.mean(axis=0).reshape(-1) if remove_mean else 0)
    _, values, vectors = np.linalg.svd(rows, full_matrices=False)
    # Snapshots square the condition number: energies to 1e-12 of the largest. The randomised sketch holds all 20
    # directions, so it is exact as well.
    np.testing.assert_allclose(basis.energies, values[:6] ** 2 / 40, rtol=1e-10)
    np.testing.assert_allclose(basis.total, np.sum(rows**2) / 40, rtol=1e-12)
    modes = basis.modes.reshape(6, -1)
    np.testing.assert_allclose(modes @ modes.T, np.eye(6), atol=1e-13)
    np.testing.assert_allclose(np.abs(np.sum(modes * vectors[:6], axis=1)), 1.0, atol=1e-10)
    # Fixed signs.
    assert np.all(np.take_along_axis(modes, np.abs(modes).argmax(axis=1)[:, None], 1) > 0)


def test_a_sketch_smaller_than_the_rank(monkeypatch):
    """Six iterations leave (0.7^(20+1))^(2*6) of the error of a sketch of 26 directions: nothing but round-off."""
    frames = frames_of_rank(60, count=100)
    exact, sketched = (fit_pod(frames, 6, method=m) for m in ("snapshots", "randomised"))
    np.testing.assert_allclose(sketched.energies, exact.energies, rtol=1e-9)
    np.testing.assert_allclose(sketched.modes, exact.modes, atol=1e-7)
    monkeypatch.setattr(pod_module, "FRAMES_AT_ONCE", 17)
    for method in ("snapshots", "randomised"):
        np.testing.assert_allclose(fit_pod(frames, 6, method=method).modes, exact.modes, atol=1e-7)


def test_projection_and_reconstruction():
    frames = frames_of_rank(5) + 1.0
    basis = fit_pod(frames, 5, remove_mean=True)
    # Five directions about a mean hold frames of rank five.
    np.testing.assert_allclose(basis.reconstruct(basis.project(frames)), frames, atol=1e-12)
    np.testing.assert_allclose(np.mean(basis.project(frames) ** 2, axis=0), basis.energies, rtol=1e-10)
    assert basis.cumulative[-1] == pytest.approx(1.0, rel=1e-12)
    assert np.all(np.diff(basis.cumulative) >= 0)
    one = basis.project(frames[3])
    assert one.shape == (5,)
    with pytest.raises(ValueError, match="5 modes; got 6"):
        basis.reconstruct(np.zeros(6))
    with pytest.raises(ValueError, match=r"fields of shape \(2, 8, 8\)"):
        basis.project(np.zeros((3, 2, 8, 9)))


def test_dtypes_kinds_and_storage():
    frames = frames_of_rank(8, dtype=np.float32)
    basis = fit_pod(frames, 3)
    assert basis.modes.dtype == basis.energies.dtype == np.float32
    ours, theirs = basis.project(frames), jax.jit(lambda f: basis.project(f))(jnp.asarray(frames))
    assert ours.dtype == theirs.dtype == np.float32
    assert isinstance(theirs, jax.Array)
    # Sums of 128 products of numbers of order one, in single precision.
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    again = POD.from_state({f"a.{name}": array for name, array in arrays_of(basis).items()}, "a.")
    np.testing.assert_array_equal(again.modes, basis.modes)
    # Inner products are summed in double precision: single-precision frames give the double-precision basis, rounded.
    np.testing.assert_allclose(basis.modes, fit_pod(frames.astype(np.float64), 3).modes, atol=2e-7)


def test_what_is_refused():
    frames = frames_of_rank(4, count=5)
    with pytest.raises(ValueError, match="between 1 and 5 modes"):
        fit_pod(frames, 6)


def test_baselines(tmp_path):
    full = frames_of_rank(10, count=30, dtype=np.float32) + np.float32(1)
    filtered = full * np.float32(0.5)
    key, question = jax.random.key(0), filtered[20:27]
    none = NoClosure(full.shape[1:])
    held = Persistence(full[19])
    climate = Climatology.of(full[:20], 15, key=key)
    for closure in (none, held, climate):
        mean, std = closure.mean_and_std(question)
        members = closure.sample(question, 4, key=key)
        assert mean.shape == std.shape == question.shape
        assert members.shape == (4, *question.shape)
        assert mean.dtype == std.dtype == members.dtype == np.float32
        path = save_sampler(tmp_path / "closure.safetensors", closure, metadata={"seed": 3})
        again, metadata = load_sampler(path)
        assert metadata == {"seed": 3}
        np.testing.assert_array_equal(again.sample(question, 4, key=key), members)
        with pytest.raises(ValueError, match="as fitted"):
            closure.mean_and_std(np.zeros((3, 2, 4, 4), np.float32))
    np.testing.assert_array_equal(none.mean_and_std(question)[0], question)
    assert not np.any(none.mean_and_std(question)[1])
    np.testing.assert_array_equal(held.sample(question, 4, key=key)[2, 5], full[19])
    np.testing.assert_array_equal(Persistence(full[3]).mean_and_std(question)[0][1], full[3])
    np.testing.assert_allclose(climate.mean_and_std(question)[0][2], full[:20].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(climate.mean_and_std(question)[1][2], full[:20].std(axis=0), rtol=1e-5)
    drawn = climate.sample(question, 4, key=key)
    assert all(np.any(np.all(frame == full[:20], axis=(1, 2, 3))) for frame in drawn.reshape(-1, 2, 8, 8))


def test_registry_and_files(tmp_path):
    assert {"none", "persistence", "climatology"} <= set(SAMPLERS)
    with pytest.raises(ValueError, match="valid: "):
        SAMPLERS.find("nothing")
    with pytest.raises(FileNotFoundError, match="no reconstruction"):
        load_sampler(tmp_path / "missing.safetensors")
    with pytest.raises(ValueError, match="at least one member"):
        check_question(np.zeros((1, 2, 4, 4), np.float32), (2, 4, 4), 0)
