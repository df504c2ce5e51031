"""Stopping when asked to by SIGINT or SIGTERM: at once, or, where that would lose work, at its next step.

Outside of the main thread signals are the caller's business, and nothing here takes notice of them.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

Handler = Callable[[int, FrameType | None], None]

GRACE = 2.0
"""Seconds that compiled code, which no signal reaches, is waited for before a command ends without it."""


class Interrupted(RuntimeError):
    """Long work was asked to stop, and has saved what it needs to go on."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a wish to stop, the second into a KeyboardInterrupt.

    Yields a function that says whether there is such a wish: long work looks at it between its steps.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    with _handling(ask):
        yield lambda: bool(asked)


@contextmanager
def stopped_at_once(message: str, last: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end what is done within, by Interrupted: for work with no steps, as compiling is.

    Signals that the process was started to ignore, as shells do for what runs in the background, count too.
    """
    asked: list[int] = []

    def leave(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        raise KeyboardInterrupt  # not Interrupted: libraries catch errors, and say something else instead

    with _handling(leave):
        _at_once.append((message, last))
        try:
            yield
        except KeyboardInterrupt as error:
            if len(asked) != 1:
                raise
            raise Interrupted(message) from error
        finally:
            _at_once.pop()


@contextmanager
def leaving_promptly(say: Callable[[str], None]) -> Iterator[None]:
    """End the process soon after a signal within :func:`stopped_at_once`, for commands.

    Python raises errors when compiled code returns to it, which may take minutes (XLA compiles, a fine simulation
    runs). So a thread waits for signals too, and where the error has not ended the work after ``GRACE`` seconds, it
    does what was asked for as ``last``, says the message and ends the process with status 130. All files are written
    so that a kill at any moment leaves the old ones or the new.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    except ValueError:  # not in the main thread
        os.close(reading)
        os.close(writing)
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while (numbers := os.read(reading, 1)) and numbers != b"\0":
            if _at_once and numbers[0] in (signal.SIGINT, signal.SIGTERM):
                message, last = _at_once[-1]
                if not ended.wait(GRACE):
                    with suppress(Exception):
                        last()
                    _end_others()
                    say(message)
                    os._exit(130)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    except BaseException:
        _end_others()
        raise
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")
        watcher.join()
        os.close(reading)
        os.close(writing)


def before_leaving(end: Callable[[], None]) -> None:
    """Call a function where an error or a signal leaves :func:`leaving_promptly`: to end other processes."""
    _before.append(end)


def _end_others() -> None:
    for each in _before:
        with suppress(Exception):
            each()


_at_once: list[tuple[str, Callable[[], None]]] = []
_before: list[Callable[[], None]] = []


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    try:
        before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
