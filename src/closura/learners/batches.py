"""Simulations of a batch one after the other where that is faster: on CPUs, and on large grids."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, PyTree

from closura.closures._members import POINTS_PER_TURN, largest_divisor
from closura.closures.convolution import uses_blocks


def by_groups(function: Callable[[Any], Any], batch: PyTree[Array], points: int) -> PyTree[Array]:
    """``jax.vmap(function)(batch)``; on CPUs in turns of a few thousand grid points each.

    What a simulation needs then stays in the cache between the operations of a step, forward and back: gradients of
    eight simulations on 64 x 64 cells took 17 % less time on one core, 30 % on two.
    """
    members = jax.tree.leaves(batch)[0].shape[0]
    group = largest_divisor(members, max(1, POINTS_PER_TURN // points) if uses_blocks() else members)
    if group == members:
        return jax.vmap(function)(batch)
    turns = jax.tree.map(lambda x: x.reshape(members // group, group, *x.shape[1:]), batch)
    results = lax.map(jax.vmap(function), turns)
    return jax.tree.map(lambda x: x.reshape(members, *x.shape[2:]), results)
