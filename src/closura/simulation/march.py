"""One simulation from its case to given times: the loop that every comparison uses.

Steps follow a Courant number of the simulation's own state, or have a fixed length; steps between two times land on
them. A simulation that has failed (a state that its solver cannot go on from, or one that has left ten times the range
of its initial field) is marked from the first time at which that is seen.
"""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from closura.core.case import Case
from closura.core.method import StepRule
from closura.core.solver import Closure, Parameters, Solver, State, step_like
from closura.grids import Grid

DIVERGENCE_FACTOR = 10.0
"""A field has diverged where it leaves so many times the range of its initial values (about the same middle)."""
MOST_STEPS = 1e7
"""More steps than this to the next time: the state has become too fast, and the simulation is lost."""


class Schedule(eqx.Module):
    """When a simulation is looked at, and how steps get there.

    ``counts`` are the steps of each interval where they are fixed, and all zero where ``courant`` decides.
    """

    lengths: Float[Array, " interval"]
    counts: Int[Array, " interval"]
    courant: Float[Array, ""]
    dt: float | None = eqx.field(static=True)
    uniform: int | None = eqx.field(static=True)

    @property
    def fixed(self) -> bool:
        """Whether steps have a fixed length."""
        return self.dt is not None


def schedule(rule: StepRule, times: Sequence[float]) -> Schedule:
    """The schedule of a rule for times that grow; the first interval begins at 0.

    Raises
    ------
    ValueError
        If times do not grow from 0, or an exact step does not divide them.
    """
    ends = np.asarray(times, np.float64)
    lengths = np.diff(np.concatenate([[0.0], ends]))
    if not ends.size or not np.all(lengths > 0):
        raise ValueError(f"times must grow, and the first be positive; got {[f'{time:g}' for time in times]}")
    if rule.dt is None:
        return Schedule(_real(lengths), jnp.zeros(len(ends), jnp.int32), _real(rule.courant), None, None)
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


class Marched(NamedTuple):
    """What a simulation looked like; index 0 of the time axis is its beginning."""

    fields: Float[Array, "time component *grid"]
    failed: Bool[Array, " time"]
    steps: Int[Array, ""]


def march(
    solver: Solver, closure: Closure | None, plan: Schedule, grid: Grid, case: Case, *, states: bool = False
) -> tuple[Marched, PyTree[Array] | None]:
    """Simulate one case.

    Parameters
    ----------
    solver, closure
        What is simulated.
    plan
        When it is looked at.
    grid
        The grid of comparison, on which fields are given.
    case
        The simulation.
    states
        Give the solver's own states too.

    Returns
    -------
    tuple
        Fields on the grid, failures and the number of steps; and the states or None.
    """
    state, parameters = solver.init(case)
    first = solver.to_grid(state, grid)
    low, high = jnp.min(first), jnp.max(first)
    reach = jnp.maximum(DIVERGENCE_FACTOR * (high - low) / 2, jnp.finfo(first.dtype).tiny)

    def look(state: State, lost: Bool[Array, ""]) -> tuple[Array, Bool[Array, ""], PyTree[Array] | None]:
        seen = solver.to_grid(state, grid)
        out = ~(jnp.max(jnp.abs(seen - (low + high) / 2)) <= reach)
        return seen, lost | out | ~solver.is_valid(state), state if states else None

    def interval(
        carry: tuple[State, Int[Array, ""], Bool[Array, ""]], item: tuple[Array, Array]
    ) -> tuple[tuple[State, Array, Array], tuple[Array, Array, PyTree[Array] | None]]:
        state, steps, lost = carry
        length, count = item
        if plan.uniform is not None and plan.dt is not None:
            state = solver.march(state, parameters, plan.dt, plan.uniform, closure)
        elif plan.fixed:
            dt = step_like(length / count, state)
            state = jax.lax.fori_loop(0, count, lambda _, s: solver.step(s, parameters, dt, closure), state)
        else:
            state, count, stuck = _by_courant(solver, closure, plan.courant, state, parameters, length)
            lost = lost | stuck
        seen, lost, kept = look(state, lost)
        return (state, steps + count, lost), (seen, lost, kept)

    seen, lost, kept = look(state, jnp.zeros((), bool))
    begun = (state, jnp.zeros((), jnp.int32), lost)
    (_, steps, _), (fields, failed, later) = jax.lax.scan(interval, begun, (plan.lengths, plan.counts))
    together = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), (seen, lost, kept), (fields, failed, later))
    return Marched(together[0], together[1], steps), together[2]


def _by_courant(
    solver: Solver,
    closure: Closure | None,
    courant: Float[Array, ""],
    state: State,
    parameters: Parameters,
    length: Float[Array, ""],
) -> tuple[State, Int[Array, ""], Bool[Array, ""]]:
    """Steps whose length follows the state: what is left of the interval is divided anew before each."""

    def going(carry: tuple[State, Array, Array, Array]) -> Bool[Array, ""]:
        return (carry[1] > 0) & ~carry[3]

    def step(carry: tuple[State, Array, Array, Array]) -> tuple[State, Array, Array, Array]:
        state, left, steps, _ = carry
        longest = left * solver.rate(state, parameters) / courant
        count = jnp.maximum(jnp.ceil(longest - 1e-4), 1)
        # No number where the rate is none, which marks a lost simulation.
        count = jnp.where(count <= MOST_STEPS, count, 0).astype(jnp.int32)
        dt = left / jnp.maximum(count, 1)
        following = solver.step(state, parameters, step_like(dt, state), closure)
        return following, jnp.where(count == 1, jnp.zeros_like(left), left - dt), steps + 1, count < 1

    zero = jnp.zeros((), jnp.int32)
    state, _, steps, lost = jax.lax.while_loop(going, step, (state, length, zero, jnp.zeros((), bool)))
    return state, steps, lost


def _real(values: object) -> Array:
    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(np.float64))
