"""What benchmarks of problems on grids of cells share: held-out draws, sweeps, closures, references."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Key, Scalar

from closura.core import Metric, Role
from closura.core.case import Case
from closura.core.solver import Closure, Solver
from closura.problems.problem import Problem, SimulatedBegin
from closura.simulation.stepping import AsStateOf, Schedule, Stepper, View, by_courant, by_step, run, work
from closura.simulation.sweep import Benchmark, Method, Outcome, Sweep


class Scheme(NamedTuple):
    """A classical method of a problem: its Courant limit, and its stepper on a grid of ``n`` points per side."""

    limit: float
    stepper: Callable[[int], Stepper]


def held_out_cases(problem: Problem, simulations: int, *, key: Key[Scalar, ""]) -> Case:
    """The cases that ``closura evaluate`` with the same key begins from, stacked.

    Raises
    ------
    ValueError
        If the problem has no cases of its own.
    """
    begin = problem.begin
    if not isinstance(begin, SimulatedBegin):
        raise ValueError(f"{problem.name} here begins from stored simulations, which hold no fine initial data")
    numbers = jnp.arange(simulations, dtype=jnp.int32)
    found: Case = eqx.filter_jit(
        lambda items: jax.lax.map(lambda item: begin.cases.member(item[0], key=item[1]), items)
    )((numbers, jax.random.split(key, simulations)))
    return found


def method(
    name: str, family: str, stepper: Stepper, schedule: Schedule, end: float, *, before: int = 0, **facts: Any
) -> Method:
    """A method from its stepper and its schedule; ``before`` steps are part of its start."""
    return Method(
        name=name, family=family, run=partial(run, stepper, schedule, end, before), work=partial(work, stepper), **facts
    )


def sweep_schemes(
    schemes: Mapping[str, Scheme],
    sweep: Sweep,
    grids: Sequence[int],
    times: Sequence[float],
    favoured_by: Callable[[str, int], frozenset[str]],
) -> list[Method]:
    """Every scheme on every grid at every time step of the sweep."""
    found = []
    for family in sweep.chosen(tuple(schemes)):
        scheme = schemes[family]
        for n in grids:
            stepper = scheme.stepper(n)
            for courant in sweep.steps(scheme.limit):
                rule = f"C {courant:.3g}"
                found.append(
                    method(
                        f"{family} {n} {rule}", family, stepper, by_courant(courant, times), times[-1],
                        role=Role.BASELINE, points=n, rule=rule, work_key=f"{family} {n}",
                        favoured_by=favoured_by(family, n),
                    )
                )  # fmt: skip
    return found


def own_steps(
    problem: Problem,
    sweep: Sweep,
    closures: Mapping[str, Closure],
    own: Mapping[str, Problem],
    times: Sequence[float],
    *,
    view: View | None = None,
) -> list[Method]:
    """What ``closura evaluate`` compares: the coarse solver, its baselines and closures at the problem's own time step.

    Each closure stands on the solver that it was trained to correct (that of its ``own`` problem), and acts from the
    first step; where the problem burns in, each has a second row that begins as ``closura evaluate`` does, after steps
    of the coarse solver alone. Baselines are those that the sweep asks for. ``view`` says how states are compared
    (default: as those of the coarse solver).
    """
    n, base = problem.grid.shape[0], problem.names[0]
    rule, burn_in = f"dt {problem.time_step:.3g}", getattr(problem.begin, "burn_in", 0)
    see = view or AsStateOf(problem.coarse)

    def one(name: str, solver: Solver, closure: Closure | None, before: int, **facts: Any) -> Method:
        stepper = Stepper(solver, see, closure, problem.time_step, problem.coarse, before)
        schedule = by_step(problem.time_step, times, exact=True, before=before)
        return method(
            name, stepper=stepper, schedule=schedule, end=times[-1], before=before, points=n, rule=rule, **facts
        )

    found = [
        one(
            f"{name} {n} {rule}",
            solver,
            None,
            0,
            family=name,
            role=Role.UNCORRECTED if name == base else Role.BASELINE,
            work_key=f"{name}, own step",
        )
        for name, solver in {base: problem.coarse, **problem.baselines}.items()
        if name == base or not sweep.schemes or name in sweep.schemes
    ]
    for name, closure in closures.items():
        theirs = own.get(name, problem)
        limited = theirs.spec.limit(closure)
        facts: dict[str, Any] = {"family": name, "role": Role.CLOSURE, "work_key": f"closure {name}"}
        found.append(one(name, theirs.coarse, limited, 0, **facts))
        if burn_in:
            note = f"{burn_in} step of {base} first, as closura evaluate"
            found.append(one(f"{name}, burnt in", theirs.coarse, limited, burn_in, note=note, **facts))
    return found


def reference(name: str, family: str, stepper: Stepper, schedule: Schedule, end: float, n: int, rule: str) -> Method:
    """What errors are measured against, as a method of its own: run once, however often it is needed."""
    made = method(
        f"reference: {name}", family, stepper, schedule, end, role=Role.REFERENCE, points=n, rule=rule,
        work_key=f"{family} {n}", favoured_by=frozenset({name}),
    )  # fmt: skip
    found: list[Outcome] = []

    def once(cases: Case) -> Outcome:
        if not found:
            found.append(made.run(cases))
            lost = int((~np.isfinite(found[0].fields).all(axis=tuple(range(1, found[0].fields.ndim)))).sum())
            if lost:
                raise ValueError(
                    f"the reference ({name}) itself diverged in {lost} of {len(found[0].failed)} simulations: no error "
                    "can be measured; choose other settings or earlier --times"
                )
        return found[0]

    return Method(**{**vars(made), "run": once})


class BenchmarkParts(NamedTuple):
    """What a problem's benchmark has of its own.

    ``methods`` are its classical methods, ``references`` by name what errors are measured against and how it is called
    in words, ``times`` the times of comparison, ``remarks`` what has to be known to read the tables.
    """

    methods: Sequence[Method]
    references: Mapping[str, tuple[Method, str]]
    times: tuple[float, ...]
    remarks: tuple[str, ...]


def cell_benchmark(
    parts: Callable[[Problem, Any, Sweep], BenchmarkParts],
    problem: Problem,
    configuration: Any,
    sweep: Sweep,
    closures: Mapping[str, Closure],
    own: Mapping[str, Problem],
    *,
    simulations: int,
    key: Key[Scalar, ""],
) -> Benchmark:
    """The benchmark of a problem whose errors are taken on its coarse grid.

    Parameters
    ----------
    parts
        Makes what the problem has of its own, of the problem, its settings and the sweep.
    problem, configuration
        The problem, built for the test split, and its settings.
    sweep
        Grids, time steps, schemes, times.
    closures
        By name; each corrects the coarse solver of ``own[name]``, or of the problem.
    simulations, key
        How many, and the key of their beginnings.

    Raises
    ------
    ValueError
        If a grid cannot be compared, a scheme is unknown, times fit no step, or as ``parts`` does.
    """
    made = parts(problem, configuration, sweep)
    methods = [*made.methods, *own_steps(problem, sweep, closures, own, made.times)]
    draws = held_out_cases(problem, simulations, key=key)
    errors = eqx.filter_jit(jax.vmap(jax.vmap(problem.error)))

    def of(method: Method) -> Callable[[Method], np.ndarray]:
        return lambda _: method.run(draws).fields

    return Benchmark(
        problem=problem.name,
        draws=draws,
        simulations=simulations,
        times=tuple(f"{time:.4g}" for time in made.times),
        methods=(*(one for one, _ in made.references.values()), *methods),
        references={name: of(one) for name, (one, _) in made.references.items()},
        reference_words={name: words for name, (_, words) in made.references.items()},
        error=Metric(
            "error",
            lambda fields, true: np.asarray(errors(jnp.asarray(fields), jnp.asarray(true)), np.float64),
            problem.error_name,
            percent=problem.percent,
            aggregate=problem.typical,
        ),
        coarse=problem.grid.shape[0],
        remarks=made.remarks,
    )
