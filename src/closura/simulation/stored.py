"""Fields that were computed before - an exact solution, a simulation from a cache - as a solver to compare with."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from closura.core.case import Case
from closura.core.method import Method, Role, StepRule
from closura.core.solver import Solver
from closura.grids import Grid


class StoredFields(Solver):
    """Fields of all cases at all times, the beginning first; a step leads to the next time.

    The parameters of a case hold its ``number``, by which its fields are found.
    """

    grid: Grid = eqx.field(static=True)
    fields: Float[Array, "case time component *grid"]

    def init(self, case: Case) -> tuple[tuple[Int[Array, ""], Int[Array, ""]], None]:
        """The case's number, and that of the first time."""
        return (case.parameters["number"], jnp.zeros((), jnp.int32)), None

    def advance(
        self, state: tuple[Int[Array, ""], Int[Array, ""]], parameters: None, dt: object
    ) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """The next time."""
        return state[0], state[1] + 1

    def to_grid(self, state: tuple[Int[Array, ""], Int[Array, ""]], grid: Grid) -> Float[Array, "component *grid"]:
        """The fields as they are: they are kept on the grid of comparison."""
        return self.fields[state]

    def valid_cells(self, state: tuple[Int[Array, ""], Int[Array, ""]]) -> Bool[Array, "*grid"]:
        """Where fields are finite."""
        return jnp.all(jnp.isfinite(self.fields[state]), axis=0)


def stored_reference(grid: Grid, fields: Float[Array | np.ndarray, "case time component *grid"]) -> Method:
    """Stored fields as the reference of a comparison."""
    return Method(StoredFields(grid, jnp.asarray(fields)), Role.REFERENCE, StepRule(courant=1.0))
