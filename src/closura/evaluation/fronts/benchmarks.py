"""Which problems have a benchmark of error against cost, and how another one joins in.

A problem on a grid of cells joins with one function that makes its :class:`~closura.simulation.cells.Parts`:

1. a :class:`~closura.simulation.stepping.Stepper` for its classical methods: five methods that say how a draw
   becomes a state on ``n`` points, which Courant number a step has, how a step is made, and how a state is seen on the
   grid that errors are taken on. :func:`~closura.simulation.cells.sweep_schemes` makes a method of every grid and
   step;
2. its truths as methods (:func:`~closura.simulation.cells.truth`): the one that its closures were trained
   on, and a converged one where that is not converged;
3. times of comparison, and remarks.

:func:`~closura.simulation.cells.cell_benchmark` adds what all have in common: held-out draws, the coarse solver and
closures at the problem's own step, and its error.

A problem that fits none of these helpers makes a :class:`~closura.simulation.sweep.Benchmark` and its methods
itself, as :mod:`closura.evaluation.fronts.laws` and :mod:`closura.evaluation.fronts.flows` do: all that counts of a
method are ``run`` and ``work``. Then it is named below.
"""

from collections.abc import Callable
from functools import partial

from closura.evaluation.fronts.advection import advection_parts
from closura.evaluation.fronts.burgers import burgers_parts
from closura.evaluation.fronts.flows import flow_benchmark
from closura.simulation.cells import cell_benchmark
from closura.simulation.sweep import Benchmark

CELL_BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "advection": partial(cell_benchmark, advection_parts),
    "burgers": partial(cell_benchmark, burgers_parts),
    "kolmogorov": flow_benchmark,
    "turbulence": flow_benchmark,
}
"""Problems on grids of cells: ``benchmark(problem, configuration, sweep, closures, own, simulations=, key=)``."""

LAW_BENCHMARKS: tuple[str, ...] = ("burgers-1d", "euler-1d")
"""Conservation laws: :func:`closura.evaluation.fronts.laws.law_benchmark` serves all with random initial conditions."""

BENCHMARKS: tuple[str, ...] = (*CELL_BENCHMARKS, *LAW_BENCHMARKS)
