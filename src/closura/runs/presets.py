"""Presets: settings of a training that belong together, under a name; each problem has its own tables of them."""

from dataclasses import fields, replace
from typing import Any

from closura.closures import CLOSURES
from closura.core.definition import PROBLEMS
from closura.entries import ENTRIES
from closura.learners import LEARNERS
from closura.runs.configuration import Preset, TrainConfiguration, ValidationConfiguration
from closura.runs.reference_bank import ReferenceConfiguration
from closura.settings import build_part

PRESETS: tuple[Preset, ...] = ("paper", "default", "quick")


def problem_preset(problem: str, preset: Preset) -> Any:
    """Settings of a problem: the published physics, ours, or a small quick one.

    They are those of the preset's training with its own learner.
    """
    return train_preset(preset, problem=problem).problem


def train_preset(
    preset: Preset, *, problem: str = "", learner: str | None = None, closure: str | None = None
) -> TrainConfiguration:
    """All settings of a training.

    Parameters
    ----------
    preset
        ``paper``: what was published. ``default``: what learns best. ``quick``: minutes. The problem's tables
        (:attr:`~closura.core.definition.ProblemDefinition.presets`) say what that is; a problem without tables takes
        the settings of its parts, and a tenth of the learner's updates for ``quick``.
    problem
        The problem (default: the first).
    learner, closure
        Others than the preset's. A learner that the tables do not know has its own settings, with the other tables
        for a learner of its kind (one that explores or not).

    Raises
    ------
    ValueError
        If a name is unknown, or the problem has no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"unknown preset {preset!r}; valid: {', '.join(PRESETS)}")
    kind = PROBLEMS.find(problem or PROBLEMS.names()[0])
    tables = dict(kind.preset(preset))
    learner = learner or tables.get("learner") or next(iter(ENTRIES[LEARNERS.group]))
    if LEARNERS.find(learner).explores:
        tables |= tables.get("exploring", {})
    closure = closure or tables.get("closure", "")
    own = {"learner": learner, "closure": closure}
    own |= {f.name: tables[f.name] for f in fields(TrainConfiguration) if f.name in tables and f.name not in own}
    parts = {
        "problem": (kind.settings, kind.values(tables)),
        "network": (CLOSURES.find(closure).settings if closure else None, tables.get("network", {}).get(closure)),
        "learning": (LEARNERS.find(learner).settings, tables.get("learning", {}).get(learner)),
        "reference": (ReferenceConfiguration, tables.get("reference", {})),
        "validation": (ValidationConfiguration, tables.get("validation", {})),
    }
    built = {name: build_part(name, of, values) for name, (of, values) in parts.items() if of and values is not None}
    found = TrainConfiguration(**{**own, "network": None, "learning": None, **built}, name=kind.name)
    if preset != "quick" or tables or not hasattr(found.learning, "updates"):
        return found
    return replace(found, learning=replace(found.learning, updates=max(1, found.learning.updates // 10)))
