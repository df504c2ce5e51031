"""The exact Riemann solver against Toro's tables, jump conditions, invariants, symmetries and conservation."""

from itertools import pairwise

import numpy as np
import pytest

from closura.initial.gas import EULER_1D, euler_1d, euler_2d, random_tube, riemann_sides, tube
from closura.problems.laws.riemann import (
    exact_riemann,
    exact_riemann_plane,
    riemann_solution,
    shock_positions,
    star_state,
)

GAMMA = 1.4
# Toro 2009, table 4.1 (data) and table 4.3 (p*, u*, densities left and right of the contact).
TORO = {
    "sod": ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), (0.30313, 0.92745, 0.42632, 0.26557)),
    "123": ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), (0.00189, 0.0, 0.02185, 0.02185)),
    "left blast": ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), (460.894, 19.5975, 0.57506, 5.99924)),
    "right blast": ((1.0, 0.0, 0.01), (1.0, 0.0, 100.0), (46.0950, -6.19633, 5.99242, 0.57511)),
    "collision": (
        (5.99924, 19.5975, 460.894),
        (5.99242, -6.19633, 46.0950),
        (1691.64, 8.68975, 14.2823, 31.0426),
    ),
}
PAIRS = {name: (left, right) for name, (left, right, _) in TORO.items()}
PAIRS |= {name: riemann_sides(c)[:2] for name, c in EULER_1D.items() if c.reference == "riemann"}
_RNG = np.random.default_rng(5)
PAIRS |= {f"random {i}": riemann_sides(random_tube(_RNG))[:2] for i in range(20)}
everywhere = pytest.mark.parametrize("name", PAIRS)


def conserved(w):
    return np.stack([w[0], w[0] * w[1], w[2] / (GAMMA - 1) + w[0] * w[1] ** 2 / 2])


def flux(w):
    energy = conserved(w)[2]
    return np.stack([w[0] * w[1], w[0] * w[1] ** 2 + w[2], w[1] * (energy + w[2])])


@pytest.mark.parametrize("name", TORO)
def test_star_states_of_the_table(name):
    left, right, printed = TORO[name]
    star = star_state(left, right)
    got = (star.pressure, star.velocity, star.density_left, star.density_right)
    # The table prints six digits or five decimals, and cuts some off (1691.6469 is printed as 1691.64).
    np.testing.assert_allclose(got, printed, rtol=6e-6, atol=6e-6)


@everywhere
def test_mass_momentum_and_energy_are_conserved(name):
    # Over [-s, s] at t = 1 with all waves inside: integral of q = s (q_L + q_R) - (f_R - f_L). Independent of how the
    # solution was found: it holds only if speeds, jumps and fans all fit.
    left, right = (np.asarray(s, np.float64) for s in PAIRS[name])
    star = star_state(left, right)
    edges = [star.left.head, star.left.tail, star.velocity, star.right.tail, star.right.head]
    s = 1.1 * np.max(np.abs(edges))
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = np.zeros(3)
    edges = [-s, *edges, s]
    for low, high in pairwise(edges):  # Gauss between kinks and jumps: exact to rounding
        ray = (low + high) / 2 + (high - low) / 2 * nodes
        total += (high - low) / 2 * (conserved(riemann_solution(left, right, ray)) @ weights)
    expected = s * (conserved(left) + conserved(right)) - (flux(right) - flux(left))
    scale = s * np.abs(conserved(left) + conserved(right)) + np.abs(flux(left)) + np.abs(flux(right))
    # 60 points integrate powers in a fan to rounding, except near a vacuum (123, sod2), where 1e-9 is left.
    np.testing.assert_array_less(np.abs(total - expected), 1e-9 * scale)


@everywhere
def test_rankine_hugoniot_and_lax_at_shocks(name):
    left, right = PAIRS[name]
    star = star_state(left, right)
    before = {"left": left, "right": right}
    behind = {
        "left": (star.density_left, star.velocity, star.pressure),
        "right": (star.density_right, star.velocity, star.pressure),
    }
    for side, wave, sign in (("left", star.left, -1), ("right", star.right, 1)):
        if wave.kind == "shock":
            one, two = (np.asarray(w[side], np.float64) for w in (before, behind))
            residual = flux(two) - flux(one) - wave.head * (conserved(two) - conserved(one))
            # Rounding of fluxes of that size: a few hundred units of the last digit.
            assert np.all(np.abs(residual) <= 1e-13 * (np.abs(flux(one)) + np.abs(flux(two))).max())
            # Lax: characteristics run into the shock from both sides (to rounding, for the weakest of them).
            ahead, following = (sign * w[1] + np.sqrt(GAMMA * w[2] / w[0]) for w in (one, two))
            assert ahead * (1 - 1e-12) <= sign * wave.head <= following * (1 + 1e-12)


