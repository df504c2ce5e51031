"""Closures that commands are given: their names, how they were trained, what they correct, and how that is called."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from closura.closures import AnyClosure
from closura.commands.configuration import words
from closura.commands.console import console
from closura.commands.options import given
from closura.core.definition import definition_of
from closura.core.registry import PLUGINS, plugin_words
from closura.io.closures import load_closure, shipped
from closura.io.files import own_file
from closura.io.streams import printable
from closura.io.weights import read_header
from closura.problems import Problem, as_evaluated, as_trained, build_problem
from closura.problems.laws.setup import LawConfiguration, follows_state
from closura.runs import RunFolder, TrainConfiguration
from closura.runs.configuration import from_plain, problem_preset, to_plain, to_tables
from closura.runs.tracking import read_metrics

LONGEST = 255
"""Characters of a closure's name."""


def named_closure(text: str) -> tuple[str, Path]:
    """Split ``NAME=PATH``; without a name it is that of the run folder or file.

    Names of closures that come with the package are paths too, where there is no file or folder of that name.
    """
    name, separator, rest = text.partition("=")
    if not text or (separator and not _exists(text)):
        if not name or not rest:
            raise ValueError(f"expected PATH or NAME=PATH; got {text!r}")
        path = shipped(rest)
    else:
        path = shipped(text)
        folder = path if path.is_dir() else path.parent
        held = path.is_dir() or (path.name == "weights.safetensors" and RunFolder(path.parent).holds_run)
        name = folder.resolve().name if held else path.stem
    if printable(name) != name or set(name) & {"/", "\\"} or not name.strip() or len(name) > LONGEST:
        raise ValueError(
            f"a name has 1 to {LONGEST} characters, no slashes and no control characters; got {name[: 2 * LONGEST]!r}: "
            "give another with NAME=PATH"
        )
    return name, path


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long, or with a zero: certainly no file
        return False


def named_closures(texts: Sequence[str]) -> dict[str, Path]:
    """Paths by name; ValueError if two have one name."""
    found: dict[str, Path] = {}
    for text in texts:
        name, path = named_closure(text)
        if name in found:
            raise ValueError(f"two closures are called {name}: give one another name with --closure NAME=PATH")
        found[name] = path
    return found


def default_settings(name: str, arguments: Sequence[str]) -> Any:
    """Settings of a problem before options change them.

    They are the preset's; with the preset "default" all physics, else the grid, is that of the first closure that says
    how it was trained.
    """
    preset: Any = given(arguments, "--preset")["--preset"]
    preset = preset if preset in ("paper", "default") else "default"
    default = problem_preset(name, preset)
    closures = [arguments[i + 1] for i, a in enumerate(arguments[:-1]) if a == "--closure"]
    closures += [a.removeprefix("--closure=") for a in arguments if a.startswith("--closure=")]
    training = trained_settings(named_closure(closures[0])[1]) if closures else None
    if training is None or training.name != name:
        return default
    trained: Any = training.problem
    return as_evaluated(trained) if preset == "default" else replace(default, cells=trained.cells, ratio=trained.ratio)


def given_settings(arguments: Sequence[str]) -> list[str]:
    """Names of the settings that the command line decides."""
    options = [word.split("=", 1)[0].removeprefix("--") for word in arguments if word.startswith("--")]
    return sorted({option.removeprefix("no-").replace("-", "_") for option in options})


def own_settings(path: Path, configuration: Any, given: Collection[str], *, command: str = "evaluate") -> Any:
    """Settings of the problem that a closure was trained to correct; None where they are those of ``configuration``.

    Those named in ``given`` (:func:`given_settings`) are not the training's. ValueError if it was trained on another
    problem, which ``command`` evaluates.
    """
    trained = trained_settings(path)
    if trained is None:
        return None
    kinds = type(configuration), type(trained.problem)
    if not issubclass(*kinds) and not issubclass(*reversed(kinds)):
        place = shlex.quote(definition_of(trained.problem).place)
        raise ValueError(f"{path} was trained on {trained.name}: closura {command} {place} evaluates it")
    settings = as_trained(configuration, trained.problem, keep=given)
    return None if settings == configuration else settings


def check_closures(texts: Sequence[str], configuration: Any) -> None:
    """Refuse paths without a closure, and closures of other problems, before anything is simulated."""
    for path in named_closures(texts).values():
        if not path.exists():
            raise FileNotFoundError(f"there is no closure at {path}: expected a run folder or a file of weights")
        own_settings(path, configuration, ())


