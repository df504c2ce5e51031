"""A small moving picture: all methods side by side, as a GIF.

Drawn straight into palette indices (shades of the colour map, greys for the text): every cell of a field is a
square of whole pixels, nothing is quantised twice, and the file stays small.
"""

import io
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float32, UInt8
from matplotlib.colors import Normalize
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from closura.core import Results
from closura.reporting.figure import SECTIONS, figure
from closura.reporting.figures.fields import frames_to_show, kept_fields, pictured, reference_label
from closura.reporting.scales import colour_map, colour_scales

GREYS = 16
TILE, GAP, HEADER, CAPTION = 150, 8, 26, 20  # pixels: aim for a tile, between tiles, lines of text


@figure(
    "animation", section=SECTIONS[1], order=3, caption="The same simulation, moving.", ending=".gif",
    when=lambda results: pictured(results) and len(results.frames) > 1,
)  # fmt: skip
def animation(
    results: Results,
    *,
    simulation: int = 0,
    component: int | None = None,
    frames: int = 60,
    largest_bytes: int = 1_000_000,
) -> bytes:
    """The kept fields of one simulation as a GIF that repeats: methods side by side, the reference last.

    Where more than ``frames`` were kept, evenly spaced ones are drawn. Shades and then frames are given up
    until the file is no larger than ``largest_bytes`` (never fewer than 8 frames and 16 shades).
    """
    pictures = kept_fields(results, simulation, component)
    # Where fields fade, the colours follow the range of the reference.
    scales, _ = colour_scales(pictures, reference_label(results), range(len(results.frames)))
    shown, shades = frames_to_show(len(results.frames), frames), 128
    while True:
        # Fewer frames take the same time, so the speed of the motion does not change.
        seconds = min(frames, len(results.frames)) / 10 / len(shown)
        drawn = [_frame(results, pictures, scales[frame], frame, shades) for frame in shown]
        content = gif(drawn, shades, seconds)
        if len(content) <= largest_bytes or (shades <= 16 and len(shown) <= 8):
            return content
        if shades > 64 or len(shown) <= 8:
            shades //= 2
        else:
            few = frames_to_show(len(shown), max(8, math.ceil(0.7 * len(shown))))
            shown = [shown[index] for index in few]


def _frame(
    results: Results,
    pictures: dict[str, Float32[np.ndarray, "frame x y"]],
    scale: Normalize,
    frame: int,
    shades: int,
) -> UInt8[np.ndarray, "height width"]:
    last = len(str(results.data["step"].values[-1]))
    at = int(results.frames[frame])
    step, time = int(results.data["step"].values[at]), results.times[at]
    title = f"{results.problem}, step {step:>{last}}, t = {time:.3f}"
    shown = {name: array[frame] for name, array in pictures.items()}
    return picture_of(title, shown, scale, shades, results.attribute("origin", "lower"))


def picture_of(
    title: str, pictures: Mapping[str, Float[np.ndarray, "x y"]], scale: Normalize, shades: int, origin: str = "lower"
) -> UInt8[np.ndarray, "height width"]:
    """One frame of fields by name in palette indices: 0 .. shades - 1 the colour map, then greys, then NaN."""
    x, y = next(iter(pictures.values())).shape
    pixels = max(1, round(TILE / max(x, y)))
    width, height = pixels * x, pixels * y
    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    text = Image.new("L", (columns * (width + GAP) + GAP, HEADER + rows * (CAPTION + height + GAP)), color=255)
    draw = ImageDraw.Draw(text)
    _centred(draw, title, text.width // 2, 6, 14, text.width)
    places = []
    for number, name in enumerate(pictures):
        left = GAP + (number % columns) * (width + GAP)
        top = HEADER + (number // columns) * (CAPTION + height + GAP)
        _centred(draw, name, left + width // 2, top + 3, 12, width + GAP)
        places.append((left, top + CAPTION))
    grey = np.round(np.asarray(text, np.float64) * (GREYS - 1) / 255).astype(np.uint8)
    picture = (shades + grey).astype(np.uint8)
    for (left, top), array in zip(places, pictures.values(), strict=True):
        field = array.T.astype(np.float64)
        finite = np.isfinite(field)
        fraction = np.clip(np.asarray(scale(np.where(finite, field, scale.vmin or 0.0))), 0.0, 1.0)
        index = np.where(finite, np.minimum(fraction * shades, shades - 1), shades + GREYS).astype(np.uint8)
        if origin == "lower":
            index = index[::-1]
        picture[top : top + height, left : left + width] = index.repeat(pixels, 0).repeat(pixels, 1)
    return picture


def _centred(draw: ImageDraw.ImageDraw, text: str, x: int, y: int, size: int, room: int) -> None:
    """Text centred at x, made smaller until it fits."""
    while True:
        font = ImageFont.truetype(findfont("DejaVu Sans"), size)
        width = draw.textlength(text, font=font)
        if width <= room or size <= 7:
            break
        size -= 1
    draw.text((x - width / 2, y), text, fill=0, font=font)


def gif(frames: list[UInt8[np.ndarray, "height width"]], shades: int, seconds: float) -> bytes:
    """Frames of palette indices (:func:`picture_of`) as a GIF that repeats; the last one stays for a second."""
    colours = colour_map("viridis")(np.linspace(0.0, 1.0, shades))[:, :3]
    greys = np.repeat(np.linspace(0.0, 1.0, GREYS)[:, None], 3, axis=1)
    palette = np.round(255 * np.concatenate([colours, greys, np.full((1, 3), 0.82)])).astype(np.uint8)
    images = []
    for frame in frames:
        image = Image.fromarray(frame)
        image.putpalette(palette.tobytes())
        images.append(image)
    durations = [round(1000 * seconds)] * len(images)
    durations[-1] += 1000  # rest at the end before it starts again
    content = io.BytesIO()
    images[0].save(content, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0)
    return content.getvalue()
