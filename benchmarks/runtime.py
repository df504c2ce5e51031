"""The run-time table of Closure-RL (table 5), how costs grow with the grid, and where the time of a training goes.

    taskset -c 2,3 python benchmarks/runtime.py

Three parts (choose with ``--parts``; ``--quick`` only checks that everything runs):

table
    Milliseconds per coarse step of every method, for one simulation, beside the published times and ratios.
growth
    The same for a few methods from 16 to 256 points per side, with the exponent p of time ~ (points per side)^p.
training
    How the wall time of one update divides over fine solver, coarse solver, network, update and the rest.

How it is measured. Everything is compiled and run before the clock starts. A step is timed inside a compiled loop of
as many steps as make one repetition some tenths of a second long; networks have random weights, which cost the same
as trained ones. The cases of a part take turns, so that a disturbance hits all of them, and a number is the median
over the repetitions with its quartiles. Physics are our defaults, save that Burgers has the published time step and
fine solver.

How the parts of a training are measured, ``runtime_training.py`` says. Everything runs in one process.
"""

import argparse
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from runtime_training import show_training, training
from timing import Case, begin, coarse_step, loop, markdown, measure, network, number, reference_step

from closura.core import Role
from closura.problems import AdvectionConfiguration, BurgersConfiguration, Problem, build_problem
from closura.problems.burgers_setup import burgers
from closura.reporting.style import figure_settings, method_styles, new_figure, plain_log_axis, save_figure
from closura.runs.environment import describe_environment

PARTS = ("table", "growth", "training")
PROBLEMS = ("advection", "burgers")
RESULTS = Path(__file__).with_name("results")
# Milliseconds per coarse step, table 5 of arXiv:2402.00972 (solvers on a server's processor, network on an A100).
PUBLISHED = {
    "advection": {"CGS": 0.31, "ACGS": 0.96, "Closure-RL": 2.66, "FGS": 89.52},
    "burgers": {"CGS": 0.25, "Closure-RL": 1.82, "FGS": 10.16},
}
# The published code, NumPy and PyTorch, on one thread of a server's processor: milliseconds per coarse step. It works
# in float64 wherever it draws velocities in float64, that is in all but the vortex family.
PUBLISHED_CODE = {
    "advection": {
        **{"CGS": "0.11", "ACGS": "0.48", "Closure-RL": "20-22", "FGS d=4": "3.7-3.9", "FGS d=4, float64": "8-10"},
        **{"FGS d=8": "21-23", "FGS d=8, float64": "115-122"},
    },
    "burgers": {"CGS": "0.14", "Closure-RL": "5.0-5.3", "FGS d=5, float64": "6.6-9.4"},
}
# The rows that the paper's fine solver corresponds to. Its text says d = 4 for advection, but its time and its
# notebook's are those of d = 8.
PUBLISHED_FGS = {"advection": "FGS d=8, float64", "burgers": "FGS d=5, float64"}


def methods(problem: Problem, names: Iterable[str], *, seconds: float) -> dict[str, Case]:
    """Cases of the coarse solver, baselines, closures and the reference ("FGS") of a problem, by name."""
    initial = begin(problem)
    networks = {"Closure-RL": "ircnn", "compact": "compact"}
    cases = {}
    for name in names:
        if name == "FGS":
            cases[name] = loop(reference_step(problem, initial), initial.reference, seconds=seconds)
            continue
        solver, closure = problem.coarse, None
        if name in networks:
            closure = network(networks[name], problem.spec, explores=name == "Closure-RL")
        elif name != problem.names[0]:
            solver = problem.baselines[name]
        cases[name] = loop(coarse_step(problem, initial.parameters, closure, solver), initial.state, seconds=seconds)
    return cases


def table(repetitions: int, quick: bool) -> dict[str, Any]:
    """Table 5: milliseconds per coarse step, for each problem."""
    seconds = 0.002 if quick else 0.2
    return {
        "advection": _advection_table(repetitions, quick, seconds),
        "burgers": _burgers_table(repetitions, quick, seconds),
    }


