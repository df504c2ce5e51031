"""BPTTS: the gradient of a rollout's error, through the solver and through neighbouring cells.

Each update rolls a batch of simulations out over a window of ``horizon`` steps and differentiates the mean error
over the window through solver and closure. A window begins on the truth, at a random time of a random simulation,
or - with probability ``proceed`` - where the window before it ended, without a gradient across the seam (truncated
backpropagation). Windows on the truth are the default: an error that was there before the window began is noise to
the closure, which cannot know its sign; with every window proceeding, training on advection was several times
slower. The horizon grows with the stages of a curriculum.

Source of the idea: backpropagation through time and space for agents that share one policy (BPTTS); truncated
backpropagation through time is Williams and Peng (1990).
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.environment import Environment, EnvironmentState
from closura.learners.state import Learner, LearnerState, Metrics, check_ranges, choose, global_norm, move_average
from closura.problems.problem import Problem

SMALLEST_ERROR = 1e-5
"""Errors far below this are as good as none: the logarithm of a loss ends here (float32 resolves 1e-7)."""


@dataclass(frozen=True)
class BPTTSConfiguration:
    """Settings of gradients through the rollout.

    Parameters
    ----------
    updates
        Number of updates in all.
    batch
        Simulations that run side by side.
    horizons
        Steps per window, one for each stage of the curriculum.
    fractions
        Share of the updates that each stage gets.
    early
        Windows begin at a share r^early of a stored simulation, r uniform: above one favours early times.
    proceed
        Probability that a simulation goes on in the next window, instead of beginning anew on the truth.
    error_limit
        Error beyond which a simulation begins anew: a lost run has nothing to teach.
    learning_rate
        Peak of the step size of Adam; it warms up, then falls as a cosine to a hundredth.
    gradient_norm
        Gradients longer than this are shortened to it.
    average
        Decay of the moving average of the weights, which is what is validated and kept.
    loss
        "mae" (the problem's error) or "mse" of the state against the truth, averaged over the window; "root" and
        "log" are the root and the logarithm of the former: simulations then count more evenly, by their relative
        improvement with the logarithm, whatever their difficulty.
    """

    updates: int = 3000
    batch: int = 8
    horizons: tuple[int, ...] = (4, 8, 16)
    fractions: tuple[float, ...] = (0.3, 0.5, 0.2)
    early: float = 1.0
    proceed: float = 0.0
    error_limit: float = 0.1
    learning_rate: float = 3e-3
    gradient_norm: float = 1.0
    average: float = 0.98
    loss: Literal["mae", "mse", "root", "log"] = "mae"

    def __post_init__(self) -> None:
        if len(self.horizons) != len(self.fractions) or not self.horizons:
            raise ValueError(f"one fraction per horizon; got {self.horizons} and {self.fractions}")
        if min(self.horizons) < 1:
            raise ValueError(f"horizons must be positive; got {self.horizons}")
        if self.updates < 1 or self.batch < 1:
            raise ValueError(f"updates and batch must be positive; got {self.updates} and {self.batch}")
        if min(self.fractions) < 0 or sum(self.fractions) <= 0:
            raise ValueError(f"fractions must not be negative, nor all zero; got {self.fractions}")
        check_ranges(
            self, positive=("learning_rate", "gradient_norm", "error_limit", "early"), shares=("proceed", "average")
        )


class _Window(NamedTuple):
    loss: Float[Array, ""]
    last_error: Float[Array, ""]
    episode: EnvironmentState


class BPTTS(Learner):
    """Gradients through rollouts; see the module's text."""

    configuration: BPTTSConfiguration = eqx.field(static=True)

    def stages(self) -> tuple[int, ...]:
        """Updates per horizon."""
        total = sum(self.configuration.fractions)
        counts = [round(self.configuration.updates * f / total) for f in self.configuration.fractions]
        counts[-1] += self.configuration.updates - sum(counts)
        return tuple(counts)

    def optimiser(self) -> optax.GradientTransformation:
        """Adam with warm-up and cosine decay, after clipping the gradient's norm."""
        c = self.configuration
        schedule = optax.warmup_cosine_decay_schedule(
            0.1 * c.learning_rate,
            c.learning_rate,
            min(50, c.updates // 10 + 1),
            max(c.updates, 2),
            0.01 * c.learning_rate,
        )
        return optax.chain(optax.clip_by_global_norm(c.gradient_norm), optax.adam(schedule))

    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """A batch of simulations on the truth at random times."""
        keys = jax.random.split(key, self.configuration.batch)
        room, early = max(self.configuration.horizons), self.configuration.early
        return jax.vmap(lambda k: Environment(problem).reset_anywhere(room, early=early, key=k))(keys)

    def window(self, problem: Problem, closure: PyTree[Array], episode: EnvironmentState, horizon: int) -> _Window:
        """Roll one simulation out over ``horizon`` steps; the loss is the mean over the window."""
        squared = self.configuration.loss == "mse"

        def step(
            carry: tuple[Array, PyTree[Array]], _: None
        ) -> tuple[tuple[Array, PyTree[Array]], tuple[Array, Array]]:
            state, target = carry
            following, _acted = problem.dynamics.step(state, episode.parameters, closure)
            target = problem.target.advance(target, state, episode.parameters)
            truth = jax.lax.stop_gradient(problem.target.observe(target)).astype(following.dtype)
            error = problem.error(following, truth)
            loss = jnp.mean(jnp.square(following - truth)) if squared else error
            return (following, target), (loss, error)

        # Without rematerialisation the activations of all steps are kept: twice the time, measured.
        (state, target), (losses, errors) = jax.lax.scan(
            jax.checkpoint(step), (episode.state, episode.target), None, length=horizon
        )
        last = EnvironmentState(state, episode.parameters, target, episode.step + horizon, episode.quantities)
        mean = jnp.mean(losses)
        if self.configuration.loss == "log":
            mean = jnp.log(mean + SMALLEST_ERROR)
        elif self.configuration.loss == "root":
            mean = jnp.sqrt(mean + SMALLEST_ERROR)
        return _Window(mean, errors[-1], last)

    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """One window for every simulation, one step of the optimiser, new beginnings where due."""
        c, horizon = self.configuration, self.configuration.horizons[stage]
        key, proceed_key, begin_key = jax.random.split(jax.random.wrap_key_data(state.key_data), 3)
        weights, static = eqx.partition(state.closure, eqx.is_inexact_array)
        fresh = self.begin(problem, key=begin_key)
        episodes = state.carry

        def loss(weights: PyTree[Array]) -> tuple[Float[Array, ""], _Window]:
            closure = eqx.combine(weights, static)
            windows = jax.vmap(lambda e: self.window(problem, closure, e, horizon))(episodes)
            return jnp.mean(windows.loss), windows

        (value, windows), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
        steps, optimiser = self.optimiser().update(gradient, state.optimiser, weights)
        closure = eqx.combine(optax.apply_updates(weights, steps), static)

        lost = ~(windows.last_error < c.error_limit)
        ends = windows.episode.step + max(c.horizons) > problem.episode.maximum
        anew = ~jax.random.bernoulli(proceed_key, c.proceed, (c.batch,))
        carry = choose(anew | lost | ends, fresh, windows.episode)
        metrics = {
            "loss": value,
            "error": jnp.mean(windows.last_error),
            "gradient_norm": global_norm(gradient),
            "lost": jnp.mean(lost.astype(jnp.float32)),
            "horizon": jnp.asarray(horizon, jnp.float32),
        }
        return (
            LearnerState(
                closure=closure,
                average=move_average(state.average, closure, c.average),
                optimiser=optimiser,
                carry=carry,
                key_data=jax.random.key_data(key),
                updates=state.updates + 1,
                transitions=state.transitions + c.batch * horizon,
            ),
            metrics,
        )
