"""Several workers of one solver: simulations of a batch are shared out among them, and what fails is counted."""

import atexit
import contextlib
import hashlib
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from closura.host.process import Worker, WorkerFailed
from closura.host.protocol import Layout

LOG = logging.getLogger("closura.host")


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
        Such a program keeps one process for each simulation of a batch, and a simulation that is lost is not run again.
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
        Failures by kind: "crashed", "timed out", "refused", "not finite".
    repeated
        Steps that were made again by another process, after theirs had crashed or timed out.
    lost
        Steps that gave no state: their simulations end there.
    busy
        Seconds in which workers stepped (the longest of each batch), and ``waited`` between batches.
    """

    steps: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    lost: int = 0
    busy: float = 0.0
    waited: float = 0.0

    def words(self) -> str:
        """Failures in a line; empty without any."""
        if not self.failures:
            return ""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.failures.items()))
        return f"{kinds}; {self.repeated} steps repeated, {self.lost} of {self.steps} lost"


@runtime_checkable
class Asked(Protocol):
    """What a pool asks of a worker, wherever it runs."""

    holds: bytes | None

    def reset(self, state: NDArray, parameters: NDArray) -> None: ...
    def step(self, dt: float, action: NDArray | None) -> NDArray: ...
    def close(self) -> None: ...


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
    """

    def __init__(
        self, program: Program, layout: Layout, workers: int, *, make: Callable[[], Asked] | None = None
    ) -> None:
        if workers < 1:
            raise ValueError(f"need at least one worker; got {workers}")
        self.program, self.layout, self.workers, self.counts = program, layout, workers, Counts()
        self._make: Callable[[], Asked] = make or (lambda: program.worker(layout))
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="closura-worker")
        self._idle: list[Asked] = []
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._last = 0.0
        self._told: set[str] = set()
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
        """
        found = np.full(states.shape, np.nan)
        # Workers that hold simulations serve one batch after the other; others may serve several at a time.
        with self._turn if self.program.has_memory else contextlib.nullcontext():
            begun = time.monotonic()
            self.counts.waited += begun - self._last if self._last else 0.0
            homes = self._homes(states) if self.program.has_memory else []

            def one(i: int) -> None:
                action = None if actions is None else actions[i]
                result = self._one(states[i], parameters[i], float(dt[i]), action, homes[i] if homes else None)
                if result is not None:
                    found[i] = result

            list(self._threads.map(one, range(len(states))))
            if homes:
                self._remember(found.astype(seen_as).astype(np.float64), homes)
            self._last = time.monotonic()
            self.counts.busy += self._last - begun
        return found

    def close(self) -> None:
        """End all processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._every:
            worker.close()
        self._every.clear()
        self._idle.clear()

    # One simulation --------------------------------------------------------------------------------------------------

    def _one(
        self, state: NDArray, parameters: NDArray, dt: float, action: NDArray | None, home: "_Home | None"
    ) -> NDArray | None:
        with self._lock:
            self.counts.steps += 1
        if not np.isfinite(state).all() or (action is not None and not np.isfinite(action).all()):
            return None  # lost before
        for attempt in range(2):
            worker: Asked | None = None
            try:
                worker = home.worker if home is not None and home.worker is not None else self._take(attempt > 0)
                if home is None or not home.continues:
                    worker.reset(state, parameters)
                found = np.array(worker.step(dt, action))
                if home is not None:
                    home.worker = worker
                else:
                    self._give(worker)
                if not np.isfinite(found).all():
                    self._count("not finite", "a step gave numbers that are not finite")
                    return None
                return found
            except WorkerFailed as error:
                self._count(error.kind, str(error))
                if error.kind == "refused" and worker is not None:
                    if home is None:
                        self._give(worker)
                    else:
                        home.worker = worker
                    break
                if worker is not None:
                    worker.close()
                    with self._lock:
                        self._every.discard(worker)
                if home is not None:
                    home.worker = None
                    break
                if attempt == 0:
                    with self._lock:
                        self.counts.repeated += 1
        with self._lock:
            self.counts.lost += 1
        return None

    def _take(self, fresh: bool) -> Asked:
        with self._lock:
            if self._idle and not fresh:  # what has ended one may have ended all
                return self._idle.pop()
        worker = self._make()
        with self._lock:
            self._every.add(worker)
        return worker

    def _give(self, worker: Asked) -> None:
        with self._lock:
            self._idle.append(worker)

    def _count(self, kind: str, words: str) -> None:
        with self._lock:
            self.counts.failures[kind] += 1
            first = kind not in self._told
            self._told.add(kind)
        if first:  # the rest are counted
            LOG.warning("%s: %s: %s", self.program.command[0], kind, words)

    # Solvers with a memory: who holds which simulation ---------------------------------------------------------------

    def _homes(self, states: NDArray) -> "list[_Home]":
        """For each state the worker that has reached it, or one to begin with."""
        holders: dict[bytes, list[Asked]] = {}
        for worker in self._idle:
            if worker.holds is not None:
                holders.setdefault(worker.holds, []).append(worker)
        homes = []
        for state in states:
            same = holders.get(_digest(state))
            homes.append(_Home(same.pop(), True) if same else _Home(None, False))
        taken = {id(home.worker) for home in homes}
        rest = [worker for worker in self._idle if id(worker) not in taken]
        self._idle = []
        for home in homes:
            if home.worker is None and rest:
                home.worker = rest.pop()
        self._idle = rest
        return homes

    def _remember(self, found: NDArray, homes: "list[_Home]") -> None:
        for state, home in zip(found, homes, strict=True):
            if home.worker is not None:
                home.worker.holds = _digest(state)
                self._idle.append(home.worker)


@dataclass
class _Home:
    """A worker for one simulation of a batch, and whether it holds that simulation already."""

    worker: Asked | None
    continues: bool


def _digest(state: NDArray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(state).tobytes(), digest_size=16).digest()


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


atexit.register(close_pools)
