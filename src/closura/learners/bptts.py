"""BPTTS: the gradient of a rollout's error, through the solver and through neighbouring cells.

Each update rolls a batch of simulations out over a window of ``horizon`` steps and differentiates the mean error
over the window through solver and closure. A window begins on the reference, at a random time of a random simulation,
or - with probability ``proceed`` - where the window before it ended, without a gradient across the seam (truncated
backpropagation). Windows on the reference are the default: an error that was there before the window began is noise to
the closure, which cannot know its sign; with every window proceeding, training on advection was several times
slower. The horizon grows with the stages of a curriculum.

With the loss "reward", one horizon and simulations that all begin at their start, this is the published algorithm:
the whole simulation is unrolled, and nothing but the sum of the agents' rewards is differentiated. Rematerialisation
keeps the states of all steps and nothing else, where the published code moved all activations to the host.

Sources: Way, Kapilavai, Fu and Yu, "Backpropagation through Time and Space: Learning Numerical Methods with
Multi-Agent Reinforcement Learning" (arXiv:2203.08937); truncated backpropagation through time is Williams and Peng
(1990).

Closures with memory or noise are rolled out as ensembles of ``members``, whose distribution is scored
(:mod:`closura.learners.ensembles`); their windows begin on the reference, with a memory that has just begun.

With ``statistics`` the loss is the distance between the statistics of the batch and of its reference, both averaged
over windows and simulations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.closures._members import by_groups
from closura.core import citations
from closura.core.memory import remembers
from closura.environment import Environment, EnvironmentState
from closura.learners.ensembles import SCORES, member_window
from closura.learners.state import Learner, LearnerState, Metrics, choose, global_norm, keep_if, learner, next_state
from closura.problems.problem import Problem, Transition
from closura.problems.statistics import OfStatistics, Statistics, Values, check_statistics, statistics_of
from closura.settings import Count, Decay, NotNegative, Positive, Share

SMALLEST_ERROR = 1e-5
"""Errors far below this are as good as none: the logarithm of a loss ends here (float32 resolves 1e-7)."""


@dataclass(frozen=True)
class BPTTSConfiguration(OfStatistics):
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
        Probability that a simulation goes on in the next window, instead of beginning anew on the reference.
    error_limit
        Error beyond which a simulation begins anew: a lost run has nothing to teach.
    learning_rate
        Step size of Adam, or its peak.
    schedule
        "cosine": the step size warms up, then falls to a hundredth; "constant" (published): it stays as it is.
    gradient_norm
        Gradients longer than this are shortened to it; 0 leaves them (published).
    clip
        What gradient_norm applies to: the gradient of the "batch", or that of every "simulation" by itself, so that
        one that has steep losses does not rule. Gradients that are not finite are left out of either.
    average
        Decay of the moving average of the weights, which is what is validated and kept.
    members
        Members of each simulation, which begin alike and differ by the random numbers of their closures.
    loss
        "mae" (the problem's error) or "mse" of the state against the reference, averaged over the window; "root" and
        "log" are the root and the logarithm of the former: simulations then count more evenly, by their relative
        improvement with the logarithm, whatever their difficulty. "reward" (published): minus the problem's reward,
        summed over the window and averaged over the agents. Of ensembles "crps" and "energy": fair scores of
        the distribution (:mod:`closura.learners.ensembles`).
    through_target
        Differentiate the target too, where it takes notice of the state (published: one step of WENO from there).
    """

    updates: Count = 3000
    batch: Count = 8
    horizons: tuple[Count, ...] = (4, 8, 16)
    fractions: tuple[NotNegative, ...] = (0.3, 0.5, 0.2)
    early: Positive = 1.0
    proceed: Share = 0.0
    error_limit: Positive = 0.1
    learning_rate: Positive = 3e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    gradient_norm: NotNegative = 1.0
    clip: Literal["batch", "simulation"] = "batch"
    average: Decay = 0.98
    members: Count = 1
    loss: Literal["mae", "mse", "root", "log", "reward", "crps", "energy"] = "mae"
    through_target: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.horizons) != len(self.fractions) or not self.horizons:
            raise ValueError(f"one fraction per horizon; got {self.horizons} and {self.fractions}")
        if sum(self.fractions) <= 0:
            raise ValueError(f"fractions must not all be zero; got {self.fractions}")
        if (self.members > 1 or self.loss in SCORES) and (self.loss == "reward" or self.proceed):
            raise ValueError(
                f"windows of ensembles begin on the reference and are compared with it: set proceed to 0 and loss to "
                f"another than reward; got {self.members} members, proceed {self.proceed:g}, loss {self.loss!r}"
            )


