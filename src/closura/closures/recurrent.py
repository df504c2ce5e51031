r"""A closure with a hidden state and noise: a gated recurrent unit in every cell, which sees a few neighbours.

    h_0 = tanh(W_0 [x, z])                          at the beginning,
    h <- (1 - g) h + g tanh(W [x, r h, z]),  (g, r) = s(V [x, h, z])     once a step,
    a = scale N([x, h, z]),                         as often as it is called,

with x the neighbourhood in units of ``size``, z random numbers of mean 0 and variance 1, drawn once a step for every
cell, s the logistic function and N a perceptron. Every cell has the same weights. Without noise it is a closure with
memory; without memory noise is white in time.

The gated unit is that of K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
machine translation", EMNLP 2014; recurrent networks with noise for the Lorenz-96 system: R. Parthipan, H. M.
Christensen, J. S. Hosking and D. J. Wischik, Geosci. Model Dev. 16, 4501 (2023).
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, Scalar

from closura.closures._checks import check_observation
from closura.closures.dense import Dense, Perceptron
from closura.closures.registry import closure
from closura.core import ClosureSpec
from closura.core.memory import MemoryClosure
from closura.numerics import pad_all
from closura.settings import Count, Natural, Positive, Settings


@dataclass(frozen=True)
class RecurrentSettings(Settings):
    """Size of the recurrent closure.

    Parameters
    ----------
    radius
        Neighbours on each side of a cell along every axis.
    memory
        Numbers of the hidden state of each cell; 0: none.
    noise
        Random numbers drawn for each cell and step; 0: none.
    hidden
        Sizes of the hidden layers of the answer.
    size
        Observations are divided by it: their typical size.
    """

    radius: Natural = 2
    memory: Natural = 8
    noise: Natural = 1
    hidden: tuple[Count, ...] = (16,)
    size: Positive = 1.0


class Remembered(NamedTuple):
    """Hidden state and noise of each cell, and the key of the noise to come."""

    hidden: Float[Array, "*grid memory"]
    noise: Float[Array, "*grid noise"]
    key: Array


@closure("recurrent", settings=RecurrentSettings, zero_start=True)
class Recurrent(MemoryClosure):
    """A gated recurrent unit with noise in every cell."""

    first: Dense
    gates: Dense
    candidate: Dense
    reply: Perceptron
    spec: ClosureSpec = eqx.field(static=True)
    radius: int = eqx.field(static=True)
    memory: int = eqx.field(static=True)
    noise: int = eqx.field(static=True)
    size: float = eqx.field(static=True)

    def __init__(
        self,
        spec: ClosureSpec,
        *,
        key: PRNGKeyArray,
        radius: int,
        memory: int,
        noise: int,
        hidden: tuple[int, ...],
        size: float,
    ) -> None:
        self.spec, self.radius, self.memory, self.noise, self.size = spec, radius, memory, noise, size
        seen = len(spec.observation) * (2 * radius + 1) ** spec.dimensions + noise
        first, gates, candidate, reply = jax.random.split(key, 4)
        self.first = Dense(seen, memory, key=first)
        self.gates = Dense(seen + memory, 2 * memory, key=gates)
        self.candidate = Dense(seen + memory, memory, key=candidate)
        sizes = (seen + memory, *hidden, len(spec.action))
        self.reply = Perceptron(sizes, activation="tanh", zero_last=True, key=reply)

    def begin(self, observation: Float[Array, "c *grid"], *, key: Key[Scalar, ""]) -> Remembered:
        """A hidden state that depends on the observation and on the member's random numbers."""
        check_observation(observation, self.spec)
        noise, later = self._drawn(jax.random.key_data(key), observation)
        hidden = jnp.tanh(self.first(jnp.concatenate([self._seen(observation), noise], -1)))
        return Remembered(hidden, noise, later)

    def remember(self, memory: Remembered, observation: Float[Array, "c *grid"]) -> Remembered:
        """The next random numbers, and the hidden state that follows."""
        noise, later = self._drawn(memory.key, observation)
        seen = jnp.concatenate([self._seen(observation), noise], -1)
        gates = jax.nn.sigmoid(self.gates(jnp.concatenate([seen, memory.hidden], -1)))
        update, reset = gates[..., : self.memory], gates[..., self.memory :]
        candidate = jnp.tanh(self.candidate(jnp.concatenate([seen, reset * memory.hidden], -1)))
        return Remembered(memory.hidden + update * (candidate - memory.hidden), noise, later)

    def answer(self, memory: Remembered, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """The action, in the units of the problem's."""
        found = self.reply(jnp.concatenate([self._seen(observation), memory.noise, memory.hidden], -1))
        return (jnp.moveaxis(found, -1, 0) * self.spec.scale).astype(observation.dtype)

    def _seen(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid seen"]:
        """The neighbourhood of each cell."""
        padded = pad_all(observation, self.radius, self.spec.boundary) / self.size
        shifts = itertools.product(range(2 * self.radius + 1), repeat=self.spec.dimensions)
        shape = observation.shape[1:]
        parts = [
            padded[(slice(None), *(slice(s, s + n) for s, n in zip(shift, shape, strict=True)))] for shift in shifts
        ]
        return jnp.moveaxis(jnp.concatenate(parts), 0, -1).astype(self.gates.weight.dtype)

    def _drawn(self, key: Array, observation: Array) -> tuple[Float[Array, "*grid noise"], Array]:
        """Random numbers of a step, and the key of the next."""
        shape = (*observation.shape[1:], self.noise)
        if not self.noise:
            return jnp.zeros(shape, self.gates.weight.dtype), key
        now, later = jax.random.split(jax.random.wrap_key_data(key))
        return jax.random.normal(now, shape, self.gates.weight.dtype), jax.random.key_data(later)
