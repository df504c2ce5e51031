"""The exact solution of advection, along characteristics: no grid, no dissipation, no dispersion.

    psi(x, t) = psi_0(X(t)),     dX/ds = -u(X),  X(0) = x

A steady velocity makes the way back from a point autonomous: what is followed is one departure point per coarse grid
point, from step to step, and the solution is the initial field there. Two functions of a continuous position belong to
the fine samples that a case consists of:

* the initial field is bilinear between them (images are enlarged bilinearly, so little is added);
* the velocity is cubic along each axis (Lagrange, four points). The published families are no periodic functions,
  and their samples include both ends: there the cubic never reaches across the seam, and between the last point and the
  first, one fine spacing, the velocity is linear.

At the fine points both have the values that the fine solver uses. What is left is the error of the ways (RK4, a coarse
time step) and that of float32 positions.
"""

import itertools
from functools import reduce
from operator import add
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from closura.core.case import Case
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.reference import Step

Field = Float[Array, "1 *fine"]
Velocity = Float[Array, "2 x y"]
State = tuple[Float[Array, "2 *grid"], Field]
"""Departure points in units of fine spacings, and the initial field."""


class Characteristics(Solver):
    """Exact values at the points of a periodic, square, two-dimensional grid, every k-th one of the initial field's.

    Parameters
    ----------
    grid
        The coarse grid.
    seam
        Whether velocities jump between the last point and the first (the published families).
    """

    grid: Grid = eqx.field(static=True)
    seam: bool = eqx.field(static=True, default=False)

    def init(self, case: Case) -> tuple[State, Velocity]:
        """Every coarse grid point is its own departure point."""
        size = case.initial.shape[-1]
        points = jnp.arange(0, size, size // self.grid.shape[0], dtype=case.initial.dtype)
        return (jnp.stack(jnp.meshgrid(points, points, indexing="ij")), case.initial), case.parameters

    def advance(self, state: State, parameters: Velocity, dt: Step) -> State:
        """Follow the velocity backwards for a step, by RK4."""
        position, initial = state
        size = parameters.shape[-1]
        step = -dt * size

        def speed(at: Array) -> Array:
            return cubic(parameters, at % size, seam=self.seam)

        def stage(carry: tuple[Array, Array], weights: Array) -> tuple[tuple[Array, Array], None]:
            slope, total = carry
            slope = speed(position + step * weights[0] * slope)
            return (slope, total + step * weights[1] * slope), None

        # A loop: unrolled, four interpolations are compiled instead of one.
        weights = jnp.asarray([[0.0, 1 / 6], [0.5, 1 / 3], [0.5, 1 / 3], [1.0, 1 / 6]], position.dtype)
        (_, moved), _ = jax.lax.scan(stage, (jnp.zeros_like(position), position), weights)
        return moved % size, initial

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "1 *grid"]:
        """The initial field at the departure points of this grid."""
        if grid.shape != self.grid.shape:
            raise ValueError(f"departure points are those of {self.grid.shape} points; got a grid of {grid.shape}")
        return bilinear(state[1], state[0] % state[1].shape[-1])


class Mean(Solver):
    """The mean of several solutions of one problem, each with its number of steps in one step."""

    solvers: tuple[Solver, ...]
    steps: tuple[int, ...] = eqx.field(static=True)

    @property
    def grid(self) -> Grid:
        return self.solvers[-1].grid

    def init(self, case: Case) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        states, parameters = zip(*(solver.init(case) for solver in self.solvers), strict=True)
        return states, parameters

    def advance(self, state: tuple[Any, ...], parameters: tuple[Any, ...], dt: Step) -> tuple[Any, ...]:
        each = zip(self.solvers, state, parameters, self.steps, strict=True)
        return tuple(solver.march(own, theirs, dt / count, count) for solver, own, theirs, count in each)

    def to_grid(self, state: tuple[Any, ...], grid: Grid) -> Float[Array, "1 *grid"]:
        shown = [solver.to_grid(own, grid) for solver, own in zip(self.solvers, state, strict=True)]
        return reduce(add, shown) / len(shown)


def bilinear(field: Float[Array, "component x y"], at: Float[Array, "2 *grid"]) -> Float[Array, "component *grid"]:
    """A periodic field between its points; positions in units of the spacing, in ``[0, size)``."""
    low = jnp.floor(at)
    share = at - low
    return _weighted(field, _nodes(low, 2, field.shape[-1]), jnp.stack([1 - share, share]))


def cubic(
    field: Float[Array, "component x y"], at: Float[Array, "2 *grid"], *, seam: bool
) -> Float[Array, "component *grid"]:
    """A smooth field between its points, by four of them along each axis; positions as for :func:`bilinear`.

    With ``seam`` the field is smooth from its first point to its last only, and linear between the last one and the
    first of the next period.
    """
    size = field.shape[-1]
    low = jnp.floor(at)
    first = low - 1
    if seam:
        beyond = low >= size - 1
        first = jnp.where(beyond, first, jnp.clip(first, 0, size - 4))
    x = at - first
    left, right = x * (x - 1) / 2, (x - 2) * (x - 3) / 2
    weights = jnp.stack([(1 - x) * right / 3, x * right, (3 - x) * left, (x - 2) * left / 3])
    if seam:
        share, none = at - low, jnp.zeros_like(at)
        weights = jnp.where(beyond, jnp.stack([none, 1 - share, share, none]), weights)
    return _weighted(field, _nodes(first, 4, size), weights)


def _nodes(first: Float[Array, "2 *grid"], count: int, size: int) -> Int[Array, "node 2 *grid"]:
    steps = jnp.arange(count, dtype=jnp.int32).reshape(count, *(1,) * first.ndim)
    return (first.astype(jnp.int32) + steps) % size


def _weighted(
    field: Float[Array, "component x y"], nodes: Int[Array, "node 2 *grid"], weights: Float[Array, "node 2 *grid"]
) -> Float[Array, "component *grid"]:
    """``sum_ab w_a w_b field[a, b]`` at every position."""
    flat, size = field.reshape(field.shape[0], -1), field.shape[-1]
    pairs = itertools.product(range(len(nodes)), repeat=2)
    # One after the other: all nodes in one array take five times as long on CPUs, measured.
    return reduce(add, (flat[:, nodes[a, 0] * size + nodes[b, 1]] * (weights[a, 0] * weights[b, 1]) for a, b in pairs))
