"""Which problems have a benchmark of error against cost, and how another one joins in.

A problem on a grid of cells joins with one function that makes its :class:`~closura.evaluation.fronts.cells.Parts`:

1. a :class:`~closura.evaluation.fronts.stepping.Stepper` for its classical methods: five methods that say how a draw
   becomes a state on ``n`` points, which Courant number a step has, how a step is made, and how a state is seen on the
   grid that errors are taken on. :func:`~closura.evaluation.fronts.cells.climb` makes a contender of every grid and
   step;
2. its truths as contenders (:func:`~closura.evaluation.fronts.cells.truth`): the one that its closures were trained
   on, and a converged one where that is not converged;
3. times of comparison, and remarks.

:func:`~closura.evaluation.fronts.cells.cell_suite` adds what all have in common: held-out draws, the coarse solver and
closures at the problem's own step, and its error.

A problem that fits none of these helpers makes a :class:`~closura.evaluation.fronts.contender.Suite` and its contenders
itself, as :mod:`closura.evaluation.fronts.laws` and :mod:`closura.evaluation.fronts.flows` do: all that counts of a
contender are ``run`` and ``work``. Then it is named below.
"""

from collections.abc import Callable
from functools import partial

from closura.evaluation.fronts.advection import advection_parts
from closura.evaluation.fronts.burgers import burgers_parts
from closura.evaluation.fronts.cells import cell_suite
from closura.evaluation.fronts.contender import Suite
from closura.evaluation.fronts.flows import flow_suite

CELL_SUITES: dict[str, Callable[..., Suite]] = {
    "advection": partial(cell_suite, advection_parts),
    "burgers": partial(cell_suite, burgers_parts),
    "kolmogorov": flow_suite,
    "turbulence": flow_suite,
}
"""Problems on grids of cells: ``suite(problem, configuration, ladder, closures, own, simulations=, key=)``."""

LAW_SUITES: tuple[str, ...] = ("burgers-1d", "euler-1d")
"""Conservation laws: :func:`closura.evaluation.fronts.laws.law_suite` serves all with random initial conditions."""

BENCHMARKS: tuple[str, ...] = (*CELL_SUITES, *LAW_SUITES)
