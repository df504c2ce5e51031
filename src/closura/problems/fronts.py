"""What problems on a grid say of their benchmarks of error against cost.

A problem joins with one function that makes its :class:`~closura.core.front.Front`: its classical solvers on
``n`` points per side, the references that errors are measured against - the one that its closures were trained on, and
a converged one where that is not converged - times of comparison, and remarks.
:func:`closura.simulation.sweep.problem_benchmark` adds what all have in common: held-out cases, the coarse solver and
closures at the problem's own step, and its error.
"""

from functools import cache, partial
from typing import Any

from closura.core import Role
from closura.core.front import Front, Sweep, Trusted, check_grids
from closura.core.method import Method, StepRule
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.advection import AdvectionSolver
from closura.problems.advection_setup import BASELINES, AdvectionConfiguration
from closura.problems.burgers import BurgersSolver
from closura.problems.burgers_setup import INTEGRATOR, BurgersConfiguration
from closura.problems.characteristics import Characteristics
from closura.problems.problem import Problem
from closura.problems.reference import SolverReference

ADVECTION_GRIDS = (16, 32, 64, 128, 256)
USUAL = 50
"""Usual comparison time in coarse steps, after a burn-in; the published one of advection."""
CGS, REFERENCE, CHECK, CHECK_COURANT = "CGS", "central2", "upwind5", 1.0
PAIRS = {CGS: ("upwind1", "forward-euler"), **BASELINES, REFERENCE: (REFERENCE, "rk4")}
"""Classical methods: the paper's coarse solver, baselines of the problem, and the scheme of the published reference."""
ADVECTION_REMARKS = (
    "All start from the same fine initial data, restricted to their grid by taking every k-th point, as the problem "
    "does; grids finer than those data get psi interpolated linearly and the velocity cubically.",
    "Errors are taken on the published coarse grid: finer fields restricted by taking every k-th point, coarser ones "
    "interpolated by cubics.",
    "Courant numbers are the largest over the points of |u| dt/dx + |v| dt/dy, of each simulation's own velocity.",
)
BURGERS_STEPS = (50, 200)
"""Usual comparison times, in coarse steps after the burn-in; for a look the first one."""
BURGERS_REMARKS = (
    "All start from the same fine initial fields: means over blocks on grids that divide the fine one, as the problem "
    "does, elsewhere the trigonometric interpolant at the middle of the cells.",
    "Errors are taken on the problem's coarse grid: finer fields restricted by means over blocks, coarser ones "
    "interpolated trigonometrically.",
    "Courant numbers count advection and diffusion, (max(|u| + |v|) / dx + s 4 nu / dx^2) dt, of each simulation's own "
    "field at every step; s makes the limit that of diffusion alone where the field is at rest.",
)
FACTORS = (1 / 2, 1, 2, 4)
"""Usual grids over the coarse one, of problems that are described by their solvers."""
REMARKS = (
    "All start from the same cases, taken to their own grid.",
    "Errors are taken on the coarse grid: finer fields restricted to it, others interpolated.",
)


def advection_front(problem: Problem, configuration: AdvectionConfiguration, sweep: Sweep) -> Front:
    """Every scheme on every grid from the same images and velocities.

    The published reference, second-order central differences with RK4 on the fine grid, is not converged. The second
    one is exact, along characteristics. Both read the same fine initial data; between their points psi, an enlarged
    image, is linear, and the velocity cubic.
    """
    c, coarse = configuration, problem.grid.shape[0]
    if c.form != "advective":
        raise ValueError(f"the benchmark of advection is that of the advective form; got --form {c.form}")
    fine = coarse * c.ratio
    grids = sweep.grids or ADVECTION_GRIDS[: -1 if sweep.quick else None]
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
        times=sweep.times or ((USUAL + getattr(problem.begin, "burn_in", 0)) * problem.time_step,),
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
        remarks=ADVECTION_REMARKS,
        further=further,
    )  # fmt: skip


def burgers_front(problem: Problem, configuration: BurgersConfiguration, sweep: Sweep) -> Front:
    """Every scheme on every grid from the same fields.

    The first reference is the problem's own, which closures were trained on; the second fifth-order upwind on twice
    its points.
    """
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

    burn_in, steps = getattr(problem.begin, "burn_in", 0), BURGERS_STEPS[: 1 if sweep.quick else None]
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
        remarks=BURGERS_REMARKS,
    )  # fmt: skip


def described_front(problem: Problem, configuration: Any, sweep: Sweep) -> Front:
    """The methods of a problem that is described by its solvers, on grids of other numbers of points."""
    on, reference, coarse = problem.methods, problem.reference, problem.grid
    if on is None or not isinstance(reference, SolverReference):
        raise ValueError(f"{problem.name} does not say how its methods stand on other grids: no benchmark")
    known, fine, points = (problem.names[0], *problem.baselines), reference.solver.grid, coarse.shape[0]
    name = problem.names[1].removesuffix(f" {fine.shape[0]}")

    def made(method: str, n: int) -> Solver:
        return on(method, coarse.with_points(n))

    unlimited = [m for m in sweep.chosen(known) if not 0 < on(m, coarse).courant_limit < float("inf")]
    if unlimited:
        raise ValueError(
            f"{unlimited[0]} has no Courant limit, so that its time steps cannot be varied: give its solver "
            "courant_limit and rate (closura.Solver)"
        )
    dt = problem.time_step / reference.substeps
    words = f"{name} on {' x '.join(map(str, fine.shape))} points, dt = {dt:.4g}"
    return Front(
        schemes={method: partial(made, method) for method in known},
        grids=sweep.grids or tuple(round(factor * points) for factor in FACTORS[: 3 if sweep.quick else None]),
        times=tuple(sweep.times or (min(USUAL, problem.episode.maximum) * problem.time_step,)),
        references={"reference": Trusted(name, reference.solver, StepRule(dt), words)},
        remarks=REMARKS,
    )
