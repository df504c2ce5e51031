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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64

from closura.fields.gas_plane import line_of
from closura.fields.gas_profiles import riemann_sides
from closura.fields.initial import InitialCondition

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
    if not gamma > 1:
        raise ValueError(f"gamma: expected a ratio of heat capacities above 1; got {gamma}")
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


def _branch(p: float, rho: float, p_side: float, c: float, gamma: float) -> tuple[float, float]:
    """``f(p, K)`` and its derivative (Toro 2009, eqs. 4.6, 4.7, 4.37)."""
    if p > p_side:
        b = p_side * (gamma - 1) / (gamma + 1)
        root = math.sqrt(2 / ((gamma + 1) * rho * (p + b)))
        return (p - p_side) * root, root * (1 - (p - p_side) / (2 * (p + b)))
    log = math.log(p / p_side)
    z = (gamma - 1) / (2 * gamma)
    # expm1 keeps the digits of weak waves.
    return 2 * c / (gamma - 1) * math.expm1(z * log), math.exp((z - 1) * log) / (rho * c)


def _wave(
    sign: int, p: float, v: float, side: tuple[float, float, float], c: float, gamma: float
) -> tuple[Wave, float]:
    """The left (-1) or right (+1) wave and the density behind it (Toro 2009, section 4.5)."""
    rho, v_side, p_side = side
    q = p / p_side
    strength = max(q, 1 / q) - 1
    if q > 1:
        ratio = (gamma - 1) / (gamma + 1)
        speed = v_side + sign * c * math.sqrt(1 + (gamma + 1) / (2 * gamma) * (q - 1))
        return Wave("shock", speed, speed, strength), rho * (q + ratio) / (ratio * q + 1)
    c_star = c * q ** ((gamma - 1) / (2 * gamma))
    return Wave("rarefaction", v_side + sign * c, v + sign * c_star, strength), rho * q ** (1 / gamma)


def star_state(left: Side, right: Side, gamma: float = 1.4) -> Star:
    """Pressure, velocity and densities between the outer waves, and those waves.

    The left-hand side of the equation for the pressure rises and is concave, so Newton's method comes from below
    without overshooting; a bracket catches what rounding or a start far off would do.

    Parameters
    ----------
    left, right
        Density, velocity, pressure on the two sides.
    gamma
        Ratio of heat capacities.

    Returns
    -------
    The state; pressure to a few units of the last digit, relative to the problem's conditioning.

    Raises
    ------
    ValueError
        If a density or a pressure is not positive, a number is not finite, or the gas is torn apart to a vacuum
        (Toro 2009, eq. 4.40).
    """
    one, two = _checked(left, "left", gamma), _checked(right, "right", gamma)
    (rho_l, v_l, p_l), (rho_r, v_r, p_r) = one, two
    c_l, c_r = math.sqrt(gamma * p_l / rho_l), math.sqrt(gamma * p_r / rho_r)
    jump, most = v_r - v_l, 2 / (gamma - 1) * (c_l + c_r)
    if jump >= most:
        raise ValueError(
            f"a vacuum opens between the states {one} and {two}: the velocities differ by {jump:.6g}, and these gases "
            f"follow up to {most:.6g}; take a smaller difference or a higher pressure"
        )

    def residual(p: float) -> tuple[float, float]:
        f_l, slope_l = _branch(p, rho_l, p_l, c_l, gamma)
        f_r, slope_r = _branch(p, rho_r, p_r, c_r, gamma)
        return f_l + f_r + jump, slope_l + slope_r

    # Start at two rarefactions (eq. 4.46): exact if they are, above the root otherwise.
    z = (gamma - 1) / (2 * gamma)
    p = ((c_l + c_r - (gamma - 1) / 2 * jump) / (c_l * p_l**-z + c_r * p_r**-z)) ** (1 / z)
    low, high = 0.0, math.inf
    for _ in range(200):
        value, slope = residual(p)
        low, high = (p, high) if value < 0 else (low, p)
        newer = p - value / slope
        if not low <= newer <= high:
            newer = 2 * p if math.isinf(high) else (low + high) / 2
        done = abs(newer - p) <= 1e-15 * p
        p = newer
        if done:
            break
    v = (v_l + v_r) / 2 + (_branch(p, rho_r, p_r, c_r, gamma)[0] - _branch(p, rho_l, p_l, c_l, gamma)[0]) / 2
    left_wave, density_left = _wave(-1, p, v, one, c_l, gamma)
    right_wave, density_right = _wave(1, p, v, two, c_r, gamma)
    return Star(p, v, density_left, density_right, left_wave, right_wave)


