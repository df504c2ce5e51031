"""What a discretisation of the flow offers to the solvers that are made of it."""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from closura.numerics.fourier import Spectrum
from closura.problems.reference import Step

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

    @property
    @abc.abstractmethod
    def places(self) -> str:
        """Where velocities stand on this grid: "points" or "faces"."""

    def represents_as(self, other: "FlowSolver") -> bool:
        """Whether states of another solver are states of this one as they are."""
        return (self.places, self.points) == (other.places, other.points)

    @abc.abstractmethod
    def solenoidal(self, velocity: Velocity) -> Velocity:
        """The part of a velocity, on this grid, that has neither divergence nor mean."""

    @abc.abstractmethod
    def advance(self, velocity: Velocity, reynolds: Float[Array, ""], time_step: Step, steps: int) -> Velocity:
        """A state after ``steps`` steps of length ``time_step``."""


def runge_kutta(
    tendency: Callable[[Inexact[Array, "component x y"], Int[Array, ""]], Inexact[Array, "component x y"]],
    state: Inexact[Array, "component x y"],
    time_step: float | Float[Array, ""],
) -> Inexact[Array, "component x y"]:
    """One step of the classical Runge-Kutta method, of a velocity or a spectrum.

    The tendency is told the number of the stage, 0 to 3: solvers may let errors of one stage cancel those of another.
    The tendency stands in a loop over the stages: compiled once, and a quarter of the program. No stage needs the slope
    of an earlier one, so that two arrays are carried (:mod:`closura.numerics.integrators` serves any tableau and tree).
    """

    def stage(
        carry: tuple[Array, Array], given: tuple[Float[Array, "2"], Int[Array, ""]]
    ) -> tuple[tuple[Array, Array], None]:
        point, total = carry
        factors, number = given
        slope = tendency(point, number)
        return (state + factors[0] * slope, total + factors[1] * slope), None

    onward = time_step * jnp.asarray([[0.5, 1 / 6], [0.5, 1 / 3], [1.0, 1 / 3], [0.0, 1 / 6]], state.real.dtype)
    (_, following), _ = jax.lax.scan(stage, (state, state), (onward, jnp.arange(4)))
    return following
