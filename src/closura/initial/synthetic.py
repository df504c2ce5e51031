"""Random images like handwritten symbols and garments: initial conditions that need no data.

A stand-in for MNIST and Fashion-MNIST (``closura.initial.datasets``) in tests, examples and trainings without
them: 28 x 28 grey values in [0, 1] with an empty margin, then the same enlargement as theirs.

* A *symbol* is one to four Bezier strokes of one width, mostly connected, scaled to the box of 20 x 20 pixels
  that MNIST's digits are scaled to, and rotated as the published pipeline rotates digits.
* A *garment* is a trapezoid, with mirrored limbs or a gap between legs, or an ellipse joined to a box, filled
  with a grey value, a gradient, stripes, noise, a seam and a patch.

Everything is drawn through distances to segments and signed distances to shapes, inside compiled code. The
numbers below were tuned by eye and by statistics against the two data sets: mean, share of empty pixels,
total variation, gradients, spectrum. Symbols match rotated digits within 5 %; garments are 20 to 30 % fainter
and smoother than Fashion-MNIST's, which have no margin along one axis.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from closura.initial.images import LARGEST_ANGLE, image_to_field, rotate_nearest

PIXELS = 28
_SYMBOL_BOX = 20.0  # pixels that a symbol may cover along an axis before it is rotated, as MNIST's digits do
_GARMENT_BOX = 23.0  # the same for a garment
_STROKES = 4
_POINTS = 9  # per stroke, both ends included

Image = Float[Array, "row column"]
Scalar = Float[Array, ""]


def _draw(key: PRNGKeyArray, *ranges: tuple[int | float, int | float]) -> tuple[Scalar, ...]:
    """One uniform number per range; in one call, because every call of a generator costs compilation time."""
    low, high = jnp.asarray(ranges, jnp.float32).T
    return tuple(jax.random.uniform(key, (len(ranges),), jnp.float32, low, high))


def _pixels() -> tuple[Image, Image]:
    """Pixel coordinates ``(x, y)`` about the image's centre, in pixels, ``[row, column]``."""
    axis = jnp.arange(PIXELS, dtype=jnp.float32) - (PIXELS - 1) / 2
    x, y = jnp.meshgrid(axis, axis, indexing="xy")
    return x, y


def _cover(distance: Image, softness: Scalar | float) -> Image:
    """Share of a pixel inside a shape: from the signed distance (negative inside) and the edge's width."""
    return jnp.clip(0.5 - distance / softness, 0.0, 1.0)


def _strokes(key: PRNGKeyArray) -> tuple[Float[Array, "stroke point 2"], Bool[Array, "stroke"]]:
    """Points along Bezier strokes, in arbitrary units, and which strokes count."""
    key_strokes, key_whole = jax.random.split(key)
    turn, flip, length, bend, lift = jax.random.uniform(key_strokes, (5, _STROKES), jnp.float32)
    start_direction, first_sense, count = _draw(key_whole, (-jnp.pi, jnp.pi), (-1.0, 1.0), (0.0, 1.0))

    # Directions turn by large angles, mostly in one sense, as a pen does that stays in a box and draws loops.
    sense = jnp.sign(first_sense) * jnp.sign(0.75 - flip)
    direction = start_direction + jnp.cumsum(sense * (0.8 + 1.8 * turn))
    length = (0.5 + 0.5 * length)[:, None]
    along = jnp.stack([jnp.cos(direction), jnp.sin(direction)], axis=1)
    across = jnp.stack([-along[:, 1], along[:, 0]], axis=1)
    steps = along * length
    starts = jnp.concatenate([jnp.zeros((1, 2), jnp.float32), jnp.cumsum(steps, axis=0)[:-1]])
    # Some strokes begin back at the middle of the one before: bars and branches.
    starts = jnp.where(lift[:, None] < 0.2, starts - 0.5 * jnp.roll(steps, 1, axis=0), starts)
    bulge = (-sense * (1.4 * bend - 0.4))[:, None]
    control = starts + 0.5 * steps + bulge * length * across
    t = jnp.linspace(0.0, 1.0, _POINTS, dtype=jnp.float32)[None, :, None]
    starts, control, ends = starts[:, None], control[:, None], (starts + steps)[:, None]
    points = (1 - t) ** 2 * starts + 2 * t * (1 - t) * control + t**2 * ends
    # One stroke in 12 % of symbols, two in 20 %, three in 30 %, four in 38 %.
    return points, count > jnp.asarray([-1.0, 0.12, 0.32, 0.62], jnp.float32)


