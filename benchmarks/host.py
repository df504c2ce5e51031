"""How long solvers outside JAX wait for the learner: PPO with a solver that takes 50 ms for a step.

    python benchmarks/host.py --workers 2 16 --kinds sleep busy

Sixteen environments on 16 x 16 points, PPO as it is by default (8 steps a round, two passes over minibatches of 32
frames). The solver sleeps, or keeps a core busy, for so many milliseconds. The share is that of the time after the
first update (which compiles) in which no worker steps: policies, rewards, minibatches, exchange of arrays. Prints a
table in Markdown.
"""

import argparse
import sys
import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

import closura
from closura.closures import build
from closura.host.pool import POOLS, use_workers
from closura.learners import PPO, PPOConfiguration
from closura.problems import simulate_reference, with_store

POINTS = 16


class Slow:
    """A solver that takes its time, and damps the field a little."""

    def __init__(self, kind, milliseconds):
        self.busy, self.seconds = kind == "busy", float(milliseconds) / 1e3

    def reset(self, state, parameters):
        self.state = state

    def step(self, dt, action):
        begun = time.perf_counter()
        while self.busy and time.perf_counter() - begun < self.seconds:
            pass
        if not self.busy:
            time.sleep(self.seconds)
        self.state = 0.99 * self.state
        return self.state


def damped(state, dt):
    """The reference."""
    return (0.998 * np.asarray(state)).astype(np.float32)


def random_field(rng):
    return rng.normal(size=(1, 4 * POINTS, 4 * POINTS))


def measure(kind: str, workers: int, milliseconds: float, updates: int) -> tuple[float, ...]:
    """Seconds per update, steps of all environments in it, milliseconds of one, share of the time without a step."""
    use_workers(workers)
    place = f"{__file__}:Slow"
    program = closura.Program((sys.executable, "-m", "closura.host.serve", place, kind, str(milliseconds)))
    problem = closura.Problem.from_functions(
        fields=("u",), grid=closura.Grid((POINTS, POINTS)), dt=0.1, coarse=program, fine=damped, initial=random_field,
        scale=0.01,
    )  # fmt: skip
    problem = with_store(problem, simulate_reference(problem, 16, 100, key=jax.random.key(2)))
    learner = PPO(PPOConfiguration(updates=updates + 1))
    policy = build("compact", problem.spec, explores=True, key=jax.random.key(0))
    state = learner.init(problem, policy, key=jax.random.key(1))
    one, rest = jnp.int32(1), jnp.int32(updates)
    state, _ = jax.block_until_ready(learner.advance(problem, state, one, 0))
    (pool,) = [pool for (of, _), pool in POOLS.items() if of == program]
    before, begun = replace(pool.counts), time.monotonic()
    jax.block_until_ready(learner.advance(problem, state, rest, 0))
    seconds, counts = time.monotonic() - begun, pool.counts
    busy, batches = counts.busy - before.busy, counts.batches - before.batches
    return seconds / updates, batches / updates, 1e3 * busy / batches, 1 - busy / seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 16])
    parser.add_argument("--kinds", nargs="+", default=["sleep", "busy"])
    parser.add_argument("--milliseconds", type=float, default=50.0)
    parser.add_argument("--updates", type=int, default=4)
    options = parser.parse_args()
    print(
        "| solver | workers | s per update | steps in it | ms for a step of 16 environments | time without a step, % |"
    )
    print("|---|---|---|---|---|---|")
    for kind in options.kinds:
        for workers in options.workers:
            seconds, steps, each, share = measure(kind, workers, options.milliseconds, options.updates)
            row = f"{kind} | {workers} | {seconds:.2f} | {steps:.3g} | {each:.0f} | {100 * share:.1f}"
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
