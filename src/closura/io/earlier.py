"""Policies as they were stored before they were actor-critics around a closure.

=============================  =====================================================================
stored                         today
=============================  =====================================================================
``backbone.*``                 ``closure.backbone.*``
``head.*`` (stencils)          ``closure.head.*``
``actor.kernel``, ``.bias``    ``closure.head.*``, the first half of the last axis (mean), and
                               ``spread.*``, the second half (raw spread)
``spread.*``, ``critic.*``     the same
``closure.network.*``          the same
=============================  =====================================================================

Leaves of checkpoints stand in the order of the stored names; only those of policies with an ``actor`` differ today.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from closura.closures import ActorCritic, ConvolutionalClosure


def todays_names(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a stored policy under the names that they have in an :class:`~closura.closures.ActorCritic`."""
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        place, _, rest = name.partition(".")
        if place in ("backbone", "head"):
            found[f"closure.{name}"] = array
        elif place == "actor" and array.ndim and array.shape[-1] % 2 == 0:
            found[f"closure.head.{rest}"], found[f"spread.{rest}"] = np.split(array, 2, axis=-1)
        else:
            found[name] = array
    return found


class _Stored(NamedTuple):
    """A policy's arrays in their earlier order."""

    backbone: PyTree[Array]
    kernel: Array
    bias: Array
    critic: PyTree[Array]


def earlier_layout(state: PyTree[Array]) -> PyTree[Array]:
    """A state of a learner whose policies have mean and raw spread in one array."""
    return jax.tree.map(_store, state, is_leaf=_had_an_actor)


def todays_layout(stored: PyTree[Array], like: PyTree[Array]) -> PyTree[Array]:
    """What :func:`earlier_layout` made of a state, back in the structure of ``like``."""
    return jax.tree.map(_restore, like, stored, is_leaf=_had_an_actor)


def _had_an_actor(node: Any) -> bool:
    return isinstance(node, ActorCritic) and isinstance(node.closure, ConvolutionalClosure)


def _store(node: Any) -> Any:
    if not _had_an_actor(node):
        return node
    mean, spread = node.closure.head, node.spread
    kernel, bias = (jnp.concatenate(pair, axis=-1) for pair in ((mean.kernel, spread.kernel), (mean.bias, spread.bias)))
    return _Stored(node.closure.backbone, kernel, bias, node.critic)


def _restore(like: Any, stored: Any) -> Any:
    if not _had_an_actor(like):
        return stored
    halves = [half for array in stored[1:3] for half in jnp.split(array, 2, axis=-1)]
    return eqx.tree_at(
        lambda p: (p.closure.backbone, p.closure.head.kernel, p.spread.kernel, p.closure.head.bias, p.spread.bias,
                   p.critic),
        like, (stored.backbone, *halves, stored.critic),
    )  # fmt: skip
