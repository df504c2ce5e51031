"""The errors that count for conservation laws: what learners lower and validations compare.

All take a state and the reference, ``(component, *grid)`` in conserved variables, and give a number.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.problems.laws.law import ConservationLaw

SMALLEST_RANGE = 1e-3
"""Variables that vary by less over the grid are measured in this unit."""


def root_mean_square(state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
    """Root of the mean over cells of the squared difference, summed over components; guarded where there is none."""
    square = jnp.mean(jnp.sum(jnp.square(state - reference), axis=0))
    return jnp.sqrt(jnp.maximum(square, jnp.finfo(state.dtype).tiny))


class WithOvershoot(eqx.Module):
    """:func:`root_mean_square`, plus that of what leaves the range of the reference nearby, times a weight.

    Nearby: within two cells along the axis. The sharpest profile in the mean square overshoots at strong shocks; an
    entropy solution does not.
    """

    weight: float = eqx.field(static=True)

    def __call__(self, state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
        low, high = reference, reference
        for axis in range(1, state.ndim):
            size, widths = state.shape[axis], [(2, 2) if i == axis else (0, 0) for i in range(state.ndim)]
            lows, highs = (jnp.pad(x, widths, mode="edge") for x in (low, high))
            low = jnp.stack([jax.lax.slice_in_dim(lows, k, k + size, axis=axis) for k in range(5)]).min(axis=0)
            high = jnp.stack([jax.lax.slice_in_dim(highs, k, k + size, axis=axis) for k in range(5)]).max(axis=0)
        outside = jnp.maximum(state - high, 0) + jnp.maximum(low - state, 0)
        return root_mean_square(state, reference) + self.weight * root_mean_square(outside, jnp.zeros_like(outside))


class RelativeDifference(eqx.Module):
    """Mean absolute difference of each primitive variable in units of its range over the grid, by weights.

    The weights sum to one; primitive variables, because a pressure that comes near to zero must be felt.
    """

    law: ConservationLaw
    weights: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, state: Float[Array, "component *grid"], reference: Float[Array, "component *grid"]) -> Array:
        ours, true = self.law.primitive(state), self.law.primitive(reference)
        axes = tuple(range(1, state.ndim))
        spans = jnp.maximum(jnp.max(true, axis=axes) - jnp.min(true, axis=axes), SMALLEST_RANGE)
        each = jnp.mean(jnp.abs(ours - true), axis=axes) / spans
        return jnp.sum(jnp.asarray(self.weights, state.dtype) * each)
