"""What benchmarks of problems on grids of cells share: held-out draws, ladders of contenders, closures, truths."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, Scalar

from closura.evaluation.fronts.contender import Contender, Ladder, Outcome, Suite
from closura.evaluation.fronts.own import OwnStep
from closura.evaluation.fronts.stepping import Schedule, Seen, Stepper, by_courant, by_step, run, work
from closura.evaluation.fronts.transfer import transfer
from closura.numerics import subsample
from closura.problems.problem import Ask, Draw, Dynamics, Problem, SimulatedBegin


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


def contender(
    name: str, family: str, stepper: Stepper, schedule: Schedule, end: float, *, before: int = 0, **facts: Any
) -> Contender:
    """A contender from its stepper and its schedule; ``before`` steps are part of its start."""
    return Contender(
        name=name, family=family, run=partial(run, stepper, schedule, end, before), work=partial(work, stepper), **facts
    )


def climb(
    schemes: Mapping[str, Scheme],
    ladder: Ladder,
    grids: Sequence[int],
    times: Sequence[float],
    kin: Callable[[str, int], frozenset[str]],
) -> list[Contender]:
    """Every scheme on every grid at every time step of the ladder."""
    found = []
    for family in ladder.chosen(tuple(schemes)):
        scheme = schemes[family]
        for n in grids:
            stepper = scheme.stepper(n)
            for courant in ladder.steps(scheme.limit):
                rule = f"C {courant:.3g}"
                found.append(
                    contender(
                        f"{family} {n} {rule}", family, stepper, by_courant(courant, times), times[-1],
                        kind="classical", points=n, rule=rule, work_key=f"{family} {n}", kin=kin(family, n),
                    )
                )  # fmt: skip
    return found


def own_steps(
    problem: Problem,
    ladder: Ladder,
    closures: Mapping[str, Ask],
    own: Mapping[str, Dynamics],
    times: Sequence[float],
    *,
    seen: Callable[[Dynamics], Callable[[Array], Seen]] | None = None,
) -> list[Contender]:
    """What ``closura evaluate`` compares: the coarse solver, its rivals and closures at the problem's own time step.

    Each closure stands on the solver that it was trained to correct, and acts from the first step; where the problem
    burns in, each has a second row that begins as ``closura evaluate`` does, after steps of the coarse solver alone.
    Rivals are those that the ladder asks for. ``seen(dynamics)`` says how states of a solver are compared (default: as
    they are).
    """
    n, base = problem.grid.shape[0], problem.names[0]
    alone = transfer(n, n, subsample, kind="linear", centred=False)
    rule, burn_in = f"dt {problem.time_step:.3g}", getattr(problem.begin, "burn_in", 0)

    def one(name: str, dynamics: Dynamics, ask: Ask | None, before: int, **facts: Any) -> Contender:
        see = alone if seen is None else seen(dynamics)
        stepper = OwnStep(dynamics, ask, problem.dynamics, see, before)
        schedule = by_step(problem.time_step, times, exact=True, before=before)
        return contender(
            name, stepper=stepper, schedule=schedule, end=times[-1], before=before, points=n, rule=rule, **facts
        )

    found = [
        one(f"{name} {n} {rule}", dynamics, None, 0, family=name, kind="classical", work_key=f"{name}, own step")
        for name, dynamics in {base: problem.dynamics, **problem.rivals}.items()
        if name == base or not ladder.schemes or name in ladder.schemes
    ]
    for name, ask in closures.items():
        dynamics = own.get(name, problem.dynamics)
        facts: dict[str, Any] = {"family": name, "kind": "closure", "work_key": f"closure {name}"}
        found.append(one(name, dynamics, ask, 0, **facts))
        if burn_in:
            note = f"{burn_in} step of {base} first, as closura evaluate"
            found.append(one(f"{name}, burnt in", dynamics, ask, burn_in, note=note, **facts))
    return found


def truth(name: str, family: str, stepper: Stepper, schedule: Schedule, end: float, n: int, rule: str) -> Contender:
    """What errors are measured against, as a contender of its own: run once, whoever asks."""
    made = contender(
        f"truth: {name}", family, stepper, schedule, end, kind="truth", points=n, rule=rule, work_key=f"{family} {n}",
        kin=frozenset({name}),
    )  # fmt: skip
    found: list[Outcome] = []

    def once(draws: Draw) -> Outcome:
        if not found:
            found.append(made.run(draws))
            lost = int((~np.isfinite(found[0].fields).all(axis=tuple(range(1, found[0].fields.ndim)))).sum())
            if lost:
                raise ValueError(
                    f"the truth ({name}) itself diverged in {lost} of {len(found[0].failed)} simulations: nothing can "
                    "be judged by it; choose other settings or earlier --times"
                )
        return found[0]

    return Contender(**{**vars(made), "run": once})


class Parts(NamedTuple):
    """What a problem's benchmark has of its own.

    ``contenders`` are its classical methods, ``truths`` by name what errors are measured against and how it is called
    in words, ``times`` the times of comparison, ``remarks`` what has to be known to read the tables.
    """

    contenders: Sequence[Contender]
    truths: Mapping[str, tuple[Contender, str]]
    times: tuple[float, ...]
    remarks: tuple[str, ...]


def cell_suite(
    parts: Callable[[Problem, Any, Ladder], Parts],
    problem: Problem,
    configuration: Any,
    ladder: Ladder,
    closures: Mapping[str, Ask],
    own: Mapping[str, Dynamics],
    *,
    simulations: int,
    key: Key[Scalar, ""],
) -> Suite:
    """The suite of a problem whose errors are taken on its coarse grid.

    Parameters
    ----------
    parts
        Makes what the problem has of its own, of the problem, its settings and the ladder.
    problem, configuration
        The problem, built for the test split, and its settings.
    ladder
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
    made = parts(problem, configuration, ladder)
    contenders = [*made.contenders, *own_steps(problem, ladder, closures, own, made.times)]
    draws = held_out_draws(problem, simulations, key=key)
    errors = eqx.filter_jit(jax.vmap(jax.vmap(problem.error)))

    def of(contender: Contender) -> Callable[[Contender], np.ndarray]:
        return lambda _: contender.run(draws).fields

    return Suite(
        problem=problem.name,
        draws=draws,
        simulations=simulations,
        times=tuple(f"{time:.4g}" for time in made.times),
        contenders=(*(one for one, _ in made.truths.values()), *contenders),
        truths={name: of(one) for name, (one, _) in made.truths.items()},
        words={name: words for name, (_, words) in made.truths.items()},
        error=lambda fields, true: np.asarray(errors(jnp.asarray(fields), jnp.asarray(true)), np.float64),
        coarse=problem.grid.shape[0],
        typical=problem.typical,
        percent=problem.percent,
        measure="relative MAE",
        remarks=made.remarks,
    )
