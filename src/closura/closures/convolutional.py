"""A closure of convolutions: a backbone and a linear head, which answers with the action itself."""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._checks import channels_last, check_observation, count_parameters
from closura.closures._members import apply_by_member
from closura.closures.actor_critic import SMALLEST_STD
from closura.closures.networks import Convolution, ConvolutionStack
from closura.closures.program import Program, chained, layer_of
from closura.core import ClosureSpec


class BackboneClosure(eqx.Module):
    """A stack of convolutions and a head that answers; a subclass says what the head makes of features."""

    backbone: ConvolutionStack
    head: eqx.AbstractVar[Any]
    spec: eqx.AbstractVar[ClosureSpec]

    def features(self, observation: Float[Array, "c *grid"]) -> Float[Array, "*grid width"]:
        """What the backbone makes of an observation."""
        return self.backbone(channels_last(observation, self.spec))

    @abstractmethod
    def respond(
        self, features: Float[Array, "*grid width"], observation: Float[Array, "c *grid"]
    ) -> Float[Array, "a *grid"]:
        """The action that belongs to features."""

    @abstractmethod
    def seen(self, features: int) -> int:
        """Receptive field of the action, of that of the features."""

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """Action for an observation, in the units of the problem's action."""
        check_observation(observation, self.spec)
        return apply_by_member(_act, self, observation)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, channels, dilations and receptive field of each layer, head included."""
        fields = self.backbone.receptive_field
        return {
            "kind": "closure",
            "parameters": count_parameters(self),
            **self.backbone.describe(),
            "receptive_field": [*fields, self.seen(fields[-1])],
        }


class ConvolutionalClosure(BackboneClosure):
    """A backbone and a linear head, times the typical size of an action.

    Starts from "no closure": all actions are zero until the first update, because a random closure would first have to
    be unlearned. The mean of a policy starts at random and is not scaled, as in the published networks.

    Parameters
    ----------
    spec
        What the closure observes and answers.
    backbone
        The network's layers up to the head.
    head
        Of size 3 (default: zero).
    scaled
        Multiply the head's output by the specification's scale.
    """

    head: Convolution
    spec: ClosureSpec = eqx.field(static=True)
    scaled: bool = eqx.field(static=True)

    def __init__(
        self, spec: ClosureSpec, backbone: ConvolutionStack, *, head: Convolution | None = None, scaled: bool = True
    ) -> None:
        if head is None:
            drawn = Convolution(backbone.channels[-1], len(spec.action), spec.boundary, key=jax.random.key(0))
            head = jax.tree.map(jnp.zeros_like, drawn)
        self.backbone, self.head, self.spec, self.scaled = backbone, head, spec, scaled

    def respond(
        self, features: Float[Array, "*grid width"], observation: Float[Array, "c *grid"]
    ) -> Float[Array, "a *grid"]:
        action = self.head(features)
        if self.scaled:
            action = action * jnp.asarray(self.spec.scale, observation.dtype)
        return jnp.moveaxis(action, -1, 0)

    def program(self) -> Program:
        """What it computes, for exports."""
        layers = [*self.backbone.convolutions(), layer_of(self.head)]
        factor = self.spec.scale if self.scaled else 1.0
        return Program(self.spec, chained(layers, "observation"), factor=factor)

    def exploring(
        self, initial_std: float | None, *, key: PRNGKeyArray
    ) -> tuple["ConvolutionalClosure", Convolution, Convolution]:
        """The closure as the mean of a policy, with heads for the raw spread and for the value."""
        actor_key, critic_key = jax.random.split(key)
        width, count = self.backbone.channels[-1], len(self.spec.action)
        # Mean and spread are drawn as one convolution, as they were published.
        size = self.head.kernel.shape[0]
        both = Convolution(width, 2 * count, self.spec.boundary, size=size, key=actor_key)
        mean, spread = _part(both, slice(count)), _part(both, slice(count, None))
        if initial_std is not None:
            target = initial_std - SMALLEST_STD
            raw = target + math.log(-math.expm1(-target))  # inverse of softplus, without overflow or cancellation
            # The default head gives about 0.1 to 0.3: a tenth of the spread makes the mean small against the noise, and
            # a hundredth in the raw spread changes it by about 0.1 % from cell to cell.
            mean = _begun(mean, 0.1 * initial_std, 0.0)
            spread = _begun(spread, 0.01, raw)
        closure = ConvolutionalClosure(self.spec, self.backbone, head=mean, scaled=False)
        return closure, spread, Convolution(width, 1, self.spec.boundary, size=size, key=critic_key)

    def seen(self, features: int) -> int:
        return features + 2 * self.head.reach


def _act(closure: BackboneClosure, observation: Array) -> Array:
    return closure.respond(closure.features(observation), observation)


def _part(convolution: Convolution, channels: slice) -> Convolution:
    """Some of the channels that leave a convolution."""
    parts = (convolution.kernel[..., channels], convolution.bias[channels])
    return eqx.tree_at(lambda c: (c.kernel, c.bias), convolution, parts)


def _begun(convolution: Convolution, shrink: float, bias: float) -> Convolution:
    """With a smaller kernel, and the same bias everywhere."""
    parts = (convolution.kernel * jnp.float32(shrink), jnp.full_like(convolution.bias, bias))
    return eqx.tree_at(lambda c: (c.kernel, c.bias), convolution, parts)
