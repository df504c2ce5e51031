"""Everything that an evaluation leaves behind, in one folder."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from closura.evaluation.breakdowns import write_breakdown_csv
from closura.evaluation.figures import write_figures
from closura.evaluation.records import save_evaluation
from closura.evaluation.report import write_report
from closura.evaluation.results import Evaluation
from closura.evaluation.sections import FIGURES
from closura.evaluation.tables import write_csv, write_json
from closura.files import check_folder
from closura.parts import Parts


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

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    folder = Path(folder)
    check_folder(folder)
    metrics = (training or {}).get("metrics")
    seen = trained_steps((training or {}).get("configuration", {}))
    table, csv, report = (folder / name for name in ("table.json", "table.csv", "report.html"))
    parts = Parts()
    parts.write("table.json", table, partial(write_json, evaluation))
    parts.write("table.csv", csv, partial(write_csv, evaluation))
    parts.write("breakdown.csv", folder / "breakdown.csv", partial(write_breakdown_csv, evaluation))
    parts.write("evaluation.npz", folder / "evaluation.npz", partial(save_evaluation, evaluation))
    figures = parts.include(lambda: write_figures(evaluation, folder / "figures", metrics=metrics, trained_steps=seen))
    remove_stale(folder / "figures", {name for _, entries in FIGURES for name, _ in entries}, figures)
    parts.write(
        "report.html",
        report,
        lambda path: write_report(
            path, title=title, evaluations=evaluation, figures=figures, training=training, notes=notes,
            failures=parts.failures,
        ),
    )  # fmt: skip
    parts.close()
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


def remove_stale(folder: Path, known: Collection[str], written: Mapping[str, Path]) -> None:
    """Remove figures that an earlier evaluation left in a folder: a report would show them as this one's.

    Of them the names, or what stands in them before a hyphen, are ``known``.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        ours = path.stem in known or path.stem.partition("-")[0] in known
        if ours and path.suffix in (".png", ".gif") and path not in written.values():
            with suppress(OSError):
                path.unlink()
