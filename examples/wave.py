"""A wave on a line, u_t + u_x = 0, periodic: a closure for first-order upwind differences on 32 points."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp

import closura

UPWIND = {
    "upwind1": {-1: -1, 0: 1},
    "upwind5": {-3: -1 / 30, -2: 1 / 4, -1: -1, 0: 1 / 3, 1: 1 / 2, 2: -1 / 20},
}  # weights of neighbours in the derivative, times the spacing


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings of the wave.

    Parameters
    ----------
    cells
        Points of the coarse grid.
    courant
        Time step over spacing.
    """

    cells: closura.Count = 32
    courant: closura.Positive = 0.4


class Advection(closura.Solver):
    """Upwind differences with the third-order Runge-Kutta method of Shu and Osher."""

    grid: closura.Grid = eqx.field(static=True)
    scheme: str = eqx.field(static=True)
    courant_limit = 1.2

    def rate(self, state, parameters):
        return jnp.asarray(1 / self.grid.spacing[0])

    def advance(self, state, parameters, dt):
        def euler(u):
            slope = sum(weight * jnp.roll(u, -k, axis=-1) for k, weight in UPWIND[self.scheme].items())
            return u - dt / self.grid.spacing[0] * slope

        return state / 3 + 2 / 3 * euler(0.75 * state + 0.25 * euler(euler(state)))


class Bumps(closura.CaseSampler):
    """Periodic bumps of random width at a random place."""

    grid: closura.Grid = eqx.field(static=True)

    def sample(self, *, key):
        place, width = jax.random.uniform(key, (2,), jnp.float32)
        (x,) = self.grid.coordinates()
        return closura.Case(jnp.exp((2 + 10 * width) * (jnp.cos(2 * jnp.pi * (x - place)) - 1))[None])


@closura.problem("wave", physics=Physics)
def wave(physics, split):
    """Upwind differences on a coarse grid, and fifth-order ones on eight times as many points as the reference."""
    coarse = closura.Grid((physics.cells,))
    fine = coarse.refine(8)
    return closura.Problem.from_solvers(
        cases=Bumps(fine), solver=lambda name, grid: Advection(grid, name), uncorrected="upwind1",
        baselines=("upwind5",), reference=("upwind5", fine), grid=coarse, dt=physics.courant * coarse.spacing[0],
    )  # fmt: skip
