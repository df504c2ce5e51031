"""Supervised: what one coarse step misses along the reference, fitted by least squares.

For a state s of the reference on the coarse grid, the next one s', and the uncorrected step G, the correction that is
wanted is the residual

    r = G(s) - s' ,

and the closure is fitted to it in the mean square. Neither the solver nor the reference is differentiated: G(s) and s'
are numbers, and the gradient passes through the closure and :meth:`~closura.Solver.correct`, which turns its answer
into a change of the state. Solvers outside JAX will do.

Where the correction enters after the step the fit is exact. Where it enters before, G(s - r) = s' + O(dt) r: exact to
first order in the time step. What a closure does to the states that it meets later is not seen: fits of this kind may
be unstable over many steps, and are the beginning of a training rather than its end.

Source: fitting tendencies before trying them online is the usual practice of parameterisations; Rasp, "Coupled online
learning as a way to tackle instabilities and biases in neural network parameterizations" (2020), Geosci. Model Dev. 13.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.closures._members import by_groups
from closura.environment import Environment, EnvironmentState
from closura.learners.state import Learner, LearnerState, Metrics, global_norm, keep_if, learner, next_state
from closura.problems.problem import Problem
from closura.settings import Count, Decay, Positive, Settings


@dataclass(frozen=True)
class SupervisedConfiguration(Settings):
    """Settings of fits to residuals of one step.

    Parameters
    ----------
    updates
        Number of updates.
    batch
        States of each.
    early
        States are drawn at a share r^early of a stored simulation, r uniform: above one favours early times.
    learning_rate
        Largest step size of Adam, which warms up, then falls to a hundredth as a cosine.
    average
        Decay of the moving average of the weights, which is what is validated and kept.
    """

    updates: Count = 2000
    batch: Count = 16
    early: Positive = 1.0
    learning_rate: Positive = 3e-3
    average: Decay = 0.98


@learner("supervised", settings=SupervisedConfiguration)
class Supervised(Learner):
    """Least squares to what single steps miss along the reference; the solver is never differentiated."""

    configuration: SupervisedConfiguration = eqx.field(static=True)

    @classmethod
    def check(cls, training: Any, *, follows_state: bool) -> None:
        """Settings that leave a residual to fit."""
        if follows_state:
            raise ValueError("supervised fits the reference's own steps, and this target follows the closure's state")

    def stages(self) -> tuple[int, ...]:
        """One stage."""
        return (self.configuration.updates,)

    def optimiser(self) -> optax.GradientTransformation:
        """Adam with warm-up and cosine decay."""
        c = self.configuration
        warm = min(50, c.updates // 10 + 1)
        return optax.adam(
            optax.warmup_cosine_decay_schedule(
                0.1 * c.learning_rate, c.learning_rate, warm, max(c.updates, warm + 1), 0.01 * c.learning_rate
            )
        )

    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """Nothing is carried; problems whose actions are no change of the state are refused."""
        check_corrects(problem)
        return None

    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """One step of Adam on a batch of pairs; those that are not finite are left out."""
        c = self.configuration
        key, batch_key = jax.random.split(jax.random.wrap_key_data(state.key_data))
        episodes = Environment(problem).reset_batch_anywhere(c.batch, 1, early=c.early, key=batch_key)
        residuals = jax.vmap(lambda e: residual(problem, e))(episodes)
        fine = jnp.all(jnp.isfinite(residuals), axis=tuple(range(1, residuals.ndim)))
        # A pair that stands in for one that is left out: nothing times NaN is NaN.
        kept = jnp.where(fine, jnp.arange(c.batch), jnp.argmax(fine))
        episodes, residuals = jax.tree.map(lambda x: x[kept], (episodes, residuals))
        axes = (0, *range(2, residuals.ndim))
        weights, static = eqx.partition(state.closure, eqx.is_inexact_array)

        def loss(weights: PyTree[Array]) -> Float[Array, ""]:
            closure = eqx.combine(weights, static)
            made = by_groups(lambda e: correction_of(problem, closure, e), episodes, problem.grid.size)
            sizes = jnp.mean(jnp.square(residuals), axis=axes)
            missed = jnp.mean(jnp.square(made - residuals), axis=axes)
            return jnp.mean(missed / jnp.maximum(sizes, jnp.finfo(sizes.dtype).tiny))

        value, gradient = jax.value_and_grad(loss)(weights)
        steps, optimiser = self.optimiser().update(gradient, state.optimiser, weights)
        learned = jnp.any(fine) & jnp.isfinite(value) & jnp.isfinite(global_norm(gradient))
        following = (optax.apply_updates(weights, steps), optimiser)
        weights, optimiser = keep_if(learned, following, (weights, state.optimiser))
        closure = eqx.combine(weights, static)
        left_out = jnp.where(learned, jnp.mean(~fine), 1.0)
        metrics = {"loss": jnp.where(learned, value, 0), "left_out": left_out.astype(jnp.float32)}
        return next_state(state, closure, optimiser, None, decay=c.average, transitions=c.batch, key=key), metrics


def residual(problem: Problem, episode: EnvironmentState) -> Float[Array, "component *grid"]:
    """What the uncorrected step leaves too much in a state of the reference: ``G(s) - s'``."""
    state, parameters, dt = episode.state, episode.parameters, problem.dt_of(episode.parameters)
    following: Array = problem.coarse.advance(state, parameters, dt)
    reference = problem.reference.advance(episode.reference, state, parameters, dt)
    return following - problem.reference.field(reference).astype(following.dtype)


