r"""From a state to what an agent at an interface sees, and from its weights back to a flux.

At the interface ``i + 1/2`` the flux is split, ``f^+- = (f +- alpha q) / 2`` (Lax and Friedrichs); the plus stencil
is ``f^+_{i-r+1} .. f^+_{i+r-1}`` and the minus stencil its mirror image ``f^-_{i+r} .. f^-_{i-r+2}``: both in upwind
order, so that one formula serves both. The interface's flux is the sum of the two weighted values.

``alpha`` is the largest speed of the whole grid and its ghosts (``global``), of the grid line (``line``, as published
in two dimensions), or of the ``2 r`` cells around the interface (``local``).

Stencils hold the flux's components (``component``), its characteristic variables at the mean of the two cells at
the interface (``characteristic``), or its projection with the transposed matrices (``transposed``, as published).
"""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from closura.initial.condition import ENDS, End
from closura.numerics.weno import interface_value
from closura.problems.laws.law import ConservationLaw, State


def end_index(ends: Sequence[End]) -> Int[np.ndarray, " axis"]:
    """Numbers of the kinds, as the parameters of a simulation hold them."""
    return np.array([ENDS.index(end) for end in ends], np.int32)


@lru_cache
def _ghosts(width: int) -> Float[np.ndarray, "end ghost cell"]:
    """``ghost = matrix @ cells``: both in the order of the axis, left first; ``width`` (or three) cells per end."""
    near, g = max(width, 3), np.arange(width)  # distances from the end
    matrices = np.zeros((len(ENDS), 2 * width, 2 * near))
    for kind, mode in (("periodic", "wrap"), ("outflow", "edge"), ("reflecting", "symmetric")):
        padded = np.pad(np.eye(2 * near), [(width, width), (0, 0)], mode=mode)  # type: ignore[call-overload]
        matrices[ENDS.index(kind)] = np.concatenate([padded[:width], padded[-width:]])
    extrapolated = {
        "linear": (g + 2, -(g + 1)),
        "quadratic": ((g + 2) * (g + 3) / 2, -(g + 1) * (g + 3), (g + 1) * (g + 2) / 2),
    }
    for kind, weights in extrapolated.items():
        for cell, weight in enumerate(weights):
            matrices[ENDS.index(kind), width - 1 - g, cell] = weight
            matrices[ENDS.index(kind), width + g, 2 * near - 1 - cell] = weight
    return matrices


def pad_ends(
    state: Float[Array, "component *other n"],
    width: int,
    end: Int[Array, ""],
    mirror: Float[Array, " component"],
) -> Float[Array, "component *other padded"]:
    """Add ``width`` ghost cells at both ends of the last axis, of the kind ``ENDS[end]``.

    ``mirror`` are the signs of the components beyond a reflecting end.
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


Splitting = Literal["global", "line", "local"]
Projection = Literal["component", "characteristic", "transposed"]
KEPT = 0.01
SPLITTINGS: tuple[Splitting, ...] = get_args(Splitting)
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)

Stencils = Float[Array, "side cell component *interfaces"]
"""``side`` 0: plus, 1: minus; ``cell`` in upwind order; the swept axis is the last."""
Back = Float[Array, "component wave *interfaces"] | None


class Edges(NamedTuple):
    """States and fluxes of the two cells at each interface, ``(component, *interfaces)``, and the splitting's speed."""

    left: Float[Array, "component *interfaces"]
    right: Float[Array, "component *interfaces"]
    flux_left: Float[Array, "component *interfaces"]
    flux_right: Float[Array, "component *interfaces"]
    speed: Float[Array, "*interfaces"]


class Sweep(NamedTuple):
    """One axis, swept axis last: stencils, the matrices that lead back from characteristic variables, the edges."""

    stencils: Stencils
    back: Back
    edges: Edges

    @property
    def agents(self) -> int:
        """Number of agents along this axis: one per component and interface."""
        return math.prod(self.stencils.shape[2:])


