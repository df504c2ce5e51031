"""All figures of an evaluation, written into one folder."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from closura.evaluation.actions import acting, action_strips
from closura.evaluation.animation import write_animation
from closura.evaluation.comparisons import cost_points, cost_scatter
from closura.evaluation.curves import error_curves, mass_error_curves
from closura.evaluation.failures import divergence_curves, group_errors
from closura.evaluation.fields import field_strips, kept_fields, truth_label
from closura.evaluation.improvement import improvement_curves
from closura.evaluation.results import Evaluation
from closura.evaluation.training_curves import training_curves, training_panels
from closura.evaluation.violins import steps_below_threshold_violins
from closura.parts import Parts


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
        The files by name: ``error_curves``, ``error_curves_median``, ``error_curves_initial``, ``improvement``,
        ``steps_below_threshold``, ``groups``, ``divergence``, ``mass_error``, ``cost``, ``fields``,
        ``field_errors``, ``actions``, ``animation``, ``training``; those that need numbers that were not measured
        are left out.

    Raises
    ------
    NotAllWritten
        At the end, if some could not be drawn or written; the others are.
    """
    folder = Path(folder)
    parts = Parts()

    def draw(name: str, function: Callable[..., Any], ending: str = suffix, **options: Any) -> None:
        parts.write(name, folder / f"{name}{ending}", lambda path: function(evaluation, path, **options))

    methods = [evaluation.methods[name] for name in evaluation.judged]
    if methods:
        draw("error_curves", error_curves, trained_steps=trained_steps)
        draw("error_curves_median", error_curves, median=True, trained_steps=trained_steps)
        if evaluation.scale is not None:
            # The median: a mean that one simulation spoils says nothing about the decay of the field.
            draw("error_curves_initial", error_curves, median=True, initial=True, trained_steps=trained_steps)
        draw("steps_below_threshold", steps_below_threshold_violins)
    if methods and evaluation.groups:
        draw("groups", group_errors)
    if any(method.diverged for method in methods):
        draw("divergence", divergence_curves)
    if any(method.name != evaluation.baseline for method in methods):
        draw("improvement", improvement_curves)
    if any(method.mass_error is not None for method in methods):
        draw("mass_error", mass_error_curves)
    if cost_points(evaluation):
        draw("cost", cost_scatter)
    kept = [method.fields for method in methods if method.fields is not None]
    if kept and kept[0].ndim == 5:
        draw("fields", field_strips)
        if truth_label(evaluation) in kept_fields(evaluation):
            draw("field_errors", field_strips, errors=True)
        if acting(evaluation):
            draw("actions", action_strips)
        if len(evaluation.frame_steps) > 1:
            draw("animation", write_animation, ".gif")
    if metrics and training_panels(metrics):
        unit = f"{evaluation.error_name} (%)"
        path = folder / f"training{suffix}"
        parts.write("training", path, lambda path: training_curves(metrics, path, validation=unit))
    parts.close()
    return parts.written
