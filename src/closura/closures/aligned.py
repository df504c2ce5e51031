"""A closure that looks along the flow: every cell turns its neighbourhood to where its velocity comes from.

A box of neighbours is read in an order of its own in each cell: mirrored where a velocity component is negative, its
axes swapped where the second component is the faster one. What arrives is the same for all eight ways to turn and
mirror the grid, so the closure commutes with them exactly, and one situation is learned once instead of eight times.

    d_k = q_{i + turn_i(k)} - q_i,    A_i = s_i sum_k w_k(d / max|d|, velocity) d_k,    s_i = |u_i| + |v_i|

Differences are divided by the largest of those seen before the network sees them: weights depend neither on the size
of a field nor on a constant added to it, and ``A`` is proportional to the field. A network that sees velocities only
(``look=0``) gives weights that do not depend on the field at all: a linear scheme.

Stencils of a network: Bar-Sinai et al., "Learning data-driven discretizations for partial differential equations",
PNAS 116 (2019). Turning the neighbourhood is what upwind schemes do by hand, for the sign of one component.
"""

import functools
import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from closura.closures._checks import check_observation, count_parameters
from closura.closures.dense import Perceptron
from closura.closures.program import Pass, Program, Stencil, perceptron_layers
from closura.closures.speed import SMALLEST_SPEED
from closura.core import ClosureSpec

WEIGHT_SCALE = 0.1
"""The network's output times this and the local speed is a weight, in units of the field per step."""
SMALLEST_DIFFERENCE = 1e-4
"""Added to what is divided by: far below any speed, and any difference of a field of size one, that matters."""


