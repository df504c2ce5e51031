"""What a closure observes and answers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.grids import Boundary

Closure = Callable[[Float[Array, "observation *grid"]], Float[Array, "action *grid"]]
"""From an observation to an action, both on the solver's grid; a policy also has a spread and a value."""


class Limited(eqx.Module):
    """A closure whose actions are clipped to ``[-bound, bound]``."""

    closure: Closure
    bound: float = eqx.field(static=True)

    def __call__(self, observation: Float[Array, "observation *grid"]) -> Float[Array, "action *grid"]:
        return jnp.clip(self.closure(observation), -self.bound, self.bound)


Place = Literal["cells", "interfaces"]
"""Where a closure acts: in the cells of a grid, or at the interfaces between them."""


@dataclass(frozen=True)
class ClosureSpec:
    """The specification of a closure: what a solver gives it, and what the solver does with its answer.

    Parameters
    ----------
    observation
        Names of the observed channels, in order; an observation is ``(len(observation), *grid)``.
    action
        Names of the answered channels, in order; an action is ``(len(action), *grid)``.
    boundary
        Boundary condition of the grid along each axis; networks pad accordingly.
    acts_on
        For each channel of the action, the index of the observed channel that it is subtracted from.
    bound
        Actions are clipped to ``[-bound, bound]`` (:meth:`limit`).
    scale
        Size of a typical useful action, in the units of the action: networks whose output should be of order one
        multiply it by this.
    unit
        How much a unit of action takes from the field it acts on: 1, or the time step where the action is a rate.
    velocity
        Indices of the observed channels that are velocities.
    diffusivity
        Index of the observed channel that is a diffusivity (a viscosity), positive, where there is one.
    where
        The closure acts in the "cells" of the grid, or at the "interfaces" between them. Interfaces form one flat axis,
        and each is observed by its own channels alone; the answers there are logits of the weights of sub-stencils.

    Raises
    ------
    ValueError
        If ``acts_on`` does not name one observed channel for each channel of the action.
    """

    observation: tuple[str, ...]
    action: tuple[str, ...]
    boundary: tuple[Boundary, ...]
    acts_on: tuple[int, ...] = (0,)
    bound: float = 1.0
    scale: float = 1.0
    unit: float = 1.0
    velocity: tuple[int, ...] = ()
    diffusivity: int | None = None
    where: Place = "cells"

    def __post_init__(self) -> None:
        if len(self.acts_on) != len(self.action) or not all(0 <= i < len(self.observation) for i in self.acts_on):
            raise ValueError(
                f"acts_on needs one index of an observed channel per action channel; got {self.acts_on} for "
                f"observation {self.observation} and action {self.action}"
            )

    @property
    def dimensions(self) -> int:
        """Number of axes of the grid."""
        return len(self.boundary)

    def limit(self, closure: Closure | None) -> Closure | None:
        """A closure with its actions clipped to the bound."""
        if closure is None or math.isinf(self.bound):
            return closure
        limited = getattr(closure, "limited", None)  # closures with memory have more than an answer
        if limited is not None:
            return limited(self.bound)
        return Limited(closure, self.bound)
