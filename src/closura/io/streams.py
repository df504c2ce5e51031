"""Printing that costs no work: what a terminal lacks is replaced, a closed pipe is quiet, a full disk is said last."""

import codecs
import contextlib
import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PLAIN = {
    "±": "+/-", "×": "x", "–": "-", "—": "-", "−": "-", "≤": "<=", "≥": ">=", "≈": "~", "→": "->", "·": ".", "µ": "u",
    "“": '"', "”": '"', "‘": "'", "’": "'", "•": "*", "█": "#", "━": "-", "─": "-", "│": "|", "ω": "omega", "π": "pi",
}  # fmt: skip
"""Characters that a terminal may lack, and how they are written with those that all have."""


def plain(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in plain characters: an error handler of :mod:`codecs`, "plain" by name."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_plain(character, error.encoding) for character in text), error.end


def _plain(character: str, encoding: str) -> str:
    for text in (PLAIN.get(character), unicodedata.normalize("NFKD", character)):
        kept = (text or "").encode(encoding, "ignore").decode(encoding)
        if kept:
            return kept
    return "?"


codecs.register_error("plain", plain)

_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    r"""Text from files, names or other people, in which nothing controls the terminal that it is printed to.

    What would break a line, move the cursor, colour, turn the direction of writing, or cannot be written at all, is
    shown as its escape: ``\x1b``, ``\n``. ``keep`` holds characters that may stay.
    """
    return _HIDDEN.sub(lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text)


class LastingStream:
    """A text stream whose writing never raises; all else is the stream's own.

    After the first error nothing more is written. ``failure`` says what it was; None where all went well or only the
    reader of a pipe has left, which is how ``| head`` works.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lost = False
        self.failure: str | None = None
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.reconfigure(errors="plain")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; the number of characters, whether they arrived or not."""
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        """Flush."""
        self._try("flush")

    def _try(self, name: str, *arguments: str) -> None:
        if self._lost:
            return
        try:
            getattr(self._stream, name)(*arguments)
        except (OSError, ValueError) as error:  # ValueError: the stream has been closed
            self._lost = True
            if not isinstance(error, BrokenPipeError):
                self.failure = str(error)
            # What is still in its buffer would fail once more when Python ends.
            with contextlib.suppress(AttributeError, ValueError, OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self._stream.fileno())
                os.close(null)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Standard output and error become :class:`LastingStream` within."""
    _reserve_descriptors()
    before = sys.stdout, sys.stderr
    null = open(os.devnull, "w")  # noqa: SIM115 - what is closed (``>&-``) is None, which not all libraries expect
    streams = [LastingStream(stream or null) for stream in before]
    sys.stdout, sys.stderr = streams
    try:
        yield
        streams[0].flush()
        if streams[0].failure:
            print(f"error: not all could be printed: {streams[0].failure}", file=sys.stderr)
            sys.exit(1)
    finally:
        for stream in streams:
            stream.flush()
        sys.stdout, sys.stderr = before
        null.close()


def _reserve_descriptors() -> None:
    """Where a standard stream is closed (``>&-``), the next file that is opened would get its number and its text."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