def symbol(key: PRNGKeyArray) -> Image:
    """A random symbol of one to four strokes: values in [0, 1], ``(28, 28)`` float32."""
    key_strokes, key_style = jax.random.split(key)
    points, active = _strokes(key_strokes)
    half_width, softness, angle = _draw(key_style, (0.8, 1.7), (0.6, 1.4), (-LARGEST_ANGLE, LARGEST_ANGLE))
    # Scale the drawn strokes' bounding box to the box of MNIST, and centre it.
    flat, drawn = points.reshape(-1, 2), jnp.repeat(active, _POINTS)[:, None]
    low = jnp.min(jnp.where(drawn, flat, jnp.inf), axis=0)
    high = jnp.max(jnp.where(drawn, flat, -jnp.inf), axis=0)
    scale = (_SYMBOL_BOX - 2 * half_width) / jnp.max(high - low)
    points = (points - 0.5 * (low + high)) * scale

    # Distance of every pixel to the nearest segment; segments lie on axis 0, which vectorises over pixels.
    start = points[:, :-1].reshape(-1, 2)[:, :, None, None]
    step = points[:, 1:].reshape(-1, 2)[:, :, None, None] - start
    x, y = _pixels()
    to_x, to_y, step_x, step_y = x - start[:, 0], y - start[:, 1], step[:, 0], step[:, 1]
    share = (to_x * step_x + to_y * step_y) / jnp.maximum(step_x**2 + step_y**2, 1e-6)
    share = jnp.clip(share, 0.0, 1.0)
    squared = (to_x - share * step_x) ** 2 + (to_y - share * step_y) ** 2
    squared = jnp.where(jnp.repeat(active, _POINTS - 1)[:, None, None], squared, jnp.inf)
    upright = _cover(jnp.sqrt(jnp.min(squared, axis=0)) - half_width, softness)
    # Nearest neighbours give the jagged edges, and so the fine scales, of the published pipeline's digits.
    return rotate_nearest(upright, angle)


def _box(x: Image, y: Image, half_x: Scalar, half_y: Scalar, radius: Scalar | float) -> Image:
    """Signed distance to a box about the origin with corners rounded to that radius."""
    out_x, out_y = jnp.abs(x) - half_x + radius, jnp.abs(y) - half_y + radius
    outside = jnp.sqrt(jnp.maximum(out_x, 0.0) ** 2 + jnp.maximum(out_y, 0.0) ** 2)
    return outside + jnp.minimum(jnp.maximum(out_x, out_y), 0.0) - radius


def _body(key: PRNGKeyArray) -> Image:
    """Signed distance to a trapezoid, half of them with mirrored limbs, some with a gap between legs."""
    half_x, half_y, taper, radius, angle, limb_width, limb_length, limbs, legs = _draw(
        key, (4, 9), (8.5, 11.5), (-0.35, 0.35), (0.5, 3), (0.15, 1.2), (1.2, 2.4), (3, 8), (0, 1), (0, 1)
    )
    x, y = _pixels()
    body = _box(x / (1 + taper * y / half_y), y, half_x, half_y, radius)
    # Limbs from the shoulders outwards and down, by angle from the vertical.
    side, down = jnp.abs(x) - 0.8 * half_x, y + half_y - 1.5
    along = side * jnp.sin(angle) + down * jnp.cos(angle)
    across = side * jnp.cos(angle) - down * jnp.sin(angle)
    limb = _box(across, along - limb_length, limb_width, limb_length, limb_width)
    shape = jnp.where(limbs < 0.5, jnp.minimum(body, limb), body)
    # What lies within a wedge that opens downwards is cut away.
    wedge = jnp.where(y > -5.0, 0.3 + 0.12 * (y + 5.0) - jnp.abs(x), -100.0)
    return jnp.where(legs < 0.2, jnp.maximum(shape, wedge), shape)


