"""The estimate of the optimal action exactly as the notebook of Closure-RL computes it, for its table 6.

    A = dt ( dt/2 psi_tt + |u| dx/2 psi_yy + |v| dy/2 psi_xx )

It differs from the theory (:mod:`closura.interpretation.truncation`) in three ways: the sign of the time term is
that of the paper's equation 22, the second derivatives in space stand with the *other* axis' velocity, and each
second derivative is ``numpy.gradient`` applied twice: a stencil four cells wide, one-sided at the ends of the
periodic axes. Correlations with it reproduce the published table; they are lower than what the closure deserves.

Source: notebook ``action_interpretation`` of cselab/Closure-RL, commit 88cb91d.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from closura.arrays import check_unmasked


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

    Parameters
    ----------
    states
        States in succession, with two on either side of ``step``.
    velocity
        Velocity along x and y.
    spacing, time_step
        Grid spacings and time step.
    step
        Index into ``states``; the action at ``step + 1`` is compared with the estimate.
    swapped, time_sign
        The notebook's axes and sign; False and -1 repair them with the same stencils.

    Raises
    ------
    ValueError
        If there are not two states on either side, or one or the velocity is masked.
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