@everywhere
def test_invariants_through_fans(name):
    left, right = PAIRS[name]
    star = star_state(left, right)
    for side, wave, sign in ((left, star.left, -1), (right, star.right, 1)):
        if wave.kind != "rarefaction":
            continue
        ray = np.linspace(wave.head, wave.tail, 101)[1:-1]
        rho, v, p = riemann_solution(left, right, ray)
        c = np.sqrt(GAMMA * p / rho)
        c_side = np.sqrt(GAMMA * side[2] / side[0])
        # Isentropic, one Riemann invariant constant, the ray a characteristic; rounding of powers.
        np.testing.assert_allclose(p / rho**GAMMA, side[2] / side[0] ** GAMMA, rtol=1e-12)
        size = abs(side[1]) + 5 * c_side
        np.testing.assert_allclose(v - sign * 5 * c, side[1] - sign * 5 * c_side, atol=1e-13 * size)
        np.testing.assert_allclose(v + sign * c, ray, atol=1e-13 * size)


@everywhere
def test_edges_of_fans_meet_their_neighbours(name):
    left, right = PAIRS[name]
    star = star_state(left, right)
    for wave in (star.left, star.right):
        if wave.kind == "rarefaction" and wave.strength > 1e-6:
            width = wave.tail - wave.head
            for edge in (wave.head, wave.tail):
                two = riemann_solution(left, right, np.array([edge - 1e-9 * width, edge + 1e-9 * width]))
                # Continuous: a change of 1e-9 of the fan's own variation, up to the steepness at its edge.
                np.testing.assert_allclose(two[:, 0], two[:, 1], rtol=1e-6, atol=1e-7)


@everywhere
def test_reflection_is_exact(name):
    left, right = PAIRS[name]
    xi = np.linspace(-30, 30, 2001) + 1e-3  # no ray on the contact of a symmetric problem
    there = riemann_solution(left, right, xi)
    mirror = lambda w: (w[0], -w[1], w[2])
    back = riemann_solution(mirror(right), mirror(left), -xi)
    # The two halves run the same arithmetic.
    np.testing.assert_array_equal(there, np.stack(mirror(back)))


@everywhere
@pytest.mark.parametrize("frame", [-3.0, 0.7])
def test_galilean_invariance(name, frame):
    left, right = PAIRS[name]
    star = star_state(left, right)
    waves = [star.left.head, star.left.tail, star.velocity, star.right.tail, star.right.head]
    xi = np.linspace(-30, 30, 2001)
    # Rays that are not on a jump, whose side may change by rounding.
    xi = xi[np.min(np.abs(xi[:, None] - np.asarray(waves)), axis=1) > 1e-6]
    move = lambda w: (w[0], w[1] + frame, w[2])
    at_rest = riemann_solution(left, right, xi)
    moving = riemann_solution(move(left), move(right), xi + frame)
    # Near a vacuum a rounding of v of 1e-15 is a relative change of the pressure of 7 / c times that.
    np.testing.assert_allclose(moving - np.array([[0.0], [frame], [0.0]]), at_rest, rtol=1e-10, atol=1e-12)


def test_scales_of_units():
    left, right = PAIRS["lax"]
    xi = np.linspace(-4, 4, 400)
    scaled = riemann_solution(*((5 * r, 3 * v, 45 * p) for r, v, p in (left, right)), 3 * xi)
    expected = np.array([[5.0], [3.0], [45.0]]) * riemann_solution(left, right, xi)
    np.testing.assert_allclose(scaled, expected, rtol=1e-12, atol=1e-13)  # rounding


