"""Problems whose solvers are steppers of exponax: spectral methods for semi-linear equations in a periodic box.

A stepper of exponax (Koehler, Niedermayr, Westermann and Thuerey, "APEBench", NeurIPS 2024) advances fields
``(channel, x, y, z)`` on N points along each axis of the box ``[0, L)^d`` by the time step that it is made for, by
exponential time differencing (Cox and Matthews 2002) with coefficients from contour integrals (Kassam and Trefethen
2005). Fields go from one grid to another by their Fourier coefficients.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import isclose
from types import ModuleType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Scalar

from closura.core.case import Case, CaseSampler
from closura.core.mistakes import in_words, told_as
from closura.core.solver import Solver
from closura.grids import Grid
from closura.problems.from_solvers import from_solvers
from closura.problems.problem import Problem, with_reference
from closura.problems.reference import SolverReference

Make = Callable[[int, Any], Any]
"""``make(points, dt)``: a stepper of exponax on so many points along each axis, for steps of length ``dt``."""


def exponax() -> ModuleType:
    """The package exponax, or a ValueError that says how to get it."""
    try:
        import exponax
    except ImportError as error:
        raise ValueError("steppers of exponax need that package: pip install 'closura[exponax]'") from error
    return exponax


@dataclass(frozen=True)
class Maker:
    """What makes steppers; equal for two that make the same stepper of the length and size they are first made for."""

    make: Make = field(compare=False)
    identity: str
    made: dict[tuple[int, float], Any] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, points: int, dt: Any) -> Any:
        """A stepper; the step may be traced by JAX."""
        known = isinstance(dt, float)
        if known and (points, dt) in self.made:
            return self.made[points, dt]
        with told_as(f"stepper({points}, {dt if known else 'dt'})"):
            # Compiled as one program: a fifth of the time of its operations one by one.
            found = eqx.filter_jit(lambda: self.make(points, dt))() if known else self.make(points, dt)
        _check_stepper(found, points, dt)
        if known and not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(found)):
            self.made[points, dt] = found
        return found


def maker(make: Make, points: int, dt: float) -> Maker:
    """What makes steppers, known by the one for ``points`` and ``dt``."""
    first = Maker(make, "")
    leaves, structure = jax.tree.flatten(first(points, dt))
    told = [np.asarray(leaf).tobytes() if eqx.is_array(leaf) else repr(leaf).encode() for leaf in leaves]
    return replace(first, identity=sha256(b"\0".join([str(structure).encode(), *told])).hexdigest())


class ExponaxSolver(Solver):
    """Steps of exponax on a grid.

    Steps of ``length``, and of other lengths that are known, cost what they cost in exponax. Where a length is known
    only while the program runs, the coefficients are computed with it.

    Parameters
    ----------
    grid
        As many points along each axis, all of one length, periodic.
    stepper
        The stepper on this grid for steps of ``length``.
    make
        Makes it, and those for other steps.
    length
        The length of its steps.
    unit
        The step that Courant numbers are multiples of.
    longest
        The largest multiple worth comparing: exponential integrators have no limit of their linear part.
    """

    grid: Grid = eqx.field(static=True)
    stepper: Any
    make: Maker = eqx.field(static=True)
    length: float = eqx.field(static=True)
    unit: float = eqx.field(static=True)
    longest: float = eqx.field(static=True, default=2.0)

    def advance(
        self, state: Float[Array, "component *grid"], parameters: Any, dt: float | Float[Array, ""]
    ) -> Float[Array, "component *grid"]:
        stepper = self.stepper
        if isinstance(dt, jax.core.Tracer) or not isclose(dt, self.length, rel_tol=1e-9):
            stepper = self.make(self.grid.shape[0], dt)
        return jnp.asarray(stepper(state), state.dtype)  # coefficients of 64 bits do not change the type of a state

    def init(self, case: Case) -> tuple[Float[Array, "component *grid"], Any]:
        return self._on(case.initial, self.grid), case.parameters

    def to_grid(self, state: Float[Array, "component *grid"], grid: Grid) -> Float[Array, "component *other"]:
        return self._on(state, grid)

    def prepared(self, dt: float) -> "ExponaxSolver":
        return replace(self, stepper=self.make(self.grid.shape[0], dt), length=dt)

    @property
    def known_rate(self) -> float:
        return 1 / self.unit

    def rate(self, state: Any, parameters: Any) -> Float[Array, ""]:
        return jnp.asarray(self.known_rate)

    @property
    def courant_limit(self) -> float:
        return self.longest

    @staticmethod
    def _on(field: Array, grid: Grid) -> Array:
        """The waves that both grids hold; those of half the points of the smaller one (Nyquist) are left out."""
        if field.shape[1:] == grid.shape:
            return field
        found: Array = exponax().map_between_resolutions(field, grid.shape[0])
        return found.astype(field.dtype)


class InitialFields(CaseSampler):
    """Fields of a generator of exponax, or of any function ``initial(points, key=key)``, some steps later.

    Parameters
    ----------
    initial
        Gives a field ``(channel, *grid)`` from the number of points along each axis and a random key.
    stepper
        Advances it on these points.
    points, steps
        Points along each axis; steps before a simulation begins.
    """

    initial: Any
    stepper: Any
    points: int = eqx.field(static=True)
    steps: int = eqx.field(static=True, default=0)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        begun = self.initial(self.points, key=key)
        expected = (self.stepper.num_channels, *(self.points,) * self.stepper.num_spatial_dims)
        if jnp.shape(begun) != expected:
            raise ValueError(f"initial({self.points}, key=key) must give a field of {expected}; got {in_words(begun)}")
        later = jax.lax.fori_loop(0, self.steps, lambda _, u: self.stepper(u).astype(u.dtype), jnp.asarray(begun))
        return Case(later)


def from_exponax(
    *,
    stepper: Make,
    points: int,
    dt: float,
    initial: Callable[..., Array],
    ratio: int = 1,
    time_ratio: int = 1,
    reference: Make | None = None,
    baselines: Mapping[str, Make] | None = None,
    finer: tuple[int, ...] | None = None,
    warm_up: float = 0.0,
    longest: float = 2.0,
    uncorrected: str = "exponax",
    components: tuple[str, ...] = (),
    **parts: Any,
) -> Problem:
    """A problem whose coarse solver, baselines and reference are steppers of exponax.

    .. code-block:: python

        @closura.problem("ks", physics=Physics)
        def ks(physics, split):
            return closura.from_exponax(
                stepper=lambda points, dt: ex.stepper.KuramotoSivashinsky(1, 60.0, points, dt),
                points=32, dt=0.1, ratio=4, time_ratio=2,
                initial=ex.ic.RandomTruncatedFourierSeries(1, cutoff=3), warm_up=50.0,
            )

    Parameters
    ----------
    stepper
        ``stepper(points, dt)``: the stepper on so many points along each axis, for steps of length ``dt``.
    points, dt
        The coarse grid's points along each axis, and the coarse time step, in which a closure is called once.
    initial
        A generator of exponax (``exponax.ic``), or a function ``initial(points, key=key)`` that gives a field
        ``(channel, *grid)``, which JAX traces; on the grid of the reference.
    ratio, time_ratio
        How many times more points along each axis, and steps, the reference has.
    reference
        Makes the reference's stepper, where it is another one than ``stepper``.
    baselines
        Further steppers by name, with the coarse grid and step.
    finer
        Points of finer grids that ``stepper`` is run on too, with the coarse step: what a user with more time would do
        (default: one and a half times and twice the points, as far as they are fewer than the reference's).
    warm_up
        How long the reference runs before a simulation begins, in units of time.
    longest
        The longest step of benchmarks, in units of ``dt``.
    uncorrected
        What the coarse solver is called.
    components
        Names of the channels (default: u, or u, v, w, or u1, u2, ...).
    parts
        As :func:`closura.problems.from_solvers.from_solvers` takes them: ``horizon``, ``spec``, ``error``, ``reward``,
        ``conserved``, ``threshold``, ``description``.

    Raises
    ------
    ValueError
        If exponax is missing, a part does not fit, or the reference is the coarse solver.
    """
    exponax()
    for name, value in (("points", points), ("ratio", ratio), ("time_ratio", time_ratio)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive whole number; got {in_words(value)}")
    if ratio == time_ratio == 1 and reference is None:
        raise ValueError("the reference would be the coarse solver: give a ratio, a time_ratio, or a reference")
    if not float(dt) > 0 or not warm_up >= 0:
        raise ValueError(f"dt must be positive and warm_up not negative; got {dt} and {warm_up}")
    dt = float(dt)
    trusted = uncorrected if reference is None else "reference"
    makes = {uncorrected: stepper, **(baselines or {}), **({} if reference is None else {trusted: reference})}
    makers = {name: maker(make, points, dt) for name, make in makes.items()}
    first = makers[uncorrected](points, dt)
    dimensions, channels = first.num_spatial_dims, first.num_channels
    grid = Grid((points,) * dimensions, (float(first.domain_extent),) * dimensions)

    def solver(name: str, on: Grid, step: float = dt) -> ExponaxSolver:
        make = makers[name]
        return ExponaxSolver(on, make(on.shape[0], step), make, step, dt, longest)

    fine = grid.refine(ratio)
    true = solver(trusted, fine, dt / time_ratio)
    usual = ("u", "v", "w") if channels <= 3 else tuple(f"u{i + 1}" for i in range(channels))
    problem = from_solvers(
        cases=InitialFields(initial, true.stepper, fine.shape[0], round(warm_up * time_ratio / dt)),
        solver=solver,
        uncorrected=uncorrected,
        baselines=tuple(baselines or {}),
        reference=(trusted, fine),
        grid=grid,
        dt=dt,
        substeps=time_ratio,
        components=components or usual[:channels],
        **parts,
    )
    problem = with_reference(problem, SolverReference(true, problem.coarse, time_ratio))
    sizes = sorted({points * 3 // 2, points * 2}) if finer is None else finer
    return replace(
        problem,
        finer={
            f"{uncorrected} {n}": SolverReference(solver(uncorrected, grid.with_points(n)), problem.coarse)
            for n in sizes
            if points < n < fine.shape[0] or finer is not None
        },
    )


def _check_stepper(found: Any, points: int, dt: Any) -> None:
    """Refuse what is no stepper, or one of another size or step."""
    wanted = ("num_spatial_dims", "domain_extent", "num_points", "num_channels", "dt")
    if not callable(found) or not all(hasattr(found, name) for name in wanted):
        raise ValueError(f"stepper(points, dt) must give a stepper of exponax; got {in_words(found)}")
    if found.num_points != points or (isinstance(dt, float) and not isclose(found.dt, dt, rel_tol=1e-6)):
        raise ValueError(
            f"stepper({points}, {dt}) must give a stepper of {points} points with steps of {dt}; got "
            f"{found.num_points} points and steps of {found.dt}: it takes both as arguments"
        )
