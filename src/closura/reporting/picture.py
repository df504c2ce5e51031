"""Pictures inside a page."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

MEDIA_TYPES = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def data_uri(path: Path) -> str:
    """A picture as the address of an ``img`` element.

    Raises
    ------
    ValueError
        If a page cannot show the file.
    FileNotFoundError
        If it is missing.
    """
    kind = MEDIA_TYPES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"cannot show {path.name} in a page; expected one of {', '.join(MEDIA_TYPES)}")
    return f"data:{kind};base64,{base64.b64encode(small(path)).decode()}"


def small(path: Path) -> bytes:
    """The file's bytes; pictures with a palette of 256 colours where that is smaller (a third, for figures)."""
    content = path.read_bytes()
    if path.suffix.lower() != ".png":
        return content
    with Image.open(path) as image:
        reduced = BytesIO()
        flat = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        flat.save(reduced, "PNG", optimize=True)
    return min(content, reduced.getvalue(), key=len)
