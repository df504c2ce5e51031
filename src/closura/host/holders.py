"""Solvers with a memory of their own: which process holds which simulation, by the state that it has reached."""

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 10_000
"""States of simulations that had to give up their process; should one go on, it is counted."""


@runtime_checkable
class Asked(Protocol):
    """What a pool asks of a worker, wherever it runs."""

    def reset(self, state: NDArray, parameters: NDArray) -> None: ...
    def step(self, dt: float, action: NDArray | None) -> NDArray: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


@dataclass(eq=False)
class Home:
    """The worker of one simulation (None: one is still to be started), and whether the simulation goes on there.

    Between batches: the last batch, the state that was reached, and whether that batch has gone on without it.
    """

    worker: Asked | None = None
    continues: bool = False
    batch: int = 0
    state: bytes | None = None
    left: bool = False


class Holders:
    """Workers between batches, each with the simulation that it holds.

    A batch goes on where its states are held. What begins takes the process of a simulation that was in the last batch
    of these and is in this one no more; then a new process; and if there are as many as there may be, that which
    has been idle for longest.

    Parameters
    ----------
    most
        How many processes there may be.
    """

    def __init__(self, most: int) -> None:
        self.most, self.forgotten = most, 0
        self._kept: list[Home] = []  # the one that has been idle for longest first
        self._batch = 0
        self._given_up: deque[bytes] = deque(maxlen=REMEMBERED)

    def homes(self, states: NDArray) -> list[Home]:
        """A home for each of a batch of states ``(batch, component, *grid)``.

        Raises
        ------
        ValueError
            If there are more simulations than there may be processes.
        """
        finite = np.isfinite(states).all(axis=tuple(range(1, states.ndim)))
        if (needed := int(finite.sum())) > self.most:
            raise ValueError(
                f"a solver with a memory has one process for each simulation, {self.most} at most: more by "
                f"closura.Program(processes=) and `ulimit -n`; got a batch of {needed}"
            )
        self._batch += 1
        by_state: dict[bytes | None, list[Home]] = {}
        for kept in self._kept:
            by_state.setdefault(kept.state, []).append(kept)
        homes, earlier = [], set()
        for state, fine in zip(states, finite, strict=True):
            same = by_state.get(_digest(state)) if fine else None
            homes.append(Home())
            if same:
                found = same.pop()
                self._kept.remove(found)
                homes[-1] = Home(found.worker, True)
                earlier.add(found.batch)
        for kept in self._kept:
            kept.left |= kept.batch in earlier or kept.state is None
        free = [kept for kept in self._kept if kept.left]  # the others may go on themselves
        room = self.most - len(self._kept) - sum(home.continues for home in homes)
        for home, state, fine in zip(homes, states, finite, strict=True):
            if home.continues or not fine:
                continue
            self.forgotten += _digest(state) in self._given_up
            if free:
                self._take(home, free.pop(0))
            elif room > 0:
                room -= 1
            else:
                self._given_up.append(self._kept[0].state or b"")
                self._take(home, self._kept[0])
        return homes

    def remember(self, found: NDArray, homes: list[Home]) -> None:
        """Keep the workers of a batch with the states that it has reached, as the caller will show them again."""
        for state, home in zip(found, homes, strict=True):
            if home.worker is not None:
                held = _digest(state) if np.isfinite(state).all() else None
                self._kept.append(Home(home.worker, batch=self._batch, state=held))

    def _take(self, home: Home, kept: Home) -> None:
        self._kept.remove(kept)
        home.worker = kept.worker


def _digest(state: NDArray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(state).tobytes(), digest_size=16).digest()
