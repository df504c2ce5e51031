"""Writing files so that a kill at any moment leaves the old content or the new, never a mixture."""

import os
import secrets
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
