"""Several methods from the same held-out initial conditions, side by side."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.closures.memory_policy import acting
from closura.core import Case, Method, MethodResult, Metric, Results, Role, StepRule
from closura.core.front import Work
from closura.core.metric import CONSERVATION
from closura.core.solver import Closure, Parameters, Solver, State
from closura.grids import Grid
from closura.problems.problem import Problem, Quantity, SimulatedBegin, with_reference
from closura.problems.reference import SolverReference
from closura.problems.stored import ReferenceStore, check_reference, simulate_reference
from closura.simulation.climate import with_climate
from closura.simulation.compared import compared
from closura.simulation.ensembles import as_run, key_of_case
from closura.simulation.march import DIVERGENCE_FACTOR, Marched
from closura.simulation.simulate import StoredFields, check_further, simulate

ROUND_OFF = 1e-7
"""Relative changes of totals that are only those of float32."""


class _FromStore(Solver):
    """A solver whose cases hold states of a problem's coarse solver, as whose states its own are seen.

    ``case.parameters`` hold the simulation's number in the store and its ``own``, which may have a time step.
    """

    solver: Solver
    problem: Problem

    @property
    def grid(self) -> Grid:
        """That of the solver."""
        return self.solver.grid

    @property
    def side_by_side(self) -> int:
        """That of the solver."""
        return self.solver.side_by_side

    def init(self, case: Case) -> tuple[State, Parameters]:
        """The state of the coarse solver, adopted, with random numbers of the case."""
        state, own = self.solver.adopt(case.initial, self.problem.coarse), case.parameters["own"]
        return (self.solver.begun(state, own, key=key_of_case(case)) if self.solver.random else state), own

    def begun(self, state: State, parameters: Parameters, *, key: Key[Scalar, ""]) -> State:
        """As of the solver."""
        return self.solver.begun(state, parameters, key=key)

    @property
    def random(self) -> bool:  # type: ignore[override]
        """As of the solver."""
        return self.solver.random

    def is_valid(self, state: State) -> Array:
        """As of the solver."""
        return self.solver.is_valid(state)

    def advance(self, state: State, parameters: Parameters, dt: float | Float[Array, ""]) -> State:
        """A step of the solver alone."""
        return self.step(state, parameters, dt)

    def step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None = None
    ) -> State:
        """A step of the simulation's own length."""
        return self.solver.step(state, parameters, self.problem.dt_of(parameters), closure)

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *grid"]:
        """As a state of the coarse solver."""
        seen: Array = self.problem.coarse.adopt(state, self.solver)
        return seen


@eqx.filter_jit
def _answers(
    start: _FromStore, closure: Closure, parameters: PyTree[Array], fields: Float[Array, "kept frame component *grid"]
) -> Float[Array, "kept frame channel *grid"]:
    """What a closure of a solver answers in states of the coarse one."""
    solver = start.solver

    def one(pair: tuple[Array, PyTree[Array]]) -> Array:
        fields, own = pair
        return jax.lax.map(lambda x: closure(solver.observe(solver.adopt(x, start.problem.coarse), own)), fields)

    found: Array = jax.lax.map(one, (fields, parameters))
    return found


