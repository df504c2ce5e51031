"""Coarse models of a turbulent flow from the same held-out initial conditions: their forecasts and their statistics.

Two questions, one set of simulations. For how long does a model follow the reference? (correlation of the vorticity,
relative error; chaos ends every answer.) And has what it simulates afterwards the statistics of the same flow?
(spectrum, energy, dissipation, Reynolds stresses, over a long time, and whether it stays bounded at all.)
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Key, Scalar

from closura.closures import count_parameters
from closura.core import Method, MethodResult, Results, Role, StepRule
from closura.core.case import Case
from closura.core.solver import Closure
from closura.metrics.ensembles import (
    FlowStatistics,
    FlowSummary,
    LyapunovExponent,
    correlation_time,
    leading_exponent,
    relative_l2_series,
    vorticity_correlation,
)
from closura.problems.kolmogorov.dynamics import CoarseFlow, SpectralFlow
from closura.problems.kolmogorov.metrics import THRESHOLDS, flow_metrics, seen, statistics_of, time_metric
from closura.problems.problem import Problem
from closura.problems.reference import SolverReference
from closura.problems.stored import check_reference, simulate_reference, stored_reference
from closura.simulation.compared import compared
from closura.simulation.cost import Timing, time_steps, work
from closura.simulation.simulate import run
from closura.simulation.sweep import held_out_cases

PERSISTENCE = "persistence"
"""The initial condition, held: what a flow that hardly changes is worth as a forecast."""

LOST = 3.0
"""A simulation whose largest speed exceeds this many times the largest of the reference counts as diverged."""


@dataclass(frozen=True)
class _Measure:
    """What is measured of velocities in points, ``(simulation, time, 2, x, y)``, and how long series are."""

    reference: np.ndarray
    followed: int
    begin: int
    frames: np.ndarray
    time_step: float
    reynolds: float

    @property
    def largest(self) -> float:
        return float(np.abs(self.reference).max())

    def series(self, states: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Values by metric, and the first time at which each simulation had diverged.

        Of simulations that have diverged the correlation is 0 and the error infinite.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            bad = ~(np.abs(states).max(axis=(-3, -2, -1)) <= LOST * self.largest)
            safe = np.clip(np.where(np.isfinite(states), states, 0.0), -1e6, 1e6)
        # Not finite or too fast, or after such a state.
        lost, followed = np.logical_or.accumulate(bad, axis=1), slice(self.followed + 1)
        pairs = list(zip(safe[:, followed], self.reference[:, followed], strict=True))
        correlation, error = (
            np.stack([of(*pair) for pair in pairs]) for of in (vorticity_correlation, relative_l2_series)
        )
        correlation[lost[:, followed]], error[lost[:, followed]] = 0.0, np.inf
        values = {"error": error, "correlation": correlation}
        for threshold in THRESHOLDS:
            times = [correlation_time(one, self.time_step, threshold=threshold).time for one in correlation]
            values[time_metric(threshold)] = np.asarray(times)
        return values, np.where(lost.any(axis=1), lost.argmax(axis=1), -1)

    def statistics(self, states: np.ndarray, bounded: Bool[np.ndarray, " simulation"]) -> FlowSummary | None:
        """Statistics of the long run over simulations that stay bounded to the end; None if none does."""
        if not bounded.any():
            return None
        # Their speeds stay below LOST times the largest.
        statistics = FlowStatistics(self.reynolds, energy_range=(0.0, float((LOST * self.largest) ** 2)))
        for each in states[bounded, self.begin :]:
            statistics.add(each)
        return statistics.result()

    def fields(self, states: np.ndarray, diverged_at: int) -> np.ndarray:
        """The first simulation at the kept times, ``(1, frame, 2, x, y)``; NaN where it has diverged."""
        lost = (diverged_at >= 0) & (self.frames >= diverged_at)
        return np.where(lost[:, None, None, None], np.nan, states[0, self.frames])[None].astype(np.float32)


def evaluate_flow(
    problem: Problem,
    closures: Mapping[str, Closure],
    *,
    simulations: int = 16,
    time: float = 100.0,
    long: float = 200.0,
    key: Key[Scalar, ""],
    own: Mapping[str, Problem] | None = None,
    lyapunov: float | None = None,
    frames: int = 6,
    timing: bool = True,
    provenance: Mapping[str, Any] | None = None,
    identity: str | None = None,
    report: Callable[[str], None] = lambda what: None,
) -> Results:
    """Run the coarse solver, baselines, finer grids and closures from the same initial conditions as the reference.

    Beside the metrics the results hold, along ``method``, the ``spectrum`` (by ``wavenumber``), ``energy`` and
    ``dissipation`` of the long run with their errors (:data:`~closura.problems.kolmogorov.metrics.ERRORS`), and as
    attributes ``reynolds``, ``forcing``, ``cells``, ``statistics_from``, ``statistics_to``, ``lyapunov_exponent`` and
    ``lyapunov_standard_error``.

    Parameters
    ----------
    time
        How long forecasts are followed.
    long
        End of the simulations; statistics are over the time from a quarter of it on.
    own
        Problems of closures that were trained with other settings of their own, by the closures' names: their solvers
        are run too, where they are no method of the problem (:meth:`~closura.problems.Problem.uncorrected`).
    lyapunov
        Leading exponent of the reference; None: measured, 0: left out.
    frames
        Number of fields that are kept for figures.
    identity
        If given, the reference is kept on disk under this text, which has to tell the problem's settings from all
        others.
    """
    dt, base, fine = problem.time_step, problem.coarse, problem.reference
    if not isinstance(base, CoarseFlow) or not isinstance(fine, SolverReference):
        raise ValueError(f"expected a problem kolmogorov; got {problem.name}")
    if simulations < 1 or not time > 0 or not long > 0:
        raise ValueError(f"need at least one simulation and positive times; got {simulations}, {time} and {long}")
    reference = problem.names[1]
    chosen, learned = compared(problem, closures, own or {}, (PERSISTENCE,))
    steps, followed = max(1, round(max(time, long) / dt)), max(1, round(time / dt))
    report("the reference")
    if identity is None:
        store = simulate_reference(problem, simulations, steps, key=key)
    else:
        store = stored_reference(problem, simulations, steps, key=key, identity=identity)
    check_reference(problem, store, math.inf, "nothing can be evaluated by it")
    reference_fields = np.asarray(seen(base, problem.grid, store.reference))
    kept = np.unique(np.linspace(0, followed, frames).round().astype(np.int64))
    reynolds = float(np.asarray(store.parameters["reynolds"])[0])
    measure = _Measure(reference_fields, followed, round(long / dt) // 4, kept, dt, reynolds)
    true = measure.statistics(reference_fields, np.ones(simulations, bool))
    assert true is not None
    flows: dict[str, FlowSummary | None] = {}

    cases = held_out_cases(problem, simulations, key=key)
    times = dt * np.arange(1, steps + 1)

    def score(name: str, method: Method, states: np.ndarray, **facts: Any) -> MethodResult:
        values, diverged_at = measure.series(states)
        flows[name] = measure.statistics(states, diverged_at < 0)
        fields = measure.fields(states, int(diverged_at[0])) if method.role is not Role.NAIVE else None
        return MethodResult(method.role, values, diverged_at, fields=fields, corrects=method.corrects, **facts)

    for name, each in problem.finer.items():
        assert isinstance(each, SolverReference)
        chosen[name] = Method(each.solver, Role.FINE_BASELINE, StepRule(dt=dt / each.substeps, exact=True))
    chosen |= learned
    methods: dict[str, MethodResult] = {}
    for name, method in chosen.items():
        report(name)
        given = closures.get(name)
        size = None if given is None else count_parameters(given) if isinstance(given, eqx.Module) else 0
        states = np.asarray(run(method, times.tolist(), problem.grid, cases).fields)
        methods[name] = score(name, method, states, parameters=size)
    held = np.broadcast_to(reference_fields[:, :1], reference_fields.shape)
    methods[PERSISTENCE] = score(PERSISTENCE, Method(base, Role.NAIVE, StepRule(dt=dt)), held)
    flows[reference] = true
    methods[reference] = MethodResult(
        Role.REFERENCE, {"error": np.zeros((simulations, followed + 1))}, fields=measure.fields(reference_fields, -1)
    )  # fmt: skip
    if timing:
        chosen[reference] = Method(fine.solver, Role.REFERENCE, StepRule(dt=dt / fine.substeps))
        works = {name: partial(work, method, cases) for name, method in chosen.items()}
        for name, cost in time_steps(works, Timing(), report).items():
            coarse_step = cost.single.median * round(dt / (chosen[name].step.dt or dt))
            methods[name] = replace(methods[name], milliseconds_per_step=coarse_step)
    exponent = None
    if lyapunov is None:
        report("a perturbed reference, for the Lyapunov exponent")
        exponent = measure_exponent(problem, key=key)
    elif lyapunov > 0:
        exponent = LyapunovExponent(lyapunov, float("nan"), float("nan"))
    ordered = {name: methods[name] for name in (*(n for n in methods if n not in closures), *closures)}
    followed_times = dt * np.arange(followed + 1)
    return Results.build(
        problem.name,
        ordered,
        flow_metrics(problem, followed_times),
        error="error",
        times=followed_times,
        frames=kept,
        components=problem.components,
        variables=statistics_of({name: flows[name] for name in ordered}, true, problem.grid.shape[0]),
        description=dict(problem.description),
        provenance=provenance,
        time_step=dt,
        origin=problem.origin,
        verdicts=time_metric(THRESHOLDS[-1]),
        reynolds=reynolds,
        forcing=base.flow.forcing,
        cells=problem.grid.shape[0],
        statistics_from=measure.begin * dt,
        statistics_to=steps * dt,
        lyapunov_exponent=None if exponent is None else exponent.exponent,
        lyapunov_standard_error=None if exponent is None else exponent.standard_error,
    )


def measure_exponent(
    problem: Problem, *, key: Key[Scalar, ""], time: float = 240.0, between: float = 2.0
) -> LyapunovExponent:
    """Leading exponent of the problem's fine flow, from one start, with errors from the scatter over time.

    Growth is followed for ``time``, and renormalised after each ``between``.
    """
    reference = problem.reference
    assert isinstance(reference, SolverReference)
    assert isinstance(reference.solver, SpectralFlow)
    flow = reference.solver.flow
    case: Case = problem.begin.cases.sample(key=key)  # type: ignore[attr-defined]
    spectrum, parameters = reference.init(case)
    dt = problem.time_step / reference.substeps
    steps = max(1, round(between / problem.time_step * reference.substeps))

    @jax.jit
    def advance(velocity: Array) -> Array:
        spectrum = flow.project(flow.to_spectrum(velocity)).at[:, 0, 0].set(0)
        return flow.to_velocity(flow.march(spectrum, parameters["reynolds"], dt, steps))

    return leading_exponent(
        advance, flow.to_velocity(spectrum), time_step=between, steps=1, renormalisations=max(2, round(time / between))
    )
