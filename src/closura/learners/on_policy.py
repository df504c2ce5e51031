"""Learning from one's own actions: collect, estimate advantages per cell, improve in minibatches.

PPO and A2C share all of this and differ in the policy's part of the loss (:mod:`closura.learners.ppo`,
:mod:`closura.learners.a2c`).
"""

import abc
import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Scalar

from closura.closures import ActorCritic
from closura.closures.memory_policy import begun as memories_of
from closura.closures.memory_policy import evaluate_seen, with_memory
from closura.core.memory import remembers
from closura.environment import Environment
from closura.learners.collection import (
    Minibatches,
    Trajectory,
    collect_episode,
    collect_steps,
    generalised_advantages,
    minibatches,
)
from closura.learners.state import Learner, LearnerState, Metrics, choose, global_norm, keep_if, next_state
from closura.problems.problem import Problem
from closura.problems.statistics import OfStatistics, StatisticsReward, check_statistics, statistics_of
from closura.settings import Count, Decay, Natural, NotNegative, Positive, Share


@dataclass(frozen=True)
class OnPolicyConfiguration(OfStatistics):
    """Settings that PPO and A2C share.

    Parameters
    ----------
    updates
        Number of rounds of collecting and improving.
    environments
        Environments that run side by side.
    steps
        Steps per environment and round; 0 plays one whole episode in one environment (as published).
    minibatch
        Frames (whole grids) per step of the optimiser.
    epochs
        Passes over the collected frames.
    discount, trace
        gamma and lambda of the advantages.
    value_weight, entropy_weight
        Weights of the critic's loss and of the entropy bonus.
    learning_rate
        Step size of AdamW.
    anneal
        Let the step size fall to a fiftieth as a cosine over the training.
    weight_decay
        Of AdamW.
    gradient_norm
        Gradients longer than this are shortened to it; 0 leaves them.
    normalise
        Advantages to mean 0 and deviation 1 within a minibatch: for every cell by itself ("cell", as
        published), over all cells and frames ("all"), or not at all ("none").
    average
        Decay of the moving average of the weights that is validated and kept; 0: the weights themselves.
    ends_are_terminal
        Count the end of an episode as terminal, as published, instead of bootstrapping from the critic.
    """

    updates: Count = 300
    environments: Count = 16
    steps: Natural = 8
    minibatch: Count = 32
    epochs: Count = 2
    discount: Share = 0.9
    trace: Share = 0.9
    value_weight: NotNegative = 0.5
    entropy_weight: NotNegative = 0.0
    learning_rate: Positive = 2e-4
    anneal: bool = True
    weight_decay: NotNegative = 0.0
    gradient_norm: NotNegative = 0.5
    normalise: Literal["cell", "all", "none"] = "all"
    average: Decay = 0.95
    ends_are_terminal: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps == 0 and self.environments != 1:
            raise ValueError(f"whole episodes (steps=0) are played in one environment; got {self.environments}")


class Frames(NamedTuple):
    """Independent frames of a trajectory: what one minibatch holds; the first axis counts frames."""

    observation: Any
    action: Float[Array, "frame action *grid"]
    log_prob: Float[Array, "frame *grid"]
    advantage: Float[Array, "frame *grid"]
    returns: Float[Array, "frame *grid"]


def normalise_advantages(
    advantage: Float[Array, "frame *grid"], used: Bool[Array, " frame"], how: str
) -> Float[Array, "frame *grid"]:
    """Subtract the mean and divide by the (unbiased) standard deviation of the frames that are used."""
    if how == "none":
        return advantage
    weight = used.astype(advantage.dtype).reshape((-1,) + (1,) * (advantage.ndim - 1))
    axes = (0,) if how == "cell" else tuple(range(advantage.ndim))
    cells = 1 if how == "cell" else advantage[0].size
    count = jnp.sum(used).astype(advantage.dtype) * cells
    mean = jnp.sum(weight * advantage, axis=axes, keepdims=True) / count
    deviation = jnp.sum(weight * jnp.square(advantage - mean), axis=axes, keepdims=True)
    # The root is guarded: its gradient is not needed here, but a single frame has no deviation at all.
    deviation = jnp.sqrt(deviation / jnp.maximum(count - 1, 1))
    return jnp.where(count > 1, (advantage - mean) / (deviation + 1e-8), advantage)


