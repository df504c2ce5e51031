"""Filters, spectra, symmetries: exact on single waves, published cut-offs, group relations, the flow's symmetry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from closura.commands.filtering import run_filter
from closura.numerics.fourier import weights_of_modes
from closura.offline.filters import (
    FILTERS,
    BoxFilter,
    GaussianFilter,
    ModePower,
    SpectralCutoff,
    cutoff_by_energy,
    from_plain,
    mode_power,
    radii,
)
from closura.offline.slices import place
from closura.offline.symmetries import Symmetry, random_symmetry, shift_along_x
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.trajectories import open_flow
from closura.trajectories.schema import FlowDescription
from closura.trajectories.store import new_flow

EXAMPLES = (SpectralCutoff(4.0), GaussianFilter(0.7), BoxFilter(0.7))
N = 16


def random_frames(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def wave(kx, ky, points=N):
    x = 2 * np.pi * np.arange(points) / points
    return np.cos(kx * x[:, None] + ky * x[None, :] + 0.3)


@pytest.mark.parametrize("filtering", EXAMPLES, ids=lambda f: f.name)
def test_a_wave_is_multiplied_by_the_transfer_function(filtering):
    for kx, ky in ((0, 0), (3, 0), (0, 4), (3, -4), (-2, 3)):
        expected = {
            "spectral": float(np.hypot(kx, ky) <= 4),
            "gaussian": np.exp(-(kx**2 + ky**2) * 0.7**2 / 24),
            "box": np.sinc(0.35 * kx / np.pi) * np.sinc(0.35 * ky / np.pi),
        }[filtering.name]
        # Round-off of two transforms.
        np.testing.assert_allclose(filtering(wave(kx, ky)), expected * wave(kx, ky), atol=1e-14)


def test_box_is_the_mean_over_a_square():
    """By quadrature: the mean of cos(3x - 2y + 0.3) over a square of width 0.7 around every point."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    x = 2 * np.pi * np.arange(N) / N
    mean = sum(
        wx * wy / 4 * np.cos(3 * (x[:, None] + 0.35 * a) - 2 * (x[None, :] + 0.35 * b) + 0.3)
        for a, wx in zip(nodes, weights, strict=True)
        for b, wy in zip(nodes, weights, strict=True)
    )
    np.testing.assert_allclose(BoxFilter(0.7)(wave(3, -2)), mean, atol=1e-13)


@pytest.mark.parametrize("filtering", EXAMPLES, ids=lambda f: f.name)
def test_arrays_keep_their_kind_and_dtype(filtering):
    for dtype in (np.float32, np.float64):
        frames = random_frames(3, 2, N, N, dtype=dtype)
        ours = filtering(frames)
        theirs = jax.jit(lambda f: filtering(f))(jnp.asarray(frames))
        assert isinstance(ours, np.ndarray)
        assert isinstance(theirs, jax.Array)
        assert ours.dtype == theirs.dtype == dtype
        # A few units in the last place of numbers up to four, after two transforms of 256 points.
        np.testing.assert_allclose(ours, theirs, atol=40 * np.finfo(dtype).eps)
        np.testing.assert_allclose(ours[1], filtering(frames[1]), atol=10 * np.finfo(dtype).eps)


def test_plain_descriptions_and_names():
    for filtering in EXAMPLES:
        assert from_plain(filtering.plain()) == filtering
    assert set(FILTERS) == {"spectral", "gaussian", "box"}
    with pytest.raises(ValueError, match="valid: spectral, gaussian, box"):
        from_plain({"filter": "top-hat"})
    with pytest.raises(ValueError, match="does not have the settings cutoff"):
        from_plain({"filter": "box", "cutoff": 3})
    with pytest.raises(ValueError, match="width"):
        GaussianFilter(0.0)


def test_kept_numbers():
    """45 modes within 3.951 as published, 49 within 4; all points without a cut-off; about the disc's area beyond."""
    assert SpectralCutoff(3.951).kept((64, 64)) == 45
    assert SpectralCutoff(4.0).kept((64, 64)) == 49
    assert SpectralCutoff(100.0).kept((9, 12)) == 9 * 12
    k = np.sqrt(24 * np.log(2)) / 0.7  # where the Gaussian is a half
    assert GaussianFilter(0.7).kept((64, 64)) == SpectralCutoff(k).kept((64, 64))


@pytest.mark.parametrize("points", [(16, 16), (15, 12), (12, 15)])
def test_power_sums_to_the_mean_square(points):
    frames = random_frames(7, 2, *points)
    power = mode_power(frames[:3]).add(frames[3:])
    assert power.frames == 7
    np.testing.assert_allclose(power.energy.sum(axis=(1, 2)), 0.5 * np.mean(frames**2, axis=(0, 2, 3)), rtol=1e-13)
    waves, shells = power.shells()
    np.testing.assert_allclose(shells.sum(axis=1), power.energy.sum(axis=(1, 2)), rtol=1e-13)
    assert points[0] * weights_of_modes(points[1]).sum() == points[0] * points[1]
    kept = mode_power(SpectralCutoff(3.0)(frames)).energy.sum(axis=(1, 2)) / power.energy.sum(axis=(1, 2))
    np.testing.assert_allclose(power.kept((radii(points) <= 3.0).astype(float)), kept, rtol=1e-12)


