"""Ensembles in comparisons: methods that draw random numbers run as several members from the same case.

The field of such a method is the mean of its members, and its error that of the mean. Beside it stand scores of the
distribution, for all methods alike: of a method without random numbers there is a single member.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case
from closura.core.method import Method
from closura.core.metric import Metric
from closura.core.solver import Closure, Parameters, Solver, State
from closura.grids import Grid
from closura.metrics.ensembles.crps import crps_of_ordered, in_order
from closura.metrics.ensembles.scores import ensemble_interval
from closura.simulation.march import Marched

LEVEL = 0.9
"""Nominal share of references in the central interval whose coverage is measured."""
CRPS, SQUARES, VARIANCE, COVERAGE, RANKS = "crps", "squared_error", "ensemble_variance", "coverage", "rank_counts"


def _derived(*_: Any) -> Any:
    raise ValueError("scores of ensembles are measured of all members together")


METRICS = (
    Metric(CRPS, _derived, "fair CRPS"),
    Metric(SQUARES, _derived, "mean square error of the ensemble mean"),
    Metric(VARIANCE, _derived, "variance of the ensemble, times (M + 1) / M", better=""),
    Metric(COVERAGE, _derived, f"share within the central {LEVEL:.0%} of the ensemble", better=""),
)
"""Means over components and cells, for each simulation and time. A calibrated ensemble has equal means of the second
and third (Fortin et al. 2014, J. Hydrometeorol. 15, 1708)."""


class Ensemble(Solver):
    """Members of one solver from one case; its field are those of all members, one after the other as components."""

    solver: Solver
    members: int = eqx.field(static=True)
    random: ClassVar[bool] = True

    @property
    def grid(self) -> Grid:
        """That of the solver."""
        return self.solver.grid

    @property
    def side_by_side(self) -> int:
        """Fewer by the number of members."""
        return max(1, self.solver.side_by_side // self.members)

    def init(self, case: Case) -> tuple[State, Parameters]:
        """Every member with random numbers of its own, which are the same again for the case of the same number."""
        state, parameters = self.solver.init(case)
        keys = jax.random.split(key_of_case(case), self.members)
        return jax.vmap(lambda key: self.solver.begun(state, parameters, key=key))(keys), parameters

    def advance(self, state: State, parameters: Parameters, dt: float | Float[Array, ""]) -> State:
        return self.step(state, parameters, dt)

    def step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None = None
    ) -> State:
        """A step of every member."""
        return jax.vmap(lambda member: self.solver.step(member, parameters, dt, closure))(state)

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "member_component *grid"]:
        """All members, ``(member component, *grid)``."""
        fields = jax.vmap(lambda member: self.solver.to_grid(member, grid))(state)
        return jnp.reshape(fields, (-1, *fields.shape[2:]))

    def is_valid(self, state: State) -> Array:
        """Whether all members are."""
        return jnp.all(jax.vmap(self.solver.is_valid)(state))


def as_run(solver: Solver, members: int) -> Solver:
    """A solver as it is run: an ensemble where it draws random numbers and more than one is wanted."""
    return Ensemble(solver, members) if members > 1 and solver.random else solver


def single(method: Method) -> Method:
    """A method with one member, as it is timed."""
    return replace(method, solver=method.solver.solver) if isinstance(method.solver, Ensemble) else method


def scored(methods: Mapping[str, Method]) -> bool:
    """Whether there is an ensemble among methods."""
    return any(isinstance(method.solver, Ensemble) for method in methods.values())


def apart(method: Method, run: Marched) -> tuple[Marched, np.ndarray]:
    """The run of the mean of the members, and the fields of all, ``(case, time, member, component, *grid)``."""
    count = method.solver.members if isinstance(method.solver, Ensemble) else 1
    fields = np.asarray(run.fields)
    every = fields.reshape(*fields.shape[:2], count, -1, *fields.shape[3:])
    return (run if count == 1 else run._replace(fields=every.mean(axis=2))), every


def scores(every: np.ndarray, reference: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values ``(case, time)`` of :data:`METRICS`, and counts of the ranks of the reference after the beginning.

    Ranks are 0 to M: how many members lie below. Those of neighbouring points and times are no independent draws.
    """
    members, points = every.shape[2], tuple(range(2, reference.ndim))
    values: dict[str, list[np.ndarray]] = {name.name: [] for name in METRICS}
    counts = np.zeros(members + 1, np.int64)
    for one, true in zip(every, reference, strict=True):
        ordered = in_order(np.moveaxis(one, 1, 0))
        mean = ordered.mean(axis=-1, dtype=np.float64)
        spread = np.square(ordered - mean[..., None]).sum(axis=-1) * (members + 1) / (members * max(members - 1, 1))
        inside, _ = ensemble_interval(ordered, true, LEVEL)
        axes = tuple(axis - 1 for axis in points)
        for name, field in (
            (CRPS, crps_of_ordered(ordered, true)[0]), (SQUARES, np.square(mean - true)), (VARIANCE, spread),
            (COVERAGE, inside),
        ):  # fmt: skip
            values[name].append(field.mean(axis=axes))
        counts += np.bincount((ordered[1:] < true[1:, ..., None]).sum(axis=-1).ravel(), minlength=members + 1)
    return {name: np.stack(found) for name, found in values.items()}, counts


def rank_counts(counts: Mapping[str, np.ndarray], methods: Iterable[str]) -> dict[str, Any]:
    """Counts of ranks as a variable of results, ``(method, rank)``; NaN of methods with one member alone."""
    most = max(map(len, counts.values()))
    none = np.full(most, np.nan)
    rows = [counts[name] if len(counts.get(name, ())) == most else none for name in methods]
    return {RANKS: (("method", "rank"), np.stack([np.asarray(row, np.float64) for row in rows]))}


def key_of_case(case: Case) -> Key[Scalar, ""]:
    """The key of what a simulation draws: that of its number, where cases have one."""
    number = case.parameters.get("number", 0) if isinstance(case.parameters, dict) else 0
    return jax.random.fold_in(jax.random.key(1), number)
