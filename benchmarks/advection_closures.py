"""Closures of advection over long rollouts, against the published reference and the exact one.

    python benchmarks/advection_closures.py table --data-dir DIR [--closure NAME=RUN_OR_WEIGHTS] [--json FILE]
    python benchmarks/advection_closures.py reference --data-dir DIR [--json FILE]

``table``: the four cells of the paper's table 1 on the published physics, 100 held-out simulations of 400 steps, errors
at steps 25 to 400 against the published fine solver and against the solution along characteristics. Beside the
problem's baselines stand upwind differences of ninth order with RK4, and the same limited after each step to the range
of the nine values around a cell. Closures correct the solver that they were trained on, from the same initial
conditions.

``reference``: how far upwind differences of fifth order on finer and finer grids, and the published fine solver, are
from the exact solution, for the first simulations of two of these cells.
"""

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from closura.commands.closures import named_closure, trained_settings
from closura.commands.evaluation import evaluation_key
from closura.core import Results
from closura.grids import Grid
from closura.io.closures import load_closure
from closura.metrics.statistics import mean_interval
from closura.numerics import Scheme, subsample
from closura.plain import plain
from closura.problems import AdvectionConfiguration, Problem, advection, as_trained, simulate_reference
from closura.problems.advection import AdvectionSolver
from closura.problems.characteristics import bilinear, cubic
from closura.runs.environment import describe_environment
from closura.simulation.evaluate import evaluate

CELLS = [("mnist", "train"), ("mnist", "vortex"), ("fashion-mnist", "train"), ("fashion-mnist", "vortex")]
STEPS = (25, 50, 100, 200, 400)
REFERENCES = ("fine", "exact")