def _advection_table(repetitions: int, quick: bool, seconds: float) -> dict[str, Any]:
    base = AdvectionConfiguration(cells=8 if quick else 64)
    names = ("CGS", "ACGS", "upwind5", "Closure-RL", "compact")
    cases = methods(build_problem(base), names, seconds=seconds)
    for ratio in (4, 8):
        for precision in ("float32", "float64"):
            finer = build_problem(replace(base, ratio=ratio, precision=precision))
            name = f"FGS d={ratio}" + (", float64" if precision == "float64" else "")
            cases[name] = methods(finer, ["FGS"], seconds=seconds)["FGS"]
    return _timed("advection", cases, repetitions, base.cells, {})


def _burgers_table(repetitions: int, quick: bool, seconds: float) -> dict[str, Any]:
    base = BurgersConfiguration(cells=8 if quick else 30)
    as_published = burgers.published(base)
    single = build_problem(replace(as_published, precision="float32"))
    cases = methods(single, ("CGS", "upwind3", "upwind5", "Closure-RL", "compact", "FGS"), seconds=seconds)
    cases["FGS d=5"] = cases.pop("FGS")
    cases["FGS d=5, float64"] = methods(build_problem(as_published), ["FGS"], seconds=seconds)["FGS"]
    cases["upwind5 d=5"] = methods(build_problem(base), ["FGS"], seconds=seconds)["FGS"]
    note = (
        f"the fine solver of our default, upwind5 with RK4 in {base.fine_steps} fine steps per coarse step of "
        f"{base.courant:g} dx; the coarse step of all other rows is {as_published.courant:g} dx"
    )
    return _timed("burgers", cases, repetitions, base.cells, {"upwind5 d=5": note})


def _timed(problem: str, cases: dict[str, Case], repetitions: int, cells: int, notes: dict[str, str]) -> dict[str, Any]:
    times, theirs, slowest = measure(cases, repetitions), PUBLISHED[problem], PUBLISHED_FGS[problem]
    cheapest = next(name for name in times if name.startswith("FGS"))
    rows = {}
    for name, found in times.items():
        known = theirs["FGS"] if name == slowest else theirs.get(name)
        rows[name] = {
            **asdict(found),
            "times_cgs": found.median / times["CGS"].median,
            "speed_up": {fine: times[fine].median / found.median for fine in (cheapest, slowest)},
            "published": known,
            "published_times_cgs": known and known / theirs["CGS"],
            "published_speed_up": known and theirs["FGS"] / known,
            "published_code": PUBLISHED_CODE[problem].get(name),
        }
    return {"cells": cells, "rows": rows, "notes": notes}


def show_table(found: dict[str, Any]) -> None:
    """Print table 5."""
    for problem, part in found.items():
        references = list(next(iter(part["rows"].values()))["speed_up"])
        print(f"\n{problem}, {part['cells']} x {part['cells']}: milliseconds per coarse step")
        columns = ["method", "ms", "quartiles", "/ CGS", *(f"{name} / it" for name in references)]
        columns += ["paper: ms", "/ CGS", "FGS / it", "published code, one thread: ms"]
        lines = []
        for name, row in part["rows"].items():
            line = [name, number(row["median"]), f"{number(row['lower'])}-{number(row['upper'])}"]
            line += [number(row["times_cgs"]), *(number(row["speed_up"][reference]) for reference in references)]
            line += [number(row[key]) for key in ("published", "published_times_cgs", "published_speed_up")]
            lines.append([*line, row["published_code"] or ""])
        markdown(columns, lines)
        for name, note in part["notes"].items():
            print(f"\n{name}: {note}.")


def growth(repetitions: int, quick: bool) -> dict[str, Any]:
    """Milliseconds per step of advection on growing grids, reference on four times as many points per side."""
    sizes = (8, 16) if quick else (16, 32, 64, 128, 256)
    names = {"CGS": "CGS", "compact": "compact closure", "Closure-RL": "IRCNN (Closure-RL)", "FGS": "FGS d=4"}
    if quick:
        del names["Closure-RL"]
    cases = {}
    for cells in sizes:
        problem = build_problem(AdvectionConfiguration(cells=cells))
        found = methods(problem, names, seconds=0.002 if quick else 0.1)
        cases |= {f"{name} {cells}": case for name, case in found.items()}
    times = measure(cases, repetitions)
    result: dict[str, Any] = {"cells": list(sizes), "methods": {}}
    for name, label in names.items():
        series = [times[f"{name} {cells}"] for cells in sizes]
        medians = [found.median for found in series]
        result["methods"][label] = {
            "times": [asdict(found) for found in series],
            "exponent": exponent(sizes, medians),
            "exponent_of_largest_three": exponent(sizes[-3:], medians[-3:]),
        }
    return result


