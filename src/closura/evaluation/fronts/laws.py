"""The front of conservation laws in one dimension: WENO schemes and agents from random initial conditions.

The truth is the exact solution (entropy solution, exact Riemann solution), known everywhere: each method is judged
on its own grid, as ``closura evaluate`` judges it, and no field has to be carried from one grid to another.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from closura.core import Metric
from closura.core.method import Method as Scheme
from closura.core.method import StepRule
from closura.grids import Grid
from closura.initial.condition import InitialCondition
from closura.problems.laws.cases import law_cases
from closura.problems.laws.catalogue import LawProblem
from closura.problems.laws.evaluate import BATCH
from closura.problems.laws.methods import classical, solver_of
from closura.problems.laws.random_conditions import FAMILIES
from closura.problems.laws.references import references
from closura.seeds import generator_of
from closura.simulation.simulate import run
from closura.simulation.stepping import OnGrid, Stepper, work
from closura.simulation.sweep import Benchmark, Method, Outcome, Sweep, Work

GRIDS = (32, 64, 128, 256, 512, 1024)
SCHEMES = ("weno3-js", "weno5-js", "weno5-z", "teno5")
REMARKS = (
    "Each is judged on its own grid against the exact solution at its cell centres: nothing is restricted or "
    "interpolated.",
    "Closures run on all grids but the finest: beside each stands a classical method on a finer grid.",
    "Courant numbers are those of closura evaluate: steps follow the largest speed of each simulation.",
)


def held_out_conditions(problem: LawProblem, simulations: int, seed: int) -> list[InitialCondition]:
    """Random initial conditions, the problem's families in turn; other random numbers than trainings use.

    Raises
    ------
    ValueError
        If the problem has no random families with an exact solution.
    """
    families = list(FAMILIES.get(problem.name, {}).values())
    if not families:
        raise ValueError(f"{problem.name} has no random initial conditions; valid: {', '.join(FAMILIES)}")
    rng = generator_of(seed, 0xF407)
    drawn = [families[number % len(families)](rng) for number in range(simulations)]
    # Their names are the keys of caches elsewhere.
    return [replace(condition, name=f"{condition.name}-{number}") for number, condition in enumerate(drawn)]


def law_benchmark(
    problem: LawProblem,
    sweep: Sweep,
    closures: Mapping[str, Callable[..., Scheme]],
    *,
    simulations: int,
    seed: int,
) -> Benchmark:
    """The benchmark of a conservation law.

    Parameters
    ----------
    problem
        The law with its usual settings: integrator, splitting, norm.
    sweep
        Grids, time steps, schemes, times.
    closures
        ``closures[name](step=, integrator=, splitting=, projection=)`` makes a method.
    simulations, seed
        How many initial conditions, and the seed of their random numbers.

    Raises
    ------
    ValueError
        If a scheme is unknown or a time outlasts an initial condition's own end (its waves would leave the domain).
    """
    draws = held_out_conditions(problem, simulations, seed)
    how: dict[str, Any] = {
        "integrator": problem.integrator, "splitting": problem.splitting, "projection": "component",
        "step": StepRule(courant=problem.courant, even=False),
    }  # fmt: skip
    schemes = {name: classical(name, problem.law, **how) for name in sweep.chosen(SCHEMES)}
    schemes |= {name: make(**how) for name, make in closures.items()}
    times: tuple[str, ...]
    if not sweep.times and problem.time is None:
        ends, times = [[condition.time] for condition in draws], ("end",)
    else:
        chosen = sweep.times or (float(problem.time or 0),)
        ends, times = [list(chosen)] * len(draws), tuple(f"{time:.4g}" for time in chosen)
        first = min(draws, key=lambda condition: condition.time)
        if problem.time is None and chosen[-1] > first.time:
            raise ValueError(
                f"--times {chosen[-1]:g} is too late: the first waves leave the domain at {first.time:.3g}"
            )
    grids = sorted(sweep.grids or GRIDS[: 3 if sweep.quick else None])
    methods = [
        _method(name, scheme, cells, courant, ends)
        for name, scheme in schemes.items()
        for cells in (grids[:-1] if scheme.role.learned and len(grids) > 1 else grids)
        for courant in sweep.steps(solver_of(scheme).courant_limit)
    ]
    size = np.asarray([condition.extent[0] for condition in draws])

    def exact(method: Method) -> np.ndarray:
        if method.points not in known:
            known[method.points] = _exact(problem, draws, ends, method.points)
        return known[method.points]

    known: dict[int, np.ndarray] = {}
    return Benchmark(
        problem=problem.name,
        draws=draws,
        simulations=simulations,
        times=times,
        methods=tuple(methods),
        references={"exact": exact},
        reference_words={"exact": "exact solution"},
        error=Metric(
            "error",
            partial(_error, problem.norm, size),
            f"{problem.norm.upper()} error of {problem.quantity}",
            aggregate="geometric",
        ),
        coarse=problem.cells,
        remarks=REMARKS,
    )


def _method(name: str, scheme: Scheme, cells: int, courant: float, ends: Sequence[Sequence[float]]) -> Method:
    rule = f"C {courant:.3g}"
    return Method(
        name=f"{name} {cells} {rule}",
        family=name,
        role=scheme.role,
        points=cells,
        rule=rule,
        run=partial(_run, scheme, cells, courant, ends),
        work=partial(_work, scheme, cells),
        work_key=f"{name} {cells}",
    )


def _run(
    scheme: Scheme, cells: int, courant: float, ends: Sequence[Sequence[float]], draws: list[InitialCondition]
) -> Outcome:
    last = np.asarray([times[-1] for times in ends])
    cases = law_cases(solver_of(scheme).law, draws, cells, ends=last.tolist())
    method = replace(scheme, step=StepRule(courant=courant, even=False))
    # All have the same times, or one of their own.
    shares = (np.asarray(ends[0]) / ends[0][-1]).tolist()
    found = run(method, shares, Grid((cells,)), cases, batch=BATCH)
    fields, steps, failed = map(np.asarray, (found.fields, found.steps, found.failed))
    return Outcome(fields[:, 1:], steps / last, failed[:, -1])


def _exact(
    problem: LawProblem, draws: Sequence[InitialCondition], ends: Sequence[Sequence[float]], cells: int
) -> np.ndarray:
    return np.stack(
        [
            np.stack(references(problem.law, condition, condition.points((cells,)), tuple(times)))
            for condition, times in zip(draws, ends, strict=True)
        ]
    )


def _error(norm: str, lengths: np.ndarray, fields: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """L1 or L2 over the domain of the first conserved variable, ``(simulation, time)``."""
    with np.errstate(all="ignore"):
        difference = np.abs(fields[:, :, 0] - truth[:, :, 0])
        size = lengths[:, None] / difference.shape[-1]
        return size * difference.sum(-1) if norm == "l1" else np.sqrt(size * (difference**2).sum(-1))


def _work(scheme: Scheme, cells: int, draws: Sequence[InitialCondition], members: int) -> Work:
    stepper = Stepper(scheme.solver, OnGrid(Grid((cells,))), scheme.closure)
    return work(stepper, law_cases(solver_of(scheme).law, draws, cells), members)
