"""From a problem that is described by its solvers to what learners and comparisons work with."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree, Scalar

from closura.core.case import Case, CaseSampler
from closura.core.problem import Problem as Described
from closura.core.solver import Solver, State
from closura.decision import Decision
from closura.problems.measures import SquaredErrorReduction
from closura.problems.problem import Ask, Draw, Dynamics, EpisodeRules, Problem, Quantity, SimulatedBegin, Target

Field = Float[Array, "component *grid"]


class SolverDynamics(Dynamics):
    """A solver with a fixed time step; actions are clipped to the specification's bound."""

    solver: Solver
    time_step: float = eqx.field(static=True)
    bound: float = eqx.field(static=True)

    @property
    def asks(self) -> int:
        """As often as the solver calls its closure."""
        return self.solver.calls_per_step

    def start(self, draw: Draw) -> tuple[State, PyTree[Array]]:
        """As the solver begins a case; the group stands beside the solver's own parameters."""
        state, own = self.solver.init(as_case(draw))
        return state, {**draw.parameters, "own": own}

    def observe(self, state: State, parameters: PyTree[Array]) -> Float[Array, "observation *grid"]:
        """As the solver shows its state."""
        return self.solver.observe(state, parameters["own"])

    def step(self, state: State, parameters: PyTree[Array], ask: Ask | None) -> tuple[State, State]:
        """One step, and the state with the correction alone."""
        closure = None
        if ask is not None:
            bound, given = self.bound, ask
            closure = lambda seen: jnp.clip(given(seen), -bound, bound)
        return self.solver.corrected_step(state, parameters["own"], self.time_step, closure)

    def adopt(self, state: State, of: Dynamics) -> State:
        """The same field on this solver's grid, in its representation."""
        assert isinstance(of, SolverDynamics)
        return state if of.solver is self.solver else self.solver.adopt(state, of.solver)

    def advances_as(self, other: Dynamics) -> bool:
        """The same solver with the same step."""
        same = isinstance(other, SolverDynamics) and self.time_step == other.time_step
        return same and bool(eqx.tree_equal(self.solver, other.solver))  # type: ignore[attr-defined]

    def admits(self, state: State) -> Bool[Array, ""]:
        """As the solver says."""
        return self.solver.is_valid(state)


class SolverTarget(Target):
    """A reference: a solver beside the coarse one, in steps that make up a coarse step."""

    depends_on_state: ClassVar[bool] = False
    solver: Solver
    coarse: Solver
    time_step: float = eqx.field(static=True)
    substeps: int = eqx.field(static=True)

    def start(self, draw: Draw) -> tuple[State, PyTree[Array]]:
        """State and parameters of the reference."""
        return self.solver.init(as_case(draw))

    def advance(
        self, target: tuple[State, PyTree[Array]], state: State, parameters: PyTree[Array]
    ) -> tuple[State, PyTree[Array]]:
        """The steps of one coarse step."""
        own, theirs = target
        return self.solver.march(own, theirs, self.time_step / self.substeps, self.substeps), theirs

    def observe(self, target: tuple[State, PyTree[Array]]) -> State:
        """As a state of the coarse solver."""
        return self.coarse.adopt(target[0], self.solver)


class CaseDraw(eqx.Module):
    """Draws of a case sampler."""

    cases: CaseSampler

    def __call__(self, *, key: Key[Scalar, ""]) -> Draw:
        """A case from a key."""
        return _draw(self.cases.sample(key=key))

    def member(self, number: Int[Array, ""], *, key: Key[Scalar, ""]) -> Draw:
        """Case ``number`` of a batch."""
        return _draw(self.cases.member(number, key=key))


def _draw(case: Case) -> Draw:
    return Draw(case.initial, {"own": case.parameters, **({} if case.group is None else {"group": case.group})})


def as_case(draw: Draw) -> Case:
    """The case that a draw was made of."""
    return Case(draw.initial, draw.parameters["own"], draw.parameters.get("group"))


def from_solvers(name: str, described: Described, split: str = "train") -> Problem:
    """The problem that learners and comparisons work with.

    Parameters
    ----------
    name
        The problem's name.
    described
        What its author wrote.
    split
        Named in the description where the author says nothing of how data are kept apart.

    Raises
    ------
    ValueError
        If the author's solvers or cases do not fit together; says which.
    """
    d, spec = described, described.closure_spec()

    def on(method: str, grid: Any) -> Solver:
        made = d.solver(method, grid)
        if not isinstance(made, Solver):
            raise ValueError(f"{name}: solver({method!r}, grid) must give a closura.Solver; got {type(made).__name__}")
        return made

    coarse, (reference, fine) = on(d.uncorrected, d.grid), d.reference
    dynamics = SolverDynamics(coarse, d.dt, spec.bound)
    target = SolverTarget(on(reference, fine), coarse, d.dt, d.reference_substeps)
    quantities = tuple(Quantity(what, of) for what, of in d.conserved)
    _check(name, d, dynamics, target, spec)
    reward: Callable[..., Any] = d.reward or SquaredErrorReduction()
    called = f"{reference} {fine.shape[0]}" if reference in (d.uncorrected, *d.baselines) else reference
    return Problem(
        name=name,
        begin=SimulatedBegin(CaseDraw(d.cases), dynamics, target, quantities=quantities),
        dynamics=dynamics,
        target=target,
        rivals={method: SolverDynamics(on(method, d.grid), d.dt, spec.bound) for method in d.baselines},
        reward=reward,
        error=d.error.of,
        decision=spec,
        episode=EpisodeRules(min(4, d.horizon), d.horizon, float("inf")),
        time_step=d.dt,
        grid=d.grid,
        components=d.components,
        quantities=quantities,
        groups=d.groups,
        names=(d.uncorrected, called),
        threshold=d.threshold,
        description=tuple({"split": f"{split} set: drawn by its own random keys", **d.description}.items()),
        typical=d.error.aggregate,
        percent=d.error.percent,
        error_name=d.error.title,
    )


def _check(name: str, d: Described, dynamics: SolverDynamics, target: SolverTarget, spec: Decision) -> None:
    """Shapes that do not fit are told before anything is compiled."""

    def begun() -> tuple[Any, ...]:
        draw = CaseDraw(d.cases)(key=jax.random.key(0))
        state, parameters = dynamics.start(draw)
        truth = target.observe(target.start(draw))
        after, _ = dynamics.step(state, parameters, None)
        return state, truth, after, dynamics.observe(state, parameters)

    state, truth, after, seen = eqx.filter_eval_shape(begun)
    for what, found in (("its reference on the coarse grid", truth), ("its state after a step", after)):
        shapes = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(state)]
        others = [(leaf.shape, leaf.dtype.name) for leaf in jax.tree.leaves(found)]
        if shapes != others:
            raise ValueError(f"problem {name}: {what} must be like its initial state, {shapes}; got {others}")
    expected = (len(spec.observation), *d.grid.shape)
    if seen.shape != expected:
        raise ValueError(
            f"problem {name}: an observation must have shape {expected}, with channels {', '.join(spec.observation)}; "
            f"got {seen.shape}"
        )
