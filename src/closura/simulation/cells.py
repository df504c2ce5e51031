"""What benchmarks of problems on grids of cells share: held-out draws, sweeps, closures, references."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, Scalar

from closura.core import Metric, Role
from closura.numerics import subsample
from closura.numerics.transfer import transfer
from closura.problems.problem import Ask, Draw, Dynamics, Problem, SimulatedBegin
from closura.simulation.own import OwnStep
from closura.simulation.stepping import Schedule, Seen, Stepper, by_courant, by_step, run, work
from closura.simulation.sweep import Benchmark, Method, Outcome, Sweep


class Scheme(NamedTuple):
    """A classical method of a problem: its Courant limit, and its stepper on a grid of ``n`` points per side."""

    limit: float
    stepper: Callable[[int], Stepper]


def held_out_draws(problem: Problem, simulations: int, *, key: Key[Scalar, ""]) -> Draw:
    """Fine initial data of simulations that ``closura evaluate`` with the same key begins from, stacked.

    Raises
    ------
    ValueError
        If the problem has no fine initial data of its own.
    """
    begin = problem.begin
    if not isinstance(begin, SimulatedBegin):
        raise ValueError(f"{problem.name} here begins from stored simulations, which hold no fine initial data")
    draw = begin.draw
    # As their beginnings: where initial data follow a schedule, the number of a simulation decides.
    member = getattr(draw, "member", lambda number, key: draw(key=key))
    numbers = jnp.arange(simulations, dtype=jnp.int32)
    found: Draw = eqx.filter_jit(lambda items: jax.lax.map(lambda item: member(item[0], key=item[1]), items))(
        (numbers, jax.random.split(key, simulations))
    )
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
    closures: Mapping[str, Ask],
    own: Mapping[str, Dynamics],
    times: Sequence[float],
    *,
    seen: Callable[[Dynamics], Callable[[Array], Seen]] | None = None,
) -> list[Method]:
    """What ``closura evaluate`` compares: the coarse solver, its rivals and closures at the problem's own time step.

    Each closure stands on the solver that it was trained to correct, and acts from the first step; where the problem
    burns in, each has a second row that begins as ``closura evaluate`` does, after steps of the coarse solver alone.
    Rivals are those that the sweep asks for. ``seen(dynamics)`` says how states of a solver are compared (default: as
    they are).
    """
    n, base = problem.grid.shape[0], problem.names[0]
    alone = transfer(n, n, subsample, kind="linear", centred=False)
    rule, burn_in = f"dt {problem.time_step:.3g}", getattr(problem.begin, "burn_in", 0)

    def one(name: str, dynamics: Dynamics, ask: Ask | None, before: int, **facts: Any) -> Method:
        see = alone if seen is None else seen(dynamics)
        stepper = OwnStep(dynamics, ask, problem.dynamics, see, before)
        schedule = by_step(problem.time_step, times, exact=True, before=before)
        return method(
            name, stepper=stepper, schedule=schedule, end=times[-1], before=before, points=n, rule=rule, **facts
        )

    found = [
        one(
            f"{name} {n} {rule}",
            dynamics,
            None,
            0,
            family=name,
            role=Role.UNCORRECTED if name == base else Role.BASELINE,
            work_key=f"{name}, own step",
        )
        for name, dynamics in {base: problem.dynamics, **problem.rivals}.items()
        if name == base or not sweep.schemes or name in sweep.schemes
    ]
    for name, ask in closures.items():
        dynamics = own.get(name, problem.dynamics)
        facts: dict[str, Any] = {"family": name, "role": Role.CLOSURE, "work_key": f"closure {name}"}
        found.append(one(name, dynamics, ask, 0, **facts))
        if burn_in:
            note = f"{burn_in} step of {base} first, as closura evaluate"
            found.append(one(f"{name}, burnt in", dynamics, ask, burn_in, note=note, **facts))
    return found


def reference(name: str, family: str, stepper: Stepper, schedule: Schedule, end: float, n: int, rule: str) -> Method:
    """What errors are measured against, as a method of its own: run once, however often it is needed."""
    made = method(
        f"reference: {name}", family, stepper, schedule, end, role=Role.REFERENCE, points=n, rule=rule,
        work_key=f"{family} {n}", favoured_by=frozenset({name}),
    )  # fmt: skip
    found: list[Outcome] = []

    def once(draws: Draw) -> Outcome:
        if not found:
            found.append(made.run(draws))
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
    closures: Mapping[str, Ask],
    own: Mapping[str, Dynamics],
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
        By name; each corrects ``own[name]``, or the problem's coarse solver.
    simulations, key
        How many, and the key of their beginnings.

    Raises
    ------
    ValueError
        If a grid cannot be compared, a scheme is unknown, times fit no step, or as ``parts`` does.
    """
    made = parts(problem, configuration, sweep)
    methods = [*made.methods, *own_steps(problem, sweep, closures, own, made.times)]
    draws = held_out_draws(problem, simulations, key=key)
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
