"""The folder that an evaluation leaves behind: numbers, figures, and one HTML file that holds all of it."""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.flows import closure_figures, closure_tables, model_figures, model_tables
from closura.evaluation.flows.closure_results import ClosureEvaluation
from closura.evaluation.flows.look import Block, stand_out
from closura.evaluation.flows.model_study import ModelEvaluation
from closura.io.files import check_folder, write_atomically
from closura.parts import Parts
from closura.reporting import page
from closura.reporting.publish import remove_stale

BIBTEX = """\
@article{zighed2025scale,
  title         = {Leveraging Scale Separation and Stochastic Closure for Data-Driven Prediction of Chaotic Dynamics},
  author        = {Zighed, Isma{\\"e}l and Thome, Nicolas and Gallinari, Patrick and Sayadi, Taraneh},
  year          = {2025},
  eprint        = {2510.24583},
  archivePrefix = {arXiv}
}"""


class Published(NamedTuple):
    """Where the parts went."""

    table: Path
    csv: Path
    figures: dict[str, Path]
    report: Path


def publish_closures(evaluation: ClosureEvaluation, folder: str | Path) -> Published:
    """Write ``table.json``, ``table.csv``, ``figures/`` and ``report.html``.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    published = evaluation.study.scoring == "published"
    body = [
        "<p>Closures give a distribution over full velocity fields for every filtered one. All rows answer for the "
        "same filtered frames; answers are compared with the full frames at every point.</p>"
    ]
    if published:
        body.append(f"<p><strong>{escape(closure_tables.PUBLISHED_WORDS)}</strong></p>")
    title = "Closures of Kolmogorov flow" + (", published scoring" if published else "")
    return _publish(evaluation, evaluation.closures, title, body, closure_tables, closure_figures, folder)


def publish_models(evaluation: ModelEvaluation, folder: str | Path) -> Published:
    """Write ``table.json``, ``table.csv``, ``figures/`` and ``report.html``.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    body = [
        "<p>Reduced-order models step the filtered flow; ensembles of them are judged as forecasts, and, run for long, "
        "by what the flow looks like, before and after a closure gives back the missing scales.</p>"
    ]
    title = "Reduced-order models of Kolmogorov flow"
    return _publish(evaluation, evaluation.models, title, body, model_tables, model_figures, folder)


def _publish(
    evaluation: Any,
    learned: Sequence[str],
    title: str,
    body: Sequence[str],
    tables: Any,
    figures: Any,
    folder: str | Path,
) -> Published:
    """Numbers first, then all figures that there are numbers for, then the page."""
    folder = Path(folder)
    check_folder(folder)
    table, csv, report = (folder / name for name in ("table.json", "table.csv", "report.html"))
    parts, drawn = Parts(), Parts()
    parts.write("table.json", table, partial(tables.write_json, evaluation))
    parts.write("table.csv", csv, partial(tables.write_csv, evaluation))
    for name, draw in figures.FIGURES.items():
        drawn.write(name, folder / "figures" / f"{name}.png", partial(draw, evaluation))
    remove_stale(folder / "figures", figures.FIGURES, drawn.written)
    parts.failures |= drawn.failures

    def write(path: Path) -> Path:
        said = [*page.failures(parts.failures), *body]
        shown, blocks = drawn.written, tables.blocks(evaluation)
        return _write(title, said, blocks, learned, shown, figures.CAPTIONS, evaluation.settings, path)

    parts.write("report.html", report, write)
    parts.close()
    return Published(table, csv, drawn.written, report)


def _write(
    title: str,
    body: Sequence[str],
    blocks: Sequence[Block],
    learned: Sequence[str],
    figures: Mapping[str, Path],
    captions: Mapping[str, str],
    settings: Mapping[str, Any],
    path: Path,
) -> Path:
    parts = [f"<h1>{escape(title)}</h1>", *body]
    for block in blocks:
        parts.append(f"<h2>{escape(block.title)}</h2>")
        parts.append(page.table(block.headings, block.rows, learned=stand_out(block, learned)))
        if block.note:
            parts.append(f'<p class="faint">{escape(block.note)}</p>')
    parts.append("<h2>Figures</h2>")
    about = f"Rows: {', '.join(learned)}."
    parts += [page.figure(file, captions[name], about) for name, file in figures.items()]
    parts.append('<h2 id="repeat">How to repeat it</h2>')
    if settings.get("command"):
        parts.append(page.command(str(settings["command"])))
    parts.append(page.details("Settings", dict(settings)))
    parts += ["<h2>Sources</h2>", f"<pre>{escape(BIBTEX)}</pre>"]
    return write_atomically(path, page.page(title, parts))
