r"""The leading Lyapunov exponent: how fast two close states of a flow part, ``|d(t)| ~ exp(exponent t)``.

Its inverse is the Lyapunov time, the unit in which the length of a forecast of a chaotic flow means something.
:func:`leading_exponent` follows two runs and brings them back together again and again (Benettin et al. 1980,
Meccanica 15, 9); :func:`exponent_from_separation` fits the growth between two runs that are there already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values, numbers_together, real_numbers
from closura.metrics.ensembles._sums import ratios


@dataclass(frozen=True)
class LyapunovExponent:
    """A leading Lyapunov exponent.

    Parameters
    ----------
    exponent
        Per time unit.
    standard_error
        From the scatter of the growth over renormalisations, taken as independent, or of the fit's residuals, which
        are not: too small for a fit to one pair of runs. NaN where there are too few of them.
    time
        Time that the growth was followed for.
    """

    exponent: float
    standard_error: float
    time: float

    @property
    def lyapunov_time(self) -> float:
        """``1 / exponent``; infinite for flows that are not chaotic."""
        return 1 / self.exponent if self.exponent > 0 else float("inf")


def leading_exponent(
    step: Callable[[Any], Any],
    state: Any,
    *,
    time_step: float,
    steps: int,
    renormalisations: int,
    discard: int = 10,
    separation: float | None = None,
    perturbation: Any = None,
    generator: np.random.Generator | None = None,
) -> LyapunovExponent:
    """Follow a run and a perturbed one, which is brought back to the first distance every few steps.

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
    perturbation
        The first direction, an array like the state. By default normal random numbers, which for a half spectrum
        break the symmetry of the column k_y = 0: step velocities instead, or give a direction.
    generator
        Draws the random direction; by default one of a fixed seed.

    Raises
    ------
    ValueError
        If a count or the time step is not positive, the perturbation is zero or of another shape, or the runs do not
        stay finite and apart.
    """
    if min(steps, renormalisations) < 1 or discard < 0 or not time_step > 0:
        raise ValueError(
            "steps, renormalisations and time_step must be positive and discard not negative; got "
            f"{steps}, {renormalisations}, {time_step}, {discard}"
        )
    if np.ma.is_masked(state):
        raise ValueError("the state is masked; a step needs all of its numbers")
    first = np.asarray(state)
    direction = _direction(first, perturbation, generator)
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


def _direction(state: np.ndarray, given: Any, generator: np.random.Generator | None) -> np.ndarray:
    if not np.issubdtype(state.dtype, np.inexact):
        raise ValueError(f"the state needs real or complex numbers; got {state.dtype}")
    if given is None:
        draw = generator if generator is not None else np.random.default_rng(0)
        real = draw.standard_normal(state.shape)
        return real + 1j * draw.standard_normal(state.shape) if np.iscomplexobj(state) else real
    direction = np.asarray(given)
    if direction.shape != state.shape or not _norm(direction) > 0:
        raise ValueError(f"the perturbation needs shape {state.shape} and cannot be zero; got {direction.shape}")
    return direction


def _beside(state: Any, direction: np.ndarray, distance: float) -> Any:
    """The state at a distance, in the state's own precision (NumPy; a JAX step takes that too)."""
    array = np.asarray(state)
    return (array + direction * (distance / _norm(direction))).astype(array.dtype)


def separation(first: Values, second: Values) -> Float64[np.ndarray, "time"]:
    """Root mean square distance of two runs ``(time, component, x, y)`` at every time.

    Points that are masked (``numpy.ma``) in one of them are left out; NaN for a time at which all are.

    Raises
    ------
    ValueError
        If shapes differ, or a number is not real, or not finite at points that are not masked.
    """
    (one, two), mask = numbers_together((first, "the first run"), (second, "the second run"))
    axes = tuple(range(1, one.ndim))
    squared = np.square(np.subtract(one, two, dtype=np.float64))
    if mask is None:
        return np.sqrt(squared.mean(axis=axes))
    return np.sqrt(ratios(squared.sum(axis=axes), (~mask).sum(axis=axes)))


def exponent_from_separation(
    distance: Values, time_step: float, *, lower: float = 0.0, upper: float | None = None
) -> LyapunovExponent:
    """Slope of a straight line through ``log(distance)`` while the distance lies between two bounds.

    Parameters
    ----------
    distance
        ``(time,)``, of :func:`separation`.
    time_step
        Time between frames.
    lower
        The line begins with the first frame that is above: past the time in which the perturbation turns to the
        fastest direction.
    upper
        The line ends before the first frame that is above, before the growth saturates; by default a tenth of the
        largest distance.

    Raises
    ------
    ValueError
        If fewer than three frames lie between the bounds, a number is masked, not real or not finite, or the time step
        is not positive.
    """
    series = real_numbers(distance, "the distance").astype(np.float64)
    if series.ndim != 1 or not time_step > 0:
        raise ValueError(f"needed: a distance (time,) and a positive time step; got {series.shape} and {time_step}")
    ceiling = float(series.max()) / 10 if upper is None else upper
    above = series > ceiling
    end = int(np.argmax(above)) if above.any() else len(series)
    started = series > max(lower, 0.0)
    begin = int(np.argmax(started)) if started.any() else end
    if end - begin < 3 or not (series[begin:end] > 0).all():
        raise ValueError(
            f"only {max(end - begin, 0)} usable frames have a distance between {lower:.3g} and {ceiling:.3g}; at "
            "least 3 are needed: widen the bounds or start the runs closer together"
        )
    times = np.arange(begin, end) * time_step
    from scipy.stats import linregress  # a second to import

    line = linregress(times, np.log(series[begin:end]))
    return LyapunovExponent(float(line.slope), float(line.stderr), float(times[-1] - times[0]))
