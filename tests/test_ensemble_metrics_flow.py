"""Physics of velocity fields and distances of distributions: single waves, KolSol's numbers, SciPy."""

import json
import math

import numpy as np
import pytest
from golden import golden_files, read
from scipy import stats

from closura.metrics.ensembles import (
    FlowStatistics,
    Histogram,
    SlicedHistograms,
    compare_flows,
    dissipation,
    energy_spectrum,
    kinetic_energy,
    reference_bar,
    relative_divergence,
    resolving_shell,
    stress_errors,
    vorticity,
    wasserstein,
)

REYNOLDS = 34.0


def grid(x=32, y=24):
    return np.meshgrid(2 * np.pi * np.arange(x) / x, 2 * np.pi * np.arange(y) / y, indexing="ij")


def random_velocity(*frames, x=16, y=12, seed=0):
    return np.random.default_rng(seed).standard_normal((*frames, 2, x, y))


def test_a_single_wave():
    x, y = grid()
    # stream function cos(3x + 4y) / 5: u = d psi / dy, v = -d psi / dx, speed of amplitude 1, vorticity 5 cos
    phase = 3 * x + 4 * y
    velocity = np.stack([-0.8 * np.sin(phase), 0.6 * np.sin(phase)])
    np.testing.assert_allclose(vorticity(velocity), 5 * np.cos(phase), atol=1e-13)  # rounding of one transform
    assert kinetic_energy(velocity).mean() == pytest.approx(0.25, rel=1e-13)
    assert float(dissipation(velocity, REYNOLDS)) == pytest.approx(25 / 2 / REYNOLDS, rel=1e-13)
    assert float(relative_divergence(velocity)) < 1e-14
    spectrum = energy_spectrum(velocity)
    assert spectrum[5] == pytest.approx(0.25, rel=1e-13)
    assert spectrum.sum() == pytest.approx(0.25, rel=1e-13)
    assert int(resolving_shell(spectrum)) == 5
    potential = np.stack([0.6 * np.sin(phase), 0.8 * np.sin(phase)])
    assert float(relative_divergence(potential)) == pytest.approx(1, rel=1e-13)
    assert np.abs(vorticity(potential)).max() < 1e-13
    assert float(relative_divergence(np.ones((2, 8, 8)))) == 0


def test_sign_of_vorticity():
    x, y = grid()
    np.testing.assert_allclose(vorticity(np.stack([0 * x, np.sin(x)])), np.cos(x), atol=1e-14)
    np.testing.assert_allclose(vorticity(np.stack([np.sin(2 * y), 0 * x])), -2 * np.cos(2 * y), atol=1e-14)


@pytest.mark.parametrize("shape", [(16, 16), (15, 12), (12, 15)])
def test_parseval(shape):
    velocity = random_velocity(3, 2, x=shape[0], y=shape[1])
    spectrum = energy_spectrum(velocity)
    np.testing.assert_allclose(spectrum.sum(axis=-1), kinetic_energy(velocity).mean(axis=(-2, -1)), rtol=1e-13)
    np.testing.assert_array_equal(spectrum[2, 1], energy_spectrum(velocity[2, 1]))


def test_shells():
    x, y = grid(16, 16)
    velocity = np.stack([np.sin(2 * x + 2 * y), 0 * x])  # |k| = 2.83
    assert np.argmax(energy_spectrum(velocity)) == 2
    spectrum = np.array([0.5, 0.3, 0.19, 0.00995, 0.00005])
    assert int(resolving_shell(spectrum)) == 3
    assert int(resolving_shell(spectrum, fraction=0.8 - 1e-9)) == 1
    np.testing.assert_array_equal(resolving_shell(np.stack([spectrum, spectrum[::-1]])), [3, 4])


@pytest.mark.parametrize("file", golden_files("kolsol", "*_developed.npz"))
def test_kolsol(file):
    data = read(file)
    facts = json.loads(str(data["meta_json"]))
    for frame in (0, *facts["steps"]):
        velocity = np.moveaxis(data[f"u_phys_{frame}"], -1, 0)
        # Sums of 4096 numbers; shells at the corner hold 1e-20 of the energy, where rounding is all there is.
        expected = data[f"ek_{frame}"]
        spectrum = velocity[0].size * energy_spectrum(velocity)  # KolSol divides by the number of points once
        np.testing.assert_allclose(spectrum, expected, rtol=1e-10, atol=1e-15 * expected.max())
        assert float(dissipation(velocity, facts["re"])) == pytest.approx(float(data[f"dissip_{frame}"]), rel=1e-12)
        assert kinetic_energy(velocity).mean() == pytest.approx(float(data[f"tke_{frame}"]), rel=1e-12)
        hat = np.fft.ifftshift(data[f"w_hat_{frame}"])
        # The stored coefficients keep the highest waves, as sine parts that the grid cannot show: 2e-7 of the largest.
        assert np.abs(np.fft.fft2(vorticity(velocity)) - hat).max() < 1e-6 * np.abs(hat).max()


