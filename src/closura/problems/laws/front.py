"""The front of conservation laws in one dimension: WENO schemes and agents from random initial conditions.

The reference is the exact solution (entropy solution, exact Riemann solution), known everywhere: errors of each method
are taken on its own grid, as ``closura evaluate`` takes them, and no field has to be carried from one grid to another.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from closura.core import Method, Metric, StepRule
from closura.core.front import Benchmark, Outcome, Sweep, Work, named
from closura.grids import Grid
from closura.initial.condition import InitialCondition
from closura.problems.laws.cases import law_cases
from closura.problems.laws.catalogue import LawProblem
from closura.problems.laws.evaluate import BATCH
from closura.problems.laws.methods import classical, solver_of
from closura.problems.laws.random_conditions import FAMILIES
from closura.problems.laws.references import references
from closura.seeds import generator_of
from closura.simulation.cost import work
from closura.simulation.simulate import run

LAW_BENCHMARKS: tuple[str, ...] = ("burgers-1d", "euler-1d")
"""Laws with random initial conditions of which the exact solution is known."""

GRIDS = (32, 64, 128, 256, 512, 1024)
SCHEMES = ("weno3-js", "weno5-js", "weno5-z", "teno5")
REMARKS = (
    "Each is evaluated on its own grid against the exact solution at its cell centres: nothing is restricted or "
    "interpolated.",
    "Closures run on all grids but the finest: beside each stands a classical method on a finer grid.",
    "Courant numbers are those of closura evaluate: steps follow the largest speed of each simulation.",
)


def held_out_conditions(problem: LawProblem, simulations: int, seed: int) -> list[InitialCondition]:
    """Random initial conditions, the problem's families in turn; other random numbers than trainings use."""
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
    closures: Mapping[str, Callable[..., Method]],
    *,
    simulations: int,
    seed: int,
) -> Benchmark:
    """The benchmark of a conservation law.

    ``closures[name](step=, integrator=, splitting=, projection=)`` makes a method.
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

    def methods() -> Iterator[tuple[str, Method]]:
        for name, scheme in schemes.items():
            limit = solver_of(scheme).courant_limit
            for cells in grids[:-1] if scheme.role.learned and len(grids) > 1 else grids:
                for courant in sweep.steps(limit):
                    rule = StepRule(courant=courant, even=False)
                    solver = replace(solver_of(scheme), grid=Grid((cells,)))
                    yield f"{name} {cells} {rule}", replace(scheme, solver=solver, step=rule, family=name)

    def timed(method: Method, members: int) -> Work:
        return work(method, law_cases(problem.law, draws, method.solver.grid.shape[0]), members)

    size = np.asarray([condition.extent[0] for condition in draws])

    def exact(method: Method) -> np.ndarray:
        cells = method.solver.grid.shape[0]
        if cells not in known:
            known[cells] = np.asarray([
                references(problem.law, condition, condition.points((cells,)), tuple(times))
                for condition, times in zip(draws, ends, strict=True)
            ])  # fmt: skip
        return known[cells]

    known: dict[int, np.ndarray] = {}
    return Benchmark(
        problem=problem.name,
        times=times,
        methods=named(methods()),
        run=lambda method: _run(method, ends, draws),
        work=timed,
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


def _run(method: Method, ends: Sequence[Sequence[float]], draws: list[InitialCondition]) -> Outcome:
    grid, last = method.solver.grid, np.asarray([times[-1] for times in ends])
    cases = law_cases(solver_of(method).law, draws, grid.shape[0], ends=last.tolist())
    # All have the same times, or one of their own.
    shares = (np.asarray(ends[0]) / ends[0][-1]).tolist()
    found = run(method, shares, grid, cases, batch=BATCH)
    fields, steps, failed = map(np.asarray, (found.fields, found.steps, found.failed))
    return Outcome(fields[:, 1:], steps / last, failed[:, -1])


def _error(norm: str, lengths: np.ndarray, fields: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """L1 or L2 over the domain of the first conserved variable, ``(simulation, time)``."""
    with np.errstate(all="ignore"):
        difference = np.abs(fields[:, :, 0] - reference[:, :, 0])
        size = lengths[:, None] / difference.shape[-1]
        return size * difference.sum(-1) if norm == "l1" else np.sqrt(size * (difference**2).sum(-1))
