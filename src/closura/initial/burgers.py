"""Initial conditions of the scalar inviscid Burgers equation, on [0, 1] and in a plane, named and random.

The sets are those of Way, Kapilavai, Fu and Yu, "Backpropagation through Time and Space: Learning Numerical Methods
with Multi-Agent Reinforcement Learning" (arXiv 2203.08937). On a line, ``u_t + (u^2/2)_x = 0``, all have the entropy
solution as their reference (:func:`closura.problems.laws.entropy.entropy_solution`), which stays right after shocks
have formed. Beyond an outflow end the value at the end goes on: a wave that leaves through such an end never comes
back, and where characteristics enter, copying the last cell holds the value there.

In a plane, ``u_t + (u^2/2)_x + (u^2/2)_y = 0``: ``jsz7`` is example 7 of Jiang, Shu and Zhang, "An alternative
formulation of finite difference weighted ENO schemes with Lax-Wendroff time discretization" (SIAM J. Sci. Comput. 35,
2013). Besides the named ones, two kinds of names are read: ``1d-<name>-x`` and ``1d-<name>-y``, a condition on a line
laid along an axis, and ``combo-<name>-<name>``, the sum of one along x and one along y. A condition that depends on
``s = a x + b y`` only solves ``u_t + (a + b) (u^2/2)_s = 0``, the one-dimensional equation in the time ``(a + b) t``:
such ones have exact solutions.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float64

from closura.initial.condition import End, InitialCondition, along_an_axis, in_plane, look_up

Profile = Callable[[Float64[np.ndarray, "*grid"]], Float64[np.ndarray, "*grid"]]

SINE_AMPLITUDE = 1 / (0.2 * np.pi)
"""Amplitude of ``smooth-sine``: its shock forms at t = 1 / (2 pi A) = 0.1."""


def line_condition(
    name: str, profile: Profile, end: End = "outflow", *, jumps: tuple[float, ...] = (), note: str = ""
) -> InitialCondition:
    """An initial condition on [0, 1] from a function ``u0(x)`` given there.

    ``periodic`` wraps x, ``outflow`` clips it to [0, 1], and other ends leave it as it is. A periodic profile that
    jumps from 1 to 0 has a jump at 0.
    """

    def values(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "1 *grid"]:
        if end == "periodic":
            x = np.mod(x, 1.0)
        elif end == "outflow":
            x = np.clip(x, 0.0, 1.0)
        return np.asarray(profile(x), np.float64)[None]

    return InitialCondition(name, values, ends=(end,), reference="entropy", jumps=jumps, note=note)


def sine_wave(
    name: str,
    mean: float,
    amplitude: float,
    waves: int,
    *,
    phase: float = 0.0,
    end: End = "periodic",
    note: str = "",
) -> InitialCondition:
    """``u = mean + amplitude sin(2 pi waves x + phase)``: shocks form at t = 1 / (2 pi waves |amplitude|)."""
    return line_condition(name, lambda x: mean + amplitude * np.sin(2 * np.pi * waves * x + phase), end, note=note)


def two_states(
    name: str, left: float, right: float, jump: float, *, end: End = "outflow", note: str = ""
) -> InitialCondition:
    """``u = left`` up to the jump, ``right`` beyond."""
    return line_condition(name, lambda x: np.where(x <= jump, left, right), end, jumps=(jump,), note=note)


def accelerating_shock(
    name: str = "accelshock",
    *,
    left: float = 3.0,
    slope: float = 3.0,
    jump: float = 0.25,
    end: End = "outflow",
    note: str = "",
) -> InitialCondition:
    """``u = left`` up to the jump, ``slope (x - 1)`` beyond: a shock that speeds up.

    For ``slope > 0``, with ``tau = 1 + slope t``, the shock is at
    ``1 + (left/slope) tau + (jump - 1 - left/slope) sqrt(tau)``, and right of it ``u = slope (x - 1) / tau``.
    Without a jump inside the domain (``jump <= 0``) there is no left state.
    """

    def profile(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "*grid"]:
        return np.where((x <= jump) & (jump > 0), left, slope * (x - 1))

    jumps = (jump,) if 0 < jump < 1 else ()
    if end == "periodic":
        jumps = (0.0, *jumps)
    return line_condition(name, profile, end, jumps=jumps, note=note)


def hyperbolic_tangent(
    name: str,
    mean: float,
    amplitude: float,
    steepness: float,
    centre: float,
    *,
    end: End = "outflow",
    note: str = "",
) -> InitialCondition:
    """``u = mean + amplitude tanh(steepness (x - centre))``."""
    jumps = (0.0,) if end == "periodic" else ()
    return line_condition(
        name, lambda x: mean + amplitude * np.tanh(steepness * (x - centre)), end, jumps=jumps, note=note
    )


def _wave_on_third(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "*grid"]:
    inside = (x >= 0.333) & (x <= 0.666)
    return 1 + np.where(inside, 0.5 * np.sin(2 * np.pi * (x - 0.333) / 0.333), 0.0)


def _ramp(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "*grid"]:
    return np.where((x >= 0.333) & (x <= 0.666), 2 * (x - 0.333) / 0.333, 0.0)


def _all() -> list[InitialCondition]:
    third = 1 / 3
    return [
        sine_wave("smooth-sine", 0.0, SINE_AMPLITUDE, 1, note="shock from t = 0.1, standing at x = 0.5"),
        # One of the published set, with phases of 0 to 22 parts of 23.
        sine_wave("smooth-sine-shift", 0.0, SINE_AMPLITUDE, 1, phase=2 * np.pi / 23, note="smooth-sine, moved"),
        sine_wave("smooth-sine-outflow", 0.0, SINE_AMPLITUDE, 1, end="outflow", note="smooth-sine between open ends"),
        two_states("rarefaction", 1.0, 2.0, 0.5, note="a fan (x - 0.5) / t between 1 and 2"),
        accelerating_shock(note="a shock that speeds up, at x = 0.3864 at t = 0.2"),
        accelerating_shock("accelshock-periodic", end="periodic", note="accelshock, with a fan from the end"),
        sine_wave("other-sine", 2.5, 0.5, 2, note="two travelling shocks from t = 0.159"),
        line_condition("gaussian", lambda x: 1 + np.exp(-60 * (x - 0.5) ** 2), note="shock from t = 0.1505"),
        line_condition(
            "tophat",
            lambda x: np.where((x > third) & (x < 2 * third), 1.0, 0.0),
            jumps=(third, 2 * third),
            note="a fan and a shock at x = 2/3 + t/2, apart until t = 2/3",
        ),
        hyperbolic_tangent("smooth-rare", 0.0, 1.0, 60.0, 0.5, note="smooth transonic rarefaction"),
        hyperbolic_tangent("smooth-rare-periodic", 0.0, 1.0, 60.0, 0.5, end="periodic", note="and a shock at the ends"),
        hyperbolic_tangent("smooth-rare2", 1.0, 1.0, 10.0, 0.25, note="smooth rarefaction from 0 to 2"),
        two_states("shock", 3.0, 1.0, 0.25, note="a shock at x = 0.25 + 2 t"),
        hyperbolic_tangent("shock-formation", 1.0, -1.0, 10.0, 0.25, note="shock from t = 0.1 at x = 0.35"),
        line_condition("sine", _wave_on_third, "periodic", note="one wave on a third of the domain"),
        line_condition("sawtooth", _ramp, jumps=(0.666,), note="a ramp from 0 to 2 and a shock"),
        line_condition("line", lambda x: 2 - 0.1 * x, "linear", note="stays linear: (2 - 0.1 x) / (1 - 0.1 t)"),
        line_condition("para", lambda x: 2 - x**2, note="a parabola that steepens"),
        line_condition("flat", lambda x: np.full_like(x, 2.0), note="constant 2"),
        line_condition("zero", lambda x: np.zeros_like(x), "periodic", note="constant 0"),
    ]


BURGERS_1D: dict[str, InitialCondition] = {condition.name: condition for condition in _all()}
"""All by name. The time of each is 0.2."""

EVALUATION_1D: tuple[str, ...] = ("smooth-sine", "rarefaction", "accelshock", "other-sine", "gaussian", "tophat")
"""Conditions of the published evaluation, up to t = 0.2."""


def burgers_1d(name: str) -> InitialCondition:
    """The condition of this name, written with hyphens or underscores (ValueError if there is none)."""
    return look_up(name, BURGERS_1D, "the 1-D Burgers equation")


def _gaussian(x: Float64[np.ndarray, "*grid"], y: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "1 *grid"]:
    x, y = (np.clip(axis, 0.0, 1.0) for axis in (x, y))
    return np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) / (2 * 0.091**2))[None]


def _diagonal_sine(s: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "1 *grid"]:
    return 0.5 + np.sin(np.pi / 2 * s)[None]


_JSZ7_LINE = InitialCondition("jsz7-line", _diagonal_sine, (0.0,), (4.0,), reference="entropy", time=1.0)

BURGERS_2D: dict[str, InitialCondition] = {
    "gaussian": InitialCondition(
        "gaussian", _gaussian, (0.0, 0.0), (1.0, 1.0), ("outflow", "outflow"), note="a bump that becomes a crescent"
    ),
    "jsz7": InitialCondition(
        "jsz7",
        partial(in_plane, line=_JSZ7_LINE, direction=(1, 1)),
        (0.0, 0.0),
        (4.0, 4.0),
        ("periodic", "periodic"),
        time=0.5,
        reference="entropy",
        note="0.5 + sin(pi (x + y) / 2); shock from t = 1 / pi",
    ),
}
"""Those with names of their own; :func:`burgers_2d` reads the others."""

EVALUATION_2D: tuple[str, ...] = ("gaussian", "combo-accelshock-rarefaction", "jsz7")
"""Conditions of the published evaluation."""


def burgers_2d(name: str) -> InitialCondition:
    """The condition of this name; names of one-dimensional conditions are written with hyphens or underscores."""
    plain = name.replace("_", "-")
    pair = _sum_of_two(plain)
    if pair is not None:
        first, second = pair
        return InitialCondition(
            plain,
            lambda x, y: first(x) + second(y),
            (0.0, 0.0),
            (1.0, 1.0),
            (first.ends[0], second.ends[0]),
            note=f"sum of {first.name} along x and {second.name} along y",
        )
    others = f", 1d-NAME-x, 1d-NAME-y and combo-NAME-NAME, with NAME one of: {', '.join(BURGERS_1D)}"
    return along_an_axis(plain, BURGERS_1D) or look_up(name, BURGERS_2D, "the 2-D Burgers equation", others)


def _sum_of_two(name: str) -> tuple[InitialCondition, InitialCondition] | None:
    """Read ``combo-A-B``; names may hold hyphens, so every hyphen is tried."""
    if not name.startswith("combo-"):
        return None
    words = name.removeprefix("combo-").split("-")
    for count in range(1, len(words)):
        first, second = "-".join(words[:count]), "-".join(words[count:])
        if first in BURGERS_1D and second in BURGERS_1D:
            return BURGERS_1D[first], BURGERS_1D[second]
    return None


Family = Callable[[np.random.Generator], InitialCondition]


def random_sine(rng: np.random.Generator) -> InitialCondition:
    """``a + b sin(2 pi n x)``, n of 1 to 4 waves, 0.2 <= abs(b) <= 1 with a random sign, a = 3.5 - abs(b); periodic.

    Shocks form at t = 1 / (2 pi n abs(b)), as early as 0.04.
    """
    waves, amplitude = int(rng.integers(1, 5)), rng.uniform(0.2, 1.0)
    sign = 1 if rng.integers(2) else -1
    return sine_wave("random", 3.5 - amplitude, sign * amplitude, waves, note="random sine")


def smooth_rare_random(rng: np.random.Generator) -> InitialCondition:
    """``C + A tanh(k (x - 0.5))``, 0.25 <= A <= 1.5, 20 <= k <= 100, -1 <= C <= 1; outflow."""
    amplitude, steepness, mean = (rng.uniform(*ends) for ends in ((0.25, 1.5), (20.0, 100.0), (-1.0, 1.0)))
    return hyperbolic_tangent("smooth-rare-random", mean, amplitude, steepness, 0.5, note="random smooth rarefaction")


def accelshock_random(rng: np.random.Generator) -> InitialCondition:
    """An accelerating shock: 0 <= jump <= 0.5, 0.5 <= left state <= 5, 0 <= slope of the right state <= 5; outflow."""
    jump, left, slope = (rng.uniform(*ends) for ends in ((0.0, 0.5), (0.5, 5.0), (0.0, 5.0)))
    return accelerating_shock("accelshock-random", left=left, slope=slope, jump=jump, note="random accelerating shock")


RANDOM_BURGERS: dict[str, Family] = {
    "random": random_sine,
    "accelshock-random": accelshock_random,
    "smooth-rare-random": smooth_rare_random,
}
"""Families of the published test of generalisation, with parameters drawn from ranges."""
