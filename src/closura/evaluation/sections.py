"""Sections of the report: one evaluation, one training, how to repeat both."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from closura.evaluation import page
from closura.evaluation.breakdowns import breakdowns
from closura.evaluation.findings import findings
from closura.evaluation.metrics import plain, quantile_per_step
from closura.evaluation.published_curves import STEPS, published_curves
from closura.evaluation.results import Evaluation
from closura.evaluation.tables import footnotes, table_rows
from closura.evaluation.words import percent, short

# Section, then name of the figure, what it shows.
FIGURES: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = (
    (
        "Errors and cost",
        (
            ("error_curves", "Relative error against the step: mean and standard deviation."),
            ("error_curves_median", "The same with the median and the quartiles."),
            ("error_curves_initial", "Error relative to the initial field: median and quartiles. The field decays."),
            ("improvement", "Improvement on the coarse solver; faint lines are single simulations."),
            ("steps_below_threshold", "Steps that simulations stay below the threshold; medians written."),
            ("groups", "Every simulation at the last step, by group: the failures too."),
            ("divergence", "Simulations that have diverged."),
            ("mass_error", "Relative error of what the equations conserve."),
            ("cost", "Error at the last step against the time of a step; down and left is better."),
        ),
    ),
    (
        "Fields and actions",
        (
            (
                "fields",
                "Fields of one simulation; one scale of colours for all methods at each moment. Grey: not finite.",
            ),
            ("field_errors", "Difference to the truth in the same simulation."),
            ("actions", "What closures answer in these fields; red is taken away, blue added."),
            ("animation", "The same simulation, moving."),
        ),
    ),
    ("Training", (("training", "What was recorded during training."),)),
)


def evaluation_section(evaluation: Evaluation, figures: Mapping[str, Path], level: str) -> list[str]:
    """What was learned, tables, figures."""
    parts = [f"<{level}>What was learned</{level}>"]
    found = findings(evaluation)
    if not found:
        parts.append("<p>No closure was evaluated: these are classical methods only.</p>")
    for name, sentences in found.items():
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        parts.append(f"<p><strong>{escape(name)}</strong></p><ul>{items}</ul>")
    headings, rows = table_rows(evaluation)
    parts.append(f"<{level}>Methods, rivals and costs</{level}>")
    parts.append(page.table(headings, rows, learned=evaluation.closures))
    parts += [f'<p class="faint">{escape(line)}</p>' for line in footnotes(evaluation)]
    described = {key: value for key, value in evaluation.description.items() if key != "split"}
    if described:
        parts.append(page.words(described))
    parts += _breakdowns(evaluation, level) + _published(evaluation, level)
    known = {name for _, entries in FIGURES for name, _ in entries}
    extra = tuple((name, name.replace("_", " ").capitalize() + ".") for name in figures if name not in known)
    about = f"{evaluation.problem}, {evaluation.simulations} simulations: {', '.join(evaluation.methods)}"
    for section, entries in (*FIGURES, ("More figures", extra)):
        shown = [(name, caption) for name, caption in entries if name in figures]
        if shown:
            parts.append(f"<{level}>{escape(section)}</{level}>")
            parts += [page.figure(Path(figures[name]), caption, about) for name, caption in shown]
    return parts


def _breakdowns(evaluation: Evaluation, level: str) -> list[str]:
    parts: list[str] = []
    for breakdown in breakdowns(evaluation):
        html = page.table(breakdown.headings, breakdown.rows, learned=evaluation.closures)
        html += f'<p class="faint">{escape(breakdown.notes)}</p>'
        if breakdown.shown:
            parts += [f"<{level}>{escape(breakdown.title)}</{level}>", html]
        else:
            parts.append(page.folded(breakdown.title, html))
    return parts


def _published(evaluation: Evaluation, level: str) -> list[str]:
    """Published numbers beside ours, where the evaluation repeats a published figure."""
    found = published_curves(evaluation)
    if found is None:
        return []
    shown = [(index, step) for index, step in enumerate(STEPS) if step <= evaluation.steps]
    rows = []
    for name, error in found.error.items():
        rows.append((f"{name}, published", [f"{error[index]:g}" for index, _ in shown]))
    for name in evaluation.judged:
        values = evaluation.methods[name].error
        if found.centre == "median":
            rows.append((name, [percent(float(quantile_per_step(values)[step])) for _, step in shown]))
        else:
            rows.append((name, [short(100 * float(values[:, step].mean())) for _, step in shown]))
    headings = [f"{found.centre} {evaluation.error_name} (%)", *(f"step {step}" for _, step in shown)]
    return [
        f"<{level}>Beside the published figures</{level}>",
        page.table(headings, rows, learned=evaluation.closures),
        f'<p class="faint">{escape(found.source)}, read from its vector graphics. Other simulations of the same '
        "families: means differ by chance.</p>",
    ]


def training_section(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """How each closure was trained: last metrics, curves, settings."""
    parts: list[str] = []
    for name, run in runs.items():
        body: list[str] = []
        rows = list(run.get("metrics") or ())
        if run.get("status"):
            body.append(page.words(plain(run["status"])))
        if run.get("figure"):
            body.append(page.figure(Path(run["figure"]), "What was recorded during training.", name))
        if rows:
            body.append(page.folded(f"{len(rows)} rows of training metrics; the last", page.words(plain(rows[-1]))))
        body += [
            page.details(f"{key.capitalize()} of the training", run[key])
            for key in ("environment", "configuration")
            if run.get(key)
        ]
        if body:
            parts += [*([f"<h3>{escape(name)}</h3>"] if name else []), *body]
    return ['<h2 id="training">How it was trained</h2>', *parts] if parts else []


def repetition_section(headed: Mapping[str, Evaluation], runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Commands and settings of the evaluations, and of the trainings where these are known."""
    parts = ['<h2 id="repeat">How to repeat it</h2>']
    done = []
    for heading, evaluation in headed.items():
        label = f" ({heading})" if heading else ""
        said = evaluation.configuration.get("command")
        text = said if isinstance(said, str) else " ".join(map(str, said or ()))
        if not text:
            parts.append(f"<p>No command was recorded{escape(label)}.</p>")
        elif text not in done:
            parts.append(page.command(text))
            done.append(text)
        parts.append(page.details(f"Configuration of the evaluation{label}", evaluation.configuration))
    for name, run in runs.items():
        if run.get("command"):
            parts += [f"<p>Training of {escape(name)}:</p>", page.command(str(run["command"]))]
    return parts
