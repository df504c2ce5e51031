"""The front of vector Burgers: every scheme on every grid from the same fields, and closures.

The first truth is the problem's own, which closures were trained on; the second fifth-order upwind on twice its points.
Grids that divide the fine one get
means over blocks, as the problem does; others the trigonometric interpolant of the fine field at the middle of their
cells, as the problem's finer rivals.
"""

from functools import lru_cache, partial

from closura.grids import Grid
from closura.numerics import courant_limit
from closura.numerics.transfer import check_grids
from closura.problems.burgers import BurgersSolver
from closura.problems.burgers_setup import INTEGRATOR, BurgersConfiguration
from closura.problems.problem import Problem
from closura.simulation.cells import BenchmarkParts, Scheme, reference, sweep_schemes
from closura.simulation.stepping import OnGrid, Stepper, by_courant, by_step
from closura.simulation.sweep import Sweep

STEPS = (50, 200)
"""Usual comparison times, in coarse steps after the burn-in; for a look the first one."""
REMARKS = (
    "All start from the same fine initial fields: means over blocks on grids that divide the fine one, as the problem "
    "does, elsewhere the trigonometric interpolant at the middle of the cells.",
    "Errors are taken on the problem's coarse grid: finer fields restricted by means over blocks, coarser ones "
    "interpolated trigonometrically.",
    "Courant numbers count advection and diffusion, (max(|u| + |v|) / dx + s 4 nu / dx^2) dt, of each simulation's own "
    "field at every step; s makes the limit that of diffusion alone where the field is at rest.",
)


def burgers_parts(problem: Problem, configuration: BurgersConfiguration, sweep: Sweep) -> BenchmarkParts:
    """The benchmark of vector Burgers: parameters as of :func:`closura.simulation.cells.cell_benchmark`.

    Raises
    ------
    ValueError
        If a grid cannot be compared, a scheme is unknown, or times fit no step.
    """
    c, coarse = configuration, problem.grid.shape[0]
    fine = coarse * c.ratio
    usual = (coarse // 2, coarse, 2 * coarse, 4 * coarse) if coarse % 2 == 0 else (coarse, 2 * coarse, 4 * coarse)
    grids = sweep.grids or usual[: 3 if sweep.quick else None]
    check_grids(grids, coarse)
    names = {"CGS" if scheme == "upwind1" else scheme: scheme for scheme in INTEGRATOR}

    @lru_cache
    def stepper(scheme: str, n: int, switched: bool) -> Stepper:
        switch = switched and scheme == "upwind1"
        solver = BurgersSolver(Grid((n, n)), scheme, INTEGRATOR[scheme], published_switch=switch)
        return Stepper(solver, OnGrid(problem.grid))

    schemes = {
        name: Scheme(courant_limit(scheme, INTEGRATOR[scheme]), partial(stepper, scheme, switched=c.published_switch))
        for name, scheme in names.items()
    }
    burn_in = getattr(problem.begin, "burn_in", 0)
    steps = STEPS[: 1 if sweep.quick else None]
    times = sweep.times or tuple((step + burn_in) * problem.time_step for step in steps)
    length = problem.time_step / c.fine_steps
    trusted = next(name for name, scheme in names.items() if scheme == c.truth)
    trained = reference(
        "own", trusted, stepper(c.truth, fine, c.published_switch), by_step(length, times), times[-1], fine,
        f"dt {length:.3g}",
    )  # fmt: skip
    courant, sharp = 0.9 * schemes["upwind5"].limit, 2 * fine
    converged = reference(
        "converged", "upwind5", stepper("upwind5", sharp, False), by_courant(courant, times), times[-1], sharp,
        f"C {courant:.3g}",
    )  # fmt: skip
    methods = sweep_schemes(
        schemes, sweep, grids, times,
        lambda name, n: frozenset({"own"} if (names[name], n) == (c.truth, fine) else ()),
    )  # fmt: skip
    references = {
        "own": (trained, f"{c.truth} + {INTEGRATOR[c.truth]} on {fine} x {fine}, dt = {length:.4g}"),
        "converged": (converged, f"upwind5 + rk4 on {sharp} x {sharp}, C {courant:.3g}"),
    }
    return BenchmarkParts(methods, references, times, REMARKS)
