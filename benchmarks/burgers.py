r"""Closures of the default Burgers problem on held-out fields: accuracy at several times, and where they do harm.

    closura train burgers --run runs/cgs
    closura train burgers --base upwind5 --run runs/upwind5
    closura train burgers --base upwind5 --orientations 2 --learning.updates 2800 --learning.horizons 4 8 16 32 96 \
        --learning.fractions 0.1 0.2 0.25 0.25 0.2 --reference.steps 600 --validation.simulations 48 \
        --validation.steps 400 --validation.every 200 --run runs/upwind5-turned
    python benchmarks/burgers.py runs/cgs runs/upwind5 runs/upwind5-turned

prints medians of the relative error at the times of the published steps 25, 50, 100, 200 and 400 (two of our steps
are one published step), the improvement on the solver that each closure corrects, diverged simulations, and in how
many simulations a closure had been worse than that solver up to each of these times. Writes
``benchmarks/results/burgers/default.json``.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from closura.commands.evaluation import evaluation_key
from closura.io.closures import load_closure
from closura.problems import as_evaluated, build_problem
from closura.runs import RunFolder
from closura.runs.environment import describe_environment
from closura.simulation.evaluate import evaluate

TIMES = {50: 25, 100: 50, 200: 100, 400: 200, 800: 400}
"""Our steps, and the published steps at the same time."""


def main() -> None:
    """Judge the runs that were named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of closura train burgers")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the held-out initial conditions")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "burgers" / "default.json")
    given = parser.parse_args()
    settings = {path.name: RunFolder(path).read_configuration().problem for path in given.runs}
    problem = build_problem(as_evaluated(next(iter(settings.values()))), "test")
    own = {name: build_problem(value, "test") for name, value in settings.items()}
    names = {name: f"compact on {own[name].names[0]} ({name})" for name in own}
    result = evaluate(
        problem,
        {names[path.name]: load_closure(path, own[path.name].spec) for path in given.runs},
        simulations=given.simulations,
        steps=max(TIMES),
        key=evaluation_key(given.seed),
        own={names[name]: each for name, each in own.items()},
        keep=1,
        timing=False,
    )
    methods = {}
    for name in result.compared:
        error = np.where(np.isfinite(result.errors(name)), result.errors(name), np.inf)
        initial = error * result.data["scale"].values
        entry = {
            "median": {step: float(np.median(error[:, step])) for step in TIMES},
            "mean": {step: float(np.mean(error[:, step])) for step in TIMES},
            "median_of_initial": {step: float(np.median(initial[:, step])) for step in TIMES},
            "diverged": result.diverged(name),
        }
        if name in result.closures:
            base = result.errors(result.corrects(name))
            of_means = {step: 1 - entry["mean"][step] / float(np.mean(base[:, step])) for step in TIMES}
            entry["base"] = result.corrects(name)
            entry["reduction"] = {step: 1 - entry["median"][step] / float(np.median(base[:, step])) for step in TIMES}
            entry["reduction_of_mean"] = of_means
            entry["worse_than_base_by"] = {step: int((error > base)[:, : step + 1].any(axis=1).sum()) for step in TIMES}
        methods[name] = entry
    for name, entry in methods.items():
        print(name, " ".join(f"{100 * value:.3g}" for value in entry["median"].values()), end="")
        if "base" in entry:
            print(
                f" | below {entry['base']}:", " ".join(f"{100 * value:.0f} %" for value in entry["reduction"].values()),
                "(means:", " ".join(f"{100 * value:.0f} %" for value in entry["reduction_of_mean"].values()) + ")",
                "| ever worse by then:", *entry["worse_than_base_by"].values(), end="",
            )  # fmt: skip
        print(f" | diverged {entry['diverged']} of {given.simulations}")
    given.json.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "steps": TIMES,
        "simulations": given.simulations,
        "seed": given.seed,
        "methods": methods,
        "environment": describe_environment(),
    }
    given.json.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
