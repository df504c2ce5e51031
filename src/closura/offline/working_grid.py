"""What networks see and give: fields on a grid no finer than the flow needs, in units of their own size.

A filtered field of few waves and the residual that a closure adds to it fit on fewer points than the data have, and a
convolution costs as many operations as there are points. What cannot be in the residual is taken out of every answer:
waves that the filter leaves unchanged, and divergence where the data have none.
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from closura.numerics.fourier import (
    divergence_free,
    refine,
    resolved,
    restrict_spectrally,
    wavenumbers,
    weights_of_modes,
)
from closura.offline.filters import Filter, from_plain

LOST_ENERGY = 2e-6
"""Share of the kinetic energy of the training frames that may lie beyond the working grid: 0.14 % of the velocity."""

FREE_OF_DIVERGENCE = 1e-4
"""Divergence, relative to the gradient's size, below which data count as free of it."""

Work = Float[Array, "component X Y"]


class WorkingGrid(eqx.Module):
    """The way between frames of the data, on ``points`` per side, and channels of a network, on ``working_points``.

    ``filter`` made the filtered frames; None where it is not known. A network is shown the phase of a forcing
    (``forcing`` is its wavenumber; 0: none). Residuals that are ``solenoidal`` are free of divergence. Sizes are root
    mean squares over training frames, in units of velocity.
    """

    filter: Filter | None
    points: int = eqx.field(static=True)
    working_points: int = eqx.field(static=True)
    forcing: int = eqx.field(static=True)
    solenoidal: bool = eqx.field(static=True)
    filtered_size: float = eqx.field(static=True)
    residual_size: float = eqx.field(static=True)

    @property
    def channels(self) -> int:
        """Channels that :meth:`inputs` gives."""
        return 4 if self.forcing else 2

    def inputs(self, filtered: Float[Array, "2 x y"]) -> Float[Array, "channel X Y"]:
        """What a network sees of a filtered frame: it, in units of its size, and sine and cosine of the forcing."""
        seen = self.to_work(filtered) / self.filtered_size
        return jnp.concatenate([seen, self.phases().astype(seen.dtype)]) if self.forcing else seen

    def phases(self) -> Float[Array, "2 X Y"]:
        """Sine and cosine of the forcing's phase."""
        n = self.working_points
        phase = self.forcing * 2 * np.pi * np.arange(n) / n
        waves = np.stack([np.sin(phase), np.cos(phase)])[:, None, :]
        return jnp.asarray(np.broadcast_to(waves, (2, n, n)), jnp.float32)

    def residual(self, filtered: Float[Array, "2 x y"], full: Float[Array, "2 x y"]) -> Work:
        """What is missing, on the working grid and in units of its size: what a network should give."""
        return self.to_work(full - filtered) / self.residual_size

    def close(self, filtered: Float[Array, "2 x y"], residual: Work) -> Float[Array, "2 x y"]:
        """The full frame of a network's answer, or of one that :meth:`admissible` has been applied to."""
        return filtered + self.residual_size * self._to_data(self._clean(jnp.fft.rfft2(residual)))

    def admissible(self, residual: Work) -> Work:
        """The part of an answer that can be in a residual."""
        n = self.working_points
        return jnp.fft.irfft2(self._clean(jnp.fft.rfft2(residual)), s=(n, n))

    def missing_modes(self) -> Bool[np.ndarray, "kx ky"]:
        """Modes of the half spectrum that can be in a residual: resolved here, and not kept whole by the filter."""
        keep = resolved(self.working_points)
        if self.filter is None:
            return keep
        # The data's transfer function, at the wavenumbers of the working grid.
        half = self.working_points // 2
        full = self.filter.transfer((self.points, self.points))
        transfer = np.concatenate([full[:half, : half + 1], full[self.points - half :, : half + 1]])
        return keep & (transfer < 1 - 1e-12)

    def to_work(self, field: Float[Array, "component x y"]) -> Work:
        """A field on the working grid: the waves that it resolves."""
        return field if self.working_points == self.points else restrict_spectrally(field, self.working_points)

    def _to_data(self, modes: Complex[Array, "component kx ky"]) -> Float[Array, "component x y"]:
        n = self.points
        return jnp.fft.irfft2(modes if n == self.working_points else refine(modes, n), s=(n, n))

    def _clean(self, modes: Complex[Array, "component kx ky"]) -> Complex[Array, "component kx ky"]:
        modes = modes * jnp.asarray(self.missing_modes(), modes.real.dtype)
        return divergence_free(modes) if self.solenoidal else modes

    def plain(self) -> dict[str, Any]:
        """All settings, as JSON knows them."""
        own = ("points", "working_points", "forcing", "solenoidal", "filtered_size", "residual_size")
        known = None if self.filter is None else self.filter.plain()
        return {"filter": known, **{name: getattr(self, name) for name in own}}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Any:
        """Of a description that :meth:`plain` gave."""
        return cls(**{**plain, "filter": None if plain["filter"] is None else from_plain(plain["filter"])})


def prepare(
    filtered: Float[np.ndarray, "time component x y"],
    full: Float[np.ndarray, "time component x y"],
    *,
    forcing: int,
    filtering: Filter | None = None,
    working_points: int = 0,
) -> WorkingGrid:
    """The working grid that training frames ask for, of which a few hundred pairs that stand for all are enough.

    What a known filter leaves unchanged is taken out of answers. ``working_points`` are per side; 0 takes the fewest, a
    multiple of eight, beyond which :data:`LOST_ENERGY` of the energy lies.
    """
    points = full.shape[-1]
    modes = np.fft.rfft2(full.astype(np.float64))
    kx, ky = wavenumbers(points)
    weight = weights_of_modes(points)
    power = np.mean(np.sum(np.abs(modes) ** 2, axis=1), axis=0) * weight
    if not working_points:
        reach = np.maximum(np.abs(kx), ky)
        fits = [n for n in range(16, points, 8) if power[reach >= n // 2].sum() <= LOST_ENERGY * power.sum()]
        fits = [n for n in fits if not forcing or n % (2 * forcing) == 0]
        working_points = fits[0] if fits else points
    if not 8 <= working_points <= points or working_points % 2:
        raise ValueError(f"the working grid needs an even number of points from 8 to {points}; got {working_points}")
    if forcing and working_points % (2 * forcing):
        raise ValueError(
            f"the working grid needs a multiple of {2 * forcing} points, so that the symmetries of a forcing with "
            f"wavenumber {forcing} stay on it; got {working_points}"
        )
    divergence = np.sum(np.abs(kx * modes[:, 0] + ky * modes[:, 1]) ** 2 * weight)
    gradient = np.sum((kx**2 + ky**2) * np.sum(np.abs(modes) ** 2, axis=1) * weight)
    return WorkingGrid(
        filter=filtering,
        points=points,
        working_points=working_points,
        forcing=forcing,
        solenoidal=bool(divergence <= FREE_OF_DIVERGENCE**2 * gradient),
        filtered_size=float(np.sqrt(np.mean(np.square(filtered, dtype=np.float64)))),
        residual_size=float(np.sqrt(np.mean(np.square(full - filtered, dtype=np.float64)))) or 1.0,
    )
