"""How many steps of Runge-Kutta a solver of the flow needs in a coarse time step."""

import math

from closura.problems.kolmogorov.configuration import KolmogorovConfiguration, SolverName
from closura.problems.kolmogorov.filtered import FASTEST
from closura.problems.kolmogorov.flow import KolmogorovFlow, Padding
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.staggered import StaggeredFlow

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
    kind: SolverName = "spectral"
    if isinstance(flow, StaggeredFlow):
        kind = "staggered"
    elif isinstance(flow, KolmogorovFlow) and flow.padding == "none":
        kind = "filtered"
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
    return c.fine_steps or steps_of(c, KolmogorovFlow(c.fine_cells, c.forcing, PADDING_OF[c.fine_solver]))
