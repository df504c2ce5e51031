"""Several methods from the same held-out beginnings, side by side."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.closures.closure import count_parameters
from closura.evaluation.results import TRUTH_NAMES, Evaluation, MethodResult
from closura.problems.problem import Ask, Dynamics, Problem, Quantity, measure
from closura.problems.stored import TruthStore, simulate_truth

DIVERGENCE_FACTOR = 10.0


class Rollout(NamedTuple):
    """One method over all simulations, on the device or the host; index 0 of the step axis is the initial state."""

    error: Float[Array | np.ndarray, "simulation times"]
    quantities: Float[Array | np.ndarray, "simulation times quantity"]
    failed: Bool[Array | np.ndarray, "simulation times"]
    fields: Float[Array | np.ndarray, "simulation times component *grid"] | None


def rollout(
    dynamics: Dynamics,
    ask: Ask | None,
    store: TruthStore,
    error: Callable[..., Array],
    *,
    quantities: tuple[Quantity, ...] = (),
    keep_fields: bool = False,
) -> Rollout:
    """Run a method over the stored simulations and measure it against their truth.

    A field has failed where it is not finite or has left ten times the range of its initial state (an interval
    of ten times the width about the same middle).
    """

    def one(store: TruthStore) -> Rollout:
        low, high = jnp.min(store.state), jnp.max(store.state)
        middle, reach = (low + high) / 2, DIVERGENCE_FACTOR * (high - low) / 2

        def judge(state: Array, truth: Array) -> Rollout:
            failed = ~(jnp.max(jnp.abs(state - middle)) <= jnp.maximum(reach, jnp.finfo(state.dtype).tiny))
            return Rollout(error(state, truth), measure(quantities, state), failed, state if keep_fields else None)

        def step(state: Array, truth: Array) -> tuple[Array, Rollout]:
            state, _ = dynamics.step(state, store.parameters, ask)
            return state, judge(state, truth)

        first = judge(store.state, store.truth[0])
        _, rest = jax.lax.scan(step, store.state, store.truth[1:])
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    return jax.lax.map(one, store)


_rollout = eqx.filter_jit(rollout)


def _in_parts(function: Callable[[TruthStore], Rollout], store: TruthStore, parts: int = 4) -> Rollout:
    """Apply to slices of the store, which the runtime executes side by side; arrays on the host."""
    size = -(-store.slots // min(parts, store.slots))
    results = [function(store[i : i + size]) for i in range(0, store.slots, size)]
    return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *results)


def milliseconds_per_step(advance: Callable[[Array], Array], state: PyTree[Array], *, steps: int = 20) -> float:
    """Median wall time of one step inside a compiled loop, in milliseconds, over five repetitions."""

    @eqx.filter_jit
    def run(advance: Callable[[Array], Array], state: PyTree[Array]) -> PyTree[Array]:
        return jax.lax.scan(lambda s, _: (advance(s), None), state, None, length=steps)[0]

    jax.block_until_ready(run(advance, state))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready(run(advance, state))
        seconds.append(time.perf_counter() - start)
    return 1e3 * float(np.median(seconds)) / steps


class _Solver(eqx.Module):
    """A method as a function of the state alone, for timing."""

    dynamics: Dynamics
    parameters: PyTree[Array]
    ask: Ask | None

    def __call__(self, state: Array) -> Array:
        return self.dynamics.step(state, self.parameters, self.ask)[0]


class _Truth(eqx.Module):
    problem: Problem
    state: Array
    parameters: PyTree[Array]

    def __call__(self, target: PyTree[Array]) -> PyTree[Array]:
        return self.problem.target.advance(target, self.state, self.parameters)


def evaluate(
    problem: Problem,
    closures: Mapping[str, Ask],
    *,
    simulations: int = 100,
    steps: int = 50,
    key: Key[Scalar, ""],
    store: TruthStore | None = None,
    keep: int = 3,
    frames: int = 6,
    threshold: float | None = None,
    dynamics: Mapping[str, Dynamics] | None = None,
    save: Callable[[TruthStore, dict[str, np.ndarray]], None] | None = None,
    timing: bool = True,
    description: Mapping[str, str] | None = None,
    configuration: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """Run coarse solver, rivals, truth and closures from the same beginnings.

    Parameters
    ----------
    problem
        The problem; its split decides what the beginnings are drawn from.
    closures
        Learned closures by the names they have in the table.
    simulations, steps
        How many simulations of how many coarse steps.
    key
        Random key of the beginnings (ignored where ``store`` is given).
    store
        Beginnings and truth, for example from a saved file; by default they are drawn and simulated.
    threshold
        Relative error that still counts as low: steps below it are counted (default: the problem's).
    dynamics
        Coarse solvers of closures that correct another one than the problem's, by the closures' names.
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
        If a closure has the name of another method.
    """
    baseline, truth_name = problem.names
    taken = {baseline, *TRUTH_NAMES, *problem.rivals} & set(closures)
    if taken:
        raise ValueError(f"closures cannot be called {', '.join(sorted(taken))}: classical methods have these names")
    if store is None:
        report("truth")
        store = simulate_truth(problem, simulations, steps, key=key)
    simulations, steps = store.slots, store.steps
    keep = min(keep, simulations)
    frame_steps = np.unique(np.linspace(0, steps, frames).round().astype(np.int64))
    kept = store[:keep]

    methods: dict[str, tuple[Dynamics, Ask | None]] = {baseline: (problem.dynamics, None)}
    methods |= {name: (rival, None) for name, rival in problem.rivals.items()}
    own = dynamics or {}
    methods |= {name: (own.get(name, problem.dynamics), closure) for name, closure in closures.items()}

    first = jax.tree.map(lambda x: x[0], store)
    results: dict[str, MethodResult] = {}
    all_fields: dict[str, np.ndarray] = {}
    for name, (solver, ask) in methods.items():
        report(name)

        def run(part: TruthStore, d: Dynamics = solver, a: Ask | None = ask) -> Rollout:
            done = _rollout(d, a, part, problem.error, quantities=problem.quantities, keep_fields=True)
            # Without saving only the frames for figures are kept, part by part.
            if save is None and done.fields is not None:
                done = done._replace(fields=done.fields[:, frame_steps])
            return done

        done = _in_parts(run, store)
        shown = np.asarray(done.fields)
        if save is not None:
            all_fields[name] = shown
            shown = shown[:, frame_steps]
        step_time = milliseconds_per_step(_Solver(solver, first.parameters, ask), first.state) if timing else np.nan
        results[name] = _result(
            name, done, shown[:keep], step_time, steps,
            parameters=count_parameters(ask) if isinstance(ask, eqx.Module) else None,
        )  # fmt: skip

    report(truth_name)
    truth_fields = np.asarray(kept.truth, np.float32)[:, frame_steps]
    true_run = Rollout(
        np.zeros((simulations, steps + 1)),
        np.asarray(jax.vmap(jax.vmap(lambda state: measure(problem.quantities, state)))(store.truth)),
        ~np.isfinite(np.asarray(store.truth)).all(axis=tuple(range(2, store.truth.ndim))),
        None,
    )
    truth_time = np.nan
    if timing and not hasattr(problem.begin, "at"):
        target = problem.begin(key=key).target
        truth_time = milliseconds_per_step(_Truth(problem, first.state, first.parameters), target)
    results[truth_name] = _result(truth_name, true_run, truth_fields, truth_time, steps)
    if save is not None:
        save(store, all_fields)
    ordered = {name: results[name] for name in (baseline, *problem.rivals, truth_name, *closures)}
    return Evaluation(
        problem=problem.name,
        methods=ordered,
        steps=steps,
        simulations=simulations,
        time_step=problem.time_step,
        frame_steps=frame_steps,
        truth_fields=truth_fields,
        description={**dict(problem.description), **(description or {})},
        threshold=problem.threshold if threshold is None else threshold,
        configuration=configuration or {},
        origin=problem.origin,
        scale=_scale(problem, store),
        groups=_groups(problem, store),
    )


def _result(
    name: str, run: Rollout, fields: np.ndarray, step_time: float, steps: int, parameters: int | None = None
) -> MethodResult:
    quantities = np.asarray(run.quantities, np.float64)
    # Without a conserved quantity there is nothing to compare; the first one is the mass.
    total = quantities[..., 0] if quantities.shape[-1] else None
    failed = np.asarray(run.failed)
    return MethodResult(
        name=name,
        error=np.asarray(run.error, np.float64),
        mass_error=None if total is None else np.abs(total - total[:, :1]) / np.abs(total[:, :1]),
        diverged_at=np.where(failed.any(axis=1), failed.argmax(axis=1), -1),
        milliseconds_per_step=step_time,
        milliseconds_per_simulation=step_time * steps,
        parameters=parameters,
        fields=np.asarray(fields, np.float32),
    )


def _scale(problem: Problem, store: TruthStore) -> np.ndarray | None:
    """Size of the truth relative to its initial one, ``(simulation, times)``."""
    if problem.scale is None:
        return None
    size = np.asarray(jax.vmap(jax.vmap(problem.scale))(store.truth), np.float64)
    return size / size[:, :1]


def _groups(problem: Problem, store: TruthStore) -> tuple[str, ...]:
    if not problem.groups:
        return ()
    return tuple(problem.groups[int(i)] for i in np.asarray(store.parameters["group"]))
