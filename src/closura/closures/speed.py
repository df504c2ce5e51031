"""What a closure of advection sees, in units of the local speed.

Truncation errors of advection schemes are proportional to the speed, and what happens in a cell depends on the
directions of the velocities around it more than on their size. So velocities are given relative to the local
speed, with its logarithm beside them (it decides, against the viscosity, how steep fronts get), and weights of
stencils are multiplied by it. A field that fades away then needs no new weights. A diffusivity that is observed
enters by its logarithm, which makes cell Reynolds numbers sums of channels, and multiplies the constant part of
the weights, as errors of diffusion are proportional to it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.core import ClosureSpec
from closura.numerics.padding import pad

SMALLEST_SPEED = 1e-4
"""Added to the local speed: far below any speed that matters."""


def local_speed(observation: Float[Array, "c *grid"], spec: ClosureSpec) -> Float[Array, "*grid"]:
    """Sum of the absolute velocities, averaged over the cell and its neighbours, diagonal ones included."""
    size = jnp.sum(jnp.abs(jnp.stack([observation[i] for i in spec.velocity])), axis=0)
    for axis, boundary in enumerate(spec.boundary):
        padded = pad(size[None], 1, boundary, axis)[0]
        parts = [jax.lax.slice_in_dim(padded, k, k + size.shape[axis], axis=axis) for k in range(3)]
        size = (parts[0] + parts[1] + parts[2]) / 3
    return size + SMALLEST_SPEED


def relative_to_speed(observation: Float[Array, "c *grid"], spec: ClosureSpec) -> Float[Array, "d *grid"]:
    """The observation with velocities in units of the local speed, and the speed's logarithm as a last channel.

    A diffusivity is replaced by its logarithm.
    """
    speed = local_speed(observation, spec)
    channels = list(observation)
    for index in spec.velocity:
        channels[index] = channels[index] / speed
    if spec.diffusivity is not None:
        channels[spec.diffusivity] = jnp.log(channels[spec.diffusivity])
    return jnp.stack([*channels, jnp.log(speed)])
