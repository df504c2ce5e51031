"""What a solver of the flow has to offer to be a coarse simulation, a rival or a truth."""

import abc

import equinox as eqx
from jaxtyping import Array, Float

from closura.numerics.fourier import Spectrum

Velocity = Float[Array, "2 x y"]


class FlowSolver(eqx.Module):
    """A solver on ``points`` per side, whose states are velocities on a grid of its own, ``(2, points, points)``.

    Grids may place velocities differently (in points, on faces of cells); the half spectrum of the velocity in points
    is the language that all of them share.

    Parameters
    ----------
    points
        Points or cells per side: even.
    forcing
        Wavenumber n of the forcing.
    drag
        Rate of the linear drag.
    strength
        Strength of the forcing; 0 for decaying flow.
    """

    points: int = eqx.field(static=True)
    forcing: int = eqx.field(static=True, default=4)
    drag: float = eqx.field(static=True, default=0.0, kw_only=True)
    strength: float = eqx.field(static=True, default=1.0, kw_only=True)

    @abc.abstractmethod
    def to_velocity(self, spectrum: Spectrum) -> Velocity:
        """The state that represents a velocity with this half spectrum, of this grid's number of points."""

    @abc.abstractmethod
    def to_spectrum(self, velocity: Velocity) -> Spectrum:
        """Half spectrum of the velocity in points that a state represents."""

    @abc.abstractmethod
    def solenoidal(self, velocity: Velocity) -> Velocity:
        """The part of a velocity, on this grid, that has neither divergence nor mean."""

    @abc.abstractmethod
    def advance(self, velocity: Velocity, reynolds: Float[Array, ""], time_step: float, steps: int) -> Velocity:
        """A state after ``steps`` steps of length ``time_step``."""
