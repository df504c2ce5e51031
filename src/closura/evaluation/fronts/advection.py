"""The front of advection: every scheme on every grid from the same images and velocities, and closures.

The published truth, second-order central differences with RK4 on the fine grid, is not converged. The second truth is
exact, along characteristics (:mod:`closura.problems.characteristics`). Both read the same fine initial data; between
their points psi, an enlarged image, is linear, and the velocity cubic.
"""

from functools import lru_cache, partial

from closura.core import Role
from closura.grids import Grid
from closura.numerics import courant_limit
from closura.numerics.transfer import check_grids
from closura.problems.advection import AdvectionSolver
from closura.problems.advection_setup import BASELINES, AdvectionConfiguration
from closura.problems.characteristics import Characteristics
from closura.problems.problem import Problem
from closura.simulation.cells import BenchmarkParts, Scheme, method, reference, sweep_schemes
from closura.simulation.stepping import OnGrid, Stepper, by_courant, by_step
from closura.simulation.sweep import Sweep

GRIDS = (16, 32, 64, 128, 256)
STEP = 50
"""The published comparison time, in coarse steps after the burn-in."""
CGS, TRUTH, CHECK, CHECK_COURANT = "CGS", "central2", "upwind5", 1.0
PAIRS = {CGS: ("upwind1", "forward-euler"), **BASELINES, TRUTH: (TRUTH, "rk4")}
"""Classical methods: the paper's coarse solver, its rivals here, and the scheme of the published truth."""
REMARKS = (
    "All start from the same fine initial data, restricted to their grid by taking every k-th point, as the problem "
    "does; grids finer than those data get psi interpolated linearly and the velocity cubically.",
    "Errors are taken on the published coarse grid: finer fields restricted by taking every k-th point, coarser ones "
    "interpolated by cubics.",
    "Courant numbers are the largest over the points of |u| dt/dx + |v| dt/dy, of each simulation's own velocity.",
)


def advection_parts(problem: Problem, configuration: AdvectionConfiguration, sweep: Sweep) -> BenchmarkParts:
    """The benchmark of advection: parameters as of :func:`closura.simulation.cells.cell_benchmark`.

    Raises
    ------
    ValueError
        If the problem is in flux form, a grid cannot be compared, a scheme is unknown, or times fit no step.
    """
    c, coarse = configuration, problem.grid.shape[0]
    if c.form != "advective":
        raise ValueError(f"the benchmark of advection is that of the advective form; got --form {c.form}")
    fine = coarse * c.ratio
    grids = sweep.grids or GRIDS[: -1 if sweep.quick else None]
    check_grids(grids, coarse)
    # As the problem: the published train family, which the mixed one draws from too, jumps at the seam.
    seam = c.velocity == "mixed" or (c.published_velocity and c.velocity == "train")

    view = OnGrid(problem.grid)

    @lru_cache
    def stepper(name: str, n: int) -> Stepper:
        published = c.published_boundary and name == CGS
        return Stepper(AdvectionSolver(Grid((n, n)), *PAIRS[name], published_boundary=published, seam=seam), view)

    schemes = {name: Scheme(courant_limit(*pair), partial(stepper, name)) for name, pair in PAIRS.items()}
    times = sweep.times or ((STEP + getattr(problem.begin, "burn_in", 0)) * problem.time_step,)
    length = problem.time_step / c.ratio
    published = reference(
        "published", TRUTH, stepper(TRUTH, fine), by_step(length, times), times[-1], fine, f"dt {length:.3g}"
    )
    exact = reference(
        "exact", "characteristics", Stepper(Characteristics(problem.grid, seam), view, dt=problem.time_step),
        by_step(problem.time_step, times, exact=True), times[-1], coarse, f"dt {problem.time_step:.3g}",
    )  # fmt: skip
    methods = sweep_schemes(
        schemes, sweep, grids, times, lambda name, n: frozenset({"published"} if (name, n) == (TRUTH, fine) else ())
    )
    if 2 * fine not in grids and not sweep.quick:
        rule, courant = f"C {CHECK_COURANT:.3g}", by_courant(CHECK_COURANT, times)
        methods.append(
            method(
                f"check {2 * fine} {rule}", CHECK, stepper(CHECK, 2 * fine), courant, times[-1], role=Role.BASELINE,
                points=2 * fine, rule=rule, work_key=f"{CHECK} {2 * fine}",
                note="how near a simulation comes to the exact truth",
            )
        )  # fmt: skip
    references = {
        "published": (published, f"{' + '.join(PAIRS[TRUTH])} on {fine} x {fine}, dt = {length:.4g}"),
        "exact": (exact, "along characteristics"),
    }
    return BenchmarkParts(methods, references, times, REMARKS)
