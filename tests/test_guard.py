"""The guard of closures in Python does what the one of exports does."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exported import COMPILER, compiled, drawn, near, run, spec_of

import closura

RANGE = [[-2.0, 2.0], [0.25, 3.0], [-1.0, 1.0]]  # of u: zero, which stands for what is not finite, is outside


def observation():
    """Inside of the range, but for five cells."""
    seen = np.random.default_rng(0).uniform(0.3, 0.9, (3, 8, 7))
    seen[0, 2, 3], seen[1, 0, 0], seen[2, 5, 5] = np.nan, 1e30, -np.inf
    seen[0, 7, 6], seen[1, 7, 5] = 2.5, 0.0
    return seen


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_python_and_c_give_the_same(tmp_path):
    closure = drawn("compact", spec_of(2), channels=4, layers=2, radius=3, view="flow", look=1)
    seen = observation()
    huge = eqx.tree_at(lambda c: c.network, closure, jax.tree.map(lambda x: 1e20 * x, closure.network))
    for name, each, case in (("own", closure, seen), ("huge", huge, seen)):
        library, _ = compiled(each, tmp_path, known=RANGE, name=name)
        for mode, response in enumerate(("clip", "zero"), start=1):
            status, found, outside = run(library, case, "periodic", guard=mode, name=name)
            guard = closura.Guard(each, RANGE, response=response)
            action = np.asarray(guard(jnp.asarray(case, jnp.float32)))
            assert status == 0
            assert guard.outside == outside > 0
            assert near(found, action)
            assert np.array_equal(found == 0, action == 0)
    assert outside == seen[0].size  # the weights of the second overflow: no cell of it has an answer


def test_cells_are_counted_in_loops():
    guard = closura.Guard(lambda seen: seen[:1], RANGE, response="clip")
    seen = jnp.asarray(observation())

    def step(state, _):
        return state.at[:1].add(-guard(state)), None

    jax.block_until_ready(jax.jit(lambda s: jax.lax.scan(step, s, None, length=3)[0])(seen))
    # Cells of u and v stay outside; q is halved to zero by the first step where it is finite and inside.
    assert guard.outside >= 4
    assert 5 + 2 * 4 <= guard.outside_total <= 15
    with pytest.raises(ValueError, match="does not count"):
        _ = closura.Guard(lambda seen: seen, RANGE, count=False).outside


def test_inside_of_the_range_nothing_changes():
    """The simulation that a range comes from is the same with the guard; half the range is left by it."""
    coarse = closura.Grid((16,))

    class Upwind(closura.Solver):
        grid: closura.Grid = eqx.field(static=True)

        def rate(self, state, parameters):
            return jnp.asarray(1.0)

        def advance(self, state, parameters, dt):
            return state - dt / self.grid.spacing[0] * (state - jnp.roll(state, 1, axis=-1))

    class Waves(closura.CaseSampler):
        def sample(self, *, key):
            (x,) = coarse.refine(2).coordinates()
            return closura.Case(jnp.sin(2 * jnp.pi * (x + jax.random.uniform(key, (), jnp.float32)))[None])

    problem = closura.Problem.from_solvers(
        cases=Waves(), solver=lambda name, grid: Upwind(grid), uncorrected="upwind", grid=coarse, dt=0.02,
        reference=("upwind", coarse.refine(2)),
    )  # fmt: skip
    closure = lambda seen: 0.01 * (seen - jnp.roll(seen, 1, axis=-1))
    known = closura.observed_range(problem, closure, simulations=2, steps=20)
    ((low, high),) = known
    assert -1 <= low < -0.99 < 0.99 < high <= 1
    guard = closura.Guard(closure, known)
    assert closura.observed_range(problem, guard, simulations=2, steps=20) == known
    assert (guard.outside, guard.outside_total) == (0, 0)
    narrow = closura.Guard(closure, [[low, 0.0]])
    closura.observed_range(problem, narrow, simulations=2, steps=20)
    assert 0.4 < narrow.outside_total / (2 * 20 * 16) < 0.6  # half of the cells of every step


def test_what_is_no_range_is_refused():
    closure = drawn("compact", spec_of(1), channels=4, layers=1)
    for known in ([[-1.0, 1.0]], [[-1.0, 1.0], [2.0, 1.0]], [[-1.0, 1.0], [0.0, np.inf]], [[1.0], [2.0]]):
        with pytest.raises(ValueError, match="expected"):
            closura.Guard(closure, known)
