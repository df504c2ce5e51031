"""What closures share: the check of an observation, and the number of parameters."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from closura.core import ClosureSpec


def check_observation(observation: Array, spec: ClosureSpec) -> None:
    """Refuse an observation whose channels or axes are not those of the specification."""
    channels, dimensions = len(spec.observation), spec.dimensions
    if observation.ndim != dimensions + 1 or observation.shape[0] != channels:
        axes = ", ".join(("n_x", "n_y", "n_z")[:dimensions])
        raise ValueError(
            f"expected an observation of shape ({channels}, {axes}) with channels "
            f"{', '.join(spec.observation)}; got shape {observation.shape} (use jax.vmap for batches)"
        )


def channels_last(observation: Array, spec: ClosureSpec) -> Array:
    """Check an observation and move its channels to the last axis, where the networks want them."""
    check_observation(observation, spec)
    return jnp.moveaxis(observation, 0, -1)


def count_parameters(module: eqx.Module) -> int:
    """Number of real numbers that training may change."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))
