"""Spiral waves of two reacting species (a lambda-omega system), in NumPy: a closure for a grid of 16 x 16 points."""

from dataclasses import dataclass

import numpy as np

import closura

LENGTH, DIFFUSIVITY, ROTATION = 10.0, 0.1, 1.0


@dataclass(frozen=True)
class Physics(closura.Settings):
    """Settings of the problem.

    Parameters
    ----------
    points
        Points along each axis of the coarse grid.
    """

    points: closura.Count = 16


def step(state, dt):
    """Second-order differences, forward Euler; any number of points."""
    u, v = state
    spacing = LENGTH / u.shape[0]
    around = sum(np.roll(state, shift, axis) for shift in (-1, 1) for axis in (1, 2))
    diffusion = DIFFUSIVITY * (around - 4 * state) / spacing**2
    size = u**2 + v**2
    reaction = np.stack([(1 - size) * u + ROTATION * size * v, (1 - size) * v - ROTATION * size * u])
    return state + dt * (diffusion + reaction)


def initial_on(points):
    """Smooth random fields: four waves along each axis."""

    def initial(rng):
        x = 2 * np.pi * np.arange(points) / points
        waves = np.stack([np.ones_like(x), np.cos(x), np.sin(x), np.cos(2 * x), np.sin(2 * x)])
        return np.einsum("cij,ix,jy->cxy", rng.normal(size=(2, 5, 5)), waves, waves) / 8

    return initial


@closura.problem("spirals", physics=Physics)
def spirals(physics, split):
    """Spiral waves of two reacting species."""
    grid = closura.Grid((physics.points,) * 2, (LENGTH,) * 2)
    return closura.Problem.from_functions(
        fields=("u", "v"), grid=grid, dt=0.1, coarse=step, ratio=4, substeps=8, initial=initial_on(4 * physics.points)
    )
