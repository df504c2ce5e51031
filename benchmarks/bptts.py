"""Time the published training of agents that weigh fluxes: an update, its forward rollout, and how both grow.

    taskset -c 2,3 python benchmarks/bptts.py --json benchmarks/results/bptts.json

presets
    Seconds per update of the ``paper`` presets of burgers-1d (batch of 3, 250 steps) and euler-1d (batch of 1, 1000
    steps), and of the forward rollout of the same batch: the agents' steps, the one-step target and the rewards,
    compiled alone. Their ratio is what a gradient costs.
growth
    The same for Burgers on 64, 128 and 256 cells, and with 62, 125 and 250 steps.

Everything is compiled and run once before the clock starts. Forward and update take turns; a row gives the least wall
time and the least processor time over the turns: what other work on the machine adds is not the program's. Where the
machine is shared the processor times are the ones to compare.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from closura.learners import BPTTS
from closura.problems import build_problem
from closura.runs.configuration import train_preset
from closura.runs.environment import describe_environment
from closura.runs.training import build_closure

GROWTH_CELLS, GROWTH_STEPS = (64, 128, 256), (62, 125, 250)


@dataclass(frozen=True)
class Row:
    """One case: seconds by the clock and by the processor, for the forward rollout and for the update."""

    problem: str
    cells: int
    steps: int
    batch: int
    forward: float
    update: float
    forward_processor: float
    update_processor: float
    megabytes: float

    @property
    def ratio(self) -> float:
        """What an update costs in forward rollouts, by processor time."""
        return self.update_processor / self.forward_processor


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    processor, wall = time.process_time(), time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - wall, time.process_time() - processor


def measure(name: str, *, cells: int | None = None, steps: int | None = None, turns: int = 10) -> Row:
    """Compile both, let them take turns."""
    paper = train_preset("paper", problem=name)
    cells, steps = cells or paper.problem.cells, steps or paper.problem.steps
    # The step follows the spacing, as published: dt = 4e-4 on 128 cells.
    time_step = paper.problem.time_step * paper.problem.cells / cells
    configuration = replace(
        paper,
        problem=replace(paper.problem, cells=cells, steps=steps, time_step=time_step),
        learning=replace(paper.learning, horizons=(steps,)),
    )
    problem = build_problem(configuration.problem, "train")
    learner = BPTTS(configuration.learning)
    closure = build_closure(configuration, problem, key=jax.random.key(0))
    state = learner.init(problem, closure, key=jax.random.key(1))
    arrays, static = jax.tree.flatten(state.closure)

    @jax.jit
    def forward(arrays: list, episodes: Any) -> jax.Array:
        agents = jax.tree.unflatten(static, arrays)
        return jnp.mean(jax.vmap(lambda e: learner.window(problem, agents, e, steps).loss)(episodes))

    one = jnp.asarray(1, jnp.int32)
    runs: dict[str, Callable[[], Any]] = {
        "forward": lambda: forward(arrays, state.carry),
        "update": lambda: learner.advance(problem, state, one, 0)[1],
    }
    for run in runs.values():
        timed(run)
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
    for _ in range(turns):
        for key, run in runs.items():
            times[key].append(timed(run))
    wall = {key: min(pair[0] for pair in pairs) for key, pairs in times.items()}
    processor = {key: min(pair[1] for pair in pairs) for key, pairs in times.items()}
    kept = state.carry.state.nbytes * steps / 1e6
    return Row(
        name, cells, steps, configuration.learning.batch, wall["forward"], wall["update"], processor["forward"],
        processor["update"], kept,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--parts", default="presets,growth")
    parser.add_argument("--quick", action="store_true", help="only check that everything runs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    cases: list[dict[str, Any]] = []
    if "presets" in given.parts:
        cases += [{"name": "burgers-1d"}, {"name": "euler-1d"}]
    if "growth" in given.parts:
        cases += [{"name": "burgers-1d", "cells": cells} for cells in GROWTH_CELLS if cells != 128]
        cases += [{"name": "burgers-1d", "steps": steps} for steps in GROWTH_STEPS if steps != 250]
    if given.quick:
        cases = [{"name": "burgers-1d", "cells": 16, "steps": 3}]
    rows = []
    print("problem      cells  steps  batch   forward s   update s   (processor)            ratio   states MB")
    for case in cases:
        row = measure(**case, turns=2 if given.quick else given.turns)
        rows.append(row)
        print(
            f"{row.problem:12s} {row.cells:5d}  {row.steps:5d}  {row.batch:5d}   "
            f"{row.forward:9.3f}  {row.update:9.3f}   "
            f"({row.forward_processor:.3f}, {row.update_processor:.3f})   {row.ratio:10.2f}  {row.megabytes:8.2f}",
            flush=True,
        )
    if given.json:
        facts = {
            "cores": len(os.sched_getaffinity(0)),
            "load": os.getloadavg(),
            "turns": given.turns,
            "rows": [{**asdict(row), "ratio": row.ratio} for row in rows],
            "environment": describe_environment(),
        }
        given.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
