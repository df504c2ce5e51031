"""The problems that can be asked for by name, each with the class of its settings."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from closura.core.specification import Place
from closura.problems.advection_setup import AdvectionConfiguration, advection, paper
from closura.problems.burgers_setup import BurgersConfiguration, burgers, published
from closura.problems.kolmogorov.configuration import KolmogorovConfiguration
from closura.problems.kolmogorov.setup import kolmogorov
from closura.problems.kolmogorov.turbulence import TurbulenceConfiguration
from closura.problems.laws.setup import (
    Burgers1DConfiguration,
    Burgers2DConfiguration,
    Euler1DConfiguration,
    Euler2DConfiguration,
    conservation_law,
    follows_state,
)
from closura.problems.laws.setup import published as published_law
from closura.problems.problem import Problem

ProblemName = Literal[
    "advection", "burgers", "burgers-1d", "burgers-2d", "euler-1d", "euler-2d", "kolmogorov", "turbulence"
]


class Family(NamedTuple):
    """A kind of problem.

    ``configuration`` is the class of its settings, ``build`` makes the problem of them, ``published`` turns the
    published code's physics on, ``label`` names their initial data, for folders. ``where`` says where closures act
    (:class:`~closura.core.ClosureSpec`), ``follows_state`` whether the target takes notice of the coarse state.
    """

    configuration: type
    build: Callable[..., Problem]
    published: Callable[[Any], Any]
    label: Callable[[Any], str]
    where: Place = "cells"
    follows_state: Callable[[Any], bool] = lambda c: False


def _law(configuration: type) -> Family:
    return Family(configuration, conservation_law, published_law, lambda c: c.label, "interfaces", follows_state)


PROBLEMS: dict[str, Family] = {
    "advection": Family(AdvectionConfiguration, advection, paper, lambda c: c.images),
    "burgers": Family(BurgersConfiguration, burgers, published, lambda c: c.initial),
    "burgers-1d": _law(Burgers1DConfiguration),
    "burgers-2d": _law(Burgers2DConfiguration),
    "euler-1d": _law(Euler1DConfiguration),
    "euler-2d": _law(Euler2DConfiguration),
    # Nothing of this kind was published: the same settings.
    "kolmogorov": Family(KolmogorovConfiguration, kolmogorov, lambda c: c, lambda c: f"re{c.reynolds:g}-{c.cells}"),
    "turbulence": Family(TurbulenceConfiguration, kolmogorov, lambda c: c, lambda c: f"re{c.reynolds:g}-{c.cells}"),
}


def family(name: str) -> Family:
    """The problem of a name.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the valid ones.
    """
    if name not in PROBLEMS:
        raise ValueError(f"unknown problem {name!r}; valid: {', '.join(PROBLEMS)}")
    return PROBLEMS[name]


def build_problem(configuration: Any, split: str = "train", *, data_dir: str | Path | None = None) -> Problem:
    """Build the problem that settings describe; their class says which it is.

    Parameters
    ----------
    configuration
        Settings of any registered problem.
    split
        "train", "validation" or "test".
    data_dir
        Folder with image files, for problems that use them.

    Raises
    ------
    TypeError
        If the settings belong to no registered problem.
    """
    for known in PROBLEMS.values():
        if type(configuration) is known.configuration:
            return known.build(configuration, split, data_dir=data_dir)
    raise TypeError(f"{type(configuration).__name__} are no settings of a problem; valid: {', '.join(PROBLEMS)}")


OF_THE_CLOSURE = (
    *("base", "solver", "convection", "coarse_steps"),
    *("action", "action_bound", "observe_viscosity", "observe_forcing", "speed"),
    *("orientations", "reward", "reward_band", "reward_weights"),
    *("observe_sizes", "positivity", "overshoot"),
    *("mass_weight", "minimum_steps", "maximum_steps", "error_threshold"),
)
"""Settings of a problem that change what learns or what it corrects, but neither truth nor rivals."""


def judged_on(configuration: Any) -> Any:
    """Settings of a problem without those that belong to a closure: equal ones share truth and rivals."""
    usual = type(configuration)()
    ours = {name: getattr(usual, name) for name in OF_THE_CLOSURE if hasattr(configuration, name)}
    if isinstance(configuration, KolmogorovConfiguration) and (
        (configuration.time_step, configuration.cells) != (usual.time_step, usual.cells)
    ):
        ours["coarse_steps"] = 0  # the usual number is for the usual time step and grid: as many as stability needs
    return replace(configuration, **ours)


OF_THE_RIVALS = ("finer", "others", "smagorinsky")
"""Settings of a problem that change its rivals alone."""


def truth_identity(configuration: Any, split: str) -> str:
    """Text that tells the truth of these settings and split from all others; settings with equal truth share it."""
    apart = (*OF_THE_CLOSURE, *OF_THE_RIVALS)
    settings = {name: value for name, value in asdict(configuration).items() if name not in apart}
    # The solver decides how the coarse grid represents the truth.
    staggered = getattr(configuration, "solver", None) == "staggered"
    return json.dumps([split, type(configuration).__name__, staggered, settings], sort_keys=True, default=str)


def as_trained(configuration: Any, trained: Any, *, keep: Collection[str] = ()) -> Any:
    """The settings with those that belong to a closure taken from its training, but for some names to keep."""
    taken = [name for name in OF_THE_CLOSURE if hasattr(trained, name) and name not in keep]
    theirs = {name: getattr(trained, name) for name in taken}
    return replace(configuration, **theirs)
