"""The entropy solution of Burgers' equation against formulas, conservation and brute force."""

import time

import numpy as np
import pytest
from scipy import optimize

from closura.initial.burgers import (
    BURGERS_1D,
    RANDOM_BURGERS,
    SINE_AMPLITUDE,
    accelerating_shock,
    burgers_1d,
    burgers_2d,
    line_condition,
)
from closura.initial.condition import InitialCondition
from closura.problems.laws.entropy import entropy_solution, plane_entropy_solution, shock_positions
from closura.reproductions.bptts_references import FORMULA, IMPLICIT_REACH, published_reference

ROUNDING = 1e-13
"""Feet and states of size one, found to rounding; the steepest smooth stretches here amplify it some tenfold."""


def solve(name, x, t):
    return entropy_solution(burgers_1d(name), np.asarray(x, np.float64), t)[0]


def centres(n, length=1.0):
    return (np.arange(n) + 0.5) * (length / n)


def l2(error):
    return float(np.sqrt(np.mean(error**2)))


def test_accelerating_shock():
    x, t = centres(1024), 0.2
    tau = 1 + 3 * t
    position = 1 + tau + (0.25 - 1 - 1) * np.sqrt(tau)
    assert position == pytest.approx(0.3864, abs=5e-5)
    expected = np.where(x < position, 3.0, 3 * (x - 1) / tau)
    np.testing.assert_allclose(solve("accelshock", x, t), expected, atol=ROUNDING)
    found, drop = shock_positions(burgers_1d("accelshock"), t)
    np.testing.assert_allclose(found, [position], atol=1e-12)
    np.testing.assert_allclose(drop, [3 - 3 * (position - 1) / tau], atol=1e-11)  # the position's error times a slope


@pytest.mark.parametrize(("left", "slope", "jump"), [(0.5, 5.0, 0.5), (5.0, 0.5, 0.01), (2.0, 1e-3, 0.2)])
def test_other_accelerating_shocks(left, slope, jump):
    condition = accelerating_shock(left=left, slope=slope, jump=jump)
    for t in (0.01, 0.05, 0.15):
        tau = 1 + slope * t
        position = 1 + left / slope * tau + (jump - 1 - left / slope) * np.sqrt(tau)
        x = centres(512)
        expected = np.where(x < position, left, slope * (x - 1) / tau)
        np.testing.assert_allclose(entropy_solution(condition, x, t)[0], expected, atol=ROUNDING)


def test_accelerating_shock_without_a_slope_is_a_plain_shock():
    condition = accelerating_shock(left=2.0, slope=0.0, jump=0.2)
    x = centres(200)
    np.testing.assert_allclose(entropy_solution(condition, x, 0.2)[0], np.where(x < 0.4, 2.0, 0.0), atol=ROUNDING)


def test_fan():
    x = centres(777)
    for t in (1e-3, 0.1, 0.2):
        np.testing.assert_allclose(solve("rarefaction", x, t), np.clip((x - 0.5) / t, 1, 2), atol=ROUNDING)


def test_tophat_before_and_after_the_fan_meets_the_shock():
    x = centres(600)
    t = 0.2
    expected = np.where(x < 2 / 3 + t / 2, np.clip((x - 1 / 3) / t, 0, 1), 0.0)
    np.testing.assert_allclose(solve("tophat", x, t), expected, atol=ROUNDING)
    # Later the fan eats the shock's left state: the triangle (x - 1/3)/t keeps the area 1/3.
    wide = InitialCondition("tophat", burgers_1d("tophat").values, (0.0,), (2.0,), ("outflow",), jumps=(1 / 3, 2 / 3))
    x = centres(600, 2.0)
    for t in (0.5, 0.9, 2.0):
        end = 2 / 3 + t / 2 if t <= 2 / 3 else 1 / 3 + np.sqrt(2 * t / 3)
        expected = np.where((x > 1 / 3) & (x < end), np.minimum((x - 1 / 3) / t, 1.0), 0.0)
        np.testing.assert_allclose(entropy_solution(wide, x, t)[0], expected, atol=ROUNDING)


def test_plain_shock():
    x = centres(128)
    np.testing.assert_allclose(solve("shock", x, 0.2), np.where(x < 0.65, 3.0, 1.0), atol=ROUNDING)
    position, drop = shock_positions(burgers_1d("shock"), 0.2)
    np.testing.assert_allclose([*position, *drop], [0.65, 2.0], atol=1e-13)


