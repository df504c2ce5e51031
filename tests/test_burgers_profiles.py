"""Initial conditions of Burgers' equation: values, ends, names, and random families."""

import numpy as np
import pytest

from closura.initial.burgers import (
    BURGERS_1D,
    BURGERS_2D,
    EVALUATION_1D,
    EVALUATION_2D,
    RANDOM_BURGERS,
    burgers_1d,
    burgers_2d,
)
from closura.initial.condition import line_of

VALUES = {
    "smooth-sine": [(0.25, 1.591549430918953), (0.75, -1.591549430918953)],
    "smooth-sine-shift": [(0.0, 1.591549430918953 * np.sin(2 * np.pi / 23))],
    "smooth-sine-outflow": [(0.25, 1.591549430918953)],
    "rarefaction": [(0.5, 1.0), (0.51, 2.0)],
    "accelshock": [(0.25, 3.0), (0.26, -2.22), (1.0, 0.0)],
    "accelshock-periodic": [(0.25, 3.0), (0.26, -2.22)],
    "other-sine": [(0.125, 3.0), (0.375, 2.0)],
    "gaussian": [(0.5, 2.0), (0.6, 1 + np.exp(-0.6))],
    "tophat": [(0.33, 0.0), (0.34, 1.0), (0.66, 1.0), (0.67, 0.0)],
    "smooth-rare": [(0.5, 0.0), (0.51, np.tanh(0.6))],
    "smooth-rare-periodic": [(0.51, np.tanh(0.6))],
    "smooth-rare2": [(0.35, 1 + np.tanh(1.0))],
    "shock": [(0.25, 3.0), (0.26, 1.0)],
    "shock-formation": [(0.35, 1 - np.tanh(1.0))],
    "sine": [(0.2, 1.0), (0.333 + 0.333 / 4, 1.5), (0.8, 1.0)],
    "sawtooth": [(0.3, 0.0), (0.4995, 1.0), (0.67, 0.0)],
    "line": [(0.0, 2.0), (1.0, 1.9)],
    "para": [(0.5, 1.75)],
    "flat": [(0.3, 2.0)],
    "zero": [(0.3, 0.0)],
}
"""Values worked out by hand from the published definitions."""


@pytest.mark.parametrize("name", BURGERS_1D)
def test_values(name):
    points, expected = zip(*VALUES[name], strict=True)
    # Sines of rounded arguments: a few roundings of numbers of size one.
    np.testing.assert_allclose(burgers_1d(name)(np.array(points))[0], expected, rtol=0, atol=2e-15 * 10)


@pytest.mark.parametrize("name", BURGERS_1D)
def test_record(name):
    condition = BURGERS_1D[name]
    assert condition.name == name
    assert (condition.lower, condition.upper, condition.time) == ((0.0,), (1.0,), 0.2)
    assert condition.reference == "entropy"
    (x,) = condition.points((16,))
    assert condition(x).shape == (1, 16)
    assert condition(x).dtype == np.float64


