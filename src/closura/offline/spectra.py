"""Energy by wavenumber, accumulated frame by frame so that data larger than memory can be measured.

The time-mean power of every mode of the half spectrum is kept; shells of any kind, energy fractions and cut-offs are
sums over it. Wavenumbers are integers: the box is ``2 pi`` wide.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from closura.arrays import check_finite_frames, check_unmasked
from closura.numerics.fourier import weights_of_modes

FRAMES_AT_ONCE = 256


def radii(points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
    """The length ``|k|`` of the wavenumber of every mode of the half spectrum of a ``(x, y)`` grid."""
    along_x, along_y = np.fft.fftfreq(points[0], 1.0 / points[0]), np.fft.rfftfreq(points[1], 1.0 / points[1])
    return np.hypot(along_x[:, None], along_y[None, :])


@dataclass(frozen=True)
class ModePower:
    """Time-mean squared amplitude of every mode, whose sum with ``weights_of_modes`` is the mean square of the field.

    ``sums`` over ``frames`` are of ``|transform|^2 / points^2``, float64, without those weights.
    """

    sums: Float[np.ndarray, "component x half"]
    frames: int
    points: tuple[int, int]

    @classmethod
    def empty(cls, shape: tuple[int, int, int]) -> "ModePower":
        """Nothing yet, for fields ``(component, x, y)``."""
        components, x, y = shape
        return cls(np.zeros((components, x, y // 2 + 1)), 0, (x, y))

    def add(self, frames: Float[np.ndarray, "time component x y"]) -> "ModePower":
        """With more frames."""
        frames = check_unmasked(frames, "frames")
        check_finite_frames(frames, "frames")
        expected = (self.sums.shape[0], *self.points)
        if frames.shape[1:] != expected:
            raise ValueError(f"expected frames of shape (time, {', '.join(map(str, expected))}); got {frames.shape}")
        sums = np.zeros_like(self.sums)
        for start in range(0, len(frames), FRAMES_AT_ONCE):
            modes = np.fft.rfft2(frames[start : start + FRAMES_AT_ONCE])
            sums += np.sum(np.square(modes.real, dtype=np.float64) + np.square(modes.imag, dtype=np.float64), axis=0)
        size = self.points[0] * self.points[1]
        return type(self)(self.sums + sums / size**2, self.frames + len(frames), self.points)

    @property
    def energy(self) -> Float[np.ndarray, "component x half"]:
        """Mean kinetic energy per unit mass of every mode (half the mean square), with that of its conjugate."""
        if not self.frames:
            raise ValueError("no frames have been added yet: there is no mean")
        return 0.5 * self.sums / self.frames * weights_of_modes(self.points[1])

    def shells(self) -> tuple[Float[np.ndarray, " shell"], Float[np.ndarray, "component shell"]]:
        """Energy in the shells ``j - 1/2 <= |k| < j + 1/2``, ``j = 0, 1, ...``: wavenumbers and energies."""
        index = np.floor(radii(self.points) + 0.5).astype(np.int64)
        sums = [np.bincount(index.ravel(), weights=each.ravel()) for each in self.energy]
        return np.arange(index.max() + 1, dtype=np.float64), np.stack(sums)

    def kept(self, transfer: Float[np.ndarray, "x half"]) -> Float[np.ndarray, " component"]:
        """Fraction of each component's energy that a filter with this transfer function keeps."""
        energy = self.energy
        return np.sum(energy * np.square(transfer), axis=(1, 2)) / np.sum(energy, axis=(1, 2))

    def kept_total(self, transfer: Float[np.ndarray, "x half"]) -> float:
        """Fraction of the energy of all components that a filter with this transfer function keeps."""
        energy = self.energy
        return float(np.sum(energy * np.square(transfer)) / np.sum(energy))


def mode_power(frames: Float[np.ndarray, "time component x y"]) -> ModePower:
    """The power of the modes of frames that are in memory."""
    _, components, x, y = frames.shape
    return ModePower.empty((components, x, y)).add(frames)
