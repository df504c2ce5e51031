"""A problem from functions: the steps of a coarse and of a fine solver, and initial fields. JAX or NumPy."""

import inspect
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Scalar

from closura.core import ClosureSpec, Metric
from closura.core.case import Case, CaseSampler
from closura.core.mistakes import in_words
from closura.core.solver import Solver
from closura.core.transfer import transfer
from closura.grids import Grid
from closura.host.pool import Program, asked_workers
from closura.host.solver import InProcess, StepSolver, Traced, first_step
from closura.problems.from_solvers import RELATIVE_L2, from_solvers
from closura.problems.problem import Problem
from closura.problems.recorded import USUAL_HORIZON, Recordings, recorded_cases

Step = Callable[..., Any]
COARSE, FINE, RECORDED = "coarse", "fine", "recorded"
LOOKS = 8
"""Steps of the first simulation whose errors say how large actions are."""


class DrawnFields(CaseSampler):
    """Initial fields of a function.

    Parameters
    ----------
    initial
        ``initial(key)`` in JAX, or ``initial(rng)`` in NumPy with a ``numpy.random.Generator``: a field
        ``(component, *fine grid)``, or a field and the case's parameters.
    numpy
        Whether it is a NumPy function.
    shapes
        Names of its parameters, and shapes and types of what it gives, where it is.
    """

    initial: Callable[..., Any] = eqx.field(static=True)
    numpy: bool = eqx.field(static=True)
    shapes: Any = eqx.field(static=True)

    def sample(self, *, key: Key[Scalar, ""]) -> Case:
        if not self.numpy:
            field, parameters = _pair(self.initial(key))
            return Case(jnp.asarray(field, jnp.float32), parameters)
        names, shapes = self.shapes

        def draw(data: Any) -> Any:
            field, parameters = _pair(self.initial(np.random.default_rng(np.asarray(data).ravel().tolist())))
            given = parameters or {}
            return np.asarray(field, np.float32), tuple(np.asarray(given[name], np.float32) for name in names)

        data = jax.random.key_data(key)
        field, values = jax.pure_callback(draw, shapes, data, vmap_method="sequential")
        return Case(field, dict(zip(names, values, strict=True)) or None)


