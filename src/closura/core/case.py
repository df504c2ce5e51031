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
    recorded
        Where it begins in recordings, ``(recording, frame)``: for references that are recorded.
    """

    initial: PyTree[Array]
    parameters: PyTree[Array] = None
    group: Int[Array, "*cases"] | None = None
    end: Float[Array, ""] | None = None
    recorded: Int[Array, "*cases 2"] | None = None


def stacked(cases: Sequence[Case]) -> Case:
    """Cases with a leading axis."""
    found: Case = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    return found


class CaseSampler(eqx.Module):
    """Draws cases: independent ones from keys, or the members of a list in turn."""

    @property
    def marks(self) -> tuple[str, ...]:
        """Marks of the simulations that cases are cut from, where they are a list: what is held out has others."""
        return ()

    def at_most(self, steps: int) -> int:
        """So many coarse steps, or as many as cases are known for from their beginning."""
        return steps

    def limited(self, cases: int, steps: int) -> int:
        """So many cases, or as many as there are; ValueError if they are not known for so many coarse steps."""
        if steps > (known := self.at_most(steps)):
            raise ValueError(
                f"{steps} coarse steps were asked for, and recordings hold {known} from where they begin: take {known} "
                "at most (--steps, --reference.steps, --validation.steps; windows of training: horizon=)"
            )
        return cases

    @abc.abstractmethod
    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        """A case from a random key."""

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Case:
        """Case ``number`` of a batch: where cases follow a list, the number decides."""
        return self.sample(key=key)
