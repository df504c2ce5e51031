"""What takes part in a benchmark of error against cost, and what a problem has to say to have one.

A :class:`Contender` is one method on one grid with one rule for its time steps. Everything else of a benchmark (errors,
times, fronts, tables, figures) knows contenders and a :class:`Suite` only, no problem. How a problem joins in:
:mod:`closura.evaluation.fronts.suites`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

FRACTIONS = (0.25, 0.5, 0.9)
"""Time steps that are tried by default, as shares of the longest stable one of each scheme."""


class Outcome(NamedTuple):
    """What a contender made of all simulations.

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
class Contender:
    """One method on one grid with one rule for its time steps.

    Parameters
    ----------
    name
        Its own name in this benchmark.
    family
        The method: contenders of one family differ in grid and step alone, and share a colour.
    kind
        "classical", "closure", or "truth" for what errors are measured against.
    points
        Points per side.
    rule
        The time step in words: "C 0.87" (Courant number) or "dt 0.0039".
    run
        ``run(draws) -> Outcome``: all simulations, from the fine initial draws.
    work
        ``work(draws, members) -> Work``: what is timed, for that many simulations.
    work_key
        Contenders with the same key do the same work in a step: it is timed once.
    kin
        Truths that share scheme and grid with it: it is near them whatever its error is, so it has no place on their
        fronts.
    note
        What a reader should know, for tables.
    """

    name: str
    family: str
    kind: Literal["classical", "closure", "truth"]
    points: int
    rule: str
    run: Callable[[Any], Outcome]
    work: Callable[[Any, int], Work]
    work_key: str
    kin: frozenset[str] = frozenset()
    note: str = ""


class Horizon(NamedTuple):
    """For how long simulations are good: of a chaotic flow, which no error at a late time says.

    ``of(fields, truth) -> (simulation,)`` are times, which end at ``end``: longer ones are not known. Longer is better.
    """

    name: str
    of: Callable[[np.ndarray, np.ndarray], Float[np.ndarray, " simulation"]]
    end: float


@dataclass(frozen=True, eq=False)
class Suite:
    """A problem's benchmark.

    Parameters
    ----------
    problem
        Its name.
    draws
        The fine initial draws of all simulations, as ``Contender.run`` takes them.
    simulations
        How many they are.
    times
        Names of the comparison times, the last one is the end: "0.2", or "end" where every simulation has its own.
    contenders
        Who takes part, in the order of tables. Contenders of kind "truth" are among them.
    truths
        ``truths[name](contender) -> fields``: the truth where the contender's errors are taken, ``(simulation, time,
        component, *grid)``; computed once and kept.
    words
        What each truth is, in words.
    error
        ``error(fields, truth) -> (simulation, time)``. Fields may be of more times than errors are taken at.
    coarse
        Points per side of the problem's published coarse grid.
    typical
        How the errors of several simulations make one number (:class:`closura.problems.Problem`).
    percent
        Whether errors are shares, said in percent.
    measure
        Name of the error: "relative MAE".
    remarks
        What a reader must know of this benchmark: how grids are compared, what was left out.
    horizons
        For how long simulations are good, beside their errors.
    """

    problem: str
    draws: Any
    simulations: int
    times: tuple[str, ...]
    contenders: tuple[Contender, ...]
    truths: Mapping[str, Callable[[Contender], Float[np.ndarray, "simulation time component *grid"]]]
    words: Mapping[str, str]
    error: Callable[[np.ndarray, np.ndarray], Float[np.ndarray, "simulation time"]]
    coarse: int
    typical: Literal["mean", "median", "geometric"] = "mean"
    percent: bool = True
    measure: str = "relative MAE"
    remarks: tuple[str, ...] = field(default=())
    horizons: tuple[Horizon, ...] = ()

    def __post_init__(self) -> None:
        names = [contender.name for contender in self.contenders]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two contenders are called {twice[0]}: give a closure another name with NAME=PATH")
        if not self.contenders or not self.truths:
            raise ValueError("a benchmark needs at least one contender and one truth")


@dataclass(frozen=True)
class Ladder:
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
        Truths on smaller grids: for a look.
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
