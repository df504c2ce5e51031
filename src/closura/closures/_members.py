"""Run a network on CPUs member by member of a batch, and store nothing for its gradient but the input.

Under ``vmap`` the activations of a whole batch leave the cache between layers, and inside a time loop the
reverse pass stores them for all steps. Member by member they stay in the cache, and computing them again
costs less than reading them back: measured, gradients of small networks 2.6 times faster and of IRCNN 10 %
slower, with memory for the observations only. Other backends use ``vmap`` and the usual gradients.

The loop runs on one device. To use many cores, or members that are sharded over devices, put ``shard_map``
outside: a sharded batch given to the loop would be gathered on every device.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, PyTree

from closura.closures.convolution import uses_blocks

# Grid points that are worth a turn of the loop: members on smaller grids take turns in groups.
POINTS_PER_TURN = 4096


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of a number that does not exceed a limit of at least 1: groups of equal size."""
    return max(n for n in range(1, min(limit, number) + 1) if number % n == 0)


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


def apply_by_member(function: Callable[[Any, Array], Any], module: eqx.Module, observation: Array) -> Any:
    """``function(module, observation)``, fast under ``vmap`` and ``grad`` on CPUs; a function of module level."""
    return _apply(function, module, observation, uses_blocks())


@eqx.filter_jit  # so that calls outside of any jit are compiled once, not at each call
def _apply(function: Callable[[Any, Array], Any], module: Any, observation: Array, blocks: bool) -> Any:
    if not blocks:
        return function(module, observation)
    arrays, rest = eqx.partition(module, eqx.is_inexact_array)
    group = max(1, POINTS_PER_TURN * observation.shape[0] // observation.size)

    def plain(arrays: Any, x: Array) -> Any:
        return function(eqx.combine(arrays, rest), x)

    def pull_back(arrays: Any, x: Array, cotangents: Any) -> Any:
        return jax.vjp(plain, arrays, x)[1](cotangents)

    forward, backward = _in_turn(plain, group), _in_turn(pull_back, group)

    @jax.custom_vjp
    def network(arrays: Any, x: Array) -> Any:
        return forward(arrays, x)

    network.defvjp(
        lambda arrays, x: (forward(arrays, x), (arrays, x)),
        lambda residuals, cotangents: backward(*residuals, cotangents),
    )
    return network(arrays, observation)


def _in_turn(function: Callable[..., Any], group: int) -> Callable[..., Any]:
    """The same function, whose ``vmap`` is a loop over groups of members."""
    in_turn = custom_vmap(function)

    @in_turn.def_vmap
    def rule(axis_size: int, in_batched: Any, *arguments: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(arguments)
        batched = jax.tree.leaves(in_batched)
        size = largest_divisor(axis_size, group)
        turns = axis_size // size

        def merge(moving: list[Array]) -> list[Array]:
            own = iter(moving)
            return [next(own) if flag else leaf for leaf, flag in zip(leaves, batched, strict=True)]

        def call(*leaves: Array) -> Any:
            return function(*jax.tree.unflatten(structure, leaves))

        # The loop's body must itself be a loop under further vmaps.
        body = _in_turn(call, 1) if size == 1 else _in_turn(jax.vmap(call, [0 if b else None for b in batched]), 1)
        moving = [leaf for leaf, flag in zip(leaves, batched, strict=True) if flag]
        if size > 1:
            moving = [leaf.reshape(turns, size, *leaf.shape[1:]) for leaf in moving]
        result = lax.map(lambda moving: body(*merge(moving)), moving)
        if size > 1:
            result = jax.tree.map(lambda leaf: leaf.reshape(axis_size, *leaf.shape[2:]), result)
        return result, jax.tree.map(lambda _: True, result)

    return in_turn
