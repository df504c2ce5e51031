"""A deterministic closure: a network from what a problem shows to how its step is corrected."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.closures._members import apply_by_member
from closura.closures.networks import Convolution, ConvolutionStack
from closura.decision import Decision


def check_observation(observation: Array, decision: Decision) -> None:
    """Refuse an observation whose channels or axes are not the decision's.

    Raises
    ------
    ValueError
        If the number of channels or of axes is not the decision's.
    """
    channels, dimensions = len(decision.observation), decision.dimensions
    if observation.ndim != dimensions + 1 or observation.shape[0] != channels:
        axes = ", ".join(("n_x", "n_y", "n_z")[:dimensions])
        raise ValueError(
            f"expected an observation of shape ({channels}, {axes}) with channels "
            f"{', '.join(decision.observation)}; got shape {observation.shape} (use jax.vmap for batches)"
        )


def channels_last(observation: Array, decision: Decision) -> Array:
    """Check an observation and move its channels to the last axis, where the networks want them.

    Raises
    ------
    ValueError
        If the number of channels or of axes is not the decision's.
    """
    check_observation(observation, decision)
    return jnp.moveaxis(observation, 0, -1)


def count_parameters(module: eqx.Module) -> int:
    """Number of real numbers that training may change."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))


def describe_network(module: eqx.Module, backbone: ConvolutionStack, head: Convolution) -> dict[str, Any]:
    """What is common to the descriptions of deterministic closures and of policies."""
    fields = backbone.receptive_field
    return {
        "parameters": count_parameters(module),
        "dimensions": len(head.boundary),
        "boundary": list(head.boundary),
        "channels": backbone.channels,
        "dilations": [layer.dilation for layer in backbone.layers],
        "activation": backbone.activation,
        "receptive_field": [*fields, fields[-1] + 2 * head.reach],
    }


class Closure(eqx.Module):
    """A deterministic closure: a backbone and a linear head, times the problem's typical action.

    Parameters
    ----------
    decision
        What the closure observes and how it acts.
    backbone
        The network's layers up to the head.
    key
        Random key.
    zero_head
        Start from "no closure": all actions are zero until the first update. The default, because a random
        closure would first have to be unlearned.
    """

    backbone: ConvolutionStack
    head: Convolution
    decision: Decision = eqx.field(static=True)

    def __init__(
        self, decision: Decision, backbone: ConvolutionStack, *, key: PRNGKeyArray, zero_head: bool = True
    ) -> None:
        head = Convolution(backbone.channels[-1], len(decision.action), decision.boundary, key=key)
        if zero_head:
            head = jax.tree.map(jnp.zeros_like, head)
        self.backbone, self.head, self.decision = backbone, head, decision

    def __call__(self, observation: Float[Array, "c *grid"]) -> Float[Array, "a *grid"]:
        """Action for an observation, in the units of the problem's action.

        Raises
        ------
        ValueError
            If the observation has other channels or axes than the decision says.
        """
        check_observation(observation, self.decision)
        return apply_by_member(_act, self, observation)

    def describe(self) -> dict[str, Any]:
        """Number of parameters, channels, dilations and receptive field of each layer, head included."""
        return {"kind": "closure", **describe_network(self, self.backbone, self.head)}


def _act(closure: Closure, observation: Array) -> Array:
    features = closure.backbone(jnp.moveaxis(observation, 0, -1))
    scale = jnp.asarray(closure.decision.scale, observation.dtype)
    return jnp.moveaxis(closure.head(features) * scale, -1, 0)
