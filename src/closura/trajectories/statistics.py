"""Numbers that describe frames: energy, dissipation, and the moments that the published reader prints."""

from collections.abc import Iterator
from dataclasses import dataclass
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
    """Mean, standard deviation, largest and smallest value over all points and frames that were added."""

    mean: float
    std: float
    maximum: float
    minimum: float


class Accumulator:
    """Adds up frames, in float64, to their :class:`Moments`."""

    def __init__(self) -> None:
        self._count, self._sum, self._squares = 0, 0.0, 0.0
        self._maximum, self._minimum = -np.inf, np.inf

    def add(self, values: Float[np.ndarray, "..."]) -> None:
        """Add values of any shape; ValueError if some are masked."""
        values = check_unmasked(values, "values")
        self._count += values.size
        self._sum += float(np.sum(values, dtype=np.float64))
        self._squares += float(np.sum(np.square(values, dtype=np.float64)))
        self._maximum = max(self._maximum, float(np.max(values)))
        self._minimum = min(self._minimum, float(np.min(values)))

    def moments(self) -> Moments:
        """The moments so far.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        if not self._count:
            raise ValueError("no values were added: there are no moments")
        mean = self._sum / self._count
        variance = max(self._squares / self._count - mean**2, 0.0)
        return Moments(mean, variance**0.5, self._maximum, self._minimum)


def moments_of_trajectories(data: "FlowData") -> Iterator[tuple[Moments, Moments, Moments]]:
    """Moments of both components together, of u and of v, one trajectory after the other, read chunk by chunk."""
    for trajectory in range(data.trajectories):
        together, u, v = Accumulator(), Accumulator(), Accumulator()
        for start in range(0, data.frames, data.chunk_frames):
            frames = data.read(trajectory, start, min(start + data.chunk_frames, data.frames))
            together.add(frames)
            u.add(frames[:, 0])
            v.add(frames[:, 1])
        yield together.moments(), u.moments(), v.moments()


def pooled(moments: list[Moments]) -> Moments:
    """Moments of equally many values each, taken together.

    Raises
    ------
    ValueError
        If the list is empty.
    """
    if not moments:
        raise ValueError("expected the moments of at least one trajectory; got none")
    mean = float(np.mean([each.mean for each in moments]))
    square = float(np.mean([each.std**2 + each.mean**2 for each in moments]))
    return Moments(
        mean, max(square - mean**2, 0.0) ** 0.5, max(e.maximum for e in moments), min(e.minimum for e in moments)
    )
