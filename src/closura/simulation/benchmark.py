"""A benchmark of error against cost: all methods run, timed and compared."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from closura.core import Method, MethodResult, Metric, Results, Role
from closura.core.front import Benchmark
from closura.metrics.pareto import CALLS, CLOSURE_COST, COST, QUARTILES, TURNS, best_on_coarse_grid
from closura.simulation.cost import StepTime, StepTimes, Timing, time_steps
from closura.simulation.simulate import at_times, check_further, measured

TIMING = Timing(batch=8, repetitions=7, seconds=0.03)


def run_benchmark(
    benchmark: Benchmark,
    *,
    timing: Timing = TIMING,
    reference: str | None = None,
    metrics: Iterable[Metric] = (),
    settings: Mapping[str, Any] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Results:
    """Run, time and compare.

    Parameters
    ----------
    benchmark
        The methods, and what errors are.
    timing
        How steps are timed.
    reference
        Name of the method that all are compared with (default: the classical one with the smallest error on the
        coarse grid by the first reference at the last time).
    metrics
        Further metrics of two fields, at the times of comparison; those of whole simulations are left out.
    settings
        For the record.
    report
        Called with what is being done.

    Returns
    -------
    Results
        With ``error`` by the first reference and ``error_NAME`` by others, and the costs: read by
        :class:`closura.metrics.pareto.Fronts`.

    Raises
    ------
    ValueError
        If the method to compare with is unknown; if a reference diverged; if a metric has the name of another.
    """
    if not benchmark.methods or not benchmark.references:
        raise ValueError("a benchmark needs at least one method and one reference")
    _check_reference(benchmark, reference)
    further = [metric for metric in metrics if not (metric.series or metric.run)]
    check_further([replace(benchmark.error, name="error"), *benchmark.followed], further, "benchmarks")
    compared = [(metric, at_times(metric, benchmark.places).of) for metric in further]
    done: dict[str, tuple[dict[str, np.ndarray], float, np.ndarray]] = {}
    unmeasured: dict[str, str] = {}
    for name, method in benchmark.methods.items():
        report(name)
        done[name] = _measured(benchmark, method, compared, unmeasured)
    works = {
        _work_key(method): partial(benchmark.work, method)
        for method in benchmark.methods.values()
        if not method.solver.recorded
    }
    kinds = {f"closure {name}": partial(benchmark.work, method) for name, method in benchmark.kinds.items()}
    nan = float("nan")
    unknown = StepTime(nan, nan, nan, timing.repetitions * (nan,))
    times = defaultdict(lambda: StepTimes(unknown, unknown), time_steps({**works, **kinds}, timing, report))
    methods = {
        name: _result(benchmark, method, *done[name], times[_work_key(method)])
        for name, method in benchmark.methods.items()
    }
    cost = [[[f * getattr(t, q) for q in QUARTILES] for t in step] for f, step in (
        (done[name][1], times[_work_key(m)]) for name, m in benchmark.methods.items()
    )]  # fmt: skip
    turns = np.asarray(
        [[_digits(done[name][1], t) for t in times[_work_key(m)]] for name, m in benchmark.methods.items()]
    )
    base = benchmark.uncorrected or next((n for n, m in benchmark.methods.items() if m.role is Role.UNCORRECTED), "")
    closure_turns = {
        name: np.asarray([_digits(done[base][1], t) for t in times[f"closure {name}"]])
        for name in (benchmark.kinds if base else ())
    }
    return assemble(
        benchmark, methods, np.asarray(cost), turns, closure_turns, compared_with=reference, further=further,
        unmeasured=unmeasured, provenance={**(settings or {}), **asdict(timing)},
    )  # fmt: skip


def assemble(
    benchmark: Benchmark,
    methods: Mapping[str, MethodResult],
    cost: np.ndarray,
    turns: np.ndarray | None = None,
    kinds: Mapping[str, np.ndarray] | None = None,
    *,
    compared_with: str | None,
    provenance: Mapping[str, Any],
    further: Sequence[Metric] = (),
    unmeasured: Mapping[str, str] | None = None,
) -> Results:
    """Results of what was measured; ``cost (method, call, quartile)`` per unit of simulated time and simulation.

    ``turns (method, call, turn)`` are the times that these are quartiles of, and ``kinds[name] (call, turn)`` those of
    the coarse solver with a closure of a kind.
    """
    variables: dict[str, Any] = {COST: (("method", "call", "quartile"), cost), "call": list(CALLS)}
    variables["quartile"] = list(QUARTILES)
    if turns is not None:
        variables[TURNS] = (("method", "call", "turn"), turns)
    if kinds:
        variables[CLOSURE_COST] = (("closure_kind", "call", "turn"), np.stack(list(kinds.values())))
        variables["closure_kind"] = list(kinds)
    times = [float(time) if time.replace(".", "", 1).replace("e-", "", 1).isdigit() else np.nan
             for time in benchmark.times]  # fmt: skip
    found = Results.build(
        benchmark.problem,
        methods,
        _metrics(benchmark, further),
        error="error",
        times=times,
        variables=variables,
        provenance=provenance,
        references=json.dumps(dict(benchmark.reference_words), ensure_ascii=False),
        time_names=json.dumps(list(benchmark.times)),
        remarks=json.dumps(list(benchmark.remarks), ensure_ascii=False),
        further=json.dumps([metric.name for metric in further]),
        unmeasured=json.dumps(unmeasured) if unmeasured else None,
        coarse=benchmark.coarse,
        uncorrected=benchmark.uncorrected or None,
        compared_with="",
    )
    chosen = compared_with or best_on_coarse_grid(found)
    return Results(found.data.assign_attrs(compared_with=chosen))


def _metrics(benchmark: Benchmark, further: Sequence[Metric]) -> list[Metric]:
    """The metric that counts by each reference, those of whole simulations and further ones."""
    found = []
    for number, name in enumerate(benchmark.references):
        for metric in (replace(benchmark.error, name="error"), *benchmark.followed, *further):
            by = (
                metric
                if number == 0
                else replace(metric, name=f"{metric.name}_{name}", title=f"{metric.title} by {name}")
            )
            found.append(by)
    return found


def _digits(frequency: float, step: StepTime) -> list[float]:
    """Times per unit of simulated time, in turn; clocks say no more than five digits."""
    return [float(f"{frequency * each:.5g}") for each in step.turns]


def _points(method: Method) -> int:
    return method.solver.grid.shape[0]


def _work_key(method: Method) -> str:
    """Methods with the same key do the same work in a step: it is timed once."""
    return f"{method.family} {_points(method)}" + (", own step" if method.step.exact else "")


def _measured(
    benchmark: Benchmark,
    method: Method,
    further: Sequence[tuple[Metric, Callable[..., np.ndarray]]],
    unmeasured: dict[str, str],
) -> tuple[dict[str, np.ndarray], float, np.ndarray]:
    """Values of the metrics, steps per unit of time, and which simulations diverged."""
    outcome = benchmark.run(method)
    values: dict[str, np.ndarray] = {}
    lost = outcome.failed
    with np.errstate(all="ignore"):
        for number, (name, reference) in enumerate(benchmark.references.items()):
            end, fields = ("" if number == 0 else f"_{name}"), reference(method)
            error = np.asarray(benchmark.error.of(outcome.fields, fields), np.float64)
            values[f"error{end}"] = np.where(np.isfinite(error), error, np.inf)
            for metric in benchmark.followed:
                values[f"{metric.name}{end}"] = np.asarray(metric.of(outcome.fields, fields), np.float64)
            for metric, of in further:
                found = measured(metric, unmeasured, partial(of, outcome.fields, fields))
                if found is not None:
                    values[f"{metric.name}{end}"] = found
    lost = lost | ~np.isfinite(values["error"]).all(axis=1)
    kept = outcome.frequency[~lost]
    return values, float(kept.mean()) if kept.size else float("nan"), lost


def _result(
    benchmark: Benchmark,
    method: Method,
    values: Mapping[str, np.ndarray],
    frequency: float,
    lost: np.ndarray,
    times: StepTimes,
) -> MethodResult:
    role = method.role
    if role is Role.BASELINE and _points(method) != benchmark.coarse:
        role = Role.FINE_BASELINE if _points(method) > benchmark.coarse else Role.COARSE_BASELINE
    return MethodResult(
        role,
        values,
        diverged_at=np.where(lost, len(benchmark.times) - 1, -1),
        milliseconds_per_step=times.single.median,
        corrects=method.corrects if method.corrects in benchmark.methods else "",
        facts={
            "family": method.family, "points": _points(method), "rule": str(method.step), "note": method.note,
            "favoured_by": ",".join(sorted(method.favoured_by)), "steps_per_time": frequency,
        },
    )  # fmt: skip


def _check_reference(benchmark: Benchmark, reference: str | None) -> None:
    names = list(benchmark.methods)
    if reference is not None and reference not in names:
        near = [name for name in names if name.split(" ")[0] == reference.split(" ")[0]] or names
        raise ValueError(f"no method is called {reference!r}; valid: {', '.join(near)}")
