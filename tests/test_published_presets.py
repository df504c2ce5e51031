"""The ``paper`` preset holds every published hyper-parameter: configuration files and code, not the paper's text."""

import math
from typing import Any

import jax
import pytest

from closura.closures import build
from closura.core import ClosureSpec
from closura.learners import PPOConfiguration
from closura.problems import AdvectionConfiguration, BurgersConfiguration, build_problem
from closura.problems.advection import STATE_BOUND
from closura.problems.advection_setup import BASELINES
from closura.runs.configuration import TrainConfiguration, train_preset

# What both published runs share: configuration files, command line and trainer defaults.
LEARNING: dict[str, Any] = {
    "steps": 0,  # one whole episode per update ("EPISODE_PER_COLLECT": 1)
    "environments": 1,  # others are built, none of them is stepped
    "minibatch": 10,
    "epochs": 1,  # "repeat"
    "discount": 0.95,
    "trace": 0.95,
    "clip": 0.2,
    "value_weight": 0.5,
    "entropy_weight": 0.05,
    "learning_rate": 1e-5,
    "anneal": False,
    "weight_decay": 0.01,  # PyTorch's for AdamW
    "gradient_norm": 0.0,
    "normalise": "cell",
    "average": 0.0,
    "ends_are_terminal": True,
}
ADVECTION: dict[str, Any] = {
    "cells": 64,
    "ratio": 4,
    "courant": 0.25,
    "images": "mnist",
    "velocity": "train",
    "published_velocity": True,
    "published_boundary": True,
    "mass_weight": 0.0,
    "minimum_steps": 4,
    "maximum_steps": 100,
    "error_threshold": 0.015,
    "precision": "float32",
}
BURGERS: dict[str, Any] = {
    "cells": 30,
    "ratio": 5,
    "courant": 0.9,
    "fine_steps": 10,
    "viscosity": 0.003,
    "viscosity_factor": 1.0,
    "observe_viscosity": False,
    "initial": "published",
    "base": "upwind1",
    "reference": "upwind1",
    "published_switch": True,
    "action_bound": 1.0,
    "burn_in": 1,
    "minimum_steps": 20,
    "maximum_steps": 200,
    "error_threshold": 0.2,
    "precision": "float64",
}


@pytest.fixture(params=["advection", "burgers"])
def preset(request: pytest.FixtureRequest) -> TrainConfiguration:
    return train_preset("paper", problem=request.param)


def settings(configuration: Any, names: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(configuration, name) for name in names}


def test_learning(preset: TrainConfiguration) -> None:
    assert type(preset.learning) is PPOConfiguration
    assert settings(preset.learning, LEARNING) == LEARNING
    # No setting of the learner is left unpublished but the number of updates, which transitions end, and statistics
    # as a loss, which the publication does not have.
    assert set(preset.learning.__dataclass_fields__) - set(LEARNING) == {"statistics", "updates"}
    assert preset.learning.statistics == ()


def test_training(preset: TrainConfiguration) -> None:
    assert (preset.learner, preset.closure) == ("ppo", "ircnn")
    assert preset.transitions == 2000 * 1000  # epochs, transitions per epoch
    # Even if every episode were of the shortest length, transitions end the training and not updates.
    assert preset.learning.updates * preset.problem.minimum_steps >= preset.transitions
    assert preset.initial_std == 0.0  # the network's own
    assert preset.reference.slots == 0  # the fine solver runs in every episode
    assert preset.seed == 0
    assert (preset.validation.simulations, preset.validation.steps) == (10, 50)


def test_advection_physics() -> None:
    c = train_preset("paper").problem
    assert type(c) is AdvectionConfiguration
    assert settings(c, ADVECTION) == ADVECTION


def test_burgers_physics() -> None:
    c = train_preset("paper", problem="burgers").problem
    assert type(c) is BurgersConfiguration
    assert settings(c, BURGERS) == BURGERS


def test_advection_problem() -> None:
    """What the settings become: the schemes and steps of Closure-RL's code."""
    c = train_preset("paper").problem
    # Images need files and are not looked at here.
    problem = build_problem(AdvectionConfiguration(**{**settings(c, ADVECTION), "images": "synthetic"}))
    assert problem.time_step == 0.00390625
    coarse, fine = problem.coarse, problem.reference.solver
    assert (coarse.scheme, coarse.integrator) == ("upwind1", "forward-euler")
    assert (fine.scheme, fine.integrator, problem.reference.substeps) == ("central2", "rk4", 4)
    assert fine.grid.shape == (256, 256)
    assert BASELINES["ACGS"] == ("upwind2", "rk4")
    assert problem.begin.burn_in == 1
    assert (problem.spec.bound, STATE_BOUND) == (1.0, 3.0)
    assert problem.spec.observation == ("psi", "u", "v")
    assert problem.threshold == 0.01


def test_burgers_problem() -> None:
    problem = build_problem(train_preset("paper", problem="burgers").problem)
    assert problem.time_step == pytest.approx(0.03, rel=1e-15)
    coarse, fine = problem.coarse, problem.reference.solver
    assert (coarse.scheme, coarse.integrator) == ("upwind1", "forward-euler")
    assert (fine.scheme, fine.integrator, problem.reference.substeps) == ("upwind1", "forward-euler", 10)
    assert problem.time_step / problem.reference.substeps == pytest.approx(0.003, rel=1e-15)
    assert fine.grid.shape == (150, 150)
    assert coarse.published_switch
    assert fine.published_switch
    assert problem.begin.burn_in == 1
    assert (problem.spec.bound, STATE_BOUND) == (1.0, 3.0)
    assert problem.spec.observation == ("u", "v")
    assert len(problem.groups) == 11
    assert problem.threshold == 0.1


@pytest.mark.parametrize(
    ("observation", "action", "acts_on", "parameters"),
    [(("psi", "u", "v"), ("forcing",), (0,), 188_163), (("u", "v"), ("forcing u", "forcing v"), (0, 1), 188_741)],
)
def test_network(
    observation: tuple[str, ...], action: tuple[str, ...], acts_on: tuple[int, ...], parameters: int
) -> None:
    spec = ClosureSpec(observation, action, ("periodic", "periodic"), acts_on)
    policy = jax.eval_shape(lambda key: build("ircnn", spec, explores=True, key=key), jax.random.key(0))
    leaves = jax.tree.leaves(policy)
    assert sum(math.prod(leaf.shape) for leaf in leaves) == parameters


def test_default_is_not_the_paper() -> None:
    """The documented repairs are on by default, so that a flag goes back and not forward."""
    advection, burgers = AdvectionConfiguration(), BurgersConfiguration()
    assert not advection.published_velocity
    assert not advection.published_boundary
    assert not burgers.published_switch
    assert (burgers.initial, burgers.reference) == ("waves", "upwind5")
    assert burgers.courant < 0.9
    for problem in ("advection", "burgers"):
        default = train_preset("default", problem=problem, learner="ppo").learning
        assert not default.ends_are_terminal
        assert default.normalise == "all"
