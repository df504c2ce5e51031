"""A baseline, a metric, a figure, a table and a learner for the wave of wave.py: one decorated object each."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

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


@closura.table("worst", needs=("error",), order=40)
def worst(results):
    """The largest error at the end."""
    rows = [(name, [f"{100 * results.last(name).max():.3g}"]) for name in results.compared]
    return [closura.Table("Worst simulation", ["method", "error (%)"], rows)]


@dataclass(frozen=True)
class OneStepSettings(closura.Settings):
    """Settings of the learner.

    Parameters
    ----------
    updates
        Number of updates.
    batch
        States of each.
    learning_rate
        Step size of Adam.
    """

    updates: closura.Count = 300
    batch: closura.Count = 16
    learning_rate: closura.Positive = 3e-3


@closura.learner("one-step", settings=OneStepSettings)
class OneStep(closura.Learner):
    """The error after a single corrected step from states of the reference."""

    configuration: OneStepSettings = eqx.field(static=True)

    def stages(self):
        return (self.configuration.updates,)

    def optimiser(self):
        return optax.adam(self.configuration.learning_rate)

    def begin(self, problem, *, key):
        return None

    def update(self, problem, state, stage):
        key, for_states = jax.random.split(jax.random.wrap_key_data(state.key_data))
        environment = closura.Environment(problem)
        states = environment.reset_batch_anywhere(self.configuration.batch, 1, key=for_states)
        weights, rest = eqx.partition(state.closure, eqx.is_inexact_array)

        def loss(weights):
            closure = eqx.combine(weights, rest)
            return jnp.mean(jax.vmap(lambda s: environment.step_asking(s, closure)[1].error)(states))

        value, gradient = jax.value_and_grad(loss)(weights)
        steps, optimiser = self.optimiser().update(gradient, state.optimiser)
        weights = optax.apply_updates(weights, steps)
        closure, count = eqx.combine(weights, rest), self.configuration.batch
        return closura.next_state(state, closure, optimiser, None, transitions=count, key=key), {"loss": value}
