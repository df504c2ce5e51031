"""Which problems have a benchmark of error against cost, and how another one joins in.

A problem joins with one function that makes a :class:`~closura.evaluation.fronts.contender.Suite`:

1. its held-out draws (:func:`~closura.evaluation.fronts.cells.held_out_draws` where it begins from fine initial data);
2. a :class:`~closura.evaluation.fronts.stepping.Stepper` for its classical methods: five methods that say how a draw
   becomes a state on ``n`` points, which Courant number a step has, how a step is made, and how a state is seen on the
   grid that errors are taken on. :func:`~closura.evaluation.fronts.cells.climb` makes a contender of every grid and
   step, :func:`~closura.evaluation.fronts.cells.own_steps` of the coarse solver and closures at their own step;
3. its truths as contenders (:func:`~closura.evaluation.fronts.cells.truth`): the one that its closures were trained
   on, and a converged one where that is not converged;
4. its error and how several make one (:func:`~closura.evaluation.fronts.cells.cell_suite` takes the problem's own).

A problem that fits none of these helpers makes its contenders itself, as :mod:`closura.evaluation.fronts.laws` does:
all that counts of a contender are ``run`` and ``work``. Then it is named below.
"""

from collections.abc import Callable

from closura.evaluation.fronts.advection import advection_suite
from closura.evaluation.fronts.burgers import burgers_suite
from closura.evaluation.fronts.contender import Suite

CELL_SUITES: dict[str, Callable[..., Suite]] = {"advection": advection_suite, "burgers": burgers_suite}
"""Problems on grids of cells: ``suite(problem, configuration, ladder, closures, own, simulations=, key=)``."""

LAW_SUITES: tuple[str, ...] = ("burgers-1d", "euler-1d")
"""Conservation laws: :func:`closura.evaluation.fronts.laws.law_suite` serves all with random initial conditions."""

BENCHMARKS: tuple[str, ...] = (*CELL_SUITES, *LAW_SUITES)
