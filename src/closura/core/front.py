"""Benchmarks of error against cost: what is asked for, what a problem says of its own, and what is run."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree, Scalar

from closura.core.case import Case
from closura.core.method import Method, StepRule
from closura.core.metric import Metric
from closura.core.registry import Registry
from closura.core.solver import Solver
from closura.grids import Grid

FRACTIONS = (0.25, 0.5, 0.9)
"""Time steps that are tried by default, as shares of the longest stable one of each scheme."""

Fields = Float[np.ndarray, "simulation time component *grid"]


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
        """The schemes that were asked for, of the known ones."""
        unknown = [name for name in self.schemes if name not in known]
        if unknown:
            near = difflib.get_close_matches(unknown[0], known, 1)
            guess = f", did you mean {near[0]}?" if near else ";"
            raise ValueError(f"unknown scheme {unknown[0]!r}{guess} valid: {', '.join(known)}")
        return tuple(name for name in known if not self.schemes or name in self.schemes)


class Outcome(NamedTuple):
    """What a method made of all simulations.

    ``fields`` are on the grid that errors are taken on, ``frequency (simulation,)`` is the number of steps per unit of
    simulated time, ``failed (simulation,)`` says which simulations diverged.
    """

    fields: Fields
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
class Trusted:
    """What errors are measured against: a solver with its steps, in words, and how it is run if not as others are.

    ``run(cases, key)`` is given the cases and the key that they were drawn with.
    """

    family: str
    solver: Solver
    step: StepRule
    words: str
    run: Callable[[Case, Key[Scalar, ""]], Outcome] | None = None


@dataclass(frozen=True, eq=False)
class Front:
    """What the benchmark of a problem has of its own.

    Parameters
    ----------
    schemes
        Classical methods by name: the solver on a grid of ``n`` points per side.
    grids
        Points per side.
    times
        When errors are taken.
    references
        By name what errors are measured against.
    remarks
        What a reader must know of this benchmark: how grids are compared, what was left out.
    further
        Further methods by their names.
    looks
        All times at which simulations are looked at, where they are more than ``times``.
    followed
        Metrics of whole simulations, ``of(fields, reference) -> (simulation,)``, for all references: of a chaotic
        flow, for how long predictions are good, which no error at a late time says.
    in_points
        Compare fields in the points of the coarse grid, instead of states of the coarse solver.
    numbers
        ``numbers(scheme, n)``: the Courant numbers of a scheme on a grid (default: those of the sweep).
    baselines
        Whether the problem's baselines are methods too, with the coarse step.
    added
        Names of the baselines that files and packages add.
    """

    schemes: Mapping[str, Callable[[int], Solver]]
    grids: tuple[int, ...]
    times: tuple[float, ...]
    references: Mapping[str, Trusted]
    remarks: tuple[str, ...]
    further: Mapping[str, Method] = field(default_factory=dict)
    looks: tuple[float, ...] = ()
    followed: tuple[Metric, ...] = ()
    in_points: bool = False
    numbers: Callable[[str, int], tuple[float, ...]] | None = None
    baselines: bool = True
    added: frozenset[str] = frozenset()


FRONTS: Registry[FunctionType] = Registry("front", FunctionType)
"""``front(problem, configuration, sweep)`` by the problem's name, which gives a :class:`Front`."""


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A problem's benchmark.

    Parameters
    ----------
    problem
        Its name.
    times
        Names of the comparison times, the last one is the end: "0.2", or "end" where every simulation has its own.
    methods
        By name, in the order of tables; references are among them.
    run
        ``run(method)``: what it makes of all simulations.
    work
        ``work(method, members)``: what is timed, for that many simulations.
    references
        ``references[name](method) -> fields``: the reference where the method's errors are taken; computed once.
    reference_words
        What each reference is, in words.
    error
        The metric that counts: ``error.of(fields, reference) -> (simulation, time)``. Fields may be of more times than
        errors are taken at.
    coarse
        Points per side of the problem's coarse grid.
    remarks, followed
        As of :class:`Front`.
    places
        Indices of ``times`` among those that fields are of (default: all).
    uncorrected
        Name of the method that closures correct where they do not say so: the coarse solver at its own step (default:
        the one with that role).
    kinds
        By name, the coarse solver with an untrained closure of each kind: timed, and not run.
    grid
        The coarse grid; fields may have another number of points.
    """

    problem: str
    times: tuple[str, ...]
    methods: Mapping[str, Method]
    run: Callable[[Method], Outcome]
    work: Callable[[Method, int], Work]
    references: Mapping[str, Callable[[Method], Fields]]
    reference_words: Mapping[str, str]
    error: Metric
    coarse: int
    remarks: tuple[str, ...] = field(default=())
    followed: tuple[Metric, ...] = ()
    places: Sequence[int] | None = None
    uncorrected: str = ""
    kinds: Mapping[str, Method] = field(default_factory=dict)
    grid: Grid | None = None


def named(methods: Iterable[tuple[str, Method]]) -> dict[str, Method]:
    """Methods by name."""
    found: dict[str, Method] = {}
    for name, method in methods:
        if name in found:
            raise ValueError(f"two methods are called {name}: give a closure another name with NAME=PATH")
        found[name] = method
    return found


def check_grids(grids: tuple[int, ...], coarse: int) -> None:
    """Refuse grids that cannot be compared on ``coarse`` points per side."""
    wrong = [n for n in grids if n % coarse and coarse % n]
    if wrong:
        raise ValueError(
            f"a grid of {wrong[0]} points per side cannot be compared on {coarse}: take multiples of {coarse} or "
            f"divisors of it, such as {coarse // 2}, {coarse}, {2 * coarse}"
        )
