"""Checkpoints of earlier versions: states of learners whose leaves stood elsewhere.

============================  =======================================================================================
stored                        today
============================  =======================================================================================
policies with an ``actor``    mean and raw spread of the actions in one array each, now ``closure.head`` and ``spread``
``parameters["group"]``       of running simulations: not kept, cases have it
``reference``, of a law       its state alone; now with the parameters of its own grid
============================  =======================================================================================

Everything else has the order of the stored leaves. Version 2 of checkpoints holds all of these layouts: which one it is
shows from the arrays.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from closura.closures import ActorCritic, ConvolutionalClosure
from closura.core.case import Case
from closura.environment import EnvironmentState
from closura.learners.state import LearnerState
from closura.problems.problem import Problem
from closura.problems.reference import SolverReference
from closura.runs.checkpoints import CheckpointError, load_checkpoint


class Layout(NamedTuple):
    """An earlier layout of states: what today's would have been, and today's from what was stored."""

    earlier: Callable[[LearnerState, Problem], PyTree[Array]]
    todays: Callable[[PyTree[Array], LearnerState, Problem], LearnerState]


def load_state(path: Path, like: LearnerState, problem: Problem, *, total: int) -> tuple[LearnerState, dict[str, Any]]:
    """The state of a learner from a checkpoint of today or of earlier versions, and its progress.

    Raises
    ------
    CheckpointError
        As :func:`~closura.runs.checkpoints.load_checkpoint`, for today's layout.
    """
    try:
        return load_checkpoint(path, like, total=total)
    except CheckpointError as error:
        for layouts in ((EPISODES,), (POLICIES,), (EPISODES, POLICIES)):
            likes = [like]
            for layout in layouts:
                likes.append(layout.earlier(likes[-1], problem))
            try:
                state, facts = load_checkpoint(path, likes.pop(), total=total)
            except CheckpointError:
                continue
            for layout in reversed(layouts):
                state = layout.todays(state, likes.pop(), problem)
            return state, facts
        raise error


def _with(carry: EnvironmentState, **changed: PyTree[Array]) -> EnvironmentState:
    """Running simulations, which have a leading axis, with other parts."""
    found: EnvironmentState = eqx.tree_at(lambda c: [getattr(c, name) for name in changed], carry, [*changed.values()])
    return found


def _has_parameters(carry: EnvironmentState) -> bool:
    """Whether the reference is a law on a grid of its own, with its parameters."""
    reference = carry.reference
    return isinstance(reference, tuple) and isinstance(reference[1], dict) and "spacing" in reference[1]


def _earlier_episodes(state: LearnerState, problem: Problem) -> LearnerState:
    carry = state.carry
    if not isinstance(carry, EnvironmentState):
        return state
    if problem.groups and isinstance(carry.parameters, dict):
        carry = _with(carry, parameters={**carry.parameters, "group": jnp.zeros_like(carry.step)})
    if _has_parameters(carry):
        carry = _with(carry, reference=carry.reference[0])
    return replace(state, carry=carry)


def _todays_episodes(stored: LearnerState, like: LearnerState, problem: Problem) -> LearnerState:
    carry = stored.carry
    if isinstance(carry.parameters, dict):
        carry = _with(carry, parameters={name: carry.parameters[name] for name in like.carry.parameters})
    if _has_parameters(like.carry) and isinstance(problem.reference, SolverReference):
        begun = jax.vmap(problem.reference.solver.init)(Case(carry.reference, carry.parameters))
        carry = _with(carry, reference=begun)
    return replace(stored, carry=carry)


class _Policy(NamedTuple):
    """A policy's arrays in their earlier order."""

    backbone: PyTree[Array]
    kernel: Array
    bias: Array
    critic: PyTree[Array]


def _had_an_actor(node: Any) -> bool:
    return isinstance(node, ActorCritic) and isinstance(node.closure, ConvolutionalClosure)


def _earlier_policy(node: Any) -> Any:
    if not _had_an_actor(node):
        return node
    mean, spread = node.closure.head, node.spread
    kernel, bias = (jnp.concatenate(pair, axis=-1) for pair in ((mean.kernel, spread.kernel), (mean.bias, spread.bias)))
    return _Policy(node.closure.backbone, kernel, bias, node.critic)


def _todays_policy(like: Any, stored: Any) -> Any:
    if not _had_an_actor(like):
        return stored
    halves = [half for array in stored[1:3] for half in jnp.split(array, 2, axis=-1)]
    return eqx.tree_at(
        lambda p: (p.closure.backbone, p.closure.head.kernel, p.spread.kernel, p.closure.head.bias, p.spread.bias,
                   p.critic),
        like, (stored.backbone, *halves, stored.critic),
    )  # fmt: skip


EPISODES = Layout(_earlier_episodes, _todays_episodes)
POLICIES = Layout(
    lambda state, problem: jax.tree.map(_earlier_policy, state, is_leaf=_had_an_actor),
    lambda stored, like, problem: jax.tree.map(_todays_policy, like, stored, is_leaf=_had_an_actor),
)
