"""The benchmark of a problem that is described by its solvers: every method on several grids at several time steps."""

from typing import Any

from closura.core.problem import Problem as Described
from closura.grids import Grid
from closura.problems.problem import Problem
from closura.simulation.cells import BenchmarkParts, Scheme, reference, sweep_schemes
from closura.simulation.stepping import AsStateOf, Stepper, by_step
from closura.simulation.sweep import Sweep

FACTORS = (1 / 2, 1, 2, 4)
"""Usual grids over the coarse one."""
USUAL = 50
"""Usual comparison time, in coarse steps, or the problem's horizon where that is shorter."""
REMARKS = (
    "All start from the same cases, taken to their own grid.",
    "Errors are taken on the coarse grid: finer fields restricted to it, others interpolated.",
)


def solver_parts(described: Described, problem: Problem, configuration: Any, sweep: Sweep) -> BenchmarkParts:
    """Methods, reference, times and remarks, for :func:`closura.simulation.cells.cell_benchmark`.

    Raises
    ------
    ValueError
        If a method has no Courant limit, a scheme is unknown, or a grid is refused by the solver.
    """
    d = described
    coarse = d.solver(d.uncorrected, d.grid)
    reference_name, fine = d.reference
    points = d.grid.shape[0]

    def on(n: int) -> Grid:
        shape = tuple(max(1, round(size * n / points)) for size in d.grid.shape)
        return Grid(shape, d.grid.extent, d.grid.boundary)

    def stepper(name: str, n: int) -> Stepper:
        return Stepper(d.solver(name, on(n)), AsStateOf(coarse))

    grids = sweep.grids or tuple(round(factor * points) for factor in FACTORS[: 3 if sweep.quick else None])
    known = (d.uncorrected, *d.baselines)
    limits = {name: d.solver(name, d.grid).courant_limit for name in known}
    unlimited = [name for name in sweep.chosen(known) if not 0 < limits[name] < float("inf")]
    if unlimited:
        raise ValueError(
            f"{unlimited[0]} has no Courant limit, so that its time steps cannot be varied: give its solver "
            "courant_limit and rate (closura.Solver)"
        )
    schemes = {name: Scheme(limits[name], lambda n, name=name: stepper(name, n)) for name in known}  # type: ignore[misc]
    times = sweep.times or (min(USUAL, d.horizon) * d.dt,)
    dt = d.dt / d.reference_substeps
    true = Stepper(d.solver(reference_name, fine), AsStateOf(coarse))
    n = fine.shape[0]
    made = reference("reference", reference_name, true, by_step(dt, times), times[-1], n, f"dt {dt:.3g}")
    favoured = {(reference_name, n): frozenset({"reference"})}
    methods = sweep_schemes(schemes, sweep, grids, times, lambda name, m: favoured.get((name, m), frozenset()))
    shape = " x ".join(map(str, fine.shape))
    return BenchmarkParts(
        methods, {"reference": (made, f"{reference_name} on {shape} points, dt = {dt:.4g}")}, tuple(times), REMARKS
    )
