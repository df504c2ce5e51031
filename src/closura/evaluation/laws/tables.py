"""Tables of an evaluation: for the terminal and the report, as CSV, as JSON."""

import csv
import io
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from closura.evaluation.laws.measure import Score, observed_order
from closura.evaluation.laws.methods import rival_of
from closura.evaluation.laws.simulate import NEGATIVE
from closura.evaluation.laws.study import LawEvaluation
from closura.files import write_atomically
from closura.problems.laws.march import positivity_limit
from closura.reporting.formatting import bounded
from closura.reporting.terminal import print_rows

NORMS = ("l2", "l1", "linf")
_WORDS = ("initial condition", "family", "rival", "compared with", "failed")
NORM_NAMES = {"l1": "L1", "l2": "L2", "linf": "L∞"}


class Block(NamedTuple):
    """One table: a title, headings (the first belongs to the row's name), rows, words beneath."""

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]
    note: str = ""


def error_block(evaluation: LawEvaluation, norm: str) -> Block:
    """Errors of all methods from all initial conditions on all grids, and the geometric means with their ratios."""
    study = evaluation.study
    several = len(study.initial) > 1
    rows = []
    for name in evaluation.methods:
        for initial in study.initial:
            scores = [evaluation.scores[name][initial][cells] for cells in study.cells]
            rows.append((name, [initial, *(_error(score, norm) for score in scores)]))
        if several:
            rows.append((name, ["geometric mean", *(number(evaluation.mean(name, n, norm)) for n in study.cells)]))
        rival = rival_of(name, evaluation.methods)
        if rival != name:
            ratios = [ratio(evaluation.ratio(name, n, norm)) for n in study.cells]
            rows.append((name, [f"by that of {rival}", *ratios]))
    title = f"{NORM_NAMES[norm]} error of {study.problem.quantity} at the end"
    headings = ["method", "initial condition", *(f"N = {n}" for n in study.cells)]
    return Block(title, headings, rows, note(evaluation))


def summary_block(evaluation: LawEvaluation, norm: str, *, brief: bool = False) -> Block:
    """Geometric means over the initial conditions, by those of the rival, with the cost of a step.

    ``brief`` leaves out what a narrow terminal has no room for.
    """
    study = evaluation.study
    lost = [failure["method"] for failure in evaluation.failures]
    rows = []
    for name, method in evaluation.methods.items():
        rival, cells = rival_of(name, evaluation.methods), []
        for n in study.cells:
            text = number(evaluation.mean(name, n, norm))
            cells.append(text if rival == name else f"{text} ({ratio(evaluation.ratio(name, n, norm))})")
        if lost or not brief:
            cells.append(str(lost.count(name)))
        if evaluation.cost:
            cells.append(f"{evaluation.cost[name]:.3g}")
        if not brief:
            cells += ["–" if method.parameters is None else f"{method.parameters:,}", rival]
        rows.append((name, cells))
    headings = ["method", *(f"N = {n}" for n in study.cells)]
    headings += ["diverged"] if lost or not brief else []
    headings += [f"ms per step (N = {study.drawn_cells})"] if evaluation.cost else []
    headings += [] if brief else ["parameters", "compared with"]
    count = len(study.initial)
    what = f"geometric mean over {count} initial conditions" if count > 1 else next(iter(study.initial))
    title = f"{NORM_NAMES[norm]} error of {study.problem.quantity}, {what}"
    words = "In brackets: by that of WENO-JS on the same stencil, or of what stands for it. " + note(evaluation)
    return Block(title, headings, rows, words)


def order_block(evaluation: LawEvaluation, norm: str) -> Block:
    """Observed orders between each grid and the next."""
    study = evaluation.study
    grids = sorted(study.cells)
    rows = []
    for name in evaluation.methods:
        for initial in study.initial:
            errors = [evaluation.error(name, initial, n, norm) for n in grids]
            rows.append((name, [initial, *(bounded(p, ".2f") for p in observed_order(errors, grids))]))
        if len(study.initial) > 1:
            errors = [evaluation.mean(name, n, norm) for n in grids]
            rows.append((name, ["geometric mean", *(bounded(p, ".2f") for p in observed_order(errors, grids))]))
    pairs = [f"{a} to {b}" for a, b in pairwise(grids)]
    return Block(f"Observed order in {NORM_NAMES[norm]}", ["method", "initial condition", *pairs], rows)


