"""Images as initial conditions, drawn inside compiled code.

The published pipeline (code of Closure-RL, arXiv 2402.00972): an image of 28 x 28 grey values in [0, 1];
digits are rotated by an angle from U(-90, 90) degrees with nearest neighbours; bilinear enlargement to the
fine grid; 1e-6 is added. All of it in float32.

Image arrays are ``[row, column]`` with row 0 at the top; fields are ``[component, x, y]`` with x the column
and y the row. The transposition happens here, once.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Real, UInt8

from closura.arrays import real_numbers

LARGEST_ANGLE = 90.0
OFFSET = 1e-6
WHITE = 255
"""The grey value of a byte that stands for 1."""


def grey_values(images: Any, source: str = "the images") -> np.ndarray:
    """Images ``(n, rows, columns)``, row 0 at the top, with a known scale of grey: bytes, or fractions in [0, 1].

    Bytes, of which 255 is white, are returned as they are, booleans as fractions 0 and 1. Other whole numbers are taken
    for bytes if all of them lie in 0 to 255 and not all in 0 to 1; other fractions are taken as they are if all of them
    lie in [0, 1]. Everything else is refused: which of its numbers is white is not known, and fields of another scale
    would follow. One scale holds for all images of a file together.
    """
    array = real_numbers(images, source, finite=False, keep_integers=True)
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise ValueError(f"{source}: expected grey images (n, rows, columns); got shape {array.shape}")
    if array.shape[0] == 0:
        raise ValueError("expected at least one image, got none")
    if array.dtype == np.uint8:
        return array
    bad = ~np.isfinite(array).all(axis=(1, 2))
    if bad.any():
        raise ValueError(
            f"{source}: image {int(bad.argmax())} (counted from 0) holds numbers that are not finite, and {bad.sum()} "
            f"of {len(bad)} images do: leave them out"
        )
    low, high = array.min(), array.max()
    fractions = np.issubdtype(array.dtype, np.floating)
    if fractions and low >= 0 and high <= 1:
        return array
    whole = array.dtype != np.int8 and (not fractions or bool((array == np.rint(array)).all()))
    if whole and low >= 0 and high <= WHITE and high != 1:
        return array.astype(np.uint8)
    raise ValueError(
        f"{source}: {array.dtype} values from {low:g} to {high:g} have no known scale of grey: expected bytes from 0 "
        f"(black) to {WHITE} (white), or fractions from 0 to 1; scale them, and write them as bytes"
    )


def rotate_nearest(image: Real[Array, "row column"], degrees: Real[Array, ""] | float) -> Real[Array, "row column"]:
    """Rotate an image about its centre: nearest neighbours, same size, 0 where there was nothing.

    Counter-clockwise in degrees, as seen with row 0 at the top. Each target pixel, at half-integer offsets from the
    centre, is turned back into the source image; the source coordinate is rounded half to even, as in torch's
    ``grid_sample(mode="nearest", align_corners=False)`` beneath torchvision's ``RandomRotation``. Coordinates are
    float32, as there.
    """
    rows, columns = image.shape
    angle = jnp.deg2rad(jnp.asarray(degrees, jnp.float32))
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    y = (jnp.arange(rows, dtype=jnp.float32) - (rows - 1) / 2)[:, None]
    x = (jnp.arange(columns, dtype=jnp.float32) - (columns - 1) / 2)[None, :]
    # Normalised to [-1, 1] and back, in torch's order, so that ties round as they do there.
    u = x * (cosine / (columns / 2)) - y * (sine / (columns / 2))
    v = x * (sine / (rows / 2)) + y * (cosine / (rows / 2))
    column = jnp.round(((u + 1) * columns - 1) / 2).astype(jnp.int32)
    row = jnp.round(((v + 1) * rows - 1) / 2).astype(jnp.int32)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    # Negative indices would wrap: clip them, then blank them.
    taken = image[jnp.clip(row, 0, rows - 1), jnp.clip(column, 0, columns - 1)]
    return jnp.where(inside, taken, jnp.zeros((), image.dtype))


def resize_matrix(n_in: int, n_out: int, dtype: jnp.dtype | type = jnp.float32) -> Float[Array, "n_out n_in"]:
    """Linear interpolation from ``n_in`` to ``n_out`` cells along one axis, as a matrix.

    Cells are centred at half-integers (``align_corners=False``), the end values continue outwards. When
    shrinking, the triangle is widened to the target cell (``antialias=True``). An image is resized by one
    product per axis.
    """
    if n_in < 1 or n_out < 1:
        raise ValueError(f"sizes must be positive; got n_in={n_in}, n_out={n_out}")
    ratio = n_in / n_out
    centre = (np.arange(n_out) + 0.5) * ratio
    source = np.arange(n_in) + 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(source[None, :] - centre[:, None]) / max(1.0, ratio))
    return jnp.asarray(weights / weights.sum(axis=1, keepdims=True), dtype)


def image_to_field(image: Float[Array, "row column"], shape: tuple[int, int]) -> Float[Array, "1 x y"]:
    """Resize an image to ``shape = (nx, ny)`` grid points, add 1e-6, turn it to ``[component, x, y]``.

    The type of the image is the type of the field. An image of another aspect is stretched. Values stay between the
    image's smallest and largest, plus the offset; NaN and infinity spread to their neighbours.
    """
    if isinstance(image, np.ma.MaskedArray) or image.ndim != 2 or not jnp.issubdtype(image.dtype, jnp.floating):
        raise ValueError(
            "expected an image (rows, columns) of floating-point numbers, none masked; got "
            f"{type(image).__name__} of shape {image.shape}, {image.dtype}. Bytes become fractions by image / 255"
        )
    rows, columns = image.shape
    along_x = resize_matrix(columns, shape[0], image.dtype)
    along_y = resize_matrix(rows, shape[1], image.dtype)
    # Accelerators multiply float32 matrices in shorter types unless told not to: 1e-3 errors in the field.
    with jax.default_matmul_precision("highest"):
        field = along_x @ image.T @ along_y.T
    return (field + jnp.asarray(OFFSET, image.dtype))[None]


def _on_device(images: Any) -> Array:
    return jnp.asarray(grey_values(images))


class ImageSampler(eqx.Module):
    """Draws images as initial conditions ``(1, nx, ny)`` with values in [1e-6, 1 + 1e-6].

    Images are bytes or fractions in [0, 1], as ``load_images`` gives them; others are scaled or refused by
    :func:`grey_values`. Those that are not square are stretched. ``rotate``: each by an angle from U(-90, 90) degrees,
    published for MNIST, in training and in test; never for Fashion-MNIST. The same key draws the same image and angle
    in fields of any type; float32 is the published pipeline.
    """

    images: UInt8[Array, "n row column"] | Float[Array, "n row column"] = eqx.field(converter=_on_device)
    shape: tuple[int, int] = eqx.field(static=True)
    rotate: bool = eqx.field(static=True, kw_only=True)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "1 x y"]:
        key_image, key_angle = jax.random.split(key)
        image = self.images[jax.random.randint(key_image, (), 0, self.images.shape[0], dtype=jnp.int32)]
        angle = jax.random.uniform(key_angle, (), jnp.float32, -LARGEST_ANGLE, LARGEST_ANGLE)
        return self.render(image, angle if self.rotate else None)

    def render(
        self,
        image: UInt8[Array, "row column"] | Float[Array, "row column"],
        degrees: Real[Array, ""] | float | None = None,
    ) -> Float[Array, "1 x y"]:
        """The initial condition from one image and one angle (None: not rotated), nothing drawn."""
        values = image.astype(self.dtype)
        if image.dtype == jnp.uint8:
            values = values / jnp.asarray(WHITE, self.dtype)
        elif not jnp.issubdtype(image.dtype, jnp.floating):
            raise ValueError(f"expected an image of bytes or of fractions in [0, 1]; got {image.dtype}")
        if degrees is not None:
            values = rotate_nearest(values, degrees)
        return image_to_field(values, self.shape)
