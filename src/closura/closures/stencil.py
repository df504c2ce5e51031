"""Closures that answer with a stencil: a network decides, cell by cell, how neighbours are weighed.

A coarse scheme's local error is a combination of differences of the field, with factors that depend on the flow. A
network that outputs the action itself must learn to form these differences; one that outputs the weights of a small
stencil has them built in, leaves uniform fields alone, and learns an order of magnitude faster (on advection, 200
updates against thousands).

    a_i = sum_k w_{k,i} (q_{i+k} - q_i),     k in a box of radius r around the cell.

Differences to the cell's own value make the sum blind to constants: whatever the weights, a uniform field is
left alone, as it is by every consistent scheme. Learned, cell-dependent stencils: Bar-Sinai et al., "Learning
data-driven discretizations for partial differential equations", PNAS 116 (2019).

The taps are visited by a loop, in the gradient too: written out, XLA's CPU back end fuses the slices with
their producers and computes these again for every tap (ten times slower, measured).
"""

import functools
import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures.convolutional import BackboneClosure
from closura.closures.networks import Convolution, ConvolutionStack
from closura.closures.program import Layer, Program, Stencil, chained, layer_of, offsets_of
from closura.closures.speed import local_speed, relative_to_speed
from closura.core import ClosureSpec
from closura.grids import Boundary
from closura.numerics.padding import pad_all


def stencil_size(radius: int, dimensions: int) -> int:
    """Number of cells in the box, the cell itself included (its weight has no effect)."""
    return (2 * radius + 1) ** dimensions


def apply_stencil(
    weights: Float[Array, "tap *grid"],
    field: Float[Array, "*grid"],
    *,
    radius: int,
    boundary: tuple[Boundary, ...],
) -> Float[Array, "*grid"]:
    """Weigh the differences between a cell's neighbours and itself.

    Weights are a field per tap, in the order of ``itertools.product(range(-radius, radius + 1), repeat=axes)``.
    """
    taps = stencil_size(radius, field.ndim)
    if weights.shape != (taps, *field.shape):
        raise ValueError(f"radius {radius} needs weights of shape {(taps, *field.shape)}; got {weights.shape}")
    return _apply(weights, field, radius, boundary)


def _offsets(radius: int, dimensions: int) -> Array:
    return jnp.asarray(np.array(list(itertools.product(range(2 * radius + 1), repeat=dimensions)), np.int32))


