"""A problem: cases, solvers on any grid, a reference, and what counts as an error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, SupportsFloat

import jax.numpy as jnp
from jaxtyping import Array, Float

from closura.core.case import CaseSampler
from closura.core.metric import Metric
from closura.core.mistakes import in_words
from closura.core.solver import Solver
from closura.core.specification import ClosureSpec
from closura.grids import Grid

Field = Float[Array, "component *grid"]


def relative_l2_error(field: Field, reference: Field) -> Float[Array, ""]:
    """``|q - g| / |g|`` in the Euclidean norm over components and points."""
    size = jnp.mean(jnp.square(reference))
    # The root has no derivative at zero: far below rounding it is cut off.
    difference = jnp.maximum(jnp.mean(jnp.square(field - reference)), 1e-24)
    return jnp.sqrt(difference / jnp.maximum(size, 1e-24))


RELATIVE_L2 = Metric("error", relative_l2_error, "relative L2 error", percent=True)


@dataclass(frozen=True)
class Problem:
    """What a closure is learned for, and what it is compared with.

    Parameters
    ----------
    cases
        Draws initial conditions and parameters, on the reference's grid or a finer one.
    solver
        ``solver(name, grid)``: a method of the problem on a grid.
    uncorrected
        The method that closures correct.
    reference
        The method that errors are measured against, and its grid.
    grid
        The coarse grid.
    dt
        The coarse time step; a closure is called once in each (or as often as its solver says).
    baselines
        Classical methods on the coarse grid with the coarse step, beside the uncorrected one.
    substeps
        Steps of the reference in each coarse one (default: as many times as its grid is finer).
    horizon
        Coarse steps of a simulation: the longest episode of learning.
    spec
        What a closure observes and answers (default: every component of the state observed and corrected, actions of
        up to 1 in its units).
    error
        The metric that counts.
    reward
        ``reward(transition)`` per cell, for learners that explore (default: by how much less the squared error is).
    conserved
        Names and functions of what the equations conserve.
    components
        Names of the state's components.
    groups
        Names of the groups that cases fall into.
    threshold
        Error that still counts as low, for tables.
    description
        Where data come from, and what is drawn.

    Raises
    ------
    ValueError
        If a method has two roles, or a part is of the wrong kind.
    """

    cases: CaseSampler
    solver: Callable[[str, Grid], Solver]
    uncorrected: str
    reference: tuple[str, Grid]
    grid: Grid
    dt: float
    baselines: tuple[str, ...] = ()
    substeps: int | None = None
    horizon: int = 100
    spec: ClosureSpec | None = None
    error: Metric = RELATIVE_L2
    reward: Callable[[Any], Float[Array, "*grid"]] | None = None
    conserved: tuple[tuple[str, Callable[[Field], Float[Array, ""]]], ...] = ()
    components: tuple[str, ...] = ("u",)
    groups: tuple[str, ...] = ()
    threshold: float = 0.1
    description: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        number = isinstance(self.dt, SupportsFloat) and float(self.dt) > 0
        methods = isinstance(self.baselines, tuple) and all(isinstance(name, str) for name in self.baselines)
        reference = isinstance(self.reference, tuple) and len(self.reference) == 2
        for name, good, wanted in (
            ("cases", isinstance(self.cases, CaseSampler), "a closura.CaseSampler, such as Bumps(grid)"),
            ("solver", callable(self.solver), "a function of a method's name and a grid"),
            ("uncorrected", isinstance(self.uncorrected, str), "the name of a method"),
            ("reference", reference and isinstance(self.reference[1], Grid), "the name of a method and its grid"),
            ("grid", isinstance(self.grid, Grid), "a closura.Grid"),
            ("dt", number, "a positive number"),
            ("baselines", methods, "a tuple of names of methods, such as ('upwind5',)"),
            ("horizon", isinstance(self.horizon, int) and self.horizon > 0, "a positive whole number"),
            ("error", isinstance(self.error, Metric), "a closura.Metric"),
        ):
            if not good:
                raise ValueError(f"{name} of a closura.Problem must be {wanted}; got {in_words(getattr(self, name))}")
        if self.uncorrected in self.baselines or len(set(self.baselines)) < len(self.baselines):
            raise ValueError(f"each method has one role; got {self.uncorrected}, {', '.join(self.baselines)}")

    def with_baselines(self, further: Mapping[str, Callable[[Grid], Solver]]) -> "Problem":
        """The same problem with baselines from elsewhere.

        Raises
        ------
        ValueError
            If a name is taken.
        """
        own = self.solver

        def solver(name: str, grid: Grid) -> Solver:
            return further[name](grid) if name in further else own(name, grid)

        return replace(self, solver=solver, baselines=(*self.baselines, *further))

    @property
    def reference_substeps(self) -> int:
        """Steps of the reference in each coarse one."""
        if self.substeps is not None:
            return self.substeps
        return max(1, -(-self.reference[1].shape[0] // self.grid.shape[0]))

    def closure_spec(self) -> ClosureSpec:
        """What a closure observes and answers."""
        if self.spec is not None:
            return self.spec
        return ClosureSpec(
            self.components, tuple(f"forcing {c}" if len(self.components) > 1 else "forcing" for c in self.components),
            self.grid.boundary, tuple(range(len(self.components))), scale=0.01,
        )  # fmt: skip
