"""Random families of initial conditions of the one-dimensional Burgers equation.

The families are those of Way et al. (arXiv 2203.08937): parameters are drawn from lists of a few values, or, for the
published test of generalisation, from ranges. Each function draws one condition with a NumPy generator.
"""

from collections.abc import Callable

import numpy as np

from closura.initial.burgers_profiles import accelerating_shock, hyperbolic_tangent, sine_wave
from closura.initial.initial import InitialCondition

Family = Callable[..., InitialCondition]
"""``family(rng, continuous=True)``: one condition."""


def random_sine(rng: np.random.Generator, continuous: bool = True) -> InitialCondition:
    """``a + b sin(2 pi n x)``, n of 1 to 4 waves, 0.2 <= abs(b) <= 1 with a random sign, a = 3.5 - abs(b); periodic.

    Shocks form at t = 1 / (2 pi n abs(b)), as early as 0.04.
    """
    waves = int(rng.integers(1, 5))
    amplitude = _draw(rng, 0.2, 1.0, continuous)
    mean = 3.5 - amplitude
    return sine_wave("random", mean, _sign(rng) * amplitude, waves, note="random sine")


def random_many_shocks(rng: np.random.Generator, continuous: bool = True) -> InitialCondition:
    """As :func:`random_sine`, with 5 to 7 waves and -2 <= a <= 2."""
    waves = int(rng.integers(5, 8))
    amplitude = _draw(rng, 0.2, 1.0, continuous)
    mean = _draw(rng, -2.0, 2.0, continuous)
    return sine_wave("random-many-shocks", mean, _sign(rng) * amplitude, waves, note="random sine, many shocks")


def smooth_rare_random(rng: np.random.Generator, continuous: bool = True) -> InitialCondition:
    """``C + A tanh(k (x - 0.5))``, 0.25 <= A <= 1.5, 20 <= k <= 100, -1 <= C <= 1; outflow."""
    amplitude = _draw(rng, 0.25, 1.5, continuous)
    steepness = _draw(rng, 20.0, 100.0, continuous)
    mean = _draw(rng, -1.0, 1.0, continuous)
    return hyperbolic_tangent("smooth-rare-random", mean, amplitude, steepness, 0.5, note="random smooth rarefaction")


def accelshock_random(rng: np.random.Generator, continuous: bool = True) -> InitialCondition:
    """An accelerating shock: 0 <= jump <= 0.5, 0.5 <= left state <= 5, 0 <= slope of the right state <= 5; outflow."""
    jump = _draw(rng, 0.0, 0.5, continuous)
    left = _draw(rng, 0.5, 5.0, continuous)
    slope = _draw(rng, 0.0, 5.0, continuous)
    return accelerating_shock("accelshock-random", left=left, slope=slope, jump=jump, note="random accelerating shock")


RANDOM_BURGERS: dict[str, Family] = {
    "random": random_sine,
    "random-many-shocks": random_many_shocks,
    "smooth-rare-random": smooth_rare_random,
    "accelshock-random": accelshock_random,
}
"""Families by name."""


def random_burgers(name: str) -> Family:
    """The family of this name, written with hyphens or underscores.

    Raises
    ------
    ValueError
        If there is none; the message lists the names.
    """
    try:
        return RANDOM_BURGERS[name.replace("_", "-")]
    except KeyError:
        raise ValueError(f"unknown random family {name!r}; valid: {', '.join(RANDOM_BURGERS)}") from None


def _draw(rng: np.random.Generator, low: float, high: float, continuous: bool) -> float:
    """A number of a range, or one of nine equidistant ones."""
    if continuous:
        return float(rng.uniform(low, high))
    return float(np.linspace(low, high, 9)[rng.integers(9)])


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.integers(2) else -1