@pytest.mark.parametrize("file", golden_files("kolsol", "*_random_ic.npz"))
def test_kolsol_with_the_highest_waves(file):
    data = read(file)
    facts = json.loads(str(data["meta_json"]))
    velocity = np.moveaxis(data["u_phys_0"], -1, 0)
    expected = float(data["dissip_0"])
    if facts["nk"] <= 8:
        assert float(dissipation(velocity, facts["re"])) < 0.9 * expected  # 14 % of it sits in the highest waves
    spectrum = velocity[0].size * energy_spectrum(velocity)
    np.testing.assert_allclose(spectrum, data["ek_0"], rtol=1e-12, atol=1e-15 * data["ek_0"].max())


def test_reynolds_stresses_of_known_fluctuations():
    x, y = grid()
    profile = np.sin(4 * y)
    frames = [
        np.stack([2 * profile + a * np.cos(x + phase), 0.3 * a * np.cos(x + phase) + 0.2 * np.sin(x + phase)])
        for phase in np.linspace(0, 1, 5)
        for a in (1.0,)
    ]
    result = _of(np.stack(frames[:2]), np.stack(frames[2:])[None])
    np.testing.assert_allclose(result.mean, [2 * profile[0], 0 * profile[0]], atol=1e-13)
    expected = np.array([[0.5], [0.15], [0.5 * (0.09 + 0.04)]]) * np.ones(24)
    np.testing.assert_allclose(result.stresses, expected, atol=1e-13)  # of mean squares of order 2


def _of(*blocks):
    statistics = FlowStatistics(30.0)
    for velocity in blocks:
        statistics.add(velocity)
    return statistics.result().profiles


def test_reynolds_stresses_are_moments():
    velocity = random_velocity(3, 7)
    result = _of(velocity)
    u, v = np.moveaxis(velocity, 2, 0)
    mean_u, mean_v = u.mean(axis=(0, 1, 2)), v.mean(axis=(0, 1, 2))
    expected = [((u - mean_u) ** 2), ((u - mean_u) * (v - mean_v)), ((v - mean_v) ** 2)]
    np.testing.assert_allclose(result.stresses, [part.mean(axis=(0, 1, 2)) for part in expected], atol=1e-14)
    # Velocities 10 % larger have stresses 21 % larger, in every norm.
    errors = stress_errors(_of(1.1 * velocity), result)
    assert set(errors) == {"uu", "uv", "vv", "all"}
    assert all(value == pytest.approx(0.21, rel=1e-10) for value in errors.values())


@pytest.mark.parametrize("sizes", [(500, 500), (500, 301), (1, 400), (3, 1)])
def test_wasserstein_is_that_of_scipy(sizes):
    generator = np.random.default_rng(sizes[1])
    first, second = generator.gamma(2.0, size=sizes[0]), generator.normal(1, 2, sizes[1])
    assert wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second), rel=1e-11)
    tied_first, tied_second = np.rint(first), np.rint(second)
    expected = stats.wasserstein_distance(tied_first, tied_second)
    assert wasserstein(tied_first, tied_second) == pytest.approx(expected, rel=1e-11)
    assert wasserstein(first, first) == 0


def test_streamed_wasserstein():
    generator = np.random.default_rng(1)
    first, second = generator.gamma(3.0, 0.2, (30, 8, 8)), generator.gamma(3.5, 0.2, (50, 8, 8))
    histograms = [Histogram(), Histogram()]
    for block in np.array_split(first, 4):
        histograms[0].add(block)
    histograms[1].merge(histograms[1]).add(second)
    exact = wasserstein(first, second)
    # The bound is the width of a bin, 1e-3; densities this smooth leave less than a tenth of it.
    assert histograms[0].distance(histograms[1]) == pytest.approx(exact, abs=1e-4)
    assert histograms[0].distance(histograms[0]) == 0
    coarse = [Histogram(bins=40), Histogram(bins=40)]
    for histogram, values in zip(coarse, (first, second), strict=True):
        histogram.add(values)
    assert abs(coarse[0].distance(coarse[1]) - exact) < 0.1
    edges, density = histograms[1].density()
    assert (density * np.diff(edges)).sum() == pytest.approx(1 - histograms[1].outside, rel=1e-12)
    assert density[800:880].mean() == pytest.approx(
        stats.gamma.pdf(0.84, 3.5, scale=0.2), abs=0.2
    )  # 200 of 3200 values in it


