"""Half spectra of real periodic fields in two dimensions: wavenumbers, finer and coarser grids, projection.

A field ``(component, x, y)`` on N x N points of the box [0, 2 pi)^2 has the spectrum ``rfft2`` of it, unnormalised,
``(component, N, N/2 + 1)``: wavenumbers 0, 1, .., N/2 - 1, -N/2, .., -1 along x and 0, .., N/2 along y. A mode of
amplitude one has the coefficient N^2 / 2 in it.

The waves of wavenumber N/2 (Nyquist) stand for two waves at once. Two rules for them in products and derivatives:

* ``"zero"``: they are left out. Nothing else is consistent on every grid.
* ``"kolsol"``: the row -N/2 of x is kept as a wave of its own, the column N/2 of y is left out. So does KolSol, the
  solver of the published data.
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

Nyquist = Literal["zero", "kolsol"]
NYQUIST: tuple[Nyquist, ...] = get_args(Nyquist)

Spectrum = Complex[Array, "component kx ky"]


def wavenumbers(points: int) -> tuple[Float[np.ndarray, "kx 1"], Float[np.ndarray, "1 ky"]]:
    """Wavenumbers of a half spectrum along x and y, in units of 2 pi / box (integers, float64)."""
    if points < 4 or points % 2:
        raise ValueError(f"half spectra are for an even number of points, at least 4; got {points}")
    along_x = np.fft.fftfreq(points, 1.0 / points)
    return along_x[:, None], np.arange(points // 2 + 1, dtype=np.float64)[None, :]


def resolved(points: int, nyquist: Nyquist = "zero") -> Bool[np.ndarray, "kx ky"]:
    """Which waves of a half spectrum take part, by the rule for Nyquist waves."""
    if nyquist not in NYQUIST:
        raise ValueError(f"unknown rule for Nyquist waves {nyquist!r}; valid: {', '.join(NYQUIST)}")
    kx, ky = wavenumbers(points)
    half = points // 2
    mask = np.broadcast_to(ky < half, (points, half + 1)).copy()
    if nyquist == "zero":
        mask &= np.abs(kx) < half
    return mask


def weights_of_modes(points: int) -> Float[np.ndarray, "1 ky"]:
    """How often a mode of the half spectrum counts in sums over all modes: twice where its conjugate is not in it.

    ``points`` are those along y, the halved axis; they may be odd. Over a whole half spectrum the sum is the number of
    grid points: the real degrees of freedom of a field.
    """
    ky = np.arange(points // 2 + 1)[None, :]
    return np.where((ky > 0) & (2 * ky != points), 2.0, 1.0)


def refine(spectrum: Complex[Array, "*batch kx ky"], points: int) -> Complex[Array, "*batch kx_ ky_"]:
    """The spectrum on a finer grid, scaled so that the inverse transform gives the same waves there.

    The row -N/2 of x is kept as a wave of its own, the column N/2 of y is left out: mask it before by another rule.
    """
    coarse = spectrum.shape[-2]
    half = coarse // 2
    scale = (points / coarse) ** 2
    wide = jnp.zeros((*spectrum.shape[:-2], points - coarse, half), spectrum.dtype)
    rows = jnp.concatenate([spectrum[..., :half, :half], wide, spectrum[..., half:, :half]], axis=-2)
    columns = points // 2 + 1 - half
    return jnp.pad(rows * scale, [(0, 0)] * (spectrum.ndim - 1) + [(0, columns)])


def coarsen(spectrum: Complex[Array, "*batch kx ky"], points: int) -> Complex[Array, "*batch kx_ ky_"]:
    """The waves of a coarser grid alone (sharp truncation), scaled for its number of points; its Nyquist waves in y
    are zero, those in x are the fine grid's row -points/2.
    """
    fine = spectrum.shape[-2]
    half = points // 2
    rows = jnp.concatenate([spectrum[..., :half, :half], spectrum[..., fine - half :, :half]], axis=-2)
    return jnp.pad(rows * (points / fine) ** 2, [(0, 0)] * (spectrum.ndim - 1) + [(0, 1)])


def restrict_spectrally(field: Float[Array, "component x y"], points: int) -> Float[Array, "component x_ y_"]:
    """A field on a coarser grid: the waves that both grids resolve, without the coarse grid's Nyquist waves."""
    fine = field.shape[-1]
    if field.shape[-2] != fine or points >= fine:
        raise ValueError(f"expected a square grid of more than {points} points per side; got {field.shape[-2:]}")
    kept = coarsen(jnp.fft.rfft2(field), points) * jnp.asarray(resolved(points), field.dtype)
    return jnp.fft.irfft2(kept, s=(points, points)).astype(field.dtype)


def vorticity(spectrum: Spectrum) -> Complex[Array, "kx ky"]:
    """Spectrum of dv/dx - du/dy, in units of velocity per length."""
    kx, ky = wavenumbers(spectrum.shape[-2])
    u, v = spectrum[0], spectrum[1]
    real = u.real.dtype
    return 1j * (jnp.asarray(kx, real) * v - jnp.asarray(ky, real) * u)


def velocity_of(vorticity: Complex[Array, "kx ky"]) -> Spectrum:
    """Spectrum of the divergence-free velocity without mean that has a given vorticity (Biot-Savart)."""
    kx, ky = wavenumbers(vorticity.shape[-2])
    square = kx**2 + ky**2
    square[0, 0] = np.inf
    real = vorticity.real.dtype
    stream = vorticity * jnp.asarray(1.0 / square, real)
    return jnp.stack([1j * jnp.asarray(ky, real) * stream, -1j * jnp.asarray(kx, real) * stream])


def divergence_free(spectrum: Spectrum) -> Spectrum:
    """The divergence-free part of a velocity (Leray projection); its mean is kept."""
    kx, ky = wavenumbers(spectrum.shape[-2])
    square = kx**2 + ky**2
    square[0, 0] = 1.0
    real = spectrum.real.dtype
    x, y = jnp.asarray(kx, real), jnp.asarray(ky, real)
    along = (x * spectrum[0] + y * spectrum[1]) * jnp.asarray(1.0 / square, real)
    return jnp.stack([spectrum[0] - x * along, spectrum[1] - y * along])
