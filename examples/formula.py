"""A closure that is a formula: differences of the field that it corrects, with coefficients that are learned."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp

import closura


@dataclass(frozen=True)
class FormulaSettings(closura.Settings):
    """Settings of the formula.

    Parameters
    ----------
    order
        Highest order of the differences.
    """

    order: closura.Count = 4


@closura.closure("formula", where="cells", settings=FormulaSettings, zero_start=True)
class Formula(eqx.Module):
    """A sum of differences of orders 1 to ``order`` along each axis."""

    weights: jax.Array  # (channel of the action, axis, order), learned
    acts_on: tuple[int, ...] = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, spec, *, key, order):
        self.weights = jnp.zeros((len(spec.action), len(spec.boundary), order), jnp.float32)
        self.acts_on, self.scale = spec.acts_on, spec.scale

    def __call__(self, observation):
        field = observation[jnp.asarray(self.acts_on)]
        total = jnp.zeros_like(field)
        for axis in range(self.weights.shape[1]):
            difference = field
            for m in range(self.weights.shape[2]):
                # To the right and to the left in turn: those of even order are centred.
                shifted = jnp.roll(difference, 1 if m % 2 else -1, axis + 1)
                difference = difference - shifted if m % 2 else shifted - difference
                total = total + self.scale * jnp.einsum("a,a...->a...", self.weights[:, axis, m], difference)
        return total