class _Window(NamedTuple):
    """A simulation's loss, statistics of its states and of the reference, and where it stands."""

    loss: Float[Array, ""]
    values: Values
    targets: Values
    last_error: Float[Array, ""]
    episode: EnvironmentState


@learner("bptts", settings=BPTTSConfiguration, sources=[citations.BPTTS])
class BPTTS(Learner):
    """Gradients of the error through rollouts of the differentiable solver."""

    advice = "or shorter --learning.horizons"
    differentiates = True
    configuration: BPTTSConfiguration = eqx.field(static=True)

    @classmethod
    def check(cls, training: Any, *, follows_state: bool) -> None:
        """Windows need stored reference to begin on, and a reward without an error is a loss of its own."""
        settings: BPTTSConfiguration = training.learning
        check_statistics(settings, follows_state=follows_state)
        if not follows_state and not training.reference.slots and not settings.proceed:
            raise ValueError(
                "windows of bptts begin on stored reference: set reference.slots, or let windows proceed "
                "(learning.proceed > 0)"
            )
        if getattr(training.problem, "reward", "") == "free" and settings.loss != "reward":
            raise ValueError(
                f"reward free has no part in loss {settings.loss!r}: set learning.loss to reward (or learn by ppo or "
                "a2c)"
            )

    def stages(self) -> tuple[int, ...]:
        """Updates per horizon."""
        total = sum(self.configuration.fractions)
        counts = [round(self.configuration.updates * f / total) for f in self.configuration.fractions]
        counts[-1] += self.configuration.updates - sum(counts)
        return tuple(counts)

    def optimiser(self) -> optax.GradientTransformation:
        """Adam with warm-up and cosine decay or a constant step, after clipping the gradient's norm."""
        c = self.configuration
        rate: optax.ScalarOrSchedule = c.learning_rate
        if c.schedule == "cosine":
            rate = optax.warmup_cosine_decay_schedule(
                0.1 * c.learning_rate,
                c.learning_rate,
                min(50, c.updates // 10 + 1),
                max(c.updates, 2),
                0.01 * c.learning_rate,
            )
        adam = optax.adam(rate)
        clips = c.gradient_norm and c.clip == "batch"
        return optax.chain(optax.clip_by_global_norm(c.gradient_norm), adam) if clips else adam

    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """A batch of simulations, on the reference at random times where it is stored, else at their start."""
        c = self.configuration
        return Environment(problem).reset_batch_anywhere(c.batch, max(c.horizons), early=c.early, key=key)

    def window(
        self,
        problem: Problem,
        closure: PyTree[Array],
        episode: EnvironmentState,
        horizon: int,
        statistics: Statistics | None = None,
    ) -> _Window:
        """Roll one simulation out over ``horizon`` steps; the loss is the mean (of rewards the sum) over the window."""
        c = self.configuration
        if self.draws(closure):
            return self._members(problem, closure, episode, horizon, statistics)
        limited, dt = problem.spec.limit(closure), problem.dt_of(episode.parameters)

        def step(
            carry: tuple[Array, PyTree[Array], Array], _: None
        ) -> tuple[tuple[Array, PyTree[Array], Array], tuple[Any, ...]]:
            state, reference, runs = carry
            # A simulation that has failed is held where it was found out: its error still says how to avoid that,
            # and what comes after a negative pressure says nothing. (It steps on from its beginning, unseen: what is
            # not selected must be finite too, or its gradient is not. The reference steps from there as well: where
            # both weigh the same stencils, those are made once.)
            known = jnp.where(runs, state, episode.state)
            before = reference
            following, acted, reference = problem.reference.advance_beside(
                reference, problem.coarse, known, episode.parameters, dt, limited
            )
            following = jnp.where(runs, following, jax.lax.stop_gradient(state))
            if not c.through_target:
                reference = jax.lax.stop_gradient(reference)
            field = problem.reference.field(reference).astype(following.dtype)
            error = problem.error(following, field)
            if c.loss == "reward":
                start = problem.reference.field(before).astype(following.dtype)
                transition = Transition(known, acted, following, start, field, episode.quantities, episode.parameters)
                loss = -jnp.mean(problem.reward(transition))
            else:
                loss = jnp.mean(jnp.square(following - field)) if c.loss == "mse" else error
            seen = (statistics.values(following), statistics.values(field)) if statistics else ((), ())
            return (following, reference, runs & problem.coarse.is_valid(following)), (loss, error, *seen)

        # Without rematerialisation the activations of all steps are kept: twice the time, measured.
        remade = jax.checkpoint(step, prevent_cse=False)  # in a loop there is nothing to be merged with
        begun = (episode.state, episode.reference, jnp.ones((), bool))
        (state, reference, runs), (losses, errors, *seen) = jax.lax.scan(remade, begun, None, length=horizon)
        last = EnvironmentState(state, episode.parameters, reference, episode.step + horizon, episode.quantities)
        loss = jnp.sum(losses) if c.loss == "reward" else jnp.mean(losses)
        if c.loss == "log":
            loss = jnp.log(loss + SMALLEST_ERROR)
        elif c.loss == "root":
            loss = jnp.sqrt(loss + SMALLEST_ERROR)
        values, targets = _means(seen)
        return _Window(loss, values, targets, jnp.where(runs, errors[-1], jnp.inf), last)

    def draws(self, closure: PyTree[Array]) -> bool:
        """Whether windows have members, or closures that carry memory."""
        return self.configuration.members > 1 or self.configuration.loss in SCORES or remembers(closure)

    def _members(
        self,
        problem: Problem,
        closure: PyTree[Array],
        episode: EnvironmentState,
        horizon: int,
        statistics: Statistics | None,
    ) -> _Window:
        c = self.configuration
        losses, errors, seen, runs, last = member_window(
            problem, closure, episode, horizon, members=c.members, loss=c.loss, statistics=statistics
        )
        loss = jnp.mean(losses)
        if c.loss in ("log", "root"):
            loss = (jnp.log if c.loss == "log" else jnp.sqrt)(loss + SMALLEST_ERROR)
        values, targets = _means(seen)
        return _Window(loss, values, targets, jnp.where(runs, errors[-1], jnp.inf), last)

    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """One window for every simulation, one step of the optimiser, new initial conditions where due."""
        c, horizon = self.configuration, self.configuration.horizons[stage]
        key, proceed_key, begin_key = jax.random.split(jax.random.wrap_key_data(state.key_data), 3)
        weights, static = eqx.partition(state.closure, eqx.is_inexact_array)
        fresh = self.begin(problem, key=begin_key)
        episodes = state.carry
        if self.draws(state.closure):
            keys = jax.random.split(jax.random.fold_in(begin_key, 1), c.batch)
            data = jax.random.key_data(keys)
            episodes = eqx.tree_at(lambda e: e.memory, episodes, data, is_leaf=lambda x: x is None)
        statistics = statistics_of(problem, c.statistics) if c.statistics else None

        def loss(weights: PyTree[Array], episodes: EnvironmentState) -> tuple[Float[Array, ""], _Window]:
            closure = eqx.combine(weights, static)
            one = lambda episode: self.window(problem, closure, episode, horizon, statistics)
            windows = by_groups(one, episodes, problem.grid.size)
            if statistics is None:
                return jnp.mean(windows.loss), windows
            values, targets = _means((windows.values, windows.targets))
            return statistics.distance(values, statistics.scores(targets)), windows

        if c.clip == "simulation":
            value, windows, gradient, left_out = _by_simulation(loss, weights, episodes, c.gradient_norm)
        else:
            value, windows, gradient, left_out = _by_batch(loss, weights, episodes, c.batch)
        steps, optimiser = self.optimiser().update(gradient, state.optimiser, weights)
        learned = ~jnp.all(left_out)
        weights, optimiser = keep_if(
            learned, (optax.apply_updates(weights, steps), optimiser), (weights, state.optimiser)
        )
        closure = eqx.combine(weights, static)

        lost = left_out | ~(windows.last_error < c.error_limit)
        ends = windows.episode.step + max(c.horizons) > problem.episode.maximum
        anew = ~jax.random.bernoulli(proceed_key, c.proceed, (c.batch,))
        carry = choose(anew | lost | ends, fresh, windows.episode)
        metrics = {
            "loss": value,
            "error": _mean_of(windows.last_error, ~lost),
            "gradient_norm": global_norm(gradient),
            "lost": jnp.mean(lost.astype(jnp.float32)),
            "left_out": jnp.mean(left_out.astype(jnp.float32)),
            "horizon": jnp.asarray(horizon, jnp.float32),
        }
        if c.loss == "reward":
            metrics["reward"] = -value
        following = next_state(
            state, closure, optimiser, carry, decay=c.average, transitions=c.batch * horizon, key=key
        )
        return following, metrics


def _by_batch(
    loss: Callable[..., tuple[Array, _Window]], weights: PyTree[Array], episodes: EnvironmentState, count: int
) -> tuple[Array, _Window, PyTree[Array], Bool[Array, " batch"]]:
    """Mean loss, windows, its gradient, and which simulations were left out because they had no finite one.

    Where the gradient of the batch is not finite, that of each simulation is taken after it, of a batch of its copies:
    weights of zero would not do, since nothing times NaN is NaN, and a second program would take as long to compile.
    """
    gradient_of = jax.value_and_grad(loss, has_aux=True)

    def turn(state: tuple[Array, Array, tuple, Array]) -> tuple[Array, Array, tuple, Array]:
        number, _, (total, windows, gradients), left_out = state
        first, member = number == 0, jnp.maximum(number - 1, 0)
        chosen = jax.tree.map(lambda x: jnp.where(first, x, x[member]), episodes)
        (value, found), gradient = gradient_of(weights, chosen)
        fine = jnp.isfinite(value) & jnp.isfinite(global_norm(gradient))

        def add(sums: PyTree[Array], new: PyTree[Array]) -> PyTree[Array]:
            return jax.tree.map(lambda s, x: jnp.where(fine, jnp.where(first, x, s + x), s), sums, new)

        left_out = jnp.where(first, left_out, left_out.at[member].set(~fine))
        kept = (add(total, value), keep_if(first, found, windows), add(gradients, gradient))
        return number + 1, first & fine, kept, left_out

    (value, windows), gradient = jax.eval_shape(gradient_of, weights, episodes)
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (value, windows, gradient))
    begun = (jnp.zeros((), jnp.int32), jnp.zeros((), bool), nothing, jnp.zeros((count,), bool))
    _, whole, (total, windows, gradient), left_out = jax.lax.while_loop(
        lambda state: (state[0] == 0) | (~state[1] & (state[0] <= count)), turn, begun
    )
    terms = jnp.where(whole, 1, jnp.maximum(jnp.sum(~left_out), 1))
    mean = jax.tree.map(lambda x: x / terms.astype(x.dtype), gradient)
    return total / terms.astype(total.dtype), windows, mean, left_out


