"""What a closure is, for its card: from the header of its weights, its program and the problem of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

import closura
from closura.closures._checks import count_parameters
from closura.core.definition import PROBLEMS, definition_of
from closura.export.c import hash_of
from closura.export.tables import tables
from closura.plain import plain
from closura.problems import Problem, build_problem
from closura.runs.configuration import TrainConfiguration, from_plain, to_plain

LICENCE = "MIT"


def needs_double(header: Mapping[str, Any]) -> bool:
    """Whether a closure was trained in double precision, as those at interfaces are."""
    configuration = header["metadata"].get("configuration")
    settings = configuration.get("problem", {}) if isinstance(configuration, dict) else {}
    return header["decision"].get("agents") == "interfaces" or settings.get("precision") == "float64"


def in_its_precision(header: Mapping[str, Any]) -> Any:
    """A context in which the closure of a header computes as it was trained."""
    return jax.enable_x64(needs_double(header) or bool(jax.config.read("jax_enable_x64")))


def training_of(header: Mapping[str, Any]) -> TrainConfiguration | None:
    """How it was trained, where its header says."""
    found = header["metadata"].get("configuration")
    return from_plain(found) if isinstance(found, dict) else None


def training_problem(training: TrainConfiguration) -> Problem:
    """The problem of the training; generated images where it had images, which are not needed for its range."""
    settings = training.problem
    images = {"images": "synthetic"} if hasattr(settings, "images") else {}
    return build_problem(replace(settings, **images), "train")


def described(
    name: str,
    header: Mapping[str, Any],
    closure: Any,
    *,
    training: TrainConfiguration | None = None,
    problem: Problem | None = None,
    known: Any = None,
) -> dict[str, Any]:
    """What a card says of a closure.

    Parameters
    ----------
    name
        What it is called.
    header
        Of its weights.
    closure
        As it was loaded from them.
    training, problem
        Of the training, where they are known: without the problem, grid and time step are those of the header, if it
        has them.
    known
        Lowest and highest value of each observed channel in training simulations, in the channel's unit.

    Returns
    -------
    Plain values: names, units and ranges of the channels in their order; ``grid`` in cells, ``time_step`` in the
    problem's unit of time; ``receptive_radius`` in cells, 0 for closures that see their own cell or interface only,
    None for those without a program.
    """
    spec, about = closure.spec, header["metadata"]
    physics = about.get("problem", "")
    kind = PROBLEMS.find(physics) if physics in PROBLEMS else None
    program: Any = closure.program() if hasattr(getattr(closure, "closure", closure), "program") else None
    units = kind.units if kind else {}
    standardised = "1" if spec.where == "interfaces" else ""
    found = {
        "name": name, "problem": physics,
        "about": kind.about if kind is not None and kind.about else f"learned on {physics or 'an unnamed problem'}",
        "corrects": _corrects(training), "closure": header["architecture"]["closure"],
        "parameters": count_parameters(closure),
        "receptive_radius": None if program is None else tables(program)["halo"],
        "observation": spec.observation, "units": [units.get(each, standardised) for each in spec.observation],
        "range": known, "action": spec.action, "actions": [_acts(spec, i) for i in range(len(spec.action))],
        "how_to_apply": _how(spec), "bound": spec.bound, "boundary": spec.boundary,
        "grid": _grid(spec, about, training, problem), "time_step": _time_step(about, problem),
        "learner": about.get("learner"), "updates": about.get("update"),
        "seed": None if training is None else training.seed, "validation_error": about.get("validation_error"),
        "licence": LICENCE, "citation": kind.sources if kind else (), "closura_version": closura.__version__,
        "hash": None if program is None else hash_of(program),
    }  # fmt: skip
    return dict(plain(found))


def made_for(card: Mapping[str, Any]) -> str:
    """Problem, grid and time step in words."""
    grid = f" on {' x '.join(map(str, card['grid']))} cells" if card["grid"] else ""
    step = "" if card["time_step"] is None else f", time step {card['time_step']:g}"
    return f"{card['problem'] or 'an unnamed problem'}{grid}{step}"


def says_its_grid(header: Mapping[str, Any]) -> bool:
    """Whether grid and time step stand in a header, so that the problem need not be built to know them."""
    return "grid" in header["metadata"]


def _grid(
    spec: Any, about: Mapping[str, Any], training: TrainConfiguration | None, problem: Problem | None
) -> Sequence[int]:
    """Cells along each axis of the training; along the first where closures stand at interfaces, in one flat axis.

    Any where nothing says how it was trained, and none where that alone is known.
    """
    cells = 64 if training is None else getattr(training.problem, "cells", None)
    usual = [] if cells is None else [cells] * spec.dimensions
    return list(problem.grid.shape if problem is not None else about.get("grid") or usual)[: spec.dimensions]


def _time_step(about: Mapping[str, Any], problem: Problem | None) -> float | None:
    step = about.get("time_step") if problem is None else problem.time_step
    return None if step is None else float(step)


def _corrects(training: TrainConfiguration | None) -> dict[str, Any]:
    """The settings that belong to the closure: which solver it corrects, and how."""
    if training is None:
        return {}
    return dict(definition_of(training.problem).tables(to_plain(training.problem))["correction"])


def _acts(spec: Any, i: int) -> str:
    if spec.where == "interfaces":
        return f"{spec.action[i]}: a logit"
    return f"{spec.action[i]}, taken from {spec.observation[spec.acts_on[i]]}"


def _how(spec: Any) -> str:
    if spec.where == "interfaces":
        return "The softmax over the logits of each side are the weights of its sub-stencils' values."
    if spec.unit == 1.0:
        return "Subtract the action from the field before each step of the solver."
    return (
        f"The action is a rate: subtract the time step ({spec.unit:g} in training) times the action before each step."
    )


def path_name(path: Path) -> str:
    """What a closure at a path is called: its run folder or its file."""
    folder = path.name == "weights.safetensors"
    return path.resolve().parent.name if folder else path.stem
