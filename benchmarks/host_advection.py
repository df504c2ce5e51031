"""PPO on advection, with the coarse solver built in, and as a NumPy program in processes of which some are killed.

    python benchmarks/host_advection.py --seeds 0 1 2 --kills 20 --out results/host-advection

trains by ``closura train`` (preset quick, PPO, and the settings below) on ``advection`` and on this file's
``advection-host``, whose coarse solver is ``host_upwind.py``, once for each seed; then the first seed on
``advection-host`` again, while its worker processes are killed (SIGKILL) at random times. Prints a table in Markdown
and says whether the killed training has given the same weights.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import equinox as eqx
import numpy as np
import safetensors.numpy

import closura
from closura.core.definition import PROBLEMS
from closura.host.solver import StepSolver
from closura.problems.advection import AdvectionSolver
from closura.problems.advection_setup import AdvectionConfiguration, AdvectionCorrection, AdvectionPhysics
from closura.runs.tracking import read_metrics

WORKER = Path(__file__).with_name("host_upwind.py")
SETTINGS = ("--preset", "quick", "--learner", "ppo", "--cells", "16", "--compact.channels", "16", "--overwrite")
"""16 x 16 points, a small network: a training takes a minute or two."""


class External(AdvectionSolver):
    """First-order upwind differences by worker processes; all else is the built-in solver's."""

    steps: StepSolver = eqx.field(static=True, kw_only=True)
    differentiable = False

    def advance(self, state, parameters, dt):
        return self.steps.advance(state, parameters, dt)

    def march(self, state, parameters, dt, steps, closure=None):
        return closura.Solver.march(self, state, parameters, dt, steps, closure)


@closura.problem(
    "advection-host",
    physics=AdvectionPhysics,
    correction=AdvectionCorrection,
    presets=[str(path) for path in PROBLEMS.find("advection").presets],
)
def advection_host(settings, split="train"):
    """Advection with its coarse solver in processes of its own."""
    problem = PROBLEMS.find("advection")(AdvectionConfiguration(**asdict(settings)), split)
    program = closura.Program((sys.executable, "-m", "closura.host.serve", f"{WORKER}:step"))
    built = problem.coarse
    coarse = External(built.grid, built.scheme, built.integrator, steps=StepSolver(built.grid, program))
    reference = replace(problem.reference, coarse=coarse)
    begin = replace(problem.begin, coarse=coarse, reference=reference)
    return replace(problem, coarse=coarse, reference=reference, begin=begin)


def children(of: int) -> list[int]:
    """Processes that a process has started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == of and state != "Z":
                found.append(int(entry.name))
    return found


def kill_some(training: subprocess.Popen, kills: int, seconds: float) -> int:
    """Kill random children of a training at random times, on average every so many seconds."""
    draw, done = random.Random(0), 0
    while training.poll() is None and done < kills:
        time.sleep(draw.expovariate(1 / seconds))
        workers = [number for number in children(training.pid) if WORKER.name in command_of(number)]
        if workers:
            os.kill(draw.choice(workers), signal.SIGKILL)
            done += 1
    return done


def command_of(number: int) -> str:
    """A process's command line; empty if it has ended."""
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


def train(problem: str, seed: int, updates: int, run: Path, *, kills: int = 0, every: float = 2.0) -> dict:
    """A training by the command; its validation errors."""
    options = ("--learning.updates", str(updates), "--seed", str(seed), "--run", str(run))
    command = [sys.executable, "-m", "closura", "train", problem, *SETTINGS, *options]
    begun = time.monotonic()
    training = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    killed = kill_some(training, kills, every) if kills else 0
    said, _ = training.communicate()
    if training.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    rows = [row for row in read_metrics(run / "metrics.jsonl") if row.get("validation_error") is not None]
    errors = [row["validation_error"] for row in rows]
    counted = [line.strip() for line in said.splitlines() if WORKER.name in line and " steps" in line]
    return {"problem": problem, "seed": seed, "best": min(errors), "last": errors[-1], "killed": killed,
            "seconds": time.monotonic() - begun, "counted": counted}  # fmt: skip


def main() -> None:
    """Train, kill, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=2.0, help="mean seconds between kills")
    parser.add_argument("--out", type=Path, default=Path("results/host-advection"))
    options = parser.parse_args()
    rows = []
    for problem, name in (("advection", "built-in"), (__file__, "host")):
        for seed in options.seeds:
            rows.append({"name": name, **train(problem, seed, options.updates, options.out / f"{name}{seed}")})
            print(json.dumps(rows[-1]), flush=True)
    seed = options.seeds[0]
    killed = train(__file__, seed, options.updates, options.out / "killed", kills=options.kills, every=options.every)
    rows.append({"name": "host, killed", **killed})
    print(json.dumps(rows[-1]), flush=True)
    weights = [
        safetensors.numpy.load_file(options.out / run / "weights.safetensors") for run in (f"host{seed}", "killed")
    ]
    same = all(np.array_equal(weights[0][key], weights[1][key]) for key in weights[0])
    print("\n| solver | seed | best validation error, % | workers killed | s |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['name']} | {row['seed']} | {100 * row['best']:.2f} | {row['killed']} | {row['seconds']:.0f} |")
    print(f"\nweights of the killed training: {'the same' if same else 'others'}")
    (options.out / "rows.json").write_text(json.dumps({"rows": rows, "same": same}, indent=1))


if __name__ == "__main__":
    main()