def evaluate(
    problem: Problem,
    closures: Mapping[str, Closure],
    *,
    simulations: int = 100,
    steps: int = 50,
    key: Key[Scalar, ""],
    store: ReferenceStore | None = None,
    keep: int = 3,
    frames: int = 6,
    members: int = 1,
    climate: float = 0.0,
    climate_runs: int = 64,
    threshold: float | None = None,
    own: Mapping[str, Problem] | None = None,
    metrics: Iterable[Metric] = (),
    save: Callable[[ReferenceStore, dict[str, np.ndarray]], None] | None = None,
    timing: bool = True,
    description: Mapping[str, str] | None = None,
    configuration: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda name: None,
) -> Results:
    """Run coarse solver, baselines, reference and closures from the same initial conditions.

    Parameters
    ----------
    problem
        The problem; its split decides what the initial conditions are drawn from.
    closures
        Learned closures by the names they have in the table.
    simulations, steps
        How many simulations of how many coarse steps.
    key
        Random key of the initial conditions (ignored where ``store`` is given).
    store
        Initial conditions and reference, for example from a saved file; by default they are drawn and simulated.
    threshold
        Relative error that still counts as low: steps below it are counted (default: the problem's).
    own
        Problems of closures that correct another solver than the problem's, by the closures' names: a closure is
        compared with the solver that it corrects, which is run too where it is no method of the problem
        (:meth:`~closura.problems.Problem.uncorrected`).
    metrics
        Further metrics of fields on the coarse grid.
    keep, frames
        Of how many simulations, and at how many evenly spaced steps, fields are kept for figures.
    members
        Simulations of each method that draws random numbers from each initial condition; policies then act by draws
        instead of their mean. The error is that of the mean of the members, and scores of the distribution stand
        beside it (:mod:`closura.simulation.ensembles`).
    climate, climate_runs
        Length of free runs of all methods, all of them together, and their number: the statistics of the long run are
        compared (:mod:`closura.simulation.climate`); 0: none.
    save
        Called with the store and all fields by method, ``(simulation, step + 1, component, *grid)``.
    timing
        Measure the wall time of each method's step.
    report
        Called with the name of each method before it runs.

    Raises
    ------
    ValueError
        If a closure has the name of another method, ``own`` names no closure, or the reference itself is not finite.
    """
    reference_name = problem.names[1]
    closures = {name: acting(closure, members) for name, closure in closures.items()}
    classical, learned = compared(problem, closures, own or {})
    drawn = store is None
    if store is None:
        report("reference")
        store = simulate_reference(problem, simulations, steps, key=key)
    measured, further = own_metrics(problem), list(metrics)
    check_further(measured, further, "evaluations")
    check_reference(problem, store, DIVERGENCE_FACTOR, "nothing can be evaluated by it")
    first = jax.tree.map(lambda x: x[0], store)
    number = jnp.arange(store.slots, dtype=jnp.int32)
    cases = Case(store.state, {"number": number, "own": store.parameters}, store.group)
    frame_steps = np.unique(np.linspace(0, store.steps, frames).round().astype(np.int64))

    def from_store(methods: Mapping[str, Method]) -> dict[str, Method]:
        solvers = {name: _FromStore(each.solver, problem) for name, each in methods.items()}
        return {name: replace(each, solver=as_run(solvers[name], members)) for name, each in methods.items()}

    def stored(role: Role, fields: Array) -> Method:
        return Method(StoredFields(problem.grid, jnp.asarray(fields)), role, StepRule(courant=1.0))

    # Their fine initial data are not in a store that was handed over.
    finer = problem.finer if drawn and isinstance(problem.begin, SimulatedBegin) else {}
    fine = {name: with_reference(problem, each) for name, each in finer.items()}
    methods = from_store(classical)
    for name, each in fine.items():
        report(name)
        methods[name] = stored(
            Role.FINE_BASELINE, simulate_reference(each, store.slots, store.steps, key=key).reference
        )
    methods[reference_name] = stored(Role.REFERENCE, store.reference)
    methods |= from_store(learned)
    long = {**classical, **learned}
    longer = _unstable_steps(problem, {name: each.solver for name, each in classical.items()}, first)
    all_fields: dict[str, np.ndarray] = {}
    # What stored fields cost is what it costs to simulate them, where that was done.
    works: dict[str, Callable[[int], Work] | None] = {
        name: partial(_reference_work, each, first, key) for name, each in {**fine, reference_name: problem}.items()
    }
    if hasattr(problem.begin, "at") or getattr(getattr(problem.reference, "solver", None), "recorded", False):
        works[reference_name] = None

    def completed(name: str, run: Marched, result: MethodResult) -> MethodResult:
        if name == reference_name:
            kept = {name: values for name, values in result.values.items() if name == CONSERVATION}
            result = replace(result, values={"error": np.zeros_like(result.values["error"]), **kept})
        elif save is not None:
            all_fields[name] = np.asarray(run.fields)
        solver, closure = methods[name].solver, methods[name].closure
        if isinstance(solver, _FromStore) and closure is not None and solver.solver.calls_per_step == 1:
            seen = jnp.asarray(run.fields[:keep, frame_steps])
            answers = _answers(solver, closure, store[:keep].parameters, seen)
            result = replace(result, actions=np.asarray(answers, np.float32))
        return result

    size = _scale(problem, store)
    results = simulate(
        problem.name,
        methods,
        cases,
        reference=reference_name,
        times=(problem.time_step * np.arange(1, store.steps + 1)).tolist(),
        grid=problem.grid,
        metrics=[*measured, *further],
        error="error",
        groups=problem.groups,
        fields=min(keep, store.slots),
        frames=frame_steps,
        timing=timing,
        works=works,
        progress=report,
        further=completed,
        components=problem.components,
        channels=problem.spec.action,
        variables={} if size is None else {"scale": (("case", "time"), size)},
        description={
            **dict(problem.description),
            **({"stability": longer} if longer else {}),
            **(description or {}),
        },
        provenance=configuration or {},
        time_step=problem.time_step,
        threshold=problem.threshold if threshold is None else threshold,
        origin=problem.origin,
        length=problem.grid.extent[0],
        quantity=problem.quantities[0].name if problem.quantities else None,
    )
    if climate:
        results = with_climate(
            results, problem, long, time=climate, runs=climate_runs, key=jax.random.fold_in(key, 1), progress=report
        )
    if save is not None:
        save(store, {name: all_fields[name] for name in (*classical, *closures, *finer)})
    return results


