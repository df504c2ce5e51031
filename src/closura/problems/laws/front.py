"""The front of conservation laws: WENO schemes and agents, in one dimension from random initial conditions.

The reference there is the exact solution (entropy solution, exact Riemann solution), known everywhere; in two
dimensions, from named initial conditions, it is exact or from a grid of at least three times as many cells. Errors of
each method are taken on its own grid, as ``closura evaluate`` takes them, and no field has to be carried from one grid
to another.
"""

import math
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
from closura.problems.laws.catalogue import LAW_PROBLEMS, LawProblem
from closura.problems.laws.evaluate import BATCH
from closura.problems.laws.methods import classical, comparison_of, solver_of
from closura.problems.laws.random_conditions import FAMILIES
from closura.problems.laws.references import references
from closura.seeds import generator_of
from closura.simulation.cost import work
from closura.simulation.kinds import closure_kinds
from closura.simulation.simulate import run

LAW_BENCHMARKS: tuple[str, ...] = tuple(LAW_PROBLEMS)

GRIDS = {1: (32, 64, 128, 256, 512, 1024), 2: (16, 32, 64)}
"""Usual numbers of cells, by dimensions."""
SCHEMES = ("weno3-js", "weno5-js", "weno5-z", "teno5")
PLANE: dict[int, tuple[str, ...]] = {
    1: (
        "jsz7", "1d-accelshock-x", "1d-smooth-sine-y", "1d-gaussian-x", "gaussian", "combo-accelshock-rarefaction",
        "combo-smooth-sine-other-sine", "combo-gaussian-tophat",
    ),
    4: (
        "isentropic-vortex", "1d-sod-x", "1d-lax-y", "1d-sod2-x", "riemann-3", "riemann-4", "riemann-6", "riemann-12",
    ),
}  # fmt: skip
"""Named initial conditions of planes, by the number of conserved variables: no solution of random ones is known.

Of the first four there is a formula; the others need a fine grid, for minutes.
"""
REFERENCES = {1: "exact solution", 2: "exact where there is a formula, else WENO5-Z on at least three times the cells"}
REMARKS = (
    "Each is evaluated on its own grid against the reference at its cell centres: nothing is restricted or "
    "interpolated.",
    "Closures run on all grids but the finest: beside each stands a classical method on a finer grid.",
    "Courant numbers are those of closura evaluate: steps follow the largest speed of each simulation.",
)


def held_out_conditions(problem: LawProblem, simulations: int, seed: int) -> list[InitialCondition]:
    """Random initial conditions, the problem's families in turn; other random numbers than trainings use.

    Of problems without families the first of some named ones.
    """
    families = list(FAMILIES.get(problem.name, {}).values())
    if not families:
        return [problem.find(name) for name in PLANE[len(problem.law.components)][:simulations]]
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
    grids = sorted(sweep.grids or GRIDS[problem.law.dimensions][: 3 if sweep.quick else None])
    # Something finer has to stand beside the coarse grid.
    coarse = problem.cells if problem.cells in grids[:-1] else grids[(len(grids) - 1) // 2]

    def methods() -> Iterator[tuple[str, Method]]:
        for name, scheme in schemes.items():
            limit = solver_of(scheme).courant_limit
            for cells in grids[:-1] if scheme.role.learned and len(grids) > 1 else grids:
                for courant in sweep.steps(limit):
                    rule = StepRule(courant=courant, even=False)
                    shape = (cells,) * problem.law.dimensions
                    solver = replace(solver_of(scheme), grid=Grid(shape))
                    corrects = f"{comparison_of(name, schemes)} {cells} {rule}" if scheme.role.learned else ""
                    found = replace(scheme, solver=solver, step=rule, family=name, corrects=corrects)
                    yield f"{name} {cells} {rule}", found

    everything = named(methods())
    # The scheme whose weights closures replace, at a step between the longest and the shortest.
    own = [
        name for name, method in everything.items() if not method.role.learned and method.solver.grid.shape[0] == coarse
    ]
    own = [name for name in own if everything[name].family == "weno5-js"] or own
    base = own[len({everything[name].step for name in own}) // 2] if own else ""
    kinds = {}
    if base:
        kinds = closure_kinds(everything[base].solver, solver_of(everything[base]).spec(), everything[base].step)

    def timed(method: Method, members: int) -> Work:
        return work(method, law_cases(problem.law, draws, method.solver.grid.shape[0]), members)

    size = np.asarray([math.prod(condition.extent) for condition in draws])

    def exact(method: Method) -> np.ndarray:
        cells = method.solver.grid.shape[0]
        if cells not in known:
            known[cells] = np.asarray([
                references(problem.law, condition, condition.points(method.solver.grid.shape), tuple(times))
                for condition, times in zip(draws, ends, strict=True)
            ])  # fmt: skip
        return known[cells]

    known: dict[int, np.ndarray] = {}
    return Benchmark(
        problem=problem.name,
        times=times,
        methods=everything,
        run=lambda method: _run(method, ends, draws),
        work=timed,
        references={"exact": exact},
        reference_words={"exact": REFERENCES[problem.law.dimensions]},
        error=Metric(
            "error",
            partial(_error, problem.norm, size),
            f"{problem.norm.upper()} error of {problem.quantity}",
            aggregate="geometric",
        ),
        coarse=coarse,
        remarks=REMARKS,
        uncorrected=base,
        kinds=kinds,
        grid=Grid((coarse,) * problem.law.dimensions),
    )


def _run(method: Method, ends: Sequence[Sequence[float]], draws: list[InitialCondition]) -> Outcome:
    grid, last = method.solver.grid, np.asarray([times[-1] for times in ends])
    cases = law_cases(solver_of(method).law, draws, grid.shape[0], ends=last.tolist())
    # All have the same times, or one of their own.
    shares = (np.asarray(ends[0]) / ends[0][-1]).tolist()
    found = run(method, shares, grid, cases, batch=BATCH)
    fields, steps, failed = map(np.asarray, (found.fields, found.steps, found.failed))
    return Outcome(fields[:, 1:], steps / last, failed[:, -1])


def _error(norm: str, volumes: np.ndarray, fields: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """L1 or L2 over the domain of the first conserved variable, ``(simulation, time)``."""
    with np.errstate(all="ignore"):
        difference = np.abs(fields[:, :, 0] - reference[:, :, 0])
        difference = difference.reshape(*difference.shape[:2], -1)
        size = volumes[:, None] / difference.shape[-1]
        return size * difference.sum(-1) if norm == "l1" else np.sqrt(size * (difference**2).sum(-1))
