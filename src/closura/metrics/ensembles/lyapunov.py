r"""The leading Lyapunov exponent: how fast two close states of a flow part, ``|d(t)| ~ exp(exponent t)``.

Its inverse is the Lyapunov time, the unit in which the length of a forecast of a chaotic flow means something.
:func:`leading_exponent` follows two runs and brings them back together again and again (Benettin et al. 1980,
Meccanica 15, 9).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class LyapunovExponent:
    """A leading Lyapunov exponent.

    Parameters
    ----------
    exponent
        Per time unit.
    standard_error
        From the scatter of the growth over renormalisations, taken as independent; NaN where there are too few.
    time
        Time that the growth was followed for.
    """

    exponent: float
    standard_error: float
    time: float


def leading_exponent(
    step: Callable[[Any], Any],
    state: Any,
    *,
    time_step: float,
    steps: int,
    renormalisations: int,
    discard: int = 10,
    separation: float | None = None,
) -> LyapunovExponent:
    """Follow a run and a perturbed one, which is brought back to the first distance every few steps.

    The first direction is one of normal random numbers, always the same, which for a half spectrum break the symmetry
    of the column k_y = 0: step velocities instead.

    Parameters
    ----------
    step
        One step: takes a state and gives the next, in NumPy or JAX; compile it first.
    state
        A state on the attractor: one real or complex array. In double precision if possible.
    time_step
        Time that a step takes.
    steps
        Steps between renormalisations: fewer than the distance needs to become large.
    renormalisations
        How many growths the exponent is the mean of.
    discard
        How many come before, until the perturbation has turned to the fastest direction.
    separation
        The distance, in the Euclidean norm of the array; by default the square root of the rounding error of its
        precision times the norm of the state.
    """
    if min(steps, renormalisations) < 1 or discard < 0 or not time_step > 0:
        raise ValueError(
            "steps, renormalisations and time_step must be positive and discard not negative; got "
            f"{steps}, {renormalisations}, {time_step}, {discard}"
        )
    if np.ma.is_masked(state):
        raise ValueError("the state is masked; a step needs all of its numbers")
    first = np.asarray(state)
    direction = _direction(first)
    distance = separation if separation is not None else float(np.sqrt(np.finfo(first.dtype).eps)) * _norm(first)
    if not distance > 0:
        raise ValueError(f"the separation must be positive; got {distance} (give one for a state that is zero)")
    one, two = state, _beside(state, direction, distance)
    growth: list[float] = []
    for _ in range(discard + renormalisations):
        # What counts is the distance that rounding left, not the one that was asked for.
        before = _norm(np.asarray(two) - np.asarray(one))
        for _ in range(steps):
            one, two = step(one), step(two)
        gap = np.asarray(two) - np.asarray(one)
        after = _norm(gap)
        if not (np.isfinite(after) and after > 0 and before > 0):
            raise ValueError(
                f"the runs are {after} apart after {len(growth)} renormalisations: they diverged or became equal. Use "
                "a smaller time step, fewer steps between renormalisations or a larger separation"
            )
        growth.append(float(np.log(after / before)))
        two = _beside(one, gap, distance)
    rates = np.asarray(growth[discard:], np.float64) / (steps * time_step)
    error = float(rates.std(ddof=1) / np.sqrt(rates.size)) if rates.size > 1 else float("nan")
    return LyapunovExponent(float(rates.mean()), error, renormalisations * steps * time_step)


def _norm(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(np.abs(values), dtype=np.float64).sum()))


def _direction(state: np.ndarray) -> np.ndarray:
    if not np.issubdtype(state.dtype, np.inexact):
        raise ValueError(f"the state needs real or complex numbers; got {state.dtype}")
    draw = np.random.default_rng(0)
    real = draw.standard_normal(state.shape)
    return real + 1j * draw.standard_normal(state.shape) if np.iscomplexobj(state) else real


def _beside(state: Any, direction: np.ndarray, distance: float) -> Any:
    """The state at a distance, in the state's own precision (NumPy; a JAX step takes that too)."""
    array = np.asarray(state)
    return (array + direction * (distance / _norm(direction))).astype(array.dtype)