class _ReferenceStep(eqx.Module):
    """What advances a reference by a coarse step."""

    problem: Problem

    def __call__(self, reference: PyTree[Array], context: tuple[State, Parameters]) -> PyTree[Array]:
        return self.problem.reference.advance(reference, *context, self.problem.dt_of(context[1]))


def _reference_work(problem: Problem, first: ReferenceStore, key: Key[Scalar, ""], members: int) -> Work:
    """A coarse step of the reference of a problem."""
    one = problem.begin(key=key).reference, (first.state, first.parameters)
    states, contexts = jax.tree.map(lambda x: jnp.stack([x] * members), one)
    return Work(_ReferenceStep(problem), states, contexts)


def own_metrics(problem: Problem) -> list[Metric]:
    """The problem's error, and what it conserves."""
    error = problem.error
    found = [Metric("error", error, problem.error_name, percent=problem.percent, aggregate=problem.aggregate)]
    if problem.quantities:
        title = f"relative {problem.quantities[0].name} error"
        of = _change(problem.quantities[0])
        found.append(Metric(CONSERVATION, of, title, percent=True, run=True, floor=ROUND_OFF))
    return found


def _unstable_steps(problem: Problem, solvers: Mapping[str, Solver], first: ReferenceStore) -> str:
    """Which solvers, and whether the reference, take longer steps than they call stable, in words."""
    dt = float(problem.dt_of(first.parameters))
    steps = {name: (solver, dt) for name, solver in solvers.items()}
    plain = not any(jnp.ndim(leaf) for leaf in jax.tree.leaves(first.parameters))  # else those of a finer grid differ
    if isinstance(reference := problem.reference, SolverReference) and plain:
        steps[problem.names[1]] = (reference.solver, dt / reference.substeps)
    numbers = []
    for name, (solver, step) in steps.items():
        if np.isfinite(solver.courant_limit):
            number = step * float(solver.rate(solver.adopt(first.state, problem.coarse), first.parameters))
            if number > 1.001 * solver.courant_limit:
                numbers.append(f"{name} (Courant number {number:.3g}, limit {solver.courant_limit:g})")
    return f"steps longer than the stable ones: {', '.join(numbers)}" if numbers else ""


@eqx.filter_jit
def _measured(quantity: Quantity, fields: Float[Array, "time component *grid"]) -> Float[Array, " time"]:
    return jax.vmap(quantity.of)(fields)


def _change(quantity: Quantity) -> Callable[..., np.ndarray]:
    """Change of a quantity over a simulation, relative to its initial value, or absolute where that is zero."""

    def of(run: Marched, reference: Marched, case: Case) -> np.ndarray:
        total = np.asarray(_measured(quantity, jnp.asarray(run.fields)), np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.abs(total - total[0]) / (np.abs(total[0]) if total[0] else 1.0)

    return of


def _scale(problem: Problem, store: ReferenceStore) -> np.ndarray | None:
    """Size of the reference relative to its initial one, ``(simulation, times)``."""
    if problem.scale is None:
        return None
    size = np.asarray(jax.vmap(jax.vmap(problem.scale))(store.reference), np.float64)
    return size / size[:, :1]
