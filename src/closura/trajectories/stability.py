"""Whether a time step can be stable, from the amplification of the shortest waves on the grid."""

import math

from closura.problems.kolmogorov.flow import FlowIntegrator
from closura.trajectories.configuration import GenerationConfiguration


def amplification(rate: complex, integrator: FlowIntegrator) -> float:
    """Growth in one step of a wave that the equation changes at ``rate`` (times the time step)."""
    if integrator == "euler":
        return abs(1 + rate)
    return abs(1 + rate + rate**2 / 2 + rate**3 / 6 + rate**4 / 24)


def largest_stable(points: int, reynolds: float, speed: float, integrator: FlowIntegrator) -> float:
    """The largest time step at which no wave in the corner of the spectrum grows.

    The corner has ``k^2 = 2 (points / 2)^2``; it decays at the rate k^2 / Re and is carried along at ``speed``, the
    largest |u| + |v|. Necessary, not sufficient: for forward Euler 2 Re / k^2 without a speed.
    """
    half = points / 2
    rate = complex(-2 * half**2 / reynolds, half * speed)
    low, high = 0.0, 4.0 / abs(rate)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if amplification(middle * rate, integrator) <= 1 else (low, middle)
    return low


def check_time_step(configuration: GenerationConfiguration, speed: float) -> None:
    """Refuse a time step at which the shortest waves grow, by viscosity or by a speed that is already there.

    Raises
    ------
    ValueError
        Names the largest time step that could do.
    """
    c = configuration
    for reynolds in c.reynolds:
        limit = largest_stable(c.grid, reynolds, speed, c.integrator)
        if c.dt > limit:
            raise ValueError(
                f"dt {c.dt:g} is unstable at Reynolds number {reynolds:g} on {c.grid} points with {c.integrator}: it "
                f"must not exceed {_down(limit):g}"
            )


def _down(value: float) -> float:
    """Rounded down to two digits."""
    if value < 1e-300:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.floor(value / unit) * unit
