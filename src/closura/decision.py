"""What a closure is asked: the shape of the question and of the answer."""

from dataclasses import dataclass
from typing import Literal

from closura.grids import Boundary


@dataclass(frozen=True)
class Decision:
    """The question that a problem's dynamics ask of a closure, and the answer they expect.

    Parameters
    ----------
    observation
        Names of the observed channels, in order; the observation is ``(len(observation), *grid)``.
    action
        Names of the action's channels, in order; the action is ``(len(action), *grid)``.
    boundary
        Boundary of the grid along each axis; networks pad accordingly.
    bound
        The dynamics clip actions to ``[-bound, bound]``.
    acts_on
        For each channel of the action, the index of the observed channel that it is subtracted from.
    scale
        Size of a typical useful action, in the units of the action: networks whose output should be of
        order one multiply it by this.
    unit
        How much a unit of action takes from the field it acts on: 1, or the time step where the action is a
        rate.
    velocity
        Indices of the observed channels that are velocities.
    diffusivity
        Index of the observed channel that is a diffusivity (a viscosity), positive, where there is one.
    agents
        Where agents stand: in the "cells" of the grid, or at "interfaces" between them. Those at interfaces see all
        they need in their own channels and stand in one flat axis; their answers are logits of weights.
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
    agents: Literal["cells", "interfaces"] = "cells"

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
