r"""One representative for all frames that the symmetries of the flow map onto each other.

A trajectory visits one of many copies of the same flow: shifted along x, slid along y, turned. What is learned in one
copy says nothing about the others unless the copies are brought together. The *method of slices* [Rowley2000;
Budanur2015] moves every frame to the copy where the phases of two modes of the (filtered) field are fixed:

* the wave ``(k_x, k_y) = (0, 1)`` of u, whose phase slides and turns change and shifts do not: they bring it as near
  above zero as they can;
* then the wave ``(1, 0)`` of v, whose phase the shift along x brings to zero.

A closure that is fitted between frames so placed, and whose answers are moved back, is exactly equivariant.

.. code-block:: bibtex

    @article{Rowley2000,
      title = {ConditionalSampler equations and the {Karhunen-Lo{\`e}ve} expansion for systems with symmetry},
      author = {Rowley, Clarence W. and Marsden, Jerrold E.}, journal = {Physica D},
      volume = {142}, pages = {1--19}, year = {2000}, doi = {10.1016/S0167-2789(00)00042-7}
    }
    @article{Budanur2015,
      title = {Reduction of {SO(2)} symmetry for spatially extended dynamical systems},
      author = {Budanur, Nazmi Burak and Cvitanovi{\'c}, Predrag and Davidchack, Ruslan L. and Siminos, Evangelos},
      journal = {Physical Review Letters}, volume = {114}, pages = {084102}, year = {2015},
      doi = {10.1103/PhysRevLett.114.084102}
    }
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from closura.arrays import check_finite_frames, check_unmasked
from closura.offline.symmetries import Symmetry, shift_along_x


@dataclass(frozen=True)
class Placement:
    """Which symmetry moves each frame to its representative: turns first, then slides, then a shift along x."""

    distances: Float[np.ndarray, " time"]
    slides: Int[np.ndarray, " time"]
    turns: Int[np.ndarray, " time"]
    forcing: int

    def apply(self, frames: Float[np.ndarray, "*members time 2 x y"]) -> Float[np.ndarray, "*members time 2 x y"]:
        """Move frames to their representatives; leading axes go along."""
        moved = self._each(frames, lambda symmetry: symmetry)
        return shift_along_x(moved, np.broadcast_to(self.distances, moved.shape[:-3]))

    def undo(self, frames: Float[np.ndarray, "*members time 2 x y"]) -> Float[np.ndarray, "*members time 2 x y"]:
        """Move representatives back to where the frames were."""
        moved = shift_along_x(frames, np.broadcast_to(-self.distances, frames.shape[:-3]))
        return self._each(moved, lambda symmetry: symmetry.inverse())

    def undo_variance(self, variance: Float[np.ndarray, "time 2 x y"]) -> Float[np.ndarray, "time 2 x y"]:
        """Move variances back: signs do not change, and interpolation makes nothing negative."""
        moved = shift_along_x(variance, -self.distances)
        return np.maximum(np.abs(self._each(moved, lambda symmetry: symmetry.inverse())), 0)

    def _each(self, frames: np.ndarray, element: Callable[[Symmetry], Symmetry]) -> np.ndarray:
        out = np.empty_like(frames)
        for slides, turns in sorted(set(zip(self.slides.tolist(), self.turns.tolist(), strict=True))):
            where = (self.slides == slides) & (self.turns == turns)
            move = element(Symmetry(0, slides, turns, forcing=self.forcing))
            out[..., where, :, :, :] = move(frames[..., where, :, :, :])
        return out


def place(filtered: Float[np.ndarray, "time 2 x y"], forcing: int) -> Placement:
    """The placement of frames, from their filtered fields alone; ``forcing``, its wavenumber, is at least 1.

    Raises
    ------
    ValueError
        If the frames are masked or not finite.
    """
    filtered = check_unmasked(filtered, "frames")
    check_finite_frames(filtered, "frames")
    x, y = filtered.shape[-2:]
    wave_x, wave_y = (np.exp(-2j * np.pi * np.arange(n) / n) for n in (x, y))
    u = filtered[:, 0].mean(axis=1, dtype=np.float64) @ wave_y
    v = filtered[:, 1].mean(axis=2, dtype=np.float64) @ wave_x
    # With an odd wavenumber of the forcing, n slides leave the phase of u as it is: only even numbers are used.
    candidates = np.arange(0, 2 * forcing, 1 if forcing % 2 == 0 else 2)
    slide = -np.exp(-1j * np.pi / forcing)
    phases = np.stack([np.angle(slide**m * wave) for wave in (u, -u.conj()) for m in candidates])
    best = np.argmin(np.mod(phases, 2 * np.pi), axis=0)
    turns, slides = best // len(candidates), candidates[best % len(candidates)]
    v = np.where(turns == 1, -v.conj(), v)
    v = np.where(slides % 2 == 1, v.conj(), v)
    return Placement(np.angle(v), slides, turns, forcing)
