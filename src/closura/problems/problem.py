"""The concept of a problem: a coarse simulation, something to trust, and a question put to a closure.

A :class:`Problem` is a record of parts, not a base class, and control is inverted: the dynamics *ask*. Whatever
answers - a network, a policy that samples and records, nothing at all - is handed to ``Dynamics.step`` as a
plain callable, so evaluation, gradients through time and reinforcement learning drive the very same solver.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Scalar

from closura.core import ClosureSpec
from closura.grids import Grid

Field = Float[Array, "component *grid"]
Ask = Callable[[Float[Array, "observation *grid"]], Float[Array, "action *grid"]]


@dataclass(frozen=True)
class Quantity:
    """Something that the problem's equations conserve, or nearly so: the total of a component, an energy.

    Parameters
    ----------
    name
        For tables and figures ("mass").
    of
        The quantity of a coarse state ``(component, *grid)``: a scalar.
    """

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


class Draw(NamedTuple):
    """Initial state and parameters of one simulation, on the fine grid."""

    initial: PyTree[Array]
    parameters: PyTree[Array]


class Beginning(NamedTuple):
    """Where a simulation starts: coarse state, parameters on the coarse grid, state of the target.

    ``quantities`` are the values of the problem's conserved quantities (see :class:`Quantity`) in the coarse
    initial state, before any burn-in, which the global term of the reward refers to.
    """

    state: Float[Array, "component *grid"]
    parameters: PyTree[Array]
    target: PyTree[Array]
    quantities: Float[Array, " quantity"]


class Transition(NamedTuple):
    """One coarse step as a reward sees it; all fields are ``(component, *grid)`` on the coarse grid.

    ``acted`` is the state after the action and before the solver, ``truth`` belongs to the time of ``state``
    and ``next_truth`` to that of ``next_state``; ``quantities`` are the conserved quantities at the start, and
    ``parameters`` those of the coarse simulation.
    """

    state: Float[Array, "component *grid"]
    acted: Float[Array, "component *grid"]
    next_state: Float[Array, "component *grid"]
    truth: Float[Array, "component *grid"]
    next_truth: Float[Array, "component *grid"]
    quantities: Float[Array, " quantity"]
    parameters: PyTree[Array] = None


class Dynamics(eqx.Module):
    """A coarse solver that asks a closure during its step; traceable by JAX."""

    @property
    @abc.abstractmethod
    def asks(self) -> int:
        """Number of questions per step: a forcing asks once, a flux at every stage of the integrator."""

    @abc.abstractmethod
    def start(self, draw: Draw) -> tuple[Float[Array, "component *grid"], PyTree[Array]]:
        """Coarse initial state and coarse parameters of a draw."""

    @abc.abstractmethod
    def observe(
        self, state: Float[Array, "component *grid"], parameters: PyTree[Array]
    ) -> Float[Array, "observation *grid"]:
        """What a closure is shown of a state."""

    @abc.abstractmethod
    def step(
        self, state: Float[Array, "component *grid"], parameters: PyTree[Array], ask: Ask | None
    ) -> tuple[Float[Array, "component *grid"], Float[Array, "component *grid"]]:
        """Advance by one coarse time step; returns the next state and the state that the action made.

        ``ask=None`` runs the solver alone.
        """

    def adopt(self, state: Float[Array, "component *grid"], of: "Dynamics") -> Float[Array, "component *grid"]:
        """A state of another solver of the same problem as a state of this one.

        Solvers of one problem may represent fields differently (values in points, means over faces): whoever hands
        states, truth or errors from one to another goes through here. The same state, unless a solver knows better.
        """
        return state

    def advances_as(self, other: "Dynamics") -> bool:
        """Whether both are the same solver once no closure is asked; where names tell solvers apart, always."""
        return True

    def admits(self, state: Float[Array, "component *grid"]) -> Bool[Array, ""]:
        """Whether a state is one that the solver can go on from: finite, unless a solver knows better."""
        return jnp.all(jnp.isfinite(state))


class Target(eqx.Module):
    """Something trusted that runs beside the coarse simulation.

    ``depends_on_state`` is false where the truth takes no notice of the coarse run: it can then be computed
    once and stored (:mod:`closura.problems.stored`).
    """

    depends_on_state: eqx.AbstractClassVar[bool]

    @abc.abstractmethod
    def start(self, draw: Draw) -> PyTree[Array]:
        """State of the target at the time of the draw."""

    @abc.abstractmethod
    def advance(
        self, target: PyTree[Array], state: Float[Array, "component *grid"], parameters: PyTree[Array]
    ) -> PyTree[Array]:
        """Advance by one coarse time step."""

    def advance_beside(
        self,
        target: PyTree[Array],
        dynamics: Dynamics,
        state: Float[Array, "component *grid"],
        parameters: PyTree[Array],
        ask: Ask | None,
    ) -> tuple[Float[Array, "component *grid"], Float[Array, "component *grid"], PyTree[Array]]:
        """One step of a coarse simulation (see :meth:`Dynamics.step`) and of the target beside it.

        For targets that share work with the simulation.
        """
        following, acted = dynamics.step(state, parameters, ask)
        return following, acted, self.advance(target, state, parameters)

    @abc.abstractmethod
    def observe(self, target: PyTree[Array]) -> Float[Array, "component *grid"]:
        """The truth on the coarse grid."""


class Begin(eqx.Module):
    """Draws the beginning of a simulation from a random key."""

    @abc.abstractmethod
    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        """Coarse state, parameters and target, all at the same time."""

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Beginning:
        """Simulation ``number`` of a batch: where initial data follow a schedule, the number decides."""
        return self(key=key)

    def anywhere(
        self, room: int, *, early: float = 1.0, number: Int[Array, ""] | None = None, key: Key[Scalar, ""]
    ) -> tuple[Beginning, Int[Array, ""]]:
        """A beginning on the truth in the middle of a simulation, with ``room`` more steps, and its step.

        The step is a share ``r^early`` of the simulation, r uniform in 0 to 1: above one favours early times.
        Where that is not possible, an ordinary beginning at step 0 (of simulation ``number`` of a batch, if given).
        """
        beginning = self(key=key) if number is None else self.member(number, key=key)
        return beginning, jnp.zeros((), jnp.int32)


class SimulatedBegin(Begin):
    """Draw fine initial data, restrict them, and let both simulations burn in without a closure.

    Parameters
    ----------
    draw
        ``draw(key=key) -> Draw`` on the fine grid; if it has a method ``member(number, key=key)``, that draws the
        simulations of a batch.
    burn_in
        Coarse steps that both simulations take before the first observation (published: 1).
    quantities
        The problem's conserved quantities.
    """

    draw: Callable[..., Draw]
    dynamics: Dynamics
    target: Target
    burn_in: int = eqx.field(static=True, default=0)
    quantities: tuple[Quantity, ...] = eqx.field(static=True, default=())

    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        return self.from_draw(self.draw(key=key))

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Beginning:
        numbered = getattr(self.draw, "member", None)
        return self(key=key) if numbered is None else self.from_draw(numbered(number, key=key))

    def from_draw(self, draw: Draw) -> Beginning:
        """The beginning that belongs to given fine initial data."""
        state, parameters = self.dynamics.start(draw)
        quantities = measure(self.quantities, state)
        target = self.target.start(draw)
        for _ in range(self.burn_in):
            target = self.target.advance(target, state, parameters)
            state, _ = self.dynamics.step(state, parameters, None)
        return Beginning(state, parameters, target, quantities)


class FixedBegin(Begin):
    """Always the same beginning, for example a user's own initial field."""

    beginning: Beginning

    def __call__(self, *, key: Key[Scalar, ""]) -> Beginning:
        return self.beginning


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


