"""Everything that an evaluation leaves behind, in one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.breakdowns import write_breakdown_csv
from closura.evaluation.figures import write_figures
from closura.evaluation.records import save_evaluation
from closura.evaluation.report import write_report
from closura.evaluation.results import Evaluation
from closura.evaluation.sections import FIGURES
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
        Made if missing; files of the same names are replaced, other figures of an earlier evaluation removed.
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
    _remove_stale(folder / "figures", figures)
    table = write_json(evaluation, folder / "table.json")
    csv = write_csv(evaluation, folder / "table.csv")
    write_breakdown_csv(evaluation, folder / "breakdown.csv")
    save_evaluation(evaluation, folder / "evaluation.npz")
    report = write_report(
        folder / "report.html", title=title, evaluations=evaluation, figures=figures, training=training, notes=notes
    )
    return Published(table, csv, figures, report)


def trained_steps(configuration: Mapping[str, Any]) -> int | None:
    """The longest rollout of a training, in steps, from its settings; None where they do not say.

    That is the longest window, or the longest episode, which ends with the stored truth at the latest.
    """
    horizons = configuration.get("learning", {}).get("horizons")
    if horizons:
        return max(horizons)
    longest, truth = configuration.get("problem", {}).get("maximum_steps"), configuration.get("truth", {})
    return min(longest, truth["steps"]) if longest and truth.get("slots") else longest


def _remove_stale(folder: Path, written: Mapping[str, Path]) -> None:
    """Remove figures that an earlier evaluation left in the folder: a report would show them as this one's."""
    known = {name for _, entries in FIGURES for name, _ in entries}
    for path in folder.iterdir():
        if path.stem in known and path.suffix in (".png", ".gif") and path not in written.values():
            path.unlink()
