"""Time per step of Kolmogorov flow: ours beside NumPy with the transforms that KolSol takes, and with the fewest.

    python benchmarks/kolmogorov.py --out benchmarks/results/kolmogorov.json

KolSol itself (MagriLab/KolSol) is not needed: what its step costs is its twelve transforms, eight back and four
forth, complex, on a grid padded to twice the points; the same are taken here. 64 points, float64, forward Euler, one
thread each; then our solver with several trajectories at once, on all cores. All in turns on one machine.
"""

import argparse
import json
import os
from pathlib import Path

# One thread per call: what is compared is a step, not how many cores the machine happens to have.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import jax
import jax.numpy as jnp
import numpy as np
from timing import Case, measure

from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.runs.environment import describe_environment
from closura.trajectories.configuration import GenerationConfiguration
from closura.trajectories.generate import Simulation

POINTS, REYNOLDS, STEP = 64, 34.0, 0.01


def twelve_transforms(state: np.ndarray, steps: int) -> np.ndarray:
    """Forward Euler with KolSol's transforms: every product of every ordered pair is padded and transformed anew."""
    n, m = POINTS, 2 * POINTS
    k = np.fft.fftshift(np.fft.fftfreq(n, 1 / n))
    kx, ky = k[:, None], k[None, :]
    square = kx**2 + ky**2
    square[n // 2, n // 2] = 1.0
    force = np.zeros((2, n, n), complex)
    force[0, n // 2, n // 2 + 4], force[0, n // 2, n // 2 - 4] = -0.5j * n**2, 0.5j * n**2
    inside = slice((m - n) // 2, (m + n) // 2)

    def padded(field: np.ndarray) -> np.ndarray:
        out = np.zeros((m, m), complex)
        out[inside, inside] = field
        return np.fft.ifft2(np.fft.ifftshift(out)).real * (m / n) ** 2

    for _ in range(steps):
        driven = force.copy()
        for i in range(2):
            for j in range(2):
                product = np.fft.fftshift(np.fft.fft2(padded(state[i]) * padded(state[j])))[inside, inside]
                driven[i] -= 1j * (kx, ky)[j] * product * (n / m) ** 2
        along = (kx * driven[0] + ky * driven[1]) / square
        driven -= np.stack([kx * along, ky * along])
        state = state + STEP * (driven - (kx**2 + ky**2) * state / REYNOLDS)
    return state


def five_transforms(state: np.ndarray, steps: int) -> np.ndarray:
    """The same with half spectra, 3/2 padding, and each product once."""
    n, m, half = POINTS, 3 * POINTS // 2, POINTS // 2
    kx, ky = np.fft.fftfreq(n, 1 / n)[:, None], np.arange(half + 1)[None, :]
    square = kx**2 + ky**2
    safe = np.where(square == 0, 1.0, square)
    force = np.zeros((2, n, half + 1), complex)
    force[0, 0, 4] = -0.5j * n**2
    rows = np.r_[0:half, m - half : m]
    for _ in range(steps):
        fine = np.zeros((2, m, m // 2 + 1), complex)
        fine[:, rows, :half] = state[..., :half]
        u, v = np.fft.irfft2(fine, s=(m, m)) * (m / n) ** 2
        uu, uv, vv = np.fft.rfft2(np.stack([u * u, u * v, v * v]))[:, rows, : half + 1] * (n / m) ** 2
        driven = force - 1j * np.stack([kx * uu + ky * uv, kx * uv + ky * vv])
        along = (kx * driven[0] + ky * driven[1]) / safe
        driven -= np.stack([kx * along, ky * along])
        driven[:, half], driven[..., half] = 0.0, 0.0  # Nyquist waves
        state = state + STEP * (driven - square * state / REYNOLDS)
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)

    flow = KolmogorovFlow(POINTS)
    start = 300 * flow.random_start(0)
    whole = np.fft.fftshift(np.fft.fft2(np.fft.irfft2(start, s=(POINTS, POINTS))), axes=(1, 2))
    cases = {
        "NumPy, 12 transforms (KolSol's)": Case(lambda: twelve_transforms(whole, 10), 10),
        "NumPy, 5 transforms": Case(lambda: five_transforms(start, 50), 50),
    }
    state, reynolds = jnp.asarray(start), jnp.asarray(REYNOLDS)
    for padding in ("2", "3/2"):
        solver = KolmogorovFlow(POINTS, padding=padding)
        for integrator in ("euler", "rk4"):
            march = jax.jit(lambda s, f=solver, i=integrator: f.march(s, reynolds, STEP, 200, i))
            cases[f"closura, padding {padding}, {integrator}"] = Case(lambda march=march: march(state), 200)
    simulations = {}
    for count in (1, 2, 4, 8):
        c = GenerationConfiguration(trajectories=count)
        simulations[count] = Simulation(c, c.starts())
        cases[f"closura, {count} trajectories at once, rk4, per trajectory"] = Case(
            lambda s=simulations[count]: s.advance(200), 200 * count
        )
    agree = np.max(np.abs(five_transforms(start, 20) - np.asarray(flow.march(state, reynolds, STEP, 20, "euler"))))
    if agree > 1e-9 * np.max(np.abs(start)):
        raise SystemExit(f"the solvers do not agree: largest difference {agree:g}")
    times = measure(cases, options.repetitions)
    for simulation in simulations.values():
        simulation.close()
    for name, time in times.items():
        print(f"{name:58s} {time.median:7.3f} ms  [{time.lower:.3f}, {time.upper:.3f}]  cpu {time.processor:.3f} ms")
    kolsol = times["NumPy, 12 transforms (KolSol's)"].median
    ours = times["closura, padding 3/2, euler"].median
    print(f"a step of KolSol's transforms costs {kolsol / ours:.0f} of ours")
    if options.out:
        rows = {name: {"median_ms": t.median, "quartiles_ms": [t.lower, t.upper], "cpu_ms": t.processor}
                for name, t in times.items()}  # fmt: skip
        content = {"points": POINTS, "precision": "float64", "times": rows, "environment": describe_environment()}
        options.out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