def load_closures(
    texts: Sequence[str], configuration: Any, problem: Problem, arguments: Sequence[str], *, command: str = "evaluate"
) -> tuple[dict[str, AnyClosure], dict[str, Problem]]:
    """The closures that a command is given, and the problems of those that were trained to correct another solver.

    ``configuration`` and ``problem`` are what they are evaluated on. Settings that belong to a closure are those of its
    training, but for those that the command's ``arguments`` name.
    """
    given = given_settings(arguments)
    closures: dict[str, AnyClosure] = {}
    own: dict[str, Problem] = {}
    for name, path in named_closures(texts).items():
        settings = own_settings(path, configuration, given, command=command)
        trained = trained_settings(path)
        cells = None if trained is None else getattr(trained.problem, "cells", None)
        if cells is not None and cells != (here := getattr(configuration, "cells", cells)):
            console.print(f"note: {name} was trained on {cells} cells, and runs on {here}", soft_wrap=True)
        if settings is not None:
            own[name] = own_problem(settings)
        closures[name] = load_closure(path, own.get(name, problem).spec)
        check_unseen(name, path, problem)
    return closures, own


def check_unseen(name: str, path: Path, problem: Problem) -> None:
    """Refuse simulations of a list that a closure has seen in its training, whatever they are called today."""
    weights = RunFolder(path).weights if path.is_dir() else path
    cases = getattr(problem.begin, "cases", None)
    if cases is None or not cases.marks or weights.suffix != ".safetensors":
        return
    seen = set(read_header(weights)["metadata"].get("seen", ()))
    if both := [mark for mark in cases.marks if mark in seen]:
        raise ValueError(
            f"{name} has seen {len(both)} of the {len(cases.marks)} simulations held out here, in its training: "
            "hold out the same ones as then, or train again"
        )


def command_tables(options: Any, settings: Any = None, arguments: Sequence[str] = (), **names: str) -> dict[str, Any]:
    """What a command was asked for, as ``--config`` takes it back, but for the places of its results.

    Settings that belong to closures are kept where the command line named them: otherwise each closure has its own.
    """
    asked = {name: value for name, value in to_plain(options).items() if name not in ("out", "json", "save")}
    tables = {} if settings is None else definition_of(settings).tables(to_plain(settings))
    named = given_settings(arguments)
    kept = {
        group: {n: v for n, v in values.items() if n not in asked and (group != "correction" or n in named)}
        for group, values in tables.items()
    }
    files = {"files": [tuple(source) for source in PLUGINS.values()]} if PLUGINS else {}
    return {**names, **files, "options": asked, **kept}


def own_problem(settings: Any) -> Problem:
    """The problem of a closure's own settings, for its solver and spec alone: no images are needed."""
    images = {"images": "synthetic"} if hasattr(settings, "images") else {}
    return build_problem(replace(settings, **images), "test")


def trained_settings(path: str | Path) -> TrainConfiguration | None:
    """How a closure was trained: settings of a run folder, or those in the header of a file of weights.

    None where there is nothing, or weights that do not say; RunError or WeightsError if a file is damaged.
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


def trainings_of(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How those closures that are runs were trained, by their names (:func:`training_of`)."""
    runs = {name: RunFolder(path if path.is_dir() else path.parent) for name, path in named_closures(texts).items()}
    return {name: training_of(run, name) for name, run in runs.items() if run.holds_run}


def training_of(run: RunFolder, name: str) -> dict[str, Any]:
    """Settings, status, metrics, versions and command of a training, and what its validation error is, for a page."""
    configuration = run.read_configuration()
    return {
        "configuration": to_plain(configuration),
        "status": run.read_status() if own_file(run.status) else {},
        "metrics": read_metrics(run.metrics) if run.metrics.exists() else [],
        "environment": run.read_environment() if own_file(run.environment) else {},
        "command": "closura train " + shlex.join([*training_arguments(configuration), "--run", name]),
        "error": validation_error(configuration),
    }


def training_arguments(configuration: TrainConfiguration) -> list[str]:
    """All settings of a training as arguments of ``closura train``, independent of presets."""
    tables = to_tables(configuration)
    problem = tables.pop("problem")
    others = [path for path, _ in tables.pop("files", ()) if not problem.startswith(f"{path}:")]
    return [problem, *(str(word) for word in words(tables)), *plugin_words(others)]


def validation_error(configuration: TrainConfiguration) -> str | None:
    """What the validation errors of a training are, where they are no fractions."""
    physics = configuration.problem
    if not isinstance(physics, LawConfiguration):
        return None
    return "minus the summed reward" if follows_state(physics) else "error"


def physics_of(configuration: Any) -> str:
    """The preset whose physics settings of a problem are: "paper", "default", or what says that they are neither.

    Settings that belong to closures do not count (:func:`closura.problems.as_evaluated`).
    """
    kind = definition_of(configuration)
    free = [each for each in (*kind.varied, "precision") if hasattr(configuration, each)]  # precision: round-off alone
    for preset in ("paper", "default"):
        try:
            known = problem_preset(kind.name, preset)
        except ValueError:  # nothing was published
            continue
        if as_evaluated(replace(known, **{f: getattr(configuration, f) for f in free})) == as_evaluated(configuration):
            return preset
    return "none: see the settings"
