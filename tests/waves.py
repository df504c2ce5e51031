"""A wave whose reference has terms that the coarse solver lacks; the solver may be a function of NumPy."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura import Case, CaseSampler, ClosureSpec, Grid, Problem, Solver
from closura.problems import simulate_reference, with_store

GRID = Grid((16,))
TRUE = (0.03, -0.02)


def upwind(state: Any, number: Any) -> Any:
    roll = np.roll if isinstance(state, np.ndarray) else jnp.roll
    return state - number * (state - roll(state, 1, axis=-1))


class Wave(Solver):
    """Upwind differences at a Courant number, in NumPy where ``outside``; ``missing`` terms are taken away first."""

    grid: Grid = eqx.field(static=True)
    missing: tuple[float, float] = eqx.field(static=True, default=(0.0, 0.0))
    outside: bool = eqx.field(static=True, default=False)
    breaks_at: float = eqx.field(static=True, default=1e9)

    def advance(self, state, parameters, dt):
        a, b = self.missing
        state = state - a * state - b * state**3
        if not self.outside:
            state = jnp.where(jnp.max(jnp.abs(state)) > self.breaks_at, jnp.nan, state)
            return upwind(state, dt)
        shape = jax.ShapeDtypeStruct(state.shape, state.dtype)
        step = lambda q, n: upwind(np.asarray(q), np.asarray(n)).astype(q.dtype)
        return jax.pure_callback(step, shape, state, jnp.float32(dt), vmap_method="expand_dims")


class Sines(CaseSampler):
    def sample(self, *, key):
        (x,) = GRID.coordinates()
        size, phase = jax.random.uniform(key, (2,), jnp.float32)
        return Case(((0.5 + size) * jnp.sin(2 * jnp.pi * (x + phase)))[None])


def wave(dt: float = 0.3, *, missing: tuple[float, float] = TRUE, stored: bool = True, **options: Any) -> Problem:
    """A wave whose reference loses a q + b q^3 before each step."""
    spec = ClosureSpec(("q",), ("forcing",), GRID.boundary, scale=0.01)

    def solver(name: str, grid: Grid) -> Wave:
        return Wave(grid, missing if name == "reference" else (0.0, 0.0), **options)

    problem = Problem.from_solvers(
        cases=Sines(), solver=solver, uncorrected="coarse", reference=("reference", GRID), grid=GRID, dt=dt,
        horizon=12, spec=spec, components=("q",),
    )  # fmt: skip
    if not stored:
        return problem
    return with_store(problem, simulate_reference(problem, 8, 12, key=jax.random.key(0), parts=1))
