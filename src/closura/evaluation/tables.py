"""The table of an evaluation: for the terminal, as CSV, as JSON.

Percent for people (terminal, CSV columns that say so), fractions in JSON. Tables at chosen steps and for groups
of simulations are in :mod:`closura.evaluation.breakdowns`.
"""

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from closura.evaluation.breakdowns import breakdowns
from closura.evaluation.numbers import summary
from closura.evaluation.results import Evaluation
from closura.evaluation.terminal import print_rows
from closura.evaluation.words import bounded, count, infinite, mean_and_std, short
from closura.files import write_atomically

_WIDE = 128  # the terminal table is cut in two on a narrower one

Part = Literal["all", "accuracy", "cost"]


class _Column(NamedTuple):
    """Heading, the part of a narrow table that it belongs to, and the cell of a method's numbers."""

    heading: str
    part: Literal["accuracy", "cost"]
    cell: Callable[[str, dict[str, Any]], str]


def _columns(evaluation: Evaluation, published: bool) -> list[_Column]:
    def improvement(key: str, name: str, entry: dict[str, Any]) -> str:
        number = entry[key]
        compared = name in evaluation.judged and name != evaluation.baseline and number is not None
        return bounded(100 * number, "+.1f") if compared else "–"

    def steps(_: str, entry: dict[str, Any]) -> str:
        found = entry["steps_below_threshold"]
        at_least = "≥ " if found["censored"] and not published else ""
        return f"{at_least}{bounded(found['mean'], '.1f')} ± {bounded(found['std'], '.1f')}"

    def on_base(name: str, entry: dict[str, Any]) -> str:
        text = improvement("improvement_on_base", name, entry) if entry["base"] else "–"
        return text if text == "–" else f"{text} ({entry['base']})"

    def harm(_: str, entry: dict[str, Any]) -> str:
        found = entry["worse_than_base"]
        return "–" if found is None else f"{found['simulations']} of {found['n']}"

    error = evaluation.error_key
    columns = [
        _Column(
            f"{evaluation.error_name} (%) at {evaluation.moment(evaluation.steps)}",
            "accuracy",
            lambda _, e: mean_and_std(e[error]),
        ),
        _Column("median (%)", "accuracy", lambda _, e: infinite(e[error]["median"])),
    ]
    if evaluation.scale is not None:
        initial = "relative_to_initial"
        columns.append(_Column("of initial field (%)", "accuracy", lambda _, e: mean_and_std(e[initial])))
    columns.append(_Column(f"on {evaluation.baseline} (%)", "accuracy", lambda n, e: improvement("improvement", n, e)))
    if any(base != evaluation.baseline for base in evaluation.bases.values()):
        columns.append(_Column("on its base (%)", "accuracy", on_base))
    columns += [
        _Column(f"steps below {100 * evaluation.threshold:g} %", "accuracy", steps),
        _Column("median", "accuracy", lambda _, e: f"{e['steps_below_threshold']['median']:g}"),
    ]
    if any(method.mass_error is not None for method in evaluation.methods.values()):
        columns.append(
            _Column(
                f"{evaluation.quantity} error (%)",
                "cost",
                lambda _, e: "–" if e["mass_error"] is None else mean_and_std(e["mass_error"]),
            )
        )
    columns.append(_Column("diverged", "cost", lambda _, e: str(e["diverged"])))
    if evaluation.closures:
        columns.append(_Column("ever worse than base", "cost", harm))
    columns += [
        _Column("ms per step", "cost", lambda _, e: short(e["milliseconds_per_step"])),
        _Column("ms per simulation", "cost", lambda _, e: short(e["milliseconds_per_simulation"])),
        _Column("parameters", "cost", lambda _, e: "–" if e["parameters"] is None else f"{e['parameters']:,}"),
    ]
    return columns