def _left_half(
    side: tuple[float, float, float],
    star: tuple[float, float, float],
    wave: Wave,
    xi: Float64[np.ndarray, "*ray"],
    gamma: float,
) -> Float64[np.ndarray, "3 *ray"]:
    """The solution left of the contact: the side, the wave, the star state (Toro 2009, eq. 4.56)."""
    rho, v, p = side
    c = math.sqrt(gamma * p / rho)
    shape = (3,) + (1,) * xi.ndim
    before, behind = (np.asarray(s, np.float64).reshape(shape) for s in (side, star))
    solution = np.where(xi < wave.tail, before, behind)
    if wave.kind == "rarefaction":
        ray = np.clip(xi, wave.head, wave.tail)
        sound = (2 * c + (gamma - 1) * (v - ray)) / (gamma + 1)
        fan = np.stack(
            [
                rho * (sound / c) ** (2 / (gamma - 1)),
                ray + sound,
                p * (sound / c) ** (2 * gamma / (gamma - 1)),
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

    Raises
    ------
    ValueError
        As :func:`star_state`, or if a ray is no number.
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


def _not_negative(t: float) -> float:
    if not (math.isfinite(t) and t >= 0):
        raise ValueError(f"t: expected a time of at least 0; got {t}")
    return float(t)


def exact_riemann(
    condition: InitialCondition, x: Float64[np.ndarray, "*grid"], t: float, gamma: float = 1.4
) -> Float64[np.ndarray, "3 *grid"]:
    """The exact solution of a named or random Riemann problem at points and a time, on the unbounded line.

    Parameters
    ----------
    condition
        A condition on a line of reference ``"riemann"``; it may have been shifted.
    x
        Points.
    t
        Time since the initial condition; 0 gives the condition itself.
    gamma
        Ratio of heat capacities.

    Returns
    -------
    Primitive ``(rho, v, p)``, ``(3, *grid)`` float64.

    Raises
    ------
    ValueError
        If the condition is no Riemann problem, the time is negative, or as :func:`star_state`.
    """
    left, right, jump = riemann_sides(condition)
    if _not_negative(t) == 0:
        return condition(x)
    return riemann_solution(left, right, (x - jump) / t, gamma)


def exact_riemann_plane(
    condition: InitialCondition,
    x: Float64[np.ndarray, "*grid"],
    y: Float64[np.ndarray, "*grid"],
    t: float,
    gamma: float = 1.4,
) -> Float64[np.ndarray, "4 *grid"]:
    """The exact solution of a Riemann problem laid in a plane, as ``1d-sod-x``: ``(rho, v_x, v_y, p)``.

    Raises
    ------
    ValueError
        If the condition is none of those, or as :func:`exact_riemann`.
    """
    line, axis = line_of(condition)
    rho, v, p = exact_riemann(line, y if axis else x, t, gamma)
    still = np.zeros_like(v)
    return np.stack([rho, still, v, p] if axis else [rho, v, still, p])


def shock_positions(
    condition: InitialCondition, t: float, gamma: float = 1.4, *, weakest: float = 1e-2
) -> Float64[np.ndarray, " shock"]:
    """Where the shocks of a Riemann problem are, the strongest first; contacts are none.

    Parameters
    ----------
    condition
        A condition on a line of reference ``"riemann"``.
    t
        Time since the initial condition. At 0 all shocks sit at the jump.
    gamma
        Ratio of heat capacities.
    weakest
        Least relative rise of pressure of what counts: published states are rounded to a few digits, so that a
        single shock comes with a second one of the size of the rounding.

    Returns
    -------
    No, one or two positions, float64; they may lie outside the domain.

    Raises
    ------
    ValueError
        As :func:`exact_riemann`.
    """
    left, right, jump = riemann_sides(condition)
    star = star_state(left, right, gamma)
    shocks = [w for w in (star.left, star.right) if w.kind == "shock" and w.strength >= weakest]
    shocks.sort(key=lambda wave: -wave.strength)
    return np.array([jump + w.head * _not_negative(t) for w in shocks], np.float64)