@pytest.mark.parametrize(("t", "tolerance"), [(0.01, ROUNDING), (0.05, ROUNDING), (0.09, 1e-12)])
def test_smooth_sine_is_the_implicit_solution_before_the_shock(t, tolerance):
    # At t = 0.09 the foot's conditioning is 1 / (1 - t / 0.1) = 10.
    x = centres(512)
    u = solve("smooth-sine", x, t)
    for x_i, u_i in zip(x, u, strict=True):
        miss = lambda y: y + t * SINE_AMPLITUDE * np.sin(2 * np.pi * y) - x_i
        foot = optimize.brentq(miss, x_i - 1, x_i + 1, xtol=1e-15, rtol=1e-15)
        assert abs(SINE_AMPLITUDE * np.sin(2 * np.pi * foot) - u_i) < tolerance
    assert shock_positions(burgers_1d("smooth-sine"), t)[0].size == 0


def test_standing_shock():
    for t in (0.11, 0.2, 0.5):
        position, drop = shock_positions(burgers_1d("smooth-sine"), t)
        # The primitive adds 4096 cells of eight Gauss points to about 1e-15; the drop divides it.
        np.testing.assert_allclose(position, [0.5], atol=1e-13)
        # Left of the shock: u = A sin(2 pi y), y + t u = 1/2, by symmetry.
        foot = optimize.brentq(lambda y: y + t * SINE_AMPLITUDE * np.sin(2 * np.pi * y) - 0.5, 0, 0.4, xtol=1e-15)
        assert drop[0] == pytest.approx(2 * SINE_AMPLITUDE * np.sin(2 * np.pi * foot), abs=1e-11)
        x = centres(128)
        u = solve("smooth-sine", x, t)
        np.testing.assert_allclose(u, -u[::-1], atol=ROUNDING)
        assert (u[:64] > 0).all()


def test_travelling_shocks_of_other_sine():
    # In the frame of the mean, 2.5, both shocks stand: at the downward zeros 1/4 and 3/4 plus 2.5 t, modulo 1.
    # At t = 0.3 one of them is exactly at the ends, which are one point.
    for t in (0.17, 0.2, 0.3):
        position, drop = shock_positions(burgers_1d("other-sine"), t)
        assert position.shape == (2,)
        assert drop[0] == pytest.approx(drop[1], abs=1e-9)
        expected = np.array([0.25, 0.75]) + 2.5 * t
        distance = np.abs(position[:, None] - expected + 0.5) % 1 - 0.5
        np.testing.assert_allclose(np.abs(distance).min(axis=1), 0, atol=1e-12)
        np.testing.assert_allclose(np.abs(distance).min(axis=0), 0, atol=1e-12)


def test_shock_speed_is_that_of_rankine_and_hugoniot():
    for name in ("gaussian", "accelshock", "sawtooth", "accelshock-periodic"):
        condition, h = burgers_1d(name), 1e-4
        before, at, after = (shock_positions(condition, 0.18 + k * h)[0][0] for k in (-1, 0, 1))
        u_right = entropy_solution(condition, np.array([at + 1e-9]), 0.18)[0, 0]
        u_left = entropy_solution(condition, np.array([at - 1e-9]), 0.18)[0, 0]
        # Central difference: h^2 s''' / 6 with s''' of up to 300 here.
        assert (after - before) / (2 * h) == pytest.approx((u_left + u_right) / 2, abs=1e-6), name


PERIODIC = [name for name, condition in BURGERS_1D.items() if condition.ends == ("periodic",)]


@pytest.mark.parametrize("name", [*PERIODIC, *RANDOM_BURGERS])
def test_integral_follows_the_fluxes(name):
    condition = burgers_1d(name) if name in BURGERS_1D else RANDOM_BURGERS[name](np.random.default_rng(5))
    t = 0.2
    u = _average(condition, t)
    before = _average(condition, 0.0)
    if condition.ends == ("periodic",):
        assert u == pytest.approx(before, abs=1e-9)
    else:
        ends = np.array([condition.lower[0], condition.upper[0]])
        times, weights = np.polynomial.legendre.leggauss(60)
        flux = [entropy_solution(condition, ends, t / 2 * (s + 1))[0] ** 2 / 2 for s in times]
        inflow = t / 2 * sum(w * (f[0] - f[1]) for w, f in zip(weights, flux, strict=True))
        assert u - before == pytest.approx(inflow, abs=1e-9)


