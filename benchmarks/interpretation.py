"""Table 6 of Closure-RL: correlation of learned with optimal actions, by the paper's notebook and by the theory.

    python benchmarks/interpretation.py --weights WEIGHTS.npz --data-dir DIR --json RESULT.json

Four families (MNIST and Fashion-MNIST, train and vortex velocities) on the published physics with the notebook's
ratio of 8. Prints Markdown: correlations, and the equation that the actions follow.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from closura.commands.evaluation import evaluation_key
from closura.interpretation import interpret, interpretation_figure
from closura.io.closures import load_closure
from closura.io.files import write_atomically
from closura.problems import AdvectionConfiguration, advection
from closura.runs.environment import describe_environment

FAMILIES = [("mnist", "train"), ("fashion-mnist", "train"), ("mnist", "vortex"), ("fashion-mnist", "vortex")]
# Table 6 of arXiv:2402.00972 (100 rollouts each): mean and standard deviation.
PUBLISHED = [(0.82, 0.05), (0.70, 0.08), (0.82, 0.03), (0.72, 0.08)]
# The published network with axes and sign as the theory says: an independent run of 50 rollouts each.
INDEPENDENT = [(0.908, 0.017), (0.832, 0.057), (0.925, 0.009), (0.865, 0.043)]


def run_family(images: str, velocity: str, options: argparse.Namespace) -> dict[str, Any]:
    """Interpret the closure on one family."""
    configuration = advection.published(AdvectionConfiguration(images=images, velocity=velocity, ratio=options.ratio))
    problem = advection(configuration, "test", data_dir=options.data_dir)
    closure = load_closure(options.weights, problem.spec)
    study = interpret(
        problem, closure, simulations=options.simulations, step=options.step, key=evaluation_key(options.seed)
    )
    if options.figures:
        path = options.figures / f"interpretation-{images}-{velocity}.png"
        interpretation_figure(
            problem, study.trajectories, study.comparisons, path, title=f"published closure, {images}, {velocity}"
        )
    return study.numbers()


def markdown(families: dict[str, Any]) -> str:
    """The tables, mean ± standard deviation over simulations."""
    lines = ["| family | published | notebook's formula | theory | independent run | theory, + time term | slope |"]
    lines.append("|---" * 7 + "|")
    for i, (name, numbers) in enumerate(families.items()):
        found = {row["formula"]: row for row in numbers["correlations"]}
        cells = ["{:.2f} ± {:.2f}".format(*PUBLISHED[i]), _cell(found["notebook"]), _cell(found["theory"])]
        cells += ["{:.3f} ± {:.3f}".format(*INDEPENDENT[i]), _cell(found["theory, + time term"])]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {found['theory']['slope']:.2f} |")
    lines += ["", "| family | equation found | R2, held out | R2 of the theory |", "|---|---|---|---|"]
    for name, numbers in families.items():
        kinds = {equation["kind"]: equation for equation in numbers["equations"]}
        equation = kinds["found"]["equation"].replace("|", "\\|")
        lines.append(f"| {name} | {equation} | {kinds['found']['r2']:.3f} | {kinds['theory']['r2']:.3f} |")
    return "\n".join(lines)


def _cell(row: dict[str, Any]) -> str:
    return f"{row['mean']:.3f} ± {row['std']:.3f}"


def main() -> None:
    """Parse the options, run the four families, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="the published weights (.npz or .pt)")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ and fashion-mnist/")
    parser.add_argument("--simulations", type=int, default=100)
    parser.add_argument("--step", type=int, default=17)
    parser.add_argument("--ratio", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, help="folder for a figure of each family")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    families = {f"{images} / {velocity}": run_family(images, velocity, options) for images, velocity in FAMILIES}
    print(markdown(families))
    if options.json:
        content = {
            "families": families,
            "published": dict(zip(families, PUBLISHED, strict=True)),
            "seed": options.seed,
            "ratio": options.ratio,
            "environment": describe_environment(),
        }
        write_atomically(options.json, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
