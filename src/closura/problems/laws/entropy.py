"""The entropy solution of the inviscid Burgers equation, exact before and after shocks.

By Lax and Hopf (P. D. Lax, "Hyperbolic systems of conservation laws II", Comm. Pure Appl. Math. 10, 1957; E. Hopf,
ibid. 3, 1950), the entropy solution of ``u_t + (u^2/2)_x = 0`` is ``u(x, t) = (x - y*) / t``, where y* minimises

    U0(y) + (x - y)^2 / (2 t),      U0 a primitive of the initial condition u0.

Minima inside smooth stretches are feet of characteristics, ``y + t u0(y) = x``, and carry ``u0(y)``; minima at upward
jumps are the fans. All feet are bracketed on a fine grid of the initial condition, found to rounding, and compared.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from scipy.optimize.elementwise import find_root

from closura.arrays import real_numbers
from closura.initial.condition import InitialCondition, line_of

Points = Float64[np.ndarray, " point"]

_CELLS = 4096
"""Cells of the fine grid per length of the domain."""

_POINTS_AT_ONCE = 8192
"""Points that are solved for together, which bounds memory."""

_EPS = float(np.finfo(np.float64).eps)
_GAUSS_POINTS, _GAUSS_WEIGHTS = np.polynomial.legendre.leggauss(8)


def entropy_solution(condition: InitialCondition, x: Points, t: float) -> Float64[np.ndarray, "1 point"]:
    """Entropy solution of the one-dimensional Burgers equation at points inside the domain and one time.

    Smooth parts are exact to rounding (about 1e-15 times the conditioning ``1 / (1 + t u0')`` of the foot). Exactly at
    a shock, the value on its left is given. Jumps of the initial condition have to be listed in ``condition.jumps``;
    kinks need not be (they move shocks by about 1e-8 at most). Outflow ends continue the value at the end; ``linear``
    and ``quadratic`` ends continue as ``condition`` does there itself.
    """
    x = real_numbers(x, "the points", finite=False).astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError("expected finite points")
    if not t > 0:
        if t == 0:
            return condition(x)
        raise ValueError(f"expected a time of at least 0; got {t}")
    if x.size == 0:
        return np.zeros((1, 0))
    feet = _Feet(condition, t, float(x.min()), float(x.max()))
    return feet.solution(x)[None]


def plane_entropy_solution(
    condition: InitialCondition, x: Float64[np.ndarray, "*grid"], y: Float64[np.ndarray, "*grid"], t: float
) -> Float64[np.ndarray, "1 *grid"]:
    """Entropy solution of the two-dimensional scalar Burgers equation, for conditions that depend on one coordinate.

    With ``u0`` a function of ``s = a x + b y``, the solution is that of the line at ``s`` and the time ``(a + b) t``.
    """
    line, (a, b) = line_of(replace(condition, shift=()))
    shift_x, shift_y = condition.shift or (0.0, 0.0)
    x, y = (real_numbers(points, "the points", finite=False).astype(np.float64) for points in (x, y))
    s = a * (x - shift_x) + b * (y - shift_y)
    if line.ends == ("periodic",):
        # Periods apart, the solution is the same, and one period keeps the range of feet short.
        s = line.lower[0] + np.mod(s - line.lower[0], line.extent[0])
    # Points on one line of equal s often agree to the bit: solve once for each.
    distinct, where = np.unique(s.ravel(), return_inverse=True)
    return entropy_solution(line, distinct, (a + b) * t)[:, where.ravel()].reshape(1, *s.shape)


def shock_positions(condition: InitialCondition, t: float, *, smallest: float = 1e-3) -> tuple[Points, Points]:
    """Where the entropy solution jumps inside the domain, and by how much (left value less right value).

    Strongest first. Jumps below ``smallest`` times the range of the solution are left out, as are shocks closer than
    1/2048 of the domain to a stronger one.
    """
    if not t > 0:
        raise ValueError(f"expected a positive time; got {t} (at time 0, see the jumps of the condition)")
    (lower,), (upper,) = condition.lower[:1], condition.upper[:1]
    feet = _Feet(condition, t, lower, upper)
    edges = np.linspace(lower, upper, 2049)
    u = feet.solution(edges)
    if condition.ends == ("periodic",):
        u[-1] = u[0]  # a shock exactly at the ends is counted once, at one or the other
    least = smallest * max(float(np.ptp(u)), 1e-12)
    steep = np.flatnonzero(u[:-1] - u[1:] > least)
    a, b, u_a, u_b = edges[steep], edges[steep + 1], u[steep], u[steep + 1]
    for _ in range(60):
        if a.size == 0 or np.all(b - a <= 4 * _EPS * max(abs(lower), abs(upper))):
            break
        middle = 0.5 * (a + b)
        u_middle = feet.solution(middle)
        left = u_a - u_middle > u_middle - u_b
        a, u_a = np.where(left, a, middle), np.where(left, u_a, u_middle)
        b, u_b = np.where(left, middle, b), np.where(left, u_middle, u_b)
    drop = u_a - u_b
    # A steep smooth stretch has no drop left once its bracket has shrunk to rounding.
    order = np.argsort(-drop, kind="stable")
    order = order[drop[order] > least]
    return 0.5 * (a + b)[order], drop[order]


class _Feet:
    """The map ``y -> z = y + t u0(y)`` on a fine grid wide enough for the feet of all points of [low, high].

    Each jump is a cell of its own, a few roundings wide.
    """

    def __init__(self, condition: InitialCondition, t: float, low: float, high: float) -> None:
        if condition.dimensions != 1:
            raise ValueError(f"{condition.name} has {condition.dimensions} dimensions; expected one")
        if condition.ends[0] == "reflecting":
            raise ValueError(f"{condition.name}: no exact solution with a reflecting end; simulate on a finer grid")
        self.condition, self.t = condition, t
        (self.lower,), (self.upper,), (self.end,) = condition.lower, condition.upper, condition.ends
        self.nodes, self.is_jump = self._nodes(low, high)
        u = self.initial(self.nodes)
        self.z = self.nodes + t * u
        width = np.diff(self.nodes)
        cells = self._integral(self.nodes[:-1], width)
        self.primitive = np.concatenate([np.zeros(1), np.cumsum(cells)])

    def initial(self, y: Float64[np.ndarray, "*n"]) -> Float64[np.ndarray, "*n"]:
        """The initial condition on the whole line, as the ends of the domain say."""
        if self.end == "periodic":
            y = self.lower + np.mod(y - self.lower, self.upper - self.lower)
        elif self.end == "outflow":
            y = np.clip(y, self.lower, self.upper)
        return self.condition(y)[0]

    def solution(self, x: Points) -> Points:
        chunks = [self._solve(x[i : i + _POINTS_AT_ONCE]) for i in range(0, x.size, _POINTS_AT_ONCE)]
        return np.concatenate(chunks) if chunks else np.zeros(0)

    def _nodes(self, low: float, high: float) -> tuple[Points, np.ndarray]:
        length = self.upper - self.lower
        inside = np.linspace(self.lower, self.upper, _CELLS + 1)
        sample = self.initial(inside)
        first = min(low - self.t * float(sample.max()), self.lower) - length / _CELLS
        last = max(high - self.t * float(sample.min()), self.upper) + length / _CELLS
        if self.end in ("linear", "quadratic"):
            # The condition goes on growing outside: widen until characteristics from both sides enclose all points.
            arrive = lambda y: y + self.t * float(self.initial(np.array([y]))[0])
            doublings = 0
            while not (arrive(first) <= low and arrive(last) >= high):
                first, last, doublings = first - (last - first) / 2, last + (last - first) / 2, doublings + 1
                if doublings > 8:
                    raise ValueError(
                        f"{self.condition.name}: no characteristics reach the domain from both sides at t = {self.t}; "
                        "choose an earlier time, before the continuation beyond the ends has collapsed"
                    )
        if self.end == "outflow":  # constant outside: one cell on each side
            grid = np.concatenate([[first], inside, [last]])
        else:
            spacing = length / _CELLS
            steps = np.arange(np.floor((first - self.lower) / spacing), np.ceil((last - self.lower) / spacing) + 1)
            grid = self.lower + steps * spacing
        jumps = np.asarray(self.condition.jumps, np.float64)
        if self.end == "periodic" and jumps.size:
            periods = np.arange(np.floor((first - self.upper) / length), np.ceil((last - self.lower) / length) + 1)
            jumps = np.unique(np.add.outer(periods * length, jumps))
        else:
            jumps = jumps[(jumps > self.lower) & (jumps < self.upper)]
        half = 16 * _EPS * max(abs(first), abs(last), length)
        if jumps.size:
            distance = np.abs(grid[:, None] - jumps[None, :]).min(axis=1)
            grid = grid[distance > 4 * half]
        edges = np.sort(np.concatenate([jumps - half, jumps + half]))
        nodes = np.sort(np.concatenate([grid, edges]))
        is_jump = np.zeros(nodes.size - 1, bool)
        is_jump[np.searchsorted(nodes, edges[0::2])] = True
        return nodes, is_jump

    def _integral(self, start: Points, width: Points) -> Points:
        """Integral of the initial condition from ``start`` over ``width`` by eight Gauss points."""
        total = np.zeros_like(start)
        for point, weight in zip(_GAUSS_POINTS, _GAUSS_WEIGHTS, strict=True):
            total += weight * self.initial(start + 0.5 * (point + 1) * width)
        return 0.5 * width * total

    def _solve(self, x: Points) -> Points:
        cell, point = self._brackets(x)
        a, b, target, jump = self.nodes[cell], self.nodes[cell + 1], x[point], self.is_jump[cell]
        foot = np.where(jump, 0.5 * (a + b), 0.0)
        plain = ~jump
        foot[plain] = self._root(target[plain], a[plain], b[plain])
        u = np.where(jump, (target - foot) / self.t, self.initial(foot))
        height = self.primitive[cell] + self._integral(a, foot - a) + (target - foot) ** 2 / (2 * self.t)
        # For each point the lowest; of equal ones the leftmost foot, which is the value left of the shock.
        order = np.lexsort((foot, height, point))
        _, first = np.unique(point[order], return_index=True)
        return u[order][first]

    def _brackets(self, x: Points) -> tuple[np.ndarray, np.ndarray]:
        """All pairs (cell, point) with ``z(left end) <= x <= z(right end)``: a minimum lies in that cell."""
        order = np.argsort(x, kind="stable")
        ordered = x[order]
        begin = np.searchsorted(ordered, self.z[:-1], side="left")
        count = np.maximum(np.searchsorted(ordered, self.z[1:], side="right") - begin, 0)
        cell = np.repeat(np.arange(count.size), count)
        within = np.arange(cell.size) - np.repeat(np.cumsum(count) - count, count)
        return cell, order[begin[cell] + within]

    def _root(self, x: Points, a: Points, b: Points) -> Points:
        """Foot ``y + t u0(y) = x`` in [a, b], to rounding."""
        if not x.size:
            return x
        miss = lambda y, x: y + self.t * self.initial(y) - x
        rounding = _EPS * float(np.abs([a, b, x]).max())
        close = {"xatol": rounding, "xrtol": _EPS, "fatol": rounding, "frtol": 0.0}
        return np.asarray(find_root(miss, (a, b), args=(x,), tolerances=close, maxiter=200).x)
