"""What a closure is asked: the shape of the question and of the answer."""

from dataclasses import dataclass

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
    scale
        Size of a typical useful action, in the units of the action: networks whose output should be of
        order one multiply it by this.
    """

    observation: tuple[str, ...]
    action: tuple[str, ...]
    boundary: tuple[Boundary, ...]
    bound: float = 1.0
    scale: float = 1.0

    @property
    def dimensions(self) -> int:
        """Number of axes of the grid."""
        return len(self.boundary)
