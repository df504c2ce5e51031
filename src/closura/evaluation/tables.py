"""The table of an evaluation: for the terminal, as CSV, as JSON.

Percent for people (terminal, CSV columns that say so), fractions in JSON.
"""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from closura.evaluation.metrics import summary
from closura.evaluation.results import Evaluation
from closura.files import write_atomically

# Columns of the terminal table, and where it is cut in two on a narrow terminal.
_ACCURACY = 6
_WIDE = 128


def table_rows(evaluation: Evaluation, *, published: bool = False) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings and, for each method, its name and its formatted cells (percent, milliseconds).

    The first heading belongs to the name. Used by the terminal table and the report.
    """
    numbers = summary(evaluation, published=published)
    headings = [
        "method",
        f"relative MAE (%) at step {evaluation.steps}",
        "median (%)",
        f"on {evaluation.baseline} (%)",
        f"steps below {100 * evaluation.threshold:g} %",
        "median",
        "mass error (%)",
        "diverged",
        "ms per step",
        "ms per simulation",
        "parameters",
    ]
    rows = []
    for name, entry in numbers["methods"].items():
        error, steps, mass = entry["relative_mae"], entry["steps_below_threshold"], entry["mass_error"]
        at_least = "≥ " if steps["censored"] and not published else ""
        improvement = entry["improvement"]
        compared = name in evaluation.judged and name != evaluation.baseline and improvement is not None
        cells = [
            _mean_and_std(error),
            _infinite(error["median"]),
            f"{100 * improvement:+.1f}" if compared else "–",
            f"{at_least}{steps['mean']:.1f} ± {steps['std']:.1f}",
            f"{steps['median']:g}",
            "–" if mass is None else _mean_and_std(mass),
            str(entry["diverged"]),
            _short(entry["milliseconds_per_step"]),
            _short(entry["milliseconds_per_simulation"]),
            "–" if entry["parameters"] is None else f"{entry['parameters']:,}",
        ]
        rows.append((name, cells))
    return headings, rows


def footnotes(evaluation: Evaluation) -> list[str]:
    """What must stand beneath the table: how many simulations, which data, how diverged ones count."""
    lines = [
        f"n = {evaluation.simulations} simulations of {evaluation.steps} steps, from the same initial states "
        "for all methods. mean ± population standard deviation over simulations; "
        f"“on {evaluation.baseline}”: relative improvement of the mean, positive is better.",
        evaluation.description.get("split", "No statement was given on how evaluation data were held out."),
    ]
    if any(method.diverged for method in evaluation.methods.values()):
        lines.append(
            "Diverged simulations are counted and kept: they make the mean infinite (∞; in brackets the mean "
            "of the finite ones) and count as the largest values in the median."
        )
    censored = [entry["steps_below_threshold"]["censored"] for entry in summary(evaluation)["methods"].values()]
    if any(censored):
        lines.append("≥: simulations that never exceeded the threshold count as all simulated steps.")
    return lines


def table(
    evaluation: Evaluation,
    *,
    part: Literal["all", "accuracy", "cost"] = "all",
    published: bool = False,
) -> Table:
    """The table for the terminal, with the number of simulations and the split statement beneath.

    ``part`` picks the columns: errors and low-error steps (``"accuracy"``), mass error, divergence, time and
    size (``"cost"``), or all.
    """
    headings, rows = table_rows(evaluation, published=published)
    chosen = {
        "all": range(1, len(headings)),
        "accuracy": range(1, _ACCURACY),
        "cost": range(_ACCURACY, len(headings)),
    }[part]
    result = Table(
        title=escape(evaluation.problem) if part != "cost" else None,
        caption=escape("\n".join(footnotes(evaluation))) if part != "accuracy" else None,
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1),
    )
    result.add_column(escape(headings[0]))
    for index in chosen:
        result.add_column(escape(headings[index]), justify="right", no_wrap=False)
    for name, cells in rows:
        style = "bold" if evaluation.methods[name].learned else None
        # A number and its spread stay on one line.
        kept = [escape(cells[index - 1]).replace(" ", "\u00a0") for index in chosen]
        result.add_row(escape(name), *kept, style=style)
    return result


def print_table(evaluation: Evaluation, *, console: Console | None = None, published: bool = False) -> None:
    """Print the table to the terminal, in two parts where the terminal is narrow."""
    console = console or Console()
    if console.width >= _WIDE:
        console.print(table(evaluation, published=published))
        return
    console.print(table(evaluation, part="accuracy", published=published))
    console.print(table(evaluation, part="cost", published=published))


_SPREAD = ("mean", "std", "median", "max", "mean_of_finite")
_STEPS = ("mean", "std", "median", "censored")
_PLAIN = ("diverged", "milliseconds_per_step", "milliseconds_per_simulation", "parameters")
CSV_COLUMNS = (
    *("problem", "method", "steps", "simulations"),
    *(f"relative_mae_{key}_percent" for key in _SPREAD),
    *("improvement_percent", "threshold_percent"),
    *(f"steps_below_threshold_{key}" for key in _STEPS),
    *("mass_error_mean_percent", "mass_error_std_percent"),
    *_PLAIN,
    "split",
)


def write_csv(evaluation: Evaluation, path: str | Path, *, published: bool = False) -> Path:
    """Write one row for each method; empty cells where a number does not exist or is not finite."""
    numbers = summary(evaluation, published=published)
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for name, entry in numbers["methods"].items():
        error, steps, mass = entry["relative_mae"], entry["steps_below_threshold"], entry["mass_error"] or {}
        row = {
            "problem": evaluation.problem,
            "method": name,
            "steps": evaluation.steps,
            "simulations": evaluation.simulations,
            **{f"relative_mae_{key}_percent": _hundred(error[key]) for key in _SPREAD},
            "improvement_percent": _hundred(entry["improvement"]),
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
    """Write :func:`closura.evaluation.metrics.summary` as JSON without NaN or Infinity."""
    numbers = summary(evaluation, reference=reference, published=published)
    return write_atomically(path, json.dumps(numbers, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def percent(fraction: float) -> str:
    """A fraction as percent with three significant digits, without the sign."""
    return _short(100 * fraction)


def _mean_and_std(values: dict[str, Any]) -> str:
    if values["mean"] is not None:
        return f"{percent(values['mean'])} ± {_infinite(values['std'])}"
    if values["mean_of_finite"] is None:
        return "∞"
    return f"∞ ({percent(values['mean_of_finite'])})"


def _infinite(value: float | None) -> str:
    return "∞" if value is None else percent(value)


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _short(value: float | None) -> str:
    """Three significant digits, without an exponent where that stays readable."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "∞"
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e5 or size < 1e-4:
        return f"{value:.1e}"
    decimals = max(0, 2 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"