def physics_block(evaluation: LawEvaluation) -> Block:
    """What else was measured, on the grid of figures."""
    study = evaluation.study
    cells = study.drawn_cells
    rows = []
    for name in evaluation.methods:
        for initial, condition in study.initial.items():
            score = evaluation.scores[name][initial][cells]
            spacing = condition.extent[0] / cells
            rows.append(
                (
                    name,
                    [
                        initial,
                        bounded(score.variation, ".4g"),
                        bounded(score.variation_excess, "+.2e"),
                        bounded(score.shock, ".2e"),
                        bounded(None if score.shock is None else score.shock / spacing, ".3f"),
                        bounded(score.conservation, ".1e"),
                        f"{score.steps:.0f}",
                        failure_text(score) if score.diverged else "–",
                    ],
                )
            )
    headings = [
        *("method", "initial condition", "total variation", "more than the solution's", "shock off by", "in cells"),
        *("conservation error", "steps", "failed"),
    ]
    note = (
        "Shocks: centroid of the steepest front against the exact place, mean over the shocks of the exact solution. "
        "Conservation: relative change of the total, where all ends are periodic or reflecting; other ends let it pass."
    )
    return Block(f"Variation, shocks, conservation (N = {cells})", headings, rows, note)


def scatter_block(evaluation: LawEvaluation) -> Block | None:
    """Random initial conditions: means, ratios, wins."""
    if evaluation.scatter is None:
        return None
    rows = []
    for row in evaluation.scatter.summary(evaluation.methods):
        same = row["rival"] == row["method"]
        cells = [
            str(row["family"]), str(row["n"]), number(row["mean"]), "–" if same else ratio(row["ratio"]),
            "–" if same else f"{100 * row['better']:.0f} %", str(row["diverged"]), str(row["rival"]),
        ]  # fmt: skip
        rows.append((str(row["method"]), cells))
    norm = NORM_NAMES[evaluation.scatter.norm]
    headings = ["method", "family", "n", f"{norm} mean", "ratio", "better in", "diverged", "rival"]
    note = (
        "Random initial conditions of the published families with continuous parameters, N = int(2^U(6, 10)) cells "
        f"({min(evaluation.scatter.cells)} to {max(evaluation.scatter.cells)}). Geometric means are over those that "
        "neither method lost; lost ones count as worse."
    )
    return Block("Random initial conditions", headings, rows, note)


def note(evaluation: LawEvaluation) -> str:
    """What was run, in one line."""
    study = evaluation.study
    dynamics = next(iter(evaluation.methods.values())).dynamics
    length = f"Courant number {study.steps.courant:g}"
    if study.steps.time_step is not None:
        length = f"time step {study.steps.time_step:g}"
    ends = sorted({study.end(condition) for condition in study.initial.values()})
    end = f"t = {ends[0]:g}" if len(ends) == 1 else "each initial condition's own time"
    text = f"{dynamics.integrator}, {length}, up to {end}; {dynamics.splitting} splitting, {dynamics.projection}-wise"
    text = text.replace("transposed-wise", "transposed characteristic projection")
    if study.shifts:
        text += f"; mean over {study.shifts} random shifts by less than a cell where the initial condition allows it"
    elif any(condition.can_be_shifted for condition in study.initial.values()):
        text += "; not averaged over where fronts stand in their cells, which is luck (--shifts 16 does)"
    return text + "."


def failure_text(score: Score) -> str:
    """First bad step and cell."""
    cell = ", ".join(map(str, score.failed_cell or ()))
    place = f"step {score.failed_step}, cell {cell}: " if score.failed_step is not None else ""
    return f"{place}{score.failure}"


def failure_lines(evaluation: LawEvaluation) -> list[str]:
    """One sentence for every simulation that diverged."""
    return [
        f"{f['method']} failed from {f['initial']} on {f['cells']} cells at step {f['step']} in cell "
        f"{', '.join(map(str, f['cell']))} ({f['what']}){_remedy(evaluation, f)}"
        for f in evaluation.failures
    ]


def _remedy(evaluation: LawEvaluation, failure: dict[str, Any]) -> str:
    """What is left to try after a failure, by what was wrong and what was done already; nothing where nothing is."""
    study, dynamics = evaluation.study, evaluation.methods[failure["method"]].dynamics
    systems = len(study.problem.law.components) > 1
    limit = positivity_limit(dynamics.integrator)
    if failure["what"] == NEGATIVE:
        # A scheme that undershoots does so at any step: what keeps density and pressure positive is the limiter.
        if limit is None:
            return ": --positivity with --integrator ssp-rk3 and --courant 0.5 or less may help"
        beyond = study.steps.time_step is None and study.steps.courant > limit
        short = f" with --courant {limit:g} or less" if beyond else ""
        if not dynamics.positivity:
            return f": --positivity{short} may help"
        return f": the limiter needs --courant {limit:g} or less" if beyond else ""
    found = ["--projection characteristic"] if systems and dynamics.projection == "component" else []
    found.append("a smaller " + ("--time-step" if study.steps.time_step is not None else "--courant"))
    return f": {' or '.join(found)} may help"


