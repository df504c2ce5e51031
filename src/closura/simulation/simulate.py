"""Methods x cases x times x metrics: the one driver of comparisons."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from closura.closures import count_parameters
from closura.core import METRICS, MethodResult, Results
from closura.core.case import Case
from closura.core.front import Work
from closura.core.memory import WithMemory
from closura.core.method import Method, Role, StepRule
from closura.core.metric import Metric
from closura.core.registry import place_in
from closura.core.solver import Closure, Solver
from closura.grids import Grid
from closura.parts import reason
from closura.simulation.cost import Timing, time_steps, work
from closura.simulation.ensembles import METRICS as ENSEMBLE_METRICS
from closura.simulation.ensembles import apart, rank_counts, scored, scores, single
from closura.simulation.march import Marched, Schedule, View, march, schedule

PARTS = 4
"""Threads that share the simulations of a method on a CPU."""


def simulate(
    problem: str,
    methods: Mapping[str, Method],
    cases: Case,
    *,
    reference: str,
    times: Sequence[float],
    grid: Grid,
    metrics: Iterable[Metric],
    error: str,
    groups: Sequence[str] = (),
    fields: int = 0,
    frames: Sequence[int] | np.ndarray | None = None,
    timing: bool = False,
    works: Mapping[str, Callable[[int], Work] | None] | None = None,
    batch: int | None = None,
    progress: Callable[[str], None] = lambda name: None,
    further: Callable[[str, Marched, MethodResult], MethodResult] = lambda name, run, result: result,
    **about: Any,
) -> Results:
    """Simulate every method from the same cases and measure it against the reference.

    Parameters
    ----------
    problem
        The problem's name.
    methods
        By name, in the order of tables; the reference is among them.
    cases
        All simulations, stacked: every leaf has a leading axis.
    reference
        Name of the method that errors are measured against.
    times
        When simulations are looked at, beside their beginning; shares of the ends of cases that have one.
    grid
        The grid of comparison.
    metrics
        What is measured (:class:`~closura.core.metric.Metric`).
    error
        The name of the one that counts.
    groups
        Names of the groups that ``case.group`` means.
    fields, frames
        Of how many simulations fields are kept, and at which times (indices; default: all).
    timing, works
        Measure the wall time of each method's step, or of other work in its place (None: nothing), by its name.
    batch
        Simulations that are handed to the device at once (default: 8, and one on a CPU, where a batch of fields leaves
        the cache; small fields are faster together).
    progress
        Called with each method's name before it runs.
    further
        Called with each method's name, what it did and the result so far; completes the result.
    about
        Further facts, as :meth:`~closura.core.results.Results.build` takes them.

    Returns
    -------
    Results
        Without times where no metric has a time axis. Where solvers can tell in which cells a state is valid, with
        ``failed_step (method, case)``, ``failed_cell (method, case, axis)`` (-1 for none) and ``failure`` in words.

    Raises
    ------
    ValueError
        If the reference is no method or diverges, a time does not suit a method's step, or names are taken.
    """
    if reference not in methods or methods[reference].role is not Role.REFERENCE:
        known = ", ".join(name for name, method in methods.items() if method.role is Role.REFERENCE)
        raise ValueError(
            f"the reference must be one of the methods with that role ({known or 'none'}); got {reference}"
        )
    metrics = tuple(metrics)
    for method in methods.values():
        schedule(method.step, times)  # refused before work starts
    ensembles, counts = scored(methods), dict[str, np.ndarray]()
    progress(reference)
    true = run(methods[reference], times, grid, cases, batch=batch)
    if true.failed.any():
        lost = true.failed.any(axis=1)
        raise ValueError(
            f"the reference ({reference}) itself diverged in {int(lost.sum())} of {len(lost)} simulations: no error "
            "can be measured by it; choose shorter steps or other settings"
        )
    found: dict[str, MethodResult] = {}
    unmeasured: dict[str, str] = {}
    failures: dict[str, tuple[np.ndarray, ...]] = {}
    moments = np.asarray([0.0, *times])
    frames = np.arange(len(moments)) if frames is None else np.asarray(frames)
    for name, method in methods.items():
        if name != reference:
            progress(name)
        done = true if name == reference else run(method, times, grid, cases, batch=batch)
        done, every = apart(method, done)
        result = _result(method, done, true, metrics, moments, cases, unmeasured)
        if ensembles and name != reference:
            values, counts[name] = scores(every, np.asarray(true.fields))
            result = replace(result, values={**result.values, **values})
        kept = np.asarray(done.fields[:fields, frames], np.float32) if fields else None
        found[name] = further(name, done, replace(result, fields=kept))
        failures[name] = _failure(method, done)
    if timing:
        all_works = {
            **{name: partial(work, single(method), cases) for name, method in methods.items()},
            **(works or {}),
        }
        costs = time_steps({name: each for name, each in all_works.items() if each}, Timing(), progress)
        for name, cost in costs.items():
            found[name] = replace(found[name], milliseconds_per_step=cost.single.median)
    names: Sequence[str] = ()
    if groups and cases.group is not None:
        names = tuple(groups[int(i)] for i in np.asarray(cases.group))
    over_time = fields or any(values.ndim > 1 for each in found.values() for values in each.values.values())
    return Results.build(
        problem,
        found,
        (*metrics, *(ENSEMBLE_METRICS if ensembles else ())),
        error=error,
        times=moments if over_time else (),
        groups=names,
        frames=frames if fields else (),
        variables={
            **_failures(methods, failures),
            **(rank_counts(counts, found) if ensembles else {}),
            **about.pop("variables", {}),
        },
        unmeasured=json.dumps(unmeasured) if unmeasured else None,
        **about,
    )


def _failure(method: Method, run: Marched) -> tuple[np.ndarray, ...]:
    """Step, cell ``(case, axis)`` and cause of each failure, where one can be told."""
    failed, shape = run.failure.step >= 0, run.fields.shape[3:]
    cells = np.where(failed, np.unravel_index(np.maximum(run.failure.cell, 0), shape), -1).T
    words = np.where(run.failure.finite, method.solver.invalid, "not finite")
    what = np.where(failed, words, np.where(run.failed.any(axis=1), "not finite", ""))
    return np.asarray(run.failure.step), cells, what


def _failures(methods: Mapping[str, Method], failures: Mapping[str, tuple[np.ndarray, ...]]) -> dict[str, Any]:
    """Failures as variables of results, where solvers can tell which cells are valid."""
    unaware = (Solver.valid_cells, StoredFields.valid_cells)
    if all(type(method.solver).valid_cells in unaware for method in methods.values()):
        return {}
    steps, cells, what = (np.stack(each) for each in zip(*failures.values(), strict=True))
    each = ("method", "case")
    return {
        "failed_step": (each, steps), "failed_cell": ((*each, "axis"), cells), "failure": (each, what.astype(str)),
    }  # fmt: skip


@eqx.filter_jit
def _all(
    solver: Solver, closure: Closure | None, plan: Schedule, grid: Grid | View, cases: Case, together: int | None
) -> Marched:
    return jax.lax.map(lambda case: march(solver, closure, plan, grid, case), cases, batch_size=together)


def run(method: Method, times: Sequence[float], grid: Grid | View, cases: Case, *, batch: int | None = None) -> Marched:
    """One method in all cases, as NumPy arrays with a leading axis of cases; see :func:`simulate`."""
    plan = schedule(method.step, times)
    if batch is None and method.solver.side_by_side > 1:
        batch = method.solver.side_by_side
    if batch is not None or jax.default_backend() != "cpu":
        found = _all(method.solver, method.closure, plan, grid, cases, batch or 8)
        return jax.tree.map(np.asarray, found)
    # Calls from one thread wait for each other, and a single field is too small to keep several cores busy.
    members = jax.tree.leaves(cases)[0].shape[0]
    size = -(-members // min(PARTS, members))
    parts = [jax.tree.map(lambda x, i=i: x[i : i + size], cases) for i in range(0, members, size)]
    with ThreadPoolExecutor(len(parts)) as threads:
        done = threads.map(lambda part: _all(method.solver, method.closure, plan, grid, part, None), parts)
        return jax.tree.map(lambda *leaves: np.concatenate([np.asarray(leaf) for leaf in leaves]), *done)


@eqx.filter_jit
def _measure(of: Callable[..., Any], fields: Array, reference: Array) -> Array:
    return jax.lax.map(lambda pair: jax.vmap(of)(*pair), (fields, reference))


def at_times(metric: Metric, places: Sequence[int] | None = None) -> Metric:
    """A metric of two fields as one of all simulations ``(case, time, component, *grid)``, at some of their times."""
    of, chosen = eqx.filter_jit(jax.vmap(jax.vmap(metric.of))), slice(None) if places is None else np.asarray(places)

    def all_of(fields: np.ndarray, reference: np.ndarray) -> Float64[np.ndarray, "case time"]:
        found = np.asarray(of(jnp.asarray(fields[:, chosen]), jnp.asarray(reference[:, chosen])), np.float64)
        if found.ndim != 2:
            raise ValueError(f"expected a scalar; got shape {found.shape[2:]}")
        return found

    return replace(metric, of=all_of)


def check_further(own: Iterable[Metric], further: Iterable[Metric], whose: str) -> None:
    """Refuse metrics of plug-ins that have the name of one of a comparison's own."""
    taken = {metric.name for metric in own}
    for metric in further:
        if metric.name in taken:
            raise ValueError(
                f"{whose} have a metric {metric.name} of their own: give that of a plug-in another name"
                f"{place_in(metric)}"
            )
        taken.add(metric.name)


