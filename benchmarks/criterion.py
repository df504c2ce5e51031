"""p and k of all problems, from the benchmarks that are kept: the table of docs/when-closures-pay.md.

    python benchmarks/criterion.py --kinds          # times the kinds of closures on this machine
    python benchmarks/criterion.py                  # the table, from results/fronts, kinds.json and further folders

A row more: ``closura benchmark PROBLEM ... --out DIR``, then copy ``DIR/fronts.json`` to ``results/fronts/NAME.json``.
Files of earlier versions do not say what is corrected, nor what closures of each kind cost: that is said here.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64

from closura.core import Results, Role
from closura.core.front import FRONTS, Benchmark, Sweep
from closura.metrics.pareto import CALLS, CLOSURE_COST, TURNS, Fronts
from closura.problems import PROBLEMS, build_problem
from closura.problems.laws.catalogue import LAW_PROBLEMS
from closura.problems.laws.front import law_benchmark
from closura.reporting.benchmark.criterion import criterion_rows, views
from closura.reporting.benchmark.record import read_json
from closura.reporting.tables import write_rows
from closura.runs.environment import describe_environment
from closura.simulation.cost import Timing, time_steps
from closura.simulation.sweep import problem_benchmark

RESULTS = Path(__file__).parent / "results"
CORRECTED: dict[str, dict[str, str]] = {
    "advection-mnist-train": {"": "CGS 64 dt 0.00391", "agent": "upwind5 64 dt 0.00391"},
    "advection-mnist-vortex": {"": "CGS 64 dt 0.00391", "agent": "upwind5 64 dt 0.00391"},
    "advection-fashion-mnist-train": {"": "CGS 64 dt 0.00391", "agent": "upwind5 64 dt 0.00391"},
    "advection-fashion-mnist-vortex": {"": "CGS 64 dt 0.00391", "agent": "upwind5 64 dt 0.00391"},
    "burgers": {
        "": "CGS 30 dt 0.015", "agent": "upwind5 30 dt 0.015", "upwind5+compact": "upwind5 30 dt 0.015",
    },
    "burgers-paper": {"": "CGS 30 dt 0.03"},
    "burgers-1d": {"": "weno5-js 128 C 0.866"},
    "euler-1d": {"": "weno5-js 128 C 0.717"},
    # Its own step, C 3.4, is not among the methods: the next shorter one.
    "turbulence": {"": "no model 64 dt 0.064", "turbulence-volumes": "quick 64 C 2.83"},
    "kolmogorov": {"": "no model 12 dt 0.2"},
}  # fmt: skip
"""By file the coarse solver, and what closures correct where that is another one."""


def opened(path: Path) -> Results:
    """A benchmark that is kept; of earlier versions with what they do not say."""
    results, said = read_json(path), CORRECTED.get(path.stem)
    if said is None:
        return results

    def corrected(name: str) -> str:
        if results.roles[name] is not Role.CLOSURE:
            return ""
        family = str(Fronts(results).fact(name, "family"))
        beside = name.replace(f"{family} ", "weno5-js ", 1)
        return said.get(family, beside if beside in results.methods and beside != name else said[""])

    data = results.data.assign_coords(corrects=("method", [corrected(name) for name in results.methods]))
    return Results(data.assign_attrs(uncorrected=said[""]))


def with_kinds(results: Results, times: dict[str, Any]) -> Results:
    """With what closures of each kind cost, as shares of the coarse solver's times measured beside them."""
    fronts = Fronts(results)
    if CLOSURE_COST in results.data or not times:
        return results
    names = [name for name in times if name != "coarse"]

    def quartiles(name: str, call: str) -> Float64[np.ndarray, " turn"]:
        share = np.asarray(times[name][call]) / np.asarray(times["coarse"][call])
        own = fronts.turns(fronts.base, call)
        return own * np.percentile(share, np.linspace(25, 75, len(own)))

    turns = np.asarray([[quartiles(name, call) for call in CALLS] for name in names])
    dims = ("closure_kind", "call", "turn" if TURNS in results.data else "quartile")
    return results.assign({CLOSURE_COST: (dims, turns), "closure_kind": names})


def benchmark_of(name: str) -> Benchmark:
    """A problem's benchmark, to be timed alone."""
    if name in LAW_PROBLEMS:
        cells = LAW_PROBLEMS[name].cells if LAW_PROBLEMS[name].law.dimensions == 1 else 32
        return law_benchmark(LAW_PROBLEMS[name], Sweep(grids=(cells, 2 * cells)), {}, simulations=2, seed=0)
    configuration = PROBLEMS.find(name).settings()
    problem, key = build_problem(configuration, "test"), jax.random.key(0)
    return problem_benchmark(
        FRONTS.find(name), problem, configuration, Sweep(quick=True), {}, {}, simulations=2, key=key
    )


def timed(name: str, repetitions: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of a step of the coarse solver, and of it with each kind of closure, in turns."""
    benchmark = benchmark_of(name)
    base = benchmark.methods[
        benchmark.uncorrected or next(n for n, m in benchmark.methods.items() if m.role is Role.UNCORRECTED)
    ]
    methods = {"coarse": base, **benchmark.kinds}
    works = {n: lambda members, method=method: benchmark.work(method, members) for n, method in methods.items()}
    found = time_steps(works, Timing(8, repetitions, 0.1, "processor"), print)
    return {
        n: {call: [float(f"{t:.5g}") for t in getattr(each, call).turns] for call in CALLS} for n, each in found.items()
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="p and k of all problems, for docs/when-closures-pay.md.")
    parser.add_argument("--kinds", nargs="*", metavar="PROBLEM", help="time the kinds of closures (default: of all)")
    parser.add_argument("--repetitions", type=int, default=9, help="turns")
    options = parser.parse_args()
    kinds = RESULTS / "criterion" / "kinds.json"
    known = json.loads(kinds.read_text()) if kinds.exists() else {"problems": {}}
    if options.kinds is not None:
        jax.config.update("jax_enable_x64", True)
        for name in options.kinds or PROBLEMS.names():
            known["problems"][name] = timed(name, options.repetitions)
            known["environment"] = describe_environment()
            kinds.parent.mkdir(exist_ok=True)
            kinds.write_text(json.dumps(known, indent=1) + "\n")
        return
    rows = []
    for path in sorted((RESULTS / "fronts").glob("*.json")):
        results = opened(path)
        if path.stem not in CORRECTED and CLOSURE_COST not in results.data:
            continue
        results = with_kinds(results, known["problems"].get(results.problem, {}))
        last = [view for view in views(results) if view.reference == list(Fronts(results).references)[-1]]
        same = {"file": path.stem, "problem": results.problem, "simulations": results.simulations}
        rows += [same | row for row in criterion_rows(results, last)]
    write_rows(rows, RESULTS / "criterion" / "criterion.csv")
    for row in rows:
        if row["calls"] == "single":
            print(row["file"], row["what"], *(f"{n} {row[n]}" for n in ("k", "p", "p_low", "p_high", "needed", "gain",
                  "margin", "margin_low", "margin_high", "verdict") if row.get(n) not in (None, "")))  # fmt: skip


if __name__ == "__main__":
    main()