def _average(condition, t):
    """Integral over the unit interval by Gauss points between shocks and jumps, kinks missed by 1e-9."""
    if t == 0:
        breaks = np.asarray([j for j in condition.jumps if 0 < j < 1])
    else:
        breaks = shock_positions(condition, t, smallest=1e-6)[0]
    # Fans end in kinks; 40000 cells of four points put their error at (slope 5) h^2 < 1e-8 / 3.
    edges = np.unique(np.concatenate([np.linspace(0, 1, 40_001), breaks]))
    nodes, weights = np.polynomial.legendre.leggauss(4)
    width = np.diff(edges)
    total = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        x = edges[:-1] + 0.5 * (node + 1) * width
        total += np.sum(0.5 * width * weight * entropy_solution(condition, x, t)[0])
    return total


def brute_force(condition, x, t, cells=200_000):
    """Lax-Hopf by trying every cell edge as a foot, with a midpoint primitive."""
    (lower,), (upper,) = condition.lower, condition.upper
    (end,) = condition.ends
    edges = np.linspace(lower - 1.5, upper + 1.5, cells + 1)
    middle = 0.5 * (edges[:-1] + edges[1:])
    if end == "periodic":
        middle = lower + np.mod(middle - lower, upper - lower)
    elif end == "outflow":
        middle = np.clip(middle, lower, upper)
    width = edges[1] - edges[0]
    primitive = np.concatenate([[0.0], np.cumsum(condition(middle)[0] * width)])
    feet = np.array([edges[np.argmin(primitive + (x_i - edges) ** 2 / (2 * t))] for x_i in x])
    return (x - feet) / t


@pytest.mark.parametrize("name", [*BURGERS_1D, *RANDOM_BURGERS])
def test_brute_force_agrees(name):
    condition = burgers_1d(name) if name in BURGERS_1D else RANDOM_BURGERS[name](np.random.default_rng(7))
    t = 0.25
    x = centres(61)
    # Not within a brute-force cell (2e-5) of a shock, where it takes either side.
    shocks = shock_positions(condition, t)[0]
    if shocks.size:
        x = x[np.abs(x[:, None] - shocks).min(axis=1) > 1e-3]
    error = np.abs(entropy_solution(condition, x, t)[0] - brute_force(condition, x, t))
    # Feet lie on a grid of 2e-5, less well where the minimum is flat: width / t times a few.
    assert error.max() < 1e-3


def test_linear_end_stays_linear():
    x = centres(100)
    for t in (0.2, 2.0):
        np.testing.assert_allclose(solve("line", x, t), (2 - 0.1 * x) / (1 - 0.1 * t), atol=ROUNDING)


def test_shifts_move_the_solution():
    x = centres(256)
    for name, t in (("other-sine", 0.2), ("accelshock-periodic", 0.1)):
        moved = entropy_solution(burgers_1d(name).shifted(0.3), x, t)
        still = entropy_solution(burgers_1d(name), np.mod(x - 0.3, 1), t)
        np.testing.assert_allclose(moved, still, atol=1e-12)
    shifted = burgers_1d("shock").shifted(1 / 400)
    assert shock_positions(shifted, 0.2)[0][0] == pytest.approx(0.6525, abs=1e-13)


def test_periodic_for_long():
    # After t the sine is a sawtooth of slope 1/t (1 + 2 pi A t -> 1): far from the shock, u t / x -> 1 slowly.
    t = 50.0
    x = centres(200)
    u = solve("smooth-sine", x, t)
    foot_slope = 2 * np.pi * SINE_AMPLITUDE
    np.testing.assert_allclose(u[:20], x[:20] * foot_slope / (1 + foot_slope * t), rtol=1e-4)  # sin(z) = z to z^2/6
    assert shock_positions(burgers_1d("smooth-sine"), t)[0][0] == pytest.approx(0.5, abs=1e-11)


