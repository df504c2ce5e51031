r"""From a state to what an agent at an interface sees, and from its weights back to a flux.

At the interface ``i + 1/2`` the flux is split, ``f^+- = (f +- alpha q) / 2`` (Lax and Friedrichs); the plus stencil
is ``f^+_{i-r+1} .. f^+_{i+r-1}`` and the minus stencil its mirror image ``f^-_{i+r} .. f^-_{i-r+2}``: both in upwind
order, so that one formula serves both. The interface's flux is the sum of the two weighted values.

``alpha`` is the largest speed of the whole grid and its ghosts (``global``), of the grid line (``line``, as published
in two dimensions), or of the ``2 r`` cells around the interface (``local``).

Stencils hold the flux's components (``component``), its characteristic variables at the mean of the two cells at
the interface (``characteristic``), or its projection with the transposed matrices (``transposed``, as published).
"""

from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from closura.numerics.weno import interface_value
from closura.problems.laws.ends import pad_ends
from closura.problems.laws.law import ConservationLaw, State

Splitting = Literal["global", "line", "local"]
Projection = Literal["component", "characteristic", "transposed"]
SPLITTINGS: tuple[Splitting, ...] = get_args(Splitting)
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)

Stencils = Float[Array, "side cell component *interfaces"]
"""``side`` 0: plus, 1: minus; ``cell`` in upwind order; the swept axis is the last."""
Back = Float[Array, "component wave *interfaces"] | None


def split_stencils(
    law: ConservationLaw,
    state: State,
    end: Int[Array, ""],
    *,
    axis: int,
    r: int,
    splitting: Splitting = "global",
    projection: Projection = "component",
) -> tuple[Stencils, Back]:
    """Stencils of the split fluxes at all ``n + 1`` interfaces along an axis, and the matrices that lead back.

    ``state`` has the swept axis last.
    """
    padded = pad_ends(state, r, end, law.mirror(axis))
    flux, speed = law.flux(padded, axis), law.speed(padded, axis)
    count = state.shape[-1] + 1
    q = _windows(padded, 2 * r, count)
    f = _windows(flux, 2 * r, count)
    alpha = _speeds(speed, splitting, 2 * r, count)
    back = None
    if projection != "component":
        lefts, rights = law.eigenvectors(q[r - 1], q[r], axis)
        if projection == "transposed":
            lefts, rights = jnp.swapaxes(lefts, 0, 1), jnp.swapaxes(rights, 0, 1)
        q, f, back = _project(lefts, q), _project(lefts, f), rights
    plus, minus = (f + alpha * q) / 2, (f - alpha * q) / 2
    return jnp.stack([plus[:-1], minus[:0:-1]]), back


def interface_flux(
    stencils: Stencils, weights: Float[Array, "side r component *interfaces"], back: Back
) -> Float[Array, "component *interfaces"]:
    """The flux that weights make of the stencils."""
    flux = interface_value(stencils[0], weights[0]) + interface_value(stencils[1], weights[1])
    return flux if back is None else jnp.sum(back * flux[None], axis=1)


def _windows(field: Float[Array, "component *padded"], width: int, count: int) -> Float[Array, "cell component *i"]:
    return jnp.stack([field[..., k : k + count] for k in range(width)])


def _speeds(speed: Float[Array, "*padded"], splitting: Splitting, width: int, count: int) -> Array:
    if splitting == "global":
        return jnp.max(speed)
    if splitting == "line":
        return jnp.max(speed, axis=-1, keepdims=True)
    return jnp.max(jnp.stack([speed[..., k : k + count] for k in range(width)]), axis=0)


def _project(matrix: Float[Array, "wave component *i"], field: Float[Array, "cell component *i"]) -> Array:
    return jnp.sum(matrix[None] * field[:, None], axis=2)