def exponent(sizes: Iterable[int], milliseconds: Iterable[float]) -> float:
    """Least-squares slope p of log time over log points per side: time ~ N^p."""
    return float(np.polyfit(np.log(np.asarray(list(sizes), float)), np.log(list(milliseconds)), 1)[0])


def show_growth(found: dict[str, Any]) -> None:
    """Print times by grid and the exponents."""
    print("\nadvection: milliseconds per coarse step by points per side, exponent p of time ~ N^p (2: per point)")
    columns = ["method", *(str(cells) for cells in found["cells"]), "p", "p, largest three"]
    lines = [
        [
            name,
            *(number(one["median"]) for one in row["times"]),
            *(f"{row[key]:.2f}" for key in ("exponent", "exponent_of_largest_three")),
        ]
        for name, row in found["methods"].items()
    ]
    markdown(columns, lines)


def draw_growth(found: dict[str, Any], path: Path) -> None:
    """The times over points per side, both logarithmic, with the quartiles as bars."""
    cells = np.asarray(found["cells"], float)
    roles = {"CGS": Role.UNCORRECTED, "FGS d=4": Role.REFERENCE}
    styles = method_styles({name: roles.get(name, Role.CLOSURE) for name in found["methods"]})
    with figure_settings():
        figure = new_figure(5.6, 4.2)
        axes = figure.add_subplot()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for name, row in found["methods"].items():
            style = styles[name]
            low, middle, high = (np.asarray([t[key] for t in row["times"]]) for key in ("lower", "median", "upper"))
            axes.errorbar(
                cells, middle, yerr=np.maximum([middle - low, high - middle], 0),
                label=f"{name}: p = {row['exponent']:.2f}",
                color=style.colour, linestyle=style.line, marker=style.marker, linewidth=style.width, capsize=3,
            )  # fmt: skip
        first = next(iter(found["methods"].values()))["times"][0]["median"]
        axes.plot(cells, first * (cells / cells[0]) ** 2, color="#bbbbbb", linewidth=1, label="slope 2: per point")
        axes.set_xticks(cells, [f"{int(n)}" for n in cells])
        axes.minorticks_off()
        plain_log_axis(axes)
        axes.set_xlabel("coarse points per side, N")
        axes.set_ylabel("milliseconds per coarse step")
        axes.set_title("advection: cost of a step, time ~ N$^p$")
        axes.legend()
        save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure the chosen parts in this one process, print tables, write JSON and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="of part training")
    parser.add_argument("--repeats", type=int, default=15, help="repetitions of table and growth")
    parser.add_argument("--training-repeats", type=int, default=5)
    parser.add_argument("--episode", type=int, default=50, help="steps per episode of PPO as published")
    parser.add_argument("--quick", action="store_true", help="a smoke test: the numbers mean nothing")
    parser.add_argument("--json", type=Path, help="default: results/runtime.json; with --quick none")
    options = parser.parse_args(arguments)
    path = options.json or (None if options.quick else RESULTS / "runtime.json")
    # float64 rows need it; float32 arrays stay float32.
    jax.config.update("jax_enable_x64", True)
    repeats, training_repeats = (1, 1) if options.quick else (options.repeats, options.training_repeats)
    record: dict[str, Any] = {
        "environment": describe_environment(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "load_before": list(os.getloadavg()),
        "repetitions": {"table": repeats, "growth": repeats, "training": training_repeats},
    }
    machine = record["environment"]
    print(
        f"{machine['processor']}, {machine['processors']} processors visible, {machine['backend']}, "
        f"JAX {machine['packages']['jax']}, load {record['load_before'][0]:.2f}"
    )
    if "table" in options.parts:
        record["table"] = table(repeats, options.quick)
        show_table(record["table"])
    if "growth" in options.parts:
        record["growth"] = growth(repeats, options.quick)
        show_growth(record["growth"])
    if "training" in options.parts:
        episode = 4 if options.quick else options.episode
        record["training"] = training(training_repeats, options.quick, episode, options.problems)
        show_training(record["training"])
    record["load_after"] = list(os.getloadavg())
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
        if "growth" in record:
            draw_growth(record["growth"], path.with_name(f"{path.stem}-growth.png"))
    return record


if __name__ == "__main__":
    main()
