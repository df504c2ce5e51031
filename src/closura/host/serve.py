"""A Python solver as a worker: ``python -m closura.host.serve FILE.py:NAME [ARGUMENT ...]``.

``NAME`` is a class or a function that is called with the arguments (text) and gives an object with
``reset(state, parameters)`` and ``step(dt, action)``, NumPy arrays in and out; or a function ``step(state, dt)`` of the
state alone, with ``parameters`` as a third argument where it takes one.
"""

import importlib
import importlib.util
import inspect
import mmap
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from closura.host.protocol import DONE, FAILED, MEMORY, REPLIES, REQUESTS, RESET, STEP, Memory, read_layout


class StepOfState:
    """A function of the state as a solver."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.several = function, len(inspect.signature(function).parameters) > 2

    def reset(self, state: np.ndarray, parameters: np.ndarray) -> None:
        """Keep them."""
        self.state, self.parameters = state, parameters

    def step(self, dt: float, action: np.ndarray) -> np.ndarray:
        """The function of the state that was given, or reached."""
        self.state = self.function(self.state, dt, *((self.parameters,) if self.several else ()))
        return self.state


def find(place: str) -> Any:
    """The object that ``FILE.py:NAME`` or ``MODULE:NAME`` names."""
    source, _, name = place.rpartition(":")
    if source.endswith(".py"):
        path = Path(source).resolve()
        sys.path.insert(0, str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(source)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def solver_of(place: str, arguments: list[str]) -> Any:
    """The solver that a place names."""
    found = find(place)
    takes = list(inspect.signature(found).parameters) if callable(found) else []
    if inspect.isfunction(found) and takes[1:2] == ["dt"]:
        return StepOfState(found)
    return found(*arguments) if callable(found) else found


def serve(solver: Any, memory: Memory, requests: int, replies: int) -> None:
    """Answer requests until there are no more."""
    while (request := os.read(requests, 1)) in (RESET, STEP):
        answer = DONE
        try:
            if request == RESET:
                solver.reset(memory.state.copy(), memory.parameters.copy())
            else:
                found = solver.step(float(memory.dt[0]), memory.action.copy())
                if np.shape(found) != memory.state.shape:
                    raise ValueError(f"a step must give shape {memory.state.shape}; got {np.shape(found)}")
                memory.state[...] = found
        except Exception:  # this simulation's alone
            traceback.print_exc()
            sys.stderr.flush()
            answer = FAILED
        os.write(replies, answer)


def pipe(name: str, mode: int) -> int:
    """A descriptor that was inherited, or a path to open."""
    return os.open(name, mode) if name.startswith("/") else int(name)


def main() -> None:
    """Map the memory, make the solver, and serve."""
    missing = [name for name in (MEMORY, REQUESTS, REPLIES) if name not in os.environ]
    if missing:
        raise SystemExit(f"{', '.join(missing)} not set: closura starts this program (docs/host.md)")
    with open(os.environ[MEMORY], "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    view = memoryview(mapped)
    memory = Memory(view, read_layout(view))
    solver = solver_of(sys.argv[1], sys.argv[2:])
    requests, replies = pipe(os.environ[REQUESTS], os.O_RDONLY), pipe(os.environ[REPLIES], os.O_WRONLY)
    os.write(replies, DONE)
    serve(solver, memory, requests, replies)


if __name__ == "__main__":
    main()
