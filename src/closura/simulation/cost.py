"""What a step costs: time inside compiled loops, of one simulation and of several per call, in turns.

All methods are timed one after the other, and again, so that a disturbance of the machine hits all of them.
Compilation and the first call do not count. A loop has as many steps as take about the wanted time, so the cost of a
call is spread over them.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from closura.core.case import Case
from closura.core.front import Work
from closura.core.method import Method
from closura.core.solver import Closure, Parameters, Solver, State, step_like

BENIGN = 0.1
"""Courant number of timed steps: their cost does not depend on it, and the field stays tame."""
MOST_STEPS = 5000
"""Steps in one timed loop at most."""

Clock = Literal["wall", "processor"]
CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""Wall time, or processor time of this process: on one core the wall time that it would have to itself."""


@dataclass(frozen=True)
class Timing:
    """How steps are timed; the defaults are for comparisons that are not about cost.

    Parameters
    ----------
    batch
        Simulations per call, for the batched times (None: they are timed alone, and the batched time is the same).
    repetitions
        Timed loops of each method.
    seconds
        About how long one takes.
    clock
        By which clock.

    Raises
    ------
    ValueError
        If the clock is unknown or means nothing on this device; if a number is below 1.
    """

    batch: int | None = None
    repetitions: int = 5
    seconds: float = 0.01
    clock: Clock = "wall"

    def __post_init__(self) -> None:
        if self.clock not in CLOCKS:
            raise ValueError(f"unknown clock {self.clock!r}; valid: {', '.join(CLOCKS)}")
        if self.clock == "processor" and jax.default_backend() != "cpu":
            raise ValueError(f"processor time says nothing of a {jax.default_backend()}: take --clock wall")
        if (self.batch is not None and self.batch < 1) or self.repetitions < 1:
            raise ValueError(f"--batch and --repetitions must be at least 1; got {self.batch} and {self.repetitions}")


@dataclass(frozen=True)
class StepTime:
    """Milliseconds of a step of one simulation: quartiles over repetitions, and all of these in turn."""

    lower: float
    median: float
    upper: float
    turns: tuple[float, ...] = ()


class StepTimes(NamedTuple):
    """Alone, and as its share of a call that advances several simulations together."""

    single: StepTime
    batched: StepTime


@eqx.filter_jit
def _repeat(
    advance: Callable[[Any, Any], Any], state: PyTree[Array], context: PyTree[Array], count: Int[Array, ""]
) -> PyTree[Array]:
    """``count`` steps in a compiled loop; the number may change without compiling again."""
    return jax.lax.fori_loop(0, count, lambda _, s: advance(s, context), state)


class _Together(eqx.Module):
    """A step of several simulations."""

    advance: Callable[[Any, Any], Any]

    def __call__(self, states: PyTree[Array], contexts: PyTree[Array]) -> PyTree[Array]:
        return jax.vmap(self.advance)(states, contexts)


class _Case(NamedTuple):
    call: Callable[[], Any]
    steps: int


def _case(advance: Callable[[Any, Any], Any], state: Any, context: Any, members: int, seconds: float) -> _Case:
    """A loop that takes about ``seconds``; its steps are counted once per member."""
    loop = partial(_repeat, advance, state, context)
    count = 1
    jax.block_until_ready(loop(jnp.asarray(count, jnp.int32)))
    for _ in range(2):  # once more, because the first count is mostly the cost of a call
        begun = time.perf_counter()
        jax.block_until_ready(loop(jnp.asarray(count, jnp.int32)))
        count = int(np.clip(seconds * count / (time.perf_counter() - begun), 1, MOST_STEPS))
    return _Case(partial(loop, jnp.asarray(count, jnp.int32)), count * members)


def time_steps(
    works: Mapping[str, Callable[[int], Work]],
    timing: Timing,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, StepTimes]:
    """Time ``works[key](members)`` in turns: a loop each, alone and with a batch of members."""
    batch, seconds, clock = timing.batch, timing.seconds, CLOCKS[timing.clock]
    cases: dict[tuple[str, str], _Case] = {}
    for key, make in works.items():
        report(f"compiling {key}")
        made = make(batch or 1)
        first = jax.tree.map(lambda x: x[0], (made.states, made.contexts))
        cases[key, "single"] = _case(made.advance, first[0], first[1], 1, seconds)
        if batch is not None:
            cases[key, "batched"] = _case(_Together(made.advance), made.states, made.contexts, batch, seconds)
    found: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
    for repetition in range(timing.repetitions):
        report(f"timing, turn {repetition + 1} of {timing.repetitions}")
        for which, case in cases.items():
            begun = clock()
            jax.block_until_ready(case.call())
            found[which].append(1e3 * (clock() - begun) / case.steps)
    quartiles = {case: StepTime(*_quartiles(each), tuple(each)) for case, each in found.items()}
    kinds = ("single", "single" if batch is None else "batched")
    return {key: StepTimes(*(quartiles[key, kind] for kind in kinds)) for key in works}


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    low, middle, high = np.percentile(times, (25, 50, 75)).tolist()
    return low, middle, high


class _Step(eqx.Module):
    """A step of a known length ``dt``, of one that is given with the parameters, or of one that follows the state."""

    solver: Solver
    closure: Closure | None
    dt: float | None = eqx.field(static=True)
    follows: bool = eqx.field(static=True)

    def __call__(self, state: State, context: tuple[Parameters, Array]) -> State:
        parameters, given = context
        dt = _benign(self.solver, state, parameters) if self.follows else given
        return self.solver.step(state, parameters, dt if self.dt is None else self.dt, self.closure)


def _benign(solver: Solver, state: State, parameters: Parameters) -> Array:
    rate = solver.rate(state, parameters)
    return step_like(jnp.where(rate > 0, BENIGN / jnp.where(rate > 0, rate, 1), BENIGN), state)


@eqx.filter_jit
def _begun(solver: Solver, cases: Case) -> tuple[State, Parameters, Array]:
    def one(case: Case) -> tuple[State, Parameters, Array]:
        state, parameters = solver.init(case)
        return state, parameters, _benign(solver, state, parameters)

    return jax.lax.map(one, cases)


def work(method: Method, cases: Case, members: int) -> Work:
    """One step of ``members`` simulations; with what finds its length, where that follows the field."""
    there = jax.tree.leaves(cases)[0].shape[0]
    few = jax.tree.map(lambda x: x[np.arange(members) % there], cases)
    states, parameters, dt = _begun(method.solver, few)
    known = method.step.exact or (method.step.dt is not None and method.solver.known_rate is not None)
    length = method.step.dt if known else None
    follows = not (known or method.solver.steady)
    return Work(_Step(method.solver, method.closure, length, follows), states, (parameters, dt))
