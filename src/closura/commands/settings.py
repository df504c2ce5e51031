"""Settings that closures carry with them, and how those of a problem are called."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from closura.core.definition import definition_of
from closura.io.weights import read_header
from closura.problems import judged_on
from closura.runs import RunFolder, TrainConfiguration
from closura.runs.configuration import from_plain
from closura.runs.presets import problem_preset


def trained_settings(path: str | Path) -> TrainConfiguration | None:
    """How a closure was trained: settings of a run folder, or those in the header of a file of weights.

    None where there is nothing, or weights that do not say.

    Raises
    ------
    RunError, WeightsError
        If a file is damaged.
    """
    path = Path(path)
    if path.is_dir():
        run = RunFolder(path)
        return run.read_configuration() if run.holds_run else None
    if path.suffix != ".safetensors" or not path.exists():
        return None
    plain = read_header(path)["metadata"].get("configuration")
    try:
        return from_plain(plain, load_files=False) if isinstance(plain, dict) else None
    except ValueError:  # of another version: the weights themselves may still be used
        return None


def physics_of(configuration: Any) -> str:
    """The preset whose physics settings of a problem are: "paper", "default", or what says that they are neither.

    Settings that belong to closures do not count (:func:`closura.problems.judged_on`).
    """
    kind = definition_of(configuration)
    free = [each for each in (*kind.varied, "precision") if hasattr(configuration, each)]  # precision: round-off alone
    for preset in ("paper", "default"):
        try:
            known = problem_preset(kind.name, preset)
        except ValueError:  # nothing was published
            continue
        if judged_on(replace(known, **{f: getattr(configuration, f) for f in free})) == judged_on(configuration):
            return preset
    return "none: see the settings"
