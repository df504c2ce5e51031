"""Ghost cells whose kind is an array: simulations with several boundaries run in one batch.

Every kind of :data:`closura.initial.condition.End` gives ghost cells that are linear in the cells near the two ends, so
a kind is a small matrix; choosing it by an index leaves one compiled program for all.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from closura.initial.condition import ENDS, End


def end_index(ends: Sequence[End]) -> Int[np.ndarray, " axis"]:
    """Numbers of the kinds, as the parameters of a simulation hold them."""
    return np.array([ENDS.index(end) for end in ends], np.int32)


@lru_cache
def _ghosts(width: int) -> Float[np.ndarray, "end ghost cell"]:
    """``ghost = matrix @ cells``: both in the order of the axis, left first; ``width`` (or three) cells per end."""
    near = max(width, 3)
    first, last = range(near), range(near, 2 * near)
    matrices = np.zeros((len(ENDS), 2 * width, 2 * near))
    for g in range(width):  # distance from the end
        left, right = width - 1 - g, width + g
        rows = {
            "periodic": ({last[near - 1 - g]: 1}, {first[g]: 1}),
            "outflow": ({first[0]: 1}, {last[near - 1]: 1}),
            "reflecting": ({first[g]: 1}, {last[near - 1 - g]: 1}),
            "linear": _both({0: g + 2, 1: -(g + 1)}, near),
            "quadratic": _both({0: (g + 2) * (g + 3) / 2, 1: -(g + 1) * (g + 3), 2: (g + 1) * (g + 2) / 2}, near),
        }
        for kind, (at_left, at_right) in rows.items():
            for cell, weight in at_left.items():
                matrices[ENDS.index(kind), left, cell] = weight
            for cell, weight in at_right.items():
                matrices[ENDS.index(kind), right, cell] = weight
    return matrices


def _both(weights: Mapping[int, float | int], near: int) -> tuple[Mapping[int, float | int], Mapping[int, float | int]]:
    return weights, {2 * near - 1 - cell: weight for cell, weight in weights.items()}


def pad_ends(
    state: Float[Array, "component *other n"],
    width: int,
    end: Int[Array, ""],
    mirror: Float[Array, " component"],
) -> Float[Array, "component *other padded"]:
    """Add ``width`` ghost cells at both ends of the last axis.

    Parameters
    ----------
    state
        The field; the swept axis is the last.
    width
        Ghost cells per end.
    end
        Index of the kind in :data:`~closura.initial.condition.ENDS`.
    mirror
        Signs of the components beyond a reflecting end.
    """
    near = max(width, 3)
    if state.shape[-1] < 2 * near:
        raise ValueError(
            f"a stencil that reaches {width} cells needs {2 * near} cells along an axis; got {state.shape}"
        )
    matrix = jnp.asarray(_ghosts(width), state.dtype)[end]
    signs = jnp.where(end == ENDS.index("reflecting"), mirror.astype(state.dtype), 1)
    cells = jnp.concatenate([state[..., :near], state[..., -near:]], axis=-1)
    ghosts = jnp.sum(matrix * cells[..., None, :], axis=-1) * signs.reshape((-1,) + (1,) * (state.ndim - 1))
    return jnp.concatenate([ghosts[..., :width], state, ghosts[..., width:]], axis=-1)
