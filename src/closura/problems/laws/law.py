"""What a solver must know of a hyperbolic conservation law ``q_t + sum_a f_a(q)_{x_a} = 0``.

Laws are records of plain functions of states ``(component, *grid)`` without parameters of the grid; solvers sweep
them one axis at a time.
"""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

State = Float[Array, "component *grid"]


class ConservationLaw(eqx.Module):
    """Fluxes, speeds and variables of a law in ``dimensions`` axes."""

    name: eqx.AbstractVar[str]
    dimensions: eqx.AbstractVar[int]

    @property
    @abc.abstractmethod
    def components(self) -> tuple[str, ...]:
        """Names of the conserved variables."""

    @abc.abstractmethod
    def flux(self, state: State, axis: int) -> State:
        """Flux along an axis."""

    @abc.abstractmethod
    def speed(self, state: State, axis: int) -> Float[Array, "*grid"]:
        """Largest absolute characteristic speed along an axis, at every point."""

    @abc.abstractmethod
    def conserved(self, primitive: State) -> State:
        """Conserved variables from primitive ones."""

    @abc.abstractmethod
    def primitive(self, state: State) -> State:
        """Primitive variables from conserved ones."""

    @property
    @abc.abstractmethod
    def primitives(self) -> tuple[str, ...]:
        """Names of the primitive variables."""

    def mirror(self, axis: int) -> Float[Array, " component"]:
        """Signs of the components in a mirror at the end of an axis."""
        return jnp.ones((len(self.components),), jnp.float32)

    def positives(self, state: State) -> tuple[Float[Array, "*grid"], ...]:
        """What has to be positive, each concave where those before it are positive; nothing by default."""
        return ()

    def admissible(self, state: State) -> Bool[Array, "*grid"]:
        """Where a state is one of the law's: finite, and what has to be positive is so."""
        return jnp.all(jnp.isfinite(state), axis=0)

    def eigenvectors(
        self, left: State, right: State, axis: int
    ) -> tuple[Float[Array, "wave component *grid"], Float[Array, "component wave *grid"]]:
        """Left and right eigenvectors of the flux's Jacobian at the mean of two states; ``L R = 1``."""
        raise ValueError(f"{self.name} is one equation: reconstruct it by component")


class Burgers(ConservationLaw):
    """Scalar Burgers ``u_t + sum_a (u^2 / 2)_{x_a} = 0``: one unknown also in two dimensions."""

    dimensions: int = eqx.field(static=True, default=1)
    name: str = eqx.field(static=True, default="Burgers' equation")

    @property
    def components(self) -> tuple[str, ...]:
        return ("u",)

    @property
    def primitives(self) -> tuple[str, ...]:
        return ("u",)

    def flux(self, state: State, axis: int) -> State:
        return state * state / 2

    def speed(self, state: State, axis: int) -> Float[Array, "*grid"]:
        return jnp.abs(state[0])

    def conserved(self, primitive: State) -> State:
        return primitive

    def primitive(self, state: State) -> State:
        return state

    def mirror(self, axis: int) -> Float[Array, " component"]:
        """Odd: a wall is where u = 0."""
        return -jnp.ones((1,), jnp.float32)
