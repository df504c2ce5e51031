"""The IDX file format, in which MNIST and its relatives are published.

A file is: two zero bytes, one byte for the type of the numbers, one byte for the number of axes, one
big-endian 32-bit size per axis, then the numbers in row-major order. Published files are usually compressed
with gzip.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "The IDX
file format".
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_HINT = (
    "get a whole copy: delete the file, then `closura data fetch mnist` (or fashion-mnist), "
    "or copy it again from where it came"
)


def _content(path: Path, size: int = -1) -> bytes:
    """The first ``size`` bytes of a file (default: all), decompressed if it starts as gzip files do."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; get it with `closura data fetch mnist` (or fashion-mnist)")
    with path.open("rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        if not compressed:
            return file.read(size)
        try:
            with gzip.open(file) as stream:
                return stream.read(size)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: truncated or damaged gzip file ({error}); {_HINT}") from error


def _header(path: Path, head: bytes) -> tuple[str, tuple[int, ...], int]:
    """Type, shape and length in bytes of the header."""
    if len(head) < 4:
        raise ValueError(f"{path}: truncated: expected an IDX header, got {len(head)} bytes; {_HINT}")
    if head[:2] != b"\0\0" or head[2] not in _TYPES or head[3] == 0:
        types = ", ".join(f"{code:02x}" for code in _TYPES)
        raise ValueError(
            f"{path}: no IDX file: expected it to start with 00 00, a type ({types}) "
            f"and a number of axes, got {head[:4].hex(' ')}; {_HINT}"
        )
    length = 4 + 4 * head[3]
    if len(head) < length:
        raise ValueError(f"{path}: truncated: expected a header of {length} bytes, got {len(head)}; {_HINT}")
    shape = tuple(int(size) for size in np.frombuffer(head, ">u4", count=head[3], offset=4))
    return _TYPES[head[2]], shape, length


def idx_shape(path: str | Path) -> tuple[int, ...]:
    """Shape of the array in an IDX file, from its header alone.

    Parameters
    ----------
    path
        The file, plain or compressed with gzip (told apart by content, not by name).
    """
    path = Path(path)
    return _header(path, _content(path, 4 + 4 * 255))[1]


def read_idx(path: str | Path) -> np.ndarray:
    """Read an IDX file: ``(n, rows, columns)`` for images, ``(n,)`` for labels.

    Parameters
    ----------
    path
        The file, plain or compressed with gzip (told apart by content, not by name).

    Returns
    -------
    np.ndarray
        A writable array of the file's type and shape, in the machine's byte order.
    """
    path = Path(path)
    content = _content(path)
    dtype, shape, start = _header(path, content)
    expected = math.prod(shape) * np.dtype(dtype).itemsize
    found = len(content) - start
    if found != expected:
        what = "truncated" if found < expected else "too long"
        raise ValueError(f"{path}: {what}: expected {expected} bytes for shape {shape}, got {found}; {_HINT}")
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(array.dtype.newbyteorder("="))
