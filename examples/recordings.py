"""Recordings of the Kuramoto-Sivashinsky equation, and a coarse solver of one's own that learns from them.

``python recordings.py FOLDER`` records simulations of a spectral solver on 256 points, which closura never sees: a file
in NetCDF for each. ``closura train recordings.py --folder FOLDER`` learns a closure for second-order differences on 32.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import xarray as xr

import closura

LENGTH, FINE, INTERVAL = 32.0, 256, 0.2


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings of the problem.

    Parameters
    ----------
    folder
        Where the recordings are.
    points
        Points of the coarse grid.
    """

    folder: str = "recordings"
    points: closura.Count = 32


def step(u, dt, parameters):
    """u_t + u u_x + u_xx + nu u_xxxx = 0: central differences, the linear part implicit and the other explicit."""
    points = u.shape[-1]
    dx = LENGTH / points
    k2 = (2 - 2 * jnp.cos(2 * jnp.pi * jnp.arange(points // 2 + 1) / points)) / dx**2  # of the second difference
    half = u**2 / 2
    slope = (jnp.roll(half, -1, axis=-1) - jnp.roll(half, 1, axis=-1)) / (2 * dx)
    growth = 1 - dt * (k2 - parameters["nu"] * k2**2)
    return jnp.fft.irfft(jnp.fft.rfft(u - dt * slope) / growth, points)


@closura.problem("recordings", physics=Physics)
def recordings(physics, split):
    """Second-order differences on a coarse grid, against recordings of somebody else's solver."""
    recorded = closura.recorded(
        f"{physics.folder}/*.nc", variables="u", parameters=("nu",), split=split, validation=0.1, test=0.2
    )
    grid = closura.Grid((physics.points,), extent=(LENGTH,))
    return closura.Problem.from_functions(fields=("u",), grid=grid, dt=INTERVAL, coarse=step, reference=recorded)


def record(folder, simulations=40, frames=301, spin_up=50.0, seed=0):
    """Fourth-order exponential time differencing [Cox and Matthews 2002], its coefficients by contours as in [Kassam
    and Trefethen 2005].
    """
    rng, dt, often = np.random.default_rng(seed), INTERVAL / 4, 4
    nu, k = rng.uniform(0.9, 1.1, simulations), 2 * np.pi / LENGTH * np.arange(FINE // 2 + 1)
    linear = dt * (k**2 - nu[:, None] * k**4)
    z = linear[..., None] + np.exp(1j * np.pi * (np.arange(32) + 0.5) / 32)
    q, f1, f2, f3 = (
        dt * np.mean(each, axis=-1).real
        for each in (
            (np.exp(z / 2) - 1) / z,
            (-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3,
            (2 + z + np.exp(z) * (z - 2)) / z**3,
            (-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3,
        )
    )
    whole, part = np.exp(linear), np.exp(linear / 2)

    def rest(v):
        return -0.5j * k * np.fft.rfft(np.fft.irfft(v, FINE) ** 2) * (k < 2 / 3 * k[-1])

    v = np.fft.rfft(rng.normal(size=(simulations, FINE))) * (k < 2)
    fields, skipped = [], round(spin_up / dt)
    for n in range(skipped + often * (frames - 1) + 1):
        if n >= skipped and (n - skipped) % often == 0:
            fields.append(np.fft.irfft(v, FINE))
        now = rest(v)
        a = part * v + q * now
        at_a = rest(a)
        at_b = rest(part * v + q * at_a)
        v = whole * v + f1 * now + 2 * f2 * (at_a + at_b) + f3 * rest(part * a + q * (2 * at_b - now))
    axes = {"time": INTERVAL * np.arange(frames), "x": (np.arange(FINE) + 0.5) * LENGTH / FINE}
    for number, field in enumerate(np.moveaxis(np.asarray(fields, np.float32), 1, 0)):
        found = xr.Dataset({"u": (("time", "x"), field)}, axes, {"nu": nu[number]})
        found.to_netcdf(Path(folder) / f"run{number:03}.nc")


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    record(sys.argv[1])