def _by_simulation(
    loss: Callable[..., tuple[Array, _Window]], weights: PyTree[Array], episodes: EnvironmentState, limit: float
) -> tuple[Array, _Window, PyTree[Array], Bool[Array, " batch"]]:
    """Mean loss, windows, mean of the limited gradients, and which simulations had no finite one."""

    def alone(episode: EnvironmentState) -> tuple[tuple[Array, _Window], PyTree[Array]]:
        batch = jax.tree.map(lambda x: x[None], episode)
        (value, windows), gradient = jax.value_and_grad(loss, has_aux=True)(weights, batch)
        return (value, jax.tree.map(lambda x: x[0], windows)), gradient

    (values, windows), gradients = jax.vmap(alone)(episodes)
    norms = jax.vmap(global_norm)(gradients)
    fine = jnp.isfinite(norms) & jnp.isfinite(values)
    shorten = jnp.minimum(1.0, limit / jnp.maximum(norms, 1e-12)) if limit else jnp.ones_like(norms)
    shares = jnp.where(fine, shorten, 0.0) / fine.size

    def mean(x: Float[Array, "batch *shape"]) -> Array:
        axes = (-1,) + (1,) * (x.ndim - 1)
        return jnp.sum(jnp.where(fine.reshape(axes), x, 0) * shares.reshape(axes).astype(x.dtype), axis=0)

    return _mean_of(values, fine), windows, jax.tree.map(mean, gradients), ~fine


def _means(tree: Any) -> Any:
    """Means over the first axis."""
    return jax.tree.map(lambda x: jnp.mean(x, axis=0), tree)


def _mean_of(values: Float[Array, " batch"], which: Bool[Array, " batch"]) -> Float[Array, ""]:
    """Mean over some simulations, 0 over none."""
    return jnp.sum(jnp.where(which, values, 0)) / jnp.maximum(jnp.sum(which), 1).astype(values.dtype)