class Problem(eqx.Module):
    """Everything that a learner or an evaluation needs to know about a closure problem.

    Parameters
    ----------
    name
        The problem's name.
    begin
        Draws beginnings (from one split: training, validation or test).
    dynamics, target
        The coarse solver that asks and what it is measured against.
    rivals
        Classical methods on the same coarse grid by name, run without a closure from the same beginnings.
    finer
        Classical methods on finer grids by name, run from the same fine initial data and restricted: what a
        user with more time would do instead.
    reward
        ``reward(transition)``: per cell, ``(*grid)``; see :class:`Transition`.
    error
        ``error(state, truth)``: the scalar that counts.
    spec
        The question and the answer.
    episode
        When an episode of learning ends.
    time_step
        Length of a coarse step, in units of the problem.
    grid
        The coarse grid.
    components
        Names of the state's components.
    quantities
        What the equations conserve: measured in evaluations, and at hand for rewards.
    scale
        ``scale(truth)``: the size of a field that ``error`` is relative to, where it is; None where errors are
        absolute. With it errors can be given relative to the initial field as well.
    groups
        Names of the groups that simulations fall into, for tables that tell them apart; the parameters of the
        coarse simulation then are a dictionary whose ``"group"`` is the index of a name.
    names
        What the coarse solver and the truth are called.
    typical
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
    """

    name: str = eqx.field(static=True)
    begin: Begin
    dynamics: Dynamics
    target: Target
    rivals: dict[str, Dynamics]
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
    finer: dict[str, Target] = eqx.field(default_factory=dict)
    description: tuple[tuple[str, str], ...] = eqx.field(static=True, default=())
    typical: Literal["mean", "median", "geometric"] = eqx.field(static=True, default="mean")
    percent: bool = eqx.field(static=True, default=True)
    error_name: str = eqx.field(static=True, default="relative MAE")

    def uncorrected(self, own: "Problem") -> str:
        """What the solver of a closure's own problem is called among this problem's methods, without the closure.

        The name of the method that is this solver; where there is none, a name that no method has.
        """
        rows = {self.names[0]: self.dynamics, **self.rivals}
        name = own.names[0]
        if name in rows and own.dynamics.advances_as(rows[name]):
            return name
        if name not in rows:
            return name
        for row, solver in rows.items():
            if own.dynamics.advances_as(solver):
                return row
        said, mine = dict(own.description), dict(self.description)
        differs = [said[key] for key in ("solver", "time step") if key in said and said[key] != mine.get(key)]
        return f"{name} ({differs[0] if differs else 'its own solver'})"
