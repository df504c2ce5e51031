"""Writing files and folders so that a kill at any moment leaves the old content or the new, never a mixture."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write through a temporary file beside ``path`` and rename it: readers see the old or the new file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A folder to make beside ``path``, which at the end takes its name and the place of what is there.

    After an error what is there stays, and nothing else. Whether it may be replaced is to be asked before.
    """
    mark = secrets.token_hex(4)
    temporary, old = (path.with_name(f".{path.name}.{mark}.{part}") for part in ("new", "old"))
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
