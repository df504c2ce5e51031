"""Closures that answer with a stencil: a network decides, cell by cell, how neighbours are weighed.

A coarse scheme's local error is a combination of differences of the field, with factors that depend on the
flow. A network that outputs the action itself must learn to form these differences; one that outputs the
weights of a small stencil has them built in, leaves uniform fields alone, and learns an order of magnitude
faster (on advection, 200 updates against thousands). See :mod:`closura.closures.stencil` for the formula and
its source.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._members import apply_by_member
from closura.closures.closure import channels_last, count_parameters
from closura.closures.networks import Convolution, ConvolutionStack
from closura.closures.policy import SMALLEST_STD, Normal
from closura.closures.speed import local_speed, relative_to_speed
from closura.closures.stencil import apply_stencil, stencil_size
from closura.decision import Decision

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
    decision: Decision = eqx.field(static=True)

    def __init__(
        self, decision: Decision, width: int, *, radius: int, by_speed: bool = False, key: PRNGKeyArray
    ) -> None:
        if by_speed and not decision.velocity:
            raise ValueError("by_speed needs observed velocities, and this problem's decision names none")
        if radius < 1:
            raise ValueError(f"a stencil needs a radius of at least 1; got {radius}")
        taps = stencil_size(radius, decision.dimensions) * len(decision.action)
        mix = Convolution(width, taps, decision.boundary, size=1, key=key)
        self.mix = jax.tree.map(jnp.zeros_like, mix)
        self.radius, self.by_speed, self.decision = radius, by_speed, decision

    def __call__(
        self, features: Float[Array, "*grid width"], observation: Float[Array, "c *grid"]
    ) -> Float[Array, "a *grid"]:
        """Apply each component's stencil to the observed field that it acts on."""
        weights = self.mix(features)
        if self.by_speed:
            constant = self.mix.bias.astype(features.dtype)
            weights = (weights - constant) * local_speed(observation, self.decision)[..., None]
            diffusivity = self.decision.diffusivity
            weights = weights + (constant if diffusivity is None else observation[diffusivity][..., None] * constant)
        weights = jnp.moveaxis(weights * jnp.asarray(WEIGHT_SCALE / self.decision.unit, features.dtype), -1, 0)
        parts = jnp.split(weights, len(self.decision.action))
        return jnp.stack([
            apply_stencil(part, observation[index], radius=self.radius, boundary=self.decision.boundary)
            for part, index in zip(parts, self.decision.acts_on, strict=True)
        ])  # fmt: skip


class StencilClosure(eqx.Module):
    """A deterministic closure with a stencil head."""

    backbone: ConvolutionStack
    head: StencilHead
    decision: Decision = eqx.field(static=True)

    def __init__(
        self, decision: Decision, backbone: ConvolutionStack, *, radius: int, by_speed: bool = False, key: PRNGKeyArray
    ) -> None:
        self.backbone, self.decision = backbone, decision
        self.head = StencilHead(decision, backbone.channels[-1], radius=radius, by_speed=by_speed, key=key)

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """Action for an observation, in the units of the problem's action.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        return apply_by_member(_act, self, observation)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, channels and receptive field of each layer, head included."""
        return {"kind": "closure", **_describe(self, self.backbone, self.head)}


class StencilPolicy(eqx.Module):
    """Actor with a stencil head for the mean, and pointwise heads for the spread and the critic.

    The spread starts at ``initial_std`` everywhere, in units of the action.
    """

    backbone: ConvolutionStack
    head: StencilHead
    spread: Convolution
    critic: Convolution
    decision: Decision = eqx.field(static=True)

    def __init__(
        self,
        decision: Decision,
        backbone: ConvolutionStack,
        *,
        radius: int,
        by_speed: bool = False,
        initial_std: float | None = None,
        key: PRNGKeyArray,
    ) -> None:
        std = decision.scale if initial_std is None else initial_std
        if not std > SMALLEST_STD:
            raise ValueError(f"initial_std must be above {SMALLEST_STD}; got {std}")
        head_key, spread_key, critic_key = jax.random.split(key, 3)
        width = backbone.channels[-1]
        self.backbone, self.decision = backbone, decision
        self.head = StencilHead(decision, width, radius=radius, by_speed=by_speed, key=head_key)
        spread = Convolution(width, len(decision.action), decision.boundary, size=1, key=spread_key)
        # softplus(b) = std; the kernel starts at zero, so the spread does not depend on the state at first.
        bias = jnp.full_like(spread.bias, jnp.log(jnp.expm1(jnp.asarray(std, jnp.float32))))
        self.spread = eqx.tree_at(lambda c: (c.kernel, c.bias), spread, (jnp.zeros_like(spread.kernel), bias))
        self.critic = Convolution(width, 1, decision.boundary, size=1, key=critic_key)

    def evaluate(self, observation: Float[Array, "c *grid"]) -> tuple[Normal, Float[Array, "*grid"]]:
        """Distribution of the actions and value, with one pass through the backbone."""
        mean, std, value = apply_by_member(_evaluate, self, observation)
        return Normal(mean, std), value

    def distribution(self, observation: Float[Array, "c *grid"]) -> Normal:
        """Distribution of the actions."""
        return self.evaluate(observation)[0]

    def value(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid"]:
        """Expected sum of future (discounted) rewards of each agent."""
        return self.evaluate(observation)[1]

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """The mean action, which is how a trained policy acts as a closure."""
        return apply_by_member(_act, self, observation)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, channels and receptive field of each layer, head included."""
        return {"kind": "policy", **_describe(self, self.backbone, self.head)}


def _features(network: StencilClosure | StencilPolicy, observation: Array) -> Array:
    seen = channels_last(observation, network.decision)
    if network.head.by_speed:
        seen = jnp.moveaxis(relative_to_speed(observation, network.decision), 0, -1)
    return network.backbone(seen)


def _act(network: StencilClosure | StencilPolicy, observation: Array) -> Array:
    features = _features(network, observation)
    return network.head(features, observation)


def _evaluate(policy: StencilPolicy, observation: Array) -> tuple[Array, Array, Array]:
    features = _features(policy, observation)
    std = jax.nn.softplus(jnp.moveaxis(policy.spread(features), -1, 0)) + SMALLEST_STD
    return policy.head(features, observation), std, policy.critic(features)[..., 0]


def _describe(module: eqx.Module, backbone: ConvolutionStack, head: StencilHead) -> dict[str, Any]:
    fields = backbone.receptive_field
    return {
        "parameters": count_parameters(module),
        "dimensions": head.decision.dimensions,
        "boundary": list(head.decision.boundary),
        "channels": backbone.channels,
        "dilations": [layer.dilation for layer in backbone.layers],
        "activation": backbone.activation,
        # The action sees the features of its own cell and the field under its stencil.
        "receptive_field": [*fields, max(fields[-1], 2 * head.radius + 1)],
    }
