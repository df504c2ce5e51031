"""The coarse solver of the flow, and what a closure of it is compared with: models, and solvers on other grids."""

from typing import Any

import jax.numpy as jnp

from closura.problems.kolmogorov.configuration import KolmogorovConfiguration, SolverName, scheme_of
from closura.problems.kolmogorov.dynamics import CoarseFlow
from closura.problems.kolmogorov.eddies import StaggeredSmagorinsky
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.smagorinsky import with_constant
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.staggered import CONVECTIONS, Convection, StaggeredFlow
from closura.problems.kolmogorov.time_steps import PADDING_OF, steps_of
from closura.problems.reference import Reference, SolverReference


def coarse_solver(c: KolmogorovConfiguration, points: int | None = None) -> FlowSolver:
    """The coarse solver of a configuration, without a model, on ``points`` (default: the coarse grid's)."""
    return _solver(c, c.solver, c.convection, c.cells if points is None else points)


def _solver(c: KolmogorovConfiguration, solver: SolverName, convection: Convection, points: int) -> FlowSolver:
    if solver == "staggered":
        return StaggeredFlow(points, c.forcing, convection, drag=c.drag, strength=c.strength)
    return KolmogorovFlow(points, c.forcing, PADDING_OF[solver], drag=c.drag, strength=c.strength)


def coarse_models(c: KolmogorovConfiguration, dtype: Any) -> dict[str, FlowSolver]:
    """Models on the coarse grid, by name: eddy viscosities, and for finite volumes the other convection."""
    constant = jnp.asarray(c.smagorinsky, dtype)
    models = {"smagorinsky": with_constant(coarse_solver(c), constant)}
    if c.solver == "staggered":
        models["dynamic"] = StaggeredSmagorinsky(
            c.cells, c.forcing, c.convection, drag=c.drag, strength=c.strength, dynamic=True
        )
        for other in CONVECTIONS:
            if other != c.convection:
                models[other] = StaggeredFlow(c.cells, c.forcing, other, drag=c.drag, strength=c.strength)
    return models


def finer_flows(c: KolmogorovConfiguration, coarse: CoarseFlow) -> dict[str, Reference]:
    """The coarse solver on finer grids, and other solvers, by name; without the reference itself."""
    flows = {
        f"{points}x{points}": coarse_solver(c, points)
        for points in c.finer
        if c.cells < points and (points < c.fine_cells or c.solver != "spectral")
    }
    for name in c.others:
        solver, convection, points = scheme_of(name)
        if solver != "spectral" or points < c.fine_cells:
            flows[name] = _solver(c, solver, convection, points)
    return {name: SolverReference(CoarseFlow(flow, steps_of(c, flow)), coarse) for name, flow in flows.items()}
