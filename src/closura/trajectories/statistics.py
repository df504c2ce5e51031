"""Numbers that describe frames: energy, dissipation, and the moments that the published reader prints."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from closura.arrays import check_unmasked
from closura.numerics.fourier import weights_of_modes

if TYPE_CHECKING:
    from closura.trajectories.flow_data import FlowData


def energy_and_dissipation(
    velocity: Float[np.ndarray, "time 2 x y"], reynolds: float
) -> tuple[Float[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Kinetic energy <u^2 + v^2> / 2 and dissipation <(dv/dx - du/dy)^2> / Re of each frame, float64, spectrally.

    The number of points per side may be odd.
    """
    velocity = check_unmasked(velocity, "the velocity")
    points = velocity.shape[-1]
    kx, ky = np.fft.fftfreq(points, 1.0 / points)[:, None], np.arange(points // 2 + 1)[None, :]
    spectrum = np.fft.rfft2(np.asarray(velocity, np.float64))
    # A derivative of the Nyquist waves is not defined on the grid: they are left out of the dissipation.
    inside = (2 * np.abs(kx) < points) & (2 * ky < points)
    vorticity = 1j * (kx * spectrum[:, 1] - ky * spectrum[:, 0]) * inside
    weights = weights_of_modes(points) / points**4
    energy = 0.5 * np.sum(weights * np.abs(spectrum) ** 2, axis=(-3, -2, -1))
    dissipation = np.sum(weights * np.abs(vorticity) ** 2, axis=(-2, -1)) / reynolds
    return energy, dissipation


@dataclass(frozen=True)
class Moments:
    """Mean, standard deviation, largest and smallest of values that were added up in float64.

    Parameters
    ----------
    count, total, squares
        Number of values, their sum, and that of their squares.
    maximum, minimum
        The largest and the smallest.
    """

    count: int
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

    def __add__(self, other: "Moments") -> "Moments":
        """Those of the values of both."""
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            max(self.maximum, other.maximum),
            min(self.minimum, other.minimum),
        )

    @property
    def mean(self) -> float:
        """Mean."""
        return self.total / self.count

    @property
    def std(self) -> float:
        """Standard deviation."""
        return max(self.squares / self.count - self.mean**2, 0.0) ** 0.5


def moments_of_trajectories(data: "FlowData") -> Iterator[tuple[Moments, Moments, Moments]]:
    """Moments of both components together, of u and of v, one trajectory after the other, read chunk by chunk."""
    step = data.chunk_frames
    for trajectory in range(data.trajectories):
        found: list[tuple[Moments, ...]] = []
        for start in range(0, data.frames, step):
            frames = data.read(trajectory, start, min(start + step, data.frames))
            found.append(tuple(Moments.of(each) for each in (frames, frames[:, 0], frames[:, 1])))
        together, u, v = (reduce(add, each) for each in zip(*found, strict=True))
        yield together, u, v
