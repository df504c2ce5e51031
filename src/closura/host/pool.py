"""Several workers of one solver: simulations of a batch are shared out among them, and what fails is counted."""

import atexit
import contextlib
import logging
import os
import resource
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closura.host.holders import Asked, Holders, Home
from closura.host.process import Worker, WorkerFailed
from closura.host.protocol import Layout
from closura.interruption import before_leaving

LOG = logging.getLogger("closura.host")
FILES, OTHER_FILES = 4, 256
"""Open files for each process (its memory, two pipes, what it prints), and for all else."""


@dataclass(frozen=True)
class Program:
    """A solver that runs in processes of its own.

    Parameters
    ----------
    command
        The program and its arguments. It speaks the protocol of :mod:`closura.host.protocol`.
    folder
        Where it runs (default: the current folder).
    environment
        Further environment variables, name and value.
    actions
        Channels of the actions that the program applies itself. By default (0) closura subtracts them from the state
        before each step, and the program needs to know nothing of closures.
    has_memory
        Whether the next state depends on more than state and parameters (earlier states, random numbers of its own).
        Such a program keeps one process for each simulation, and a simulation that is lost is not run again.
    processes
        How many processes a program with a memory may have: more than all simulations that go on at a time, those of
        training and of validation for one.
    limit
        Seconds that a step may take before its process is ended.
    start
        Seconds until the program is ready.
    """

    command: tuple[str, ...]
    folder: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    actions: int = 0
    has_memory: bool = False
    processes: int = 64
    limit: float = 60.0
    start: float = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.command, str) or not self.command:
            raise ValueError(f"command must be a tuple: the program and its arguments; got {self.command!r}")
        object.__setattr__(self, "command", tuple(str(word) for word in self.command))
        if not self.limit > 0 or not self.start > 0:
            raise ValueError(f"limit and start must be positive seconds; got {self.limit} and {self.start}")

    def worker(self, layout: Layout) -> Worker:
        """Start a process."""
        return Worker(
            self.command, layout, folder=self.folder or None, environment=dict(self.environment), start=self.start,
            limit=self.limit,
        )  # fmt: skip


@dataclass
class Counts:
    """What a pool has done.

    Attributes
    ----------
    steps
        Steps that were made.
    failures
        Failures by kind: "crashed", "timed out", "refused", "not finite"; ``said`` is what the first of each was.
    repeated
        Steps that were made again by another process, after theirs had crashed or timed out.
    lost
        Steps that gave no state: their simulations end there.
    forgotten
        Simulations of a solver with a memory that went on from their state alone, in another process.
    batches
        Batches of steps that were asked for.
    busy
        Seconds in which some batch was being stepped.
    waited
        Seconds between these: learning, validation, all that is not stepping.
    """

    steps: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    said: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    lost: int = 0
    forgotten: int = 0
    batches: int = 0
    busy: float = 0.0
    waited: float = 0.0

    def words(self) -> str:
        """All that counts in a line."""
        parts = [f"{self.steps} steps in {self.busy:.3g} s, {self.waited:.3g} s between them"]
        if self.failures:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failures.items()))
            parts.append(f"{kinds}: {self.repeated} steps repeated, {self.lost} lost")
        if self.forgotten:
            parts.append(f"{self.forgotten} simulations went on without their memory")
        return "; ".join(parts)


