"""What a closure sees in training simulations: the range in which it may be trusted."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.problems import Problem

Range = list[list[float]]


def observed_range(problem: Problem, closure: Any, *, simulations: int = 4, steps: int | None = None) -> Range:
    """Lowest and highest value of each observed channel over closed-loop simulations, for :class:`closura.Guard`.

    Parameters
    ----------
    problem
        Of the training, in its split "train".
    closure
        It corrects the coarse solver; actions are clipped to the bound.
    simulations, steps
        How many from random initial conditions, and how long (default: an episode of the training).

    Raises
    ------
    ValueError
        If the closure acts at interfaces, or a simulation does not stay finite.
    """
    if problem.spec.where != "cells":
        raise ValueError("closures at interfaces see standardised stencils, which have no range")
    solver, limited = problem.coarse, problem.spec.limit(closure)

    @eqx.filter_jit
    def one(number: Any, key: Any) -> tuple[Any, Any]:
        state, parameters, *_ = problem.begin.member(number, key=key)
        dt = problem.dt_of(parameters)

        def step(state: Any, _: None) -> tuple[Any, tuple[Any, Any]]:
            seen = solver.observe(state, parameters)
            axes = tuple(range(1, seen.ndim))
            return solver.step(state, parameters, dt, limited), (jnp.min(seen, axis=axes), jnp.max(seen, axis=axes))

        _, (low, high) = jax.lax.scan(step, state, None, length=steps or problem.episode.maximum)
        return jnp.min(low, axis=0), jnp.max(high, axis=0)

    keys = jax.random.split(jax.random.key(0), simulations)
    found = [one(jnp.int32(i), key) for i, key in enumerate(keys)]
    low = np.min([np.asarray(each[0], float) for each in found], axis=0)
    high = np.max([np.asarray(each[1], float) for each in found], axis=0)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("the closure diverges on its own training problem: there is no range to guard")
    return [[float(a), float(b)] for a, b in zip(low, high, strict=True)]
