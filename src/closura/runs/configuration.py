"""The settings of a training, written beside every result, and their presets; each problem has its own tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from closura.closures import CLOSURES, check_place
from closura.core.registry import check_unchanged, load_file, source_of
from closura.entries import ENTRIES
from closura.learners import LEARNERS
from closura.problems import PROBLEMS, family
from closura.problems.statistics import STATISTICS, OfStatistics, check_statistics
from closura.runs.reference_bank import ReferenceConfiguration
from closura.settings import Count, Natural, NotNegative, Seed, Settings, build_part, build_settings

Preset = Literal["paper", "default", "quick"]


@dataclass(frozen=True)
class ValidationConfiguration(OfStatistics):
    """How checkpoints are evaluated: on simulations that are neither in training nor in the test set.

    Where the target takes notice of the agents' state there is no reference to be near to: then the sum of the rewards
    of a simulation counts, and named initial conditions are those of training, as published. With ``statistics`` the
    distance of those counts, in the mean over all simulations and steps.

    Parameters
    ----------
    simulations
        Number of simulations.
    steps
        Coarse steps of each; the error at the last one counts (of rewards, the sum).
    every
        Updates between validations.
    """

    simulations: Count = 24
    steps: Count = 50
    every: Count = 100


@dataclass(frozen=True)
class TrainConfiguration(Settings):
    """Everything that decides the outcome of a training.

    Parameters
    ----------
    name
        The problem (default: the first).
    problem
        The problem's settings (default: its own).
    closure
        The closure's name, file or object (:data:`closura.closures.CLOSURES`; default: the first that acts where the
        problem asks).
    network
        The closure's settings (default: its own).
    initial_std
        Spread of a policy before training, in units of the action; 0 is the closure's own choice, and that of problems
        that are described by their solvers ten times the size of a typical action (``spec.scale``).
    learner
        The learner's name, file or object (:data:`closura.learners.LEARNERS`; default: the first).
    learning
        The learner's settings (default: its own).
    reference
        The store of true trajectories.
    validation
        How checkpoints are evaluated.
    keep_every
        Updates between checkpoints that are kept for good (weights, validation error),
        beside the best and the last; 0 keeps none.
    log_every
        Updates that are averaged into one row of metrics.
    transitions
        Stop after so many transitions even if updates are left; 0 sets no limit.
    seed
        Seed of everything random.
    files
        Path and SHA-256 of the files outside the package that define problem, closure and learner; filled in where not
        given.
    """

    name: str = ""
    problem: Any = None
    closure: str = ""
    network: Any = None
    initial_std: NotNegative = 0.01
    learner: str = ""
    learning: Any = None
    reference: ReferenceConfiguration = field(default_factory=ReferenceConfiguration)
    validation: ValidationConfiguration = field(default_factory=ValidationConfiguration)
    keep_every: Natural = 0
    log_every: Count = 10
    transitions: Natural = 0
    seed: Seed = 0
    files: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "name", self.name or PROBLEMS.names()[0])
        kind = family(self.name)
        if self.problem is None:
            object.__setattr__(self, "problem", kind.settings())
        if type(self.problem) is not kind.settings:
            wanted = kind.settings.__name__
            raise ValueError(f"problem {self.name!r} takes {wanted}; got {type(self.problem).__name__}")
        closure = self.closure or next(n for n in ENTRIES[CLOSURES.group] if CLOSURES.find(n).where == kind.where)
        learner = self.learner or next(iter(ENTRIES[LEARNERS.group]))
        object.__setattr__(self, "closure", closure)
        object.__setattr__(self, "learner", learner)
        check_place(closure, kind.where)
        self._complete("network", f"closure {closure!r}", CLOSURES.find(closure).settings)
        self._complete("learning", f"learner {learner!r}", LEARNERS.find(learner).settings)
        if not self.files:
            named = (*getattr(self.learning, "statistics", ()), *self.validation.statistics)
            entries = (kind, CLOSURES.find(closure), LEARNERS.find(learner), *map(STATISTICS.find, named))
            outside = dict.fromkeys(tuple(source) for entry in entries if (source := source_of(entry)) is not None)
            object.__setattr__(self, "files", tuple(outside))
        follows = kind.follows_state(self.problem)
        check_statistics(self.validation, follows_state=follows)
        if follows and self.reference.slots:
            raise ValueError(
                "the target takes notice of the agents' state, so that no reference can be stored: set "
                "reference.slots to 0"
            )
        LEARNERS.find(learner).make.check(self, follows_state=follows)
        if LEARNERS.find(learner).explores and (calls := kind.several_calls(self.problem)):
            raise ValueError(f"{self.learner} takes one action a step, and {calls}")

    def _complete(self, name: str, whose: str, wanted: type[Settings]) -> None:
        """Fill in default settings; refuse those of something else."""
        settings = getattr(self, name)
        if settings is None:
            object.__setattr__(self, name, wanted())
        elif type(settings) is not wanted:
            raise ValueError(f"{whose} takes {wanted.__name__}; got {type(settings).__name__}")


def to_plain(configuration: Any) -> Any:
    """A configuration as JSON can hold it."""
    if is_dataclass(configuration) and not isinstance(configuration, type):
        return {f.name: to_plain(getattr(configuration, f.name)) for f in fields(configuration)}
    if isinstance(configuration, tuple | list):
        return [to_plain(item) for item in configuration]
    return configuration


def to_tables(configuration: Any) -> dict[str, Any]:
    """A configuration as ``--config`` takes it back: names first, then a table for each group of settings."""
    plain = to_plain(configuration)
    tables: dict[str, Any] = {"problem": plain.pop("name")}
    if isinstance(configuration, TrainConfiguration):
        kind = family(configuration.name)
        tables = {"problem": kind.place}
        network = {CLOSURES.find(configuration.closure).group: plain.pop("network")}
        plain |= kind.tables(plain.pop("problem")) | network
    if "filtering" in plain:
        plain["filter"] = plain.pop("filtering")
    return {**tables, **plain}


def from_plain(plain: dict[str, Any], *, load_files: bool = True) -> TrainConfiguration:
    """The configuration that :func:`to_plain` wrote.

    Earlier ones have the settings of every closure under its name; that of the chosen one counts. With
    ``load_files`` the files outside the package that it names are imported where needed, if they are as they were.
    """
    try:
        values = dict(plain)
        if load_files:
            _load_files(values)
        for name in ("name", "closure", "learner"):
            if not isinstance(values[name], str):
                raise ValueError(f"{name} must be text; got {values[name]!r}")
        known = {f.name for f in fields(TrainConfiguration)}
        earlier = {name: values.pop(name) for name in CLOSURES if name in values and name not in known}
        network = values.get("network", earlier.get(values["closure"], {}))
        values["network"] = build_part("network", CLOSURES.find(values["closure"]).settings, network)
        values["learning"] = build_part("learning", LEARNERS.find(values["learner"]).settings, values["learning"])
        values["problem"] = build_part("problem", family(values["name"]).settings, values["problem"])
        return build_settings(TrainConfiguration, values)
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"not a configuration of a training: {error}") from error


def _load_files(values: Mapping[str, Any]) -> None:
    parts = [part for part in (values.get("learning"), values.get("validation")) if isinstance(part, dict)]
    statistics = [(STATISTICS, name) for part in parts for name in part.get("statistics", ())]
    named: Any = ((PROBLEMS, values["name"]), (CLOSURES, values["closure"]), (LEARNERS, values["learner"]), *statistics)
    missing = [
        f"{registry.what} {name}"
        for registry, name in named
        if isinstance(name, str) and name not in registry and ":" not in name
    ]
    for path, sha256 in values.get("files", ()) if missing else ():
        check_unchanged(path, sha256, f"{' and '.join(missing)} of this run")
        load_file(path)


def differences(a: Any, b: Any, prefix: str = "") -> list[str]:
    """Settings in which two plain configurations differ, as ``name: a -> b``."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [*a, *(name for name in b if name not in a)]
        return [
            line
            for name in names
            for line in differences(a.get(name), b.get(name), f"{prefix}.{name}" if prefix else name)
        ]
    return [] if a == b else [f"{prefix}: {a} -> {b}"]


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
        the settings of its parts, a tenth of the learner's updates for ``quick``, and has no ``paper``.
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
    if preset == "paper" and not tables:
        raise ValueError(f"nothing was published of {kind.name}: choose preset default or quick")
    learner = learner or tables.get("learner") or next(iter(ENTRIES[LEARNERS.group]))
    if LEARNERS.find(learner).explores:
        tables |= tables.get("exploring", {})
    closure = closure or tables.get("closure", "")
    own = {"learner": learner, "closure": closure}
    if not tables:
        own["initial_std"] = 0.0  # the size of a typical action, which is the problem's
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
