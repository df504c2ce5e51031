"""Contenders on grids of cells: a method that starts from a case and steps to the comparison times.

Steps follow a Courant number of each simulation's own field, or have a fixed length; all steps between two comparison
times are equally long, no longer than they may be, and land on the times. (Where the field decides the step and
changes, what is left of the interval is divided anew before every step.)
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from closura.core.case import Case
from closura.core.solver import Closure, Solver, step_like
from closura.grids import Grid
from closura.simulation.evaluate import DIVERGENCE_FACTOR
from closura.simulation.sweep import Outcome, Work

State = PyTree[Array]
Seen = Float[Array, "component *grid"]
MOST_STEPS = 1e7
"""More steps than this to the next comparison time: the field has become too fast, and the simulation is lost."""
BENIGN = 0.1
"""Courant number of timed steps: their cost does not depend on it, and the field stays tame."""


View = Callable[[Solver, State], Seen]
"""How the state of a solver is seen where errors are taken."""


class OnGrid(eqx.Module):
    """As a field on a grid."""

    grid: Grid = eqx.field(static=True)

    def __call__(self, solver: Solver, state: State) -> Seen:
        return solver.to_grid(state, self.grid)


class AsStateOf(eqx.Module):
    """As a state of another solver."""

    solver: Solver

    def __call__(self, solver: Solver, state: State) -> Seen:
        seen: Array = self.solver.adopt(state, solver)
        return seen


class Stepper(eqx.Module):
    """A solver with or without a closure, and how it is seen.

    Parameters
    ----------
    solver, closure
        What steps.
    view
        How states are seen where errors are taken.
    dt
        The length of all steps, known to the compiler; None: as the schedule says.
    leader, burn_in
        So many steps of this solver come first, without the closure, as published evaluations begin.
    """

    solver: Solver
    view: View
    closure: Closure | None = None
    dt: float | None = eqx.field(static=True, default=None)
    leader: Solver | None = None
    burn_in: int = eqx.field(static=True, default=0)

    @property
    def steady(self) -> bool:
        """Whether steps have one length between two times."""
        return self.dt is not None or self.solver.steady

    def start(self, case: Case) -> tuple[State, PyTree[Array]]:
        """State and parameters on the solver's grid."""
        state, parameters = self.solver.init(case)
        for _ in range(self.burn_in):
            assert self.leader is not None
            assert self.dt is not None
            state = self.leader.step(state, parameters, self.dt)
        return state, parameters

    def rate(self, state: State, parameters: PyTree[Array]) -> Float[Array, ""]:
        """Courant number of a time step of length one."""
        return self.solver.rate(state, parameters)

    def step(self, state: State, parameters: PyTree[Array], dt: Float[Array, ""]) -> State:
        """One time step."""
        length = step_like(dt, state) if self.dt is None else self.dt
        return self.solver.step(state, parameters, length, self.closure)

    def observe(self, state: State) -> Seen:
        """Where errors are taken."""
        return self.view(self.solver, state)


class Schedule(eqx.Module):
    """When fields are looked at, and how steps get there.

    ``counts`` are the steps of each interval where they are fixed, and all zero where ``courant`` decides.
    """

    lengths: Float[Array, " interval"]
    counts: Int[Array, " interval"]
    courant: Float[Array, ""]
    fixed: bool = eqx.field(static=True)


def by_courant(courant: float, times: Sequence[float]) -> Schedule:
    """Steps by a Courant number."""
    lengths = np.diff(np.concatenate([[0.0], np.asarray(times, np.float64)]))
    return Schedule(_real(lengths), jnp.zeros((len(lengths),), jnp.int32), _real(courant), False)


def by_step(time_step: float, times: Sequence[float], *, exact: bool = False, before: int = 0) -> Schedule:
    """Steps no longer than ``time_step``, of which ``before`` were taken at the start.

    Raises
    ------
    ValueError
        If ``exact`` is asked for and a time is no multiple of the step; or a time lies within the steps before.
    """
    ends = np.asarray(times, np.float64) / time_step
    counts = np.round(ends) if exact else np.ceil(ends - 1e-6)
    if exact and np.any(np.abs(ends - counts) > 1e-3):
        wrong = float(times[int(np.argmax(np.abs(ends - counts) > 1e-3))])
        raise ValueError(
            f"--times {wrong:g} is no multiple of the coarse time step {time_step:.6g}, which closures and published "
            f"methods cannot leave: the nearest ones are {np.floor(wrong / time_step) * time_step:.6g} and "
            f"{np.ceil(wrong / time_step) * time_step:.6g}"
        )
    steps = np.diff(np.concatenate([[before], counts]))
    if steps.min() < 1:
        raise ValueError(
            f"--times must be at least one time step ({time_step:g}) apart, the first {before + 1} steps in"
        )
    lengths = np.diff(np.concatenate([[0.0], np.asarray(times, np.float64)]))
    return Schedule(_real(lengths), jnp.asarray(steps, jnp.int32), _real(0.0), True)


