"""A column of layers: what ocean and climate models have of convection, and its classical closures.

    db/dt = -dF/dz,        F = -(nu + K) db/dz + G,        F = B at the surface

with the eddy diffusivity K and a flux G that is not along the gradient, both by a closure. Diffusion is implicit, so
that steps may have any length; layers exchange buoyancy, so that its total changes by the fluxes at the ends alone.

A learned closure adds to ``G``, at the upper face of each layer. It sees dimensionless numbers of the face: the
stratification relative to the initial one, the difference to the surface relative to that of the initial
stratification (0 in a mixed layer, towards 1 below), the depth and the flux relative to ``N^3`` times the square of
the box's depth. Its answer is in units of the surface flux; the answer at the surface has no effect.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.core.case import Case
from closura.core.solver import Parameters, Solver, State
from closura.grids import Grid
from closura.problems.convection.flow import heights, layers

Step = float | Float[Array, ""]
Buoyancy = Float[Array, "component z"]
Profile = Float[Array, " z"]
OBSERVED = ("stratification", "difference to the surface", "depth", "flux")
ANSWERED = ("flux",)


class Column(Solver):
    """Layers with a classical closure; a state is the buoyancy ``(1, z)``, z upwards, unless a closure adds to it."""

    grid: Grid = eqx.field(static=True)
    viscosity: float = eqx.field(static=True)
    courant_limit: ClassVar[float] = 20.0
    """Steps have no limit of stability; longer ones are not worth comparing."""

    @abc.abstractmethod
    def mixed(
        self, state: Float[Array, "component z"], parameters: Parameters, dt: Step
    ) -> Float[Array, "component z"]:
        """The state after mixing for a time."""

    def advance(self, state: State, parameters: Parameters, dt: Step) -> State:
        return self.mixed(state, parameters, dt)

    def init(self, case: Case) -> tuple[Float[Array, "1 z"], Parameters]:
        """The initial stratification: waves of the flow have no horizontal mean."""
        (n,), (depth,) = self.grid.shape, self.grid.extent
        profile = case.parameters["stratification"] * heights(n, depth)
        return profile.astype(jnp.float32)[None], case.parameters

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "1 z"]:
        """The buoyancy, by means over layers where they are fewer, linearly interpolated where they are more."""
        buoyancy = state[:1]
        if grid.shape[0] <= buoyancy.shape[1]:
            return layers(buoyancy[0], grid.shape[0])[None]
        old, new = (heights(n, 1.0) for n in (buoyancy.shape[1], grid.shape[0]))
        return jnp.interp(new, old, buoyancy[0])[None].astype(buoyancy.dtype)

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        """How many layers the flux cools by their difference in the initial stratification, per time."""
        return parameters["flux"] / (parameters["stratification"] * self.grid.spacing[0] ** 2)

    def observe(self, state: State, parameters: Parameters) -> Float[Array, "4 z"]:
        """The four numbers of each upper face; see the module's text."""
        b, (dz,), (depth,) = state[0], self.grid.spacing, self.grid.extent
        n2, flux = parameters["stratification"], parameters["flux"]
        below = depth - (heights(b.shape[0], depth) + dz / 2)
        gradient = jnp.append((b[1:] - b[:-1]) / (dz * n2), 0.0)
        face = jnp.append((b[1:] + b[:-1]) / 2, b[-1])
        difference = (b[-1] - face) / (n2 * jnp.maximum(below, dz))
        strength = jnp.full_like(b, 1e3) * (flux / (n2**1.5 * depth**2))
        return jnp.stack([gradient, difference, below / depth, strength]).astype(jnp.float32)

    def correct(
        self, state: State, parameters: Parameters, dt: Step, action: Float[Array, "1 z"]
    ) -> Float[Array, "component z"]:
        """The buoyancy that the fluxes of an action leave: what one layer loses its neighbour gains."""
        (dz,) = self.grid.spacing
        fluxes = (parameters["flux"] * action[0].at[-1].set(0.0)).astype(state.dtype)
        return state.at[0].add(-dt / dz * jnp.diff(fluxes, prepend=0.0).astype(state.dtype))

    def diffused(
        self,
        b: Profile,
        parameters: Parameters,
        dt: Step,
        diffusivity: Float[Array, " faces"],
        extra: Array | float = 0.0,
    ) -> Profile:
        """One implicit step with a diffusivity and a further flux at the inner faces, and the fluxes at the ends."""
        (dz,) = self.grid.spacing
        ends = jnp.zeros(b.shape[0] + 1, b.dtype).at[1:-1].set(extra)
        ends = ends.at[0].set(-self.viscosity * parameters["stratification"]).at[-1].set(parameters["flux"])
        return implicit(b - (dt / dz * jnp.diff(ends)).astype(b.dtype), dt / dz**2 * (self.viscosity + diffusivity))


