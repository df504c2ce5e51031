"""One simulation from its case to given times: the loop that every comparison uses.

Steps follow a Courant number of the simulation's own state, or have a fixed length; steps between two times land on
them. A simulation that has failed (a state that its solver cannot go on from, or one that has left ten times the range
of its initial field) is marked from the first time at which that is seen. Where a solver can tell in which cells a
state is valid, it alone decides: the simulation stops after the first step that leaves one without.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from closura.core.case import Case
from closura.core.method import StepRule
from closura.core.solver import Closure, Parameters, Solver, State, step_like
from closura.grids import Grid

DIVERGENCE_FACTOR = 10.0
"""A field has diverged where it leaves so many times the range of its initial values (about the same middle)."""
MOST_STEPS = 1e7
"""More steps than this to the next time: the state has become too fast, and the simulation is lost."""

View = Callable[[Solver, State], Float[Array, "component *grid"]]
"""How the state of a solver is seen where simulations are compared; a grid stands for the field on it."""


class AsStateOf(eqx.Module):
    """Simulations are compared as states of one solver."""

    solver: Solver

    def __call__(self, solver: Solver, state: State) -> Float[Array, "component *grid"]:
        seen: Array = self.solver.adopt(state, solver)
        return seen


class Schedule(eqx.Module):
    """When a simulation is looked at, and how steps get there.

    ``counts`` are the steps of each interval where they are fixed, and all zero where ``courant`` decides, or where the
    last step alone is shortened (not ``even``).
    """

    lengths: Float[Array, " interval"]
    counts: Int[Array, " interval"]
    courant: Float[Array, ""]
    dt: float | None = eqx.field(static=True)
    uniform: int | None = eqx.field(static=True)
    even: bool = eqx.field(static=True, default=True)

    @property
    def fixed(self) -> bool:
        """Whether the number of steps is known."""
        return self.dt is not None and self.even


def schedule(rule: StepRule, times: Sequence[float]) -> Schedule:
    """The schedule of a rule for times that grow; the first interval begins at 0."""
    ends = np.asarray(times, np.float64)
    lengths = np.diff(np.concatenate([[0.0], ends]))
    if not ends.size or not np.all(lengths > 0):
        raise ValueError(f"times must grow, and the first be positive; got {[f'{time:g}' for time in times]}")
    if rule.dt is None or not rule.even:
        none = jnp.zeros(len(ends), jnp.int32)
        return Schedule(_real(lengths), none, _real(rule.courant or 0.0), rule.dt, None, rule.even)
    parts = ends / rule.dt
    counts = np.round(parts) if rule.exact else np.ceil(parts - 1e-6)
    if rule.exact and np.any(np.abs(parts - counts) > 1e-3):
        wrong = float(ends[int(np.argmax(np.abs(parts - counts) > 1e-3))])
        raise ValueError(
            f"time {wrong:g} is no multiple of the time step {rule.dt:.6g}, which this method cannot leave: the "
            f"nearest ones are {np.floor(wrong / rule.dt) * rule.dt:.6g} and {np.ceil(wrong / rule.dt) * rule.dt:.6g}"
        )
    steps = np.diff(np.concatenate([[0], counts])).astype(np.int64)
    if steps.min() < 1:
        raise ValueError(f"times must be at least one time step ({rule.dt:g}) apart")
    # Steps of the very length that was asked for where they fit: a number known to the compiler, and the same
    # arithmetic as in a training.
    same = len(set(steps.tolist())) == 1 and np.allclose(lengths, steps * rule.dt, rtol=1e-9, atol=0)
    counts32 = jnp.asarray(steps, jnp.int32)
    return Schedule(_real(lengths), counts32, _real(0.0), rule.dt, int(steps[0]) if same else None)


class Failure(NamedTuple):
    """The first step after which a cell was not valid, the first such cell of the flattened grid; -1 where none was.

    ``finite`` says whether the state there was.
    """

    step: Int[Array, ""]
    cell: Int[Array, ""]
    finite: Bool[Array, ""]


class Marched(NamedTuple):
    """What a simulation looked like; index 0 of the time axis is its beginning.

    ``steps`` is their number. Fields after a failure are NaN.
    """

    fields: Float[Array, "time component *grid"]
    failed: Bool[Array, " time"]
    steps: Int[Array, ""]
    failure: Failure


class _Now(NamedTuple):
    """Where a simulation stands; ``left`` of the interval, and whether the state has become too fast."""

    state: State
    steps: Int[Array, ""]
    left: Float[Array, ""]
    stuck: Bool[Array, ""]
    failure: Failure

    @property
    def going(self) -> Bool[Array, ""]:
        return ~self.stuck & (self.failure.step < 0)


def march(solver: Solver, closure: Closure | None, plan: Schedule, grid: Grid | View, case: Case) -> Marched:
    """Simulate one case, at the times of a plan, or at shares of the case's own end where it has one.

    ``grid`` is that of comparison, on which fields are given, or says how states are seen.
    """
    state, parameters = solver.init(case)
    lengths = plan.lengths if case.end is None else plan.lengths * case.end
    if case.end is not None and plan.fixed:
        raise ValueError("cases with ends of their own need steps by a Courant number, or not even ones")
    view: View = (lambda solver, state: solver.to_grid(state, grid)) if isinstance(grid, Grid) else grid
    first = view(solver, state)
    low, high = jnp.min(first), jnp.max(first)
    reach = jnp.maximum(DIVERGENCE_FACTOR * (high - low) / 2, jnp.finfo(first.dtype).tiny)
    decides = solver.valid_cells(state) is not None

    def look(now: _Now) -> tuple[Array, Bool[Array, ""]]:
        seen, lost = view(solver, now.state), now.stuck | ~solver.is_valid(now.state)
        if decides:
            seen = jnp.where(now.failure.step >= 0, jnp.nan, seen)
        else:
            lost = lost | ~(jnp.max(jnp.abs(seen - (low + high) / 2)) <= reach)
        return seen, lost

    def interval(now: _Now, item: tuple[Array, Array]) -> tuple[_Now, tuple[Array, Array]]:
        length, count = item
        if plan.uniform is not None and plan.dt is not None:
            state = solver.march(now.state, parameters, plan.dt, plan.uniform, closure)
            now = _checked(solver, now._replace(state=state, steps=now.steps + count))
        elif plan.fixed or (solver.steady and plan.dt is None and plan.even):
            if not plan.fixed:
                count = _whole(length * solver.rate(now.state, parameters) / plan.courant)
            dt = step_like(length / count, now.state)
            state = jax.lax.fori_loop(0, count, lambda _, s: solver.step(s, parameters, dt, closure), now.state)
            now = _checked(solver, now._replace(state=state, steps=now.steps + count, stuck=now.stuck | (count < 1)))
        else:
            now = _by_state(solver, closure, plan, now._replace(left=length), parameters)
        return now, look(now)

    zero, no = jnp.zeros((), jnp.int32), jnp.zeros((), bool)
    begun = _Now(state, zero, jnp.zeros((), lengths.dtype), no, Failure(zero - 1, zero - 1, no))
    last, later = jax.lax.scan(interval, begun, (lengths, plan.counts))
    together = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), look(begun), later)
    failed = jax.lax.associative_scan(jnp.logical_or, together[1])
    return Marched(together[0], failed, last.steps, last.failure)


def _checked(solver: Solver, now: _Now) -> _Now:
    """With the failure of the state that a step has led to."""
    valid = solver.valid_cells(now.state)
    if valid is None:
        return now
    cell = jnp.argmax(~valid.reshape(-1)).astype(jnp.int32)
    fields = [leaf for leaf in jax.tree.leaves(now.state) if leaf.shape[1:] == valid.shape]
    finite = jnp.zeros((), bool)
    if fields:
        finite = jnp.all(jnp.isfinite(jnp.concatenate([leaf.reshape(leaf.shape[0], -1)[:, cell] for leaf in fields])))
    first = ~jnp.all(valid) & (now.failure.step < 0)
    found = Failure(now.steps, cell, finite)
    return now._replace(failure=jax.tree.map(lambda a, b: jnp.where(first, a, b), found, now.failure))


def _by_state(solver: Solver, closure: Closure | None, plan: Schedule, begun: _Now, parameters: Parameters) -> _Now:
    """Steps whose number is not known: what is left of the interval is divided anew, or gone by whole steps."""
    ends = 0.0 if plan.even else 1e-12 * jnp.maximum(begun.left, 1.0)

    def step(now: _Now) -> _Now:
        if plan.dt is None:
            rate = solver.rate(now.state, parameters)
            parts, longest = now.left * rate / plan.courant, plan.courant / rate
        else:
            parts, longest = now.left / plan.dt, jnp.asarray(plan.dt, now.left.dtype)
        count = _whole(parts)
        dt = now.left / jnp.maximum(count, 1) if plan.even else jnp.minimum(longest, now.left)
        state = solver.step(now.state, parameters, step_like(dt, now.state), closure)
        left = jnp.where(count == 1, jnp.zeros_like(now.left), now.left - dt) if plan.even else now.left - dt
        return _checked(solver, _Now(state, now.steps + 1, left, count < 1, now.failure))

    return jax.lax.while_loop(lambda now: (now.left > ends) & now.going, step, begun)


def _whole(parts: Float[Array, ""]) -> Int[Array, ""]:
    """How many steps; none where that is no number or too large, which marks a lost simulation."""
    return jnp.where(parts <= MOST_STEPS, jnp.maximum(jnp.ceil(parts - 1e-4), 1), 0).astype(jnp.int32)


def _real(values: object) -> Array:
    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(np.float64))
