"""Advection in flux form, by finite volumes: the totals of coarse, fine and baseline solutions never change.

    d psi / dt + div(u psi) = 0,     d psi_i / dt = - sum_axis (F(i + 1) - F(i)) / dx,     F = u R(psi)

``psi_i`` is a mean over the cell from ``i dx`` to ``(i + 1) dx``, ``u`` and ``F`` sit on its faces:
``velocity[axis]`` at cell ``i`` belongs to the *lower* face along ``axis``. ``R`` reconstructs psi at a face from
the side that the flow comes from. What leaves a cell enters its neighbour, so the total changes by round-off
only, whatever the velocity.

Every stencil for the first derivative is the difference of a reconstruction at two faces: ``sum_k w_k q_{i+k}
= R_{i+1} - R_i`` with ``R_i = sum_k r_k q_{i+k}``, ``r_k = - sum_{j <= k} w_j``. So the schemes of
:mod:`closura.numerics` serve here too, upwind1 as the donor cell and central2 as the mean of two cells; with a
constant velocity order and stability limit are theirs. With a velocity that varies, ``u R`` at one point stands
for the mean of ``u psi`` over a face: second order at most.

Velocities at faces (:func:`face_velocity`) are means of the values at the corners of the face. In the library's
families - on square grids, products of sines of equal wavenumber along x and y, and the vortex - the
discrete divergence of these means vanishes identically, as that of the velocity does, and coarse faces that take
the mean over the fine faces they consist of (:func:`restrict_faces`) keep it so: a uniform psi stays uniform to
round-off. For other velocities the divergence of the means is of second order.

Source: LeVeque, Finite Volume Methods for Hyperbolic Problems, Cambridge 2002, doi 10.1017/CBO9780511791253.
"""

from collections.abc import Callable
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case
from closura.grids import Grid
from closura.numerics import Scheme, block_mean, get_scheme, pad
from closura.problems.actions import net_outflow
from closura.problems.advection import PassiveScalar, Psi, Velocity


def face_weights(scheme: str | Scheme) -> dict[int, float]:
    """Weights ``r_k`` of ``q_{i+k}`` in the value at the lower face of cell ``i``, for a positive velocity."""
    found = get_scheme(scheme)
    if not isinstance(found, Scheme):
        raise ValueError(f"scheme {found.name!r} has no stencil, and so no value at a face: choose a finite difference")
    weights, running = dict(found.coefficients), 0.0
    result = {}
    for k in range(-found.radius, found.radius):
        running -= weights.get(k, 0.0)
        result[k] = running
    return result


class FluxFormSolver(PassiveScalar):
    """``psi' = psi - dt div(u psi)`` by face values of a scheme and an integrator, with velocities at faces.

    Fields on finer grids are restricted by means over cells and faces: the coarse total is the fine one, and the coarse
    divergence that of the fine velocity.
    """

    def __check_init__(self) -> None:
        if set(self.grid.boundary) != {"periodic"}:
            raise ValueError(f"the flux form needs a periodic grid; got {self.grid.boundary}")
        face_weights(self.scheme)

    def init(self, case: Case) -> tuple[Psi, Velocity]:
        """Means over the cells of this grid and over their faces."""
        ratio = case.initial.shape[1] // self.grid.shape[0]
        return block_mean(case.initial, ratio), restrict_faces(case.parameters, ratio)

    def to_grid(self, state: Psi, grid: Grid) -> Float[Array, "component *other"]:
        return block_mean(state, state.shape[1] // grid.shape[0])

    def flux(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *grid"], axis: int
    ) -> Float[Array, "component *faces"]:
        """Flux through all faces along an axis, first and last one (the same face) included; psi times length per time.

        A reconstruction is split into parts that are even and odd about the face, so that upwinding needs no
        branch: ``F = u even + |u| odd``.
        """
        weights = face_weights(self.scheme)
        radius, faces = len(weights) // 2, psi.shape[axis + 1] + 1
        padded = pad(psi, radius, "periodic", axis)
        closing = [(0, int(i == axis)) for i in range(psi.ndim - 1)]
        speed = jnp.pad(velocity[axis], closing, mode="wrap")[None]
        even, odd = [], []
        for k in range(radius):
            left, right = (
                jax.lax.slice_in_dim(padded, radius + m, radius + m + faces, axis=axis + 1) for m in (-1 - k, k)
            )
            mean, half = (weights[-1 - k] + weights[k]) / 2, (weights[-1 - k] - weights[k]) / 2
            even.append(mean * (left + right))
            if half:
                odd.append(half * (left - right))
        flux = speed * reduce(add, even)
        return flux + jnp.abs(speed) * reduce(add, odd) if odd else flux

    def tendency(
        self, psi: Float[Array, "component *grid"], velocity: Float[Array, "axis *grid"]
    ) -> Float[Array, "component *grid"]:
        """``-div(velocity psi)``, in units of psi per time."""
        return -reduce(
            add,
            (
                jnp.diff(self.flux(psi, velocity, axis), axis=axis + 1) / spacing
                for axis, spacing in enumerate(self.grid.spacing)
            ),
        )


def face_velocity(velocity: Float[Array, "axis *grid"]) -> Float[Array, "axis *grid"]:
    """Velocities at the lower faces of the cells, from values at their lower corners on a periodic grid.

    The mean over the corners of a face: in two dimensions ``u`` is averaged along y, ``v`` along x.
    """
    faces = []
    for axis, along in enumerate(velocity):
        for other in range(velocity.shape[0]):
            if other != axis:
                along = (along + jnp.roll(along, -1, other)) / 2
        faces.append(along)
    return jnp.stack(faces)


def restrict_faces(velocity: Float[Array, "axis *fine"], ratio: int) -> Float[Array, "axis *coarse"]:
    """Velocities at the faces of the coarse cells: means over the fine faces that they consist of.

    The flow through a coarse face is that through its parts, so the divergence of a coarse cell is the mean of
    those of its fine cells.
    """
    means = []
    for axis, along in enumerate(velocity):
        # Every ratio-th face along the axis itself; repeated, so that the mean over a block is that over its face.
        lower = along[(slice(None),) * axis + (slice(None, None, max(ratio, 1)),)]
        means.append(block_mean(jnp.repeat(lower, ratio, axis=axis)[None], ratio)[0])
    return jnp.stack(means)


def divergence(velocity: Float[Array, "axis *grid"], grid: Grid) -> Float[Array, "*grid"]:
    """Discrete divergence of a velocity at faces, per time."""
    scaled = jnp.stack([along / spacing for along, spacing in zip(velocity, grid.spacing, strict=True)])
    return net_outflow(scaled[:, None])[0]


class FaceVelocity(eqx.Module):
    """A family of velocities at grid points, drawn at the faces of cells with these points as lower corners."""

    velocity: Callable[..., Float[Array, "axis *grid"]]

    def __call__(self, key: Key[Scalar, ""]) -> Float[Array, "axis *grid"]:
        return face_velocity(self.velocity(key))