def table_rows(
    evaluation: Evaluation, *, part: Part = "all", published: bool = False
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings and, for each method, its name and its formatted cells (percent, milliseconds).

    The first heading belongs to the name. Used by the terminal table and the report.
    """
    columns = [c for c in _columns(evaluation, published) if part in ("all", c.part)]
    numbers = summary(evaluation, published=published)["methods"]
    rows = [(name, [column.cell(name, entry) for column in columns]) for name, entry in numbers.items()]
    return ["method", *(column.heading for column in columns)], rows


def footnotes(evaluation: Evaluation) -> list[str]:
    """What must stand beneath the table: how many simulations, which data, how diverged ones count."""
    lines = [
        f"n = {count(evaluation.simulations, 'simulation')} of {count(evaluation.steps, 'step')} "
        f"(time {evaluation.steps * evaluation.time_step:.4g}), from the same initial states "
        "for all methods. mean ± population standard deviation over simulations; "
        f"“on {evaluation.baseline}”: relative improvement of the mean, positive is better.",
        evaluation.description.get("split", "No statement was given on how evaluation data were held out."),
    ]
    if evaluation.scale is not None:
        lines.append(
            "Errors are relative to the true field at the same time; “of initial field”: the same relative to the "
            "true field at the beginning, of which at the end "
            f"{short(100 * float(evaluation.scale[:, -1].mean()))} % are left on average."
        )
    if evaluation.closures:
        lines.append(
            "“Ever worse than base”: simulations in which the error is larger than that of the solver which the "
            "closure corrects, at any step."
        )
    if any(method.diverged for method in evaluation.methods.values()):
        lines.append(
            "Diverged simulations are counted and kept: they make the mean infinite (∞; in brackets the mean "
            "of the finite ones) and count as the largest values in the median."
        )
    censored = [entry["steps_below_threshold"]["censored"] for entry in summary(evaluation)["methods"].values()]
    if any(censored):
        lines.append("≥: simulations that never exceeded the threshold count as all simulated steps.")
    return lines


def print_table(evaluation: Evaluation, *, console: Console | None = None, published: bool = False) -> None:
    """Print the tables to the terminal: all methods (in two parts where it is narrow), chosen steps, groups.

    What must stand beneath the table, the number of simulations and the split statement among it, does.
    """
    console = console or Console()
    parts: tuple[Part, ...] = ("all",) if console.width >= _WIDE else ("accuracy", "cost")
    for part in parts:
        headings, rows = table_rows(evaluation, part=part, published=published)
        print_rows(
            console,
            headings,
            rows,
            title=evaluation.problem if part != "cost" else "",
            note="\n".join(footnotes(evaluation)) if part != "accuracy" else "",
            bold=evaluation.closures,
        )
    for breakdown in breakdowns(evaluation):
        if breakdown.shown:
            learned = evaluation.closures if breakdown.headings[0] == "method" else ()
            print_rows(
                console, breakdown.headings, breakdown.rows, title=breakdown.title, note=breakdown.notes, bold=learned
            )


_SPREAD = ("mean", "std", "median", "max", "mean_of_finite")
_STEPS = ("mean", "std", "median", "censored")
_PLAIN = ("diverged", "milliseconds_per_step", "milliseconds_per_simulation", "parameters")
CSV_COLUMNS = (
    *("problem", "method", "steps", "time", "simulations"),
    *(f"relative_mae_{key}_percent" for key in _SPREAD),
    *(f"relative_to_initial_{key}_percent" for key in _SPREAD),
    *("improvement_percent", "base", "improvement_on_base_percent", "ever_worse_than_base", "threshold_percent"),
    *(f"steps_below_threshold_{key}" for key in _STEPS),
    *("mass_error_mean_percent", "mass_error_std_percent"),
    *_PLAIN,
    "split",
)


def write_csv(evaluation: Evaluation, path: str | Path, *, published: bool = False) -> Path:
    """Write one row for each method; empty cells where a number does not exist or is not finite."""
    numbers = summary(evaluation, published=published)
    text = io.StringIO()
    called = evaluation.error_key
    columns = [column.replace("relative_mae", called) for column in CSV_COLUMNS]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for name, entry in numbers["methods"].items():
        error, steps, mass = entry[called], entry["steps_below_threshold"], entry["mass_error"] or {}
        initial = entry.get("relative_to_initial", {})
        row = {
            "problem": evaluation.problem,
            "method": name,
            "steps": evaluation.steps,
            "time": numbers["time"],
            "simulations": evaluation.simulations,
            **{f"{called}_{key}_percent": _hundred(error[key]) for key in _SPREAD},
            **{f"relative_to_initial_{key}_percent": _hundred(initial.get(key)) for key in _SPREAD},
            "improvement_percent": _hundred(entry["improvement"]),
            "base": entry["base"],
            "improvement_on_base_percent": _hundred(entry["improvement_on_base"]),
            "ever_worse_than_base": (entry["worse_than_base"] or {}).get("simulations"),
            "threshold_percent": _hundred(evaluation.threshold),
            **{f"steps_below_threshold_{key}": steps[key] for key in _STEPS},
            **{f"mass_error_{key}_percent": _hundred(mass.get(key)) for key in ("mean", "std")},
            **{key: entry[key] for key in _PLAIN},
            "split": evaluation.description.get("split", ""),
        }
        writer.writerow({key: "" if value is None else value for key, value in row.items()})
    return write_atomically(path, text.getvalue())


def write_json(
    evaluation: Evaluation, path: str | Path, *, reference: str | None = None, published: bool = False
) -> Path:
    """Write :func:`closura.evaluation.numbers.summary` as JSON without NaN or Infinity."""
    numbers = summary(evaluation, reference=reference, published=published)
    return write_atomically(path, json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def _hundred(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else 100 * value
