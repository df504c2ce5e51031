"""Writing files and folders so that a kill at any moment leaves the old content or the new, never a mixture."""

import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: str | Path, content: str | bytes) -> Path:
    """Write through a temporary file beside ``path`` and rename it: readers see the old or the new file.

    A symbolic link stays, and the file that it names is replaced; what has the old file's permissions keeps them. A
    pipe is written to, if somebody reads from it.

    OSError if the file cannot be written, or ``path`` is a folder, a device or a socket.
    """
    target = _target(path)
    data = content.encode() if isinstance(content, str) else content
    if _is(target, stat.S_ISFIFO):
        _write_pipe(target, data)
        return Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return Path(path)


def check_file(path: str | Path | None) -> None:
    """Refuse a file that :func:`write_atomically` could not write, before the work whose result it is to hold.

    None is no file, and fine.

    OSError if ``path`` is a folder, a device or a socket, or nothing can be written there.
    """
    if path is None:
        return
    target = _target(path)
    if _is(target, stat.S_ISFIFO):
        return
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{path} is write-protected: choose another file")
    _check_parent(path, target.parent)


def check_folder(path: str | Path | None) -> None:
    """Refuse a folder in which no file could be made, before the work whose results it is to hold.

    It need not exist. None is no folder, and fine.

    OSError if ``path``, or what stands above it, is no folder, or nothing can be written there.
    """
    if path is None:
        return
    _check_parent(path, _resolved(path))


def own_file(path: str | Path) -> bool:
    """Whether a file lies in its folder, rather than a link that leads out of it: in what others sent, it may."""
    path = Path(path)
    return path.is_file() and _resolved(path).is_relative_to(_resolved(path.parent))


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A folder to make beside ``path``, which at the end takes its name and the place of what is there.

    A symbolic link stays, and the folder that it names is replaced. After an error what is there stays, and nothing
    else. Whether it may be replaced is to be asked before.
    """
    path = _resolved(path)
    mark = secrets.token_hex(4)
    temporary, old = (path.with_name(f".{path.name[:200]}.{mark}.{part}") for part in ("new", "old"))
    try:
        yield temporary
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        for _ in range(4):  # threads of zarr still put chunks there, and make the folder for them, for a moment
            shutil.rmtree(temporary, ignore_errors=True)
            time.sleep(0.1)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _resolved(path: str | Path) -> Path:
    try:
        return Path(path).resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12 say so of links in a circle
        raise OSError(f"{path} is a link that leads to itself") from error


def _target(path: str | Path) -> Path:
    """What ``path`` names when links are followed: a file, a pipe, or nothing yet."""
    target = _resolved(path)
    if target.is_symlink():
        raise OSError(f"{path} is a link that leads to itself")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not target.name:
            raise OSError(f"{str(path)!r} names no file") from None
        return target
    except NotADirectoryError as error:
        raise NotADirectoryError(f"{path} cannot be written: {target.parent} is no folder") from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder, where a file is to be written: name a file")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise OSError(f"{path} is a device or a socket, where a file is to be written: name a file")
    if _is_printed_to(target):
        raise OSError(f"{path} is the file that all is printed to (>): name another, or what is printed would be lost")
    return target


def _is_printed_to(target: Path) -> bool:
    """Whether standard output or error goes to a file: replaced, it would lose what is printed after."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(target.stat(), os.fstat(descriptor)):
                return stat.S_ISREG(target.stat().st_mode)
    return False


def _is(path: Path, kind: object) -> bool:
    try:
        return bool(kind(path.stat().st_mode))  # type: ignore[operator]
    except FileNotFoundError:
        return False


def _write_pipe(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        raise OSError(f"nobody reads from the pipe {path}: start its reader first, or name a file") from error
    os.set_blocking(descriptor, True)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
    except BrokenPipeError as error:
        raise OSError(f"the reader of the pipe {path} left before all was written") from error


def _check_parent(path: str | Path, folder: Path) -> None:
    """Whether files can be made in a folder, which may still have to be made: what is right is tried, not asked."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is no folder")
    probe = folder / f".closura-{secrets.token_hex(4)}"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error} in {folder}") from error
