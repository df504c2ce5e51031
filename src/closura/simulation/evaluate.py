"""Several methods from the same held-out initial conditions, side by side."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.closures import count_parameters
from closura.core import MethodResult, Metric, Results, Role
from closura.core.solver import Closure, Solver
from closura.problems.problem import Problem, SimulatedBegin, measure, with_reference
from closura.problems.stored import ReferenceStore, simulate_reference
from closura.reporting.numbers import CONSERVATION
from closura.simulation.march import DIVERGENCE_FACTOR
from closura.simulation.simulate import milliseconds_per_step

T = TypeVar("T")


def _failed(
    initial: Float[Array, "component *grid"], states: Float[Array, "times component *grid"]
) -> Bool[Array, " times"]:
    """Which states are not finite, or have left ten times the range of the initial one (about the same middle)."""
    low, high = jnp.min(initial), jnp.max(initial)
    middle, reach = (low + high) / 2, DIVERGENCE_FACTOR * (high - low) / 2
    largest = jnp.max(jnp.abs(states - middle), axis=tuple(range(1, states.ndim)))
    return ~(largest <= jnp.maximum(reach, jnp.finfo(states.dtype).tiny))


@eqx.filter_jit
def rollout(
    problem: Problem, solver: Solver, closure: Closure | None, store: ReferenceStore
) -> Float[Array, "simulation times component *grid"]:
    """Run a method over stored simulations; states of ``solver`` at every coarse step, the first included.

    The store's fields are those of the problem's coarse solver: initial states are taken over from it. Actions are
    taken as they are (:meth:`~closura.ClosureSpec.limit`).
    """

    def one(store: ReferenceStore) -> Array:
        dt = problem.dt_of(store.parameters)

        def step(state: Array, _: None) -> tuple[Array, Array]:
            following = solver.step(state, store.parameters, dt, closure)
            return following, following

        begun: Array = solver.adopt(store.state, problem.coarse)
        states = jax.lax.scan(step, begun, None, length=store.reference.shape[0] - 1)[1]
        return jnp.concatenate([begun[None], states])

    found: Array = jax.lax.map(one, store)
    return found


@eqx.filter_jit
def adopted(
    known: Solver, solver: Solver, states: Float[Array, "simulation times component *grid"]
) -> Float[Array, "simulation times component *grid"]:
    """States of a solver as those of another."""
    found: Array = jax.vmap(jax.vmap(lambda state: known.adopt(state, solver)))(states)
    return found


class Measured(NamedTuple):
    """What was measured of a method in all simulations at all times."""

    values: Mapping[str, Float[Array | np.ndarray, "simulation times"]]
    quantities: Float[Array | np.ndarray, "simulation times quantity"]
    failed: Bool[Array | np.ndarray, "simulation times"]


@eqx.filter_jit
def measure_fields(
    problem: Problem,
    fields: Float[Array, "simulation times component *grid"],
    store: ReferenceStore,
    metrics: Mapping[str, Callable[..., Array]],
) -> Measured:
    """Measure fields, as states of the coarse solver, against the stored reference."""

    def one(pair: tuple[Array, ReferenceStore]) -> Measured:
        fields, store = pair
        values = {name: jax.vmap(of)(fields, store.reference) for name, of in metrics.items()}
        quantities = jax.vmap(lambda state: measure(problem.quantities, state))(fields)
        return Measured(values, quantities, _failed(store.state, fields))

    found: Measured = jax.lax.map(one, (fields, store))
    return found


def _in_parts(function: Callable[[ReferenceStore], T], store: ReferenceStore, parts: int = 4) -> T:
    """Apply to slices of the store, which the runtime executes side by side; arrays on the host."""
    size = -(-store.slots // min(parts, store.slots))
    results = [function(store[i : i + size]) for i in range(0, store.slots, size)]
    found: T = jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *results)
    return found


@eqx.filter_jit
def _answers(
    solver: Solver, closure: Closure, parameters: PyTree[Array], states: Float[Array, "kept frame component *grid"]
) -> Float[Array, "kept frame channel *grid"]:
    """What a closure answers in given states."""

    def one(pair: tuple[Array, PyTree[Array]]) -> Array:
        return jax.lax.map(lambda state: closure(solver.observe(state, pair[1])), pair[0])

    found: Array = jax.lax.map(one, (states, parameters))
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
    baseline, reference_name = problem.names
    theirs = dict(own or {})
    if unknown := set(theirs) - set(closures):
        raise ValueError(f"own problems are those of closures; got {', '.join(sorted(unknown))}")
    bases = {name: problem.uncorrected(each) for name, each in theirs.items()}
    taken = {baseline, reference_name, *problem.baselines, *problem.finer}
    others = {base: theirs[name].coarse for name, base in bases.items() if base not in taken}
    classical = (baseline, *problem.baselines, *others)
    taken = {*taken, *others} & set(closures)
    if taken:
        raise ValueError(f"closures cannot be called {', '.join(sorted(taken))}: other methods have these names")
    drawn = store is None
    if store is None:
        report("reference")
        store = simulate_reference(problem, simulations, steps, key=key)
    _check_reference(reference_name, store)
    simulations, steps = store.slots, store.steps
    keep = min(keep, simulations)
    frame_steps = np.unique(np.linspace(0, steps, frames).round().astype(np.int64))
    kept = store[:keep]

    methods: dict[str, tuple[Role, Solver, Closure | None]] = {baseline: (Role.UNCORRECTED, problem.coarse, None)}
    methods |= {name: (Role.BASELINE, solver, None) for name, solver in {**problem.baselines, **others}.items()}
    for name, closure in closures.items():
        corrected = theirs.get(name, problem)
        methods[name] = (Role.CLOSURE, corrected.coarse, corrected.spec.limit(closure))
    measured = _metrics(problem, metrics)
    functions = {name: metric.of for name, metric in measured.items() if name != CONSERVATION}

    first = jax.tree.map(lambda x: x[0], store)
    dt = problem.dt_of(first.parameters)
    results: dict[str, MethodResult] = {}
    all_fields: dict[str, np.ndarray] = {}
    for name, (role, solver, limited) in methods.items():
        report(name)

        def run(
            part: ReferenceStore, solver: Solver = solver, closure: Closure | None = limited
        ) -> tuple[Measured, Any, Any]:
            states = rollout(problem, solver, closure, part)
            fields = adopted(problem.coarse, solver, states)
            done = measure_fields(problem, fields, part, functions)
            # Without saving only the frames for figures are kept, part by part.
            return done, states[:, frame_steps], fields if save is not None else fields[:, frame_steps]

        done, states, fields = _in_parts(run, store)
        if save is not None:
            all_fields[name] = fields
            fields = fields[:, frame_steps]
        begun = solver.adopt(first.state, problem.coarse)
        advance = eqx.Partial(solver.step, parameters=first.parameters, dt=dt, closure=limited)
        step_time = milliseconds_per_step(advance, begun) if timing else np.nan
        actions = None
        if limited is not None and solver.calls_per_step == 1:
            actions = np.asarray(_answers(solver, limited, kept.parameters, jnp.asarray(states[:keep])), np.float32)
        given = closures.get(name)
        results[name] = _result(
            role, done, fields[:keep], step_time, actions=actions, corrects=bases.get(name, ""),
            parameters=None if given is None else count_parameters(given) if isinstance(given, eqx.Module) else 0,
        )  # fmt: skip

    # Their fine initial data are not in a store that was handed over.
    finer = problem.finer if drawn and isinstance(problem.begin, SimulatedBegin) else {}
    for name, finer_reference in finer.items():
        report(name)
        found = simulate_reference(
            with_reference(problem, finer_reference), store.slots, store.steps, key=key
        ).reference
        done, fields = measure_fields(problem, found, store, functions), np.asarray(found)
        step_time = _reference_cost(with_reference(problem, finer_reference), first, dt, key) if timing else np.nan
        results[name] = _result(Role.FINE_BASELINE, done, fields[:keep, frame_steps], step_time)
        if save is not None:
            all_fields[name] = fields

    report(reference_name)
    reference_fields = np.asarray(kept.reference, np.float32)[:, frame_steps]
    true_run = measure_fields(problem, store.reference, store, {"error": lambda field, reference: jnp.zeros(())})
    stored = hasattr(problem.begin, "at")
    reference_time = _reference_cost(problem, first, dt, key) if timing and not stored else np.nan
    results[reference_name] = _result(Role.REFERENCE, true_run, reference_fields, reference_time)
    if save is not None:
        save(store, all_fields)
    ordered = {name: results[name] for name in (*classical, *finer, reference_name, *closures)}
    size = _scale(problem, store)
    return Results.build(
        problem.name,
        ordered,
        measured.values(),
        error="error",
        times=problem.time_step * np.arange(steps + 1),
        groups=_groups(problem, store),
        frames=frame_steps,
        components=problem.components,
        channels=problem.spec.action,
        variables={} if size is None else {"scale": (("case", "time"), size)},
        description={**dict(problem.description), **(description or {})},
        provenance=configuration or {},
        time_step=problem.time_step,
        threshold=problem.threshold if threshold is None else threshold,
        origin=problem.origin,
        quantity=problem.quantities[0].name if problem.quantities else "mass",
    )


def _reference_cost(problem: Problem, first: ReferenceStore, dt: Any, key: Key[Scalar, ""]) -> float:
    """Milliseconds of a coarse step of the reference of a problem."""
    advance = eqx.Partial(problem.reference.advance, state=first.state, parameters=first.parameters, dt=dt)
    return milliseconds_per_step(advance, problem.begin(key=key).reference)


def _metrics(problem: Problem, further: Iterable[Metric]) -> dict[str, Metric]:
    """The problem's error, what it conserves, and further metrics, by name."""
    error = Metric(
        "error", problem.error, problem.error_name, percent=problem.percent, aggregate=problem.aggregate
    )  # fmt: skip
    found = {"error": error}
    if problem.quantities:
        title = f"relative {problem.quantities[0].name} error"
        found[CONSERVATION] = Metric(CONSERVATION, measure, title, percent=True)
    for metric in further:
        if metric.name in found:
            raise ValueError(f"two metrics are called {metric.name}")
        if metric.series:
            raise ValueError(f"metric {metric.name} is one of whole simulations, which evaluations here do not keep")
        found[metric.name] = metric
    return found


