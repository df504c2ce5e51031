"""The concept of a problem: a coarse solver, a reference, and what a closure observes and answers.

A :class:`Problem` is a record of parts, not a base class, and control is inverted: the solver calls the closure. A
network, a policy that samples and records, or none at all is handed to :meth:`Problem.step` as a plain callable, so
evaluation, gradients through time and reinforcement learning drive the very same solver.
"""

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree, Scalar

from closura.core import ClosureSpec
from closura.core.case import Case, CaseSampler
from closura.core.mistakes import in_words, told_as
from closura.core.solver import Closure, Parameters, Solver, State
from closura.grids import Grid
from closura.problems.reference import Reference

Field = Float[Array, "component *grid"]


@dataclass(frozen=True)
class Quantity:
    """Something that the equations conserve, or nearly so: ``of(state)``, the total of a component, an energy."""

    name: str
    of: Callable[[Field], Float[Array, ""]]


def total(component: int) -> Callable[[Field], Float[Array, ""]]:
    """The sum of a component over the grid, as a quantity."""
    return _Total(component)


@dataclass(frozen=True)
class _Total:
    component: int

    def __call__(self, state: Field) -> Float[Array, ""]:
        return jnp.sum(state[self.component])


def measure(quantities: tuple[Quantity, ...], state: Field) -> Float[Array, " quantity"]:
    """All quantities of a state, ``(quantity,)``."""
    return jnp.stack([q.of(state) for q in quantities]) if quantities else jnp.zeros((0,), state.dtype)


class InitialState(NamedTuple):
    """Where a simulation starts: coarse state, parameters on the coarse grid, state of the reference.

    ``quantities`` are the values of the conserved quantities in the coarse initial state, before any burn-in, which the
    global term of the reward refers to; ``group`` is that of the case.
    """

    state: Float[Array, "component *grid"]
    parameters: PyTree[Array]
    reference: PyTree[Array]
    quantities: Float[Array, " quantity"]
    group: Int[Array, ""] | None = None


class Transition(NamedTuple):
    """One coarse step as a reward sees it; all fields are ``(component, *grid)`` on the coarse grid.

    ``acted`` is the state after the action and before the solver, ``reference`` is the reference at the time of
    ``state`` and ``next_reference`` at that of ``next_state``; ``quantities`` are the conserved quantities at the
    start, and ``parameters`` those of the coarse simulation.
    """

    state: Float[Array, "component *grid"]
    acted: Float[Array, "component *grid"]
    next_state: Float[Array, "component *grid"]
    reference: Float[Array, "component *grid"]
    next_reference: Float[Array, "component *grid"]
    quantities: Float[Array, " quantity"]
    parameters: PyTree[Array] = None


class Begin(eqx.Module):
    """Draws the beginning of a simulation from a random key."""

    @abc.abstractmethod
    def __call__(self, *, key: Key[Scalar, ""]) -> InitialState:
        """Coarse state, parameters and state of the reference, all at the same time."""

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> InitialState:
        """Simulation ``number`` of a batch: where initial data follow a schedule, the number decides."""
        return self(key=key)

    def anywhere(
        self, room: int, *, early: float = 1.0, number: Int[Array, ""] | None = None, key: Key[Scalar, ""]
    ) -> tuple[InitialState, Int[Array, ""]]:
        """A beginning on the reference in the middle of a simulation, with ``room`` more steps, and its step.

        The step is a share ``r^early`` of the simulation, r uniform in 0 to 1: above one favours early times.
        Where that is not possible, an ordinary beginning at step 0 (of simulation ``number`` of a batch, if given).
        """
        initial = self(key=key) if number is None else self.member(number, key=key)
        return initial, jnp.zeros((), jnp.int32)


class SimulatedBegin(Begin):
    """Draw a case, and let both simulations burn in without a closure.

    Parameters
    ----------
    cases
        Draws cases on the fine grid.
    coarse, reference
        Those of the problem.
    burn_in
        Coarse steps that both simulations take before the first observation (published: 1).
    time_step
        Their length.
    quantities
        The problem's conserved quantities.
    """

    cases: CaseSampler
    coarse: Solver
    reference: Reference
    burn_in: int = eqx.field(static=True, default=0)
    time_step: float = eqx.field(static=True, default=1.0)
    quantities: tuple[Quantity, ...] = eqx.field(static=True, default=())

    def __call__(self, *, key: Key[Scalar, ""]) -> InitialState:
        return self.from_case(self.cases.sample(key=key))

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> InitialState:
        return self.from_case(self.cases.member(number, key=key))

    def from_case(self, case: Case) -> InitialState:
        """The beginning that belongs to a given case."""
        state, parameters = self.coarse.init(case)
        quantities = measure(self.quantities, state)
        reference = self.reference.init(case)
        for _ in range(self.burn_in):
            reference = self.reference.advance(reference, state, parameters, self.time_step)
            state = self.coarse.step(state, parameters, self.time_step)
        return InitialState(state, parameters, reference, quantities, case.group)