def test_values_beyond_the_range_count():
    generator = np.random.default_rng(2)
    inside, wide = generator.uniform(0, 1, 4000), generator.normal(0.5, 1.0, 4000)
    histograms = [Histogram(0.0, 1.0, 2000), Histogram(0.0, 1.0, 2000)]
    histograms[0].add(inside)
    histograms[1].add(wide)
    assert histograms[1].outside == pytest.approx(np.mean((wide < 0) | (wide > 1)))
    # Exact where only one has a tail, to the width of a bin.
    assert histograms[0].distance(histograms[1]) == pytest.approx(wasserstein(inside, wide), abs=5e-4)


def test_slices_and_their_bar():
    generator = np.random.default_rng(3)
    # Three trajectories of 45 frames from one distribution; the third one's last frames are another's.
    energies = generator.gamma(3.0, 0.2, (3, 45, 20, 20))
    trajectories = []
    for energy in energies:
        sliced = SlicedHistograms(10)
        for block in np.array_split(energy, 7):
            sliced.add(block)
        trajectories.append(sliced)
    assert [len(sliced.slices) for sliced in trajectories] == [4, 4, 4]
    pool = Histogram()
    pool.add(energies[1:, :40])
    expected = [wasserstein(energies[0, 10 * i : 10 * i + 10], energies[1:, :40]) for i in range(4)]
    np.testing.assert_allclose(trajectories[0].distances(pool), expected, atol=2e-4)  # a fifth of a bin
    bar, distances = reference_bar(trajectories)
    assert distances.shape == (12,)
    assert bar == pytest.approx(np.percentile(distances, 95))
    np.testing.assert_allclose(distances[:4], trajectories[0].distances(pool), rtol=1e-12)
    off = SlicedHistograms(10)
    off.add(1.2 * energies[0])
    assert (off.distances(pool) > bar).all()  # 20 % more energy shows
    with pytest.raises(ValueError, match="at least two true trajectories"):
        reference_bar(trajectories[:1])


def test_summary_of_a_flow():
    velocity = random_velocity(2, 6, seed=5).astype(np.float32)
    statistics = FlowStatistics(REYNOLDS, energy_range=(0.0, 20.0))
    statistics.add(velocity[:, :2])
    statistics.add(velocity[:, 2:])
    summary = statistics.result()
    assert summary.frames == 12
    assert summary.energy.shape == summary.dissipation.shape == (12,)
    assert summary.energy.mean() == pytest.approx(kinetic_energy(velocity).mean(), rel=1e-12)
    assert summary.spectrum.sum() == pytest.approx(summary.energy.mean(), rel=1e-12)
    assert summary.divergence > 0.5  # noise is not incompressible
    assert summary.energies.count == 12 * 16 * 12
    larger = FlowStatistics(REYNOLDS, energy_range=(0.0, 20.0))
    larger.add(np.float32(1.1) * velocity)
    comparison = compare_flows(larger.result(), summary)
    # Quadratic quantities are 1.1^2 as large, to single precision of the factor.
    for name in ("energy", "dissipation", "stress_uu", "stress_uv", "stress_vv", "stress_all"):
        assert comparison[name] == pytest.approx(0.21, rel=1e-5)
    assert comparison["spectrum"] == pytest.approx(math.log10(1.21), rel=1e-5)
    assert comparison["energy_distance"] == pytest.approx(0.21 * summary.energy.mean(), rel=0.01)  # bins of 0.005
    assert comparison["dissipation_distance"] == pytest.approx(0.21 * summary.dissipation.mean(), rel=1e-5)
    assert all(value == 0 for value in compare_flows(summary, summary).values())


def test_misuse_is_told():
    with pytest.raises(ValueError, match=r"\(\.\.\., component=2, x, y\)"):
        vorticity(np.zeros((3, 8, 8)))
    with pytest.raises(ValueError, match="Reynolds number must be positive"):
        dissipation(np.zeros((2, 8, 8)), 0.0)
    with pytest.raises(ValueError, match="not finite"):
        FlowStatistics(1.0).add(np.full((2, 8, 8), np.nan))
    with pytest.raises(ValueError, match="strictly between"):
        resolving_shell(np.ones(4), fraction=1.0)
    with pytest.raises(ValueError, match="same lower, upper, bins"):
        Histogram().distance(Histogram(bins=10))
    with pytest.raises(ValueError, match="distances need values"):
        Histogram().distance(Histogram())
    with pytest.raises(ValueError, match="lower < upper"):
        Histogram(1.0, 0.0)
    with pytest.raises(ValueError, match=r"same grid; got \(8, 6\) after \(8, 8\)"):
        _of(np.zeros((2, 8, 8)), np.zeros((2, 8, 6)))
    with pytest.raises(ValueError, match="empty"):
        wasserstein(np.zeros(0), np.ones(2))
    with pytest.raises(ValueError, match="nothing was added"):
        FlowStatistics(1.0).result()