def split_stencils(
    law: ConservationLaw,
    state: State,
    end: Int[Array, ""],
    *,
    axis: int,
    r: int,
    splitting: Splitting = "global",
    projection: Projection = "component",
) -> Sweep:
    """Stencils of the split fluxes at all ``n + 1`` interfaces along an axis.

    ``state`` has the swept axis last.
    """
    padded = pad_ends(state, r, end, law.mirror(axis))
    flux, speed = law.flux(padded, axis), law.speed(padded, axis)
    count, alpha = state.shape[-1] + 1, _speeds(speed, splitting, 2 * r, state.shape[-1] + 1)
    left, right = (slice(k, k + count) for k in (r - 1, r))
    edges = Edges(padded[..., left], padded[..., right], flux[..., left], flux[..., right], alpha)
    if projection == "component" and splitting != "local":
        # One speed for a line: split once, before the stencils are cut out.
        plus, minus = (_windows(x, 2 * r, count) for x in ((flux + alpha * padded) / 2, (flux - alpha * padded) / 2))
        return Sweep(jnp.stack([plus[:-1], minus[:0:-1]]), None, edges)
    q, f = _windows(padded, 2 * r, count), _windows(flux, 2 * r, count)
    back = None
    if projection != "component":
        lefts, rights = law.eigenvectors(q[r - 1], q[r], axis)
        if projection == "transposed":
            lefts, rights = jnp.swapaxes(lefts, 0, 1), jnp.swapaxes(rights, 0, 1)
        q, f, back = _project(lefts, q), _project(lefts, f), rights
    plus, minus = (f + alpha * q) / 2, (f - alpha * q) / 2
    return Sweep(jnp.stack([plus[:-1], minus[:0:-1]]), back, edges)


def interface_flux(
    stencils: Stencils, weights: Float[Array, "side r component *interfaces"], back: Back
) -> Float[Array, "component *interfaces"]:
    """The flux that weights make of the stencils."""
    flux = jnp.sum(jax.vmap(interface_value)(stencils, weights), axis=0)
    return flux if back is None else jnp.sum(back * flux[None], axis=1)


def keep_positive(
    law: ConservationLaw, flux: Float[Array, "component *interfaces"], edges: Edges
) -> Float[Array, "component *interfaces"]:
    r"""Blend a flux with that of Lax and Friedrichs as far as density and pressure need it to stay positive.

    Half of a cell's next state, at a Courant number up to 1/2 along the axis, is made of ``q -+ F / alpha`` at its two
    interfaces. With the flux of Lax and Friedrichs these are means of states of the law; another flux is drawn
    towards it until both sides keep at least a share of the positive quantities there (:data:`KEPT`). Where nothing
    would become negative the flux is left alone.

    Source: Hu, Adams, Shu, "Positivity-preserving method for high-order conservative schemes solving compressible
    Euler equations", Journal of Computational Physics 242 (2013), 169-180.
    """
    left, right, flux_left, flux_right, alpha = edges
    safe = (flux_left + flux_right) / 2 - alpha * (right - left) / 2
    for number in range(len(law.positives(left))):
        share = jnp.ones_like(flux[0])
        for state, sign in ((left, -1.0), (right, 1.0)):
            least = law.positives(state + sign * safe / alpha)[number]
            wanted = law.positives(state + sign * flux / alpha)[number]
            bound = KEPT * least
            reach = (least - bound) / jnp.maximum(least - wanted, jnp.finfo(flux.dtype).tiny)
            share = jnp.minimum(share, jnp.where(wanted < bound, reach, 1.0))
        blended = safe + jax.lax.stop_gradient(jnp.clip(share, 0, 1)) * (flux - safe)
        flux = jnp.where(share < 1, blended, flux)
    return flux


def _windows(field: Float[Array, "*other padded"], width: int, count: int) -> Float[Array, "cell *other i"]:
    return _cut(width, count, field)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _cut(width: int, count: int, field: Float[Array, "*other padded"]) -> Float[Array, "cell *other i"]:
    return jnp.stack([field[..., k : k + count] for k in range(width)])


def _cut_back(width: int, count: int, _: None, slope: Float[Array, "cell *other i"]) -> tuple[Array]:
    # Window k belongs k cells further on. With rows one longer than the field, those of a flat array shift by one
    # each: a single sum, where the derivative of every slice would be a padded array of its own.
    rows = jnp.moveaxis(slope, 0, -2)
    flat = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, width)]).reshape(*rows.shape[:-2], -1)
    skewed = flat[..., : width * (count + width - 1)].reshape(*rows.shape[:-1], count + width - 1)
    return (jnp.sum(skewed, axis=-2),)


_cut.defvjp(lambda width, count, field: (_cut(width, count, field), None), _cut_back)


def _speeds(speed: Float[Array, "*padded"], splitting: Splitting, width: int, count: int) -> Array:
    if splitting == "global":
        return jnp.max(speed)
    if splitting == "line":
        return jnp.max(speed, axis=-1, keepdims=True)
    return jnp.max(jnp.stack([speed[..., k : k + count] for k in range(width)]), axis=0)


def _project(matrix: Float[Array, "wave component *i"], field: Float[Array, "cell component *i"]) -> Array:
    return jnp.sum(matrix[None] * field[:, None], axis=2)