def _padded(field: Array, radius: int, boundary: tuple[Boundary, ...]) -> Array:
    return pad_all(field[None], radius, boundary)[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _apply(weights: Array, field: Array, radius: int, boundary: tuple[Boundary, ...]) -> Array:
    padded = _padded(field, radius, boundary)

    def tap(total: Array, item: tuple[Array, Array]) -> tuple[Array, None]:
        weight, offset = item
        return total + weight * (_window(padded, offset, field.shape) - field), None

    return jax.lax.scan(tap, jnp.zeros_like(field), (weights, _offsets(radius, field.ndim)))[0]


def _window(padded: Array, offset: Array, shape: tuple[int, ...]) -> Array:
    return jax.lax.dynamic_slice(padded, [offset[i] for i in range(len(shape))], shape)


def _forward(
    weights: Array, field: Array, radius: int, boundary: tuple[Boundary, ...]
) -> tuple[Array, tuple[Array, Array]]:
    return _apply(weights, field, radius, boundary), (weights, field)


def _backward(
    radius: int, boundary: tuple[Boundary, ...], saved: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    weights, field = saved
    padded, unpad = jax.vjp(lambda f: _padded(f, radius, boundary), field)

    def tap(carry: tuple[Array, Array], item: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        around, own = carry
        weight, offset = item
        start = [offset[i] for i in range(field.ndim)]
        share = weight * cotangent
        window = jax.lax.dynamic_slice(around, start, field.shape) + share
        around = jax.lax.dynamic_update_slice(around, window, start)
        return (around, own - share), cotangent * (_window(padded, offset, field.shape) - field)

    zero = (jnp.zeros_like(padded), jnp.zeros_like(field))
    (around, own), weights_bar = jax.lax.scan(tap, zero, (weights, _offsets(radius, field.ndim)))
    return weights_bar, own + unpad(around)[0]


_apply.defvjp(_forward, _backward)


WEIGHT_SCALE = 0.1
"""The head's output times this, in units of the field per step, is a weight: useful ones are of the size of a
Courant number's square."""


class StencilHead(eqx.Module):
    """Weights of one stencil per component of the action, from the features of each cell.

    Starts from "no closure": all weights are zero. With ``by_speed`` weights are proportional to the local
    speed, but for a constant stencil (what diffusion needs), which is proportional to an observed diffusivity.
    """

    mix: Convolution
    radius: int = eqx.field(static=True)
    by_speed: bool = eqx.field(static=True)
    spec: ClosureSpec = eqx.field(static=True)

    def __init__(
        self, spec: ClosureSpec, width: int, *, radius: int, by_speed: bool = False, key: PRNGKeyArray
    ) -> None:
        if by_speed and not spec.velocity:
            raise ValueError("by_speed needs observed velocities, and this problem's specification names none")
        if radius < 1:
            raise ValueError(f"a stencil needs a radius of at least 1; got {radius}")
        taps = stencil_size(radius, spec.dimensions) * len(spec.action)
        mix = Convolution(width, taps, spec.boundary, size=1, key=key)
        self.mix = jax.tree.map(jnp.zeros_like, mix)
        self.radius, self.by_speed, self.spec = radius, by_speed, spec

    def __call__(
        self, features: Float[Array, "*grid width"], observation: Float[Array, "c *grid"]
    ) -> Float[Array, "a *grid"]:
        """Apply each component's stencil to the observed field that it acts on."""
        weights = self.mix(features)
        if self.by_speed:
            constant = self.mix.bias.astype(features.dtype)
            weights = (weights - constant) * local_speed(observation, self.spec)[..., None]
            diffusivity = self.spec.diffusivity
            weights = weights + (constant if diffusivity is None else observation[diffusivity][..., None] * constant)
        weights = jnp.moveaxis(weights * jnp.asarray(WEIGHT_SCALE / self.spec.unit, features.dtype), -1, 0)
        parts = jnp.split(weights, len(self.spec.action))
        return jnp.stack([
            apply_stencil(part, observation[index], radius=self.radius, boundary=self.spec.boundary)
            for part, index in zip(parts, self.spec.acts_on, strict=True)
        ])  # fmt: skip


class StencilClosure(BackboneClosure):
    """A backbone of convolutions and a stencil head.

    Starts from "no closure": all weights are zero.
    """

    head: StencilHead
    spec: ClosureSpec = eqx.field(static=True)

    def __init__(
        self, spec: ClosureSpec, backbone: ConvolutionStack, *, radius: int, by_speed: bool = False, key: PRNGKeyArray
    ) -> None:
        self.backbone, self.spec = backbone, spec
        self.head = StencilHead(spec, backbone.channels[-1], radius=radius, by_speed=by_speed, key=key)

    def features(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid width"]:
        if not self.head.by_speed:
            return super().features(observation)
        return self.backbone(jnp.moveaxis(relative_to_speed(observation, self.spec), 0, -1))

    def respond(
        self, features: Float[Array, "*grid width"], observation: Float[Array, "c *grid"]
    ) -> Float[Array, "a *grid"]:
        return self.head(features, observation)

    def program(self) -> Program:
        """What it computes, for exports."""
        by_speed, mix = self.head.by_speed, self.head.mix
        offsets, mixed = layer_of(mix)
        constant = mixed.bias if by_speed else None
        if by_speed:
            mixed = Layer(mixed.weight, np.zeros_like(mixed.bias))
        layers = [*self.backbone.convolutions(), (offsets, mixed)]
        box = offsets_of((2 * self.head.radius + 1,) * self.spec.dimensions)
        stencil = Stencil(box, WEIGHT_SCALE / self.spec.unit, by_speed, constant)
        return Program(self.spec, chained(layers, "relative" if by_speed else "observation"), stencil)

    def seen(self, features: int) -> int:
        # The action sees the features of its own cell and the field under its stencil.
        return max(features, 2 * self.head.radius + 1)
