"""One simulation, before any solver has seen it."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar


class Case(eqx.Module):
    """An initial condition with its parameters.

    Parameters
    ----------
    initial
        The initial field, usually on the finest grid of the problem, ``(component, *fine)``: every solver takes from
        it what its own grid holds.
    parameters
        What else differs between simulations (a velocity, a viscosity), as arrays on the same grid or as numbers.
    group
        The group that the simulation falls into, as an index of the problem's group names.
    end
        When it ends: times at which the simulation is looked at are then shares of this. By default the problem's
        horizon.
    """

    initial: PyTree[Array]
    parameters: PyTree[Array] = None
    group: Int[Array, "*cases"] | None = None
    end: Float[Array, ""] | None = None


def stacked(cases: Sequence[Case]) -> Case:
    """Cases with a leading axis."""
    found: Case = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    return found


class CaseSampler(eqx.Module):
    """Draws cases: independent ones from keys, or the members of a list in turn."""

    @abc.abstractmethod
    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        """A case from a random key."""

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        """Case ``number`` of a batch: where cases follow a list, the number decides."""
        return self.sample(key=key)
