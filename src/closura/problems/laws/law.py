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


SMALLEST_SQUARE = 1e-12
"""Of the speed of sound: states with less are not physical in any unit that problems here have."""


class Euler(ConservationLaw):
    """The Euler equations of an ideal gas with ratio of heat capacities ``gamma``, in one or two dimensions.

        q = (rho, rho v, E),     f_a = v_a q + p (0, e_a, v_a),     p = (gamma - 1) (E - rho |v|^2 / 2).

    Eigenvectors at the arithmetic mean of two neighbouring conserved states, with ``c^2 = gamma p / rho``, ``H = (E +
    p) / rho``, ``b1 = (gamma - 1) / c^2``, ``b2 = b1 |v|^2 / 2`` and ``n`` the swept axis (Toro 2009, section 3.1.2;
    Shu 1997):

        L:  (b2 + v_n / c)/2   -(b1 v + n / c)/2    b1/2          R:  1, v - c n, H - v_n c
            1 - b2              b1 v               -b1                1, v, |v|^2 / 2
            (b2 - v_n / c)/2   -(b1 v - n / c)/2    b1/2              1, v + c n, H + v_n c

    and in two dimensions the shear wave: L = (-v_t, t, 0), R = (0, t, v_t) with ``t`` the other axis.

    The published code projects with the transposes of L and R, which are inverse to each other too but no
    characteristic variables (``transposed`` in :mod:`closura.problems.laws.fluxes`).
    """

    dimensions: int = eqx.field(static=True, default=1)
    gamma: float = eqx.field(static=True, default=1.4)
    name: str = eqx.field(static=True, default="the Euler equations")

    @property
    def components(self) -> tuple[str, ...]:
        return ("density", *(f"momentum {a}" for a in "xyz"[: self.dimensions]), "energy")

    @property
    def primitives(self) -> tuple[str, ...]:
        return ("density", *(f"velocity {a}" for a in "xyz"[: self.dimensions]), "pressure")

    def pressure(self, state: State) -> Float[Array, "*grid"]:
        """``p``; not positive where the state is none of a gas."""
        momentum = state[1:-1]
        kinetic = jnp.sum(momentum * momentum, axis=0) / (2 * state[0])
        return (self.gamma - 1) * (state[-1] - kinetic)

    def flux(self, state: State, axis: int) -> State:
        p = self.pressure(state)
        v = state[1 + axis] / state[0]
        still = jnp.zeros_like(p)
        push = [p if a == axis else still for a in range(self.dimensions)]
        return v * state + jnp.stack([still, *push, p * v])

    def speed(self, state: State, axis: int) -> Float[Array, "*grid"]:
        return jnp.abs(state[1 + axis] / state[0]) + _root(self.gamma * self.pressure(state) / state[0])

    def conserved(self, primitive: State) -> State:
        rho, p = primitive[0], primitive[-1]
        v = primitive[1:-1]
        energy = p / (self.gamma - 1) + rho * jnp.sum(v * v, axis=0) / 2
        return jnp.concatenate([rho[None], rho * v, energy[None]])

    def primitive(self, state: State) -> State:
        return jnp.concatenate([state[:1], state[1:-1] / state[0], self.pressure(state)[None]])

    def mirror(self, axis: int) -> Float[Array, " component"]:
        """The momentum along the axis turns round."""
        signs = [1.0] * (self.dimensions + 2)
        signs[1 + axis] = -1.0
        return jnp.asarray(signs, jnp.float32)

    def positives(self, state: State) -> tuple[Float[Array, "*grid"], ...]:
        return state[0], self.pressure(state)

    def admissible(self, state: State) -> Bool[Array, "*grid"]:
        return jnp.all(jnp.isfinite(state), axis=0) & (state[0] > 0) & (self.pressure(state) > 0)

    def eigenvectors(
        self, left: State, right: State, axis: int
    ) -> tuple[Float[Array, "wave component *grid"], Float[Array, "component wave *grid"]]:
        mean = (left + right) / 2
        rho, energy, p = mean[0], mean[-1], self.pressure(mean)
        v = mean[1:-1] / rho
        c = _root(self.gamma * p / rho)
        total = (energy + p) / rho
        b1 = (self.gamma - 1) / (c * c)
        square = jnp.sum(v * v, axis=0)
        b2 = b1 * square / 2
        vn, one, zero = v[axis], jnp.ones_like(rho), jnp.zeros_like(rho)
        n = [one if a == axis else zero for a in range(self.dimensions)]
        lower = [(b2 + vn / c) / 2, *(-(b1 * v[a] + n[a] / c) / 2 for a in range(self.dimensions)), b1 / 2]
        entropy = [1 - b2, *(b1 * v[a] for a in range(self.dimensions)), -b1]
        upper = [(b2 - vn / c) / 2, *(-(b1 * v[a] - n[a] / c) / 2 for a in range(self.dimensions)), b1 / 2]
        rows = [lower, entropy, upper]
        columns = [
            [one, *(v[a] - c * n[a] for a in range(self.dimensions)), total - vn * c],
            [one, *(v[a] for a in range(self.dimensions)), square / 2],
            [one, *(v[a] + c * n[a] for a in range(self.dimensions)), total + vn * c],
        ]
        for other in (a for a in range(self.dimensions) if a != axis):
            t = [one if a == other else zero for a in range(self.dimensions)]
            rows.append([-v[other], *t, zero])
            columns.append([zero, *t, v[other]])
        lefts = jnp.stack([jnp.stack(row) for row in rows])
        rights = jnp.stack([jnp.stack(column) for column in columns], axis=1)
        return lefts, rights


def _root(square: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    """Speed of sound from its square, finite with a finite derivative where a state is none of a gas.

    Such a state is found by :meth:`Euler.admissible`; until then it must not turn its neighbours into NaN.
    """
    return jnp.sqrt(jnp.maximum(square, SMALLEST_SQUARE))
