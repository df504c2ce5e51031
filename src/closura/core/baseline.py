"""A baseline that is added to a problem from another file."""

from collections.abc import Callable
from dataclasses import dataclass

from closura.core.registry import Registry
from closura.core.solver import Solver
from closura.grids import Grid


@dataclass(frozen=True)
class Baseline:
    """A classical method of a problem; see :func:`baseline`."""

    name: str
    problem: str
    make: Callable[[Grid], Solver]


BASELINES: Registry[Baseline] = Registry("baseline", Baseline)


def baseline(name: str, *, problem: str) -> Callable[[Callable[[Grid], Solver]], Baseline]:
    """Register a function that makes a solver on a grid as a baseline of a problem.

    .. code-block:: python

        @closura.baseline("lax-wendroff", problem="wave")
        def lax_wendroff(grid):
            return LaxWendroff(grid)

    Problems that are described by their solvers (:class:`closura.core.problem.Problem`) take it into every evaluation
    and benchmark.
    """

    def register(make: Callable[[Grid], Solver]) -> Baseline:
        found = Baseline(name, problem, make)
        return BASELINES.add(name, found)

    return register