def test_equal_states_stay_and_contacts_travel():
    xi = np.linspace(-5, 5, 101)
    same = riemann_solution((1.3, 0.4, 0.7), (1.3, 0.4, 0.7), xi)
    np.testing.assert_allclose(same, np.broadcast_to([[1.3], [0.4], [0.7]], same.shape), rtol=1e-14)  # rounding
    contact = riemann_solution((1.0, 0.41, 0.7), (3.0, 0.41, 0.7), xi)
    np.testing.assert_allclose(contact[0], np.where(xi < 0.41, 1.0, 3.0), rtol=1e-14)
    np.testing.assert_allclose(contact[1:], np.broadcast_to([[0.41], [0.7]], (2, 101)), rtol=1e-14)


def test_extreme_ratios_converge():
    # Pressure ratios of 1e14 and a Mach number of 1e4: f at the root is zero to rounding.
    for left, right in (
        ((1.0, 0.0, 1e7), (1.0, 0.0, 1e-7)),
        ((1.0, 1e4, 1.0), (1.0, -1e4, 1.0)),
        ((1.0, -5.9, 1.0), (1.0, 5.9, 1.0)),
        ((1e-6, 0.0, 1e-6), (1.0, 0.0, 1e-6)),
    ):
        star = star_state(left, right)
        for side, wave, rho in ((left, star.left, star.density_left), (right, star.right, star.density_right)):
            assert star.pressure > 0
            assert rho > 0
            if wave.kind == "shock":
                mass = side[0] * (side[1] - wave.head)
                assert rho * (star.velocity - wave.head) == pytest.approx(mass, rel=1e-9)  # cancellation in v - S


@pytest.mark.parametrize("gamma", [1.1, 5 / 3, 2.0])
def test_other_gases(gamma):
    star = star_state((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), gamma)
    ratio = (gamma - 1) / (gamma + 1)
    q = star.pressure / 0.1
    assert star.density_right == pytest.approx(0.125 * (q + ratio) / (ratio * q + 1), rel=1e-14)
    mass = 0.125 * (0.0 - star.right.head)
    assert star.density_right * (star.velocity - star.right.head) == pytest.approx(mass, rel=1e-12)  # rounding
    assert star.pressure - 0.1 == pytest.approx(-mass * star.velocity, rel=1e-12)


def test_exact_solutions_of_conditions():
    sod = euler_1d("sod")
    x = sod.points((128,))[0]
    np.testing.assert_array_equal(exact_riemann(sod, x, 0.0), sod(x))
    late = exact_riemann(sod, x, 0.2)
    assert late.shape == (3, 128)
    assert late.dtype == np.float64
    assert np.sum(late[2] < 0.2) == np.sum(x > 0.2 * 1.7521557320301779)  # behind the shock p = 0.303, ahead 0.1
    np.testing.assert_allclose(shock_positions(sod, 0.2), [0.35043114640603552], rtol=1e-14)
    moved = sod.shifted(0.003)
    np.testing.assert_allclose(exact_riemann(moved, x + 0.003, 0.2), late, rtol=1e-11, atol=1e-12)  # rounding of x - x0
    np.testing.assert_allclose(shock_positions(moved, 0.2), [0.35343114640603552], rtol=1e-14)
    np.testing.assert_array_equal(shock_positions(moved, 0.0), [0.003])


