"""A closure that answers with a stencil: a network decides, cell by cell, how neighbours are weighed.

A coarse scheme's local error is a combination of differences of the field, with factors that depend on the
flow. A network that outputs the action itself must learn to form these differences; one that outputs the
weights of a small stencil has them built in, leaves uniform fields alone, and learns an order of magnitude
faster (on advection, 200 updates against thousands). See :mod:`closura.closures.stencil` for the formula and
its source.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures.convolutional import BackboneClosure
from closura.closures.networks import Convolution, ConvolutionStack
from closura.closures.speed import local_speed, relative_to_speed
from closura.closures.stencil import apply_stencil, stencil_size
from closura.core import ClosureSpec

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

    Parameters
    ----------
    spec
        What the closure observes and answers.
    backbone
        The network's layers up to the head.
    radius
        Reach of the stencil in cells.
    by_speed
        Measure velocities and weights in units of the local speed; see :mod:`closura.closures.speed`.
    key
        Random key.

    Raises
    ------
    ValueError
        If ``by_speed`` is asked for without observed velocities, or the radius is not positive.
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

    def seen(self, features: int) -> int:
        # The action sees the features of its own cell and the field under its stencil.
        return max(features, 2 * self.head.radius + 1)
