"""Random collages: initial conditions with grey levels, faint edges and grain beside sharp ones.

Half of the draws are synthetic images as they are (:mod:`closura.initial.synthetic`). In the other half two of them lie
on top of each other, with weights, and are darkened by a random grain, pixel by pixel or blurred. What is learned on
them has seen more kinds of texture than symbols and garments offer, and no data set.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from closura.initial.images import image_to_field
from closura.initial.synthetic import PIXELS, SyntheticImages

DEEPEST_GRAIN = 0.7


class Collages(eqx.Module):
    """Draws collages as initial conditions ``(1, nx, ny)`` with values in [0, 1], as ``SyntheticImages`` does.

    Parameters
    ----------
    shape
        Number of points of the (fine) grid along x and y.
    garments
        Share of garments among the images that collages are made of.
    dtype
        Type of the field. Images are drawn in float32, so that one key draws the same image in any type.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    garments: float = eqx.field(static=True, kw_only=True, default=0.6)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "1 x y"]:
        """Draw a collage and enlarge it."""
        return image_to_field(self.draw(key).astype(self.dtype), self.shape)

    def draw(self, key: PRNGKeyArray) -> Float[Array, "row column"]:
        """Draw a collage ``(28, 28)``, ``[row, column]``, values in [0, 1], float32."""
        for_images, for_grain, for_numbers = jax.random.split(key, 3)
        images = SyntheticImages(self.shape, garments=self.garments)
        upper, lower = jax.lax.map(images.draw, jax.random.split(for_images))
        plain, share, depth, blur = jax.random.uniform(for_numbers, (4,), jnp.float32)
        grain = jax.random.uniform(for_grain, (PIXELS, PIXELS), jnp.float32)
        grain = (1 - blur) * grain + blur * _blurred(grain)
        weight = 0.4 + 0.6 * share
        collage = (weight * upper + (1 - weight) * lower) * (1 - DEEPEST_GRAIN * depth * grain)
        return jnp.where(plain < 0.5, upper, collage)


def _blurred(image: Float[Array, "row column"]) -> Float[Array, "row column"]:
    """Means over blocks of 3 x 3, periodic."""
    for axis in (0, 1):
        image = (jnp.roll(image, 1, axis) + image + jnp.roll(image, -1, axis)) / 3
    return image
