"""Phase separation (Allen and Cahn) solved by py-pde, a published solver: a closure for a grid of 16 x 16 points.

The worker processes need ``pip install py-pde`` (D. Zwicker, Journal of Open Source Software 5, 2158, 2020).
"""

import sys
from dataclasses import dataclass

import numpy as np

import closura

LENGTH = 32.0  # of the square, where interfaces are 2.8 wide: 1.4 coarse points


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings of the problem.

    Parameters
    ----------
    points
        Points along each axis of the coarse grid.
    """

    points: closura.Count = 16


class AllenCahn:
    """u_t = laplace(u) + u - u^3 by py-pde's second-order differences and Euler steps, in a worker process."""

    def __init__(self):
        self.made = {}

    def solver(self, shape, dt):
        """The field and the step that py-pde makes for a grid; made once."""
        import pde

        if (shape, dt) not in self.made:
            field = pde.ScalarField(pde.CartesianGrid([[0, LENGTH]] * 2, shape, periodic=True))
            step = pde.EulerSolver(pde.AllenCahnPDE(), backend="numpy").make_stepper(field, dt)
            self.made[shape, dt] = field, step
        return self.made[shape, dt]

    def reset(self, state, parameters):
        self.state = state[0]

    def step(self, dt, action):
        field, step = self.solver(self.state.shape, dt)
        field.data[...] = self.state
        step(field, 0.0, dt)
        self.state = field.data.copy()
        return self.state[None]


def initial_on(points):
    """Smooth random fields of root mean square 0.7."""

    def initial(rng):
        waves = points * np.fft.fftfreq(points)
        smooth = np.exp(-(waves[:, None] ** 2 + waves**2) / 9)
        field = np.fft.ifft2(smooth * np.fft.fft2(rng.normal(size=(points, points)))).real
        return (0.7 * field / field.std())[None]

    return initial


@closura.problem("phases", physics=Physics)
def phases(physics, split):
    """Two phases that separate, by py-pde."""
    solver = closura.Program((sys.executable, "-m", "closura.host.serve", f"{__file__}:AllenCahn"))
    return closura.Problem.from_functions(
        fields=("u",), grid=closura.Grid((physics.points,) * 2, (LENGTH,) * 2), dt=0.25, coarse=solver, ratio=4,
        substeps=8, initial=initial_on(4 * physics.points), horizon=40,
    )  # fmt: skip