class FixedBegin(Begin):
    """Always the same beginning, for example a user's own initial field."""

    initial: InitialState

    def __call__(self, *, key: Key[Scalar, ""]) -> InitialState:
        return self.initial


@dataclass(frozen=True)
class EpisodeRules:
    """When an episode of learning ends.

    An episode ends when the error has reached ``error_threshold`` and at least ``minimum`` steps were taken,
    and in any case after ``maximum`` steps (Closure-RL, section "adaptive truncation").
    """

    minimum: int = 4
    maximum: int = 100
    error_threshold: float = 0.015

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise ValueError(f"episodes need 1 <= minimum <= maximum steps; got {self.minimum} and {self.maximum}")


def field_type(precision: str) -> Any:
    """The type of fields of a precision; 64-bit arrays have to be on for "float64"."""
    if precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise ValueError("precision float64 needs 64-bit arrays: jax.config.update('jax_enable_x64', True) first")
    return {"float32": jnp.float32, "float64": jnp.float64}[precision]


@dataclass(frozen=True)
class Methods:
    """``methods(name, grid)``: a problem's methods on any grid. All are equal: no compiled program depends on them."""

    solver: Callable[[str, Grid], Solver] = field(compare=False)

    def __call__(self, name: str, grid: Grid) -> Solver:
        """A method on a grid."""
        return self.solver(name, grid)


