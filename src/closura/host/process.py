"""One worker: a process that steps simulations, started, asked, timed and ended here."""

import contextlib
import fcntl
import mmap
import os
import select
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
"""Where files are memory; where there is no such folder, the one for temporary files."""
GLANCE = 0.5
"""Seconds between looks whether a process that does not answer has ended: others may hold its pipe open."""
ENDING = 0.2
"""Seconds that a process has to end in, when it is asked to."""
PRINTED = 1 << 20
"""Bytes of what a program has printed from which on they are dropped; the last line is told with a failure."""


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
        self._owner, self._killed = os.getpid(), False
        self._files = contextlib.ExitStack()
        try:
            self._process = self._begin(command, layout, folder, environment)
        except OSError as error:
            self._files.close()
            raise WorkerFailed("crashed", f"{command[0]} cannot be started: {error.strerror}") from error
        self._poll = select.poll()
        self._poll.register(self._replies, select.POLLIN)
        self._poll.register(self._requests, 0)  # tells when nobody can read from it any more
        try:
            self._answer(start, "start")
        except WorkerFailed:
            self.close()
            raise

    def _begin(
        self, command: tuple[str, ...], layout: Layout, folder: str | None, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Make memory and pipes, and start the process with its ends of them, which are closed here."""
        with contextlib.ExitStack() as theirs:
            file, name = _shared_file(layout.size, theirs, self._files)
            self._map = mmap.mmap(file, layout.size)
            self._map[: 8 * HEADER] = np.asarray(layout.header(), np.int64).tobytes()
            self.memory = Memory(memoryview(self._map), layout)
            requests, self._requests = os.pipe()
            theirs.callback(os.close, requests)
            self._files.callback(os.close, self._requests)
            self._replies, replies = os.pipe()
            self._files.callback(os.close, self._replies)
            theirs.callback(os.close, replies)
            self._output = self._files.enter_context(tempfile.TemporaryFile())
            fcntl.fcntl(self._output, fcntl.F_SETFL, os.O_APPEND)  # so that it goes on at the end of what is left
            own = {MEMORY: name, REQUESTS: str(requests), REPLIES: str(replies)}
            # One thread each: several workers share the processors.
            threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
            return subprocess.Popen(
                command, cwd=folder, env={**threads, **os.environ, **environment, **own},
                pass_fds=(file, requests, replies), stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

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
            ended.
        """
        self.memory.dt[0] = dt
        if action is not None:
            self.memory.action[...] = action
        self._ask(STEP, "step")
        return self.memory.state

    def close(self) -> None:
        """End the process, with what it has started."""
        if os.getpid() == self._owner:  # a copy of this process, made by a fork, lets it run
            with contextlib.suppress(OSError):
                os.write(self._requests, QUIT)
            self._ended_within(ENDING)
            self.kill()
        self._files.close()
        self._requests = self._replies = -1

    def kill(self) -> None:
        """End the process now, with what it has started in its session."""
        if not self._killed:  # once: later its number may be another's
            self._killed = True
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _ask(self, request: bytes, what: str) -> None:
        if self._answered(0.0) and (stray := os.read(self._replies, 16)):
            self.kill()
            raise WorkerFailed("crashed", f"the process answered {stray!r} before it was asked for a {what}")
        with contextlib.suppress(OSError):  # it has ended, or closed its pipe: the answer says which
            os.write(self._requests, request)
        self._answer(self.limit, what)

    def _answered(self, seconds: float) -> bool:
        """Whether there is an answer, or the end of the pipe, before so many seconds are over."""
        found = {file for file, _ in self._poll.poll(1000 * seconds)}
        if found == {self._requests} and seconds:  # it listens no more: there may be a last answer
            time.sleep(min(seconds, ENDING))
            found = {file for file, _ in self._poll.poll(0)}
        return self._replies in found

    def _answer(self, limit: float, what: str) -> None:
        begun = time.monotonic()
        while not self._answered(max(0.0, min(GLANCE, begun + limit - time.monotonic()))):
            if self._process.poll() is not None or self._deaf():
                break
            if (taken := time.monotonic() - begun) >= limit:
                self.kill()
                raise WorkerFailed("timed out", f"no answer to {what} within {taken:.3g} s")
        answer = os.read(self._replies, 16) if self._answered(0.0) else b""
        if answer == DONE:
            self._forget_output()
            return
        if answer == FAILED:
            raise WorkerFailed("refused", f"the solver reports that its {what} failed{self._said()}")
        if answer:
            how = f"must answer a {what} with {DONE!r} or {FAILED!r}; got {answer!r}"
        elif self._ended_within(ENDING):
            how = f"ended in its {what} ({self._ending()})"
        else:
            how = f"closed its pipe in its {what}"
        self.kill()
        raise WorkerFailed("crashed", f"the process {how}{self._said()}")

    def _deaf(self) -> bool:
        return any(file == self._requests for file, _ in self._poll.poll(0))

    def _ended_within(self, seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.returncode is not None

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

    def _forget_output(self) -> None:
        if os.fstat(self._output.fileno()).st_size > PRINTED:
            os.ftruncate(self._output.fileno(), 0)


def _shared_file(size: int, theirs: contextlib.ExitStack, ours: contextlib.ExitStack) -> tuple[int, str]:
    """A file in memory, of a size that nobody can change where the system knows such files, and its name there.

    Without a seal a program that shortens its file would end this process with it (SIGBUS); and a file without a name
    is gone with the last process that has it open.
    """
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("closura", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        theirs.callback(os.close, file)
        os.ftruncate(file, size)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return file, f"/proc/self/fd/{file}"
    where = SHARED if SHARED.is_dir() and os.access(SHARED, os.W_OK) else None
    file, name = tempfile.mkstemp(prefix="closura-worker-", dir=where)
    theirs.callback(os.close, file)
    ours.callback(Path(name).unlink, missing_ok=True)
    os.ftruncate(file, size)
    return file, name
