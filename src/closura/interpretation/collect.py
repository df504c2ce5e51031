"""States and actions of a closure in its own rollouts."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.core.solver import Closure
from closura.problems.problem import Problem


class Trajectories(NamedTuple):
    """Rollouts with a closure; index 0 of the time axis is the first observation.

    ``observation`` is what the closure saw at ``state``. ``action`` is what its answer takes away from ``state``,
    per component and divided by the problem's :func:`action_scale`: the answer itself, clipped to the problem's
    bound, where actions are forcings; what is left of it where they are made free of a mean; the net outflow where
    they are fluxes.
    """

    state: Float[Array | np.ndarray, "simulation time component *grid"]
    observation: Float[Array | np.ndarray, "simulation time observation *grid"]
    action: Float[Array | np.ndarray, "simulation time component *grid"]


def _taken_away(problem: Problem, state: Array, parameters: PyTree[Array], answer: Array) -> Array:
    """What an answer takes away from a state: from zero, so that nothing is lost to rounding."""
    return -problem.step(jnp.zeros_like(state), parameters, lambda seen: answer)[1]


@eqx.filter_jit
def _collect(
    problem: Problem, closure: Closure, keys: Key[Array, " simulation"], times: int, scale: float
) -> Trajectories:
    def one(key: Key[Scalar, ""]) -> Trajectories:
        # The reference is not asked for: the compiler leaves its simulation out.
        begun = problem.begin(key=key)
        parameters = begun.parameters

        def step(state: Array, nothing: None) -> tuple[Array, Trajectories]:
            seen = problem.coarse.observe(state, parameters)
            answer = closure(seen)
            after, _ = problem.step(state, parameters, lambda seen: answer)
            action = _taken_away(problem, state, parameters, answer) / jnp.asarray(scale, state.dtype)
            return after, Trajectories(state, seen, action)

        return jax.lax.scan(step, begun.state, None, length=times)[1]

    return jax.lax.map(one, keys)


def collect(
    problem: Problem,
    closure: Closure,
    *,
    simulations: int,
    times: int,
    key: Key[Scalar, ""],
    scale: float | None = None,
    part: int = 8,
) -> Trajectories:
    """Let a closure correct the coarse solver and keep what happened, on the host; policies act by their mean.

    ``times`` states in succession are kept of each simulation, ``part`` simulations are handed to the device at once.
    The ``key`` gives the same initial conditions as in :func:`closura.simulation.evaluate.evaluate`; ``scale`` is the
    problem's :func:`action_scale`, where it is known already. ValueError if fewer than one simulation or state is asked
    for, or actions are not subtracted from the state.
    """
    if simulations < 1 or times < 1:
        raise ValueError(f"need at least one simulation and one state; got {simulations} and {times}")
    keys = jax.random.split(key, simulations)
    scale = action_scale(problem, key=key) if scale is None else scale
    pieces = [
        jax.tree.map(np.asarray, _collect(problem, closure, keys[i : i + part], times, scale))
        for i in range(0, simulations, part)
    ]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


@eqx.filter_jit
def _try(
    problem: Problem, key: Key[Scalar, ""], changes: list[tuple[tuple[int, ...], float]]
) -> tuple[Array, Array, Array]:
    """What an answer takes away, half of it, and it again from another state."""
    begun = problem.begin(key=key)
    state, parameters = begun.state, begun.parameters
    answer = jnp.zeros((len(problem.spec.action), *problem.grid.shape), state.dtype)
    for cell, value in changes:
        answer = answer.at[(0, *cell)].set(value)
    level = jnp.full_like(state, 0.25)
    elsewhere = level - problem.step(level, parameters, lambda seen: answer)[1]
    taken, half = (_taken_away(problem, state, parameters, a) for a in (answer, answer / 2))
    return taken, half, elsewhere


def action_scale(problem: Problem, *, key: Key[Scalar, ""]) -> float:
    """What the solver multiplies an action by before it subtracts it: found by trying it.

    1 for advection, the time step for Burgers.

    Raises
    ------
    ValueError
        If the action is not subtracted from the state, or the solver calls the closure more than once a step.
    """
    spec = problem.spec
    size = 0.125 * spec.bound if math.isfinite(spec.bound) else spec.scale
    # Opposite values in two cells that are no neighbours: without a mean, and with an outflow of the same size.
    cells = [(0,) * spec.dimensions, tuple(n // 2 for n in problem.grid.shape)]
    changes = list(zip(cells, (size, -size), strict=True))
    taken, half, elsewhere = (np.asarray(x, np.float64) for x in _try(problem, key, changes))
    scale = float(np.abs(taken).max() / size)
    near = 1e-5 * max(size * scale, 1.0)
    if not scale > 0 or np.abs(2 * half - taken).max() > near or np.abs(elsewhere - taken).max() > near:
        raise ValueError(
            f"interpretation needs actions that are subtracted from the state, times a number; those of "
            f"{problem.name!r} do something else"
        )
    if problem.coarse.calls_per_step != 1:
        raise ValueError(
            f"interpretation needs dynamics that ask once a step; those of {problem.name!r} ask "
            f"{problem.coarse.calls_per_step} times (where these are orientations: set orientations to 1)"
        )
    # What was found in float32 is one of these.
    return next((exact for exact in (1.0, problem.time_step) if math.isclose(scale, exact, rel_tol=1e-5)), scale)
