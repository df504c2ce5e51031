"""Workers on a cluster through Dask (``pip install "closura[cluster]"``): ``--workers dask://HOST:PORT``."""

import asyncio
import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from closura.host.pool import Pool, Program
from closura.host.process import Worker, WorkerFailed
from closura.host.protocol import Layout

WAY = 20.0
"""Seconds that a cluster may take to answer, apart from what a program takes."""


class RemoteWorker:
    """A process beside a Dask worker, which hands arrays on to it; lives there as an actor.

    It is asked by coroutines, since Dask has a single thread for all actors of a worker otherwise.
    """

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program, self.layout = program, layout
        self.worker: Worker | None = None

    async def step(self, start: tuple[NDArray, NDArray] | None, dt: float, action: NDArray | None) -> Any:
        """A step, after a reset where ``start`` has state and parameters; a failure as ``(kind, words)``."""
        return await asyncio.to_thread(self._step, start, dt, action)

    def _step(self, start: tuple[NDArray, NDArray] | None, dt: float, action: NDArray | None) -> Any:
        try:
            if self.worker is None:
                if start is None:  # Dask has begun it anew elsewhere
                    return "crashed", "its node is gone, and with it the simulation that it held"
                self.worker = self.program.worker(self.layout)
            if start is not None:
                self.worker.reset(*start)
            return np.array(self.worker.step(dt, action))
        except WorkerFailed as error:
            return error.kind, str(error)

    async def close(self) -> None:
        """End the process."""
        if self.worker is not None:
            await asyncio.to_thread(self.worker.close)

    def __del__(self) -> None:
        if self.worker is not None:  # whoever has asked has gone
            self.worker.close()


class DaskWorker:
    """A remote worker as a pool asks it.

    Raises
    ------
    WorkerFailed
        If the cluster has no place for it.
    """

    def __init__(self, client: Any, program: Program, layout: Layout) -> None:
        self._start: tuple[NDArray, NDArray] | None = None
        # An actor that waits for a program may take as long as the program, and the way there.
        self._patience = program.limit + program.start + WAY
        try:
            self._actor = client.submit(RemoteWorker, program, layout, actor=True, pure=False).result(WAY)
        except Exception as error:
            raise WorkerFailed("crashed", f"no worker on the cluster: {_words(error)}") from error

    def reset(self, state: NDArray, parameters: NDArray) -> None:
        """Sent with the next step."""
        self._start = (np.array(state), np.array(parameters))

    def step(self, dt: float, action: NDArray | None) -> NDArray:
        """A step there."""
        start, self._start = self._start, None
        try:
            found = self._actor.step(start, dt, action).result(self._patience)
        except Exception as error:  # the node has gone
            raise WorkerFailed("crashed", f"the cluster's worker is gone: {_words(error)}") from error
        if isinstance(found, tuple):
            raise WorkerFailed(*found)
        return np.asarray(found)

    def kill(self) -> None:
        """Ask for its end, and do not wait."""
        with contextlib.suppress(Exception):
            self._actor.close()

    def close(self) -> None:
        """End it there, if it is still there."""
        with contextlib.suppress(Exception):
            self._actor.close().result(5.0)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


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
        client = Client(f"tcp://{place}", timeout=WAY / 2)  # actors find it by itself
    except (OSError, ValueError) as error:
        raise ValueError(f"no Dask scheduler answers at {place}: {error}") from error
    threads = sum(client.nthreads().values())
    if not threads:
        client.close()
        raise ValueError(f"the Dask scheduler at {place} has no workers: start some first (dask worker {place})")
    return Pool(program, layout, threads, make=lambda: DaskWorker(client, program, layout), ended=client.close)