def test_shock_positions_of_the_named_conditions():
    assert shock_positions(euler_1d("double-rarefaction"), 0.15).shape == (0,)
    assert shock_positions(euler_1d("double-rarefaction"), 0.0).shape == (0,)
    # One shock each: the other wave is the rounding of the published states.
    np.testing.assert_allclose(shock_positions(euler_1d("slow-shock"), 0.2), [0.0927], atol=5e-5)
    np.testing.assert_allclose(shock_positions(euler_1d("slow-moving-shock"), 0.2), [0.02195], atol=5e-6)
    assert len(shock_positions(euler_1d("slow-moving-shock"), 0.2, weakest=0.0)) == 2
    # The stronger of the two comes first, here the right one.
    weak_left = tube("two-shocks", (1.0, 3.0, 1.0), (0.5, -3.0, 0.1), time=0.1)
    first, second = shock_positions(weak_left, 0.1)
    star = star_state(*riemann_sides(weak_left)[:2])
    assert star.right.strength > star.left.strength
    assert (first, second) == (0.1 * star.right.head, 0.1 * star.left.head)
    lax = shock_positions(euler_1d("lax"), 0.14)
    np.testing.assert_allclose(lax, [0.14 * 2.4793214809898405], rtol=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_tubes_laid_in_a_plane(axis):
    condition = euler_2d(f"1d-lax-{'xy'[axis]}")
    x, y = condition.points((16, 12))
    field = exact_riemann_plane(condition, x, y, 0.1)
    line = exact_riemann(euler_1d("lax"), (x, y)[axis], 0.1)
    np.testing.assert_array_equal(field[[0, 1 + axis, 3]], line)
    np.testing.assert_array_equal(field[2 - axis], 0.0)
    with pytest.raises(ValueError, match="1d-sod-x"):
        exact_riemann_plane(euler_2d("riemann-3"), x, y, 0.1)


@pytest.mark.parametrize("configuration", ["riemann-3", "riemann-4", "riemann-6", "riemann-12"])
def test_neighbouring_quadrants_are_joined_by_one_wave(configuration):
    # Lax and Liu choose states so that every edge of the quadrants carries a single wave: with a second one, the
    # star pressure would differ from both sides. 1e-3: the states are rounded to four digits.
    condition = euler_2d(configuration)
    at = np.array([0.75, 0.25, 0.25, 0.75]), np.array([0.75, 0.75, 0.25, 0.25])
    upper_right, upper_left, lower_left, lower_right = condition(*at).T
    edges = (
        (upper_left, upper_right, 1),
        (lower_left, lower_right, 1),
        (lower_left, upper_left, 2),
        (lower_right, upper_right, 2),
    )
    for low, high, normal in edges:
        star = star_state(low[[0, normal, 3]], high[[0, normal, 3]])
        assert min(star.left.strength, star.right.strength) < 4e-3
        if star.left.strength > 4e-3 or star.right.strength > 4e-3:
            assert low[3 - normal] == high[3 - normal]  # a shock keeps the velocity along itself


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ((1.0, 0.0, -1.0), (1.0, 0.0, 1.0), r"pressure of the left state must be positive; got -1\.0.*primitive"),
        ((1.0, 0.0, 1.0), (0.0, 0.0, 1.0), r"density of the right state must be positive; got 0\.0.*vacuum"),
        ((1.0, np.nan, 1.0), (1.0, 0.0, 1.0), "left state .* is not finite"),
        ((1.0, 0.0, 1.0), (1.0, np.inf, 1.0), "right state .* is not finite"),
        ((1.0, 0.0), (1.0, 0.0, 1.0), "left state: expected three numbers .* got 2"),
        ((1.0, -10.0, 1.0), (1.0, 10.0, 1.0), r"vacuum opens .* differ by 20, .* up to 11\.8"),
    ],
)
def test_bad_states_are_refused(left, right, message):
    with pytest.raises(ValueError, match=message):
        riemann_solution(left, right, np.zeros(3))


def test_other_bad_input_is_refused():
    sod = euler_1d("sod")
    with pytest.raises(ValueError, match="gamma"):
        star_state((1.0, 0.0, 1.0), (1.0, 0.0, 1.0), 1.0)
    with pytest.raises(ValueError, match="no number"):
        riemann_solution((1.0, 0.0, 1.0), (1.0, 0.0, 1.0), np.array([np.nan]))
    for t in (-0.1, np.nan):
        with pytest.raises(ValueError, match="time of at least 0"):
            exact_riemann(sod, np.zeros(2), t)
        with pytest.raises(ValueError, match="time of at least 0"):
            shock_positions(sod, t)
    with pytest.raises(ValueError, match=r"'shu-osher' is no Riemann problem.*lax.*finer grid"):
        exact_riemann(euler_1d("shu-osher"), np.zeros(2), 0.1)


# All gases and strengths: against bisection in extended precision, which shares no line with the solver.

EPSILON = float(np.finfo(np.longdouble).eps)


def branch(s, rho, p, gamma):
    """``f`` and its derivative by ``log p``, as Toro 2009, section 4.2, prints them."""
    star = np.exp(s)
    a, b = 2 / ((gamma + 1) * rho), (gamma - 1) / (gamma + 1) * p
    c, z = np.sqrt(gamma * p / rho), (gamma - 1) / (2 * gamma)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        shock = (star - p) * np.sqrt(a / (star + b))
        steep = star * np.sqrt(a / (star + b)) * (1 - (star - p) / (2 * (star + b)))
        fan = 2 * c / (gamma - 1) * np.expm1(z * (s - np.log(p)))
        return np.where(star > p, shock, fan), np.where(star > p, steep, c / gamma * np.exp(z * (s - np.log(p))))


