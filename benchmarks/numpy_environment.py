"""The published advection environment in plain NumPy: what the benchmarks measure closura against.

Written from the formulas of Closure-RL (arXiv:2402.00972) as its code carries them out, the way most people would
write them: whole arrays, ``np.roll`` for periodic neighbours, one environment per process. Fields are
``[row = y, column = x]``, as in the published code (closura's are ``[component, x, y]``).

Run as a script it times itself and prints one line of JSON; ``benchmarks/environment.py`` does that with one
process, and with one per core.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field

import numpy as np

Array = np.ndarray


@dataclass
class NumpyEnvironment:
    """Advection on ``cells x cells`` points against a solver that is ``ratio`` times finer.

    All fields, and all arithmetic, have the dtype ``dtype``. An episode ends with an error of
    ``error_threshold`` once it has ``minimum`` steps, and after ``maximum`` steps.
    """

    cells: int = 64
    ratio: int = 4
    dtype: str = "float64"
    courant: float = 0.25
    minimum: int = 4
    maximum: int = 100
    error_threshold: float = 0.015
    state: Array = field(init=False)
    fine: Array = field(init=False)
    steps: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.spacing = 1.0 / self.cells
        self.fine_spacing = self.spacing / self.ratio
        self.time_step = self.courant * self.spacing

    def reset(self, initial: Array, u: Array, v: Array) -> Array:
        """Begin with a field and a velocity on the fine grid; both simulations take one step without action."""
        self.fine, self.u_fine, self.v_fine = (x.astype(self.dtype) for x in (initial, u, v))
        self.u, self.v = (self.restrict(x).copy() for x in (self.u_fine, self.v_fine))
        self.state = self.coarse_step(self.restrict(self.fine))
        self.fine = self.fine_steps(self.fine)
        self.steps = 0
        return self.observe()

    def step(self, action: Array) -> tuple[Array, Array, bool]:
        """Act, then advance: observation, reward per cell, and whether the episode has ended."""
        acted = np.clip(self.state - np.clip(action, -1, 1).astype(self.dtype), -3, 3)
        reference = self.restrict(self.fine)
        reward = (self.state - reference) ** 2 - (acted - reference) ** 2
        self.state = self.coarse_step(acted)
        self.fine = self.fine_steps(self.fine)
        self.steps += 1
        error = np.mean(np.abs(self.state - self.restrict(self.fine)))
        failed = not error < self.error_threshold and self.steps >= self.minimum
        return self.observe(), reward, bool(failed or self.steps >= self.maximum)

    def observe(self) -> Array:
        """``(psi, u, v)`` in single precision."""
        return np.stack([self.state, self.u, self.v]).astype(np.float32)

    def restrict(self, fine: Array) -> Array:
        """Every ``ratio``-th point."""
        return fine[:: self.ratio, :: self.ratio]

    def coarse_step(self, psi: Array) -> Array:
        """First-order upwind differences and forward Euler.

        At the last column and row the published code takes, for velocities that are not positive, a difference
        over two cells.
        """
        right, above = np.roll(psi, -1, axis=1) - psi, np.roll(psi, -1, axis=0) - psi
        right[:, -1] = psi[:, 0] - psi[:, -2]
        above[-1, :] = psi[0, :] - psi[-2, :]
        along_x = np.where(self.u > 0, psi - np.roll(psi, 1, axis=1), right) / self.spacing
        along_y = np.where(self.v > 0, psi - np.roll(psi, 1, axis=0), above) / self.spacing
        return psi - self.time_step * self.u * along_x - self.time_step * self.v * along_y

    def fine_steps(self, psi: Array) -> Array:
        """``ratio`` steps of second-order central differences and the classical Runge-Kutta method."""
        dt = self.time_step / self.ratio
        for _ in range(self.ratio):
            k1 = dt * self.slope(psi)
            k2 = dt * self.slope(psi + k1 / 2)
            k3 = dt * self.slope(psi + k2 / 2)
            k4 = dt * self.slope(psi + k3)
            psi = psi + (k1 + 2 * k2 + 2 * k3 + k4) / 6
        return psi

    def slope(self, psi: Array) -> Array:
        """``-(velocity . grad) psi`` on the fine grid."""
        along_x = (np.roll(psi, -1, axis=1) - np.roll(psi, 1, axis=1)) / (2 * self.fine_spacing)
        along_y = (np.roll(psi, -1, axis=0) - np.roll(psi, 1, axis=0)) / (2 * self.fine_spacing)
        return -self.u_fine * along_x - self.v_fine * along_y


def smooth_fields(points: int) -> tuple[Array, Array, Array]:
    """A field between 0 and 1 and a velocity between -1 and 1: values do not matter for timings."""
    y, x = np.meshgrid(np.arange(points) / points, np.arange(points) / points, indexing="ij")
    wave = 2 * np.pi
    initial = np.exp(-20 * ((x - 0.4) ** 2 + (y - 0.6) ** 2))
    return initial, np.sin(wave * x) * np.cos(wave * y), -np.cos(wave * x) * np.sin(wave * y)


def main() -> None:
    """Time steps for a while and print transitions, seconds and processor seconds as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--wait", action="store_true", help="begin when a line arrives on standard input")
    arguments = parser.parse_args()
    environment = NumpyEnvironment(arguments.cells, arguments.ratio, arguments.dtype)
    environment.reset(*smooth_fields(arguments.cells * arguments.ratio))
    action = np.zeros((arguments.cells, arguments.cells), np.float32)
    for _ in range(3):
        environment.step(action)
    if arguments.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    count, begin, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - begin < arguments.seconds:
        environment.step(action)
        count += 1
    seconds = time.perf_counter() - begin
    record = {"transitions": count, "seconds": seconds, "processor": time.process_time() - processor}
    print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
