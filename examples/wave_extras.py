"""A baseline, a metric and a figure for the wave of wave.py: one decorated object each."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

import closura


class LaxWendroff(closura.Solver):
    """The second-order scheme of Lax and Wendroff for u_t + u_x = 0."""

    grid: closura.Grid = eqx.field(static=True)
    courant_limit = 1.0

    def rate(self, state, parameters):
        return jnp.asarray(1 / self.grid.spacing[0])

    def advance(self, state, parameters, dt):
        number = dt / self.grid.spacing[0]
        left, right = jnp.roll(state, 1, axis=-1), jnp.roll(state, -1, axis=-1)
        return state - number / 2 * (right - left) + number**2 / 2 * (right - 2 * state + left)


@closura.baseline("lax-wendroff", problem="wave")
def lax_wendroff(grid):
    """On any grid."""
    return LaxWendroff(grid)


@closura.metric("height_error", title="error of the largest value", percent=True)
def height_error(field, reference):
    """Relative difference of the largest values."""
    return jnp.abs(jnp.max(field) - jnp.max(reference)) / jnp.max(reference)


@closura.figure("heights", needs=("height_error",), caption="Error of the largest value against time.")
def heights(results, figure):
    """One line for each method: the mean over simulations."""
    axes = figure.subplots()
    for name in results.compared:
        values = 100 * np.mean(results.of("height_error", name), axis=0)
        axes.plot(results.times, values, label=name)
    axes.set(xlabel="time", ylabel="error of the largest value (%)")
    axes.legend()
