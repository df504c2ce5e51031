"""What a coarse step costs, inside a compiled loop."""

import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PyTree


def milliseconds_per_step(advance: Callable[[Any], Any], state: PyTree[Array], *, steps: int = 20) -> float:
    """Median wall time of one step inside a compiled loop, in milliseconds, over five repetitions.

    ``advance`` is a module or an ``eqx.Partial`` of a module's method, so that its arrays are arguments of the program.
    """

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
