"""The benchmark of a problem: its methods on several grids at several time steps, and closures at the coarse one."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, Scalar

from closura.core import Method, Metric, Role, StepRule
from closura.core.case import Case
from closura.core.definition import Baseline, baselines_of
from closura.core.front import Benchmark, Front, Outcome, Sweep, Trusted, named
from closura.core.solver import Closure, Solver
from closura.grids import Grid
from closura.problems.problem import Problem, SimulatedBegin
from closura.simulation.cost import work
from closura.simulation.kinds import closure_kinds
from closura.simulation.march import AsStateOf, View, schedule
from closura.simulation.simulate import at_times, run


def held_out_cases(problem: Problem, simulations: int, *, steps: int = 1, key: Key[Scalar, ""]) -> Case:
    """The cases that ``closura evaluate`` with the same key begins from, stacked; they are known for so many steps."""
    begin = problem.begin
    if not isinstance(begin, SimulatedBegin):
        raise ValueError(f"{problem.name} here begins from stored simulations, which hold no fine initial data")
    keys = jax.random.split(key, simulations)[: begin.cases.limited(simulations, steps)]
    numbers = jnp.arange(len(keys), dtype=jnp.int32)
    draw = eqx.filter_jit(lambda items: jax.lax.map(lambda item: begin.cases.member(item[0], key=item[1]), items))
    found: Case = draw((numbers, keys))
    return found


def sweep_schemes(front: Front, sweep: Sweep) -> Iterator[tuple[str, Method]]:
    """Every scheme on every grid at every time step of the sweep."""
    for family in sweep.chosen(tuple(front.schemes)):
        for n in front.grids:
            solver = front.schemes[family](n)
            favoured = frozenset(
                name
                for name, each in front.references.items()
                if (each.family, each.solver.grid.shape[0]) == (family, n)
            )
            given = None if family in front.added else front.numbers
            numbers = given(family, n) if given else sweep.steps(solver.courant_limit)
            for courant in numbers:
                rule, ready = StepRule(courant=courant), solver
                name = f"{family} {n} {rule}"
                if solver.known_rate is not None:
                    span = (front.looks or front.times)[0]
                    dt = span / math.ceil(span * solver.known_rate / courant - 1e-6)
                    rule, ready = StepRule(dt), solver.prepared(dt)
                yield name, Method(ready, Role.BASELINE, rule, family=family, favoured_by=favoured)


def own_steps(
    problem: Problem,
    sweep: Sweep,
    closures: Mapping[str, Closure],
    own: Mapping[str, Problem],
    *,
    baselines: bool = True,
) -> Iterator[tuple[str, Method]]:
    """What ``closura evaluate`` compares: the coarse solver, its baselines and closures at the problem's own time step.

    Each closure stands on the solver that it was trained to correct (that of its ``own`` problem), and acts from the
    first step; where the problem burns in, each has a second row that begins as ``closura evaluate`` does, after steps
    of the coarse solver alone. Baselines are those that the sweep asks for, and the solvers that closures correct.
    """
    n, base = problem.grid.shape[0], problem.names[0]
    rule, burn_in = StepRule(problem.time_step, exact=True), getattr(problem.begin, "burn_in", 0)
    known = set()
    for name, solver in {base: problem.coarse, **(problem.baselines if baselines else {})}.items():
        if name == base or not sweep.schemes or name in sweep.schemes:
            role = Role.UNCORRECTED if name == base else Role.BASELINE
            known.add(name)
            yield f"{name} {n} {rule}", Method(solver, role, rule, family=name)
    for name, closure in closures.items():
        theirs = own.get(name, problem)
        corrected = problem.uncorrected(theirs)
        row = f"{corrected} {n} {rule}"
        if corrected not in known:
            known.add(corrected)
            yield row, Method(theirs.coarse, Role.BASELINE, rule, family=corrected)
        limited = theirs.spec.limit(closure)
        method = Method(theirs.coarse, Role.CLOSURE, rule, limited, family=name, corrects=row)
        yield name, method
        if burn_in:
            note = f"{burn_in} step of {base} first, as closura evaluate"
            yield f"{name}, burnt in", replace(method, burn_in=burn_in, note=note)


@eqx.filter_jit
def _burnt_in(solver: Solver, cases: Case, dt: float, steps: int) -> Case:
    """Cases after some steps of a solver, on its grid."""

    def one(case: Case) -> Case:
        state, parameters = solver.init(case)
        burnt_in = solver.march(state, parameters, dt, steps) if steps else state
        return Case(burnt_in, parameters, case.group)

    return jax.lax.map(one, cases)


def _with_baselines(front: Front, problem: Problem) -> Front:
    """With the baselines that files and packages add, on all grids where their steps have a limit."""
    added = {name: each for name, each in baselines_of(problem.name, ()).items() if name not in front.schemes}

    def on(baseline: Baseline, n: int) -> Solver:
        return baseline(problem.grid.with_points(n))

    limited = {
        name: partial(on, each) for name, each in added.items() if 0 < each(problem.grid).courant_limit < math.inf
    }
    return replace(front, schemes={**front.schemes, **limited}, added=frozenset(added))


def _once(name: str, run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """What errors are measured against is run once, however often it is needed."""
    found: list[Outcome] = []

    def once() -> Outcome:
        if not found:
            found.append(run())
            lost = int((~np.isfinite(found[0].fields).all(axis=tuple(range(1, found[0].fields.ndim)))).sum())
            if lost:
                raise ValueError(
                    f"the reference ({name}) itself diverged in {lost} of {len(found[0].failed)} simulations: no error "
                    "can be measured; choose other settings or earlier --times"
                )
        return found[0]

    return once


def _run(method: Method, times: tuple[float, ...], view: Grid | View, cases: Case) -> Outcome:
    before = method.burn_in * (method.step.dt or 0)
    found = run(method, [time - before for time in times], view, cases)
    fields, steps, failed = map(np.asarray, (found.fields, found.steps, found.failed))
    return Outcome(fields[:, 1:], (steps + method.burn_in) / times[-1], np.any(failed, axis=1))


def problem_benchmark(
    make: Callable[[Problem, Any, Sweep], Front],
    problem: Problem,
    configuration: Any,
    sweep: Sweep,
    closures: Mapping[str, Closure],
    own: Mapping[str, Problem],
    *,
    simulations: int,
    key: Key[Scalar, ""],
) -> Benchmark:
    """The benchmark of a problem whose errors are taken on its coarse grid."""
    front = _with_baselines(make(problem, configuration, sweep), problem)
    looks = front.looks or front.times
    view: Grid | View = problem.grid if front.in_points else AsStateOf(problem.coarse)
    cases = held_out_cases(problem, simulations, steps=math.ceil(looks[-1] / problem.time_step - 1e-6), key=key)

    def reference(name: str, each: Trusted) -> Method:
        return Method(
            each.solver, Role.REFERENCE, each.step, family=each.family, favoured_by=frozenset({name})
        )  # fmt: skip

    references = {name: reference(name, each) for name, each in front.references.items()}
    methods = named([
        *((f"reference: {name}", method) for name, method in references.items()),
        *sweep_schemes(front, sweep),
        *front.further.items(),
        *own_steps(problem, sweep, closures, own, baselines=front.baselines),
    ])  # fmt: skip
    for method in methods.values():
        if method.role is not Role.REFERENCE:
            schedule(method.step, [time - method.burn_in * (method.step.dt or 0) for time in looks])

    def begun(method: Method) -> Case:
        if method.family in front.added and front.baselines:  # from a state of the problem's own solver on its grid
            like = next(iter(front.schemes.values()))(method.solver.grid.shape[0])
            return _burnt_in(like, cases, problem.time_step, 0)
        return _burnt_in(problem.coarse, cases, problem.time_step, method.burn_in) if method.burn_in else cases

    def usual(method: Method) -> Outcome:
        return _run(method, looks, view, begun(method))

    runs = {
        name: _once(name, partial(each.run, cases, key) if each.run else partial(usual, references[name]))
        for name, each in front.references.items()
    }
    by_method = {id(method): runs[name] for name, method in references.items()}
    places = [looks.index(time) for time in front.times]
    error = Metric("error", problem.error, problem.error_name, percent=problem.percent, aggregate=problem.aggregate)
    return Benchmark(
        problem=problem.name,
        times=tuple(f"{time:.4g}" for time in front.times),
        methods=methods,
        run=lambda method: by_method[id(method)]() if id(method) in by_method else usual(method),
        work=lambda method, members: work(method, begun(method), members),
        references={name: lambda _, once=once: once().fields for name, once in runs.items()},  # type: ignore[misc]
        reference_words={name: each.words for name, each in front.references.items()},
        error=at_times(error, places),
        coarse=problem.grid.shape[0],
        remarks=front.remarks,
        followed=front.followed,
        places=places,
        kinds=closure_kinds(problem.coarse, problem.spec, StepRule(problem.time_step, exact=True)),
        grid=problem.grid,
    )