def bisected(left, right, gamma):
    """``log p*``, velocity, and how much a rounding of the velocities moves ``log p*``; columns of problems."""
    left, right = np.asarray(left, np.longdouble), np.asarray(right, np.longdouble)
    low, high = np.full(left.shape[1], -1e8, np.longdouble), np.full(left.shape[1], 700, np.longdouble)
    for _ in range(100):
        middle = (low + high) / 2
        value = branch(middle, left[0], left[2], gamma)[0] + branch(middle, right[0], right[2], gamma)[0]
        above = value + right[1] - left[1] > 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    s = (low + high) / 2
    (f_l, slope_l), (f_r, slope_r) = branch(s, left[0], left[2], gamma), branch(s, right[0], right[2], gamma)
    size = np.abs(f_l) + np.abs(f_r) + np.abs(left[1]) + np.abs(right[1])
    v = np.where(slope_l < slope_r, left[1] - f_l, right[1] + f_r)
    return s, v, size / (slope_l + slope_r), size


def problems(kind, number, rng):
    """Random states of a kind, columns ``(rho, v, p)``, and the gases."""
    gamma = 1 + 10 ** rng.uniform(-4, np.log10(9), number)
    rho = 10 ** rng.uniform(-3, 3, (2, number))
    p = 10 ** rng.uniform(-10, 6, (2, number)) if kind != "usual" else 10 ** rng.uniform(-2, 2, (2, number))
    sound = np.sqrt(gamma * p / rho)
    most = 2 / (gamma - 1) * sound.sum(0)
    if kind == "near vacuum":
        # Velocities are rounded: closer than this, float64 cannot say how far from the vacuum they are.
        jump = most * (1 - 10 ** rng.uniform(-6, 0, number))
    elif kind == "collisions":
        jump = -(10 ** rng.uniform(-3, 6, number))
    else:
        jump = np.minimum(rng.uniform(-5, 5, number) * sound.max(0), 0.9 * most)
    v = rng.normal(size=number) * sound.min(0)
    return np.stack([rho[0], v, p[0]]), np.stack([rho[1], v + jump, p[1]]), gamma


@pytest.mark.parametrize("kind", ["usual", "strong", "collisions", "near vacuum"])
def test_random_problems_of_all_gases(kind):
    left, right, gamma = problems(kind, 750, np.random.default_rng(3))
    logs, v, condition, size = bisected(left, right, gamma)
    for i in range(len(gamma)):
        star = star_state(left[:, i], right[:, i], gamma[i])
        given = (kind, left[:, i], right[:, i], gamma[i])
        # Rounding: of the pressure, and of velocities as they move the pressure.
        allowed = (2e-14 if EPSILON < 1e-17 else 1e-12) * (1 + float(condition[i]) + abs(float(logs[i])))
        if logs[i] > -690:
            assert abs(np.log(star.pressure) - float(logs[i])) <= allowed, given
        else:
            assert star.pressure < 1e-299, given
        assert abs(star.velocity - float(v[i])) <= 1e-13 * float(size[i] + abs(v[i])), given


@pytest.mark.parametrize("gamma", [1.0001, 1.001, 1.01, 1.05, 1.1, 1.2, 1.4, 5 / 3, 3.0, 10.0])
@pytest.mark.parametrize("pressure", [1e-4, 1e-8, 1e-300])
def test_cold_streams_collide(gamma, pressure):
    # Both shocks are as strong as they get: p* = (gamma + 1) / 2 rho v^2 to first order in the cold gas's pressure, and
    # rho* = rho (gamma + 1) / (gamma - 1) but for what its Mach number leaves, 2 gamma p / ((gamma - 1) rho w^2).
    star = star_state((1.0, 10.0, pressure), (1.0, -10.0, pressure), gamma)
    assert star.pressure == pytest.approx((gamma + 1) / 2 * 100, rel=4 * pressure + 1e-13)
    assert star.velocity == 0.0
    assert (star.left.kind, star.right.kind) == ("shock", "shock")
    thinner = 2 * gamma * pressure / ((gamma - 1) * 25 * (gamma + 1) ** 2)
    assert star.density_left == pytest.approx((gamma + 1) / (gamma - 1), rel=2 * thinner + 1e-13)
    # Mass: the gas comes in at w = 10 - S and stays at rest behind. S is what 10 leaves: rounding of logarithms stays.
    lost = 1e-15 * (10 + np.log(star.pressure / pressure)) * star.density_left
    assert star.density_left * -star.left.head == pytest.approx(10.0 - star.left.head, abs=10 * lost)