def _real(values: Any) -> Array:
    return jnp.asarray(values, jax.dtypes.canonicalize_dtype(np.float64))


def march(
    stepper: Stepper, schedule: Schedule, case: Case
) -> tuple[Float[Array, "interval component *grid"], Int[Array, ""], Bool[Array, ""]]:
    """One simulation: observed fields ``(interval, ...)``, number of steps, whether it failed."""
    state, parameters = stepper.start(case)
    first = stepper.observe(state)
    low, high = jnp.min(first), jnp.max(first)
    reach = jnp.maximum(DIVERGENCE_FACTOR * (high - low) / 2, jnp.finfo(first.dtype).tiny)

    def interval(carry: tuple[State, Array], item: tuple[Array, Array]) -> tuple[Any, tuple[Array, Array]]:
        state, steps = carry
        length, count = item
        if schedule.fixed or stepper.steady:
            if not schedule.fixed:
                count = _count(length * stepper.rate(state, parameters) / schedule.courant)
            dt = length / count
            state = jax.lax.fori_loop(0, count, lambda _, s: stepper.step(s, parameters, dt), state)
            lost = count < 1
        else:
            state, count, lost = _unsteady(stepper, schedule.courant, state, parameters, length)
        seen = stepper.observe(state)
        lost = lost | ~(jnp.max(jnp.abs(seen - (low + high) / 2)) <= reach)
        return (state, steps + count), (seen, lost)

    zero = jnp.zeros((), jnp.int32)
    (_, steps), (fields, lost) = jax.lax.scan(interval, (state, zero), (schedule.lengths, schedule.counts))
    return fields, steps, jnp.any(lost)


def _count(longest: Float[Array, ""]) -> Int[Array, ""]:
    """Steps that an interval needs; none where the number is no number, which marks a lost simulation."""
    count = jnp.maximum(jnp.ceil(longest - 1e-4), 1)
    return jnp.where(count <= MOST_STEPS, count, 0).astype(jnp.int32)


def _unsteady(
    stepper: Stepper, courant: Float[Array, ""], state: State, parameters: PyTree[Array], length: Float[Array, ""]
) -> tuple[State, Int[Array, ""], Bool[Array, ""]]:
    """Steps whose length follows the field."""

    def going(carry: tuple[State, Array, Array, Array]) -> Bool[Array, ""]:
        return (carry[1] > 0) & ~carry[3]

    def step(carry: tuple[State, Array, Array, Array]) -> tuple[State, Array, Array, Array]:
        state, left, steps, _ = carry
        count = _count(left * stepper.rate(state, parameters) / courant)
        lost = count < 1
        dt = left / jnp.maximum(count, 1)
        following = stepper.step(state, parameters, dt)
        return following, jnp.where(count == 1, jnp.zeros_like(left), left - dt), steps + 1, lost

    zero = jnp.zeros((), jnp.int32)
    state, _, steps, lost = jax.lax.while_loop(going, step, (state, length, zero, jnp.zeros((), bool)))
    return state, steps, lost


@eqx.filter_jit
def _all(stepper: Stepper, schedule: Schedule, cases: Case, together: int) -> tuple[Array, Array, Array]:
    # One after the other on a processor: a batch of fields leaves its cache.
    size = None if together == 1 else together
    return jax.lax.map(partial(march, stepper, schedule), cases, batch_size=size)


def run(stepper: Stepper, schedule: Schedule, end: float, before: int, cases: Case) -> Outcome:
    """All simulations to the ``end``; ``before`` steps were part of their starts."""
    members = jax.tree.leaves(cases)[0].shape[0]
    together = 1 if jax.default_backend() == "cpu" else min(32, members)
    fields, steps, failed = (np.asarray(x) for x in _all(stepper, schedule, cases, together))
    return Outcome(fields, (steps + before) / end, failed)


class _Fixed(eqx.Module):
    stepper: Stepper

    def __call__(self, state: State, context: tuple[PyTree[Array], Array]) -> State:
        return self.stepper.step(state, *context)


class _Following(eqx.Module):
    stepper: Stepper

    def __call__(self, state: State, parameters: PyTree[Array]) -> State:
        return self.stepper.step(state, parameters, BENIGN / self.stepper.rate(state, parameters))


@eqx.filter_jit
def _start(stepper: Stepper, cases: Case) -> tuple[State, PyTree[Array], Array]:
    def one(case: Case) -> tuple[State, PyTree[Array], Array]:
        state, parameters = stepper.start(case)
        return state, parameters, BENIGN / stepper.rate(state, parameters)

    return jax.lax.map(one, cases)


def work(stepper: Stepper, cases: Case, members: int) -> Work:
    """One step of ``members`` simulations; with what finds its length, where that follows the field."""
    there = jax.tree.leaves(cases)[0].shape[0]
    few = jax.tree.map(lambda x: x[np.arange(members) % there], cases)
    states, parameters, dt = _start(stepper, few)
    if not stepper.steady:
        return Work(_Following(stepper), states, parameters)
    return Work(_Fixed(stepper), states, (parameters, dt))
