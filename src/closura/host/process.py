"""One worker: a process that steps simulations, started, asked, timed and ended here."""

import contextlib
import mmap
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from closura.host.protocol import DONE, FAILED, HEADER, MEMORY, QUIT, REPLIES, REQUESTS, RESET, STEP, Layout, Memory

SHARED = Path("/dev/shm")
"""Where files are memory, on Linux; elsewhere the folder for temporary files."""


class WorkerFailed(Exception):
    """A worker that did not answer as it should; ``kind`` is "crashed", "timed out" or "refused"."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


class Worker:
    """A running process of a solver.

    Parameters
    ----------
    command
        The program and its arguments.
    layout
        What is exchanged.
    folder
        Where it runs.
    environment
        Further environment variables.
    start, limit
        Seconds that it may take to be ready, and for a step.

    Raises
    ------
    WorkerFailed
        If it does not start.
    """

    def __init__(
        self,
        command: tuple[str, ...],
        layout: Layout,
        *,
        folder: str | None = None,
        environment: Mapping[str, str] = {},
        start: float = 60.0,
        limit: float = 60.0,
    ) -> None:
        self.limit = limit
        self.holds: bytes | None = None
        """Digest of the state that it holds, for solvers with a memory of their own."""
        self._closed = False
        where = SHARED if SHARED.is_dir() and os.access(SHARED, os.W_OK) else None
        number, name = tempfile.mkstemp(prefix="closura-worker-", dir=where)
        self._path = Path(name)
        with open(number, "r+b") as file:
            file.truncate(layout.size)
            self._map = mmap.mmap(file.fileno(), layout.size)
        self._map[: 8 * HEADER] = np.asarray(layout.header(), np.int64).tobytes()
        self.memory = Memory(memoryview(self._map), layout)
        theirs, self._requests = os.pipe()
        self._replies, answers = os.pipe()
        own = {MEMORY: name, REQUESTS: str(theirs), REPLIES: str(answers)}
        # One thread each: several workers share the processors.
        threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        try:
            self._process = subprocess.Popen(
                command, cwd=folder, env={**threads, **os.environ, **environment, **own}, pass_fds=(theirs, answers),
                stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._close_files()
            raise WorkerFailed("crashed", f"{command[0]} cannot be started: {error.strerror}") from error
        finally:
            os.close(theirs)
            os.close(answers)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._replies, selectors.EVENT_READ)
        try:
            self._answer(start, "start")
        except WorkerFailed:
            self.close()
            raise

    @property
    def process_id(self) -> int:
        """The process's number."""
        return self._process.pid

    def reset(self, state: NDArray, parameters: NDArray) -> None:
        """Begin, or go on, from a state."""
        self.memory.state[...] = state
        self.memory.parameters[...] = parameters
        self._ask(RESET, "reset")

    def step(self, dt: float, action: NDArray | None = None) -> NDArray[np.float64]:
        """Advance, and the new state (a view of the memory).

        Raises
        ------
        WorkerFailed
            If the worker says so ("refused"; it can be asked again), ended, or took longer than its limit: then it is
            closed.
        """
        self.memory.dt[0] = dt
        if action is not None:
            self.memory.action[...] = action
        self._ask(STEP, "step")
        return self.memory.state

    def close(self) -> None:
        """End the process, with what it has started."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            os.write(self._requests, QUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        self._close_files()

    def _close_files(self) -> None:
        os.close(self._requests)
        os.close(self._replies)
        self._output.close()
        self._path.unlink(missing_ok=True)

    def _ask(self, request: bytes, what: str) -> None:
        with contextlib.suppress(OSError):  # it has ended: the answer says how
            os.write(self._requests, request)
        self._answer(self.limit, what)

    def _answer(self, limit: float, what: str) -> None:
        begun = time.monotonic()
        if not self._selector.select(limit):
            self._kill()
            raise WorkerFailed("timed out", f"no answer to {what} within {time.monotonic() - begun:.3g} s")
        answer = os.read(self._replies, 1)
        if answer == DONE:
            return
        if answer == FAILED:
            raise WorkerFailed("refused", f"the solver reports that its {what} failed{self._said()}")
        self._kill()
        if answer:
            raise WorkerFailed("crashed", f"expected {DONE!r} or {FAILED!r} in answer to {what}; got {answer!r}")
        raise WorkerFailed("crashed", f"the process ended in its {what} ({self._ending()}){self._said()}")

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ending(self) -> str:
        code = self._process.returncode
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                return signal.Signals(-code).name
        return f"exit status {code}"

    def _said(self) -> str:
        """The last line that it has printed."""
        self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, self._output.tell() - 2000))
        lines = [line.strip() for line in self._output.read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:300]}" if lines else ""
