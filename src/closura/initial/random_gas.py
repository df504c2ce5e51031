r"""Random initial conditions of the Euler equations on a line, to learn from.

Continuous families on ``[-1/2, 1/2]``, kept apart from the named conditions that results are reported on: a draw that
is nearly a named shock tube up to units, a moving frame and a mirror is drawn anew.

End times are short enough for the first waves to stay inside. No wave of a Riemann problem is faster than

    max(-v_L + c_L s(p / p_L), v_R + c_R s(p / p_R)),    s(q) = sqrt(1 + (gamma + 1) / (2 gamma) max(q - 1, 0))

at the pressure ``p`` of two rarefactions, an upper bound of the pressure between the waves (Guermond and Popov 2016,
J. Comput. Phys. 321, 908-926, for gamma up to 5/3).
"""

import math
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float64

from closura.initial.condition import InitialCondition
from closura.initial.gas import EULER_1D, GasState, Profile, piecewise, riemann_sides, tube

_GAMMA = 1.4
_LONGEST = 0.2  # end time of the published shock tubes
_REACH = 0.4  # how far first waves may go from the middle of the domain
_CLOSE = 0.2  # least distance to a named tube: of the logarithms of ratios, and of velocity in sound speeds


def sound_speed(state: GasState) -> float:
    """``c = sqrt(gamma p / rho)``."""
    rho, _, p = state
    return math.sqrt(_GAMMA * p / rho)


def fastest_wave(left: GasState, right: GasState) -> float:
    """An upper bound of the absolute speeds of all waves of a Riemann problem (Guermond and Popov 2016)."""
    (_, v_left, p_left), (_, v_right, p_right) = left, right
    c_left, c_right = sound_speed(left), sound_speed(right)
    power = (_GAMMA - 1) / (2 * _GAMMA)
    excess = max(c_left + c_right - (_GAMMA - 1) / 2 * (v_right - v_left), 0.0)
    p = (excess / (c_left * p_left**-power + c_right * p_right**-power)) ** (1 / power)
    speeds = [abs(v_left), abs(v_right)]
    for v, c, q in ((-v_left, c_left, p / p_left), (v_right, c_right, p / p_right)):
        speeds.append(abs(v + c * math.sqrt(1 + (_GAMMA + 1) / (2 * _GAMMA) * max(q - 1, 0.0))))
    return max(speeds)


def _signature(left: GasState, right: GasState) -> Float64[np.ndarray, "3"]:
    """What units and a moving frame leave of a tube, the side of the higher pressure first."""
    if left[2] < right[2]:
        left, right = (right[0], -right[1], right[2]), (left[0], -left[1], left[2])
    jump = (right[1] - left[1]) / sound_speed(left)
    return np.array([math.log(right[0] / left[0]), jump, math.log(right[2] / left[2])], np.float64)


@lru_cache
def _named() -> Float64[np.ndarray, "tube 3"]:
    sides = [riemann_sides(c) for c in EULER_1D.values() if c.reference == "riemann"]
    return np.stack([_signature(left, right) for left, right, _ in sides])


def resembles_named(left: GasState, right: GasState) -> bool:
    """Whether a tube is nearly one of the named ones, up to units, a moving frame and a mirror."""
    return bool(np.any(np.max(np.abs(_named() - _signature(left, right)), axis=1) < _CLOSE))


def _random_state(rng: np.random.Generator) -> GasState:
    """Density 0.1 to 2 and temperature 0.3 to 3, uniform in their logarithms (c is 0.65 to 2.05); velocity -1 to 1."""
    rho = math.exp(rng.uniform(math.log(0.1), math.log(2.0)))
    temperature = math.exp(rng.uniform(math.log(0.3), math.log(3.0)))
    return rho, rng.uniform(-1.0, 1.0), rho * temperature


def _random_sides(rng: np.random.Generator) -> tuple[GasState, GasState]:
    # No vacuum opens: that takes a velocity jump of 5 (c_L + c_R) > 6.4, and jumps are below 2.
    while True:
        left, right = _random_state(rng), _random_state(rng)
        if not resembles_named(left, right):
            return left, right


def _end_time(*states: GasState, room: float = _REACH) -> float:
    pairs = [(a, b) for a in states for b in states]
    return min(_LONGEST, room / max(fastest_wave(a, b) for a, b in pairs))


