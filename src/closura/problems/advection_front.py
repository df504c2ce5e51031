"""The front of advection: every scheme on every grid from the same images and velocities, and closures.

The published reference, second-order central differences with RK4 on the fine grid, is not converged. The second
reference is exact, along characteristics (:mod:`closura.problems.characteristics`). Both read the same fine initial
data; between their points psi, an enlarged image, is linear, and the velocity cubic.
"""

from functools import cache, partial

from closura.core import Method, Role, StepRule
from closura.core.front import Front, Sweep, Trusted, check_grids
from closura.grids import Grid
from closura.problems.advection import AdvectionSolver
from closura.problems.advection_setup import BASELINES, AdvectionConfiguration
from closura.problems.characteristics import Characteristics
from closura.problems.problem import Problem

GRIDS = (16, 32, 64, 128, 256)
STEP = 50
"""The published comparison time, in coarse steps after the burn-in."""
CGS, REFERENCE, CHECK, CHECK_COURANT = "CGS", "central2", "upwind5", 1.0
PAIRS = {CGS: ("upwind1", "forward-euler"), **BASELINES, REFERENCE: (REFERENCE, "rk4")}
"""Classical methods: the paper's coarse solver, baselines of the problem, and the scheme of the published reference."""
REMARKS = (
    "All start from the same fine initial data, restricted to their grid by taking every k-th point, as the problem "
    "does; grids finer than those data get psi interpolated linearly and the velocity cubically.",
    "Errors are taken on the published coarse grid: finer fields restricted by taking every k-th point, coarser ones "
    "interpolated by cubics.",
    "Courant numbers are the largest over the points of |u| dt/dx + |v| dt/dy, of each simulation's own velocity.",
)


def advection_front(problem: Problem, configuration: AdvectionConfiguration, sweep: Sweep) -> Front:
    """The front of advection, for :func:`closura.simulation.sweep.problem_benchmark`."""
    c, coarse = configuration, problem.grid.shape[0]
    if c.form != "advective":
        raise ValueError(f"the benchmark of advection is that of the advective form; got --form {c.form}")
    fine = coarse * c.ratio
    grids = sweep.grids or GRIDS[: -1 if sweep.quick else None]
    check_grids(grids, coarse)
    # As the problem: the published train family, which the mixed one draws from too, jumps at the seam.
    seam = c.velocity == "mixed" or (c.published_velocity and c.velocity == "train")

    @cache
    def solver(name: str, n: int) -> AdvectionSolver:
        published = c.published_boundary and name == CGS
        return AdvectionSolver(Grid((n, n)), *PAIRS[name], published_boundary=published, seam=seam)

    further = {}
    if 2 * fine not in grids and not sweep.quick:
        further[f"check {2 * fine} C {CHECK_COURANT:.3g}"] = Method(
            solver(CHECK, 2 * fine), Role.BASELINE, StepRule(courant=CHECK_COURANT), family=CHECK,
            note="how near a simulation comes to the exact reference",
        )  # fmt: skip
    length = problem.time_step / c.ratio
    return Front(
        schemes={name: partial(solver, name) for name in PAIRS},
        grids=grids,
        times=sweep.times or ((STEP + getattr(problem.begin, "burn_in", 0)) * problem.time_step,),
        references={
            "published": Trusted(
                REFERENCE, solver(REFERENCE, fine), StepRule(length),
                f"{' + '.join(PAIRS[REFERENCE])} on {fine} x {fine}, dt = {length:.4g}",
            ),
            "exact": Trusted(
                "characteristics", Characteristics(problem.grid, seam), StepRule(problem.time_step, exact=True),
                "along characteristics",
            ),
        },
        remarks=REMARKS,
        further=further,
    )  # fmt: skip
