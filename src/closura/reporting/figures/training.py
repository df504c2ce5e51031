"""Training, as its metrics tell it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from closura.reporting.style import figure_settings, new_figure, plain_log_axis, save_figure

# Panel title, its unit on the axis, and the words of which one must be in a key of the metrics.
TRAINING_PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("reward", "reward", ("reward", "return")),
    (
        "validation error",
        "error (%)",
        ("validation_error", "validation/error", "validation_relative_mae"),
    ),
    ("episode length", "steps", ("episode_length", "episode/length")),
    ("policy spread", "standard deviation", ("policy_std", "policy/std", "action_std")),
    ("loss", "loss", ("loss",)),
    ("entropy", "entropy", ("entropy",)),
)
_STEP_KEYS = ("epoch", "update", "environment_steps", "step")


def training_curves(
    metrics: Sequence[Mapping[str, Any]], path: str | Path | None = None, *, validation: str | None = None
) -> Figure:
    """Whatever the rows of a ``metrics.jsonl`` say about training, one panel per kind of number.

    Closure-RL, Fig. 10 and 11. Reward, validation error, episode length, spread of the policy, losses and entropy are
    drawn if some row has a key that contains their name. Long series are drawn faintly, with a running mean on top.

    Parameters
    ----------
    metrics
        The rows.
    path
        File to write (default: none).
    validation
        What the validation errors are, for their axis; drawn as they are. By default they are fractions, drawn in
        percent.
    """
    axis_key, panels = _axis_key(metrics), training_panels(metrics)
    if not panels:
        wanted = ", ".join(title for title, *_ in TRAINING_PANELS)
        raise ValueError(f"no row of the metrics has any of: {wanted}; nothing to draw")
    colours = ("#0077BB", "#EE7733", "#228833", "#882299", "#555555", "#CC3311")
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with figure_settings():
        figure = new_figure(3.4 * columns, 2.6 * rows)
        for index, (title, unit, series) in enumerate(panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            if title == "validation error" and validation is not None:
                unit = validation
            scale = 100.0 if "%" in unit else 1.0
            smallest = np.inf
            for number, (key, (x, y)) in enumerate(series.items()):
                colour, label = colours[number % len(colours)], key if len(series) > 1 else None
                if len(y) > 60:
                    window = len(y) // 30
                    axes.plot(x, scale * y, color=colour, linewidth=0.6, alpha=0.35)
                    x, y = (
                        x[window // 2 :][: len(y) - window + 1],
                        np.convolve(y, np.full(window, 1 / window), "valid"),
                    )  # centred
                marker = "o" if len(y) < 12 else None
                axes.plot(x, scale * y, color=colour, linewidth=1.6, marker=marker, markersize=3, label=label)
                smallest = min(smallest, float(y.min()))
            if title in ("validation error", "policy spread") and smallest > 0:
                axes.set_yscale("log")
                plain_log_axis(axes)
            axes.set_title(title)
            axes.set_ylabel(unit)
            axes.set_xlabel((axis_key or "row").replace("_", " "))
            if len(series) > 1:
                axes.legend(fontsize=7)
        return save_figure(figure, path)


def training_panels(
    metrics: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """Title, unit and series (positions, values) of each panel for which some row has a number."""
    axis_key, panels = _axis_key(metrics), []
    for title, unit, words in TRAINING_PANELS:
        keys = sorted({key for row in metrics for key in row if any(word in key.lower() for word in words)})
        series = {key: _series(metrics, key, axis_key) for key in keys}
        series = {key: points for key, points in series.items() if points[0].size}
        if series:
            panels.append((title, unit, series))
    return panels


def _axis_key(metrics: Sequence[Mapping[str, Any]]) -> str | None:
    return next((key for key in _STEP_KEYS if any(key in row for row in metrics)), None)


def _series(metrics: Sequence[Mapping[str, Any]], key: str, axis_key: str | None) -> tuple[np.ndarray, np.ndarray]:
    points = []
    for number, row in enumerate(metrics):
        value, at = row.get(key), number if axis_key is None else row.get(axis_key)
        if isinstance(value, int | float) and isinstance(at, int | float) and np.isfinite(value):
            points.append((float(at), float(value)))
    array = np.asarray(points, np.float64).reshape(-1, 2)
    return array[:, 0], array[:, 1]