class AlignedClosure(eqx.Module):
    """A deterministic closure for two axes: a perceptron on the turned neighbourhood, with a stencil's weights.

    Starts from "no closure": all weights are zero. Several components that are acted on share the network.
    """

    network: Perceptron
    radius: int = eqx.field(static=True)
    look: int = eqx.field(static=True)
    spec: ClosureSpec = eqx.field(static=True)

    def __init__(
        self,
        spec: ClosureSpec,
        *,
        hidden: tuple[int, ...] = (32, 32),
        radius: int = 3,
        look: int = 2,
        activation: str = "relu",
        key: PRNGKeyArray,
    ) -> None:
        if len(spec.velocity) != 2 or spec.boundary != ("periodic", "periodic"):
            raise ValueError(
                "a closure that looks along the flow needs two periodic axes and an observed velocity along each; got "
                f"boundaries {spec.boundary} and {len(spec.velocity)} velocities (use view grid)"
            )
        if radius < 1 or look < 0:
            raise ValueError(
                f"a stencil needs a radius of at least 1, and look must not be negative; got {radius}, {look}"
            )
        sizes = (2 + _taps(look), *hidden, _taps(radius))
        self.network = Perceptron(sizes, activation=activation, zero_last=True, key=key)
        self.radius, self.look, self.spec = radius, look, spec

    def __call__(self, observation: Float[Array, "c x y"]) -> Float[Array, "a x y"]:
        """Action for an observation, in the units of the problem's action."""
        check_observation(observation, self.spec)
        # Not member by member as larger networks: with gathers instead of convolutions that is slower (measured).
        return _act(self, observation)

    def program(self) -> Program:
        """What it computes, for exports."""
        box = _box(max(self.radius, self.look)).T.astype(np.int64)
        around = Pass(box, perceptron_layers(self.network), "aligned")
        stencil = Stencil(box[: _taps(self.radius)], WEIGHT_SCALE / self.spec.unit, aligned=True)
        return Program(self.spec, (around,), stencil, look=self.look)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, sizes of the layers and receptive field."""
        return {
            "kind": "closure",
            "parameters": count_parameters(self),
            "dimensions": 2,
            "boundary": list(self.spec.boundary),
            "channels": [layer.bias.size for layer in self.network.layers[:-1]],
            "dilations": [1] * (len(self.network.layers) - 1),
            "activation": self.network.activation,
            "receptive_field": [1 + 2 * self.look, 1 + 2 * max(self.look, self.radius)],
        }


@eqx.filter_jit  # so that calls outside of any jit are compiled once
def _act(closure: AlignedClosure, observation: Array) -> Array:
    velocity = jnp.stack([observation[i] for i in closure.spec.velocity])
    speeds = jnp.abs(velocity)
    fast, slow = jnp.max(speeds, axis=0), jnp.min(speeds, axis=0)
    seen = jnp.stack([slow / (fast + SMALLEST_SPEED), fast], axis=-1)
    turn = turn_of(velocity)
    scale = WEIGHT_SCALE / closure.spec.unit * (fast + slow + SMALLEST_SPEED)
    actions = []
    for index in closure.spec.acts_on:
        field = observation[index]
        differences = turned_neighbours(field, turn, max(closure.radius, closure.look)) - field[..., None]
        features = seen
        if closure.look:
            near = differences[..., : _taps(closure.look)]
            size = jnp.max(jnp.abs(near), axis=-1, keepdims=True) + SMALLEST_DIFFERENCE
            features = jnp.concatenate([seen, near / size], axis=-1)
        weights = closure.network(features.reshape(-1, features.shape[-1])).reshape(*field.shape, -1)
        actions.append(scale * jnp.sum(weights * differences[..., : _taps(closure.radius)], axis=-1))
    return jnp.stack(actions)


def turn_of(velocity: Float[Array, "2 x y"]) -> Int[Array, "x y"]:
    """Which of the eight ways to turn and mirror its neighbourhood a cell takes, by its velocity: 0 to 7.

    4 if the second component is the faster one, plus 2 if the first is negative, plus 1 if the second is.
    """
    size = jnp.abs(velocity)
    swapped, first, second = size[1] > size[0], velocity[0] < 0, velocity[1] < 0
    return 4 * swapped.astype(jnp.int32) + 2 * first.astype(jnp.int32) + second.astype(jnp.int32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def turned_neighbours(field: Float[Array, "x y"], turn: Int[Array, "x y"], radius: int) -> Float[Array, "x y tap"]:
    """The neighbours of every cell of a periodic field in the order that its turn gives, the cell itself left out.

    The first axis of the box lies along the faster component, and both axes point downstream. Inner cells come first:
    the taps of a smaller box are the first ones.
    """
    there, _ = _turned(radius)
    x, y = (jnp.arange(size, dtype=jnp.int32) for size in field.shape)
    offsets = jnp.asarray(there)[turn]
    rows = (x[:, None, None] + offsets[..., 0]) % field.shape[0]
    return field.reshape(-1)[rows * field.shape[1] + (y[:, None] + offsets[..., 1]) % field.shape[1]]


def _forward(field: Array, turn: Array, radius: int) -> tuple[Array, Array]:
    return turned_neighbours(field, turn, radius), turn


def _backward(radius: int, turn: Array, cotangent: Array) -> tuple[Array, None]:
    """Every cell sums over the neighbours that saw it: the gradient of a gather is a scatter, slow under ``vmap``."""
    _, tap_of = _turned(radius)
    box, (n_x, n_y) = _box(radius), turn.shape
    rows = (np.arange(n_x)[:, None, None] - box[0]) % n_x
    seen_by = jnp.asarray((rows * n_y + (np.arange(n_y)[:, None] - box[1]) % n_y).astype(np.int32))
    taps = jnp.asarray(tap_of)[turn.reshape(-1)[seen_by], jnp.arange(box.shape[1], dtype=jnp.int32)]
    return jnp.sum(cotangent.reshape(-1)[seen_by * box.shape[1] + taps], axis=-1), None


turned_neighbours.defvjp(_forward, _backward)


@functools.cache
def _turned(radius: int) -> tuple[np.ndarray, np.ndarray]:
    """For each turn: the offsets of all taps ``(8, tap, 2)``, and the tap at each offset of the box ``(8, tap)``."""
    box = _box(radius).T
    number = {tuple(offset): tap for tap, offset in enumerate(box)}
    there = np.zeros((8, *box.shape), np.int32)
    for turn, (swapped, *signs) in enumerate(itertools.product((False, True), (1, -1), (1, -1))):
        there[turn] = (box[:, ::-1] if swapped else box) * np.array(signs, np.int32)
    tap_of = np.zeros((8, len(box)), np.int32)
    for turn in range(8):
        for tap, offset in enumerate(there[turn]):
            tap_of[turn, number[tuple(offset)]] = tap
    return there, tap_of


def turned_offsets(radius: int) -> np.ndarray:
    """For each turn the offsets of all neighbours in the order that it gives, ``(8, tap, 2)``."""
    return _turned(radius)[0]


def _box(radius: int) -> np.ndarray:
    """Offsets of all cells of a box but its middle, from the inside out: smaller boxes come first. ``(2, tap)``."""
    steps = range(-radius, radius + 1)
    offsets = [offset for offset in itertools.product(steps, steps) if any(offset)]
    return np.array(sorted(offsets, key=lambda offset: max(map(abs, offset))), np.int32).T


def _taps(radius: int) -> int:
    return (2 * radius + 1) ** 2 - 1