def from_functions(
    *,
    fields: tuple[str, ...],
    grid: Grid,
    dt: float,
    coarse: Step | Program,
    initial: Callable[..., Any] | None = None,
    fine: Step | Program | None = None,
    reference: Recordings | None = None,
    ratio: int = 4,
    substeps: int | None = None,
    restrict: Callable[[Array, int], Array] | None = None,
    baselines: Mapping[str, Step | Program] = {},
    vjp: Step | None = None,
    scale: float | None = None,
    horizon: int | None = None,
    error: Metric = RELATIVE_L2,
    reward: Callable[[Any], Array] | None = None,
    conserved: tuple[tuple[str, Callable[[Array], Array]], ...] = (),
    threshold: float = 0.1,
    description: Mapping[str, str] | None = None,
) -> Problem:
    """A problem that is described by steps of fields.

    A closure observes all fields of the coarse solver, and its action is subtracted from them before each step.

    Parameters
    ----------
    fields
        Names of the components.
    grid
        The coarse grid.
    dt
        The coarse time step.
    coarse
        ``step(state, dt) -> state`` with ``state (component, *grid)``; with a third parameter, ``step(state, dt,
        parameters)``. In JAX, or in NumPy. Or a :class:`~closura.host.pool.Program` in a process of its own. It serves
        other grids too: the state says how many points there are.
    initial
        ``initial(key)`` in JAX or ``initial(rng)`` in NumPy: a field on the fine grid, ``grid.refine(ratio)``; or that
        and a dictionary of parameters (numbers or arrays). Recordings have their own.
    fine
        The step of the reference (default: the coarse one, on the fine grid).
    reference
        Recordings instead of ``initial`` and ``fine`` (:func:`closura.recorded`), on the coarse grid or a finer one,
        with a frame every ``dt``, or every fraction or multiple of it. Of a multiple the coarse step of the problem is
        the time between two frames: the solver takes several steps in it, the closure is called once before them.
    ratio
        How many times as many points the reference has along each axis; of recordings they say so themselves.
    substeps
        Steps of the reference in each coarse one (default: ``ratio``; diffusive problems need its square). Beside
        recordings only benchmarks need it, for steps of the coarse solver on other grids.
    restrict
        ``restrict(field, ratio)`` from finer grids to coarser ones (default: every ratio-th point; of recordings means
        over cells).
    baselines
        Other steps on the coarse grid with the coarse time step, by name.
    vjp
        ``vjp(state, dt, cotangent)``: the adjoint of a coarse step in NumPy, where there is one.
    scale
        Size of a typical useful action, in units of the fields (default: root mean square of the error of a coarse
        step, over the first eight along the reference of one simulation, in one significant digit).
    horizon
        Coarse steps of a simulation: the longest episode of learning, and of recordings the length of the windows that
        training is cut into (default: 100, or as many as the shortest recording has).
    error, reward, conserved, threshold, description
        As for :func:`~closura.problems.from_solvers.from_solvers`.

    Raises
    ------
    ValueError
        If a function is none, what it gives has the wrong shape, or a program does not run; the message says which,
        and what was expected.
    """
    _check(
        fields=fields, grid=grid, dt=dt, coarse=coarse, initial=initial, fine=fine, ratio=ratio, horizon=horizon,
        reference=reference,
    )  # fmt: skip
    cases: CaseSampler
    if reference is None:
        finest, length, inner = grid.refine(ratio), dt, 1
        parts = substeps if substeps is not None else ratio
        cases, field, parameters = _cases(cast(Callable[..., Any], initial), (len(fields), *finest.shape))
        first = _case(field, parameters)
        given = {COARSE: coarse, FINE: coarse if fine is None else fine, **baselines}
    else:
        if len(fields) != len(reference.components):
            raise ValueError(
                f"fields must name the components of the recordings, {', '.join(reference.components)}; got "
                f"{', '.join(fields)}"
            )
        cut, trusted, first, inner = recorded_cases(reference, grid, dt, horizon, restrict)
        cases, horizon = cut, cut.horizon
        finest, length, ratio = trusted.grid, dt * inner, trusted.grid.shape[0] // grid.shape[0]
        parts = substeps if substeps is not None else ratio
        field, parameters = first.initial, jax.tree.map(np.asarray, first.parameters)
        given = {COARSE: coarse, **baselines}
        description = {**reference.words, **(description or {})}
    power = math.log(parts) / math.log(ratio) if ratio > 1 else 1.0
    centred = reference is not None and restrict is None
    runs = {}
    for name, step in given.items():
        begun = transfer(jnp.asarray(field), finest if name == FINE else grid, restrict=restrict, centred=centred)
        runs[name] = _runs(name, step, begun, dt, parameters, vjp)
        if inner > 1 and isinstance(step, Program) and step.actions:
            raise ValueError(
                f"the {name} program applies actions itself, once in each of its steps: expected dt to be the time "
                f"between two frames, {length:g}, or a multiple; got {dt:g}"
            )

    def solver(name: str, on: Grid) -> Solver:
        if name == RECORDED and reference is not None:
            return trusted
        # The same number as on the coarse grid: steps shrink with the spacing as those of the reference do.
        longest = length * min(1.0, (grid.shape[0] / on.shape[0]) ** power)
        return StepSolver(on, runs[name], restrict, longest, centred, inner)

    called = RECORDED if reference is not None else COARSE if fine is None or fine is coarse else FINE
    each, looks = (parts, LOOKS) if reference is None else (1, min(LOOKS, horizon or LOOKS))
    beside = solver(FINE if reference is None else RECORDED, finest)
    size = scale or _residual(solver(COARSE, grid), beside, first, length, each, looks)
    return from_solvers(
        cases=cases,
        solver=solver,
        uncorrected=COARSE,
        baselines=tuple(baselines),
        reference=(called, finest),
        grid=grid,
        dt=length,
        substeps=each,
        horizon=horizon or USUAL_HORIZON,
        spec=ClosureSpec(
            fields, tuple(f"correction of {name}" for name in fields), grid.boundary, tuple(range(len(fields))),
            bound=100 * size, scale=size,
        ),
        error=error,
        reward=reward,
        conserved=conserved,
        components=fields,
        threshold=threshold,
        description=description,
    )  # fmt: skip


def _check(**parts: Any) -> None:
    """Refuse parts of the wrong kind."""
    fields, grid, dt, ratio = (parts[name] for name in ("fields", "grid", "dt", "ratio"))
    for name, good, wanted in (
        ("fields", isinstance(fields, tuple) and fields and all(isinstance(f, str) for f in fields),
         'a tuple of names, such as ("u",)'),
        ("grid", isinstance(grid, Grid), "a closura.Grid"),
        ("dt", isinstance(dt, int | float) and dt > 0, "a positive number"),
        ("coarse", callable(parts["coarse"]) or isinstance(parts["coarse"], Program),
         "a function step(state, dt) or a closura.Program"),
        ("fine", parts["fine"] is None or callable(parts["fine"]) or isinstance(parts["fine"], Program),
         "a function step(state, dt) or a closura.Program"),
        ("reference", parts["reference"] is None or isinstance(parts["reference"], Recordings),
         "what closura.recorded(...) gives"),
        ("initial", callable(parts["initial"]) if parts["reference"] is None else parts["initial"] is None,
         "a function of a random key, or of rng" if parts["reference"] is None
         else "left out, like fine, where recordings are the reference: they begin and go on by themselves"),
        ("fine", parts["reference"] is None or parts["fine"] is None, "left out where recordings are the reference"),
        ("ratio", isinstance(ratio, int) and ratio >= 1, "a whole number, 1 or more"),
    ):  # fmt: skip
        if not good:
            raise ValueError(f"{name} of a closura.Problem must be {wanted}; got {in_words(parts[name])}")


