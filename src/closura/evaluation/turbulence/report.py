"""The folder that an evaluation leaves behind: numbers, figures, and one HTML file that holds all of it."""

from collections.abc import Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import NamedTuple

from closura.evaluation.turbulence.figures import CAPTIONS, FIGURES
from closura.evaluation.turbulence.study import TurbulenceEvaluation
from closura.evaluation.turbulence.tables import blocks, write_json
from closura.files import check_folder, write_atomically
from closura.parts import Parts
from closura.reporting import page
from closura.reporting.publish import remove_stale


class Published(NamedTuple):
    """Where the parts went."""

    table: Path
    figures: dict[str, Path]
    report: Path


def publish(evaluation: TurbulenceEvaluation, folder: str | Path) -> Published:
    """Write ``table.json``, ``figures/`` and ``report.html``.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    folder = Path(folder)
    check_folder(folder)
    table, report = folder / "table.json", folder / "report.html"
    parts, drawn = Parts(), Parts()
    parts.write("table.json", table, partial(write_json, evaluation))
    for name, draw in FIGURES.items():
        drawn.write(name, folder / "figures" / f"{name}.png", partial(draw, evaluation))
    remove_stale(folder / "figures", FIGURES, drawn.written)
    parts.failures |= drawn.failures
    parts.write(
        "report.html", report, lambda path: write_report(evaluation, drawn.written, path, failures=parts.failures)
    )
    parts.close()
    return Published(table, drawn.written, report)


def write_report(
    evaluation: TurbulenceEvaluation,
    figures: Mapping[str, Path],
    path: str | Path,
    *,
    failures: Mapping[str, str] | None = None,
) -> Path:
    """One self-contained HTML file: no network, no script. ``failures``: what could not be written, and why."""
    cells = evaluation.cells
    title = f"Kolmogorov flow at Reynolds number {evaluation.reynolds:g} on {cells} x {cells} points"
    body = [f"<h1>{escape(title)}</h1>"]
    body.append(
        "<p>A coarse simulation, alone, with models of what the grid does not hold and with learned closures, beside "
        "the same flow by a spectral solver on a finer grid, whose waves that the coarse grid holds are the truth.</p>"
    )
    body += page.failures(failures or {})
    body.append(page.words(evaluation.description))
    verdicts = "".join(f"<li>{escape(line)}</li>" for line in evaluation.verdicts())
    if verdicts:
        body.append(f"<h2>What was learned</h2><ul>{verdicts}</ul>")
    for block in blocks(evaluation):
        body.append(f"<h2>{escape(block.title)}</h2>")
        body.append(page.table(block.headings, block.rows, learned=evaluation.closures))
        body.append(f'<p class="faint">{escape(block.note)}</p>')
    body.append("<h2>Figures</h2>")
    about = f"Methods: {', '.join(evaluation.methods)}."
    body += [page.figure(file, CAPTIONS[name], about) for name, file in figures.items()]
    body.append('<h2 id="repeat">How to repeat it</h2>')
    if evaluation.settings.get("command"):
        body.append(page.command(str(evaluation.settings["command"])))
    body.append(page.details("Settings", dict(evaluation.settings)))
    return write_atomically(path, page.page(title, body))