def print_tables(evaluation: LawEvaluation, console: Console) -> None:
    """The tables that a person wants at once."""
    main = evaluation.study.problem.norm
    other = "l1" if main == "l2" else "l2"
    blocks = [error_block(evaluation, main)]
    if len(evaluation.study.cells) > 1:
        blocks.append(order_block(evaluation, main))
    blocks += [summary_block(evaluation, norm, brief=True) for norm in (other, main)]
    scattered = scatter_block(evaluation)
    for block in [*blocks, *([scattered] if scattered else [])]:
        print_rows(
            console, block.headings, block.rows, title=f"{block.title}:", note=block.note, bold=evaluation.closures,
            left=_WORDS,
        )  # fmt: skip
    for line in failure_lines(evaluation):
        console.print(line, soft_wrap=True)


def as_json(evaluation: LawEvaluation) -> dict[str, Any]:
    """``problem`` and ``methods`` as documented for ``--json``, and further facts beside them; None: not finite."""
    study = evaluation.study
    methods = {
        name: {
            initial: {
                str(cells): {
                    **{norm: finite(score.error(norm)) for norm in ("l1", "l2", "linf")},
                    "diverged": score.diverged,
                }
                for cells, score in by_cells.items()
            }
            for initial, by_cells in by_initial.items()
        }
        for name, by_initial in evaluation.scores.items()
    }
    details = {
        name: {
            initial: {
                str(cells): {
                    "total_variation": finite(score.variation),
                    "total_variation_excess": finite(score.variation_excess),
                    "conservation_error": finite(score.conservation),
                    "shock_position_error": finite(score.shock),
                    "steps": finite(score.steps),
                    "simulations": score.simulations,
                }
                for cells, score in by_cells.items()
            }
            for initial, by_cells in by_initial.items()
        }
        for name, by_initial in evaluation.scores.items()
    }
    means = {
        name: {
            str(cells): {
                norm: {
                    "geometric_mean": finite(evaluation.mean(name, cells, norm)),
                    "ratio": finite(evaluation.ratio(name, cells, norm)),
                    "rival": rival_of(name, evaluation.methods),
                }
                for norm in NORMS
            }
            for cells in study.cells
        }
        for name in evaluation.methods
    }
    facts: dict[str, Any] = {"problem": study.problem.name, "methods": methods, "means": means, "details": details}
    facts["failures"] = evaluation.failures
    if evaluation.cost:
        facts["milliseconds_per_step"] = {name: finite(value) for name, value in evaluation.cost.items()}
    if evaluation.scatter is not None:
        rows = evaluation.scatter.summary(evaluation.methods)
        facts["scatter"] = [{k: finite(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    facts["settings"] = dict(evaluation.settings)
    return facts


def write_json(evaluation: LawEvaluation, path: str | Path) -> Path:
    """Write :func:`as_json` without NaN or Infinity."""
    return write_atomically(path, json.dumps(as_json(evaluation), indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(evaluation: LawEvaluation, path: str | Path) -> Path:
    """One row for each simulation; empty cells where a number does not exist or is not finite."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ["l1", "l2", "linf", "variation", "variation_excess", "conservation", "shock", "steps", "simulations"]
    writer.writerow(["problem", "method", "initial", "cells", *columns, "diverged", "failed_step", "failed_cell"])
    for name, by_initial in evaluation.scores.items():
        for initial, by_cells in by_initial.items():
            for cells, score in by_cells.items():
                values = [finite(getattr(score, column)) for column in columns]
                place = [score.failed_step, " ".join(map(str, score.failed_cell or ()))]
                row = [evaluation.study.problem.name, name, initial, cells, *values, int(score.diverged), *place]
                writer.writerow(["" if value is None else value for value in row])
    return write_atomically(path, text.getvalue())


def finite(value: float | int | None) -> float | int | None:
    """None for what JSON does not know."""
    return None if value is None or not math.isfinite(value) else value


def number(value: Any) -> str:
    """An error: four digits with an exponent, as published tables have them; ∞ for diverged ones."""
    return bounded(value, ".3e")


def ratio(value: Any) -> str:
    """A ratio of errors."""
    return bounded(value, ".3f")


def _error(score: Score, norm: str) -> str:
    return number(score.error(norm))