def measured(metric: Metric, unmeasured: dict[str, str], of: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Values of a metric; None of one of a plug-in that fails, which costs no other: ``unmeasured`` says why."""
    if metric.name in unmeasured:
        return None
    try:
        return of()
    except Exception as error:
        if METRICS.loaded().get(metric.name) is not metric:
            raise
        unmeasured[metric.name] = f"{reason(error)}{place_in(metric, error)}"
        return None


def _result(
    method: Method,
    run: Marched,
    true: Marched,
    metrics: Iterable[Metric],
    times: np.ndarray,
    cases: Case,
    unmeasured: dict[str, str],
) -> MethodResult:
    values = {}
    for metric in metrics:
        found = measured(metric, unmeasured, partial(_values, metric, run, true, times, cases))
        if found is not None:
            values[metric.name] = found
    failed = np.asarray(run.failed)
    over_time = any(np.ndim(array) > 1 for array in values.values())
    closure: Any = method.closure if method.closure is not None or not method.role.learned else _own(method.solver)
    return MethodResult(
        method.role,
        values,
        diverged_at=np.where(failed.any(axis=1), failed.argmax(axis=1), -1) if over_time else None,
        parameters=None if closure is None else count_parameters(closure) if isinstance(closure, eqx.Module) else 0,
        corrects=method.corrects,
        facts={**({"note": method.note} if method.note else {}), **method.facts},
    )


def _own(solver: Any) -> Any:
    """The closure of a solver that is one with it."""
    return solver.closure if isinstance(solver, WithMemory) else _own(solver.solver)


def _values(metric: Metric, run: Marched, true: Marched, times: np.ndarray, cases: Case) -> np.ndarray:
    """A metric of all cases ``(case, *time)``."""
    if metric.run:
        return measured_runs(metric, run, true, cases)
    if metric.series:
        pairs = zip(run.fields, true.fields, strict=True)
        found = np.asarray([metric.of(own, other, times) for own, other in pairs], np.float64)
    else:
        found = np.asarray(_measure(metric.of, run.fields, true.fields), np.float64)
    if found.ndim != 2 - metric.series:
        raise ValueError(f"expected a scalar; got shape {found.shape[2 - metric.series :]}")
    return found


def measured_runs(metric: Metric, run: Marched, true: Marched, cases: Case) -> Float64[np.ndarray, "case *time"]:
    """A metric of whole runs in all cases."""
    trees = jax.tree.map(np.asarray, (run, true, cases))
    members = (jax.tree.map(lambda x, m=m: x[m], trees) for m in range(len(run.steps)))
    return np.asarray([metric.of(*member) for member in members], np.float64)


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
