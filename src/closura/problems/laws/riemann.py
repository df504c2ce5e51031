r"""The exact solution of the Riemann problem of an ideal gas in one dimension, on the host in float64.

Two constant states become four, parted by a left wave (shock or rarefaction), a contact and a right wave. Pressure
and velocity between the outer waves solve

    f(p, left) + f(p, right) + v_R - v_L = 0,    v = (v_L + v_R + f(p, right) - f(p, left)) / 2,
    f(p, K) = (p - p_K) sqrt(A / (p + B))                      shock, p > p_K,
              2 c_K / (gamma - 1) ((p / p_K)^z - 1)            rarefaction, p <= p_K,

with ``A = 2 / ((gamma + 1) rho_K)``, ``B = p_K (gamma - 1) / (gamma + 1)``, ``z = (gamma - 1) / (2 gamma)``.

Source: E. F. Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics, 3rd edition, Springer 2009, chapter 4.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64
from scipy.optimize import brentq

from closura.initial.condition import InitialCondition, line_of
from closura.initial.gas import riemann_sides

_LARGEST_LOG = math.log(sys.float_info.max)

Side = Sequence[float] | Float[np.ndarray, "3"]
"""Density, velocity, pressure."""


@dataclass(frozen=True)
class Wave:
    """An outer wave of a Riemann problem.

    Parameters
    ----------
    kind
        ``"shock"`` or ``"rarefaction"``.
    head, tail
        Speeds of the edge towards the undisturbed gas and of the other one; the same number for a shock.
    strength
        ``|p* - p| / min(p, p*)`` of the pressures before and behind.
    """

    kind: Literal["shock", "rarefaction"]
    head: float
    tail: float
    strength: float


@dataclass(frozen=True)
class Star:
    """What lies between the outer waves: one pressure and velocity, two densities parted by the contact."""

    pressure: float
    velocity: float
    density_left: float
    density_right: float
    left: Wave
    right: Wave


def _checked(state: Side, where: str, gamma: float) -> tuple[float, float, float]:
    if not 1 < gamma < math.inf:
        raise ValueError(f"gamma: expected a finite ratio of heat capacities above 1; got {gamma}")
    if len(state) != 3:
        raise ValueError(f"the {where} state: expected three numbers (rho, v, p); got {len(state)}")
    rho, v, p = (float(s) for s in state)
    if not all(math.isfinite(s) for s in (rho, v, p)):
        raise ValueError(f"the {where} state (rho, v, p) = {(rho, v, p)} is not finite: check where it comes from")
    for name, value in (("density", rho), ("pressure", p)):
        if not value > 0:
            raise ValueError(
                f"the {name} of the {where} state must be positive; got {value} in (rho, v, p) = {(rho, v, p)}: give "
                "primitive variables, not conserved ones; a state of vacuum has no solution here"
            )
    return rho, v, p


def _log_ratio(p: float, p_side: float) -> float:
    """``log(p / p_side)`` with all digits of nearly equal pressures, and of quotients beyond float64."""
    q = p / p_side
    if 0.5 < q < 2:
        return math.log1p((p - p_side) / p_side)
    return math.log(q) if 1e-300 < q < 1e300 else math.log(p) - math.log(p_side)


def _exponential(x: float) -> float:
    """``exp(x)``, infinite where float64 ends."""
    return math.exp(x) if x < _LARGEST_LOG else math.inf


def _branch(log: float, c: float, gamma: float) -> tuple[float, float]:
    """``f(p, K)`` and its derivative by ``log p``, for ``log = log(p / p_K)`` (Toro 2009, eqs. 4.6, 4.7, 4.37).

    In this variable neither branch over- nor underflows: with ``q = p / p_K`` and
    ``r = (gamma - 1) / (gamma + 1)`` the shock's is ``c sqrt(2 / (gamma (gamma + 1))) (q - 1) / sqrt(q + r)``.
    """
    if log <= 0:
        # expm1 keeps the digits of weak waves, and of all waves for gamma near 1.
        weaker = math.expm1((gamma - 1) / (2 * gamma) * log)
        return 2 * c / (gamma - 1) * weaker, c / gamma * (1 + weaker)
    r, inverse = (gamma - 1) / (gamma + 1), math.exp(-log)
    size = c * math.sqrt(2 / (gamma * (gamma + 1))) * _exponential(log / 2) / math.sqrt(1 + r * inverse)
    slope = size * (1 + (2 * r + 1) * inverse) / (2 * (1 + r * inverse))
    return -size * math.expm1(-log), slope


def _wave(
    sign: int, log: float, v: float, side: tuple[float, float, float], c: float, gamma: float
) -> tuple[Wave, float]:
    """The left (-1) or right (+1) wave and the density behind it (Toro 2009, section 4.5)."""
    rho, v_side, _ = side
    strength = math.expm1(abs(log)) if abs(log) < _LARGEST_LOG else math.inf
    if log > 0:
        r, inverse = (gamma - 1) / (gamma + 1), math.exp(-log)
        # c sqrt(1 + (gamma + 1) / (2 gamma) (q - 1)), without q.
        square = (gamma + 1) / (2 * gamma) + (gamma - 1) / (2 * gamma) * inverse
        speed = v_side + sign * c * _exponential(log / 2) * math.sqrt(square)
        return Wave("shock", speed, speed, strength), rho * (1 + r * inverse) / (r + inverse)
    c_star = c * math.exp((gamma - 1) / (2 * gamma) * log)
    return Wave("rarefaction", v_side + sign * c, v + sign * c_star, strength), rho * math.exp(log / gamma)


def star_state(left: Side, right: Side, gamma: float = 1.4) -> Star:
    """Pressure, velocity and densities between the outer waves, and those waves.

    The equation is solved for ``log p``, in which neither branch over- nor underflows, by Brent's method. Two
    rarefactions have a closed form.

    Parameters
    ----------
    left, right
        Density, velocity, pressure on the two sides.
    gamma
        Ratio of heat capacities.

    Returns
    -------
    The state; pressure to a few units of the last digit, relative to the problem's conditioning. A pressure or density
    below the smallest float64 is 0 (two rarefactions just short of a vacuum; soon for gamma near 1).
    """
    one, two = _checked(left, "left", gamma), _checked(right, "right", gamma)
    (_, v_l, p_l), (_, v_r, p_r) = one, two
    c_l, c_r = (math.sqrt(gamma) * math.sqrt(p) / math.sqrt(rho) for rho, _, p in (one, two))
    jump, most = v_r - v_l, 2 / (gamma - 1) * (c_l + c_r)
    if not (math.isfinite(jump) and math.isfinite(most)):
        raise _out_of_range(one, two)
    if jump >= most:
        raise ValueError(
            f"a vacuum opens between the states {one} and {two}: the velocities differ by {jump:.6g}, and these gases "
            f"follow up to {most:.6g}; take a smaller difference or a higher pressure"
        )
    # All logarithms are relative to the larger pressure.
    largest = max(p_l, p_r)
    log_l, log_r = _log_ratio(p_l, largest), _log_ratio(p_r, largest)

    def residual(log: float) -> tuple[float, float]:
        f_l, slope_l = _branch(log - log_l, c_l, gamma)
        f_r, slope_r = _branch(log - log_r, c_r, gamma)
        return f_l + f_r + jump, slope_l + slope_r

    if residual(min(log_l, log_r))[0] >= 0:
        log = _two_rarefactions((log_l, log_r), (c_l, c_r), jump, most, gamma)
    else:
        log = _two_shocks_or_one(residual, min(log_l, log_r))
    (f_l, slope_l), (f_r, slope_r) = _branch(log - log_l, c_l, gamma), _branch(log - log_r, c_r, gamma)
    # What rounding of the inputs and of the logarithms leaves; NaN fails too.
    rounding = 1e-13 * ((slope_l + slope_r) * max(1.0, abs(log)) + abs(v_l) + abs(v_r) + abs(f_l) + abs(f_r))
    if not abs(f_l + f_r + jump) <= rounding:
        raise ArithmeticError(
            f"the pressure between the states {one} and {two} was not found (gamma = {gamma}): velocities differ by "
            f"{f_l + f_r + jump:.3g} across the contact; please report these states"
        )
    # Both sides give the velocity; weighted so that a rounding of the pressure cancels.
    total = slope_l + slope_r
    v = slope_r / total * (v_l - f_l) + slope_l / total * (v_r + f_r)
    left_wave, density_left = _wave(-1, log - log_l, v, one, c_l, gamma)
    right_wave, density_right = _wave(1, log - log_r, v, two, c_r, gamma)
    star = Star(largest * _exponential(log), v, density_left, density_right, left_wave, right_wave)
    if not all(map(math.isfinite, (star.pressure, v, density_left, density_right, left_wave.head, right_wave.head))):
        raise _out_of_range(one, two)
    return star


def _out_of_range(one: Side, two: Side) -> ValueError:
    return ValueError(
        f"the solution between the states {one} and {two} leaves the range of float64: scale density, velocity and "
        "pressure to be closer to 1"
    )


def _two_rarefactions(
    logs: tuple[float, float], c: tuple[float, float], jump: float, most: float, gamma: float
) -> float:
    """``log p`` of two rarefactions (Toro 2009, eq. 4.46), in differences: they are what is left for gamma near 1."""
    z, low = (gamma - 1) / (2 * gamma), min(logs)
    weaker = [math.expm1(z * (low - log)) for log in logs]
    total = c[0] * (1 + weaker[0]) + c[1] * (1 + weaker[1])
    change = -((gamma - 1) / 2 * jump + c[0] * weaker[0] + c[1] * weaker[1]) / total
    if change > -0.5:
        return low + math.log1p(change) / z
    return low + math.log((gamma - 1) / 2 * (most - jump) / total) / z


def _two_shocks_or_one(residual: Callable[[float], tuple[float, float]], low: float) -> float:
    """``log p`` where at least one wave is a shock: the root of a rising function above ``low``."""
    width = max(-low, 1.0)
    while residual(low + width)[0] < 0:
        low, width = low + width, 2 * width
        if width > 1e5:  # float64 ends at differences of 1500
            raise ArithmeticError("no pressure solves the Riemann problem: please report its states")
    log = float(brentq(lambda log: residual(log)[0], low, low + width, maxiter=500))
    value, slope = residual(log)
    return log - value / slope if math.isfinite(value) and slope > 0 else log


def _left_half(
    side: tuple[float, float, float],
    star: tuple[float, float, float],
    wave: Wave,
    xi: Float64[np.ndarray, "*ray"],
    gamma: float,
) -> Float64[np.ndarray, "3 *ray"]:
    """The solution left of the contact: the side, the wave, the star state (Toro 2009, eq. 4.56)."""
    rho, _, p = side
    c = math.sqrt(gamma) * math.sqrt(p) / math.sqrt(rho)
    shape = (3,) + (1,) * xi.ndim
    before, behind = (np.asarray(s, np.float64).reshape(shape) for s in (side, star))
    solution = np.where(xi < wave.tail, before, behind)
    if wave.kind == "rarefaction":
        ray = np.clip(xi, wave.head, wave.tail)
        # The head's own c, less what the fan takes: logarithms keep the digits of large powers, for gamma near 1.
        change = (gamma - 1) / (gamma + 1) * ((wave.head - ray) / c)
        sound = c * (1 + change)
        with np.errstate(divide="ignore", under="ignore"):  # gas thinned to nothing
            log = np.log1p(np.maximum(change, -1.0))
        fan = np.stack(
            [
                rho * np.exp(2 / (gamma - 1) * log),
                ray + sound,
                p * np.exp(2 * gamma / (gamma - 1) * log),
            ]
        )
        solution = np.where((xi > wave.head) & (xi < wave.tail), fan, solution)
    return solution


def riemann_solution(
    left: Side, right: Side, xi: Float[np.ndarray, "*ray"], gamma: float = 1.4
) -> Float64[np.ndarray, "3 *ray"]:
    """The self-similar solution on rays ``xi = (x - x_0) / t``.

    Parameters
    ----------
    left, right
        Density, velocity, pressure on the two sides of ``x_0``.
    xi
        Rays (speeds), any shape; a ray along the contact belongs to its left.
    gamma
        Ratio of heat capacities.

    Returns
    -------
    Density, velocity, pressure ``(3, *ray)``, float64.
    """
    star = star_state(left, right, gamma)
    one, two = _checked(left, "left", gamma), _checked(right, "right", gamma)
    xi = np.asarray(xi, np.float64)
    if np.any(np.isnan(xi)):
        raise ValueError("a ray (x - x_0) / t is no number: at t = 0 take the initial condition itself")
    lefts = _left_half(one, (star.density_left, star.velocity, star.pressure), star.left, xi, gamma)
    # The right half is the left half of the mirrored problem.
    mirrored = Wave(star.right.kind, -star.right.head, -star.right.tail, star.right.strength)
    behind = (star.density_right, -star.velocity, star.pressure)
    rights = _left_half((two[0], -two[1], two[2]), behind, mirrored, -xi, gamma)
    rights[1] = -rights[1]
    return np.where(xi <= star.velocity, lefts, rights)


def exact_riemann(
    condition: InitialCondition, x: Float64[np.ndarray, "*grid"], t: float, gamma: float = 1.4
) -> Float64[np.ndarray, "3 *grid"]:
    """The exact solution ``(rho, v, p)`` of a named or random Riemann problem on the unbounded line at a time."""
    left, right, jump = riemann_sides(condition)
    return riemann_solution(left, right, (x - jump) / t, gamma) if _time(t) else condition(x)


def exact_riemann_plane(
    condition: InitialCondition,
    x: Float64[np.ndarray, "*grid"],
    y: Float64[np.ndarray, "*grid"],
    t: float,
    gamma: float = 1.4,
) -> Float64[np.ndarray, "4 *grid"]:
    """The same of a Riemann problem laid in a plane, as ``1d-sod-x``: ``(rho, v_x, v_y, p)``."""
    line, (_, axis) = line_of(condition)
    rho, v, p = exact_riemann(line, y if axis else x, t, gamma)
    still = np.zeros_like(v)
    return np.stack([rho, still, v, p] if axis else [rho, v, still, p])


def _time(t: float) -> float:
    if not (math.isfinite(t) and t >= 0):
        raise ValueError(f"t: expected a time of at least 0; got {t}")
    return float(t)


def shock_positions(
    condition: InitialCondition, t: float, gamma: float = 1.4, *, weakest: float = 1e-2
) -> Float64[np.ndarray, " shock"]:
    """Where the shocks of a Riemann problem are, the strongest first; contacts are none.

    They may lie outside the domain. ``weakest`` is the least relative rise of pressure of what counts: published states
    are rounded to a few digits, so that a single shock comes with a second one of the size of the rounding.
    """
    left, right, jump = riemann_sides(condition)
    star = star_state(left, right, gamma)
    shocks = [w for w in (star.left, star.right) if w.kind == "shock" and w.strength >= weakest]
    shocks.sort(key=lambda wave: -wave.strength)
    return np.array([jump + w.head * _time(t) for w in shocks], np.float64)
