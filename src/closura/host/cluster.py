"""Workers on a cluster through Dask (``pip install "closura[cluster]"``): ``--workers dask://HOST:PORT``."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closura.host.pool import Asked, Pool, Program
from closura.host.process import Worker, WorkerFailed
from closura.host.protocol import Layout


class RemoteWorker:
    """A process beside a Dask worker, which hands arrays on to it; lives there as an actor."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program, self.layout = program, layout
        self.worker: Worker | None = None
        self.state: tuple[NDArray, NDArray] | None = None

    def step(self, start: tuple[NDArray, NDArray] | None, dt: float, action: NDArray | None) -> Any:
        """A step, after a reset where ``start`` has state and parameters; a failure as ``(kind, words)``."""
        try:
            if self.worker is None:
                self.worker = self.program.worker(self.layout)
            if start is not None:
                self.worker.reset(*start)
            return np.array(self.worker.step(dt, action))
        except WorkerFailed as error:
            if error.kind != "refused":
                self.close()
            return error.kind, str(error)

    def close(self) -> None:
        """End the process."""
        if self.worker is not None:
            self.worker.close()
            self.worker = None


class DaskWorker:
    """A remote worker as a pool asks it."""

    def __init__(self, client: Any, program: Program, layout: Layout) -> None:
        self.holds: bytes | None = None
        self._start: tuple[NDArray, NDArray] | None = None
        # An actor that waits for a program may take as long as the program, and the way there.
        self._patience = program.limit + program.start + 60.0
        try:
            self._actor = client.submit(RemoteWorker, program, layout, actor=True, pure=False).result(self._patience)
        except Exception as error:
            raise WorkerFailed("crashed", f"no worker on the cluster: {error}") from error

    def reset(self, state: NDArray, parameters: NDArray) -> None:
        """Sent with the next step."""
        self._start = (np.array(state), np.array(parameters))

    def step(self, dt: float, action: NDArray | None) -> NDArray:
        """A step there."""
        start, self._start = self._start, None
        try:
            found = self._actor.step(start, dt, action).result(self._patience)
        except Exception as error:  # the node has gone
            raise WorkerFailed("crashed", f"the cluster's worker is gone: {error}") from error
        if isinstance(found, tuple):
            raise WorkerFailed(*found)
        return np.asarray(found)

    def close(self) -> None:
        """End it there, if it is still there."""
        try:
            self._actor.close().result(5.0)
        except Exception:  # it is gone
            return


def dask_pool(program: Program, layout: Layout, address: str) -> Pool:
    """A pool whose processes run beside the workers of a Dask scheduler, as many as these have threads.

    Raises
    ------
    ValueError
        If ``distributed`` is not installed, the scheduler does not answer, or it has no workers.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError('workers on a cluster need: pip install "closura[cluster]"') from None
    place = address.removeprefix("dask://")
    try:
        client = Client(f"tcp://{place}", timeout=10)
    except OSError as error:
        raise ValueError(f"no Dask scheduler answers at {place}: {error}") from error
    threads = sum(client.nthreads().values())
    if not threads:
        raise ValueError(f"the Dask scheduler at {place} has no workers: start some first (dask worker {place})")
    make: Callable[[], Asked] = lambda: DaskWorker(client, program, layout)
    return Pool(program, layout, threads, make=make)
