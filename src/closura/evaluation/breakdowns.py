"""Tables behind the table: errors at chosen steps, and for each group of simulations, failures included."""

import csv
import io
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.metrics import plain
from closura.evaluation.moments import STEPS_SHOWN, by_group, by_step, steps_shown
from closura.evaluation.results import Evaluation
from closura.evaluation.words import mean_and_std, percent
from closura.files import write_atomically


class Breakdown(NamedTuple):
    """A table in words: ``rows`` hold a first cell and the others; ``shown`` means not hidden at first."""

    title: str
    headings: list[str]
    rows: list[tuple[str, list[str]]]
    notes: str
    shown: bool


def breakdowns(evaluation: Evaluation, at: tuple[int, ...] = STEPS_SHOWN) -> list[Breakdown]:
    """What there is to tell beside the last step: chosen steps (if more than one), groups at each of them."""
    tables = []
    moments = steps_shown(evaluation, at)
    if len(moments) > 1:
        tables.append(_steps(evaluation, at))
    if evaluation.groups:
        groups = by_group(evaluation, at)
        # The last step first: it is what the other tables speak of.
        tables += [_groups(evaluation, groups, index) for index in reversed(range(len(moments)))]
    return tables


def _steps(evaluation: Evaluation, at: tuple[int, ...]) -> Breakdown:
    moments = by_step(evaluation, at)
    rows = [(name, [_at_step(moment["methods"][name]) for moment in moments]) for name in evaluation.judged]
    return Breakdown(
        f"{evaluation.error_name[:1].upper()}{evaluation.error_name[1:]} (%) as time goes on",
        ["method", *(evaluation.moment(moment["step"]) for moment in moments)],
        rows,
        "mean ± population standard deviation; median; how many had diverged by then.",
        shown=True,
    )


def _at_step(entry: dict[str, Any]) -> str:
    text = f"{mean_and_std(entry)}; {percent(entry['median'])}"
    return f"{text}; {entry['diverged']} diverged" if entry["diverged"] else text


def _groups(evaluation: Evaluation, groups: dict[str, dict[str, Any]], index: int) -> Breakdown:
    names = evaluation.judged
    rows = []
    for group, found in groups.items():
        entries = [found["steps"][index]["methods"][name] for name in names]
        rows.append((group, [str(found["n"]), *(_in_group(entry) for entry in entries)]))
    step = next(iter(groups.values()))["steps"][index]["step"]
    return Breakdown(
        f"Groups of simulations at {evaluation.moment(step)}: {evaluation.error_name} (%)",
        ["group", "n", *names],
        rows,
        "median; mean (∞ where one diverged, in brackets the mean of the finite ones); then, if any: how many had "
        "diverged by then, how many errors exceed 100 %.",
        shown=step == evaluation.steps,
    )


def _in_group(entry: dict[str, Any]) -> str:
    mean = mean_and_std(entry).split(" ± ")[0]
    parts = [percent(entry["median"]), mean]
    if entry["diverged"]:
        parts.append(f"{entry['diverged']} diverged")
    if entry["above_100_percent"]:
        parts.append(f"{entry['above_100_percent']} > 100 %")
    return "; ".join(parts)


_NUMBERS = ("mean", "std", "median", "lower_quartile", "upper_quartile", "max", "mean_of_finite")
BREAKDOWN_COLUMNS = (
    *("problem", "group", "step", "time", "method", "n"),
    *(f"relative_mae_{key}_percent" for key in _NUMBERS),
    *("relative_to_initial_mean_percent", "relative_to_initial_median_percent", "diverged", "above_100_percent"),
)


def write_breakdown_csv(evaluation: Evaluation, path: str | Path, *, at: tuple[int, ...] = STEPS_SHOWN) -> Path:
    """Write one row for each group ("all" first), chosen step and method; not finite: empty."""
    parts = {"all": by_step(evaluation, at), **{g: found["steps"] for g, found in by_group(evaluation, at).items()}}
    text = io.StringIO()
    called = evaluation.error_key
    columns = [column.replace("relative_mae", called) for column in BREAKDOWN_COLUMNS]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for group, moments in parts.items():
        for moment in moments:
            for name, entry in plain(moment["methods"]).items():
                initial = entry.get("relative_to_initial", {})
                row = {
                    **{"problem": evaluation.problem, "group": group, "method": name},
                    **{key: moment[key] for key in ("step", "time")},
                    **{key: entry[key] for key in ("n", "diverged", "above_100_percent")},
                    **{f"{called}_{key}_percent": _hundred(entry[key]) for key in _NUMBERS},
                    **{f"relative_to_initial_{k}_percent": _hundred(initial.get(k)) for k in ("mean", "median")},
                }
                writer.writerow(row)
    return write_atomically(path, text.getvalue())


def _hundred(value: float | None) -> float | str:
    return "" if value is None else 100 * value
