"""Advantages and returns, one per cell.

Generalised advantage estimation (Schulman et al. 2016), as the published code computes it for every cell by
itself; the paper's text speaks of plain discounted returns.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalised_advantages(
    reward: Float[Array, "time *cells"],
    value: Float[Array, "time *cells"],
    next_value: Float[Array, "time *cells"],
    *,
    terminated: Bool[Array, " time"],
    done: Bool[Array, " time"],
    discount: float,
    trace: float,
) -> tuple[Float[Array, "time *cells"], Float[Array, "time *cells"]]:
    """Advantages A and returns R = A + V of one environment.

        delta_t = r_t + discount (1 - terminated_t) V'_t - V_t
        A_t     = delta_t + discount trace (1 - done_t) A_{t+1}

    ``next_value`` is that of the state which the step reached, before any reset.
    """
    shape = (-1,) + (1,) * (reward.ndim - 1)
    goes_on = (~terminated).astype(value.dtype).reshape(shape)
    connects = (~done).astype(value.dtype).reshape(shape)
    delta = reward.astype(value.dtype) + discount * goes_on * next_value - value

    def back(advantage: Array, item: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, connects = item
        advantage = delta + discount * trace * connects * advantage
        return advantage, advantage

    _, advantage = jax.lax.scan(back, jnp.zeros_like(delta[0]), (delta, connects), reverse=True)
    return advantage, advantage + value
