"""Methods on several grids at several time steps: what a benchmark of error against cost compares.

A :class:`Method` is a solver, alone or with a closure, on one grid with one rule for its time steps. Everything else of
a benchmark (errors, times, fronts, tables, figures) knows methods and a :class:`Benchmark` only, no problem. How a
problem joins in: :mod:`closura.evaluation.fronts.benchmarks`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from closura.core import Metric, Role

FRACTIONS = (0.25, 0.5, 0.9)
"""Time steps that are tried by default, as shares of the longest stable one of each scheme."""


class Outcome(NamedTuple):
    """What a method made of all simulations.

    ``fields`` are ``(simulation, time, component, *grid)`` on the grid that errors are taken on, ``frequency
    (simulation,)`` is the number of steps per unit of simulated time, ``failed (simulation,)`` says which simulations
    diverged.
    """

    fields: Float[np.ndarray, "simulation time component *grid"]
    frequency: Float[np.ndarray, " simulation"]
    failed: Bool[np.ndarray, " simulation"]


class Work(NamedTuple):
    """What is timed: ``advance(state, context) -> state`` is one step of one simulation, traceable by JAX.

    ``states`` and ``contexts`` have a leading axis of several simulations, for batches.
    """

    advance: Callable[[PyTree[Array], PyTree[Array]], PyTree[Array]]
    states: PyTree[Array]
    contexts: PyTree[Array]


@dataclass(frozen=True, eq=False)
class Method:
    """A solver, alone or with a closure, on one grid with one rule for its time steps.

    Parameters
    ----------
    name
        Its own name in this benchmark.
    family
        Methods of one family differ in grid and step alone, and share a colour.
    role
        Its part: a classical method on another than the coarse grid is a fine baseline, whatever it says.
    points
        Points per side.
    rule
        The time step in words: "C 0.87" (Courant number) or "dt 0.0039".
    run
        ``run(draws) -> Outcome``: all simulations, from the fine initial draws.
    work
        ``work(draws, members) -> Work``: what is timed, for that many simulations.
    work_key
        Methods with the same key do the same work in a step: it is timed once.
    favoured_by
        References that share scheme and grid with it: it is near them whatever its error is, so it has no place on
        their fronts.
    note
        What a reader should know, for tables.
    """

    name: str
    family: str
    role: Role
    points: int
    rule: str
    run: Callable[[Any], Outcome]
    work: Callable[[Any, int], Work]
    work_key: str
    favoured_by: frozenset[str] = frozenset()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A problem's benchmark.

    Parameters
    ----------
    problem
        Its name.
    draws
        The fine initial draws of all simulations, as ``Method.run`` takes them.
    simulations
        How many they are.
    times
        Names of the comparison times, the last one is the end: "0.2", or "end" where every simulation has its own.
    methods
        In the order of tables; references are among them.
    references
        ``references[name](method) -> fields``: the reference where the method's errors are taken, ``(simulation, time,
        component, *grid)``; computed once and kept.
    reference_words
        What each reference is, in words.
    error
        The metric that counts: ``error.of(fields, reference) -> (simulation, time)``. Fields may be of more times than
        errors are taken at.
    coarse
        Points per side of the problem's coarse grid.
    remarks
        What a reader must know of this benchmark: how grids are compared, what was left out.
    followed
        Metrics of whole simulations, ``of(fields, reference) -> (simulation,)``, for all references: of a chaotic
        flow, for how long predictions are good, which no error at a late time says.
    """

    problem: str
    draws: Any
    simulations: int
    times: tuple[str, ...]
    methods: tuple[Method, ...]
    references: Mapping[str, Callable[[Method], Float[np.ndarray, "simulation time component *grid"]]]
    reference_words: Mapping[str, str]
    error: Metric
    coarse: int
    remarks: tuple[str, ...] = field(default=())
    followed: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two methods are called {twice[0]}: give a closure another name with NAME=PATH")


@dataclass(frozen=True)
class Sweep:
    """Which grids, time steps, schemes and times are asked for.

    Parameters
    ----------
    grids
        Points per side; empty: the problem's usual ones.
    courant
        Courant numbers; those beyond a scheme's limit are left out. Empty: :data:`FRACTIONS` of each limit.
    schemes
        Classical schemes by name; empty: all that the problem knows.
    times
        Comparison times, in units of simulated time; empty: the problem's usual ones.
    fractions
        Shares of each scheme's limit, where no Courant numbers are given.
    quick
        References on smaller grids, in little time.
    """

    grids: tuple[int, ...] = ()
    courant: tuple[float, ...] = ()
    schemes: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    fractions: tuple[float, ...] = FRACTIONS
    quick: bool = False

    def __post_init__(self) -> None:
        if any(n < 4 for n in self.grids):
            raise ValueError(f"grids need at least 4 points per side; got {min(self.grids)}")
        for name, values in (("courant", self.courant), ("times", self.times), ("fractions", self.fractions)):
            if any(not 0 < value < float("inf") for value in values):
                raise ValueError(f"--{name} takes positive numbers; got {' '.join(f'{value:g}' for value in values)}")
        for name, given in (("grids", self.grids), ("courant", self.courant), ("schemes", self.schemes)):
            if len(set(given)) < len(given):
                raise ValueError(f"--{name} names something twice: {' '.join(map(str, given))}")
        if list(self.times) != sorted(set(self.times)):
            raise ValueError(f"--times must grow; got {' '.join(f'{time:g}' for time in self.times)}")

    def steps(self, limit: float) -> tuple[float, ...]:
        """Courant numbers for a scheme with this limit, the largest first; none where it is never stable."""
        chosen = self.courant or tuple(share * limit for share in self.fractions)
        return tuple(sorted((c for c in chosen if 0 < c <= limit * (1 + 1e-9)), reverse=True))

    def chosen(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """The schemes that were asked for, of the known ones.

        Raises
        ------
        ValueError
            If one is unknown; the message lists the valid ones.
        """
        unknown = [name for name in self.schemes if name not in known]
        if unknown:
            raise ValueError(f"unknown scheme {unknown[0]!r}; valid: {', '.join(known)}")
        return tuple(name for name in known if not self.schemes or name in self.schemes)