@pytest.mark.parametrize("name", BURGERS_1D)
def test_beyond_the_ends(name):
    condition = BURGERS_1D[name]
    outside = np.array([-0.37, 1.28])
    expected = {
        "periodic": condition(np.array([0.63, 0.28])),
        "outflow": condition(np.array([0.0, 1.0])),
        "linear": 2 - 0.1 * outside[None],
    }[condition.ends[0]]
    np.testing.assert_allclose(condition(outside), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", BURGERS_1D)
def test_listed_jumps_are_all_jumps(name):
    condition = BURGERS_1D[name]
    edges = np.linspace(-1e-4, 1 - 1e-4, 200_001)
    step = np.abs(np.diff(condition(edges)[0]))
    # The steepest smooth profile, tanh(60 x), changes by 3e-4 over one of these steps; jumps are of size one.
    found = edges[np.flatnonzero(step > 0.1)]
    assert len(found) == len(condition.jumps)
    np.testing.assert_allclose(found, sorted(condition.jumps), atol=6e-6)


def test_periodic_ones_can_be_shifted():
    condition = burgers_1d("accelshock-periodic").shifted(0.3)
    np.testing.assert_allclose(condition(np.array([0.5, 0.2]))[0], [3.0, 3 * (0.9 - 1)], atol=1e-15)
    assert condition.jumps == (0.3, 0.55)


def test_lists_and_lookup():
    assert burgers_1d("smooth_sine") is BURGERS_1D["smooth-sine"]
    assert set(EVALUATION_1D) <= set(BURGERS_1D)
    with pytest.raises(ValueError, match=r"unknown initial condition 'sod'.*valid: smooth-sine, "):
        burgers_1d("sod")


@pytest.mark.parametrize("name", RANDOM_BURGERS)
def test_random_families(name):
    family = RANDOM_BURGERS[name]
    x = np.linspace(0, 1, 3001)
    draws = [family(np.random.default_rng(seed))(x)[0] for seed in range(80)]
    again = family(np.random.default_rng(0))(x)[0]
    np.testing.assert_array_equal(draws[0], again)
    assert len({draw.tobytes() for draw in draws}) > 60  # hardly any alike
    for u in draws:
        low, high = u.min(), u.max()
        middle, half = (low + high) / 2, (high - low) / 2
        if name == "random":
            # 3000 steps miss the tops of seven waves by less than 6e-5 of the amplitude
            assert 0.2 - 1e-4 < half < 1 + 1e-4
            crossings = np.count_nonzero(np.diff(np.sign(u - middle - 1e-9)))
            waves = (crossings + 1) // 2
            assert waves in (1, 2, 3, 4)
            assert abs(u[0] - u[-1]) < 1e-12
            assert abs(middle + half - 3.5) < 1e-4
        elif name == "smooth-rare-random":
            assert 0.249 < half < 1.501  # tanh(10) at the least steep ends
            assert abs(middle) < 1 + 1e-9
        else:
            assert low >= -5
            assert high <= 5


def test_plane_gaussian_and_jsz7():
    gaussian, jsz7 = BURGERS_2D["gaussian"], BURGERS_2D["jsz7"]
    assert gaussian(np.array([[0.5]]), np.array([[0.591]]))[0, 0, 0] == pytest.approx(np.exp(-0.5), abs=1e-15)
    assert gaussian.ends == ("outflow", "outflow")
    assert (jsz7.upper, jsz7.ends, jsz7.time) == ((4.0, 4.0), ("periodic", "periodic"), 0.5)
    assert jsz7(np.array([0.25]), np.array([0.75]))[0, 0] == pytest.approx(1.5, abs=1e-15)


def test_plane_along_an_axis():
    condition = burgers_2d("1d-smooth_sine-y")
    x, y = condition.points((4, 8))
    np.testing.assert_array_equal(condition(x, y), burgers_1d("smooth-sine")(y))
    assert burgers_2d("1d-shock-x").ends == ("outflow", "periodic")
    assert burgers_2d("1d-shock-y").ends == ("periodic", "outflow")
    assert line_of(burgers_2d("1d-shock-y")) == (burgers_1d("shock"), (0, 1))
    with pytest.raises(ValueError, match="gaussian"):
        line_of(burgers_2d("gaussian"))


def test_plane_sums():
    condition = burgers_2d("combo-accelshock-rarefaction")
    x, y = condition.points((4, 8))
    np.testing.assert_array_equal(condition(x, y), burgers_1d("accelshock")(x) + burgers_1d("rarefaction")(y))
    # No pair of names reads in two ways.
    names = [f"combo-{a}-{b}" for a in BURGERS_1D for b in BURGERS_1D]
    assert len(set(names)) == len(BURGERS_1D) ** 2
    for a in BURGERS_1D:
        for b in BURGERS_1D:
            note = burgers_2d(f"combo-{a}-{b}").note
            assert note == f"sum of {a} along x and {b} along y"
    assert all(burgers_2d(name).name == name for name in EVALUATION_2D)


@pytest.mark.parametrize("name", ["sod", "1d-sod-x", "1d-shock-z", "combo-shock", "combo-shock-sod"])
def test_plane_unknown(name):
    with pytest.raises(ValueError, match=r"valid: gaussian, jsz7, 1d-NAME-x, 1d-NAME-y and combo-NAME-NAME"):
        burgers_2d(name)
