"""The front of the Kolmogorov flow: finite volumes, spectral solvers and models on all grids, and closures.

Errors are those of the velocity at early times. Later the flow forgets where it came from: for how long each simulation
follows the truth is told beside them, as the time with a vorticity correlation above 0.95 and 0.8.

Both truths are spectral and begin with the same waves: that of the problem, and one on twice its points.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, Scalar

from closura.core import Metric, Role
from closura.core.case import Case
from closura.core.solver import Closure
from closura.evaluation.fronts.flow_stepping import METHODS, model, solver
from closura.metrics.ensembles import correlation_time, vorticity_correlation
from closura.problems.kept import kept_truth
from closura.problems.kolmogorov.configuration import KolmogorovConfiguration
from closura.problems.kolmogorov.dynamics import CoarseFlow, SpectralFlow, limits
from closura.problems.kolmogorov.flow import KolmogorovFlow
from closura.problems.kolmogorov.staggered import CONVECTIONS
from closura.problems.kolmogorov.time_steps import PADDING_OF, fine_steps_of, steps_of, typical_speed
from closura.problems.problem import Problem
from closura.problems.reference import SolverReference
from closura.problems.registry import truth_identity
from closura.simulation.cells import Scheme, held_out_cases, own_steps, sweep_schemes
from closura.simulation.evaluate import with_reference
from closura.simulation.stepping import OnGrid, Stepper, by_step, work
from closura.simulation.sweep import Benchmark, Method, Outcome, Sweep


class Watch(NamedTuple):
    """When simulations are looked at, in coarse steps: for errors, and from ``every`` to ``end`` for correlations."""

    errors: tuple[int, ...]
    every: int
    end: int


WATCHES = {"turbulence": Watch((16, 32, 64), 4, 160), "kolmogorov": Watch((25, 50, 125), 5, 500)}
FACTORS = (1 / 2, 3 / 4, 1, 5 / 4, 3 / 2, 2, 3, 4)
"""Usual grids over the coarse one."""
SHARES = (0.5, 0.9, 1.4)
"""Time steps that are tried over the limit of linear stability, the first on small grids alone.

Beyond the limit some live: it is that of the shortest wave at the highest speed, which few places have.
"""
FARTHEST = 2.0
"""Time steps over the limit that may be asked for."""
THRESHOLDS = (0.95, 0.8)
LOST = 25.0
"""A flow is lost where it is so many times as fast as it typically is; two or three times are usual."""
LARGEST = 1e6
"""Faster fields follow nothing."""
REMARKS = (
    "All start from the same developed flow, cut to the waves that their grid holds.",
    "Errors are those of the velocity on the coarse grid, of the waves that it holds, relative in the L2 norm; what a "
    "coarser grid does not hold is missing.",
    "Courant numbers are (max(|u| + |v|) / dx + s 4 nu / dx^2) dt, of each simulation's own field at the beginning of "
    "each interval between two looks; s makes the limit that of diffusion alone where the flow is at rest.",
    "Smagorinsky's constant is that with the longest correlation on training flow on the coarse grid, there and on all "
    "other grids; dynamic: the procedure of Germano and Lilly.",
    "The truth begins with the waves of the problem's fine grid, on twice its points too.",
)


def flow_benchmark(
    problem: Problem,
    configuration: KolmogorovConfiguration,
    sweep: Sweep,
    closures: Mapping[str, Closure],
    own: Mapping[str, Problem],
    *,
    simulations: int,
    key: Key[Scalar, ""],
) -> Benchmark:
    """The benchmark of the flow; parameters as of :func:`closura.simulation.cells.cell_benchmark`.

    Truths are kept on disk, in the cache folder.

    Raises
    ------
    ValueError
        If a scheme is unknown, a grid does not hold the forcing, times fit no step, or the truth diverges.
    """
    c, watch = configuration, WATCHES[configuration.problem]
    steps = _in_steps(sweep.times, problem.time_step) or watch.errors[: 2 if sweep.quick else None]
    end = max(watch.end if not sweep.quick else 0, *steps)
    regular = tuple(range(watch.every, end + 1, watch.every))
    looks = tuple(sorted({*regular, *steps}))
    times = tuple(look * problem.time_step for look in looks)
    grids = sweep.grids or usual_grids(c)[: -2 if sweep.quick else None]

    view = OnGrid(problem.grid)
    fastest = LOST * typical_speed(c.reynolds, c.forcing, c.drag, c.strength)

    @lru_cache
    def stepper(name: str, n: int) -> Stepper:
        return Stepper(model(solver(c, name, n), fastest), view)

    made: list[Method] = []
    for name in sweep.chosen(tuple(METHODS)):
        scheme = Scheme(FARTHEST * limits(METHODS[name].scheme).carried, partial(stepper, name))
        for n in (n for n in grids if sweep.grids or _usual(c, name, n)):
            made += sweep_schemes(
                {name: scheme}, _steps(sweep, name, n < 2 * c.cells), (n,), times,
                lambda name, n: frozenset({"own"} if (name, n) == (c.fine_solver, c.fine_cells) else ()),
            )  # fmt: skip
    made += own_steps(replace(problem, baselines={}), sweep, closures, own, times, view=view)
    draws = held_out_cases(problem, simulations, key=key)
    truths = {
        name: _truth(name, problem, c, points, looks, simulations, key)
        for name, points in (("own", c.fine_cells), ("converged", 2 * c.fine_cells))[: 1 if sweep.quick else 2]
    }
    places = np.asarray([looks.index(step) for step in steps])
    errors = eqx.filter_jit(jax.vmap(jax.vmap(problem.error)))

    def error(fields: np.ndarray, true: np.ndarray) -> np.ndarray:
        return np.asarray(errors(jnp.asarray(fields[:, places]), jnp.asarray(true[:, places])), np.float64)

    frames = np.asarray([looks.index(step) for step in regular])
    between = watch.every * problem.time_step
    return Benchmark(
        problem=problem.name,
        draws=draws,
        simulations=simulations,
        times=tuple(f"{step * problem.time_step:.4g}" for step in steps),
        methods=(*truths.values(), *made),
        references={name: partial(_fields, one, draws) for name, one in truths.items()},
        reference_words={
            name: f"{one.family} on {one.points} x {one.points}, {one.rule}" for name, one in truths.items()
        },
        error=Metric("error", error, "relative L2 error", percent=True, aggregate=problem.typical),
        coarse=c.cells,
        remarks=REMARKS,
        followed=tuple(
            Metric(
                f"correlation_time_{round(100 * level)}",
                partial(_followed, frames, between, level),
                f"correlation > {level:g}",
                unit="time",
                better="higher",
                series=True,
                limit=len(frames) * between,
            )
            for level in THRESHOLDS
        ),
    )


def usual_grids(c: KolmogorovConfiguration) -> tuple[int, ...]:
    """Even numbers of points, from half of the coarse grid's to four times as many, that hold the forcing."""
    points = (2 * math.ceil(factor * c.cells / 2) for factor in FACTORS)
    return tuple(n for n in points if n > 2 * c.forcing)


