"""Solvers outside JAX as solvers of a problem: they are called back from compiled programs, a batch at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from closura.core.solver import Closure, Parameters, Solver, State, step_like
from closura.core.transfer import Restriction, transfer
from closura.grids import Grid
from closura.host.pool import Pool, Program, pool_of
from closura.host.protocol import Layout


@dataclass(frozen=True)
class Traced:
    """A function that JAX can trace.

    Parameters
    ----------
    step
        ``step(state, dt) -> state`` or, with ``parameters``, ``step(state, dt, parameters)``.
    parameters
        Whether the function takes the case's parameters.
    """

    step: Callable[..., Any]
    parameters: bool = False


@dataclass(frozen=True)
class InProcess:
    """A NumPy function in this process, called for one simulation after the other.

    Parameters
    ----------
    step
        ``step(state, dt) -> state`` or, with ``parameters``, ``step(state, dt, parameters)``; ``state`` is
        ``(component, *grid)``, float64.
    parameters
        Whether the functions take the case's parameters.
    vjp
        ``vjp(state, dt, cotangent) -> cotangent`` (then parameters): the adjoint of a step with respect to the state,
        where the solver has one; then learners that need its gradient can be used.
    """

    step: Callable[..., Any]
    parameters: bool = False
    vjp: Callable[..., Any] | None = None


class StepSolver(Solver):
    """A solver given by its step: a function, or a program in processes of its own.

    States are fields ``(component, *grid)``.

    Parameters
    ----------
    grid
        The grid that it runs on.
    runs
        The function or program.
    restrict
        ``restrict(field, ratio)`` to coarser grids whose sizes divide its own (default: every ratio-th point).
    longest
        The longest stable time step; 0: none is known.
    centred
        Points are cells: without ``restrict``, coarser grids get means over them (:func:`~closura.transfer`).
    parts
        Steps of the function or program in each step of the solver.
    """

    grid: Grid = eqx.field(static=True)
    runs: Program | InProcess | Traced = eqx.field(static=True)
    restrict: Restriction | None = eqx.field(static=True, default=None)
    longest: float = eqx.field(static=True, default=0.0)
    centred: bool = eqx.field(static=True, default=False)
    parts: int = eqx.field(static=True, default=1)
    steady: ClassVar[bool] = True

    @property
    def differentiable(self) -> bool:
        """Whether a step has a gradient."""
        return isinstance(self.runs, Traced) or (isinstance(self.runs, InProcess) and self.runs.vjp is not None)

    @property
    def side_by_side(self) -> int:
        """Processes work side by side: that many simulations are stepped at a time."""
        return 64 if isinstance(self.runs, Program) else 1

    @property
    def courant_limit(self) -> float:
        return 1.0 if self.longest else float("inf")

    def rate(self, state: State, parameters: Parameters) -> Float[Array, ""]:
        return jnp.asarray(1.0 / self.longest if self.longest else 0.0)

    def init(self, case: Any) -> tuple[State, Parameters]:
        return self.to_grid(case.initial, self.grid), case.parameters

    def to_grid(self, state: State, grid: Grid) -> Float[Array, "component *grid"]:
        return transfer(state, grid, restrict=self.restrict, centred=self.centred)

    def advance(self, state: State, parameters: Parameters, dt: float | Float[Array, ""]) -> State:
        return self._call(state, parameters, dt, None)

    def corrected_step(
        self, state: State, parameters: Parameters, dt: float | Float[Array, ""], closure: Closure | None
    ) -> tuple[State, State]:
        if closure is None or not self._acts:
            return super().corrected_step(state, parameters, dt, closure)
        action = closure(self.observe(state, parameters))
        return self._call(state, parameters, dt, action), self.correct(state, parameters, dt, action)

    @property
    def _acts(self) -> bool:
        return isinstance(self.runs, Program) and self.runs.actions > 0

    def _call(self, state: State, parameters: Parameters, dt: float | Float[Array, ""], action: Array | None) -> State:
        if self.parts == 1:
            return self._one(state, parameters, dt, action)
        part = dt / self.parts
        return jax.lax.scan(
            lambda s, _: (self._one(s, parameters, part, action), None), state, None, length=self.parts
        )[0]

    def _one(self, state: State, parameters: Parameters, dt: float | Float[Array, ""], action: Array | None) -> State:
        # A length that is known now is handed on as it is; a traced one has the precision of JAX's numbers.
        exact = float(dt) if isinstance(dt, int | float) else None
        length = jnp.asarray(dt, jnp.float64 if jax.config.read("jax_enable_x64") else jnp.float32)
        if isinstance(self.runs, Traced):
            return self.runs.step(state, step_like(length, state), *((parameters,) if self.runs.parameters else ()))
        if isinstance(self.runs, InProcess):
            return _own_step(self.runs, exact, state, length, parameters)
        actions = () if action is None else (action.astype(jnp.float32),)
        call = partial(_by_pool, self.runs, exact)
        return jax.pure_callback(
            call, _like(state), state, length, _flat(parameters), *actions, vmap_method="broadcast_all"
        )


def _like(state: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(state.shape, state.dtype)


def _flat(parameters: Parameters) -> Float[Array, " parameter"]:
    """All parameters as one vector: leaves in JAX's order (of dictionaries by name), each in C order."""
    leaves = [jnp.ravel(jnp.asarray(leaf, jnp.float32)) for leaf in jax.tree.leaves(parameters)]
    return jnp.concatenate(leaves) if leaves else jnp.zeros((0,), jnp.float32)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _own_step(own: InProcess, exact: float | None, state: Array, dt: Array, parameters: Parameters) -> Array:
    call = partial(_by_function, own, own.step, exact)
    return jax.pure_callback(call, _like(state), state, dt, parameters, vmap_method="broadcast_all")


