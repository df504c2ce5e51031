"""All figures of an evaluation, written into one folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from closura.evaluation.animation import write_animation
from closura.evaluation.comparisons import cost_points, cost_scatter, steps_below_threshold_violins
from closura.evaluation.curves import error_curves, improvement_curves, mass_error_curves
from closura.evaluation.fields import field_strips, kept_fields, truth_label
from closura.evaluation.results import Evaluation
from closura.evaluation.training_curves import training_curves, training_panels


def write_figures(
    evaluation: Evaluation,
    folder: str | Path,
    *,
    metrics: Sequence[Mapping[str, Any]] | None = None,
    trained_steps: int | None = None,
    suffix: str = ".png",
) -> dict[str, Path]:
    """Write every figure for which the evaluation has the numbers.

    Parameters
    ----------
    evaluation
        What was measured.
    folder
        Where the files go; made if missing.
    metrics
        Rows of the training's ``metrics.jsonl``, for the training curves.
    trained_steps
        Number of steps that training saw, shaded in the error curves.
    suffix
        Ending, and so the format, of the figures: ``.png``, ``.pdf``, ``.svg`` (the animation is a GIF).

    Returns
    -------
    dict
        The files by name: ``error_curves``, ``error_curves_median``, ``improvement``,
        ``steps_below_threshold``, ``mass_error``, ``cost``, ``fields``, ``field_errors``, ``animation``,
        ``training``; those that need numbers that were not measured are left out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}

    def target(name: str, ending: str = suffix) -> Path:
        written[name] = folder / f"{name}{ending}"
        return written[name]

    methods = [evaluation.methods[name] for name in evaluation.judged]
    if methods:
        error_curves(evaluation, target("error_curves"), trained_steps=trained_steps)
        error_curves(evaluation, target("error_curves_median"), median=True, trained_steps=trained_steps)
        steps_below_threshold_violins(evaluation, target("steps_below_threshold"))
    if any(method.name != evaluation.baseline for method in methods):
        improvement_curves(evaluation, target("improvement"))
    if any(method.mass_error is not None for method in methods):
        mass_error_curves(evaluation, target("mass_error"))
    if cost_points(evaluation):
        cost_scatter(evaluation, target("cost"))
    kept = [method.fields for method in methods if method.fields is not None]
    if kept and kept[0].ndim == 5:
        field_strips(evaluation, target("fields"))
        if truth_label(evaluation) in kept_fields(evaluation):
            field_strips(evaluation, target("field_errors"), errors=True)
        if len(evaluation.frame_steps) > 1:
            write_animation(evaluation, target("animation", ".gif"))
    if metrics and training_panels(metrics):
        training_curves(metrics, target("training"))
    return written