def _in_steps(times: Sequence[float], time_step: float) -> tuple[int, ...]:
    """Times in coarse steps."""
    if not times:
        return ()
    return tuple(np.cumsum(np.asarray(by_step(time_step, times, exact=True).counts)).tolist())


def _usual(c: KolmogorovConfiguration, name: str, points: int) -> bool:
    """Whether a method is tried unasked: spectral ones up to the truth's grid, models up to twice the coarse one."""
    method = METHODS[name]
    if method.model:
        return points <= 2 * c.cells
    return points <= c.fine_cells or method.scheme in CONVECTIONS


def _steps(sweep: Sweep, name: str, short: bool) -> Sweep:
    """The sweep of a method on one grid; where no Courant numbers are asked for, short steps on small grids alone."""
    shares = SHARES if short and not sweep.quick else SHARES[1:]
    return replace(sweep, schemes=(name,), fractions=tuple(share / FARTHEST for share in shares))


def _truth(
    name: str,
    problem: Problem,
    c: KolmogorovConfiguration,
    points: int,
    looks: Sequence[int],
    simulations: int,
    key: Key[Scalar, ""],
) -> Method:
    """A truth on ``points`` per side as a method: simulated once, and kept on disk."""
    coarse = problem.coarse
    assert isinstance(coarse, CoarseFlow)
    flow = KolmogorovFlow(points, c.forcing, PADDING_OF[c.fine_solver], drag=c.drag, strength=c.strength)
    steps = fine_steps_of(c) if points == c.fine_cells else steps_of(c, flow)

    @lru_cache
    def fields() -> np.ndarray:
        reference = SolverReference(SpectralFlow(flow), coarse, steps)
        whole = with_reference(problem, reference)
        identity = f"{truth_identity(c, 'test')}, on {points} points"
        store = kept_truth(whole, simulations, looks[-1], key=key, identity=identity)
        found = np.asarray(_in_points(coarse, store.truth[:, np.asarray(looks)]))
        lost = int((~np.isfinite(found).all(axis=(1, 2, 3, 4))).sum())
        if lost:
            raise ValueError(
                f"the reference ({name}) itself diverged in {lost} of {simulations} simulations: take more --fine-steps"
            )
        return found

    def run(cases: Case) -> Outcome:
        return Outcome(fields(), np.full(simulations, steps / c.time_step), np.zeros(simulations, bool))

    return Method(
        name=f"reference: {name}", family=c.fine_solver, role=Role.REFERENCE, points=points,
        rule=f"dt {c.time_step / steps:.3g}",
        run=run, work=partial(work, Stepper(model(flow), OnGrid(problem.grid))), work_key=f"{c.fine_solver} {points}",
        favoured_by=frozenset({name}),
    )  # fmt: skip


def _fields(truth: Method, draws: Case, method: Method) -> np.ndarray:
    return truth.run(draws).fields


@eqx.filter_jit
def _in_points(coarse: CoarseFlow, states: Float[Array, "simulation time 2 x y"]) -> Array:
    return jax.lax.map(jax.vmap(lambda state: coarse.to_grid(state, coarse.grid)), states)


def _followed(
    frames: Int[np.ndarray, " time"], between: float, level: float, fields: np.ndarray, truth: np.ndarray
) -> Float[np.ndarray, " simulation"]:
    """Time with a vorticity correlation above a level, for each simulation; 1 is the correlation at the start."""
    found = []
    for own, true in zip(fields[:, frames], truth[:, frames], strict=True):
        with np.errstate(invalid="ignore"):
            living = np.abs(own).max(axis=(1, 2, 3)) < LARGEST
        safe = np.where(living[:, None, None, None], own, 0.0)
        series = np.where(living, vorticity_correlation(safe, true), np.nan)
        found.append(correlation_time(np.concatenate([[1.0], series]), between, threshold=level).time)
    return np.asarray(found)