def upwind(order: int) -> Scheme:
    """The stencil of an odd order with one point more on the side that the flow comes from."""
    offsets = np.arange(-(order + 1) // 2, (order + 1) // 2)
    moments = offsets[None, :] ** np.arange(order + 1)[:, None]
    weights = np.linalg.solve(moments.astype(np.float64), np.eye(order + 1)[1])
    return Scheme(f"upwind{order}", order, tuple((int(k), float(w)) for k, w in zip(offsets, weights, strict=True)))


class Limited(AdvectionSolver):
    """A solver whose result stays within the range that the nine values around a cell had before the step."""

    def advance(self, state: jax.Array, parameters: jax.Array, dt: Any) -> jax.Array:
        """One step, and the limits."""
        low = high = state
        for axis in (1, 2):
            low = jnp.minimum(low, jnp.minimum(jnp.roll(low, 1, axis), jnp.roll(low, -1, axis)))
            high = jnp.maximum(high, jnp.maximum(jnp.roll(high, 1, axis), jnp.roll(high, -1, axis)))
        return jnp.clip(super().advance(state, parameters, dt), low, high)


def cell_problem(images: str, velocity: str, reference: str, data_dir: Path | None) -> tuple[Any, Problem]:
    """Settings and problem of a cell, with the baselines of this benchmark."""
    settings = advection.published(AdvectionConfiguration(images=images, velocity=velocity, reference=reference))  # type: ignore[arg-type]
    problem = advection(settings, "test", data_dir=data_dir)
    ninth = (problem.grid, upwind(9), "rk4")
    extra = {"upwind9": AdvectionSolver(*ninth), "upwind9, limited": Limited(*ninth)}  # type: ignore[arg-type]
    kept = {name: solver for name, solver in problem.baselines.items() if name != "spectral"}
    return settings, replace(problem, baselines={**kept, **extra})


def errors_of(images: str, velocity: str, options: argparse.Namespace) -> dict[str, Any]:
    """One cell: errors and differences against both references, from the same initial conditions."""
    stores, found = {}, {}
    for reference in REFERENCES:
        settings, problem = cell_problem(images, velocity, reference, options.data_dir)
        stores[reference] = simulate_reference(
            problem, options.simulations, max(STEPS), key=evaluation_key(options.seed)
        )
        closures, own = {}, {}
        for text in options.closure:
            name, path = named_closure(text)
            trained = trained_settings(path)
            base = settings if trained is None else as_trained(settings, trained.problem)
            own[name] = advection(replace(base, images="synthetic"), "test")
            closures[name] = load_closure(path, own[name].spec)
        result = evaluate(
            problem, closures, key=evaluation_key(options.seed), store=stores[reference], timing=options.timing,
            own=own,
        )  # fmt: skip
        found[reference] = {"methods": methods(result), "paired": paired(result)}
        print(f"\n{images} / {velocity}, against the {reference} reference\n" + markdown(found[reference]), flush=True)
    apart = np.asarray(
        jnp.mean(jnp.abs(stores["fine"].reference - stores["exact"].reference), axis=(2, 3, 4)), np.float64
    )
    found["fine - exact"] = statistics(apart)
    print(f"references apart: {[round(100 * found['fine - exact'][str(s)]['mean'], 2) for s in STEPS]}", flush=True)
    return found


def statistics(errors: np.ndarray) -> dict[str, Any]:
    """Mean, median, standard deviation over simulations at each step; errors ``(simulation, step)``."""
    return {
        str(s): {"mean": errors[:, s].mean(), "median": np.median(errors[:, s]), "std": errors[:, s].std()}
        for s in STEPS
    }


def methods(result: Results) -> dict[str, Any]:
    """Errors, diverged simulations and cost of all methods but the reference."""
    return {
        name: {
            "error": statistics(result.errors(name)), "simulations": result.simulations,
            "diverged": result.diverged(name), "milliseconds_per_step": result.milliseconds(name),
            "parameters": result.parameters(name),
        }
        for name in result.compared
    }  # fmt: skip


def paired(result: Results) -> dict[str, Any]:
    """Each closure against the best baselines, simulation by simulation: mean and 95 % Student interval."""
    found: dict[str, Any] = {}
    for name in result.closures:
        for baseline in ("upwind5", "upwind9, limited", "ACGS"):
            own, other = result.errors(name), result.errors(baseline)
            difference = own - other
            half = {}
            for s in STEPS:
                mean, low, _ = mean_interval(difference[:, s])
                half[s] = None if math.isnan(low) else mean - low
            found[f"{name} - {baseline}"] = {
                str(s): {
                    "mean": difference[:, s].mean(), "half": half[s],
                    "better": int((difference[:, s] < 0).sum()),
                    "ratio": own[:, s].mean() / other[:, s].mean(),
                }
                for s in STEPS
            }  # fmt: skip
    return found


def markdown(found: dict[str, Any]) -> str:
    """Errors in percent, mean ± standard deviation, and ratios to upwind5 in brackets."""
    lines = ["| method | " + " | ".join(f"step {s}" for s in STEPS) + " | diverged | ms |", "|---" * 8 + "|"]
    usual = found["methods"]["upwind5"]["error"]
    for name, method in found["methods"].items():
        row = [
            "{:.2f} ± {:.2f} ({:.2f})".format(
                100 * e["mean"], 100 * e["std"], e["mean"] / usual[s]["mean"]
            ) for s, e in method["error"].items()
        ]  # fmt: skip
        lines.append(f"| {name} | {' | '.join(row)} | {method['diverged']} | {method['milliseconds_per_step']:.3f} |")
    return "\n".join(lines)


def converge(images: str, velocity: str, options: argparse.Namespace) -> dict[str, Any]:
    """Distance of grid solutions from the exact one, in percent: mean over a few simulations."""
    settings, exact = cell_problem(images, velocity, "exact", options.data_dir)
    _, published = cell_problem(images, velocity, "fine", options.data_dir)
    keys = jax.random.split(evaluation_key(options.seed), options.simulations)
    sides = (256, 512, 1024)
    distances: dict[str, list[list[float]]] = {name: [] for name in ("published fine solver", *map(str, sides))}
    for key in keys:
        begun = exact.begin.cases.sample(key=key)  # type: ignore[attr-defined]
        reference = _run_target(exact, begun)
        distances["published fine solver"].append(_apart(_run_target(published, begun), reference))
        for side in sides:
            at = jnp.arange(side, dtype=jnp.float32) * (256 / side)
            points = jnp.stack(jnp.meshgrid(at, at, indexing="ij"))
            field = bilinear(begun.initial, points)
            flow = cubic(begun.parameters, points, seam=velocity == "train")
            ratio = side // settings.cells
            # Total Courant number 1 at the most: the error of time is small beside that of space.
            solver = AdvectionSolver(Grid((side, side)), "upwind5", "rk4")
            found = _run_solver(solver, field, flow, ratio, exact.time_step)
            distances[str(side)].append(_apart(found, reference))
    return {name: np.mean(rows, axis=0).tolist() for name, rows in distances.items()}


@eqx.filter_jit
def _run_target(problem: Problem, case: Any) -> jax.Array:
    state, parameters = problem.coarse.init(case)

    def step(target: Any, _: None) -> tuple[Any, jax.Array]:
        target = problem.reference.advance(target, state, parameters, problem.time_step)
        return target, problem.reference.field(target)

    return jax.lax.scan(step, problem.reference.init(case), None, length=max(STEPS))[1]


@eqx.filter_jit
def _run_solver(solver: AdvectionSolver, field: jax.Array, flow: jax.Array, ratio: int, dt: float) -> jax.Array:
    def step(psi: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        psi = solver.march(psi, flow, dt / (ratio // 2), ratio // 2)
        return psi, subsample(psi, ratio)

    return jax.lax.scan(step, field, None, length=max(STEPS))[1]


def _apart(a: jax.Array, b: jax.Array) -> list[float]:
    return [100 * float(jnp.mean(jnp.abs(a[s - 1] - b[s - 1]))) for s in STEPS]


def main() -> None:
    """Parse the options, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("table", "reference"))
    parser.add_argument("--closure", action="append", default=[], help="NAME=RUN_OR_WEIGHTS, may be repeated")
    parser.add_argument("--data-dir", type=Path, help="folder with mnist/ and fashion-mnist/")
    parser.add_argument("--simulations", type=int, help="default: 100, and 2 for reference")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timing", action="store_true", help="measure milliseconds per step too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.simulations = options.simulations or {"table": 100, "reference": 2}[options.what]
    content: dict[str, Any] = {"seed": options.seed, "steps": STEPS, "environment": describe_environment()}
    if options.what == "table":
        content["cells"] = {
            f"{images} / {velocity}": errors_of(images, velocity, options) for images, velocity in CELLS
        }
    else:
        content["distance"] = {}
        for images, velocity in CELLS[:2]:
            found = converge(images, velocity, options)
            content["distance"][f"{images} / {velocity}"] = found
            for name, row in found.items():
                print(f"{images} / {velocity}: {name}: {[round(x, 3) for x in row]}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(plain(content), indent=1) + "\n")


if __name__ == "__main__":
    main()