def _pair(found: Any) -> tuple[Any, Any]:
    """Field and parameters of what ``initial`` gave."""
    return found if isinstance(found, tuple) else (found, None)


def _cases(initial: Callable[..., Any], shape: tuple[int, ...]) -> tuple[DrawnFields, np.ndarray, Any]:
    """The sampler, and a first field with its parameters."""
    takes = list(inspect.signature(initial).parameters)
    in_numpy = takes[:1] == ["rng"]
    found = initial(np.random.default_rng(0)) if in_numpy else initial(jax.random.key(0))
    field, parameters = _pair(found)
    got = np.shape(field)
    if got != shape:
        raise ValueError(f"initial must give a field of shape {shape}, components first, on the fine grid; got {got}")
    if not np.isfinite(np.asarray(field)).all():
        raise ValueError("initial gives numbers that are not finite")
    if in_numpy and not (parameters is None or isinstance(parameters, dict)):
        raise ValueError(f"parameters of a case must be a dictionary; got {in_words(parameters)}")
    given = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), parameters)
    names = tuple(sorted(given or {})) if in_numpy else ()
    like = (np.asarray(field, np.float32), tuple(given[name] for name in names))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like)
    return DrawnFields(initial, in_numpy, (names, shapes) if in_numpy else ()), like[0], given


def _case(field: np.ndarray, parameters: Any) -> Case:
    return Case(jnp.asarray(field), jax.tree.map(jnp.asarray, parameters))


def _runs(name: str, step: Step | Program, state: Array, dt: float, parameters: Any, vjp: Step | None) -> Any:
    """How a function is called: traced by JAX if it can be, else in NumPy, here or in worker processes."""
    if isinstance(step, Program):
        if wrong := first_step(step, state, dt, parameters):
            raise ValueError(f"the {name} program fails on the first initial field: {wrong}")
        return step
    takes = len(inspect.signature(step).parameters)
    if takes not in (2, 3):
        form = "step(state, dt) or step(state, dt, parameters)"
        raise ValueError(f"the {name} step must be {form}; it takes {takes} parameters")
    extra = (parameters,) if takes == 3 else ()
    traced: Any = None
    try:
        traced = jax.eval_shape(lambda s, *more: step(s, jnp.float32(dt), *more), state, *extra)
    except Exception as untraceable:  # what JAX cannot trace NumPy may be able to run
        try:
            result = np.asarray(step(np.asarray(state, np.float64), float(dt), *extra))
        except Exception as error:
            raise ValueError(f"the {name} step fails on the first initial field: {error}") from untraceable
    found = np.shape(result if traced is None else traced)
    if found != state.shape:
        raise ValueError(f"the {name} step must give a state of its own shape, {state.shape}; got {found}")
    if traced is not None:
        return Traced(step, bool(extra))
    if asked_workers() and not extra and (place := _place(step)):
        return Program((sys.executable, "-m", "closura.host.serve", place))
    return InProcess(step, bool(extra), vjp if name == COARSE else None)


def _place(step: Step) -> str:
    """``FILE.py:NAME`` of a function at the top level of a file; empty for others."""
    name, file = getattr(step, "__qualname__", "<"), inspect.getsourcefile(step)
    return "" if file is None or not name.isidentifier() else f"{file}:{name}"


@eqx.filter_jit
def _squares(coarse: Solver, fine: Solver, case: Case, dt: float, parts: int, looks: int) -> Float[Array, " step"]:
    """Mean squares of the errors of coarse steps along the reference."""
    state, parameters = coarse.init(case)
    begun, theirs = fine.init(case)

    def step(now: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Float[Array, ""]]:
        state, true = now
        true = fine.march(true, theirs, dt / parts, parts)
        following = fine.to_grid(true, coarse.grid)
        wrong = coarse.advance(state, parameters, dt) - following
        return (following, true), jnp.mean(jnp.square(wrong))

    return jax.lax.scan(step, (state, begun), None, length=looks)[1]


def _residual(coarse: Solver, fine: Solver, case: Case, dt: float, parts: int, looks: int) -> float:
    """Root mean square of the error of a coarse step along the reference, in one digit; 0.01 where there is none."""
    size = float(np.sqrt(np.mean(np.asarray(_squares(coarse, fine, case, dt, parts, looks)))))
    if not math.isfinite(size):
        raise ValueError(
            f"the coarse solver, or the reference beside it, is not finite within {looks} steps of the first "
            "simulation: take a smaller dt, or more substeps"
        )
    return float(f"{size:.0e}") if size > 0 else 0.01
