"""Closures learned in different ways on the published Burgers problem, side by side.

    python benchmarks/learned.py --run ppo=runs/ppo0 --run ppo=runs/ppo1 --run bptts=runs/bptts0 --published FILE

Runs of one name are seeds of one way of learning; FILE holds the published weights (policy_ep1999.pt). From each run's
folder: its validation error, and the seconds and transitions until a validation error was first reached. Then all
closures and baselines from the same initial conditions, once for each of ``SETTINGS`` (that of the training and some
others): medians of the relative error at several steps, and how many simulations diverge or end above 100 %. Prints
Markdown, writes ``benchmarks/results/learned/learned.json``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from closura.commands.evaluation import evaluation_key
from closura.commands.options import use_precision
from closura.io.closures import load_closure
from closura.plain import plain
from closura.problems import BurgersConfiguration, build_problem
from closura.problems.burgers_setup import burgers
from closura.runs import RunFolder
from closura.runs.environment import describe_environment
from closura.runs.tracking import read_metrics
from closura.simulation.evaluate import evaluate

STEPS = (10, 50, 200, 400)
SETTINGS: dict[str, dict[str, Any]] = {
    "published fields": {},
    # The published problem begins after a step of the coarse solver alone, which is 4 % off the reference.
    "without that first step": {"burn_in": 0},
    # Smaller fields and more fine steps: random waves are held to the stable range.
    "random waves": {"initial": "waves", "size": (0.4, 0.75), "fine_steps": 12},
    "half the viscosity": {"viscosity": 0.0015},
}
RESULTS = Path(__file__).parent / "results" / "learned" / "learned.json"


def learning(run: RunFolder, targets: tuple[float, ...]) -> dict[str, Any]:
    """What a run's metrics say: best validation error, cost of the whole and of getting to each target."""
    rows = read_metrics(run.metrics)
    validated = [row for row in rows if row.get("validation_error") is not None]
    settings = run.read_configuration()
    first = {target: next((row for row in validated if row["validation_error"] <= target), None) for target in targets}
    return {
        "seed": settings.seed,
        "learner": settings.learner,
        "validation": {
            "best": min(row["validation_error"] for row in validated),
            "simulations": settings.validation.simulations,
            "steps": settings.validation.steps,
        },
        "seconds": rows[-1]["seconds"],
        "transitions": rows[-1]["transitions"],
        "to_reach": {
            f"{target:g}": row and {"seconds": row["seconds"], "transitions": row["transitions"]}
            for target, row in first.items()
        },
    }  # fmt: skip


def errors_of(closures: dict[str, Path], changes: dict[str, Any], simulations: int, seed: int) -> dict[str, Any]:
    """Errors of all methods in one setting, from the same initial conditions."""
    problem = build_problem(replace(burgers.published(BurgersConfiguration()), **changes), "test")
    result = evaluate(
        problem,
        {name: load_closure(path, problem.spec) for name, path in closures.items()},
        simulations=simulations,
        steps=max(STEPS),
        key=evaluation_key(seed),
        keep=1,
        timing=False,
    )
    found = {}
    for name in result.compared:
        error = np.where(np.isfinite(result.errors(name)), result.errors(name), np.inf)
        found[name] = {
            "median": {step: float(np.median(error[:, step])) for step in STEPS},
            "mean": {step: float(np.mean(error[:, step])) for step in STEPS},
            "quartiles": {
                step: [float(q) for q in np.quantile(error[:, step], (0.25, 0.75), method="nearest")] for step in STEPS
            },
            "above_one": {step: int((error[:, step] > 1).sum()) for step in STEPS},
            "diverged": result.diverged(name),
        }
    return found


def show(content: dict[str, Any]) -> None:
    """Print the tables."""
    targets = [str(target) for target in content["targets"]]
    columns = ["run", "validation, %", "transitions", "minutes", *(f"to {100 * float(t):g} %" for t in targets)]
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for name, run in content["runs"].items():
        cells = [name, f"{100 * run['validation']['best']:.3g}", f"{run['transitions']:,.0f}"]
        cells.append(f"{run['seconds'] / 60:.1f}")
        for target in targets:
            row = run["to_reach"][target]
            cells.append(f"{row['transitions']:,.0f}; {row['seconds'] / 60:.1f}" if row else "–")
        print("| " + " | ".join(cells) + " |")
    for setting, evaluated in content["judged"].items():
        print(f"\n{setting}, {evaluated['simulations']} simulations, median of the relative error in percent\n")
        columns = ["method", *(f"step {step}" for step in STEPS), f"above 100 % at step {STEPS[-1]}", "diverged"]
        print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
        for name, found in evaluated["methods"].items():
            cells = [f"{100 * error:.3g}" for error in found["median"].values()]
            cells += [str(list(found["above_one"].values())[-1]), str(found["diverged"])]
            print("| " + " | ".join([name, *cells]) + " |")


def main() -> None:
    """Read the runs, evaluate them, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="append", default=[], metavar="NAME=FOLDER", help="may be repeated")
    parser.add_argument("--published", type=Path, help="the published weights (.pt or .npz)")
    parser.add_argument("--targets", type=float, nargs="+", default=(0.12, 0.06), help="validation errors")
    parser.add_argument("--simulations", type=int, default=100, help="in the setting of the training")
    parser.add_argument("--others", type=int, default=50, help="simulations in the other settings")
    parser.add_argument("--seed", type=int, default=0, help="of the held-out initial conditions")
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args()
    use_precision("float64")
    runs: dict[str, dict[str, Any]] = {}
    closures: dict[str, Path] = {"published": given.published} if given.published else {}
    for text in given.run:
        name, _, folder = text.partition("=")
        facts = learning(RunFolder(Path(folder)), tuple(given.targets))
        label = f"{name}, seed {facts['seed']}"
        if label in runs:
            raise ValueError(f"two runs are {label}: give one another name")
        runs[label], closures[label] = facts, Path(folder)
    content: dict[str, Any] = {"targets": [f"{t:g}" for t in given.targets], "steps": STEPS, "runs": runs}
    content |= {"seed": given.seed, "settings": SETTINGS, "judged": {}}
    for setting, changes in SETTINGS.items():
        number = given.others if changes else given.simulations
        content["judged"][setting] = {
            "simulations": number,
            "methods": errors_of(closures, changes, number, given.seed),
        }
    content["environment"] = describe_environment()
    show(content)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    given.json.write_text(json.dumps(plain(content), indent=1) + "\n")


if __name__ == "__main__":
    main()