def masked_mean(x: Float[Array, "frame *grid"], used: Bool[Array, " frame"]) -> Float[Array, ""]:
    """Mean over the cells of the frames that are used."""
    weight = used.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1))
    return jnp.sum(weight * x) / (jnp.sum(used).astype(x.dtype) * x[0].size)


class OnPolicyLearner(Learner):
    """Collects with the current policy and improves it; the policy's part of the loss is the subclass's."""

    explores = True
    configuration: OnPolicyConfiguration = eqx.field(static=True)

    @classmethod
    def check(cls, training: Any, *, follows_state: bool) -> None:
        """Statistics need a reference of their own."""
        check_statistics(training.learning, follows_state=follows_state)

    @abc.abstractmethod
    def policy_loss(
        self, log_prob: Float[Array, "frame *grid"], frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """The policy's part of the loss of a minibatch, and further metrics."""

    def loss(
        self, policy: ActorCritic, frames: Frames, used: Bool[Array, " frame"]
    ) -> tuple[Float[Array, ""], Metrics]:
        """Loss of a minibatch and its parts: the policy's, the critic's squared error and the entropy."""
        c = self.configuration
        normal, value = jax.vmap(lambda seen: evaluate_seen(policy, seen))(frames.observation)
        log_prob = jax.vmap(lambda n, a: n.log_prob(a))(normal, frames.action)
        own, further = self.policy_loss(log_prob, frames, used)
        critic = masked_mean(jnp.square(frames.returns - value), used)
        entropy = masked_mean(jax.vmap(lambda n: n.entropy())(normal), used)
        total = own + c.value_weight * critic - c.entropy_weight * entropy
        return total, {"loss_policy": own, "loss_value": critic, "entropy": entropy, **further}

    def stages(self) -> tuple[int, ...]:
        """One stage."""
        return (self.configuration.updates,)

    def optimiser(self) -> optax.GradientTransformation:
        """AdamW, as PyTorch defines it."""
        c = self.configuration
        rate: optax.ScalarOrSchedule = c.learning_rate
        if c.anneal:
            per_update = c.epochs * max(max(c.steps, 1) * c.environments // c.minibatch, 1)
            rate = optax.cosine_decay_schedule(c.learning_rate, c.updates * per_update, 0.02)
        adam = optax.adamw(rate, weight_decay=c.weight_decay)
        return optax.chain(optax.clip_by_global_norm(c.gradient_norm), adam) if c.gradient_norm else adam

    def begin(self, problem: Problem, *, key: Key[Scalar, ""]) -> PyTree[Array]:
        """Fresh episodes; none where whole episodes are played."""
        if self.configuration.steps == 0:
            return None
        return self.environment(problem).reset_batch(self.configuration.environments, key=key)

    def init(self, problem: Problem, closure: PyTree[Array], *, key: Key[Scalar, ""]) -> LearnerState:
        """The state before the first update; memories of policies that have some begin with the episodes."""
        state = super().init(problem, closure, key=key)
        if not remembers(closure):
            return state
        if state.carry is None:
            raise ValueError("policies with memory are not trained on whole episodes: set learning.steps above 0")
        return replace(state, carry=self._with_memories(problem, closure, state.carry, key=key))

    def renew(
        self, problem: Problem, state: LearnerState, fresh: Bool[Array, " slots"], *, key: Key[Scalar, ""]
    ) -> LearnerState:
        """As for all, with new memories of the episodes that begin anew."""
        if not remembers(state.closure):
            return super().renew(problem, state, fresh, key=key)
        slot, _ = state.carry.reference
        begun = self._with_memories(problem, state.closure, self.begin(problem, key=key), key=key)
        return replace(state, carry=choose(fresh[slot], begun, state.carry))

    def _with_memories(self, problem: Problem, closure: Any, episodes: Any, *, key: Key[Scalar, ""]) -> Any:
        seen = jax.vmap(Environment(problem).observe)(episodes)
        return with_memory(episodes, memories_of(closure, seen, key=jax.random.fold_in(key, 1)))

    def environment(self, problem: Problem) -> Environment:
        """The problem as an environment, with this learner's reading of endings, and its reward if it has one."""
        c = self.configuration
        if c.statistics:
            problem = replace(problem, reward=StatisticsReward(statistics_of(problem, c.statistics), problem.reward))
        return Environment(problem, c.ends_are_terminal)

    def collect(
        self, problem: Problem, policy: ActorCritic, carry: PyTree[Array], *, key: Key[Scalar, ""]
    ) -> tuple[PyTree[Array], Trajectory]:
        """One round of playing."""
        environment, c = self.environment(problem), self.configuration
        if c.steps == 0:
            return carry, collect_episode(environment, policy, key=key)
        return collect_steps(environment, policy, carry, c.steps, key=key)

    def frames(self, trajectory: Trajectory) -> Frames:
        """Advantages and returns, then time and environments as one axis of frames."""
        c = self.configuration

        def one(reward: Array, value: Array, following: Array, terminated: Array, done: Array) -> tuple[Array, Array]:
            return generalised_advantages(
                reward, value, following, terminated=terminated, done=done, discount=c.discount, trace=c.trace
            )

        # A step that is not finite ends the trace of those before it: they count on from the critic's value.
        fine = finite_steps(trajectory)

        def clean(x: Float[Array, "time environment *grid"]) -> Array:
            return jnp.where(fine.reshape(fine.shape + (1,) * (x.ndim - 2)), x, 0)

        advantage, returns = jax.vmap(one, in_axes=1, out_axes=1)(
            clean(trajectory.reward), clean(trajectory.value), clean(trajectory.next_value),
            trajectory.terminated, trajectory.done | ~fine,
        )  # fmt: skip
        advantage = jnp.where(fine.reshape(fine.shape + (1,) * (advantage.ndim - 2)), advantage, jnp.nan)
        parts = (trajectory.observation, trajectory.action, trajectory.log_prob, advantage, returns)
        return Frames(*jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), parts))

    def improve(
        self, policy: ActorCritic, optimiser: PyTree[Array], frames: Frames, batches: Minibatches
    ) -> tuple[ActorCritic, PyTree[Array], dict[str, Float[Array, " minibatch"]]]:
        """One pass over the minibatches, a step of AdamW for each; metrics have one entry per minibatch.

        Frames that are not finite are left out, and so is a minibatch whose gradient is not; the metric "learned" is
        the number of frames that counted.
        """
        weights, static = eqx.partition(policy, eqx.is_inexact_array)
        transform = self.optimiser()
        fine = finite_frames(frames)
        whole = jnp.argmax(fine)  # stands in for those that are left out: nothing times NaN is NaN

        def learn(weights: PyTree[Array], optimiser: PyTree[Array], index: Array, used: Array) -> tuple:
            batch = jax.tree.map(lambda x: x[jnp.where(fine[index], index, whole)], frames)
            batch = batch._replace(advantage=normalise_advantages(batch.advantage, used, self.configuration.normalise))

            def loss(weights: PyTree[Array]) -> tuple[Float[Array, ""], Metrics]:
                return self.loss(eqx.combine(weights, static), batch, used)

            (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(weights)
            steps, following = transform.update(gradient, optimiser, weights)
            norm = global_norm(gradient)
            metrics = {"loss": value, **parts, "gradient_norm": norm, "learned": jnp.sum(used).astype(jnp.float32)}
            learned = jnp.isfinite(value) & jnp.isfinite(norm)
            nothing = jax.tree.map(jnp.zeros_like, metrics)
            kept = (optax.apply_updates(weights, steps), following, metrics)
            return keep_if(learned, kept, (weights, optimiser, nothing))

        shapes = jax.eval_shape(learn, weights, optimiser, batches.frame[0], batches.used[0])[2]
        nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)

        def step(carry: tuple, item: tuple[Array, Array]) -> tuple[tuple, Metrics]:
            weights, optimiser = carry
            index, used = item
            used = used & fine[index]
            weights, optimiser, metrics = jax.lax.cond(
                jnp.any(used),
                lambda: learn(weights, optimiser, index, used),
                lambda: (weights, optimiser, nothing),
            )
            return (weights, optimiser), metrics

        (weights, optimiser), metrics = jax.lax.scan(step, (weights, optimiser), batches[:2])
        return eqx.combine(weights, static), optimiser, metrics

    def update(self, problem: Problem, state: LearnerState, stage: int) -> tuple[LearnerState, Metrics]:
        """Collect once, then pass over the frames ``epochs`` times."""
        c = self.configuration
        key, collect_key, epoch_key = jax.random.split(jax.random.wrap_key_data(state.key_data), 3)
        carry, trajectory = self.collect(problem, state.closure, state.carry, key=collect_key)
        frames = self.frames(trajectory)
        valid = trajectory.valid.reshape(-1)
        count: Int[Array, ""] | int = jnp.sum(valid.astype(jnp.int32)) if c.steps == 0 else valid.size
        weights, static = eqx.partition(state.closure, eqx.is_inexact_array)

        def epoch(carry: tuple[PyTree[Array], PyTree[Array]], key: Key[Scalar, ""]) -> tuple[tuple, Metrics]:
            weights, optimiser = carry
            batches = minibatches(_shuffle(valid, key=key), count, c.minibatch)
            policy, optimiser, parts = self.improve(eqx.combine(weights, static), optimiser, frames, batches)
            learned = parts.pop("learned")
            total = jnp.maximum(jnp.sum(learned > 0), 1)
            means = {name: jnp.sum(x) / total.astype(x.dtype) for name, x in parts.items()}
            means["left_out"] = 1.0 - jnp.sum(learned) / jnp.asarray(count, jnp.float32)
            return (eqx.filter(policy, eqx.is_inexact_array), optimiser), means

        epochs = jax.random.split(epoch_key, c.epochs)
        (weights, optimiser), metrics = jax.lax.scan(epoch, (weights, state.optimiser), epochs)
        policy = eqx.combine(weights, static)
        metrics = {name: x[-1] for name, x in metrics.items()}
        metrics |= describe_trajectory(trajectory)
        transitions = jnp.asarray(count, jnp.float32)
        following = next_state(state, policy, optimiser, carry, decay=c.average, transitions=transitions, key=key)
        return following, metrics


