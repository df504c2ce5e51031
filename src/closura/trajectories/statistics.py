"""Numbers that describe frames: energy, dissipation, and the moments that the published reader prints."""

from collections.abc import Iterator
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from closura.arrays import check_unmasked
from closura.metrics.ensembles.flow_statistics import dissipation, kinetic_energy

if TYPE_CHECKING:
    from closura.trajectories.flow_data import FlowData


def energy_and_dissipation(
    velocity: Float[np.ndarray, "time 2 x y"], reynolds: float
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Kinetic energy <u^2 + v^2> / 2 and dissipation <(dv/dx - du/dy)^2> / Re of each frame, float64."""
    return kinetic_energy(velocity).mean(axis=(-2, -1)), dissipation(velocity, reynolds)


class Moments(NamedTuple):
    """Number, sum, sum of squares, largest and smallest of values, added up in float64."""

    number: int
    total: float
    squares: float
    maximum: float
    minimum: float

    @classmethod
    def of(cls, values: Float[np.ndarray, "..."]) -> "Moments":
        """Those of an array of any shape (ValueError if a value is masked)."""
        values = check_unmasked(values, "values")
        total, squares = (
            float(np.sum(each, dtype=np.float64)) for each in (values, np.square(values, dtype=np.float64))
        )
        return cls(values.size, total, squares, float(np.max(values)), float(np.min(values)))

    def join(self, other: "Moments") -> "Moments":
        """Those of the values of both."""
        return Moments(
            self.number + other.number,
            self.total + other.total,
            self.squares + other.squares,
            max(self.maximum, other.maximum),
            min(self.minimum, other.minimum),
        )

    @property
    def mean(self) -> float:
        """Mean."""
        return self.total / self.number

    @property
    def std(self) -> float:
        """Standard deviation."""
        return max(self.squares / self.number - self.mean**2, 0.0) ** 0.5


def moments_of_trajectories(data: "FlowData") -> Iterator[tuple[Moments, Moments, Moments]]:
    """Moments of both components together, of u and of v, one trajectory after the other, read chunk by chunk."""
    for trajectory in range(data.trajectories):
        found = [
            [Moments.of(each) for each in (frames, frames[:, 0], frames[:, 1])] for _, frames in data.chunks(trajectory)
        ]
        together, u, v = (reduce(Moments.join, each) for each in zip(*found, strict=True))
        yield together, u, v
