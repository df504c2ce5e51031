"""The front of the Kolmogorov flow: finite volumes, spectral solvers and models on all grids, and closures.

Errors are those of the velocity at early times. Later the flow forgets where it came from: for how long each simulation
follows the reference is told beside them, as the time with a vorticity correlation above 0.95 and 0.8.

Both references are spectral and begin with the same waves: that of the problem, and one on twice its points.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from closura.core import Metric, StepRule
from closura.core.case import Case
from closura.core.front import Front, Outcome, Sweep, Trusted
from closura.metrics.ensembles import correlation_time, vorticity_correlation
from closura.problems.kolmogorov.baselines import (
    METHODS,
    classical,
    fine_steps_of,
    flow_of,
    model,
    steps_of,
    typical_speed,
)
from closura.problems.kolmogorov.configuration import KolmogorovConfiguration
from closura.problems.kolmogorov.dynamics import CoarseFlow, FlowModel
from closura.problems.kolmogorov.metrics import THRESHOLDS, seen
from closura.problems.kolmogorov.staggered import CONVECTIONS
from closura.problems.problem import Problem, with_reference
from closura.problems.reference import SolverReference
from closura.problems.registry import reference_identity
from closura.problems.stored import stored_reference


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
LOST = 25.0
"""A flow is lost where it is so many times as fast as it typically is; two or three times are usual."""
LARGEST = 1e6
"""Faster fields follow nothing."""
REMARKS = (
    "All start from the same developed flow, cut to the waves that their grid holds.",
    "Errors are those of the velocity on the coarse grid, of the waves that it holds, relative in the L2 norm; what a "
    "coarser grid does not hold is missing.",
    "Courant numbers are (max(|u| + |v|) / dx + s 4 nu / dx^2) dt, of each simulation's own field at the start of "
    "each interval between two looks; s makes the limit that of diffusion alone where the flow is at rest.",
    "Smagorinsky's constant is that with the longest correlation on training flow on the coarse grid, there and on all "
    "other grids; dynamic: the procedure of Germano and Lilly.",
    "The reference begins with the waves of the problem's fine grid, on twice its points too.",
)


def flow_front(problem: Problem, configuration: KolmogorovConfiguration, sweep: Sweep) -> Front:
    """The front of the flow, for :func:`closura.simulation.sweep.problem_benchmark`.

    References are kept on disk, in the cache folder.
    """
    c, watch = configuration, WATCHES[configuration.problem]
    steps = _in_steps(sweep.times, problem.time_step) or watch.errors[: 2 if sweep.quick else None]
    end = max(watch.end if not sweep.quick else 0, *steps)
    regular = tuple(range(watch.every, end + 1, watch.every))
    looks = tuple(sorted({*regular, *steps}))
    fastest = LOST * typical_speed(c.reynolds, c.forcing, c.drag, c.strength)

    @cache
    def solver(name: str, n: int) -> FlowModel:
        return model(classical(c, name, n), fastest)

    def numbers(name: str, n: int) -> tuple[float, ...]:
        if not sweep.grids and not _usual(c, name, n):
            return ()
        # Where no Courant numbers are asked for, short steps on small grids alone.
        shares = SHARES if n < 2 * c.cells and not sweep.quick else SHARES[1:]
        limit = FARTHEST * solver(name, n).courant_limit
        return replace(sweep, fractions=tuple(share / FARTHEST for share in shares)).steps(limit)

    frames = np.asarray([looks.index(step) for step in regular])
    between = watch.every * problem.time_step
    points = (("own", c.fine_cells), ("converged", 2 * c.fine_cells))
    return Front(
        schemes={name: partial(solver, name) for name in METHODS},
        grids=sweep.grids or usual_grids(c)[: -2 if sweep.quick else None],
        times=tuple(step * problem.time_step for step in steps),
        references={name: _reference(name, problem, c, n, looks) for name, n in points[: 1 if sweep.quick else None]},
        remarks=REMARKS,
        looks=tuple(look * problem.time_step for look in looks),
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
        in_points=True,
        numbers=numbers,
        baselines=False,
    )


def usual_grids(c: KolmogorovConfiguration) -> tuple[int, ...]:
    """Even numbers of points, from half of the coarse grid's to four times as many, that hold the forcing."""
    points = (2 * math.ceil(factor * c.cells / 2) for factor in FACTORS)
    return tuple(n for n in points if n > 2 * c.forcing)


def _in_steps(times: Sequence[float], time_step: float) -> tuple[int, ...]:
    """Times in coarse steps."""
    steps = np.asarray(times) / time_step
    wrong = np.abs(steps - np.round(steps)) > 1e-3
    if wrong.any():
        low = math.floor(steps[np.argmax(wrong)])
        raise ValueError(
            f"--times {times[int(np.argmax(wrong))]:g} is no multiple of the coarse time step {time_step:.6g}, which "
            f"closures cannot leave: the nearest ones are {low * time_step:.6g} and {(low + 1) * time_step:.6g}"
        )
    return tuple(round(float(step)) for step in steps)


def _usual(c: KolmogorovConfiguration, name: str, points: int) -> bool:
    """Whether a method is a default: spectral ones up to the reference's grid, models up to twice the coarse one."""
    method = METHODS[name]
    if method.model:
        return points <= 2 * c.cells
    return points <= c.fine_cells or method.scheme in CONVECTIONS


def _reference(name: str, problem: Problem, c: KolmogorovConfiguration, points: int, looks: Sequence[int]) -> Trusted:
    """A reference on ``points`` per side: simulated once, and kept on disk."""
    coarse = problem.coarse
    assert isinstance(coarse, CoarseFlow)
    flow = flow_of(c, c.fine_solver, points)
    steps = fine_steps_of(c) if points == c.fine_cells else steps_of(c, flow)
    solver, rule = model(flow), StepRule(c.time_step / steps)

    def run(cases: Case, key: Array) -> Outcome:
        simulations = jax.tree.leaves(cases)[0].shape[0]
        whole = with_reference(problem, SolverReference(solver, coarse, steps))
        identity = f"{reference_identity(c, 'test')}, on {points} points"
        store = stored_reference(whole, simulations, looks[-1], key=key, identity=identity)
        fields = np.asarray(seen(coarse, coarse.grid, store.reference[:, np.asarray(looks)]))
        return Outcome(fields, np.full(simulations, steps / c.time_step), np.zeros(simulations, bool))

    return Trusted(c.fine_solver, solver, rule, f"{c.fine_solver} on {points} x {points}, {rule}", run)


def _followed(
    frames: Int[np.ndarray, " time"], between: float, level: float, fields: np.ndarray, reference: np.ndarray
) -> Float[np.ndarray, " simulation"]:
    """Time with a vorticity correlation above a level, for each simulation; 1 is the correlation at the start."""
    found = []
    for own, true in zip(fields[:, frames], reference[:, frames], strict=True):
        with np.errstate(invalid="ignore"):
            living = np.abs(own).max(axis=(1, 2, 3)) < LARGEST
        safe = np.where(living[:, None, None, None], own, 0.0)
        series = np.where(living, vorticity_correlation(safe, true), np.nan)
        found.append(correlation_time(np.concatenate([[1.0], series]), between, threshold=level).time)
    return np.asarray(found)
