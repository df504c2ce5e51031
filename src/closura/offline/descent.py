"""Gradient descent on a loss over batches of data.

``loss(module, batch, key=key)`` gives a scalar, and metrics to watch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar

from closura.settings import Count, Decay, Natural, NotNegative, Positive, Settings, Share

Metrics = dict[str, Float[Array, ""]]
LossAndMetrics = tuple[Float[Array, ""], Metrics]
Loss = Callable[..., LossAndMetrics]


@dataclass(frozen=True)
class DescentConfiguration(Settings):
    """Settings of gradient descent.

    Parameters
    ----------
    updates
        Number of updates.
    batch
        Samples per update.
    learning_rate
        The largest, after the warm-up.
    schedule
        "cosine" falls to ``final`` of it, "constant" stays, "steps" follows ``steps``.
    warmup
        Updates in which the rate rises linearly from zero.
    final
        Share of the learning rate at the end ("cosine").
    steps
        Pairs of a share of the updates and the factor of the learning rate from there on ("steps").
    weight_decay
        Per update and unit of learning rate.
    coupled
        Add the decay to the gradient before Adam sees it (as PyTorch's Adam does), instead of to the update.
    clip
        Largest norm of the gradient; 0: no limit.
    average
        Decay of the moving average of the weights, which is what is kept; 0: no average.
    """

    updates: Count = 2500
    batch: Count = 16
    learning_rate: Positive = 2e-3
    schedule: Literal["cosine", "constant", "steps"] = "cosine"
    warmup: Natural = 100
    final: Share = 0.01
    steps: tuple[tuple[Share, NotNegative], ...] = ()
    weight_decay: NotNegative = 1e-4
    coupled: bool = False
    clip: NotNegative = 1.0
    average: Decay = 0.995

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.steps) != (self.schedule == "steps"):
            raise ValueError('steps belong to the schedule "steps", which needs them')

    def rates(self) -> optax.Schedule:
        """The learning rate of every update."""
        rate, total = self.learning_rate, self.updates
        if self.schedule == "cosine":
            warmup = min(self.warmup, total // 2)
            return optax.warmup_cosine_decay_schedule(0.0 if warmup else rate, rate, warmup, total, rate * self.final)
        table: list[optax.Schedule] = [optax.constant_schedule(rate * factor) for _, factor in self.steps]
        later = optax.join_schedules(table, [round(share * total) for share, _ in self.steps[1:]]) if table else None
        after = later or optax.constant_schedule(rate)
        if not self.warmup:
            return after
        return lambda count: after(count) * jnp.minimum(1.0, (count + 1) / self.warmup)


class DescentState(eqx.Module):
    """Everything that a descent needs to go on; saved as it is, it continues bit for bit."""

    module: PyTree[Array]
    average: PyTree[Array]
    optimiser: PyTree[Array]
    key_data: Array
    updates: Int[Array, ""]

    @property
    def averaged(self) -> PyTree[Array]:
        """The module with the moving average of its weights."""
        return eqx.combine(self.average, self.module)


class Descent(eqx.Module):
    """Adam on ``loss(module, batch, key=key) -> (scalar, metrics)``, traceable; a batch is any tree of arrays."""

    configuration: DescentConfiguration = eqx.field(static=True)
    loss: Loss

    def optimiser(self) -> optax.GradientTransformation:
        """Clipping, Adam, decay of the weights, the schedule."""
        c = self.configuration
        clip = [optax.clip_by_global_norm(c.clip)] if c.clip else []
        decay = [optax.add_decayed_weights(c.weight_decay)] if c.weight_decay else []
        inner = [*decay, optax.scale_by_adam()] if c.coupled else [optax.scale_by_adam(), *decay]
        return optax.chain(*clip, *inner, optax.scale_by_learning_rate(c.rates()))

    def init(self, module: PyTree[Array], *, key: Key[Scalar, ""]) -> DescentState:
        """The state before the first update."""
        weights = eqx.filter(module, eqx.is_inexact_array)
        return DescentState(
            module=module,
            average=weights,
            optimiser=self.optimiser().init(weights),
            key_data=jax.random.key_data(key),
            updates=jnp.zeros((), jnp.int32),
        )

    @eqx.filter_jit
    def update(self, state: DescentState, batch: PyTree[Array]) -> tuple[DescentState, Metrics]:
        """One update."""
        key, now = jax.random.split(jax.random.wrap_key_data(state.key_data))
        (loss, metrics), gradient = eqx.filter_value_and_grad(self.loss, has_aux=True)(state.module, batch, key=now)
        weights = eqx.filter(state.module, eqx.is_inexact_array)
        step, optimiser = self.optimiser().update(gradient, state.optimiser, weights)
        module = eqx.apply_updates(state.module, step)
        # The average forgets the random beginning: its decay grows as (1 + t) / (10 + t).
        count = state.updates.astype(jnp.float32)
        decay = jnp.minimum(self.configuration.average, (1 + count) / (10 + count))
        average = weights = eqx.filter(module, eqx.is_inexact_array)
        if self.configuration.average:
            average = jax.tree.map(lambda a, w: decay * a + (1.0 - decay) * w, state.average, weights)
        following = DescentState(module, average, optimiser, jax.random.key_data(key), state.updates + 1)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)))
        return following, {"loss": loss, "gradient": norm, **metrics}