def _finite(arrays: Iterable[Array], axes: int) -> Bool[Array, "..."]:
    """Along the first axes: where all numbers are finite, and so are their squares, which losses are made of."""
    each = [jnp.all(jnp.isfinite(jnp.square(x)), axis=tuple(range(axes, x.ndim))) for x in arrays]
    return functools.reduce(jnp.logical_and, each)


def finite_steps(trajectory: Trajectory) -> Bool[Array, "time environment"]:
    """Which steps hold finite numbers alone."""
    t = trajectory
    seen = [x for x in jax.tree.leaves(t.observation) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return _finite((*seen, t.action, t.log_prob, t.value, t.next_value, t.reward, t.std, t.error), 2)


def finite_frames(frames: Frames) -> Bool[Array, " frame"]:
    """The same of frames: those of a step that was not finite have no advantage."""
    return _finite((x for x in jax.tree.leaves(frames) if jnp.issubdtype(x.dtype, jnp.inexact)), 1)


def describe_trajectory(trajectory: Trajectory) -> Metrics:
    """Reward per cell and step, spread of the policy, error, and the episodes that ended; of what is finite.

    ``ended`` counts them and ``ended_steps`` adds up their lengths: their ratio is the mean length, also of means
    over several updates in some of which no episode ended.
    """
    fine = finite_steps(trajectory)
    valid = (trajectory.valid & fine).astype(jnp.float32)
    steps = jnp.maximum(jnp.sum(valid), 1)
    axes = tuple(range(2, trajectory.reward.ndim))
    ended = (trajectory.done & trajectory.valid).astype(jnp.float32)
    return {
        "reward": jnp.sum(valid * jnp.where(fine, jnp.mean(trajectory.reward, axis=axes), 0)) / steps,
        "ended": jnp.sum(ended),
        "ended_steps": jnp.sum(ended * trajectory.age),
        "policy_std": jnp.sum(valid * jnp.where(fine, trajectory.std, 0)) / steps,
        "error": jnp.sum(valid * jnp.where(fine, trajectory.error, 0)) / steps,
    }


def _shuffle(valid: Bool[Array, " frames"], *, key: Key[Scalar, ""]) -> Int[Array, " frames"]:
    """A random permutation of the frames with the valid ones first."""
    order = jax.random.permutation(key, jnp.arange(valid.size, dtype=jnp.int32))
    return order[jnp.argsort(~valid[order], stable=True)]
