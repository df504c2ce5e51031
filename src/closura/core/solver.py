"""What steps a case on a grid: coarse, baseline, fine, reference and exact solvers have one interface."""

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.core.case import Case
from closura.core.specification import Closure as Closure
from closura.core.transfer import transfer
from closura.grids import Grid

State = PyTree[Array]
Parameters = PyTree[Array]


def step_like(dt: Float[Array, ""], state: State) -> Float[Array, ""]:
    """A time step in the precision of a state, so that a step does not change the state's type."""
    kinds = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return dt.astype(jnp.finfo(kinds[0]).dtype) if kinds else dt


class Solver(eqx.Module):
    """Steps a case on a grid; traceable by JAX.

    A subclass says at least what ``grid`` it stands on and how to :meth:`advance`. What is inherited suits states that
    are fields ``(component, *grid)`` of point values, which a closure observes as they are and corrects by subtracting
    its action before each step.
    """

    if TYPE_CHECKING:  # a static field or a property

        @property
        def grid(self) -> Grid:
            """The grid that states live on."""

    else:
        grid: eqx.AbstractVar[Grid]

    @abc.abstractmethod
    def advance(self, state: State, parameters: Parameters, dt: float | Float[Array, ""]) -> State:
        """One step of length ``dt`` without a closure."""

    # How a simulation begins, and how its states compare with those of others ----------------------------------------

    def init(self, case: Case) -> tuple[State, Parameters]:
        """State and parameters on this grid, from a case that may be given on a finer one.

        By default the initial field is taken to this grid (:func:`closura.core.transfer.transfer`), and parameters are
        as they are.
        """
        return transfer(case.initial, self.grid), case.parameters

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *grid"]:
        """The state as a field on another grid, where solvers are compared.

        By default by :func:`closura.core.transfer.transfer`. The exact solution is evaluated there.
        """
        return transfer(state, grid)

    def adopt(self, state: State, of: "Solver") -> State:
        """A state of another solver of the same problem as a state of this one: whatever its grid and representation.

        By default the other's field on this grid.
        """
        return of.to_grid(state, self.grid)

    def begun(self, state: State, parameters: Parameters, *, key: Key[Scalar, ""]) -> State:
        """The state at the beginning of a simulation, with what it draws at random: by default as it is.

        Members of an ensemble have different keys.
        """
        return state

    random: ClassVar[bool] = False
    """Whether simulations from one state differ by what :meth:`begun` draws."""

    def alone(self) -> "Solver":
        """The solver without what concerns closures alone: equal for two solvers that advance alike."""
        return self

    def is_valid(self, state: State) -> Bool[Array, ""]:
        """Whether a state is one that the solver can go on from: finite, unless a solver knows better."""
        return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]))

    def valid_cells(self, state: State) -> Bool[Array, "*grid"] | None:
        """In which cells a state is one that the solver can go on from, where it can tell.

        Such a simulation stops after the first step that leaves a cell without, which is reported with the cell.
        """
        return None

    invalid: ClassVar[str] = "not valid"
    """What is wrong with a finite state in a cell that is not valid, in words."""

    # Time steps ------------------------------------------------------------------------------------------------------

    steady: ClassVar[bool] = False
    """Whether steps by a Courant number have one length between two times at which a simulation is looked at."""

    @property
    def courant_limit(self) -> float:
        """The largest stable Courant number; infinite where there is no limit."""
        return float("inf")

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        """The Courant number of a step of length one; zero where steps have no limit."""
        return jnp.zeros(())

    @property
    def known_rate(self) -> float | None:
        """The rate, where it is one number for all states and parameters; None where it is not.

        Steps of a Courant number then have one length that is known before anything is compiled.
        """
        return None

    def prepared(self, dt: float) -> "Solver":
        """The solver for steps of one known length, with what these have in common computed once; by default itself."""
        return self

    recorded: ClassVar[bool] = False
    """Whether states are read instead of computed: steps then have no cost."""

    # Where and how it runs -------------------------------------------------------------------------------------------

    @property
    def differentiable(self) -> bool:
        """Whether a step has a gradient, which learners through time need."""
        return True

    @property
    def side_by_side(self) -> int:
        """How many simulations are best stepped at a time, where memory does not matter."""
        return 1

    # Closures --------------------------------------------------------------------------------------------------------

    @property
    def calls_per_step(self) -> int:
        """How often a step calls its closure: once for a forcing, once per stage for fluxes at every stage."""
        return 1

    def observe(self, state: State, parameters: Parameters) -> Float[Array, "observation *grid"]:
        """What a closure is shown: the state in float32 by default."""
        return jnp.asarray(state, jnp.float32)

    def correct(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], action: Float[Array, "action *grid"]
    ) -> State:
        """The state that an action makes of another: the action is subtracted."""
        return state - jnp.asarray(action, jnp.asarray(state).dtype)

    def corrected_step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None
    ) -> tuple[State, State]:
        """One step, and the state with the correction alone, which rewards are made of.

        By default a correction and then :meth:`advance`; solvers that call closures elsewhere in their step override
        this.
        """
        if closure is not None:
            state = self.correct(state, parameters, dt, closure(self.observe(state, parameters)))
        return self.advance(state, parameters, dt), state

    def step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None = None
    ) -> State:
        """One step of length ``dt``, corrected by a closure where there is one."""
        return self.corrected_step(state, parameters, dt, closure)[0]

    def step_each(
        self,
        state: State,
        parameters: Parameters,
        dt: float | Float[Array, ""],
        closures: Sequence[Closure | None],
    ) -> list[State]:
        """One step from the same state with each of several closures; for solvers that share work among them."""
        return [self.step(state, parameters, dt, closure) for closure in closures]

    def march(
        self,
        state: State,
        parameters: Parameters,
        dt: float | Float[Array, ""],
        steps: int,
        closure: Closure | None = None,
    ) -> State:
        """``steps`` steps of length ``dt``, a fixed number; for solvers that can do better than one after the other."""
        if steps == 1:
            return self.step(state, parameters, dt, closure)
        return jax.lax.scan(lambda s, _: (self.step(s, parameters, dt, closure), None), state, None, length=steps)[0]