def _own_forward(
    own: InProcess, exact: float | None, state: Array, dt: Array, parameters: Parameters
) -> tuple[Array, Any]:
    if own.vjp is None:
        raise ValueError("this solver runs outside JAX and has no gradient: give its adjoint as vjp=")
    return _own_step(own, exact, state, dt, parameters), (state, dt, parameters)


def _own_backward(own: InProcess, exact: float | None, kept: Any, cotangent: Array) -> tuple[Array, Array, Any]:
    state, dt, parameters = kept
    call = partial(_by_function, own, own.vjp or own.step, exact)
    found = jax.pure_callback(call, _like(state), state, dt, parameters, cotangent, vmap_method="broadcast_all")
    return found, jnp.zeros_like(dt), jax.tree.map(_no_tangent, parameters)


_own_step.defvjp(_own_forward, _own_backward)


def _no_tangent(leaf: Array) -> Any:
    exact = jnp.issubdtype(leaf.dtype, jnp.inexact)
    return jnp.zeros_like(leaf) if exact else np.zeros(leaf.shape, jax.dtypes.float0)


def _batched(exact: float | None, state: Any, dt: Any, *more: Any) -> tuple[NDArray, NDArray, list[Any]]:
    """Arrays with one leading axis for all axes of a batch, in float64; the time step is a number for each."""
    lengths = np.asarray(dt, np.float64)
    axes, count = lengths.ndim, lengths.size

    def flat(array: Any) -> NDArray:
        found = np.asarray(array)
        return found.reshape((count, *found.shape[axes:]))

    lengths = flat(lengths) if exact is None else np.full(count, exact)
    return flat(state).astype(np.float64), lengths, [jax.tree.map(flat, each) for each in more]


def _by_function(
    own: InProcess, function: Callable[..., Any], exact: float | None, state: Any, dt: Any, parameters: Any, *more: Any
) -> NDArray:
    """A function of each simulation of a batch."""
    states, lengths, (given, *others) = _batched(exact, state, dt, parameters, *more)
    found = np.empty(states.shape)
    with np.errstate(all="ignore"):  # what is not finite is counted where errors are
        for i, field in enumerate(states):
            extra = (jax.tree.map(lambda leaf: leaf[i], given),) if own.parameters else ()  # noqa: B023
            result = np.asarray(function(field.copy(), float(lengths[i]), *(other[i] for other in others), *extra))
            if result.shape != field.shape:
                raise ValueError(f"a step must give an array of shape {field.shape}; got {result.shape}")
            found[i] = result
        return found.reshape(np.shape(state)).astype(np.asarray(state).dtype)


def _by_pool(program: Program, exact: float | None, state: Any, dt: Any, parameters: Any, *action: Any) -> NDArray:
    """Steps of a batch by a program's processes; without a closure actions are zero."""
    states, lengths, (given, *actions) = _batched(exact, state, dt, parameters, *action)
    pool = _pool_for(program, states, given)
    taken = (actions[0] if actions else np.zeros((len(states), *pool.layout.action))) if program.actions else None
    kind = np.asarray(state).dtype
    found = pool.step(states, given, lengths, taken, seen_as=kind)
    with np.errstate(over="ignore"):  # then it is not finite, which is counted where errors are
        return found.reshape(np.shape(state)).astype(kind)


def _pool_for(program: Program, states: NDArray, parameters: NDArray) -> Pool:
    return pool_of(program, Layout(states.shape[1:], program.actions, parameters.shape[1]))


def first_step(program: Program, state: Array, dt: float, parameters: Parameters) -> str:
    """What goes wrong when a program makes a step from a state; empty if nothing does."""
    given = np.asarray(_flat(parameters))[None]
    pool = _pool_for(program, np.asarray(state)[None], given)
    found = _by_pool(program, dt, np.asarray(state)[None], np.full(1, dt), given)
    return "" if np.isfinite(found).all() else "; ".join(f"{kind}: {said}" for kind, said in pool.counts.said.items())