def _check_reference(name: str, store: ReferenceStore) -> None:
    """Errors against a reference that has diverged would say that every method has."""
    finite = np.isfinite(np.asarray(store.reference)).all(axis=tuple(range(2, store.reference.ndim)))
    lost = ~finite.all(axis=1)
    if lost.any():
        raise ValueError(
            f"the reference ({name}) itself diverged in {int(lost.sum())} of {store.slots} simulations, first at step "
            f"{int(np.argmax(~finite, axis=1)[lost].min())}: nothing can be evaluated by it. Choose shorter time steps "
            "(of the fine solver) or other settings"
        )


def _result(
    role: Role,
    run: Measured,
    fields: np.ndarray,
    step_time: float,
    *,
    corrects: str = "",
    parameters: int | None = None,
    actions: np.ndarray | None = None,
) -> MethodResult:
    values = {name: np.asarray(array, np.float64) for name, array in run.values.items()}
    quantities = np.asarray(run.quantities, np.float64)
    if quantities.shape[-1]:  # the first one is the mass
        values[CONSERVATION] = _relative_change(quantities[..., 0])
    failed = np.asarray(run.failed)
    return MethodResult(
        role,
        values,
        diverged_at=np.where(failed.any(axis=1), failed.argmax(axis=1), -1),
        milliseconds_per_step=step_time,
        parameters=parameters,
        corrects=corrects,
        fields=np.asarray(fields, np.float32),
        actions=actions,
    )


def _relative_change(total: np.ndarray) -> np.ndarray:
    """Change of a quantity relative to its initial value, or absolute where that is zero."""
    initial = total[:, :1]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.abs(total - initial) / np.where(initial == 0, 1.0, np.abs(initial))


def _scale(problem: Problem, store: ReferenceStore) -> np.ndarray | None:
    """Size of the reference relative to its initial one, ``(simulation, times)``."""
    if problem.scale is None:
        return None
    size = np.asarray(jax.vmap(jax.vmap(problem.scale))(store.reference), np.float64)
    return size / size[:, :1]


def _groups(problem: Problem, store: ReferenceStore) -> tuple[str, ...]:
    if not problem.groups or store.group is None:
        return ()
    return tuple(problem.groups[int(i)] for i in np.asarray(store.group))