def published_case():
    """Power as in the published data: u has 76 % below |k| = 3.951, 6 % at 4 and the rest above; v 96 % below."""
    u = np.sqrt(0.76 * 2) * wave(1, 0, 64) + np.sqrt(0.06 * 2) * wave(0, 4, 64)
    u = u + np.sqrt(0.10 * 2) * wave(3, 3, 64) + np.sqrt(0.08 * 2) * wave(6, 0, 64)
    v = np.sqrt(2) * 1.5 * (np.sqrt(0.96) * wave(1, 0, 64) + np.sqrt(0.04) * wave(5, 0, 64))
    return mode_power(np.stack([u, v])[None])


def test_cutoffs_by_energy():
    power = published_case()
    published = cutoff_by_energy(power, 0.9, "published")
    # The sixth shell of 63 up to sqrt(1/2) cycles per sample has its centre at 0.0617315: |k| = 3.9508.
    assert published == pytest.approx(64 * 5.5 * np.sqrt(0.5) / 63, rel=1e-12)
    assert published == pytest.approx(3.951, abs=5e-4)
    # The forcing mode lies in that shell, and outside the cut-off.
    assert published < 4
    np.testing.assert_allclose(power.kept(SpectralCutoff(published).transfer((64, 64))), [0.76, 0.96], rtol=1e-12)
    # Of the total 0.5 * (1 + 1.5^2): 0.76 + 2.16 = 89.8 % below 4, 91.7 % with it.
    assert cutoff_by_energy(power, 0.9, "crossing") == 4.0
    assert power.kept_total(SpectralCutoff(4.0).transfer((64, 64))) == pytest.approx((0.82 + 2.16) / 3.25, rel=1e-12)
    for wrong in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            cutoff_by_energy(power, wrong)
    with pytest.raises(ValueError, match="no frames"):
        cutoff_by_energy(ModePower.empty((2, 8, 8)))


@pytest.mark.parametrize("forcing", [2, 4])
def test_the_flow_has_the_symmetries(forcing):
    """The tendency of a moved field is the moved tendency, to round-off."""
    flow = KolmogorovFlow(N, forcing=forcing)
    spectrum = jnp.asarray(flow.random_start(3, magnitude=60.0))
    velocity = flow.to_velocity(spectrum)

    def tendency(v):
        return flow.to_velocity(flow.tendency(flow.to_spectrum(v), jnp.asarray(30.0)))

    size = float(jnp.max(jnp.abs(tendency(velocity))))
    moves = [Symmetry(5, 0, 0, forcing=forcing), Symmetry(0, 1, 0, forcing=forcing), Symmetry(0, 0, 1, forcing=forcing)]
    moves.append(Symmetry(3, 2 * forcing - 1, 1, forcing=forcing))
    for move in [*moves, lambda f: shift_along_x(f, 0.37)]:
        np.testing.assert_allclose(tendency(move(velocity)), move(tendency(velocity)), atol=1e-13 * size)
    # No such thing for half a slide: the test can fail.
    half = Symmetry(0, 1, 0, forcing=2 * forcing)
    assert np.max(np.abs(tendency(half(velocity)) - half(tendency(velocity)))) > 1e-3 * size


def test_group_relations():
    """S^2n = R^2 = 1, S T = T^-1 S, R T = T^-1 R, R S = S^-1 R; one element equals its factors; exact, not rounded."""
    f = random_frames(3, 2, N, N)
    shift, slide, turn = Symmetry(3, forcing=4), Symmetry(slides=1, forcing=4), Symmetry(turns=1, forcing=4)
    again = f
    for _ in range(8):
        again = slide(again)
    np.testing.assert_array_equal(again, f)
    np.testing.assert_array_equal(turn(turn(f)), f)
    np.testing.assert_array_equal(slide(shift(f)), Symmetry(-3)(slide(f)))
    np.testing.assert_array_equal(turn(shift(f)), Symmetry(-3)(turn(f)))
    np.testing.assert_array_equal(turn(slide(f)), slide.inverse()(turn(f)))
    np.testing.assert_array_equal(Symmetry(3, 5, 1)(f), shift(Symmetry(slides=5)(turn(f))))
    for seed in range(8):
        a = random_symmetry(jax.random.key(10 * seed), N)
        np.testing.assert_array_equal(a.inverse()(a(f)), f)
    with pytest.raises(ValueError, match="multiple of 12"):
        Symmetry(forcing=6)(f)


