"""Everything that an evaluation leaves behind, in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.figures import write_figures
from closura.evaluation.report import write_report
from closura.evaluation.results import Evaluation
from closura.evaluation.tables import write_csv, write_json


class Published(NamedTuple):
    """Where the parts went."""

    table: Path
    csv: Path
    figures: dict[str, Path]
    report: Path


def publish(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    title: str,
    training: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> Published:
    """Write ``table.json``, ``table.csv``, ``figures/`` and a self-contained ``report.html``.

    Parameters
    ----------
    evaluation
        What was measured.
    folder
        Made if missing; files of the same names are replaced.
    title
        Title of the report.
    training
        ``configuration``, ``metrics`` and ``environment`` of the run behind the closure, if there is one.
    notes
        Paragraphs for the report.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    metrics = (training or {}).get("metrics")
    settings = (training or {}).get("configuration", {})
    trained = settings.get("learning", {}).get("horizons") or [settings.get("problem", {}).get("maximum_steps")]
    figures = write_figures(evaluation, folder / "figures", metrics=metrics, trained_steps=trained[-1])
    table = write_json(evaluation, folder / "table.json")
    csv = write_csv(evaluation, folder / "table.csv")
    report = write_report(
        folder / "report.html", title=title, evaluations=evaluation, figures=figures, training=training, notes=notes
    )
    return Published(table, csv, figures, report)
