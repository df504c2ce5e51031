"""All figures of an evaluation, written into one folder."""

from collections.abc import Mapping, Sequence
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
        if evaluation.scale is not None:
            # The median: a mean that one simulation spoils says nothing about the decay of the field.
            error_curves(
                evaluation, target("error_curves_initial"), median=True, initial=True, trained_steps=trained_steps
            )
        steps_below_threshold_violins(evaluation, target("steps_below_threshold"))
    if methods and evaluation.groups:
        group_errors(evaluation, target("groups"))
    if any(method.diverged for method in methods):
        divergence_curves(evaluation, target("divergence"))
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
        if acting(evaluation):
            action_strips(evaluation, target("actions"))
        if len(evaluation.frame_steps) > 1:
            write_animation(evaluation, target("animation", ".gif"))
    if metrics and training_panels(metrics):
        training_curves(metrics, target("training"), validation=f"{evaluation.error_name} (%)")
    return written
