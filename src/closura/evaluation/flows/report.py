"""The folder that an evaluation leaves behind: numbers, figures, and one HTML file that holds all of it."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from closura.evaluation import page
from closura.evaluation.flows import closure_figures, closure_tables, model_figures, model_tables
from closura.evaluation.flows.closure_results import ClosureEvaluation
from closura.evaluation.flows.look import Block, stand_out
from closura.evaluation.flows.model_study import ModelEvaluation
from closura.files import write_atomically

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
    """Write ``table.json``, ``table.csv``, ``figures/`` and ``report.html``."""
    folder = Path(folder)
    figures = _draw(closure_figures.FIGURES, evaluation, folder)
    published = evaluation.study.scoring == "published"
    body = [
        "<p>Closures give a distribution over full velocity fields for every filtered one. All rows answer for the "
        "same filtered frames; answers are compared with the full frames at every point.</p>"
    ]
    if published:
        body.append(f"<p><strong>{escape(closure_tables.PUBLISHED_WORDS)}</strong></p>")
    report = _write(
        "Closures of Kolmogorov flow" + (", published scoring" if published else ""), body,
        closure_tables.blocks(evaluation), evaluation.closures, figures, closure_figures.CAPTIONS, evaluation.settings,
        folder / "report.html",
    )  # fmt: skip
    table = closure_tables.write_json(evaluation, folder / "table.json")
    return Published(table, closure_tables.write_csv(evaluation, folder / "table.csv"), figures, report)


def publish_models(evaluation: ModelEvaluation, folder: str | Path) -> Published:
    """Write ``table.json``, ``table.csv``, ``figures/`` and ``report.html``."""
    folder = Path(folder)
    figures = _draw(model_figures.FIGURES, evaluation, folder)
    body = [
        "<p>Reduced-order models step the filtered flow; ensembles of them are judged as forecasts, and, run for long, "
        "by what the flow looks like, before and after a closure gives back the missing scales.</p>"
    ]
    report = _write(
        "Reduced-order models of Kolmogorov flow", body, model_tables.blocks(evaluation), evaluation.models, figures,
        model_figures.CAPTIONS, evaluation.settings, folder / "report.html",
    )  # fmt: skip
    table = model_tables.write_json(evaluation, folder / "table.json")
    return Published(table, model_tables.write_csv(evaluation, folder / "table.csv"), figures, report)


def _draw(
    functions: Mapping[str, Callable[[Any, str | Path | None], Figure | None]], evaluation: Any, folder: Path
) -> dict[str, Path]:
    """All figures that there are numbers for; those of an earlier evaluation are removed."""
    written = {}
    for name, draw in functions.items():
        path = folder / "figures" / f"{name}.png"
        path.unlink(missing_ok=True)
        if draw(evaluation, path) is not None:
            written[name] = path
    return written


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
