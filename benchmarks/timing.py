"""Timing in turns, steps in compiled loops, and tables: what the run-time benchmarks share."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.closures import build
from closura.core import ClosureSpec
from closura.problems import InitialState, Problem


@dataclass(frozen=True)
class Time:
    """Milliseconds per unit of a case: wall time (quartiles over repetitions) and processor time (median)."""

    lower: float
    median: float
    upper: float
    processor: float
    repetitions: int
    units: int


@dataclass(frozen=True)
class Case:
    """Something to time: ``call()`` gives arrays and does ``units`` units of work."""

    call: Callable[[], Any]
    units: int = 1


def measure(cases: dict[str, Case], repetitions: int) -> dict[str, Time]:
    """Time all cases, in turns."""
    walls: dict[str, list[float]] = {name: [] for name in cases}
    processors: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        jax.block_until_ready(case.call())
    for _ in range(repetitions):
        for name, case in cases.items():
            wall, processor = time.perf_counter(), time.process_time()
            jax.block_until_ready(case.call())
            walls[name].append(1e3 * (time.perf_counter() - wall) / case.units)
            processors[name].append(1e3 * (time.process_time() - processor) / case.units)
    return {
        name: Time(
            *(float(x) for x in np.percentile(walls[name], (25, 50, 75))),
            processor=float(np.median(processors[name])),
            repetitions=repetitions,
            units=case.units,
        )
        for name, case in cases.items()
    }


@eqx.filter_jit
def repeat(advance: Callable[[Any], Any], state: Any, count: Any) -> Any:
    """``count`` steps in a compiled loop; the number may change without compiling again."""
    return jax.lax.fori_loop(0, count, lambda _, s: advance(s), state)


def loop(advance: Callable[[Any], Any], state: Any, *, seconds: float) -> Case:
    """A case of as many steps as take about ``seconds``."""
    count = 1
    jax.block_until_ready(repeat(advance, state, jnp.asarray(count, jnp.int32)))
    for _ in range(2):  # once more, because the first count is mostly the cost of a call
        wall = time.perf_counter()
        jax.block_until_ready(repeat(advance, state, jnp.asarray(count, jnp.int32)))
        count = int(np.clip(seconds * count / (time.perf_counter() - wall), 1, 20_000))
    return Case(lambda: repeat(advance, state, jnp.asarray(count, jnp.int32)), count)


def begin(problem: Problem) -> InitialState:
    """The beginning of a simulation from random numbers: times do not depend on values."""
    starts: Any = problem.begin
    numbers = np.random.default_rng(0)

    def fill(leaf: Any) -> Any:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return jnp.zeros(leaf.shape, leaf.dtype)
        # Scalars are coefficients: a small one keeps simulations finite.
        value = numbers.uniform(-0.3, 0.3, leaf.shape) if leaf.shape else 0.003
        return jnp.asarray(value, leaf.dtype)

    case = jax.tree.map(fill, jax.eval_shape(lambda key: starts.cases.sample(key=key), jax.random.key(0)))
    return eqx.filter_jit(starts.from_case)(case)


@lru_cache
def network(name: str, spec: ClosureSpec, *, explores: bool) -> Any:
    """A closure with random weights."""
    return build(name, spec, explores=explores, key=jax.random.key(1))


def coarse_step(problem: Problem, parameters: Any, closure: Any = None, solver: Any = None) -> Any:
    """One step of a coarse solver, alone or with a closure, as a function of its state."""
    dt, chosen = problem.dt_of(parameters), problem.coarse if solver is None else solver
    return eqx.Partial(chosen.step, parameters=parameters, dt=dt, closure=closure)


def reference_step(problem: Problem, initial: Any) -> Any:
    """One coarse step of time of the reference, as a function of its state."""
    state, parameters = initial.state, initial.parameters
    return eqx.Partial(problem.reference.advance, state=state, parameters=parameters, dt=problem.dt_of(parameters))


def number(x: float | None) -> str:
    """Three significant digits, no exponent; nothing for None."""
    if x is None:
        return ""
    digits = max(0, 2 - int(np.floor(np.log10(abs(x))))) if x else 0
    return f"{x:.{min(digits, 5)}f}"


def markdown(columns: list[str], lines: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |", flush=True)
