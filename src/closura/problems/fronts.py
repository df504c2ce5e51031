"""Which problems have a benchmark of error against cost.

A problem on a grid joins with one function that makes its :class:`~closura.core.front.Front`: its classical solvers on
``n`` points per side, the references that errors are measured against - the one that its closures were trained on, and
a converged one where that is not converged - times of comparison, and remarks.
:func:`closura.simulation.sweep.problem_benchmark` adds what all have in common: held-out cases, the coarse solver and
closures at the problem's own step, and its error. Problems that are described by their solvers have one of themselves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from closura.core.front import Front, Sweep, Trusted
from closura.core.method import StepRule
from closura.core.problem import Problem as Described
from closura.core.solver import Solver
from closura.problems.advection_front import advection_front
from closura.problems.burgers_front import burgers_front
from closura.problems.kolmogorov.front import flow_front
from closura.problems.problem import Problem

FRONTS: dict[str, Callable[..., Front]] = {
    "advection": advection_front,
    "burgers": burgers_front,
    "kolmogorov": flow_front,
    "turbulence": flow_front,
}
"""``front(problem, configuration, sweep)`` by the problem's name."""

LAW_BENCHMARKS: tuple[str, ...] = ("burgers-1d", "euler-1d")
"""Conservation laws: :func:`closura.problems.laws.front.law_benchmark` serves all with random initial conditions."""

BENCHMARKS: tuple[str, ...] = (*FRONTS, *LAW_BENCHMARKS)
"""All that come with the package."""

FACTORS = (1 / 2, 1, 2, 4)
"""Usual grids over the coarse one, of problems that are described by their solvers."""
USUAL = 50
"""Usual comparison time, in coarse steps, or the problem's horizon where that is shorter."""
REMARKS = (
    "All start from the same cases, taken to their own grid.",
    "Errors are taken on the coarse grid: finer fields restricted to it, others interpolated.",
)


def described_front(described: Described, problem: Problem, configuration: Any, sweep: Sweep) -> Front:
    """The front of a problem that is described by its solvers."""
    d, points = described, described.grid.shape[0]
    name, fine = d.reference

    def on(method: str, n: int) -> Solver:
        return d.solver(method, d.grid.with_points(n))

    known = (d.uncorrected, *d.baselines)
    unlimited = [m for m in sweep.chosen(known) if not 0 < d.solver(m, d.grid).courant_limit < float("inf")]
    if unlimited:
        raise ValueError(
            f"{unlimited[0]} has no Courant limit, so that its time steps cannot be varied: give its solver "
            "courant_limit and rate (closura.Solver)"
        )
    dt = d.dt / d.reference_substeps
    words = f"{name} on {' x '.join(map(str, fine.shape))} points, dt = {dt:.4g}"
    return Front(
        schemes={method: partial(on, method) for method in known},
        grids=sweep.grids or tuple(round(factor * points) for factor in FACTORS[: 3 if sweep.quick else None]),
        times=tuple(sweep.times or (min(USUAL, d.horizon) * d.dt,)),
        references={"reference": Trusted(name, d.solver(name, fine), StepRule(dt), words)},
        remarks=REMARKS,
    )
