"""The problems whose agents weigh fluxes: laws, initial conditions and the usual settings of their evaluation."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from closura.initial.burgers import BURGERS_1D, BURGERS_2D, EVALUATION_1D, EVALUATION_2D, burgers_1d, burgers_2d
from closura.initial.condition import ENDS, End, InitialCondition
from closura.initial.gas import EULER_1D, EULER_2D, euler_1d, euler_2d
from closura.problems.laws.fluxes import Splitting
from closura.problems.laws.law import Burgers, ConservationLaw, Euler


@dataclass(frozen=True)
class LawProblem:
    """A law in one or two dimensions, with its named initial conditions and what is usual in their evaluation.

    ``find`` is the initial condition of a name, ``usual`` are those that are evaluated unless others are asked for.
    ``time`` is the end of all simulations (None: each condition's own), ``norm`` "l1" or "l2", and ``shifts`` the usual
    number of random shifts by less than a cell that errors are averaged over.
    """

    name: str
    title: str
    law: ConservationLaw
    find: Callable[[str], InitialCondition]
    names: tuple[str, ...]
    usual: tuple[str, ...]
    integrator: str
    courant: float
    splitting: Splitting
    cells: int
    time: float | None
    norm: str
    shifts: int = 0

    @property
    def quantity(self) -> str:
        """Name of the variable whose errors are measured: the first conserved one."""
        return self.law.components[0]


SHIFTS = 16
"""Enough for the luck of where shocks stand in their cells; affordable in one dimension."""

LAW_PROBLEMS: dict[str, LawProblem] = {
    problem.name: problem
    for problem in (
        LawProblem(
            "burgers-1d", "scalar inviscid Burgers equation in one dimension", Burgers(dimensions=1), burgers_1d,
            tuple(BURGERS_1D), EVALUATION_1D, "rk4", 0.1, "global", 128, 0.2, "l2", SHIFTS,
        ),
        LawProblem(
            "burgers-2d", "scalar inviscid Burgers equation in two dimensions", Burgers(dimensions=2), burgers_2d,
            (*BURGERS_2D, "1d-NAME-x", "1d-NAME-y", "combo-NAME-NAME"), EVALUATION_2D,
            "rk4", 0.1, "line", 64, None, "l2",
        ),
        LawProblem(
            "euler-1d", "Euler equations of an ideal gas in one dimension", Euler(dimensions=1), euler_1d,
            tuple(EULER_1D), ("sod", "lax", "sod2", "shu-osher"), "ssp-rk3", 0.4, "global", 128, None, "l1", SHIFTS,
        ),
        LawProblem(
            "euler-2d", "Euler equations of an ideal gas in two dimensions", Euler(dimensions=2), euler_2d,
            (*EULER_2D, "1d-NAME-x", "1d-NAME-y"), ("riemann-3", "isentropic-vortex"),
            "ssp-rk3", 0.4, "line", 48, None, "l1",
        ),
    )
}  # fmt: skip


def find_condition(problem: LawProblem, name: str, boundary: End | None = None) -> InitialCondition:
    """An initial condition of a problem, with another boundary on request.

    Raises
    ------
    ValueError
        If the problem has none of that name (the message says whose it is, or lists the valid ones), or the
        condition does not suit the boundary.
    """
    try:
        condition = problem.find(name)
    except ValueError:
        plain = name.replace("_", "-")
        others = [other.name for other in LAW_PROBLEMS.values() if plain in other.names]
        belongs = f": it is one of {' and '.join(others)}" if others else ""
        raise ValueError(
            f"{name!r} is no initial condition of {problem.name}{belongs}; valid: {', '.join(problem.names)}"
        ) from None
    return condition if boundary is None else with_boundary(condition, boundary)


def with_boundary(condition: InitialCondition, boundary: End) -> InitialCondition:
    """The same initial state with another boundary on all sides; its solution is then known from a finer grid."""
    if boundary not in ENDS:
        raise ValueError(f"unknown boundary {boundary!r}; valid: {', '.join(ENDS)}")
    ends = (boundary,) * condition.dimensions
    if ends == condition.ends:
        return condition
    if boundary == "periodic":
        middle = [(low + high) / 2 for low, high in zip(condition.lower, condition.upper, strict=True)]
        for axis in range(condition.dimensions):
            if condition.ends[axis] == "periodic":
                continue
            inside = 1e-9 * condition.extent[axis]
            places = (condition.lower[axis] + inside, condition.upper[axis] - inside)
            left, right = (
                condition(*(np.asarray([x if a == axis else middle[a]]) for a in range(condition.dimensions)))[:, 0]
                for x in places
            )
            if not np.allclose(left, right, rtol=1e-5, atol=1e-5):
                raise ValueError(
                    f"{condition.name} does not suit a periodic boundary: it is {left.tolist()} at the lower end of "
                    f"axis {axis} and {right.tolist()} at the upper; leave its own boundary "
                    f"({', '.join(condition.ends)}), or choose another initial condition"
                )
    return replace(condition, ends=ends, reference="fine", translation=())