class Problem(eqx.Module):
    """Everything that a learner or an evaluation needs to know about a closure problem.

    Parameters
    ----------
    name
        The problem's name.
    begin
        Draws initial conditions (from one split: training, validation or test).
    coarse, reference
        The coarse solver that calls the closure, and what it is measured against.
    baselines
        Classical methods on the same coarse grid by name, run without a closure from the same initial conditions.
    finer
        Classical methods on finer grids by name, run from the same cases and compared on the coarse grid: what a user
        with more time would do instead.
    reward
        ``reward(transition)``: per cell, ``(*grid)``; see :class:`Transition`.
    error
        ``error(state, reference)``: the scalar that counts.
    spec
        The question and the answer.
    episode
        When an episode of learning ends.
    time_step
        Length of a coarse step, in units of the problem; simulations whose parameters have a ``time_step`` have their
        own (:meth:`dt_of`).
    grid
        The coarse grid.
    components
        Names of the state's components.
    quantities
        What the equations conserve: measured in evaluations, and at hand for rewards.
    scale
        ``scale(field)``: the size of a field that ``error`` is relative to, where it is; None where errors are
        absolute. With it errors can be given relative to the initial field as well.
    groups
        Names of the groups that cases fall into, for tables that tell them apart.
    names
        What the coarse solver and the reference are called.
    aggregate
        How the errors of several simulations make one number: the median where errors are relative to the size of
        a field (a single one that fades away would rule the mean), the geometric mean where simulations differ
        much in difficulty and each should count by its relative improvement.
    percent
        Whether errors are shares, said in percent, or said as they are.
    error_name
        What ``error`` is, for tables and figures: "relative MAE", "relative L2 error".
    threshold
        Relative error that still counts as low.
    origin
        Where y = 0 is drawn.
    description
        Where the data come from, said beside every figure.
    methods
        Its methods on any grid, where the problem is described by its solvers.
    """

    name: str = eqx.field(static=True)
    begin: Begin
    coarse: Solver
    reference: Reference
    baselines: dict[str, Solver]
    reward: Callable[[Transition], Float[Array, "*grid"]]
    error: Callable[[Float[Array, "component *grid"], Float[Array, "component *grid"]], Float[Array, ""]] = eqx.field(
        static=True
    )
    spec: ClosureSpec = eqx.field(static=True)
    episode: EpisodeRules = eqx.field(static=True)
    time_step: float = eqx.field(static=True)
    grid: Grid = eqx.field(static=True)
    components: tuple[str, ...] = eqx.field(static=True)
    quantities: tuple[Quantity, ...] = eqx.field(static=True, default=())
    scale: Callable[[Field], Float[Array, ""]] | None = eqx.field(static=True, default=None)
    groups: tuple[str, ...] = eqx.field(static=True, default=())
    names: tuple[str, str] = eqx.field(static=True, default=("CGS", "FGS"))
    threshold: float = eqx.field(static=True, default=0.01)
    origin: Literal["lower", "upper"] = eqx.field(static=True, default="lower")
    finer: dict[str, Reference] = eqx.field(default_factory=dict)
    description: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())
    aggregate: Literal["mean", "median", "geometric"] = eqx.field(static=True, default="mean")
    percent: bool = eqx.field(static=True, default=True)
    error_name: str = eqx.field(static=True, default="relative MAE")
    methods: Methods | None = eqx.field(static=True, default=None)

    @staticmethod
    def from_solvers(**parts: Any) -> "Problem":
        """A problem that is described by its solvers: see :func:`closura.problems.from_solvers.from_solvers`."""
        from closura.problems.from_solvers import from_solvers

        return from_solvers(**parts)

    @staticmethod
    def from_functions(**parts: Any) -> "Problem":
        """A problem that is described by steps of fields: see
        :func:`closura.problems.from_functions.from_functions`.
        """
        from closura.problems.from_functions import from_functions

        return from_functions(**parts)

    def with_baselines(self, further: Mapping[str, Callable[[Grid], Solver]]) -> "Problem":
        """The same problem with baselines from elsewhere, whose names are none of its own."""
        known, baselines = self.methods, {name: make(self.grid) for name, make in further.items()}
        methods = None
        if known is not None:
            methods = Methods(lambda name, grid: further[name](grid) if name in further else known(name, grid))
        return replace(self, baselines={**self.baselines, **baselines}, methods=methods)

    def dt_of(self, parameters: Parameters) -> float | Float[Array, ""]:
        """The coarse time step of a simulation: its own where its parameters have one."""
        own = parameters.get("time_step") if isinstance(parameters, dict) else None
        return self.time_step if own is None else own

    def check_action(self, closure: Closure, name: str) -> None:
        """Refuse a closure whose action is not one of the specification, before anything is compiled."""
        if self.spec.where != "cells" or self.coarse.calls_per_step != 1:
            return

        def seen() -> Array:
            begun = self.begin(key=jax.random.key(0))
            return self.coarse.observe(begun.state, begun.parameters)

        observation = eqx.filter_eval_shape(seen)
        with told_as(f"{name}, called with an observation of shape {observation.shape}"):
            action = eqx.filter_eval_shape(closure, observation)
        expected = (len(self.spec.action), *observation.shape[1:])
        if jnp.shape(action) != expected:
            raise ValueError(
                f"{name} must give an action of shape {expected}, with channels {', '.join(self.spec.action)}, for an "
                f"observation of shape {observation.shape}; got {in_words(action)}"
            )

    def step(self, state: State, parameters: Parameters, closure: Closure | None = None) -> tuple[State, State]:
        """One coarse step, and the state with the correction alone (:meth:`~closura.Solver.corrected_step`)."""
        return self.coarse.corrected_step(state, parameters, self.dt_of(parameters), self.spec.limit(closure))

    def uncorrected(self, own: "Problem") -> str:
        """What the solver of a closure's own problem is called among this problem's methods, without the closure.

        The name of the method that is this solver; where there is none, a name that no method has.
        """
        rows = {self.names[0]: self.coarse, **self.baselines}
        name = own.names[0]
        if name in rows and self._advances_as(own, rows[name]):
            return name
        if name not in rows:
            return name
        for row, solver in rows.items():
            if self._advances_as(own, solver):
                return row
        said, mine = dict(own.description), dict(self.description)
        differs = [said[key] for key in ("solver", "time step") if key in said and said[key] != mine.get(key)]
        return f"{name} ({differs[0] if differs else 'its own solver'})"

    def _advances_as(self, own: "Problem", solver: Solver) -> bool:
        """Whether the coarse solver of another problem without a closure is a solver of this one."""
        return own.time_step == self.time_step and bool(eqx.tree_equal(own.coarse.alone(), solver.alone()))


def with_reference(problem: Problem, reference: Reference) -> Problem:
    """The same problem with another reference, from the same cases."""
    begin = replace(problem.begin, reference=reference)  # type: ignore[call-arg]
    return replace(problem, begin=begin, reference=reference)
