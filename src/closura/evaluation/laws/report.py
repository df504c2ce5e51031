"""The folder that an evaluation leaves behind: tables, figures, and one HTML file that holds all of it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.laws import convergence, planes, profiles
from closura.evaluation.laws.findings import findings
from closura.evaluation.laws.study import LawEvaluation
from closura.evaluation.laws.tables import (
    Block,
    error_block,
    failure_lines,
    order_block,
    physics_block,
    scatter_block,
    summary_block,
    write_csv,
    write_json,
)  # fmt: skip
from closura.files import check_folder, write_atomically
from closura.parts import Parts, file_name
from closura.reporting import page
from closura.reporting.citations import sources_of_schemes
from closura.reporting.figures.training import training_curves, training_panels
from closura.reporting.publish import remove_stale

CAPTIONS = {
    "convergence": "Errors against the number of cells; dotted: orders 1, 3 and 5.",
    "states": "The state at the end. Black: the solution.",
    "error_profiles": "Absolute errors at the end.",
    "history": "Total variation and error over time.",
    "evolution": "Ten snapshots, darker with time.",
    "weights": "Weights of the sub-stencils at every interface at the end (of the first component); dotted: the "
    "optimal ones; dashed: WENO-JS in its own final state.",
    "scatter": "Random initial conditions: error against that of the rival.",
    "cost": "Error against the time of a step; down and left is better.",
    "fields": "The field at the end. Grey: diverged.",
    "field_errors": "Difference to the solution at the end.",
    "animation": "The same, moving.",
    "training": "How it was trained.",
}


class Published(NamedTuple):
    """Where the parts went."""

    table: Path
    csv: Path
    figures: dict[str, Path]
    report: Path


class Training(NamedTuple):
    """How a closure was trained: the rows of its metrics, and what their validation errors are."""

    metrics: Sequence[Mapping[str, Any]]
    judged_by: str


def write_figures(
    evaluation: LawEvaluation,
    folder: str | Path,
    *,
    trainings: Mapping[str, Training] | None = None,
    suffix: str = ".png",
) -> dict[str, Path]:
    """Every figure that the evaluation has numbers for, by name; one animation for each 2-D initial condition.

    Raises
    ------
    NotAllWritten
        At the end, if some could not be drawn or written; the others are.
    """
    folder = Path(folder)
    parts = Parts()

    def draw(name: str, function: Callable[[Path], Any], ending: str = suffix) -> None:
        parts.write(name, folder / f"{file_name(name)}{ending}", function)

    if len(evaluation.study.cells) > 1:
        draw("convergence", partial(convergence.convergence, evaluation))
    if evaluation.traces:
        if evaluation.study.problem.law.dimensions == 1:
            draw("states", partial(profiles.states, evaluation))
            draw("error_profiles", partial(profiles.error_profiles, evaluation))
            draw("history", partial(profiles.history, evaluation))
            draw("evolution", lambda path: profiles.evolution(evaluation, profiles.shown_method(evaluation), path))
            draw("weights", partial(profiles.weights, evaluation))
        else:
            draw("fields", partial(planes.fields, evaluation))
            draw("field_errors", partial(planes.fields, evaluation, errors=True))
            draw("history", partial(profiles.history, evaluation))
            for initial in evaluation.study.initial:
                draw(f"animation-{initial}", partial(planes.animation, evaluation, initial), ".gif")
    if evaluation.scatter is not None:
        draw("scatter", partial(convergence.scatter_figure, evaluation))
    if evaluation.cost:
        draw("cost", partial(convergence.cost_figure, evaluation))
    for name, training in (trainings or {}).items():
        if training_panels(training.metrics):
            draw(f"training-{name}", partial(training_curves, training.metrics, validation=training.judged_by))
    parts.close()
    return parts.written


def write_report(
    evaluation: LawEvaluation,
    figures: Mapping[str, Path],
    path: str | Path,
    *,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """One self-contained HTML file: no network, no script. ``failures``: what could not be written, and why."""
    study = evaluation.study
    main = study.problem.norm
    title = f"Methods for the {study.problem.title}"
    body = [f"<h1>{escape(title)}</h1>"]
    body.append(
        "<p>Schemes and learned closures that weigh the candidate fluxes of the same stencils, side by side from the "
        "same initial conditions. Errors are those of point values at cell centres: exact solutions where formulas "
        "exist (entropy solutions, Riemann problems, waves carried along), else simulations on much finer grids.</p>"
    )
    body += page.failures(failures or {})
    found = findings(evaluation)
    if found:
        body += ["<h2>What was learned</h2><ul>", *(f"<li>{escape(line)}</li>" for line in found), "</ul>"]
    lost = failure_lines(evaluation)
    if lost:
        body += ["<h2>Failures</h2><ul>", *(f"<li>{escape(line)}</li>" for line in lost), "</ul>"]
    body.append("<h2>Methods, rivals and costs</h2>")
    norms = [main, *(norm for norm in ("l1", "l2", "linf") if norm != main)]
    body += [_table(summary_block(evaluation, norm), evaluation) for norm in norms[:2]]
    body.append("<h2>Errors</h2>")
    body.append(_table(error_block(evaluation, main), evaluation))
    body += [_folded(error_block(evaluation, norm), evaluation) for norm in norms[1:]]
    if len(study.cells) > 1:
        body.append(_table(order_block(evaluation, main), evaluation))
    body.append(_table(physics_block(evaluation), evaluation))
    scattered = scatter_block(evaluation)
    if scattered is not None:
        body.append(_table(scattered, evaluation))
    if figures:
        body.append("<h2>Figures</h2>")
        about = f"{study.problem.name}, N = {study.drawn_cells}: {', '.join(evaluation.methods)}"
        for name, file in figures.items():
            kind, _, what = name.partition("-")
            caption = CAPTIONS.get(kind, kind) + (f" ({what})" if what else "")
            body.append(page.figure(file, caption, about))
    body.append('<h2 id="repeat">How to repeat it</h2>')
    if evaluation.settings.get("command"):
        body.append(page.command(str(evaluation.settings["command"])))
    body.append(page.details("Settings", dict(evaluation.settings)))
    schemes = [method.dynamics.scheme for method in evaluation.methods.values() if not method.learned]
    sources = sources_of_schemes(schemes, learned=bool(evaluation.closures))
    if sources:
        body += ["<h2>Sources</h2>", *(f"<pre>{escape(source)}</pre>" for source in sources)]
    body.append(f'<p class="faint">Written by closura {escape(_version())}.</p>')
    return write_atomically(path, page.page(title, body))


def publish(
    evaluation: LawEvaluation, folder: str | Path, *, trainings: Mapping[str, Training] | None = None
) -> Published:
    """Write ``table.json``, ``table.csv``, ``figures/`` and ``report.html``; figures of an earlier one are removed.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    folder = Path(folder)
    check_folder(folder)
    table, rows, report = (folder / name for name in ("table.json", "table.csv", "report.html"))
    parts = Parts()
    parts.write("table.json", table, partial(write_json, evaluation))
    parts.write("table.csv", rows, partial(write_csv, evaluation))
    figures = parts.include(lambda: write_figures(evaluation, folder / "figures", trainings=trainings))
    remove_stale(folder / "figures", CAPTIONS, figures)
    parts.write("report.html", report, lambda path: write_report(evaluation, figures, path, failures=parts.failures))
    parts.close()
    return Published(table, rows, figures, report)


def _table(block: Block, evaluation: LawEvaluation) -> str:
    html = f"<h3>{escape(block.title)}</h3>" + page.table(block.headings, block.rows, learned=evaluation.closures)
    return html + (f'<p class="faint">{escape(block.note)}</p>' if block.note else "")


def _folded(block: Block, evaluation: LawEvaluation) -> str:
    return page.folded(block.title, page.table(block.headings, block.rows, learned=evaluation.closures))


def _version() -> str:
    try:
        return version("closura")
    except PackageNotFoundError:
        return "of unknown version"
