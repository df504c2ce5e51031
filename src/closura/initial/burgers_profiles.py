"""Initial conditions of the one-dimensional inviscid Burgers equation ``u_t + (u^2/2)_x = 0`` on [0, 1].

The set is that of Way, Kapilavai, Fu and Yu, "Backpropagation through Time and Space: Learning Numerical Methods with
Multi-Agent Reinforcement Learning" (arXiv 2203.08937). All have the entropy solution as their reference
(:func:`closura.problems.laws.entropy.entropy_solution`), which stays right after shocks have formed.

Beyond an outflow end the value at the end goes on: a wave that leaves through such an end never comes back, and where
characteristics enter, copying the last cell holds the value there.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from closura.initial.initial import End, InitialCondition

Profile = Callable[[Float64[np.ndarray, "*grid"]], Float64[np.ndarray, "*grid"]]

SINE_AMPLITUDE = 1 / (0.2 * np.pi)
"""Amplitude of ``smooth-sine``: its shock forms at t = 1 / (2 pi A) = 0.1."""


def line_condition(
    name: str, profile: Profile, end: End = "outflow", *, jumps: tuple[float, ...] = (), note: str = ""
) -> InitialCondition:
    """An initial condition on [0, 1] from a function of x given there.

    Parameters
    ----------
    name, jumps, note
        As in :class:`closura.initial.initial.InitialCondition`; a periodic profile that jumps from 1 to 0 has a jump
        at 0.
    profile
        ``u0(x)`` on [0, 1], an array like x.
    end
        ``periodic`` wraps x, ``outflow`` clips it to [0, 1], and the others leave it as it is.
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


def smooth_sine_shift(number: int = 1) -> InitialCondition:
    """``smooth-sine`` with a phase of ``2 pi number / 23``: the published set has ``number`` from 0 to 22."""
    phase = 2 * np.pi * number / 23
    return sine_wave("smooth-sine-shift", 0.0, SINE_AMPLITUDE, 1, phase=phase, note="smooth-sine, moved")


def _wave_on_third(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "*grid"]:
    inside = (x >= 0.333) & (x <= 0.666)
    return 1 + np.where(inside, 0.5 * np.sin(2 * np.pi * (x - 0.333) / 0.333), 0.0)


def _ramp(x: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "*grid"]:
    return np.where((x >= 0.333) & (x <= 0.666), 2 * (x - 0.333) / 0.333, 0.0)


def _all() -> list[InitialCondition]:
    third = 1 / 3
    return [
        sine_wave("smooth-sine", 0.0, SINE_AMPLITUDE, 1, note="shock from t = 0.1, standing at x = 0.5"),
        smooth_sine_shift(),
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

TRAINING_1D: tuple[str, ...] = ("smooth-sine", "rarefaction", "accelshock")
"""Conditions that the published agents were trained on, up to t = 0.1."""

EVALUATION_1D: tuple[str, ...] = ("smooth-sine", "rarefaction", "accelshock", "other-sine", "gaussian", "tophat")
"""Conditions of the published evaluation, up to t = 0.2."""


def burgers_1d(name: str) -> InitialCondition:
    """The condition of this name, written with hyphens or underscores.

    Raises
    ------
    ValueError
        If there is none; the message lists the names.
    """
    try:
        return BURGERS_1D[name.replace("_", "-")]
    except KeyError:
        raise ValueError(
            f"unknown initial condition {name!r} of the 1-D Burgers equation; valid: {', '.join(BURGERS_1D)}"
        ) from None
