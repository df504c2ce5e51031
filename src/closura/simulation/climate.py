"""Long free runs of all methods: what their statistics are worth when no single state is compared any more.

Every run begins from a case of its own, forgets it in a tenth of its length, and is looked at from then on. Runs are
made side by side; their number times their length is what counts.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree, Scalar

from closura.core import Method, Results
from closura.core.memory import Answered
from closura.core.solver import Solver
from closura.metrics.climate import Regimes, autocorrelation_error, kl_of_values
from closura.problems.problem import Problem, SimulatedBegin, with_reference

MOST_FRAMES = 4000
"""Times at which a run is looked at, at most."""
BATCHES = 5
"""Parts of the runs, whose spread is that of the statistics."""
NAMES = {
    "kl_values": "KL of values",
    "kl_regimes": "KL of regimes",
    "autocorrelation_error": "error of autocorrelation",
}


class _Steps(eqx.Module):
    solver: Solver
    problem: Problem

    def step(self, state: Any, parameters: PyTree[Array]) -> Any:
        return self.solver.step(state, parameters, self.problem.dt_of(parameters))

    def see(self, state: Any) -> Array:
        return self.problem.coarse.adopt(state, self.solver)


class _Follows(eqx.Module):
    problem: Problem

    def step(self, state: Any, context: Any) -> Any:
        return self.problem.reference.advance(state, context[0], context[1], self.problem.dt_of(context[1]))

    def see(self, state: Any) -> Array:
        return self.problem.reference.field(state)


@eqx.filter_jit
def _frames(
    run: _Steps | _Follows,
    states: PyTree[Array],
    contexts: PyTree[Array],
    spin: int,
    frames: int,
    stride: int,
    side: int,
) -> Float[Array, "run time component *grid"]:
    def one(pair: tuple[Any, Any]) -> Array:
        state, context = pair

        def move(state: Any, steps: int) -> Any:
            return jax.lax.fori_loop(0, steps, lambda _, s: run.step(s, context), state)

        def look(state: Any, _: None) -> tuple[Any, Array]:
            following = move(state, stride)
            return following, run.see(following).astype(jnp.float32)

        return jax.lax.scan(look, move(state, spin), None, length=frames)[1]

    found: Array = jax.lax.map(one, (states, contexts), batch_size=side if side > 1 else None)
    return found


def free_runs(
    problem: Problem,
    methods: Mapping[str, Method],
    *,
    runs: int,
    steps: int,
    key: Key[Scalar, ""],
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Float[np.ndarray, "run time component *grid"]]:
    """Fields of ``runs`` long runs of ``steps`` coarse steps of each method and of the reference, evenly spaced.

    Parameters
    ----------
    problem
        The problem; cases of its split are where runs begin.
    methods
        By name: solvers at the problem's step, with the closures that correct them. Solvers on finer grids are taken
        from the problem.
    runs, steps
        How many, and for how long after a tenth of that.
    key
        Of the cases and of random numbers.
    progress
        Called with each method's name.
    """
    stride = max(1, -(-steps // MOST_FRAMES))
    spin, frames = -(-steps // 10), steps // stride
    case_key, noise_key = jax.random.split(key)
    numbers, keys = jnp.arange(runs, dtype=jnp.int32), jax.random.split(case_key, runs)
    noises = jax.random.split(noise_key, runs)

    def begun(of: Problem) -> Any:
        return jax.jit(lambda n, k: jax.lax.map(lambda pair: of.begin.member(pair[0], key=pair[1]), (n, k)))(
            numbers, keys
        )

    initial = begun(problem)
    found = {}
    for name, method in methods.items():
        progress(f"{name}, free runs")
        solver = method.solver if method.closure is None else Answered(method.solver, method.closure)
        states = jax.jit(
            jax.vmap(lambda s, p, k, solver=solver: solver.begun(solver.adopt(s, problem.coarse), p, key=k))
        )(initial.state, initial.parameters, noises)
        found[name] = np.asarray(
            _frames(_Steps(solver, problem), states, initial.parameters, spin, frames, stride, solver.side_by_side)
        )
    finer = problem.finer if isinstance(problem.begin, SimulatedBegin) else {}
    others = {name: with_reference(problem, each) for name, each in finer.items()} | {problem.names[1]: problem}
    for name, own in others.items():
        progress(f"{name}, free runs")
        solver = getattr(own.reference, "solver", own.coarse)
        beside = (initial.state, initial.parameters)
        found[name] = np.asarray(
            _frames(_Follows(own), begun(own).reference, beside, spin, frames, stride, solver.side_by_side)
        )
    return found


def with_climate(
    results: Results,
    problem: Problem,
    methods: Mapping[str, Method],
    *,
    time: float,
    runs: int,
    key: Key[Scalar, ""],
    progress: Callable[[str], None] = lambda name: None,
) -> Results:
    """Results with variables ``kl_values``, ``kl_regimes`` and ``autocorrelation_error (method, batch)``, all batches
    together first, then each alone; the reference's row is that of each half against the other.

    ``time`` is the length of all runs together.
    """
    steps = max(8, round(time / runs / problem.time_step))
    fields = free_runs(problem, methods, runs=runs, steps=steps, key=key, progress=progress)
    true = fields[problem.names[1]]
    values = {name: np.full((len(results.methods), BATCHES + 1), np.nan) for name in NAMES}
    regimes = Regimes(true)
    for row, name in enumerate(results.methods):
        if name not in fields:
            continue
        if name == problem.names[1]:
            half = Regimes(true[: runs // 2])
            parts = [_measured(half, true[: runs // 2], true[runs // 2 :])]
        else:
            parts = [
                _measured(regimes, true, part)
                for part in (fields[name], *np.array_split(fields[name], min(BATCHES, runs)))
            ]
        for each, column in zip(parts, range(BATCHES + 1), strict=False):
            for metric, value in each.items():
                values[metric][row, column] = value
    facts = {"climate": json.dumps({"time": steps * runs * problem.time_step, "runs": runs})}
    data = results.assign({name: (("method", "batch"), found) for name, found in values.items()}).data
    return Results(data.assign_attrs(facts))


def _measured(regimes: Regimes, true: np.ndarray, runs: np.ndarray) -> dict[str, float]:
    if not np.isfinite(runs).all():
        return dict.fromkeys(NAMES, float("inf"))
    return {
        "kl_values": kl_of_values(true, runs),
        "kl_regimes": regimes.kl(runs),
        "autocorrelation_error": autocorrelation_error(true, runs),
    }
