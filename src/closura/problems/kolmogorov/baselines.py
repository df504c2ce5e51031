"""Classical solvers of the flow - the coarse one, models on its grid, all on other grids - and their time steps."""

import math
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from closura.problems.kolmogorov.configuration import SCHEMES, KolmogorovConfiguration, SolverName
from closura.problems.kolmogorov.dynamics import CoarseFlow, FlowModel, SpectralFlow
from closura.problems.kolmogorov.flow import FASTEST, FlowSolver, KolmogorovFlow, Padding
from closura.problems.kolmogorov.smagorinsky import StaggeredSmagorinsky, with_constant
from closura.problems.kolmogorov.staggered import CONVECTIONS, StaggeredFlow
from closura.problems.reference import Reference, SolverReference

SAFETY = 0.7
"""Time steps over the largest stable one."""


PADDING_OF: dict[SolverName, Padding] = {"spectral": "3/2", "filtered": "none"}
"""Of the spectral solvers."""


def typical_speed(reynolds: float, forcing: int, drag: float = 0.0, strength: float = 1.0) -> float:
    """Root mean square velocity of developed flow, about: 0.75 n^(-5/4) sqrt(F Re'), 1 / Re' = 1 / Re + a / n^2.

    Measured for n = 4: 0.77, 1.35 and 1.82 at Reynolds numbers 34, 100 and 200 (formula: 0.77, 1.33, 1.87), and 1.2 to
    1.5 at 1000 with a drag of 0.1 (1.56); the power of n follows from dimensions. Decaying flow begins with 1.
    """
    if strength == 0:
        return 1.0
    damped = 1 / (1 / reynolds + drag / forcing**2)
    return 0.75 * forcing**-1.25 * math.sqrt(strength * damped)


def steps_needed(
    time_step: float,
    points: int,
    reynolds: float,
    forcing: int,
    *,
    drag: float = 0.0,
    strength: float = 1.0,
    solver: SolverName = "spectral",
) -> int:
    """Steps of RK4 in a coarse time step, from the stable range along the axes of its region.

    The fastest wave is carried at two and a half times the typical speed, along both axes to 3/2 of that together. A
    wave of the spectral solver is carried and damped by its wavenumber, up to points / 2, one of the filtered solver
    carried by less, one of the staggered solver by at most that of its differences, one over the spacing and two over
    it.
    """
    carried_by: float
    if solver == "staggered":
        carried_by, damped_by = points / (2 * math.pi), 2 * points / (2 * math.pi)
    else:
        carried_by = damped_by = points // 2 - 1
        if solver == "filtered":
            carried_by = FASTEST * points / 2
    viscous = 2.785 * reynolds / (2 * damped_by**2)
    carried = 2.828 / (1.5 * carried_by * 2.5 * typical_speed(reynolds, forcing, drag, strength))
    return max(1, math.ceil(time_step / (SAFETY * min(viscous, carried)) - 1e-9))


def steps_of(c: KolmogorovConfiguration, flow: FlowSolver) -> int:
    """In how many steps of RK4 a solver can take the coarse time step, by what its stability needs."""
    kind, _ = SCHEMES[flow.scheme]
    return steps_needed(
        c.time_step, flow.points, c.reynolds, c.forcing, drag=c.drag, strength=c.strength, solver=kind
    )  # fmt: skip


def coarse_steps_of(c: KolmogorovConfiguration, coarse: FlowSolver) -> int:
    """In how many steps of RK4 the coarse solver takes the coarse time step: as the settings say, or as it needs."""
    needed = steps_of(c, coarse)
    if c.coarse_steps and 2 * c.coarse_steps < needed:
        raise ValueError(
            f"{c.coarse_steps} coarse steps in a time step of {c.time_step:g} are too few on {coarse.points} points: "
            f"stability needs about {needed}; set coarse_steps to 0 to have as many as needed"
        )
    return c.coarse_steps or needed


def fine_steps_of(c: KolmogorovConfiguration) -> int:
    """In how many steps of RK4 the reference takes the coarse time step: as the settings say, or as it needs."""
    return c.fine_steps or steps_of(c, flow_of(c, c.fine_solver, c.fine_cells))


def flow_of(c: KolmogorovConfiguration, scheme: str, points: int, **model: Any) -> FlowSolver:
    """The flow by a scheme (:data:`SCHEMES`) on a grid; finite volumes with a model of their own, if one is given."""
    flow: dict[str, Any] = {"drag": c.drag, "strength": c.strength}
    kind, convection = SCHEMES[scheme]
    if kind == "staggered":
        return (StaggeredSmagorinsky if model else StaggeredFlow)(points, c.forcing, convection, **flow, **model)
    return KolmogorovFlow(points, c.forcing, PADDING_OF[kind], **flow)


def coarse_solver(c: KolmogorovConfiguration, points: int | None = None) -> FlowSolver:
    """The coarse solver of a configuration, without a model, on ``points`` (default: the coarse grid's)."""
    return flow_of(c, c.convection if c.solver == "staggered" else c.solver, c.cells if points is None else points)


def coarse_models(c: KolmogorovConfiguration, dtype: Any) -> dict[str, FlowSolver]:
    """Models on the coarse grid, by name: eddy viscosities, and for finite volumes the other convection."""
    constant = jnp.asarray(c.smagorinsky, dtype)
    models = {"smagorinsky": with_constant(coarse_solver(c), constant)}
    if c.solver == "staggered":
        models["dynamic"] = flow_of(c, c.convection, c.cells, dynamic=True)
        models |= {other: flow_of(c, other, c.cells) for other in CONVECTIONS if other != c.convection}
    return models


def finer_flows(c: KolmogorovConfiguration, coarse: CoarseFlow) -> dict[str, Reference]:
    """The coarse solver on finer grids, and other solvers, by name; without the reference itself."""
    flows = {
        f"{points}x{points}": coarse_solver(c, points)
        for points in c.finer
        if c.cells < points and (points < c.fine_cells or c.solver != "spectral")
    }
    for name in c.others:
        scheme, points = name.split()
        if scheme != "spectral" or int(points) < c.fine_cells:
            flows[name] = flow_of(c, scheme, int(points))
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
    if model == "dynamic":
        return flow_of(c, scheme, points, dynamic=True)
    plain = flow_of(c, scheme, points)
    return with_constant(plain, jnp.asarray(smagorinsky_constant(c, scheme), c.precision)) if model else plain


def model(flow: FlowSolver, fastest: float = math.inf) -> FlowModel:
    """A discretisation as a solver: spectral ones march spectra, finite volumes velocities."""
    return (
        SpectralFlow(flow, fastest=fastest) if isinstance(flow, KolmogorovFlow) else CoarseFlow(flow, fastest=fastest)
    )
