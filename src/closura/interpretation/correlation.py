"""Learned actions beside optimal ones: Closure-RL, appendix G and table 6."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from closura.arrays import check_unmasked, real_numbers
from closura.interpretation.collect import Trajectories
from closura.interpretation.truncation import truncation_of, velocity_channels
from closura.problems.problem import Problem

THEORY, NOTEBOOK, PLUS = "theory", "notebook", "theory, + time term"

PUBLISHED_STEP = 17
"""The notebook compares the action at step 17 with the estimate at 16."""


@dataclass(frozen=True)
class Comparison:
    """The action on one component beside an estimate of the optimal one.

    Parameters
    ----------
    formula
        "theory": the derived optimum. "notebook": as the paper's notebook computes it. "theory, + time term":
        the theory with the sign of the paper's equation 22.
    component
        Name of the component that the action is subtracted from.
    step
        Step of the actions; the estimates are those of the step before.
    action, optimal
        Fields of all simulations, ``(simulation, *grid)``, in the units of the action.
    correlation
        Pearson correlation over the grid, ``(simulation,)``; NaN where it is not defined.
    slope
        Learned action per optimal one, by least squares without offset, ``(simulation,)``.
    """

    formula: str
    component: str
    step: int
    action: Float[np.ndarray, "simulation *grid"]
    optimal: Float[np.ndarray, "simulation *grid"]
    correlation: Float[np.ndarray, " simulation"]
    slope: Float[np.ndarray, " simulation"]


def pearson(
    a: Float[np.ndarray, "simulation *grid"], b: Float[np.ndarray, "simulation *grid"]
) -> Float[np.ndarray, " simulation"]:
    """Pearson correlation over the grid; NaN where a field is constant or not finite, ValueError if it is masked."""
    a, b = (real_numbers(x, "a field", finite=False) for x in (a, b))
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
        return (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))


def compare(
    problem: Problem, trajectories: Trajectories, *, scale: float, step: int = PUBLISHED_STEP
) -> list[Comparison]:
    """Compare the actions at a step, from 3 on, with the optimal actions for the error of the step before.

    ``scale`` is what actions are multiplied by (:func:`closura.interpretation.collect.action_scale`). For every
    component there is the theory; for a two-dimensional field in a given velocity (the paper's case) also the
    notebook's formula, and the theory with the time term's sign as in the paper.

    Raises
    ------
    ValueError
        If the step does not fit the trajectories, or there is no theory for the problem's scheme.
    """
    if not 3 <= step <= trajectories.state.shape[1] - 2:
        raise ValueError(
            f"actions are compared at a step from 3 to {trajectories.state.shape[1] - 2} "
            f"({trajectories.state.shape[1]} states were kept); got {step}"
        )
    theory, velocities = truncation_of(problem), velocity_channels(problem.spec)
    passive = not set(velocities) & set(problem.spec.acts_on)
    states = np.asarray(trajectories.state)[:, : step + 2]
    velocity = np.asarray(trajectories.observation)[:, step - 1, velocities].astype(states.dtype)
    history = jnp.asarray(states[:, step - 2 : step + 1])
    error = np.asarray(eqx.filter_jit(jax.vmap(theory))(history, jnp.asarray(velocity)))

    comparisons = []
    for component, name in enumerate(problem.components):
        estimates = {THEORY: problem.time_step / scale * error[:, component]}
        if passive and problem.grid.dimensions == 2:
            q = states[:, :, component]
            h = (problem.grid.spacing[0], problem.grid.spacing[1])
            notebook = [
                notebook_estimate(a, b, h, problem.time_step, step - 1) for a, b in zip(q, velocity, strict=True)
            ]
            estimates[NOTEBOOK] = np.stack(notebook) / scale
            curvature = (q[:, step] - q[:, step - 1]) - (q[:, step - 1] - q[:, step - 2])
            # dt * dt / 2 * curvature / dt^2, taken away by the theory, twice.
            estimates[PLUS] = estimates[THEORY] + curvature / scale
        action = np.asarray(trajectories.action)[:, step, component]
        comparisons += [_comparison(f, name, step, action, estimate) for f, estimate in estimates.items()]
    return comparisons


def _comparison(formula: str, component: str, step: int, action: np.ndarray, optimal: np.ndarray) -> Comparison:
    flat_action, flat_optimal = (x.reshape(len(x), -1).astype(np.float64) for x in (action, optimal))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        slope = (flat_action * flat_optimal).sum(axis=1) / np.square(flat_optimal).sum(axis=1)
    return Comparison(formula, component, step, action, optimal, pearson(action, optimal), slope)


def notebook_estimate(
    states: Float[np.ndarray, "time x y"],
    velocity: Float[np.ndarray, "2 x y"],
    spacing: tuple[float, float],
    time_step: float,
    step: int,
    *,
    swapped: bool = True,
    time_sign: float = 1.0,
) -> Float[np.ndarray, "x y"]:
    """The notebook's estimate of the optimal action for the error of step ``step``.

    It differs from the theory (:mod:`closura.interpretation.truncation`), ``A = dt (dt/2 psi_tt + |u| dx/2 psi_yy + |v|
    dy/2 psi_xx)``, in three ways: the sign of the time term is that of the paper's equation 22, the second derivatives
    in space stand with the *other* axis' velocity, and each second derivative is ``numpy.gradient`` applied twice: a
    stencil four cells wide, one-sided at the ends of the periodic axes. Correlations with it reproduce the published
    table 6; they are lower than what the closure deserves. ``swapped=False`` and ``time_sign=-1`` repair it with the
    same stencils. The action at ``step + 1`` is compared with the estimate from the states around ``step``; ValueError
    if there are not two on either side. Source: notebook ``action_interpretation`` of cselab/Closure-RL, commit
    88cb91d.
    """
    states = check_unmasked(states, "states")
    velocity = check_unmasked(velocity, "the velocity")
    if not 2 <= step <= len(states) - 3:
        raise ValueError(f"the estimate needs two states on either side of step {step}; got {len(states)} states")

    def twice(field: Any, distance: float, axis: int, edge: Any) -> np.ndarray:
        once = np.gradient(field, distance, axis=axis, edge_order=edge)
        return np.gradient(once, distance, axis=axis, edge_order=edge)

    # Two states on either side are all that the twofold gradient in time sees.
    in_time = twice(states[step - 2 : step + 3], time_step, 0, 1)[2]
    in_space = [twice(states[step], spacing[axis], axis, 2) for axis in (0, 1)]
    if swapped:
        in_space.reverse()
    estimate = time_sign * 0.5 * time_step * in_time
    for axis in (0, 1):
        estimate = estimate + 0.5 * spacing[axis] * np.abs(velocity[axis]) * in_space[axis]
    return time_step * estimate
