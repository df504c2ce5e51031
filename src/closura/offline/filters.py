"""Low-pass filters of periodic fields by their transfer functions, and the power of modes that gives cut-offs.

A filter multiplies the modes of a field on ``[0, 2 pi)^2`` by ``G(k)`` [Pope2000, table 13.2]. Wavenumbers are
integers; widths are lengths in the same unit, of which the box has ``2 pi``. All filters here are symmetric, so they
commute with derivatives, and with the symmetries of the flow.

.. code-block:: bibtex

    @book{Pope2000,
      title = {Turbulent Flows}, author = {Pope, Stephen B.},
      publisher = {Cambridge University Press}, year = {2000}, doi = {10.1017/CBO9780511840531}
    }
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from closura.arrays import check_finite_frames, check_unmasked
from closura.numerics.fourier import weights_of_modes

FRAMES_AT_ONCE = 256
Rule = Literal["published", "crossing"]
AnyFrames = TypeVar("AnyFrames", bound=Float[Array | np.ndarray, "*frames x y"])


def radii(points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
    """The length ``|k|`` of the wavenumber of every mode of the half spectrum of a ``(x, y)`` grid."""
    along_x, along_y = np.fft.fftfreq(points[0], 1.0 / points[0]), np.fft.rfftfreq(points[1], 1.0 / points[1])
    return np.hypot(along_x[:, None], along_y[None, :])


class Filter(eqx.Module):
    """A filter; calling it filters frames ``(..., component, x, y)``, NumPy or JAX, in their dtype."""

    name: ClassVar[str]

    @abstractmethod
    def transfer(self, points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
        """The transfer function ``G`` on the half spectrum of a ``(x, y)`` grid, ``(x, y//2+1)``, float64."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """Name and settings, as JSON knows them; :func:`from_plain` reads them."""

    def kept(self, points: tuple[int, int]) -> int:
        """Real degrees of freedom, per component, whose amplitude keeps at least a half.

        For the spectral cut-off, the numbers that a filtered field consists of.
        """
        return round(float(np.sum(weights_of_modes(points[1]) * (np.abs(self.transfer(points)) >= 0.5))))

    def __call__(self, frames: AnyFrames) -> AnyFrames:
        """Filter frames."""
        frames = check_unmasked(frames, "frames")
        if frames.ndim < 2 or not jnp.issubdtype(frames.dtype, jnp.floating):
            raise ValueError(f"expected real frames (..., component, x, y); got {frames.dtype} {frames.shape}")
        xp: Any = np if isinstance(frames, np.ndarray) else jnp
        points = (int(frames.shape[-2]), int(frames.shape[-1]))
        modes = xp.fft.rfft2(frames)
        factor = self.transfer(points).astype(modes.real.dtype)
        return xp.fft.irfft2(modes * factor, s=points).astype(frames.dtype)


class SpectralCutoff(Filter):
    """The sharp isotropic cut-off: ``G = 1`` where ``|k| <= cutoff``, else 0."""

    cutoff: float = eqx.field(static=True, converter=float)
    name: ClassVar[str] = "spectral"

    def __check_init__(self) -> None:
        if not self.cutoff >= 0:
            raise ValueError(f"expected a cut-off wavenumber >= 0; got {self.cutoff}")

    def transfer(self, points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
        # Lengths such as 5 = |(3, 4)| are exact in floating point; the slack is for cut-offs that were computed.
        return (radii(points) <= self.cutoff * (1 + 1e-12)).astype(np.float64)

    def plain(self) -> dict[str, Any]:
        return {"filter": self.name, "cutoff": self.cutoff}


class WidthFilter(Filter):
    """A filter of a width."""

    width: float = eqx.field(static=True, converter=float)

    def __check_init__(self) -> None:
        if not 0 < self.width <= 2 * np.pi:
            raise ValueError(f"expected a width between 0 and that of the box, 2 pi; got {self.width}")

    def plain(self) -> dict[str, Any]:
        return {"filter": self.name, "width": self.width}


class GaussianFilter(WidthFilter):
    """The Gaussian filter, ``G = exp(-|k|^2 width^2 / 24)``: the second moment of a box of that width."""

    name: ClassVar[str] = "gaussian"

    def transfer(self, points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
        return np.exp(-np.square(radii(points) * self.width) / 24.0)


class BoxFilter(WidthFilter):
    """The mean over a square of that width: ``G = sinc(k_x width / 2) sinc(k_y width / 2)``, ``sinc x = sin x / x``."""

    name: ClassVar[str] = "box"

    def transfer(self, points: tuple[int, int]) -> Float[np.ndarray, "x half"]:
        # np.sinc(t) is sin(pi t) / (pi t).
        along_x = np.sinc(np.fft.fftfreq(points[0], 1.0 / points[0]) * self.width / (2 * np.pi))
        along_y = np.sinc(np.fft.rfftfreq(points[1], 1.0 / points[1]) * self.width / (2 * np.pi))
        return along_x[:, None] * along_y[None, :]


FILTERS: dict[str, type[Filter]] = {each.name: each for each in (SpectralCutoff, GaussianFilter, BoxFilter)}
RULES: tuple[Rule, ...] = get_args(Rule)


def from_plain(plain: Mapping[str, Any]) -> Filter:
    """The filter of a description that :meth:`Filter.plain` gave."""
    settings = dict(plain)
    name = settings.pop("filter", None)
    if name not in FILTERS:
        raise ValueError(f"unknown filter {name!r}; valid: {', '.join(FILTERS)}")
    try:
        return FILTERS[name](**{key: float(value) for key, value in settings.items()})
    except TypeError as error:
        raise ValueError(f"filter {name!r} does not have the settings {', '.join(settings) or '(none)'}") from error


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


def cutoff_by_energy(power: ModePower, fraction: float = 0.9, rule: Rule = "crossing") -> float:
    """The cut-off wavenumber that keeps a fraction of the energy, from the modes' power over training frames alone.

    ``"crossing"``: the smallest integer whose disc ``|k| <= cutoff`` holds the fraction of the energy of all components
    together. ``"published"``: for every component, the centre of the first of ``points - 1`` equal shells up to the
    corner of the spectrum where its fraction is reached; the larger of the two. The centre cuts within that shell, so
    that less than the fraction may remain.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction of the energy between 0 and 1; got {fraction}")
    if rule == "crossing":
        shell = np.ceil(radii(power.points)).astype(np.int64).ravel()
        return float(_first(np.bincount(shell, weights=power.energy.sum(axis=0).ravel()), fraction))
    if rule != "published":
        raise ValueError(f"unknown rule {rule!r}; valid: {', '.join(RULES)}")
    points = power.points[0]
    if power.points[1] != points:
        raise ValueError(f"the published rule is for square grids; got {power.points}. Choose rule 'crossing'")
    cycles = radii(power.points) / points  # per sample, as published
    edges = np.linspace(0.0, cycles.max(), points)
    shell = np.digitize(cycles.ravel(), edges) - 1  # the corner itself falls into none: it is left out
    inside = shell < points - 1
    first = [
        _first(np.bincount(shell[inside], weights=each.ravel()[inside], minlength=points - 1), fraction)
        for each in power.energy
    ]
    return float(0.5 * (edges[max(first)] + edges[max(first) + 1]) * points)


def _first(energies: np.ndarray, fraction: float) -> int:
    """Index of the first shell where the cumulative fraction is reached."""
    return int(np.searchsorted(np.cumsum(energies) / np.sum(energies), fraction))
