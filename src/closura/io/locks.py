"""One writer for each folder: runs, data sets and caches are locked while a process writes to them.

A lock is a file beside the folder, ``.NAME.lock``, that says which process of which host holds it and since when. The
operating system holds it too (``flock``, which NFS passes on to its server), and lets go when the process ends, however
it ends: a lock that a killed process of this host left is taken over. Where the file system knows no locks, or the
holder was on another host, which may not see them, the file alone decides, and the error says how to break the lock.
"""

import contextlib
import errno
import json
import os
import shlex
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows, where the file alone decides
    fcntl = None  # type: ignore[assignment]

BEAT = 30.0
"""Seconds between the signs of life that a holder gives: the file's time of change."""


class FolderInUse(OSError):
    """A folder to which another process is writing."""


@contextmanager
def locked(folder: str | Path, what: str = "run") -> Iterator[None]:
    """Hold the lock of a folder, which need not exist yet; FolderInUse if another process holds it, or may hold it."""
    folder = Path(folder).resolve()
    path = lock_of(folder)
    made = [parent for parent in folder.parents if not parent.exists()]
    descriptor = _acquire(path, folder, what)
    ended = threading.Event()
    beat = threading.Thread(target=_beat, args=(descriptor, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        if _still(path, descriptor):  # it may have been broken, and be another's
            path.unlink()  # while the lock is held
        os.close(descriptor)
        with contextlib.suppress(OSError):
            for parent in made:  # for the lock's sake alone, if nothing was written
                parent.rmdir()


def lock_of(folder: str | Path) -> Path:
    """The file of a folder's lock."""
    folder = Path(folder).resolve()
    return folder.with_name(f".{folder.name[:200]}.lock")


def _acquire(path: Path, folder: Path, what: str) -> int:
    missed = 0
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder went with another's lock, or no files can be made there, as in /proc
            missed += 1
            if missed == 1000:
                raise
            continue
        try:
            held = _flock(descriptor)
            holder = _read(descriptor)
            if held is False or (holder and _may_live(holder, held)):
                raise FolderInUse(_refusal(path, folder, what, holder, descriptor, certain=held is False))
            if not _still(path, descriptor):  # its holder has just let go: another file stands there, or none
                os.close(descriptor)
                continue
            now = {"host": socket.gethostname(), "process": os.getpid(), "since": time.time()}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, (json.dumps(now) + "\n").encode(), 0)
            os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _flock(descriptor: int) -> bool | None:
    """Whether the system's lock was taken; None where it has none."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
            return False
        return None
    return True


def _read(descriptor: int) -> dict[str, Any]:
    """Who holds the lock, or held it; empty where nobody wrote, or a kill cut it short."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return holder if isinstance(holder, dict) else {}


def _may_live(holder: dict[str, Any], held: bool | None) -> bool:
    """Whether a holder may still run although the system's lock is not in the way."""
    if holder.get("host") != socket.gethostname():
        return True
    if held:
        return False
    try:
        os.kill(int(holder["process"]), 0)
    except ProcessLookupError:
        return False
    except (KeyError, TypeError, ValueError, OSError):
        return True
    return True


def _still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _refusal(path: Path, folder: Path, what: str, holder: dict[str, Any], descriptor: int, *, certain: bool) -> str:
    who = f"process {holder.get('process', 'unknown')} on {holder.get('host', 'an unknown host')}"
    now = time.time()
    since = holder.get("since")
    age = f", started {_ago(now - since)}" if isinstance(since, int | float) else ""
    seen = f", last sign of life {_ago(now - os.fstat(descriptor).st_mtime)}"
    text = f"the {what} {folder} is in use: {who} writes to it{age}{seen}"
    if certain:
        return f"{text}. Wait until it ends, stop it, or choose another folder"
    return f"{text}. If that process no longer runs, break its lock: rm {shlex.quote(str(path))}"


def _ago(seconds: float) -> str:
    seconds = max(seconds, 0.0)
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} seconds ago"


def _beat(descriptor: int, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        try:
            os.utime(descriptor)
        except OSError:
            return
