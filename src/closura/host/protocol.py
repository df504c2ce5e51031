"""How a solver in a process of its own and closura exchange states: a file in shared memory, and two pipes.

The worker finds three environment variables:

* ``CLOSURA_MEMORY``: a file to map, made by closura. It begins with sixteen 64-bit integers,

  ====== ==============================================================================================
  number meaning
  ====== ==============================================================================================
  0      1129074515, which also tells the byte order
  1      version of the protocol, 1
  2      components of the state
  3      axes of the grid, 1 to 3
  4 - 6  points along x, y, z (1 where there is no such axis)
  7      channels of the action, 0 where closura applies it to the state before each step
  8      number of parameters
  9 - 11 where state, action and parameters begin, in bytes from the file's start
  12     where the time step is, in bytes
  ====== ==============================================================================================

  All that follows is 64-bit floating point: the time step; the state ``[component][x][y][z]``, last index fastest
  (Fortran: ``(z, y, x, component)``); the action alike; the parameters.
* ``CLOSURA_REQUESTS``: a pipe to read requests from, by its descriptor, or by its path if that begins with ``/``. One
  byte each: ``r`` (reset: the state and the parameters in memory are those of a simulation to begin or to go on from),
  ``s`` (step: advance by the time step in memory, with the action in memory, and write the new state), ``q`` (end; so
  does the end of the pipe).
* ``CLOSURA_REPLIES``: a pipe to answer on, likewise: one byte for the worker's start, ``k``, when it is ready, and one
  for each ``r`` and ``s``: ``k`` (done) or ``f`` (failed: the simulation is lost, the worker goes on).

Standard output and error stay the worker's own.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

MAGIC = 1129074515
VERSION = 1
HEADER = 16
"""Integers before the numbers."""
RESET, STEP, QUIT, DONE, FAILED = b"r", b"s", b"q", b"k", b"f"
MEMORY, REQUESTS, REPLIES = "CLOSURA_MEMORY", "CLOSURA_REQUESTS", "CLOSURA_REPLIES"


@dataclass(frozen=True)
class Layout:
    """What the memory holds.

    Parameters
    ----------
    state
        Shape of a state, ``(component, *grid)``.
    actions
        Channels of an action that the worker applies itself; 0: closura applies it.
    parameters
        Number of parameters.
    """

    state: tuple[int, ...]
    actions: int = 0
    parameters: int = 0

    @property
    def action(self) -> tuple[int, ...]:
        """Shape of an action."""
        return (self.actions, *self.state[1:])

    @property
    def size(self) -> int:
        """Bytes in all."""
        return 8 * (HEADER + 1 + prod(self.state) + prod(self.action) + self.parameters)

    def header(self) -> list[int]:
        """The integers at the start."""
        grid = self.state[1:]
        places = [8 * (HEADER + 1)]
        for shape in (self.state, self.action):
            places.append(places[-1] + 8 * prod(shape))
        found = [MAGIC, VERSION, self.state[0], len(grid), *grid, *(1,) * (3 - len(grid))]
        found += [self.actions, self.parameters, *places, 8 * HEADER]
        return found + [0] * (HEADER - len(found))


class Memory:
    """Views of the parts of a mapped file.

    Attributes
    ----------
    state, action
        ``(component, *grid)`` and ``(action, *grid)``, float64.
    parameters
        ``(parameter,)``, float64.
    dt
        The time step, ``(1,)``.
    """

    def __init__(self, buffer: memoryview, layout: Layout) -> None:
        def part(offset: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
            return np.frombuffer(buffer, np.float64, prod(shape), offset).reshape(shape)

        header = layout.header()
        self.state = part(header[9], layout.state)
        self.action = part(header[10], layout.action)
        self.parameters = part(header[11], (layout.parameters,))
        self.dt = part(header[12], (1,))


def read_layout(buffer: memoryview) -> Layout:
    """The layout that a file's header says.

    Raises
    ------
    ValueError
        If it is no such file, or one of another version or byte order.
    """
    header = np.frombuffer(buffer, np.int64, HEADER).tolist()
    if header[:2] != [MAGIC, VERSION]:
        raise ValueError(f"expected a worker's memory, {MAGIC} and version {VERSION}; got {header[0]}, {header[1]}")
    return Layout((header[2], *header[4 : 4 + header[3]]), header[7], header[8])