def correction_of(problem: Problem, closure: Any, episode: EnvironmentState) -> Float[Array, "component *grid"]:
    """What a closure takes away from a state, by :meth:`~closura.Solver.correct`."""
    state, parameters = episode.state, episode.parameters
    action = problem.spec.limit(closure)(problem.coarse.observe(state, parameters))  # type: ignore[misc]
    return state - problem.coarse.correct(state, parameters, problem.dt_of(parameters), action)


def check_corrects(problem: Problem) -> None:
    """Refuse problems in which an action is not a change of the state that ``Solver.correct`` makes, once a step.

    Raises
    ------
    ValueError
        If actions weigh fluxes or stencils, enter the solver elsewhere, or ``correct`` has no derivative.
    """
    name, solver = problem.name or "this problem", problem.coarse
    if problem.spec.where != "cells":
        raise ValueError(f"supervised needs actions that correct the state; those of {name} weigh fluxes at interfaces")
    if solver.calls_per_step != 1:
        raise ValueError(f"supervised needs one action a step; the solver of {name} asks {solver.calls_per_step} times")
    episode = Environment(problem).reset(key=jax.random.key(0))
    shape = (len(problem.spec.action), *problem.grid.shape)
    probe = 0.1 * problem.spec.scale * jax.random.normal(jax.random.key(1), shape, jnp.float32)

    @jax.jit
    def both(episode: EnvironmentState) -> tuple[Array, Array]:
        _, acted = problem.step(episode.state, episode.parameters, lambda seen: probe)
        return acted - episode.state, -correction_of(problem, lambda seen: probe, episode)

    found, expected = both(episode)
    size = float(jnp.max(jnp.abs(expected)))
    if not size or float(jnp.max(jnp.abs(found - expected))) > 1e-3 * size:
        kind = type(solver).__name__
        raise ValueError(
            f"supervised needs actions that {kind}.correct subtracts from the state; those of {name} enter its step "
            "elsewhere: define correct, or take another learner"
        )
    try:
        jax.eval_shape(jax.grad(lambda a: jnp.sum(correction_of(problem, lambda seen: a, episode))), probe)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"supervised differentiates {type(solver).__name__}.correct, which failed: {error}") from error
