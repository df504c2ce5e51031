"""Coarse models of a turbulent flow from the same held-out initial conditions: their forecasts and their statistics.

Two questions, one set of simulations. For how long does a model follow the reference? (correlation of the vorticity,
relative error; chaos ends every answer.) And has what it simulates afterwards the statistics of the same flow?
(spectrum, energy, dissipation, Reynolds stresses, over a long time, and whether it stays bounded at all.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.closures import count_parameters
from closura.core import MethodResult, Results, Role
from closura.metrics.ensembles import (
    FlowStatistics,
    FlowSummary,
    LyapunovExponent,
    correlation_time,
    leading_exponent,
    relative_l2_series,
    vorticity_correlation,
)
from closura.problems.kept import kept_truth
from closura.problems.kolmogorov.dynamics import KolmogorovDynamics
from closura.problems.kolmogorov.measures import THRESHOLDS, flow_metrics, statistics_of, time_metric
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.target import KolmogorovTarget, in_points
from closura.problems.problem import Ask, Draw, Dynamics, Problem, Target
from closura.problems.stored import TruthStore, simulate_truth
from closura.simulation.timing import SolverStep, TargetStep, milliseconds_per_step

PERSISTENCE = "persistence"
"""The initial condition, held: what a flow that hardly changes is worth as a forecast."""

LOST = 3.0
"""A simulation whose largest speed exceeds this many times the largest of the reference counts as diverged."""


@eqx.filter_jit
def _in_points(flow: FlowSolver, states: Float[Array, "simulation time 2 x y"]) -> Array:
    return jax.lax.map(lambda one: jax.vmap(partial(in_points, flow))(one), states)


@eqx.filter_jit
def _states(
    dynamics: KolmogorovDynamics, ask: Ask | None, store: TruthStore, stored: KolmogorovDynamics
) -> Float[Array, "simulation time 2 x y"]:
    """Velocities in points of all simulations at every coarse step, the first included.

    The store's states are those of ``stored``: another solver begins with the same waves in its own representation.
    """

    def one(item: tuple[Array, PyTree[Array]]) -> Array:
        start, parameters = dynamics.adopt(item[0], stored), item[1]

        def step(state: Array, _: None) -> tuple[Array, Array]:
            state = dynamics.step(state, parameters, ask)[0]
            return state, in_points(dynamics.flow, state)

        states = jax.lax.scan(step, start, None, length=store.steps)[1]
        return jnp.concatenate([in_points(dynamics.flow, start)[None], states])

    return jax.lax.map(one, (store.state, store.parameters))


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
        lost, followed = _lost(states, LOST * self.largest), slice(self.followed + 1)
        correlation, error = _series(states[:, followed], self.reference[:, followed])
        correlation[lost[:, followed]], error[lost[:, followed]] = 0.0, np.inf
        values = {"error": error, "correlation": correlation}
        for threshold in THRESHOLDS:
            times = [correlation_time(one, self.time_step, threshold=threshold).time for one in correlation]
            values[time_metric(threshold)] = np.asarray(times)
        return values, np.where(lost.any(axis=1), lost.argmax(axis=1), -1)

    def statistics(self, states: np.ndarray, diverged_at: np.ndarray) -> FlowSummary | None:
        """Statistics of the long run over simulations that stay bounded to the end; None if none does."""
        bounded = diverged_at < 0
        return self.summary(states[bounded, self.begin :]) if bounded.any() else None

    def summary(self, states: np.ndarray) -> FlowSummary:
        # Speeds of bounded simulations stay below LOST times the largest.
        statistics = FlowStatistics(self.reynolds, energy_range=(0.0, float((LOST * self.largest) ** 2)))
        for each in states:
            statistics.add(each)
        return statistics.result()

    def fields(self, states: np.ndarray, diverged_at: int) -> np.ndarray:
        """The first simulation at the kept times, ``(1, frame, 2, x, y)``; NaN where it has diverged."""
        lost = (diverged_at >= 0) & (self.frames >= diverged_at)
        return np.where(lost[:, None, None, None], np.nan, states[0, self.frames])[None].astype(np.float32)


def evaluate_flow(
    problem: Problem,
    closures: Mapping[str, Ask],
    *,
    simulations: int = 16,
    time: float = 100.0,
    long: float = 200.0,
    key: Key[Scalar, ""],
    dynamics: Mapping[str, Dynamics] | None = None,
    bases: Mapping[str, str] | None = None,
    lyapunov: float | None = None,
    frames: int = 6,
    timing: bool = True,
    provenance: Mapping[str, Any] | None = None,
    identity: str | None = None,
    report: Callable[[str], None] = lambda what: None,
) -> Results:
    """Run the coarse solver, baselines, finer grids and closures from the same initial conditions as the reference.

    Beside the metrics the results hold, along ``method``, the ``spectrum`` (by ``wavenumber``), ``energy`` and
    ``dissipation`` of the long run with their errors (:data:`~closura.problems.kolmogorov.measures.ERRORS`), and as
    attributes ``reynolds``, ``forcing``, ``cells``, ``statistics_from``, ``statistics_to``, ``lyapunov_exponent`` and
    ``lyapunov_standard_error``.

    Parameters
    ----------
    problem
        A Kolmogorov problem, usually of the split "test".
    closures
        By the names they have in the table.
    simulations
        Number of initial conditions.
    time
        How long forecasts are followed.
    long
        End of the simulations; statistics are over the time from a quarter of it on.
    key
        Of the initial conditions.
    dynamics
        Solvers of closures that were trained with other settings of their own, by the closures' names.
    bases
        What these solvers are called without the closures (:meth:`~closura.problems.Problem.uncorrected`), by the
        closures' names; one that is no method of the problem is run too.
    lyapunov
        Leading exponent of the reference; None: measured, 0: left out.
    frames
        Number of fields that are kept for figures.
    timing
        Measure wall times.
    provenance
        How to repeat it.
    identity
        If given, the reference is kept on disk under this text, which has to tell the problem's settings from all
        others.
    report
        Called with what is being simulated.

    Raises
    ------
    ValueError
        If a name is taken, a number is not usable or the reference diverges.
    """
    if not isinstance(problem.target, KolmogorovTarget):
        raise ValueError(f"expected a problem kolmogorov; got {problem.name}")
    if simulations < 1 or not time > 0 or not long > 0:
        raise ValueError(f"need at least one simulation and positive times; got {simulations}, {time} and {long}")
    (uncorrected, reference), own = problem.names, dynamics or {}
    taken = {uncorrected, reference, PERSISTENCE, *problem.rivals, *problem.finer}
    others = {base: own[name] for name, base in (bases or {}).items() if name in own and base not in taken}
    taken = {*taken, *others} & set(closures)
    if taken:
        raise ValueError(f"closures cannot be called {', '.join(sorted(taken))}: other methods have these names")
    dt, base = problem.time_step, problem.dynamics
    assert isinstance(base, KolmogorovDynamics)
    steps, followed = max(1, round(max(time, long) / dt)), max(1, round(time / dt))
    report("the reference")
    if identity is None:
        store = simulate_truth(problem, simulations, steps, key=key)
    else:
        store = kept_truth(problem, simulations, steps, key=key, identity=identity)
    truth = np.asarray(_in_points(base.flow, store.truth))
    if not np.isfinite(truth).all():
        raise ValueError("the reference itself diverges: take more fine steps (--fine-steps)")
    kept = np.unique(np.linspace(0, followed, frames).round().astype(np.int64))
    reynolds = float(np.asarray(store.parameters["reynolds"])[0])
    measure = _Measure(truth, followed, round(long / dt) // 4, kept, dt, reynolds)
    true = measure.summary(truth[:, measure.begin :])
    flows: dict[str, FlowSummary | None] = {}

    def judge(name: str, role: Role, states: np.ndarray, milliseconds: float, **facts: Any) -> MethodResult:
        values, diverged_at = measure.series(states)
        flows[name] = measure.statistics(states, diverged_at)
        fields = measure.fields(states, int(diverged_at[0])) if role is not Role.NAIVE else None
        return MethodResult(role, values, diverged_at, milliseconds, fields=fields, **facts)

    runs: dict[str, tuple[Role, Dynamics, Ask | None]] = {uncorrected: (Role.UNCORRECTED, problem.dynamics, None)}
    runs |= {name: (Role.BASELINE, rival, None) for name, rival in problem.rivals.items()}
    runs |= {name: (Role.BASELINE, solver, None) for name, solver in others.items()}
    runs |= {name: (Role.CLOSURE, own.get(name, problem.dynamics), closure) for name, closure in closures.items()}
    methods: dict[str, MethodResult] = {}
    first = jax.tree.map(lambda x: x[0], (store.state, store.parameters))
    for name, (role, solver, ask) in runs.items():
        report(name)
        assert isinstance(solver, KolmogorovDynamics)
        states = np.asarray(_states(solver, ask, store, base))
        advance = SolverStep(solver, first[1], ask)
        cost = milliseconds_per_step(advance, solver.adopt(first[0], base)) if timing else np.nan
        learned = None if ask is None else count_parameters(ask) if isinstance(ask, eqx.Module) else 0
        methods[name] = judge(name, role, states, cost, parameters=learned, corrects=(bases or {}).get(name, ""))
    for name, target in problem.finer.items():
        report(name)
        begin = replace(problem.begin, target=target)  # type: ignore[call-arg]
        found = simulate_truth(replace(problem, begin=begin, target=target), simulations, steps, key=key)
        cost = _cost(problem, target, key) if timing else np.nan
        methods[name] = judge(name, Role.FINE_BASELINE, np.asarray(_in_points(base.flow, found.truth)), cost)
    held = np.broadcast_to(truth[:, :1], truth.shape)
    methods[PERSISTENCE] = judge(PERSISTENCE, Role.NAIVE, held, np.nan)
    flows[reference] = true
    methods[reference] = MethodResult(
        Role.REFERENCE, {"error": np.zeros((simulations, followed + 1))},
        milliseconds_per_step=_cost(problem, problem.target, key) if timing else np.nan,
        fields=measure.fields(truth, -1),
    )  # fmt: skip
    exponent = None
    if lyapunov is None:
        report("a perturbed reference, for the Lyapunov exponent")
        exponent = measure_exponent(problem, key=key)
    elif lyapunov > 0:
        exponent = LyapunovExponent(lyapunov, float("nan"), float("nan"))
    ordered = {name: methods[name] for name in (*(n for n in methods if n not in closures), *closures)}
    times = dt * np.arange(followed + 1)
    return Results.build(
        problem.name,
        ordered,
        flow_metrics(problem, times),
        error="error",
        times=times,
        frames=kept,
        components=problem.components,
        variables=statistics_of({name: flows[name] for name in ordered}, true, problem.grid.shape[0]),
        description=dict(problem.description),
        provenance=provenance,
        time_step=dt,
        origin=problem.origin,
        verdicts=time_metric(THRESHOLDS[-1]),
        reynolds=reynolds,
        forcing=problem.target.flow.forcing,
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

    Parameters
    ----------
    problem
        A Kolmogorov problem.
    key
        Of the start.
    time
        How long growth is followed.
    between
        Time between renormalisations.
    """
    target = problem.target
    assert isinstance(target, KolmogorovTarget)
    flow = target.flow
    draw: Draw = problem.begin.draw(key=key)  # type: ignore[attr-defined]
    spectrum, reynolds = target.start(draw)
    steps = max(1, round(between / target.time_step * target.steps))

    @jax.jit
    def advance(velocity: Array) -> Array:
        spectrum = flow.project(flow.to_spectrum(velocity)).at[:, 0, 0].set(0)
        return flow.to_velocity(flow.march(spectrum, reynolds, target.time_step / target.steps, steps))

    return leading_exponent(
        advance, flow.to_velocity(spectrum), time_step=between, steps=1, renormalisations=max(2, round(time / between))
    )


def _series(states: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlations and errors; what is not finite is replaced before, and judged after."""
    with np.errstate(over="ignore", invalid="ignore"):
        safe = np.where(np.isfinite(states), states, 0.0)
        safe = np.clip(safe, -1e6, 1e6)
    pairs = list(zip(safe, truth, strict=True))
    correlation = np.stack([vorticity_correlation(a, b) for a, b in pairs])
    return correlation, np.stack([relative_l2_series(a, b) for a, b in pairs])


def _lost(states: np.ndarray, limit: float) -> Bool[np.ndarray, "simulation time"]:
    """Which states are not finite or too fast, or come after such a one."""
    with np.errstate(invalid="ignore"):
        bad = ~(np.abs(states).max(axis=(-3, -2, -1)) <= limit)
    return np.logical_or.accumulate(bad, axis=1)


def _cost(problem: Problem, target: Target, key: Key[Scalar, ""]) -> float:
    """Milliseconds per coarse step of a simulation of its own."""
    draw: Draw = problem.begin.draw(key=key)  # type: ignore[attr-defined]
    state, parameters = problem.dynamics.start(draw)
    return milliseconds_per_step(TargetStep(target, state, parameters), target.start(draw), steps=5)