class Pool:
    """Workers of one program.

    Parameters
    ----------
    program
        The program.
    layout
        What is exchanged with it.
    workers
        How many processes work at a time.
    make
        Starts a worker (default: a process on this machine).
    ended
        Called when all workers have ended.
    """

    def __init__(
        self,
        program: Program,
        layout: Layout,
        workers: int,
        *,
        make: Callable[[], Asked] | None = None,
        ended: Callable[[], object] = lambda: None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"need at least one worker; got {workers}")
        self.program, self.layout, self.workers, self.counts = program, layout, workers, Counts()
        self._make: Callable[[], Asked] = make or (lambda: program.worker(layout))
        self._last = ended
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="closura-worker")
        self._idle: list[Asked] = []
        self._holders = Holders(_possible(program.processes)) if program.has_memory else None
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._running, self._since, self._ended = 0, 0.0, False
        self._every: set[Asked] = set()

    def step(
        self,
        states: NDArray,
        parameters: NDArray,
        dt: NDArray,
        actions: NDArray | None = None,
        *,
        seen_as: Any = np.float64,
    ) -> NDArray[np.float64]:
        """Advance a batch: states ``(batch, component, *grid)``, NaN where a simulation is lost.

        ``parameters`` are ``(batch, parameter)``, ``dt`` is ``(batch,)``, ``actions`` ``(batch, action, *grid)``;
        ``seen_as`` is the precision in which the caller keeps states.

        Raises
        ------
        ValueError
            If a program with a memory would need more processes than it may have.
        """
        found = np.full(states.shape, np.nan)
        # Workers that hold simulations serve one batch after the other; others may serve several at a time.
        with self._turn if self._holders else contextlib.nullcontext(), self._timed():
            homes = self._holders.homes(states) if self._holders else []

            def one(i: int) -> None:
                action = None if actions is None else actions[i]
                result = self._one(states[i], parameters[i], float(dt[i]), action, homes[i] if homes else None)
                if result is not None:
                    found[i] = result

            list(self._threads.map(one, range(len(states))))
            if self._holders:
                self._holders.remember(found.astype(seen_as).astype(np.float64), homes)
                self.counts.forgotten = self._holders.forgotten
        return found

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time of a batch, and that before it if no other runs."""
        with self._lock:
            self.counts.batches += 1
            self._running += 1
            if self._running == 1:
                now = time.monotonic()
                self.counts.waited += now - self._since if self._since else 0.0
                self._since = now
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if self._running == 0:
                    now = time.monotonic()
                    self.counts.busy += now - self._since
                    self._since = now

    def kill(self) -> None:
        """End all processes now, and start no others: steps that are being made are lost."""
        self._ended = True
        for worker in list(self._every):
            worker.kill()

    def close(self) -> None:
        """End all processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._every:
            worker.close()
        self._every.clear()
        self._idle.clear()
        self._last()

    # One simulation --------------------------------------------------------------------------------------------------

    def _one(
        self, state: NDArray, parameters: NDArray, dt: float, action: NDArray | None, home: Home | None
    ) -> NDArray | None:
        if not np.isfinite(state).all() or (action is not None and not np.isfinite(action).all()):
            return None  # lost before
        # A step depends on state and parameters alone: another process makes it again, unless a memory is gone.
        once = home is not None and home.continues
        found, kind = self._attempt(state, parameters, dt, action, home)
        if kind in ("crashed", "timed out") and not once:
            with self._lock:
                self.counts.repeated += 1
            found, _ = self._attempt(state, parameters, dt, action, home, fresh=True)
        with self._lock:
            self.counts.steps += 1
            self.counts.lost += found is None
        return found

    def _attempt(
        self,
        state: NDArray,
        parameters: NDArray,
        dt: float,
        action: NDArray | None,
        home: Home | None,
        *,
        fresh: bool = False,
    ) -> tuple[NDArray | None, str]:
        """The new state or None, and the kind of failure, "" for none."""
        worker: Asked | None = None
        try:
            worker = home.worker if home and home.worker else self._take(fresh)
            if not (home and home.continues):
                worker.reset(state, parameters)
            found = np.array(worker.step(dt, action))
        except WorkerFailed as error:
            self._count(error.kind, str(error))
            if worker is not None and error.kind != "refused":
                worker.close()
                with self._lock:
                    self._every.discard(worker)
                worker = None
            self._give(worker, home)
            return None, error.kind
        self._give(worker, home)
        if not np.isfinite(found).all():
            self._count("not finite", "a step gave numbers that are not finite")
            return None, "not finite"
        return found, ""

    def _take(self, fresh: bool) -> Asked:
        with self._lock:
            if self._idle and not fresh:  # what has ended one may have ended all
                return self._idle.pop()
        worker = None if self._ended else self._make()
        with self._lock:
            if worker is not None:
                self._every.add(worker)
            if worker is not None and not self._ended:
                return worker
        if worker is not None:
            worker.kill()
        raise WorkerFailed("crashed", "all processes were ended")

    def _give(self, worker: Asked | None, home: Home | None) -> None:
        if home:
            home.worker = worker
        elif worker is not None:
            with self._lock:
                self._idle.append(worker)

    def _count(self, kind: str, words: str) -> None:
        with self._lock:
            self.counts.failures[kind] += 1
            first = kind not in self.counts.said
            self.counts.said.setdefault(kind, words)
        if first:  # the rest are counted
            LOG.warning("%s: %s: %s", self.program.command[0], kind, words)


def _possible(processes: int) -> int:
    """As many processes as were asked for, or as the system's limit of open files allows, which is raised for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        processes = min(processes, (hard - OTHER_FILES) // FILES)
    if soft != resource.RLIM_INFINITY and (needed := FILES * processes + OTHER_FILES) > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return processes


POOLS: dict[tuple[Program, Layout], Pool] = {}
"""Pools that run."""
_CHOICE: dict[str, int | str] = {"workers": 0}


def use_workers(workers: int | str) -> None:
    """How many processes work at a time (0: one for each processor), or a Dask scheduler, ``dask://HOST:PORT``.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(workers, str) and not workers.startswith("dask://"):
        try:
            workers = int(workers)
        except ValueError:
            raise ValueError(f"workers must be a number or dask://HOST:PORT; got {workers!r}") from None
    if isinstance(workers, int) and workers < 0:
        raise ValueError(f"workers must not be negative; got {workers}")
    if workers != _CHOICE["workers"]:
        close_pools()
    _CHOICE["workers"] = workers


def asked_workers() -> bool:
    """Whether a number of workers, or a cluster, has been chosen."""
    return _CHOICE["workers"] != 0


def pool_of(program: Program, layout: Layout) -> Pool:
    """The pool of a program, started when it is first needed."""
    found = POOLS.get((program, layout))
    if found is None:
        workers = _CHOICE["workers"]
        if isinstance(workers, str):
            from closura.host.cluster import dask_pool

            found = dask_pool(program, layout, workers)
        else:
            found = Pool(program, layout, workers or os.cpu_count() or 1)
        POOLS[program, layout] = found
    return found


def close_pools() -> None:
    """End all processes of all solvers."""
    for pool in POOLS.values():
        pool.close()
    POOLS.clear()


def counts() -> Mapping[str, Counts]:
    """What the pools that run have done, by command."""
    return {" ".join(program.command): pool.counts for (program, _), pool in POOLS.items()}


def kill_pools() -> None:
    """End all processes of all solvers now; where this process is about to end without any more ado."""
    for pool in list(POOLS.values()):
        pool.kill()


atexit.register(close_pools)
before_leaving(kill_pools)
os.register_at_fork(after_in_child=POOLS.clear)  # its threads and processes belong to the other one
