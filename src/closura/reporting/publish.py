"""Everything that a comparison leaves behind, in one folder."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from closura.core import Results
from closura.core.results_file import FILE
from closura.io.files import check_folder
from closura.parts import Parts, file_name
from closura.reporting.benchmark.criterion import write_criterion_csv
from closura.reporting.benchmark.tables import write_markdown
from closura.reporting.figure import FIGURES, write_figures
from closura.reporting.figures.training import training_curves, training_panels
from closura.reporting.report import write_report
from closura.reporting.style import axis_label
from closura.reporting.tables import write_breakdown_csv, write_csv, write_json

TRAINING = "training"
"""Figures of what was recorded during training: their names begin so."""


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
    runs: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> Published:
    """Write ``table.json``, ``table.csv``, ``breakdown.csv``, ``results.nc``, ``figures/`` and ``report.html``.

    The report is one self-contained file; ``breakdown.csv`` holds chosen steps and groups of simulations, and
    ``results.nc`` all that was measured, from which ``closura report`` can write a report again. Benchmarks leave
    ``fronts.json``, ``table.md``, ``criterion.csv`` and figures beside them instead of the first, the third and
    ``figures/``.

    Parameters
    ----------
    results
        What was measured.
    folder
        Made if missing; files of the same names are replaced, other figures of earlier results removed.
    title
        Title of the report.
    runs
        The trainings behind the closures by name, as :func:`closura.reporting.report.write_report` takes them.
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
    sweep = results.is_sweep
    pictures = folder if sweep else folder / "figures"
    table = "fronts.json" if sweep else "table.json"
    writers: dict[str, Callable[..., Any]] = {table: write_json, "table.csv": write_csv}
    of_sweeps = {"table.md": write_markdown, "criterion.csv": write_criterion_csv}
    writers |= of_sweeps if sweep else {"breakdown.csv": write_breakdown_csv}
    for name, write in writers.items():
        parts.write(name, folder / name, partial(write, results))
    parts.write(FILE, folder / FILE, lambda path: results.save(path.parent))
    options = shading([run.get("configuration", {}) for run in (runs or {}).values()])
    figures = parts.include(lambda: write_figures(results, pictures, options=options))
    runs = draw_trainings(runs or {}, pictures, parts, axis_label(results.error))
    curves = {f"{TRAINING}-{name}": run["figure"] for name, run in runs.items() if "figure" in run}
    ours = {name.partition("-")[0] for name in figures} if sweep else {*FIGURES.names(), TRAINING}
    remove_stale(pictures, ours, {**figures, **curves})
    report = partial(write_report, title=title, comparisons=results, figures=figures, runs=runs, notes=notes)
    parts.write("report.html", folder / "report.html", partial(report, failures=parts.failures))
    parts.close()
    return Published(folder / table, folder / "table.csv", {**figures, **curves}, folder / "report.html")


def draw_trainings(
    runs: Mapping[str, Mapping[str, Any]], folder: Path, parts: Parts, validation: str | None = None
) -> dict[str, dict[str, Any]]:
    """Trainings by name with the ``figure`` of each, where its metrics hold something to draw.

    ``validation`` says what validation errors are, unless a run says so by its ``error``.
    """
    found = {name: dict(run) for name, run in runs.items()}
    for name, run in found.items():
        if training_panels(run.get("metrics") or ()):
            draw = partial(training_curves, run["metrics"], validation=run.get("error") or validation)
            figure = folder / f"{file_name(f'{TRAINING}-{name}')}.png"
            if parts.write(f"training of {name}", figure, draw) is not None:
                run["figure"] = figure
    return found


def shading(configurations: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Options of figures that shade the steps that training saw, where all trainings saw as many."""
    seen = {trained_steps(configuration) for configuration in configurations}
    steps = seen.pop() if len(seen) == 1 else None
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