def _blob(key: PRNGKeyArray) -> Image:
    """Signed distance to an ellipse joined to a box, rotated: bags, hats and the like."""
    angle, half_u, half_v, shift_u, shift_v, box_u, box_v, radius = _draw(
        key, (-jnp.pi, jnp.pi), (7, 11), (3.5, 8), (-4, 4), (-4, 4), (3, 8), (3, 8), (0.5, 2)
    )
    x, y = _pixels()
    u, v = x * jnp.cos(angle) + y * jnp.sin(angle), y * jnp.cos(angle) - x * jnp.sin(angle)
    ellipse = (jnp.sqrt((u / half_u) ** 2 + (v / half_v) ** 2) - 1) * half_v
    return jnp.minimum(ellipse, _box(u - shift_u, v - shift_v, box_u, box_v, radius))


def garment(key: PRNGKeyArray) -> Image:
    """A random filled shape with texture: values in [0, 1], ``(28, 28)`` float32."""
    key_shape, key_style, key_stripes, key_patch, key_noise = jax.random.split(key, 5)
    x, y = _pixels()
    kind, softness, grey, slope_x, slope_y, seam_depth, noise_size = _draw(
        key_style, (0, 1), (0.5, 1), (0.45, 1), (-0.02, 0.02), (-0.02, 0.02), (-0.3, 0.15), (0.02, 0.12)
    )
    distance = jnp.where(kind < 0.6, _body(key_shape), _blob(key_shape))
    # A seam just inside the outline, as folds and hems give.
    texture = grey + slope_x * x + slope_y * y + seam_depth * jnp.exp(-((distance + 2.0) ** 2))
    texture = texture + noise_size * jax.random.normal(key_noise, (PIXELS, PIXELS), jnp.float32)

    angle, wavelength, shift, depth = _draw(key_stripes, (0, jnp.pi), (2.5, 10), (0, 1), (0, 0.25))
    turns = (x * jnp.cos(angle) + y * jnp.sin(angle)) / wavelength + shift
    texture = texture + depth * jnp.sin(2 * jnp.pi * turns)

    # A print or a pocket on half of them.
    patch_x, patch_y, half_x, half_y, contrast, has_patch = _draw(
        key_patch, (-4, 4), (-4, 4), (1, 5), (1, 5), (-0.6, 0.3), (0, 1)
    )
    patch = _cover(_box(x - patch_x, y - patch_y, half_x, half_y, 0.5), 1.0)
    texture = texture + jnp.where(has_patch < 0.5, contrast, 0.0) * patch

    margin = jnp.clip(_GARMENT_BOX / 2 + 0.5 - jnp.maximum(jnp.abs(x), jnp.abs(y)), 0.0, 1.0)
    return _cover(distance, softness) * jnp.clip(texture, 0.0, 1.0) * margin


class SyntheticImages(eqx.Module):
    """Draws synthetic images as initial conditions ``(1, nx, ny)``, like ``ImageSampler`` without data.

    Splits are the caller's: other keys give other images. ``garments`` (like Fashion-MNIST) is their share, the others
    are symbols (like MNIST). Images are drawn in float32, so that one key draws the same image in any type.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    garments: float = eqx.field(static=True, kw_only=True, default=0.4)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __check_init__(self) -> None:
        if not 0.0 <= self.garments <= 1.0:
            raise ValueError(f"garments is a share between 0 and 1; got {self.garments}")

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "1 x y"]:
        return image_to_field(self.draw(key).astype(self.dtype), self.shape)

    def draw(self, key: PRNGKeyArray) -> Image:
        """Draw an image ``(28, 28)``, ``[row, column]``, values in [0, 1], float32."""
        key_kind, key_image = jax.random.split(key)
        is_garment = jax.random.bernoulli(key_kind, jnp.float32(self.garments))
        return jax.lax.cond(is_garment, garment, symbol, key_image)


DEEPEST_GRAIN = 0.7


class Collages(eqx.Module):
    """Draws collages as initial conditions ``(1, nx, ny)``: grey levels, faint edges and grain beside sharp ones.

    Half of the draws are synthetic images as they are. In the other half two of them lie on top of each other, with
    weights, and are darkened by a random grain, pixel by pixel or blurred: more kinds of texture than symbols and
    garments offer, and no data set. ``garments`` is their share among the images that collages are made of.
    """

    shape: tuple[int, int] = eqx.field(static=True)
    garments: float = eqx.field(static=True, kw_only=True, default=0.6)
    dtype: jnp.dtype | type = eqx.field(static=True, kw_only=True, default=jnp.float32)

    def __call__(self, key: PRNGKeyArray) -> Float[Array, "1 x y"]:
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