@pytest.mark.parametrize("gamma", [1.0001, 1.01, 1.1, 1.4, 3.0, 10.0])
@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_fans_near_vacuum(gamma, part):
    # The gas expands into a part of the velocity that would tear it apart. Isentropic to rounding, in logarithms: for
    # gamma near 1 powers of 20,000 stand in the fan, and gas soon thins to nothing.
    c = np.sqrt(gamma)
    v = 2 * c / (gamma - 1) * part
    left, right = (1.0, -v, 1.0), (1.0, v, 1.0)
    star = star_state(left, right, gamma)
    assert star.velocity == 0.0
    # c* = c (1 - part), so p* = (1 - part)^(2 gamma / (gamma - 1)); velocities of size v are rounded.
    log = 2 * gamma / (gamma - 1) * np.log1p(-part)
    rounding = 1e-15 * gamma / (1 - part) * (1 + 1 / (gamma - 1)) * 4
    if log > -700:
        assert np.log(star.pressure) == pytest.approx(log, abs=rounding)
        assert np.log(star.density_left) == pytest.approx(log / gamma, abs=rounding)
    else:
        assert star.pressure == 0.0
    assert star.left.head == pytest.approx(-v - c, rel=1e-14)
    assert star.left.tail == pytest.approx(-c * (1 - part), rel=1e-11)
    ray = np.linspace(star.left.head, star.left.head + min(3 * c, star.left.tail - star.left.head), 50)[1:-1]
    rho, u, p = riemann_solution(left, right, ray, gamma)
    change = (gamma - 1) / (gamma + 1) * (ray - star.left.head) / c
    np.testing.assert_allclose(np.log(rho), 2 / (gamma - 1) * np.log1p(-change), rtol=1e-11, atol=1e-13 * v)
    np.testing.assert_allclose(np.log(p), gamma * np.log(rho), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(u - np.sqrt(gamma * p / rho), ray, rtol=1e-12)


def test_ends_of_the_range():
    # Pressures 600 decades apart: a strong shock into the thin gas, found without overflow.
    star = star_state((1.0, 0.0, 1e300), (1.0, 0.0, 1e-300), 1.4)
    assert star.density_right == pytest.approx(6.0, rel=1e-13)
    assert star.right.head == pytest.approx(1.2 * star.velocity, rel=1e-13)
    assert star.pressure == pytest.approx(1.2 * star.velocity**2, rel=1e-12)
    with pytest.raises(ValueError, match="range of float64"):
        star_state((1.0, 1e200, 1.0), (1.0, -1e200, 1.0))
    with pytest.raises(ValueError, match="range of float64"):
        star_state((1.0, 1.7e308, 1.0), (1.0, -1.7e308, 1.0))
    for gamma in (np.inf, np.nan, 1.0, 0.9):
        with pytest.raises(ValueError, match="gamma"):
            star_state((1.0, 0.0, 1.0), (1.0, 0.0, 1.0), gamma)


@pytest.mark.parametrize("gamma", [1.0001, 1.05, 1.4, 10.0])
def test_vacuum_is_refused_for_all_gases(gamma):
    v = 2 * np.sqrt(gamma) / (gamma - 1)
    with pytest.raises(ValueError, match="vacuum opens"):
        star_state((1.0, -v * (1 + 1e-12), 1.0), (1.0, v * (1 + 1e-12), 1.0), gamma)
    assert star_state((1.0, -v * (1 - 1e-9), 1.0), (1.0, v * (1 - 1e-9), 1.0), gamma).velocity == 0.0


def test_a_pressure_that_is_not_found_raises(monkeypatch):
    monkeypatch.setattr("closura.problems.laws.riemann.brentq", lambda residual, low, high, **_: high)
    with pytest.raises(ArithmeticError, match=r"was not found.*velocities differ by"):
        star_state((1.0, 10.0, 1e-3), (1.0, -10.0, 1e-3))
