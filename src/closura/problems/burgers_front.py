"""The front of vector Burgers: every scheme on every grid from the same fields, and closures.

The first reference is the problem's own, which closures were trained on; the second fifth-order upwind on twice its
points. Grids that divide the fine one get
means over blocks, as the problem does; others the trigonometric interpolant of the fine field at the middle of their
cells, as the problem's finer baselines.
"""

from functools import cache, partial

from closura.core import StepRule
from closura.core.front import Front, Sweep, Trusted, check_grids
from closura.grids import Grid
from closura.problems.burgers import BurgersSolver
from closura.problems.burgers_setup import INTEGRATOR, BurgersConfiguration
from closura.problems.problem import Problem

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


def burgers_front(problem: Problem, configuration: BurgersConfiguration, sweep: Sweep) -> Front:
    """The front of vector Burgers, for :func:`closura.simulation.sweep.problem_benchmark`."""
    c, coarse = configuration, problem.grid.shape[0]
    fine = coarse * c.ratio
    usual = (coarse // 2, coarse, 2 * coarse, 4 * coarse) if coarse % 2 == 0 else (coarse, 2 * coarse, 4 * coarse)
    grids = sweep.grids or usual[: 3 if sweep.quick else None]
    check_grids(grids, coarse)
    names = {"CGS" if scheme == "upwind1" else scheme: scheme for scheme in INTEGRATOR}

    @cache
    def solver(scheme: str, n: int) -> BurgersSolver:
        switch = c.published_switch and scheme == "upwind1"
        return BurgersSolver(Grid((n, n)), scheme, INTEGRATOR[scheme], published_switch=switch)

    burn_in, steps = getattr(problem.begin, "burn_in", 0), STEPS[: 1 if sweep.quick else None]
    length = problem.time_step / c.fine_steps
    sharp = solver("upwind5", 2 * fine)
    courant = 0.9 * sharp.courant_limit
    return Front(
        schemes={name: partial(solver, scheme) for name, scheme in names.items()},
        grids=grids,
        times=sweep.times or tuple((step + burn_in) * problem.time_step for step in steps),
        references={
            "own": Trusted(
                next(name for name, scheme in names.items() if scheme == c.reference), solver(c.reference, fine),
                StepRule(length), f"{c.reference} + {INTEGRATOR[c.reference]} on {fine} x {fine}, dt = {length:.4g}",
            ),
            "converged": Trusted(
                "upwind5", sharp, StepRule(courant=courant),
                f"upwind5 + rk4 on {2 * fine} x {2 * fine}, C {courant:.3g}",
            ),
        },
        remarks=REMARKS,
    )  # fmt: skip
