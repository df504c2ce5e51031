"""Classical solvers of the flow: the coarse one, models on its grid, and all of them on other grids."""

import math
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from closura.problems.kolmogorov.configuration import SCHEMES, KolmogorovConfiguration, SolverName, scheme_of
from closura.problems.kolmogorov.dynamics import CoarseFlow, FlowModel, SpectralFlow
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


class Classical(NamedTuple):
    """A classical method: its differences, and a model of what the grid does not hold."""

    scheme: str
    model: Literal["", "smagorinsky", "dynamic"] = ""


METHODS: dict[str, Classical] = {
    **{scheme: Classical(scheme) for scheme in ("central2", "quick", "spectral", "filtered")},
    "central2-smagorinsky": Classical("central2", "smagorinsky"),
    "central2-dynamic": Classical("central2", "dynamic"),
    "filtered-smagorinsky": Classical("filtered", "smagorinsky"),
}
"""Classical methods by name. Upwind finite volumes (``quick``) need no model: their dissipation is one."""


CONSTANTS: dict[tuple[str, str], float] = {("turbulence", "filtered"): 0.04, ("turbulence", "central2"): 0.16}
"""Smagorinsky constants by problem and differences, tuned on training flow; elsewhere that of the settings."""


def smagorinsky_constant(c: KolmogorovConfiguration, scheme: str) -> float:
    """The constant for a solver: a tuned one, or that of the settings if they have another than the usual."""
    usual = type(c)().smagorinsky
    return CONSTANTS.get((c.problem, scheme), usual) if c.smagorinsky == usual else c.smagorinsky


def classical(c: KolmogorovConfiguration, name: str, points: int) -> FlowSolver:
    """A classical method of the flow on a grid, with its constant where it has one."""
    scheme, model = METHODS[name]
    kind, convection = SCHEMES[scheme]
    if model == "dynamic":
        return StaggeredSmagorinsky(points, c.forcing, convection, drag=c.drag, strength=c.strength, dynamic=True)
    plain = coarse_solver(replace(c, solver=kind, convection=convection), points)
    return with_constant(plain, jnp.asarray(smagorinsky_constant(c, scheme), c.precision)) if model else plain


def model(flow: FlowSolver, fastest: float = math.inf) -> FlowModel:
    """A discretisation as a solver: spectral ones march spectra, finite volumes velocities."""
    return (
        SpectralFlow(flow, fastest=fastest) if isinstance(flow, KolmogorovFlow) else CoarseFlow(flow, fastest=fastest)
    )
