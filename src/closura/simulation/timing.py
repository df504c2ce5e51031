"""What a coarse step costs, inside a compiled loop."""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree

from closura.problems.problem import Ask, Dynamics, Target


def milliseconds_per_step(advance: Callable[[Any], Any], state: PyTree[Array], *, steps: int = 20) -> float:
    """Median wall time of one step inside a compiled loop, in milliseconds, over five repetitions."""

    @eqx.filter_jit
    def run(advance: Callable[[Any], Any], state: PyTree[Array]) -> PyTree[Array]:
        return jax.lax.scan(lambda s, _: (advance(s), None), state, None, length=steps)[0]

    jax.block_until_ready(run(advance, state))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(run(advance, state))
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds)) / steps


class SolverStep(eqx.Module):
    """A coarse solver, with or without a closure, as a function of the state alone."""

    dynamics: Dynamics
    parameters: PyTree[Array]
    ask: Ask | None

    def __call__(self, state: Array) -> Array:
        return self.dynamics.step(state, self.parameters, self.ask)[0]


class TargetStep(eqx.Module):
    """A target as a function of its own state alone."""

    target: Target
    state: Array
    parameters: PyTree[Array]

    def __call__(self, target: PyTree[Array]) -> PyTree[Array]:
        return self.target.advance(target, self.state, self.parameters)
