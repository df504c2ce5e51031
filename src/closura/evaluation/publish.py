"""Everything that an evaluation leaves behind, in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.breakdowns import write_breakdown_csv
from closura.evaluation.figures import write_figures
from closura.evaluation.records import save_evaluation
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
    """Write ``table.json``, ``table.csv``, ``breakdown.csv``, ``evaluation.npz``, ``figures/`` and ``report.html``.

    The report is one self-contained file; ``breakdown.csv`` holds chosen steps and groups of simulations, and
    ``evaluation.npz`` the errors of all simulations, from which ``closura report`` can write a report again.

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
    seen = trained_steps((training or {}).get("configuration", {}))
    figures = write_figures(evaluation, folder / "figures", metrics=metrics, trained_steps=seen)
    table = write_json(evaluation, folder / "table.json")
    csv = write_csv(evaluation, folder / "table.csv")
    write_breakdown_csv(evaluation, folder / "breakdown.csv")
    save_evaluation(evaluation, folder / "evaluation.npz")
    report = write_report(
        folder / "report.html", title=title, evaluations=evaluation, figures=figures, training=training, notes=notes
    )
    return Published(table, csv, figures, report)


def trained_steps(configuration: Mapping[str, Any]) -> int | None:
    """The number of steps that a training saw at most, from its settings; None where they do not say."""
    horizons = configuration.get("learning", {}).get("horizons")
    return horizons[-1] if horizons else configuration.get("problem", {}).get("maximum_steps")
