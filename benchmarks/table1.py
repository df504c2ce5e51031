"""Table 1 of Closure-RL, with the baselines that the paper leaves out and a compact closure beside them.

    python benchmarks/table1.py --weights WEIGHTS.npz [--closure compact=RUN] --data-dir DIR

Four cells (MNIST and Fashion-MNIST, train and vortex velocities), the same simulations for every method, on the
published physics. Prints Markdown; ``--json`` keeps everything, with paired differences.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from closura.commands.closures import named_closure
from closura.commands.evaluation import evaluation_key
from closura.core import Results
from closura.io.closures import load_closure
from closura.metrics.comparison import paired_difference
from closura.plain import plain
from closura.problems import AdvectionConfiguration, advection
from closura.reporting.numbers import summary
from closura.runs.environment import describe_environment
from closura.simulation.evaluate import evaluate

CELLS = [("mnist", "train"), ("mnist", "vortex"), ("fashion-mnist", "train"), ("fashion-mnist", "vortex")]
# Mean and standard deviation in percent at step 50, table 1 of arXiv:2402.00972.
PUBLISHED = {
    "CGS": [(3.13, 0.80), (3.82, 0.78), (3.23, 0.92), (3.12, 0.73)],
    "ACGS": [(1.90, 0.51), (2.28, 0.47), (2.27, 0.64), (2.23, 0.50)],
    "Closure-RL": [(1.46, 0.33), (1.58, 0.37), (2.12, 0.57), (2.04, 0.56)],
}


def run_cell(images: str, velocity: str, options: argparse.Namespace) -> Results:
    """Evaluate all methods on one cell of the table."""
    configuration = advection.published(AdvectionConfiguration(images=images, velocity=velocity, ratio=options.ratio))
    problem = advection(configuration, "test", data_dir=options.data_dir)
    closures = {"Closure-RL": load_closure(options.weights, problem.spec)}
    for text in options.closure:
        name, path = named_closure(text)
        closures[name] = load_closure(path, problem.spec)
    return evaluate(
        problem,
        closures,
        simulations=options.simulations,
        steps=options.steps,
        key=evaluation_key(options.seed),
        timing=options.timing,
    )


def differences(evaluation: Results) -> dict[str, Any]:
    """Each closure against the methods that one would choose instead, simulation by simulation."""
    baselines = ("CGS", "ACGS", "upwind5", "Closure-RL")
    return {
        f"{name} - {baseline}": paired_difference(evaluation, name, baseline)
        for name in evaluation.closures
        for baseline in baselines
        if name != baseline
    }


def markdown(cells: dict[str, Any]) -> str:
    """The table in percent, mean ± standard deviation, published values in brackets."""
    columns = list(cells)
    lines = ["| method | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in next(iter(cells.values()))["methods"]:
        row = []
        for i, cell in enumerate(cells.values()):
            error = cell["methods"][name]["relative_mae"]
            text = "lost" if error["mean"] is None else f"{100 * error['mean']:.2f} ± {100 * error['std']:.2f}"
            if name in PUBLISHED:
                text += " ({:.2f} ± {:.2f})".format(*PUBLISHED[name][i])
            row.append(text)
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    lines += ["", "| paired difference, percentage points | " + " | ".join(columns) + " |"]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for pair in next(iter(cells.values()))["paired_differences"]:
        row = []
        for cell in cells.values():
            d = cell["paired_differences"][pair]
            low, high = d["low"], d["high"]
            row.append(f"{100 * d['mean']:+.3f} [{100 * low:+.3f}, {100 * high:+.3f}]")
        lines.append(f"| {pair} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the options, run the four cells, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the published weights (.npz or .pt)")
    parser.add_argument("--closure", action="append", default=[], help="NAME=RUN_OR_WEIGHTS, may be repeated")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ and fashion-mnist/")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timing", action="store_true", help="measure milliseconds per step too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cells = {}
    for images, velocity in CELLS:
        evaluation = run_cell(images, velocity, options)
        cell = summary(evaluation)
        for method in cell["methods"].values():
            method.pop("relative_mae_per_step", None)
        cells[f"{images} / {velocity}"] = {**cell, "paired_differences": differences(evaluation)}
    print(markdown(cells))
    if options.json:
        content = {"cells": cells, "seed": options.seed, "ratio": options.ratio, "environment": describe_environment()}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(plain(content), indent=1) + "\n")


if __name__ == "__main__":
    main()
