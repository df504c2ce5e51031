"""Methods x cases x times x metrics: the one driver of comparisons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from closura.closures import count_parameters
from closura.core import MethodResult, Results
from closura.core.case import Case
from closura.core.method import Method
from closura.core.metric import Metric
from closura.core.roles import Role
from closura.core.solver import Closure, Solver
from closura.grids import Grid
from closura.simulation.march import Marched, Schedule, march, schedule
from closura.simulation.timing import milliseconds_per_step


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
    timing: bool = False,
    batch: int = 8,
    progress: Callable[[str], None] = lambda name: None,
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
        When simulations are looked at, beside their beginning.
    grid
        The grid of comparison.
    metrics
        What is measured (:class:`~closura.core.metric.Metric`).
    error
        The name of the one that counts.
    groups
        Names of the groups that ``case.group`` means.
    fields
        Of how many simulations fields are kept.
    timing
        Measure the wall time of each method's step.
    batch
        Simulations that are handed to the device at once, where it is no CPU.
    progress
        Called with each method's name before it runs.
    about
        Further facts, as :meth:`~closura.core.results.Results.build` takes them.

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
    measured = tuple(metrics)
    plans = {name: schedule(method.step, times) for name, method in methods.items()}  # refused before work starts
    progress(reference)
    true = _run(methods[reference], plans[reference], grid, cases, batch)
    if true.failed.any():
        lost = true.failed.any(axis=1)
        raise ValueError(
            f"the reference ({reference}) itself diverged in {int(lost.sum())} of {len(lost)} simulations: no error "
            "can be measured by it; choose shorter steps or other settings"
        )
    found: dict[str, MethodResult] = {}
    for name, method in methods.items():
        if name != reference:
            progress(name)
        run = true if name == reference else _run(method, plans[name], grid, cases, batch)
        found[name] = _result(method, run, true, measured, np.asarray([0.0, *times]), cases, fields, timing=timing)
    names: Sequence[str] = ()
    if groups and cases.group is not None:
        names = tuple(groups[int(i)] for i in np.asarray(cases.group))
    return Results.build(
        problem,
        found,
        measured,
        error=error,
        times=np.asarray([0.0, *times]),
        groups=names,
        frames=np.arange(len(times) + 1) if fields else (),
        **about,
    )


@eqx.filter_jit
def _all(
    solver: Solver, closure: Closure | None, plan: Schedule, grid: Grid, cases: Case, together: int | None
) -> Marched:
    # One after the other on a processor: a batch of fields leaves its cache.
    return jax.lax.map(lambda case: march(solver, closure, plan, grid, case)[0], cases, batch_size=together)


def _run(method: Method, plan: Schedule, grid: Grid, cases: Case, batch: int) -> Marched:
    together = None if jax.default_backend() == "cpu" else batch
    found = _all(method.solver, method.closure, plan, grid, cases, together)
    return jax.tree.map(np.asarray, found)


@eqx.filter_jit
def _measure(of: Callable[..., Any], fields: Array, reference: Array) -> Array:
    return jax.lax.map(lambda pair: jax.vmap(of)(*pair), (fields, reference))


def _result(
    method: Method,
    run: Marched,
    true: Marched,
    metrics: Iterable[Metric],
    times: np.ndarray,
    cases: Case,
    fields: int,
    *,
    timing: bool,
) -> MethodResult:
    values = {}
    for metric in metrics:
        if metric.series:
            pairs = zip(run.fields, true.fields, strict=True)
            values[metric.name] = np.asarray([metric.of(own, other, times) for own, other in pairs], np.float64)
        else:
            values[metric.name] = np.asarray(_measure(metric.of, run.fields, true.fields), np.float64)
    failed = np.asarray(run.failed)
    cost = float("nan")
    if timing and method.step.dt is not None:
        case = jax.tree.map(lambda x: x[0], cases)
        state, parameters = method.solver.init(case)
        advance = partial(method.solver.step, parameters=parameters, dt=method.step.dt, closure=method.closure)
        cost = milliseconds_per_step(lambda state: advance(state), state)
    closure: Any = method.closure
    kept = None
    if fields:
        kept = np.asarray(run.fields[:fields], np.float32)
    return MethodResult(
        method.role,
        values,
        diverged_at=np.where(failed.any(axis=1), failed.argmax(axis=1), -1),
        milliseconds_per_step=cost,
        parameters=None if closure is None else count_parameters(closure) if isinstance(closure, eqx.Module) else 0,
        corrects=method.corrects,
        fields=kept,
        facts={"note": method.note} if method.note else {},
    )


def stacked(cases: Sequence[Case]) -> Case:
    """Cases with a leading axis."""
    tree: PyTree[Array] = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cases)
    found: Case = tree
    return found
