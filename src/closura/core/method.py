"""A method in a comparison: a solver with or without a closure, in a role, with a rule for its time step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from closura.core.solver import Closure, Solver


class Role(StrEnum):
    """The part that a method has in a comparison; said when it is made, never guessed from its name.

    ``UNCORRECTED`` is the coarse solver that closures correct, without one; ``BASELINE`` a classical method on the same
    grid, ``FINE_BASELINE`` one on a finer, ``COARSE_BASELINE`` one on a coarser grid; ``REFERENCE`` is what errors are
    measured against; ``CLOSURE`` a solver with a learned closure; ``NAIVE`` a forecast that solves nothing, such as the
    initial state held (persistence): it is shown, and no verdict is against it.
    """

    UNCORRECTED = "uncorrected"
    BASELINE = "baseline"
    FINE_BASELINE = "fine baseline"
    COARSE_BASELINE = "coarser baseline"
    REFERENCE = "reference"
    CLOSURE = "closure"
    NAIVE = "naive forecast"

    @property
    def learned(self) -> bool:
        """Whether a method of this role has learned parameters."""
        return self is Role.CLOSURE

    @property
    def has_error(self) -> bool:
        """Whether a method of this role is measured against the reference."""
        return self is not Role.REFERENCE


@dataclass(frozen=True)
class StepRule:
    """How long time steps are: of a fixed length, or by a Courant number of each simulation's own state.

    Steps between two times at which a simulation is looked at are no longer than the rule says, and land on the times:
    all of them a little shorter, or with ``even=False`` the last one alone.

    Parameters
    ----------
    dt
        The length of all steps.
    courant
        The Courant number instead.
    exact
        Fixed steps that divide the times exactly, or are refused: for closures, which belong to one step.
    even
        Whether all steps to the next time are shortened alike where they do not divide it.

    Raises
    ------
    ValueError
        If not one of both is given, or it is not positive.
    """

    dt: float | None = None
    courant: float | None = None
    exact: bool = False
    even: bool = True

    def __post_init__(self) -> None:
        given = [value for value in (self.dt, self.courant) if value is not None]
        if len(given) != 1 or not 0 < given[0] < math.inf:
            raise ValueError(
                f"a step rule is a positive dt or a positive Courant number; got {self.dt}, {self.courant}"
            )
        if self.exact and (self.dt is None or not self.even):
            raise ValueError("only even steps of a fixed length can divide times exactly")

    def __str__(self) -> str:
        return f"C {self.courant:.3g}" if self.dt is None else f"dt {self.dt:.3g}"


@dataclass(frozen=True, eq=False)
class Method:
    """A solver with or without a closure.

    Parameters
    ----------
    solver
        On its own grid.
    role
        Its part in the comparison.
    step
        The rule for its time step.
    closure
        Corrects the solver.
    family
        Methods of one family differ in grid and step alone, and share a colour; by default the method's name.
    corrects
        For closures, the name of the method whose solver they correct.
    favoured_by
        References that share scheme and grid with it: it is near them whatever its error is, so it has no place on
        their fronts.
    note
        What a reader should know, for tables.
    burn_in
        Steps that simulations have made before the method begins.
    facts
        Further words or numbers, coordinates along ``method`` in results.
    """

    solver: Solver
    role: Role
    step: StepRule
    closure: Closure | None = None
    family: str = ""
    corrects: str = ""
    favoured_by: frozenset[str] = field(default=frozenset())
    note: str = ""
    burn_in: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