def test_time_zero_and_order_of_points():
    x = centres(64)
    np.testing.assert_array_equal(solve("gaussian", x, 0.0), burgers_1d("gaussian")(x)[0])
    mixed = np.random.default_rng(0).permutation(x)
    np.testing.assert_array_equal(np.sort(solve("gaussian", mixed, 0.2)), np.sort(solve("gaussian", x, 0.2)))
    u_one = solve("gaussian", x[10:11], 0.2)
    np.testing.assert_allclose(u_one, solve("gaussian", x, 0.2)[10], atol=ROUNDING)
    assert entropy_solution(burgers_1d("gaussian"), np.zeros(0), 0.2).shape == (1, 0)


def test_fast_enough():
    x = centres(1024)
    start = time.perf_counter()
    entropy_solution(burgers_1d("other-sine"), x, 0.2)
    assert time.perf_counter() - start < 1.0  # 4 ms on a quiet core


def test_plane_of_the_diagonal():
    condition = burgers_2d("jsz7")
    x, y = condition.points((16, 16))
    t = 0.2  # before the shock at 1 / pi
    u = plane_entropy_solution(condition, x, y, t)
    assert u.shape == (1, 16, 16)
    # u = u0(x - u t, y - u t)
    np.testing.assert_allclose(u, condition(x - u[0] * t, y - u[0] * t), atol=ROUNDING)
    after = plane_entropy_solution(condition, x, y, 0.5)
    np.testing.assert_allclose(after[0, 3, 5:], after[0, 5, 3:14], atol=ROUNDING)
    moved = plane_entropy_solution(condition.shifted(0.25, 0.0), x, y, 0.5)
    np.testing.assert_allclose(moved[0, 1:], after[0, :-1], atol=1e-12)


def test_plane_along_an_axis():
    condition = burgers_2d("1d-accelshock-y")
    x, y = condition.points((3, 32))
    np.testing.assert_allclose(
        plane_entropy_solution(condition, x, y, 0.2)[0, 1], solve("accelshock", y[1], 0.2), atol=ROUNDING
    )


def test_misuse():
    x = centres(4)
    with pytest.raises(ValueError, match="time of at least 0"):
        solve("shock", x, -0.1)
    with pytest.raises(ValueError, match="positive time"):
        shock_positions(burgers_1d("shock"), 0.0)
    with pytest.raises(ValueError, match="finite points"):
        solve("shock", [np.nan], 0.1)
    with pytest.raises(ValueError, match="has 2 dimensions; expected one"):
        entropy_solution(burgers_2d("jsz7"), x, 0.1)
    with pytest.raises(ValueError, match="reflecting end"):
        entropy_solution(line_condition("wall", lambda x: x, "reflecting"), x, 0.1)
    with pytest.raises(ValueError, match="line: no characteristics reach the domain from both sides at t = 10"):
        solve("line", x, 10.0)
    with pytest.raises(ValueError, match="jsz7, 1d-NAME-x"):
        plane_entropy_solution(burgers_2d("gaussian"), x, x, 0.1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("other-sine", (0.150, 0.112, 0.112)),
        ("gaussian", (0.0, 0.102, 0.073)),
        ("smooth-sine", (0.0, 0.0, 0.0)),
        ("smooth-rare", (0.0, 0.0, 0.0)),
    ],
)
def test_published_references_are_wrong_after_shocks(name, expected):
    # Errors measured for the published root finders on 64, 128 and 256 cells at t = 0.2, to three decimals.
    condition = burgers_1d(name)
    for n, value in zip((64, 128, 256), expected, strict=True):
        x = centres(n)
        error = l2(published_reference(condition, x, 0.2) - entropy_solution(condition, x, 0.2))
        assert error == pytest.approx(value, abs=5e-4 if value else 1e-11)  # the root finder stops at 2e-12


@pytest.mark.parametrize("name", [name for name in (*IMPLICIT_REACH, *FORMULA) if name in BURGERS_1D])
def test_published_references_are_right_before_shocks(name):
    x = centres(64)
    condition = burgers_1d(name)
    for t in (0.0, 0.09):
        error = published_reference(condition, x, t) - entropy_solution(condition, x, t)
        assert np.abs(error).max() < 1e-10  # the root finder's 2e-12 times a slope of up to 60


def test_published_references_only_where_there_were_any():
    with pytest.raises(ValueError, match=r"sawtooth has no published reference; valid: smooth-sine, "):
        published_reference(burgers_1d("sawtooth"), centres(4), 0.1)