def random_tube(rng: np.random.Generator) -> InitialCondition:
    """A random Riemann problem with its jump at 0, apart from the named ones; the exact solution is known.

    Parameters
    ----------
    rng
        Where random numbers come from; it moves on.

    Returns
    -------
    A condition on ``[-1/2, 1/2]`` with outflow, of reference ``"riemann"``; its end time is at most 0.2.
    """
    left, right = _random_sides(rng)
    return tube("random-tube", left, right, time=_end_time(left, right), note="two random states")


def _three_states(rng: np.random.Generator) -> InitialCondition:
    left, middle = _random_sides(rng)
    right = _random_state(rng)
    while resembles_named(middle, right):
        right = _random_state(rng)
    jumps = (rng.uniform(-0.25, -0.05), rng.uniform(0.05, 0.25))
    states = (left, middle, right)
    return InitialCondition(
        "random-three-states",
        partial(piecewise, states=states, jumps=jumps),
        lower=(-0.5,),
        upper=(0.5,),
        ends=("outflow",),
        # Waves start up to 1/4 from the middle: they have the less to go.
        time=_end_time(*states, room=0.45 - max(-jumps[0], jumps[1])),
        jumps=jumps,
        note="three random states, whose waves meet",
    )


def _rippled(
    x: Float64[np.ndarray, "*grid"],
    *,
    states: tuple[GasState, GasState],
    side: float,
    amplitude: float,
    number: float,
    phase: float,
) -> Profile:
    field = piecewise(x, states=states, jumps=(0.0,))
    # Ripples fade out before the end, where outflow would not know how they go on.
    window = np.clip((0.45 - np.abs(x)) / 0.05, 0.0, 1.0) * (side * x > 0)
    field[0] *= 1.0 + amplitude * window * np.sin(2.0 * np.pi * number * x + phase)
    return field


def _ripples(rng: np.random.Generator) -> InitialCondition:
    left, right = _random_sides(rng)
    amplitude = rng.uniform(0.05, 0.3)
    # Where density is least, sound is faster: leave room for that.
    time = _end_time(left, right) * math.sqrt(1 - amplitude)
    return InitialCondition(
        "random-ripples",
        partial(
            _rippled,
            states=(left, right),
            side=1.0 if rng.uniform() < 0.5 else -1.0,
            amplitude=amplitude,
            number=rng.uniform(2.0, 10.0),
            phase=rng.uniform(0.0, 2.0 * np.pi),
        ),
        lower=(-0.5,),
        upper=(0.5,),
        ends=("outflow",),
        time=time,
        jumps=(0.0,),
        note="two random states, with waves of density on one side",
    )


def _modes(x: Float64[np.ndarray, "*grid"], *, mean: GasState, weights: Float64[np.ndarray, "3 mode 2"]) -> Profile:
    turns = 2.0 * np.pi * np.arange(1, weights.shape[1] + 1, dtype=np.float64)
    angle = turns.reshape(-1, *(1,) * x.ndim) * x
    sums = np.einsum("cmk,km...->c...", weights, np.stack([np.cos(angle), np.sin(angle)]))
    c = sound_speed(mean)
    # Exponentials keep density and pressure positive at any amplitude.
    return np.stack([mean[0] * np.exp(sums[0]), mean[1] + c * sums[1], mean[2] * np.exp(sums[2])])


def _smooth(rng: np.random.Generator) -> InitialCondition:
    mean = _random_state(rng)
    modes = int(rng.integers(1, 5))
    weights = rng.normal(size=(3, modes, 2)) / (1.0 + np.arange(modes, dtype=np.float64))[None, :, None]
    size = rng.uniform(0.05, 0.4, size=3) * (rng.uniform(size=3) < 0.7)
    if not size.any():
        size[int(rng.integers(3))] = 0.2
    largest = np.sum(np.linalg.norm(weights, axis=2), axis=1)
    return InitialCondition(
        "random-smooth",
        partial(_modes, mean=mean, weights=weights * (size / largest)[:, None, None]),
        lower=(-0.5,),
        upper=(0.5,),
        ends=("periodic",),
        time=_LONGEST,
        note="smooth waves of density, velocity and pressure, some of which steepen",
    )


_KINDS = (_three_states, _ripples, _smooth)


def random_gas(rng: np.random.Generator) -> InitialCondition:
    """A random condition whose solution takes a finer grid: three states, a rippled tube, or smooth periodic waves.

    Parameters
    ----------
    rng
        Where random numbers come from; it moves on.

    Returns
    -------
    A condition on ``[-1/2, 1/2]`` of reference ``"fine"``; the three kinds are equally likely, and the end time is at
    most 0.2.
    """
    return _KINDS[int(rng.integers(len(_KINDS)))](rng)