def test_random_symmetries_are_traceable_and_move_a_pair_together():
    full = random_frames(4, 2, N, N, dtype=np.float32)
    filtered = SpectralCutoff(3.0)(full)

    @jax.jit
    def move(key, pair):
        symmetry = random_symmetry(key, N)
        return symmetry(pair[0]), symmetry(pair[1])

    moved = [move(jax.random.key(i), (filtered, full)) for i in range(6)]
    for a, b in moved:
        assert a.dtype == np.float32
        # Filters commute with symmetries, so the moved pair is a pair: float32 round-off of numbers up to four.
        np.testing.assert_allclose(SpectralCutoff(3.0)(np.asarray(b)), a, atol=2e-6)
    assert len({float(b[0, 0, 0, 0]) for _, b in moved}) > 1


def test_shifts_by_any_distance():
    f = SpectralCutoff(5.0)(random_frames(3, 2, N, N))
    step = 2 * np.pi / N
    np.testing.assert_allclose(shift_along_x(f, 3 * step), Symmetry(3)(f), atol=1e-13)
    np.testing.assert_allclose(shift_along_x(shift_along_x(f, 0.3), -0.3), f, atol=1e-13)
    each = shift_along_x(f, np.asarray([0.0, 2 * step, 0.4])[:, None].repeat(1, 1)[:, 0])
    np.testing.assert_allclose(each[1], Symmetry(2)(f[1]), atol=1e-13)
    assert shift_along_x(f.astype(np.float32), 0.3).dtype == np.float32


@pytest.mark.parametrize("forcing", [1, 2, 4])
def test_all_copies_of_a_frame_have_one_representative(forcing):
    f = SpectralCutoff(5.0)(random_frames(3, 2, N, N))
    placed = place(f, forcing)
    representative = placed.apply(f)
    np.testing.assert_allclose(placed.undo(representative), f, atol=1e-12)
    for shift, slides, turns in ((3, 0, 0), (0, 2, 0), (5, 0, 1), (7, 2 * forcing - 2, 1)):
        copy = Symmetry(shift, slides, turns, forcing=forcing)(f)
        np.testing.assert_allclose(place(copy, forcing).apply(copy), representative, atol=1e-12)
    if forcing % 2 == 0:
        copy = Symmetry(1, 1, 0, forcing=forcing)(f)
        np.testing.assert_allclose(place(copy, forcing).apply(copy), representative, atol=1e-12)
    spread = np.square(SpectralCutoff(2.0)(random_frames(3, 2, N, N, seed=1)))
    # Squares of waves up to 2 are waves up to 4: interpolated without error, so nothing is clipped but round-off.
    np.testing.assert_allclose(placed.undo_variance(np.abs(placed.apply(spread))), spread, atol=1e-12)


def test_command(tmp_path, capsys):
    frames = np.stack([SpectralCutoff(6.0)(random_frames(5, 2, N, N, seed=i, dtype=np.float32)) for i in range(2)])
    description = FlowDescription(N, 5, 0.1, 4, (30.0, 30.0), ("a", "b"), attributes={"source": "noise"})
    with new_flow(tmp_path / "full.zarr", description) as writer:
        for i in range(2):
            writer.write(i, 0, frames[i])
    out = tmp_path / "large.zarr"
    made = run_filter(
        [str(tmp_path / "full.zarr"), "--energy", "0.5", "--out", str(out), "--figure", str(out) + ".png"]
    )
    assert isinstance(made.filter, SpectralCutoff)
    expected = made.filter(frames)
    data = open_flow(out)
    np.testing.assert_array_equal(np.stack([data.read(i) for i in range(2)]), expected)
    assert from_plain(data.attributes["filter"]) == made.filter
    assert data.identities == ("a", "b")
    assert data.attributes["source"] == "noise"
    kept = np.square(expected.astype(float)).sum() / np.square(frames.astype(float)).sum()
    assert kept >= 0.5
    assert made.power.kept_total(made.filter.transfer((N, N))) == pytest.approx(kept, rel=1e-6)
    # A sharp filter's error and field are orthogonal.
    assert made.relative_l2 == pytest.approx(np.sqrt(1 - kept), rel=1e-5)
    assert (tmp_path / "large.zarr.png").stat().st_size > 5000
    said = capsys.readouterr().out
    assert f"total {100 * kept:.1f} %" in said
    assert f"L2 {100 * made.relative_l2:.1f} %" in said
    with pytest.raises(FileExistsError, match="overwrite"):
        run_filter([str(tmp_path / "full.zarr"), "--out", str(out)])
    box = run_filter([str(out), "--filter", "box", "--width", "0.5", "--out", str(tmp_path / "box.zarr")])
    assert box.filter == BoxFilter(0.5)
    for wrong in (["--filter", "box"], ["--width", "1.0"], ["--cutoff", "3", "--energy", "0.5"]):
        with pytest.raises(ValueError, match="--"):
            run_filter([str(out), *wrong, "--out", str(tmp_path / "no.zarr")])
