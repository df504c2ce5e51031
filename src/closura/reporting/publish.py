"""Everything that a comparison leaves behind, in one folder."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from closura.core import Results
from closura.core.results_file import FILE
from closura.io.files import check_folder
from closura.parts import Parts, file_name
from closura.reporting.figure import FIGURES, write_figures
from closura.reporting.figures.training import training_curves, training_panels
from closura.reporting.report import write_report
from closura.reporting.style import axis_label
from closura.reporting.tables import write_breakdown_csv, write_csv, write_json

TRAINING = "training"
"""The figure of what was recorded during training."""


class Published(NamedTuple):
    """Where the parts went."""

    table: Path
    csv: Path
    figures: dict[str, Path]
    report: Path


def publish(
    results: Results,
    folder: str | Path,
    *,
    title: str,
    training: Mapping[str, Any] | None = None,
    runs: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Published:
    """Write ``table.json``, ``table.csv``, ``breakdown.csv``, ``results.nc``, ``figures/`` and ``report.html``.

    The report is one self-contained file; ``breakdown.csv`` holds chosen steps and groups of simulations, and
    ``results.nc`` all that was measured, from which ``closura report`` can write a report again.

    Parameters
    ----------
    results
        What was measured.
    folder
        Made if missing; files of the same names are replaced, other figures of earlier results removed.
    title
        Title of the report.
    training
        ``configuration``, ``metrics`` and ``environment`` of the run behind the closure, if there is one, and what its
        validation ``error`` is, where it is another than that of the results.
    runs
        The same of several by name (:func:`closura.reporting.report.write_report`).
    notes
        Paragraphs for the report.

    Raises
    ------
    OSError
        If nothing can be written there.
    NotAllWritten
        At the end, if something could not be written; all else is, and the report says so.
    """
    folder, parts = Path(folder), Parts()
    parts.failures |= results.unmeasured
    check_folder(folder)
    seen = trained_steps((training or {}).get("configuration", {}))
    table, csv, report = (folder / name for name in ("table.json", "table.csv", "report.html"))
    parts.write("table.json", table, partial(write_json, results))
    parts.write("table.csv", csv, partial(write_csv, results))
    parts.write("breakdown.csv", folder / "breakdown.csv", partial(write_breakdown_csv, results))
    parts.write(FILE, folder / FILE, lambda path: results.save(path.parent))
    figures = parts.include(lambda: write_figures(results, folder / "figures", options=shading(seen)))
    trainings = {TRAINING: training or {}, **{f"{TRAINING}-{name}": run for name, run in (runs or {}).items()}}
    for name, run in trainings.items():
        if training_panels(run.get("metrics") or ()):
            draw = partial(training_curves, run["metrics"], validation=run.get("error", axis_label(results.error)))
            path = folder / "figures" / f"{file_name(name)}.png"
            if parts.write(name, path, draw) is not None:
                figures[name] = path
    shown = {name: figure for name, figure in figures.items() if not name.startswith(f"{TRAINING}-")}
    runs = {name: {**run, "figure": figures.get(f"{TRAINING}-{name}")} for name, run in (runs or {}).items()}
    remove_stale(folder / "figures", {*FIGURES.names(), TRAINING}, figures)
    parts.write(
        "report.html",
        report,
        lambda path: write_report(
            path, title=title, comparisons=results, figures=shown, training=training, runs=runs, notes=notes,
            failures=parts.failures,
        ),
    )  # fmt: skip
    parts.close()
    return Published(table, csv, figures, report)


def shading(steps: int | None) -> dict[str, dict[str, Any]]:
    """Options of figures that shade the steps that training saw."""
    curves = ("error_curves", "error_curves_median", "error_curves_initial")
    return {name: {"trained_steps": steps} for name in curves}


def trained_steps(configuration: Mapping[str, Any]) -> int | None:
    """The longest rollout of a training, in steps, from its settings; None where they do not say.

    That is the longest window, or the longest episode, which ends with the stored reference at the latest.
    """
    horizons = configuration.get("learning", {}).get("horizons")
    if horizons:
        return max(horizons)
    longest, reference = configuration.get("problem", {}).get("maximum_steps"), configuration.get("reference", {})
    return min(longest, reference["steps"]) if longest and reference.get("slots") else longest


def remove_stale(folder: Path, known: Collection[str], written: Mapping[str, Path]) -> None:
    """Remove figures that earlier results left in a folder: a report would show them as these ones'.

    Of them the names, or what stands in them before a hyphen, are ``known``.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        ours = path.stem in known or path.stem.partition("-")[0] in known
        if ours and path.suffix in (".png", ".gif") and path not in written.values():
            with suppress(OSError):
                path.unlink()
