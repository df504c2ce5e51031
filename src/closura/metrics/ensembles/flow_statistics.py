r"""Physics of a velocity field on [0, 2 pi)^2, periodic: energy, spectrum, vorticity, dissipation, divergence.

Arrays are ``velocity (..., component=2, x, y)``: component 0 is u, along x, the second last axis; component 1 is v,
along y. All functions work on any leading axes and compute in double precision; they raise ValueError for numbers that
are masked (``numpy.ma``), not real or not finite: waves and derivatives need all points.

    E = (u^2 + v^2) / 2       w = dv/dx - du/dy       enstrophy = <w^2> / 2       dissipation = <w^2> / Re

with < > the mean over the box. For velocities without divergence the dissipation equals that of kinetic energy,
``<|grad u|^2> / Re``. Derivatives are spectral; on an even number of points
the highest wave along an axis has no derivative that the grid can show, and is left out.

Source: MagriLab/KolSol 1.0.1, numpy solver (`dissip`, `vorticity`, and `energy_spectrum`, which is ours times the
number of points).
"""

import numpy as np
from jaxtyping import Float64, Int

from closura.arrays import Values, real_numbers
from closura.metrics.ensembles._checks import velocity_of


def kinetic_energy(velocity: Values) -> Float64[np.ndarray, "*frames x y"]:
    """The field ``(u^2 + v^2) / 2`` of velocities ``(..., component=2, x, y)``."""
    return 0.5 * np.square(velocity_of(velocity)).sum(axis=-3)


def _wavenumbers(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Integer wavenumbers of a half spectrum along x and y, as a column and a row."""
    x, y = shape
    return np.fft.fftfreq(x, 1 / x)[:, None], np.arange(y // 2 + 1, dtype=np.float64)[None]


def _times_derivative(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Factors ``i k`` of the derivatives along x and y, zero for the highest wave of an even number of points."""
    k_x, k_y = _wavenumbers(shape)
    k_x = np.where((shape[0] % 2 == 0) & (k_x == -(shape[0] // 2)), 0.0, k_x)
    k_y = np.where((shape[1] % 2 == 0) & (k_y == shape[1] // 2), 0.0, k_y)
    return 1j * k_x, 1j * k_y


def energy_spectrum(velocity: Values) -> Float64[np.ndarray, "*frames shell"]:
    """Kinetic energy of velocities ``(..., component=2, x, y)`` in shells ``floor(|k|)`` of the wavenumber.

    One number per shell 0, 1, ... up to the corner of the square of wavenumbers; velocity squared. Their sum is the
    mean of ``(u^2 + v^2) / 2``.
    """
    field = velocity_of(velocity)
    shape = field.shape[-2], field.shape[-1]
    points = shape[0] * shape[1]
    k_x, k_y = _wavenumbers(shape)
    shell = np.floor(np.sqrt(k_x**2 + k_y**2)).astype(np.int64)
    # Columns that a half spectrum leaves out are the conjugates of the others.
    twice = np.full(shape[1] // 2 + 1, 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    spectrum = np.fft.rfft2(field)
    energy = 0.5 * twice * (np.abs(spectrum) ** 2).sum(axis=-3) / points**2
    frames, shells = energy.reshape(-1, shell.size), int(shell.max()) + 1
    place = np.arange(len(frames))[:, None] * shells + shell.ravel()
    return np.bincount(place.ravel(), frames.ravel(), len(frames) * shells).reshape(*energy.shape[:-2], shells)


def resolving_shell(spectrum: Values, *, fraction: float = 0.9999) -> Int[np.ndarray, "*frames"]:
    """The first shell up to and including which a fraction of the energy lies.

    Parameters
    ----------
    spectrum
        Of :func:`energy_spectrum`; average it over frames first for one number of a flow.
    fraction
        Of the total energy, k = 0 included.

    Returns
    -------
    Index of the shell: that energy lies at wavenumbers below ``shell + 1``.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction of the energy must lie strictly between 0 and 1; got {fraction}")
    energies = real_numbers(spectrum, "the spectrum")
    if energies.ndim < 1 or (energies < 0).any():
        raise ValueError(f"a spectrum (..., shell) has no negative energies; got shape {energies.shape}")
    total = np.cumsum(energies, axis=-1, dtype=np.float64)
    return np.asarray(np.argmax(total >= fraction * total[..., -1:], axis=-1))


def vorticity(velocity: Values) -> Float64[np.ndarray, "*frames x y"]:
    """``dv/dx - du/dy`` of velocities ``(..., component=2, x, y)``, per time unit, by spectral derivatives."""
    field = velocity_of(velocity)
    d_x, d_y = _times_derivative((field.shape[-2], field.shape[-1]))
    spectrum = np.fft.rfft2(field)
    return np.fft.irfft2(d_x * spectrum[..., 1, :, :] - d_y * spectrum[..., 0, :, :], field.shape[-2:])


def dissipation(velocity: Values, reynolds: float | int) -> Float64[np.ndarray, "*frames"]:
    """Mean square of the vorticity over the Reynolds number, of each frame ``(..., component=2, x, y)``."""
    if not reynolds > 0:
        raise ValueError(f"the Reynolds number must be positive; got {reynolds}")
    return np.asarray(np.square(vorticity(velocity)).mean(axis=(-2, -1)) / reynolds)


def relative_divergence(velocity: Values) -> Float64[np.ndarray, "*frames"]:
    """Root mean square of ``du/dx + dv/dy`` over that of all four derivatives, of each frame.

    0 for an incompressible field, 1 for the gradient of a potential; 0 for a field without gradients.
    """
    field = velocity_of(velocity)
    d_x, d_y = _times_derivative((field.shape[-2], field.shape[-1]))
    spectrum = np.fft.rfft2(field)
    shape = field.shape[-2:]
    along_x, along_y = np.fft.irfft2(d_x * spectrum, shape), np.fft.irfft2(d_y * spectrum, shape)
    divergence = along_x[..., 0, :, :] + along_y[..., 1, :, :]
    size = np.sqrt((along_x**2 + along_y**2).sum(axis=-3).mean(axis=(-2, -1)))
    rms = np.sqrt(np.square(divergence).mean(axis=(-2, -1)))
    return np.divide(rms, size, out=np.zeros_like(size), where=size > 0)
