"""What a problem is before its settings are known: their classes, presets, the function that builds it, baselines."""

import inspect
import json
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from closura.core.registry import Registry, source_of
from closura.core.solver import Solver
from closura.grids import Grid
from closura.settings import NoSettings, as_tuples, check_kind

Split = Literal["train", "validation", "test"]
GROUPS = ("physics", "correction", "baselines")
"""Groups of a problem's settings."""


@dataclass(frozen=True)
class ProblemDefinition:
    """A problem that can be asked for by name; see :func:`problem`.

    Parameters
    ----------
    name
        Its name.
    function
        ``function(settings, split, data_dir=)`` builds the problem.
    physics, correction, baselines
        Classes of its settings: what decides reference and uncorrected physics; what a closure sees and does; which
        baselines it is compared with.
    settings
        All of them in one class.
    presets
        Settings of trainings by the preset's name, as nested tables: ``learner``, ``closure``, ``physics``,
        ``correction``, ``baselines``, ``network.CLOSURE``, ``learning.LEARNER``, ``reference``, ``validation``, further
        settings of the training, and ``exploring``, tables that stand instead of these for learners that explore. Text
        instead of a table says why there is none. Or paths of TOML files that hold them.
    varied
        Settings that were published with several values.
    label
        ``label(settings)`` names their initial data, for folders.
    where
        Where closures act: in "cells", or at "interfaces" between them.
    follows_state
        ``follows_state(settings)``: whether the reference follows the corrected state, so that it cannot be stored.
    several_calls
        ``several_calls(settings)``: where a step calls the closure more than once, what calls it, and the remedy; else
        nothing.
    sources
        BibTeX of the publications behind it.
    reads_data
        Whether the function takes ``data_dir``.
    metrics, methods
        ``metrics()``: titles by name of what evaluations measure, and ``methods()``: names of its baselines (default:
        as the problem says that its usual settings build).
    about
        What it is, in a line (default: the first line of the function's docstring).
    units
        Units of the channels that closures observe, by name; "1" for pure numbers.
    """

    name: str
    function: Callable[..., Any]
    physics: type[Any]
    correction: type[Any] = NoSettings
    baselines: type[Any] = NoSettings
    settings: type[Any] = NoSettings
    presets: Mapping[str, Any] | Sequence[Path] = field(default_factory=dict)
    varied: tuple[str, ...] = ()
    label: Callable[[Any], str] = lambda settings: "data"
    where: Literal["cells", "interfaces"] = "cells"
    follows_state: Callable[[Any], bool] = lambda settings: False
    several_calls: Callable[[Any], str] = lambda settings: ""
    sources: tuple[str, ...] = ()
    reads_data: bool = False
    metrics: Callable[[], Mapping[str, str]] | None = None
    methods: Callable[[], Sequence[str]] | None = None
    about: str = ""
    units: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, settings: Any, split: str = "train", *, data_dir: str | Path | None = None) -> Any:
        """The problem that settings describe.

        Raises
        ------
        TypeError
            If they are not this problem's.
        ValueError
            If they are refused.
        """
        if not isinstance(settings, self.settings):
            raise TypeError(
                f"{self.name} takes {self.settings.__name__}, which its attribute `settings` is; got "
                f"{type(settings).__name__}"
            )
        return self.function(settings, split, data_dir=data_dir)

    @property
    def place(self) -> str:
        """What names it on the command line: its name, or the file that it is in."""
        source = source_of(self)
        return self.name if source is None else f"{source.path}:{self.name}"

    def preset(self, name: str) -> Mapping[str, Any]:
        """The tables of a preset; empty where the problem has none of that name."""
        tables = self._presets()
        found: Any = tables.get(name, {})
        if isinstance(found, str):
            others = [other for other, table in tables.items() if not isinstance(table, str)]
            raise ValueError(f"{found}: choose preset {' or '.join(others)}")
        return found

    def has_preset(self, name: str) -> bool:
        """Whether there are tables of a preset."""
        return isinstance(self._presets().get(name), Mapping)

    def published(self, settings: Any) -> Any:
        """Settings with the published physics, as far as some were published and not varied."""
        tables: Any = self._presets().get("paper", {})
        values = {} if isinstance(tables, str) else self.values(tables)
        return replace(settings, **{name: as_tuples(v) for name, v in values.items() if name not in self.varied})

    @staticmethod
    def values(tables: Mapping[str, Any]) -> dict[str, Any]:
        """The problem's settings among the tables of a preset or a configuration."""
        return {n: v for group in GROUPS for n, v in tables.get(group, {}).items()}

    def tables(self, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Values of settings by group."""
        kinds = {group: getattr(self, group) for group in GROUPS}
        return {g: {f.name: values[f.name] for f in fields(kind)} for g, kind in kinds.items()}

    def _presets(self) -> Mapping[str, Any]:
        return self.presets if isinstance(self.presets, Mapping) else _read_tables(tuple(self.presets))

    def names(self, *kinds: type[Any]) -> tuple[str, ...]:
        """Names of the settings in groups."""
        return tuple(f.name for kind in kinds for f in fields(kind))

    def uncorrected(self, settings: Any) -> Any:
        """Settings without those that belong to a closure: equal ones share reference and baselines."""
        usual = self.settings()
        found = replace(settings, **{name: getattr(usual, name) for name in self.names(self.correction)})
        # The usual number of something may be for the usual grid alone.
        return found.suited() if hasattr(found, "suited") else found

    def as_trained(self, settings: Any, trained: Any, *, keep: Collection[str] = ()) -> Any:
        """Settings with those that belong to a closure taken from its training, but for some names to keep."""
        taken = [name for name in self.names(self.correction) if name not in keep]
        return replace(settings, **{name: getattr(trained, name) for name in taken})

    def reference_identity(self, settings: Any, split: str) -> str:
        """Text that tells the reference of these settings and split from all others."""
        apart = self.names(self.correction, self.baselines)
        known = {name: value for name, value in asdict(settings).items() if name not in apart}
        # Solvers may represent the reference differently on the coarse grid.
        form = getattr(settings, "representation", False)
        return json.dumps([split, type(settings).__name__, form, known], sort_keys=True, default=str)


@cache
def _read_tables(paths: tuple[Path, ...]) -> dict[str, Any]:
    """Tables of TOML files, the later ones within the earlier ones."""
    found: dict[str, Any] = {}
    for path in paths:
        found = _merged(found, tomllib.loads(path.read_text(encoding="utf-8")))
    return found


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    nested = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, dict) and isinstance(below.get(name), dict)
    }
    return {**below, **above, **nested}


PROBLEMS: Registry[ProblemDefinition] = Registry("problem", ProblemDefinition)


def problem(
    name: str,
    *,
    physics: type[Any],
    correction: type[Any] = NoSettings,
    baselines: type[Any] = NoSettings,
    settings: type[Any] | None = None,
    presets: Mapping[str, Any] | str | Sequence[str] = (),
    **about: Any,
) -> Callable[[Callable[..., Any]], ProblemDefinition]:
    """Register a function that builds a problem.

    .. code-block:: python

        @dataclass(frozen=True)
        class WavePhysics(closura.Settings):
            cells: closura.Count = 64

        @closura.problem("wave", physics=WavePhysics)
        def wave(settings, split):
            ...
            return closura.Problem.from_solvers(...)

    Parameters
    ----------
    name
        Its name, on the command line and in run folders.
    physics, correction, baselines
        Dataclasses of settings (:class:`closura.settings.Settings`), whose names differ.
    settings
        All of them in one class (default: made of the three). The function takes an instance, the split ("train",
        "validation" or "test") and, if it wants to, ``data_dir``.
    presets
        Tables of settings by the preset's name, or TOML files that hold them, beside the function's own; see
        :class:`ProblemDefinition`.
    about
        See :class:`ProblemDefinition`.

    Raises
    ------
    ValueError
        If two groups have a setting of one name, or something else than a class of settings is given; of the decorated
        function, if it takes other arguments.
    """
    groups = (physics, correction, baselines)
    for group in groups:
        check_kind(group, f"problem {name!r}")
    names = [f.name for group in groups for f in fields(group)]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"problem {name!r}: two groups of settings have {', '.join(twice)}")

    def register(function: Callable[..., Any]) -> ProblemDefinition:
        joined = settings or _joined(function.__name__, groups)
        takes = inspect.signature(function).parameters
        try:
            inspect.signature(function).bind(None, None, **({"data_dir": None} if "data_dir" in takes else {}))
        except TypeError as error:
            wanted = f"{function.__name__}(physics, split)"
            raise ValueError(f"problem {name!r}: define {wanted}; got ({', '.join(takes)})") from error
        build = function if "data_dir" in takes else lambda s, split, data_dir=None: function(s, split)
        folder = Path(sys.modules[function.__module__].__file__ or "").parent
        files = [presets] if isinstance(presets, str) else presets
        tables = files if isinstance(files, Mapping) else [folder / file for file in files]
        first = next(iter((inspect.getdoc(function) or "").splitlines()), "")
        known = {"about": first, "reads_data": "data_dir" in takes, **about}
        found = ProblemDefinition(name, build, *groups, joined, tables, **known)
        object.__setattr__(found, "__module__", function.__module__)
        return PROBLEMS.add(name, found)

    return register


def _joined(name: str, groups: tuple[type[Any], ...]) -> type[Any]:
    """One class of all groups, the first group's settings first."""
    bases = tuple(group for group in reversed(groups) if group is not NoSettings)
    return make_dataclass(f"{name.title().replace('_', '')}Settings", [], bases=bases, frozen=True)


def definition_of(settings: Any) -> ProblemDefinition:
    """The problem that settings belong to."""
    for known in (*PROBLEMS.loaded().values(), *PROBLEMS.all().values()):
        if type(settings) is known.settings:
            return known
    raise TypeError(f"{type(settings).__name__} are no settings of a problem; valid: {', '.join(PROBLEMS)}")


@dataclass(frozen=True)
class Baseline:
    """A classical method of a problem; see :func:`baseline`."""

    name: str
    problem: str
    make: Callable[[Grid], Solver]

    def __call__(self, grid: Grid) -> Solver:
        """The solver on a grid."""
        made = self.make(grid)
        if not isinstance(made, Solver):
            raise ValueError(f"baseline {self.name}: expected a closura.Solver; got {type(made).__name__}")
        return made


BASELINES: Registry[Baseline] = Registry("baseline", Baseline)


def baseline(name: str, *, problem: str) -> Callable[[Callable[[Grid], Solver]], Baseline]:
    """Register a function that makes a solver on a grid as a baseline of a problem.

    .. code-block:: python

        @closura.baseline("lax-wendroff", problem="wave")
        def lax_wendroff(grid):
            return LaxWendroff(grid)

    It is in every evaluation and benchmark of the problem, built-in ones too (but for conservation laws, whose methods
    are fluxes). Baselines of several problems may have one name.
    """
    return lambda make: BASELINES.add(f"{name}@{problem}", Baseline(name, problem, make))


def baselines_of(problem: str, taken: Collection[str]) -> dict[str, Baseline]:
    """What files and packages add to a problem, whose own methods are ``taken``."""
    found = {each.name: each for each in BASELINES.added().values() if each.problem == problem}
    for name in found:
        if name in taken:
            raise ValueError(f"baseline {name!r} is already a method of {problem}: give it another name")
    return found
