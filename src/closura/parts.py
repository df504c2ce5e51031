"""Results of several files, of which one that fails costs no other."""

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from closura.io.streams import printable


class NotAllWritten(RuntimeError):
    """Some of several results could not be written; all others were.

    Attributes
    ----------
    failures
        What went wrong, by name.
    written
        Files that were written, by name.
    """

    def __init__(self, failures: Mapping[str, str], written: Mapping[str, Path]) -> None:
        self.failures, self.written = dict(failures), dict(written)
        super().__init__("not all could be written: " + "; ".join(f"{k} ({v})" for k, v in self.failures.items()))


class Parts:
    """Files that are written one after another, whatever happens to one of them.

    ``written`` and ``failures`` say by name how it went; :meth:`close` raises what went wrong, at the end.
    """

    def __init__(self) -> None:
        self.written: dict[str, Path] = {}
        self.failures: dict[str, str] = {}

    def write(self, name: str, path: Path, function: Callable[[Path], Any]) -> Any:
        """What a function that writes a file returns; None if it fails, or has nothing to write."""
        try:
            found = function(path)
        except NotAllWritten as error:
            self.failures |= error.failures
            self.written |= error.written
        except Exception as error:  # whatever a drawing library raises, the numbers are worth more
            self.failures[name] = reason(error)
        else:
            if found is not None:
                self.written[name] = path
            return found
        return None

    def include(self, function: Callable[[], Mapping[str, Path]]) -> dict[str, Path]:
        """The files of a function that writes several, and its failures with ours."""
        try:
            return dict(function())
        except NotAllWritten as error:
            self.failures |= error.failures
            return error.written
        except Exception as error:
            self.failures["figures"] = reason(error)
            return {}

    def close(self) -> None:
        """Say what could not be written."""
        if self.failures:
            raise NotAllWritten(self.failures, self.written)


def reason(error: Exception) -> str:
    """An error in one line, with its kind where its words alone say too little."""
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    return printable(said if isinstance(error, OSError) and said else f"{type(error).__name__}: {said}".rstrip(": "))


def file_name(name: str) -> str:
    """A name as part of a file's name: nothing in it leaves a folder, and different names stay different.

    Names that no file system minds stay; others, and those of more than 200 bytes, end in digits that belong to them.
    """
    plain = re.sub(r'[/\\<>:"|?*\x00-\x1f\x7f-\x9f]|^\.+', "_", name)
    data = name.encode(errors="surrogatepass")
    if plain == name and 0 < len(data) <= 200:
        return name
    return f"{plain[:50]}~{sha256(data).hexdigest()[:8]}"
