"""What counts: errors of a field against the reference, and the reward of every cell."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.numerics._checks import check_floating
from closura.problems.problem import Field, Quantity, Transition, measure


def mean_absolute_error(state: Field, reference: Field) -> Float[Array, ""]:
    """Mean absolute error, relative to a field maximum of one (Closure-RL, equation 12 with psi_max = 1)."""
    return jnp.mean(jnp.abs(_difference(state, reference)))


def mean_size(field: Field) -> Float[Array, ""]:
    """Mean over the grid of the sum over components of absolute values: ``mean(|u| + |v|)``."""
    return jnp.mean(jnp.sum(jnp.abs(field), axis=0))


def relative_mae(state: Field, reference: Field) -> Float[Array, ""]:
    """``mean(|u - g_u| + |v - g_v|) / mean(|g_u| + |g_v|)``: the error of Burgers in Closure-RL's code.

    Relative to the reference at the same time.

    Raises
    ------
    ValueError
        If the numbers are whole ones.
    """
    return mean_size(_difference(state, reference)) / mean_size(reference)


def rms_size(field: Field) -> Float[Array, ""]:
    """Root of the mean over the grid of the sum over components of squares."""
    return jnp.sqrt(jnp.mean(jnp.sum(jnp.square(field), axis=0)))


def relative_l2(state: Field, reference: Field) -> Float[Array, ""]:
    """``|q - g| / |g|`` in the Euclidean norm over components and points, g the reference at the same time."""
    difference = jnp.mean(jnp.sum(jnp.square(state - reference), axis=0))
    # The root has no derivative at zero: far below rounding it is cut off.
    return jnp.sqrt(jnp.maximum(difference, 1e-24)) / jnp.maximum(rms_size(reference), 1e-12)


def _difference(state: Field, reference: Field) -> Field:
    check_floating("a state", state)
    check_floating("a reference", reference)
    return state - reference


class SquaredErrorReduction(eqx.Module):
    """Reward per cell: by how much the action lowers the squared error (Closure-RL, equation 7 and appendix E).

    ``r = (psi - g)^2 - (psi_acted - g)^2``, summed over components, with the reference ``g`` at the same time as
    ``psi``. With weights w a term common to all cells is added for every conserved quantity Q,
    ``w [(Q(psi) - Q_0)^2 - (Q(psi_acted) - Q_0)^2] / |Q_0|``, the paper's for the sum of psi.

    Parameters
    ----------
    quantities, weights
        Conserved quantities with their weights; a quantity that is zero at the start is divided by nothing.
    relative
        Divide the local term by ``mean(|g|)`` summed over components, as the published Burgers code does (the
        paper has a mean over components instead of the sum, and no divisor).
    """

    quantities: tuple[Quantity, ...] = eqx.field(static=True, default=())
    weights: tuple[float, ...] = eqx.field(static=True, default=())
    relative: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        if len(self.weights) not in (0, len(self.quantities)):
            raise ValueError(f"one weight per conserved quantity; got {self.weights} for {self.quantities}")

    def __call__(self, transition: Transition) -> Float[Array, "*grid"]:
        state, acted, reference = transition.state, transition.acted, transition.reference
        reward = jnp.sum(jnp.square(state - reference) - jnp.square(acted - reference), axis=0)
        if self.relative:
            reward = reward / mean_size(reference)
        if any(self.weights):
            initial = transition.quantities
            before = jnp.square(measure(self.quantities, state) - initial)
            after = jnp.square(measure(self.quantities, acted) - initial)
            size = jnp.where(initial == 0, 1.0, jnp.abs(initial)).astype(state.dtype)
            reward = reward + jnp.sum(jnp.asarray(self.weights, state.dtype) * (before - after) / size)
        return reward
