"""Unfinished trainings of earlier versions go on: their states in today's layout."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, PyTree

from closura.closures import ActorCritic, build
from closura.learners import PPO, LearnerState, PPOConfiguration
from closura.problems import AdvectionConfiguration, BurgersConfiguration, Problem, advection, burgers
from closura.problems.laws.setup import Burgers1DConfiguration, conservation_law
from closura.runs.checkpoints import CheckpointError, save_checkpoint
from closura.runs.earlier import load_state


class Policy(NamedTuple):
    """Mean and raw spread of actions in one array."""

    backbone: PyTree[Array]
    kernel: Array
    bias: Array
    critic: PyTree[Array]


class Episode(NamedTuple):
    """A running simulation."""

    state: Array
    parameters: PyTree[Array]
    target: PyTree[Array]
    step: Array
    quantities: Array


def policies(state: LearnerState) -> LearnerState:
    """With earlier policies."""

    def earlier(node: Any) -> Any:
        if not isinstance(node, ActorCritic):
            return node
        head, spread = node.closure.head, node.spread
        pairs = (head.kernel, spread.kernel), (head.bias, spread.bias)
        return Policy(node.closure.backbone, *(jnp.concatenate(pair, axis=-1) for pair in pairs), node.critic)

    return jax.tree.map(earlier, state, is_leaf=lambda node: isinstance(node, ActorCritic))


def laws(state: LearnerState) -> LearnerState:
    """The reference of a law was the state alone."""
    c = state.carry
    return replace(state, carry=Episode(c.state, c.parameters, c.reference[0], c.step, c.quantities))


def groups(state: LearnerState) -> LearnerState:
    """Parameters held the group, and the reference the viscosity alone."""
    c = state.carry
    reference = (c.reference[0], c.reference[1]["viscosity"])
    parameters = {**c.parameters, "group": jnp.ones_like(c.step)}
    return replace(state, carry=Episode(c.state, parameters, reference, c.step, c.quantities))


def both(state: LearnerState) -> LearnerState:
    """Groups and earlier policies."""
    return groups(policies(state))


def law() -> Problem:
    return conservation_law(Burgers1DConfiguration(cells=16, steps=4, ratio=3))


def grouped() -> Problem:
    return burgers(BurgersConfiguration(cells=10, ratio=2, initial="published"))


def pictures() -> Problem:
    return advection(AdvectionConfiguration(cells=8, ratio=2, images="synthetic"))


CASES = [
    (law, "weights", {"hidden": (4,)}, laws),
    (grouped, "compact", {"channels": 4, "layers": 1, "output": "action"}, groups),
    (grouped, "compact", {"channels": 4, "layers": 1, "output": "action"}, both),
    (pictures, "compact", {"channels": 4, "layers": 1, "output": "action"}, policies),
]


@pytest.mark.parametrize(("make", "closure", "options", "layout"), CASES)
def test_checkpoints_of_earlier_layouts_load(
    tmp_path: Path, make: Callable[[], Problem], closure: str, options: dict[str, Any], layout: Callable[..., Any]
) -> None:
    problem = make()
    policy = build(closure, problem.spec, explores=True, options=options, key=jax.random.key(0))
    learner = PPO(PPOConfiguration(updates=1, environments=2, steps=2, minibatch=2, epochs=1))
    state, other = (learner.init(problem, policy, key=jax.random.key(seed)) for seed in (1, 2))
    earlier = layout(state)
    assert len(jax.tree.leaves(earlier)) != len(jax.tree.leaves(state))
    save_checkpoint(tmp_path / "checkpoint", earlier, {"update": 0, "best": None, "seconds": 0.0})
    again, _ = load_state(tmp_path / "checkpoint", other, problem, total=1)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
    wider = build(closure, problem.spec, explores=True, options={**options, **WIDER[closure]}, key=jax.random.key(0))
    with pytest.raises(CheckpointError, match="does not fit this training"):
        load_state(tmp_path / "checkpoint", learner.init(problem, wider, key=jax.random.key(1)), problem, total=1)


WIDER = {"weights": {"hidden": (5,)}, "compact": {"channels": 5}}