def implicit(b: Profile, exchange: Float[Array, " faces"]) -> Profile:
    """Backward Euler for diffusion between layers without flux at the ends: a tridiagonal system.

    ``exchange`` is ``dt K / dz^2`` at the inner faces.
    """
    exchange = exchange.astype(b.dtype)
    low, high = jnp.pad(exchange, (1, 0)), jnp.pad(exchange, (0, 1))
    return jax.lax.linalg.tridiagonal_solve(-low, 1 + low + high, -high, b[:, None])[:, 0]


class Adjustment(Column):
    """Convective adjustment: a large diffusivity where the layers are unstable, none elsewhere.

    Parameters
    ----------
    mixing
        The diffusivity, length^2 / time.
    """

    mixing: float = eqx.field(static=True)

    def mixed(self, state: Float[Array, "1 z"], parameters: Parameters, dt: Step) -> Float[Array, "1 z"]:
        unstable = jnp.diff(state[0]) < 0
        # The surface flux makes the uppermost face unstable, whatever it was.
        unstable = unstable.at[-1].set(True)
        return self.diffused(state[0], parameters, dt, jnp.where(unstable, self.mixing, 0.0))[None]


class Bulk(Column):
    """A mixed layer that entrains a fixed share of the surface flux (Ball 1960; Deardorff 1974).

    In a uniform stratification its depth follows from what the column has lost: ``h^2 = 2 (1 + 2 A) L / N^2``, L the
    integral of the buoyancy lost. In it ``K = mixing``; through its base the flux is ``-A B``.

    Parameters
    ----------
    entrainment
        ``A``: the downward flux through the base in units of the surface flux.
    mixing
        The diffusivity in the layer, length^2 / time.
    """

    entrainment: float = eqx.field(static=True)
    mixing: float = eqx.field(static=True)

    def mixed(self, state: Float[Array, "1 z"], parameters: Parameters, dt: Step) -> Float[Array, "1 z"]:
        b, (dz,), (depth,) = state[0], self.grid.spacing, self.grid.extent
        n2, flux = parameters["stratification"], parameters["flux"]
        lost = jnp.sum(n2 * heights(b.shape[0], depth) - b) * dz + dt * flux
        h = jnp.sqrt(2 * (1 + 2 * self.entrainment) * jnp.maximum(lost, 0.0) / n2)
        below = depth - (heights(b.shape[0], depth)[:-1] + dz / 2)
        inside = jnp.clip((h - below) / dz + 0.5, 0.0, 1.0)
        base = jnp.clip(1 - jnp.abs(h - below) / dz, 0.0, 1.0)  # the two faces beside it, by their distances
        return self.diffused(b, parameters, dt, self.mixing * inside, -self.entrainment * flux * base)[None]


class Profiles(Column):
    """The K-profile parameterisation of free convection (Large, McWilliams and Doney 1994, sections 2 and 3).

    The layer's depth h is where the bulk Richardson number reaches ``critical``; in it
    ``K = h w_s s (1 - s)^2`` with ``s = depth / h`` and ``w_s = speed (B h)^(1/3)``, and a flux
    ``nonlocal_flux B s (1 - s)^2`` that is not along the gradient.

    Parameters
    ----------
    critical
        Critical bulk Richardson number over the coefficient of unresolved shear: ``h`` is where
        ``(b_surface - b) depth = critical * N depth (B depth)^(1/3)``.
    speed
        Coefficient of the turbulent velocity.
    nonlocal_flux
        Coefficient of the flux that is not along the gradient.
    """

    critical: float = eqx.field(static=True)
    speed: float = eqx.field(static=True)
    nonlocal_flux: float = eqx.field(static=True)

    def mixed(self, state: Float[Array, "1 z"], parameters: Parameters, dt: Step) -> Float[Array, "1 z"]:
        b, (dz,), (depth,) = state[0], self.grid.spacing, self.grid.extent
        flux = parameters["flux"]
        below = depth - (heights(b.shape[0], depth)[:-1] + dz / 2)  # depths of inner faces
        surface = jnp.mean(b[-max(1, b.shape[0] // 16) :])
        drop = (surface - (b[1:] + b[:-1]) / 2) * below
        slope = jnp.sqrt(jnp.maximum(jnp.diff(b) / dz, 0.0)) * below
        # From the surface down, the first face beyond the critical number.
        beyond = drop > self.critical * slope * jnp.cbrt(flux * below) + 1e-12
        index = beyond.shape[0] - 1 - jnp.argmax(beyond[::-1])
        h = jnp.where(beyond.any(), jnp.maximum(below[index], dz), depth)
        s = jnp.clip(below / h, 0.0, 1.0)
        shape = s * (1 - s) ** 2
        k = h * self.speed * jnp.cbrt(flux * h) * shape
        return self.diffused(b, parameters, dt, k, self.nonlocal_flux * flux * shape)[None]
