"""Coarse models of a turbulent flow from the same held-out starts: what they predict and what they look like for long.

Two questions, one set of simulations. For how long does a model follow the true flow? (correlation of the vorticity,
relative error; chaos ends every answer.) And is what it simulates afterwards still the same flow? (spectrum, energy,
dissipation, over a long time, and whether it lives at all.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Key, PyTree, Scalar

from closura.closures.closure import count_parameters
from closura.metrics.ensembles import (
    FlowStatistics,
    FlowSummary,
    Horizon,
    LyapunovExponent,
    correlation_time,
    leading_exponent,
    relative_l2_series,
    vorticity_correlation,
)
from closura.metrics.statistics import mean_interval
from closura.problems.kept import kept_truth
from closura.problems.kolmogorov.dynamics import KolmogorovDynamics
from closura.problems.kolmogorov.solver import FlowSolver
from closura.problems.kolmogorov.target import KolmogorovTarget, in_points
from closura.problems.problem import Ask, Draw, Dynamics, Problem, Target
from closura.problems.stored import TruthStore, simulate_truth
from closura.reporting.formatting import cost_beside
from closura.simulation.timing import SolverStep, TargetStep, milliseconds_per_step

THRESHOLDS = (0.95, 0.8)
"""Correlations of the vorticity below which a prediction has lost the flow."""

PERSISTENCE = "persistence"
"""The start, held for ever: what a flow that hardly changes is worth as a prediction."""

LOST = 3.0
"""A simulation whose largest speed exceeds this many times the largest of the truth counts as diverged."""


@dataclass(frozen=True)
class Model:
    """One method over all simulations.

    Parameters
    ----------
    correlation, error
        Of the vorticity with the truth's, and relative L2 error of the velocity, ``(simulation, time)``, from the start
        on; of simulations that are lost 0 and infinite.
    flow
        Statistics of the simulations that live to the end, over the long time; None if none does.
    diverged
        Number of simulations that were lost, at any time.
    fields
        Velocities of the first simulation at the times of the figure, ``(frame, 2, x, y)``.
    milliseconds
        Wall time of a unit of simulated time; NaN where it was not measured.
    parameters
        Of a closure.
    """

    correlation: Float[np.ndarray, "simulation time"]
    error: Float[np.ndarray, "simulation time"]
    flow: FlowSummary | None
    diverged: int
    fields: Float32[np.ndarray, "frame 2 x y"]
    milliseconds: float
    parameters: int | None = None


@dataclass(frozen=True)
class TurbulenceEvaluation:
    """All methods side by side.

    Parameters
    ----------
    reynolds, forcing
        The flow.
    cells
        Points per side of the coarse grid.
    simulations
        Number of starts.
    time_step
        Time between values of the series.
    baseline
        Name of the coarse solver without a model.
    methods
        By name; those on finer grids are named in ``finer``, closures in ``closures``.
    truth
        Statistics of the true flow on the coarse grid's waves.
    truth_fields
        As those of the methods.
    truth_milliseconds
        Wall time of a unit of simulated time of the truth.
    frames
        Times of the fields.
    statistics_from, statistics_to
        Interval that statistics are over.
    lyapunov
        Leading exponent of the true flow, if known.
    bases
        By closure: the method that it is a correction of.
    description, settings
        Words about the problem; the command, the settings, the machine.
    """

    reynolds: float
    forcing: int
    cells: int
    simulations: int
    time_step: float
    baseline: str
    methods: Mapping[str, Model]
    finer: tuple[str, ...]
    closures: tuple[str, ...]
    truth: FlowSummary
    truth_fields: Float32[np.ndarray, "frame 2 x y"]
    truth_milliseconds: float
    frames: tuple[float, ...]
    statistics_from: float
    statistics_to: float
    lyapunov: LyapunovExponent | None
    description: Mapping[str, str]
    bases: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def times(self) -> Float[np.ndarray, " time"]:
        """Times of the series."""
        count = next(iter(self.methods.values())).correlation.shape[1]
        return np.arange(count) * self.time_step

    def horizons(self, name: str, threshold: float) -> list[Horizon]:
        """Correlation times of a method, one for each simulation."""
        exponent = self.lyapunov.exponent if self.lyapunov and self.lyapunov.exponent > 0 else None
        return [
            correlation_time(series, self.time_step, threshold=threshold, lyapunov_exponent=exponent)
            for series in self.methods[name].correlation
        ]

    def verdicts(self, threshold: float = THRESHOLDS[-1]) -> list[str]:
        """Each closure beside the best method on the same grid that learns nothing, by its mean correlation time."""
        same = [n for n in self.methods if n not in (*self.finer, *self.closures, PERSISTENCE)]
        best = max(same, key=lambda name: self.mean_horizon(name, threshold))
        sentences = []
        for name in self.closures:
            own, other = (np.asarray([h.time for h in self.horizons(n, threshold)]) for n in (name, best))
            mean, low, high = mean_interval(own - other)
            found = "level" if low <= 0 <= high else ("longer" if mean > 0 else "shorter")
            sure = f", paired difference {mean:+.2g} (95 % interval {low:+.2g} to {high:+.2g})" if low == low else ""
            cost = cost_beside(self.methods[name].milliseconds, self.methods[best].milliseconds, best)
            base = ", the solver that it corrects," if self.bases.get(name, self.baseline) == best else ","
            sentences.append(
                f"{name} against {best}{base} the best method on this grid that learns nothing: {found}, correlation > "
                f"{threshold:g} for {own.mean():.3g} against {other.mean():.3g} (means of {self.simulations} "
                f"starts){sure}{cost}."
            )
        return sentences

    def mean_horizon(self, name: str, threshold: float) -> float:
        """Mean correlation time of a method; a lower bound if one of them is censored."""
        return float(np.mean([horizon.time for horizon in self.horizons(name, threshold)]))


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


def run_study(
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
    settings: Mapping[str, Any] | None = None,
    identity: str | None = None,
    report: Callable[[str], None] = lambda what: None,
) -> TurbulenceEvaluation:
    """Run coarse solver, rivals, finer grids and closures from the same starts, beside the truth.

    Parameters
    ----------
    problem
        A Kolmogorov problem, usually of the split "test".
    closures
        By the names they have in the table.
    simulations
        Number of starts.
    time
        How long correlations are followed.
    long
        End of the simulations; statistics are over the time from a quarter of it on.
    key
        Of the starts.
    dynamics
        Solvers of closures that were trained with other settings of their own, by the closures' names.
    bases
        What these solvers are called without the closures (:meth:`~closura.problems.Problem.uncorrected`), by the
        closures' names; one that is no method of the problem is run too.
    lyapunov
        Leading exponent of the true flow; None: measured, 0: left out.
    frames
        Number of fields that are kept for figures.
    timing
        Measure wall times.
    identity
        If given, the truth is kept on disk under this text, which has to tell the problem's settings from all others.
    report
        Called with what is being simulated.

    Raises
    ------
    ValueError
        If a name is taken, a number is not usable or the truth diverges.
    """
    if not isinstance(problem.target, KolmogorovTarget):
        raise ValueError(f"expected a problem kolmogorov; got {problem.name}")
    if simulations < 1 or not time > 0 or not long > 0:
        raise ValueError(f"need at least one simulation and positive times; got {simulations}, {time} and {long}")
    baseline = problem.names[0]
    own = dynamics or {}
    taken = {baseline, PERSISTENCE, "truth", *problem.rivals, *problem.finer}
    others = {base: own[name] for name, base in (bases or {}).items() if name in own and base not in taken}
    taken = {*taken, *others} & set(closures)
    if taken:
        raise ValueError(f"closures cannot be called {', '.join(sorted(taken))}: other methods have these names")
    steps = max(1, round(max(time, long) / problem.time_step))
    followed = max(1, round(time / problem.time_step))
    report("truth")
    if identity is None:
        store = simulate_truth(problem, simulations, steps, key=key)
    else:
        store = kept_truth(problem, simulations, steps, key=key, identity=identity)
    base = problem.dynamics
    assert isinstance(base, KolmogorovDynamics)

    def seen(states: Array) -> np.ndarray:
        return np.asarray(_in_points(base.flow, states))

    truth = seen(store.truth)
    if not np.isfinite(truth).all():
        raise ValueError("the truth itself diverges: take more fine steps (--fine-steps)")
    largest = float(np.abs(truth).max())
    begin = round(long / problem.time_step) // 4
    kept = np.unique(np.linspace(0, followed, frames).round().astype(np.int64))
    reynolds = float(np.asarray(store.parameters["reynolds"])[0])

    def judge(states: np.ndarray, milliseconds: float, closure: Ask | None) -> Model:
        correlation, error = _series(states[:, : followed + 1], truth[:, : followed + 1])
        lost = _lost(states, LOST * largest)
        correlation[lost[:, : followed + 1]], error[lost[:, : followed + 1]] = 0.0, np.inf
        living = ~lost.any(axis=1)
        flow = _summary(states[living, begin:], reynolds, largest) if living.any() else None
        parameters = count_parameters(closure) if isinstance(closure, eqx.Module) else None
        shown = np.where(lost[0, kept][:, None, None, None], np.nan, states[0, kept]).astype(np.float32)
        return Model(correlation, error, flow, int((~living).sum()), shown, milliseconds, parameters)

    runs: dict[str, tuple[Dynamics, Ask | None]] = {baseline: (problem.dynamics, None)}
    runs |= {name: (rival, None) for name, rival in problem.rivals.items()}
    runs |= {name: (solver, None) for name, solver in others.items()}
    runs |= {name: (own.get(name, problem.dynamics), closure) for name, closure in closures.items()}
    methods: dict[str, Model] = {}
    first = jax.tree.map(lambda x: x[0], (store.state, store.parameters))
    for name, (solver, ask) in runs.items():
        report(name)
        assert isinstance(solver, KolmogorovDynamics)
        states = np.asarray(_states(solver, ask, store, base))
        begun = solver.adopt(first[0], base)
        cost = milliseconds_per_step(SolverStep(solver, first[1], ask), begun) if timing else np.nan
        methods[name] = judge(states, cost / problem.time_step, ask)
    for name, target in problem.finer.items():
        report(name)
        begin_there = replace(problem.begin, target=target)  # type: ignore[call-arg]
        finer = simulate_truth(replace(problem, begin=begin_there, target=target), simulations, steps, key=key)
        methods[name] = judge(seen(finer.truth), _cost(problem, target, key) if timing else np.nan, None)
    methods[PERSISTENCE] = judge(np.broadcast_to(truth[:, :1], truth.shape), 0.0, None)
    exponent = None
    if lyapunov is None:
        report("a perturbed truth, for the Lyapunov exponent")
        exponent = measure_exponent(problem, key=key)
    elif lyapunov > 0:
        exponent = LyapunovExponent(lyapunov, float("nan"), float("nan"))
    return TurbulenceEvaluation(
        reynolds=reynolds,
        forcing=problem.target.flow.forcing,
        cells=problem.grid.shape[0],
        simulations=simulations,
        time_step=problem.time_step,
        baseline=baseline,
        methods=methods,
        finer=tuple(problem.finer),
        closures=tuple(closures),
        truth=_summary(truth[:, begin:], reynolds, largest),
        bases={name: (bases or {}).get(name, baseline) for name in closures},
        truth_fields=truth[0, kept].astype(np.float32),
        truth_milliseconds=_cost(problem, problem.target, key) if timing else np.nan,
        frames=tuple(float(k * problem.time_step) for k in kept),
        statistics_from=begin * problem.time_step,
        statistics_to=steps * problem.time_step,
        lyapunov=exponent,
        description=dict(problem.description),
        settings=dict(settings or {}),
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


def _summary(states: np.ndarray, reynolds: float, largest: float) -> FlowSummary:
    # Speeds of living simulations stay below LOST times the largest.
    statistics = FlowStatistics(reynolds, energy_range=(0.0, float((LOST * largest) ** 2)))
    for each in states:
        statistics.add(each)
    return statistics.result()


def _cost(problem: Problem, target: Target, key: Key[Scalar, ""]) -> float:
    """Milliseconds per unit of time of a simulation of its own."""
    draw: Draw = problem.begin.draw(key=key)  # type: ignore[attr-defined]
    state, parameters = problem.dynamics.start(draw)
    step = TargetStep(target, state, parameters)
    return milliseconds_per_step(step, target.start(draw), steps=5) / problem.time_step
