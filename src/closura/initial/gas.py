"""Initial conditions of the Euler equations, named ones on a line and in a plane, and random ones on a line.

Primitive variables ``(rho, v, p)`` or ``(rho, v_x, v_y, p)`` of a gas with ratio of heat capacities 1.4, without units.
Where a source is given as "published", the states are those of Way, Kapilavai, Fu and Yu (2022, arXiv 2203.08937) and
their code.
"""

import math
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float64

from closura.initial.condition import InitialCondition, along_an_axis, look_up

Coordinates = Float64[np.ndarray, "*grid"]
Profile = Float64[np.ndarray, "3 *grid"]
GasState = tuple[float, float, float]
"""Density, velocity, pressure."""
PlaneField = Float64[np.ndarray, "4 *grid"]
PlaneState = tuple[float, float, float, float]

VORTEX_STRENGTH = 5.0
_GAMMA = 1.4


def piecewise(x: Coordinates, *, states: tuple[GasState, ...], jumps: tuple[float, ...]) -> Profile:
    """Constant states between jumps; a point at a jump belongs to the state on its left."""
    return np.asarray(states, np.float64).T[:, np.searchsorted(np.asarray(jumps, np.float64), x, side="left")]


def tube(
    name: str,
    left: GasState,
    right: GasState,
    *,
    time: float,
    half: float = 0.5,
    jump: float = 0.0,
    note: str = "",
) -> InitialCondition:
    """A Riemann problem on ``[-half, half]``: two constant states, outflow at both ends, an exact solution."""
    return InitialCondition(
        name,
        partial(piecewise, states=(left, right), jumps=(jump,)),
        lower=(-half,),
        upper=(half,),
        ends=("outflow",),
        time=time,
        reference="riemann",
        jumps=(jump,),
        note=note,
    )


def _shu_osher(x: Coordinates) -> Profile:
    left = x <= -4.0
    return np.stack(
        [
            np.where(left, 3.857143, 1.0 + 0.2 * np.sin(5.0 * x)),
            np.where(left, 2.629369, 0.0),
            np.where(left, 31.0 / 3.0, 1.0),
        ]
    )


def _blast_waves(x: Coordinates) -> Profile:
    # Beyond the walls lies the mirror image; the gas is at rest, so that no velocity turns round.
    inside = np.where((x >= 0.0) & (x <= 1.0), x, 1.0 - np.abs(np.mod(x, 2.0) - 1.0))
    return piecewise(inside, states=((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), (1.0, 0.0, 100.0)), jumps=(0.1, 0.9))


def _density_wave(x: Coordinates) -> Profile:
    return np.stack([1.0 + 0.2 * np.sin(2.0 * np.pi * x), np.ones_like(x), np.ones_like(x)])


def _gaussian(x: Coordinates) -> Profile:
    distance = x - np.round(x)
    return np.stack([1e-3 + (1 - 1e-3) * np.exp(-((distance / 0.1) ** 2)), np.ones_like(x), np.full_like(x, 1e-6)])


# Name, states left and right, usual end, half of the domain's length, note.
_TUBES: tuple[tuple[str, GasState, GasState, float, float, str], ...] = (
    ("sod", (1.0, 0.0, 1.0), (0.125, 0.0, 0.1), 0.2, 0.5, "rarefaction, contact, shock (Sod 1978)"),
    ("sod2", (1.0, 0.0, 1.0), (0.01, 0.0, 0.01), 0.2, 0.5, "Sod's tube with a hundredth on the right"),
    ("lax", (0.445, 0.698, 3.528), (0.5, 0.0, 0.571), 0.14, 0.5,
     "Lax's tube: a strong contact behind a shock (Lax 1954)"),
    ("shock-tube", (0.445, 0.689, 3.528), (0.5, 0.0, 0.571), 0.14, 0.5,
     "published: Lax's tube with two digits of the velocity swapped"),
    ("sonic-rarefaction", (3.857, 0.92, 10.333), (1.0, 3.55, 1.0), 0.7, 5.0,
     "published: a rarefaction through the sonic point"),
    ("double-rarefaction", (1.0, -2.0, 0.4), (1.0, 2.0, 0.4), 0.15, 0.5,
     "two rarefactions, nearly a vacuum between them (Einfeldt et al. 1991)"),
    ("slow-shock", (5.6698, -1.4701, 100.0), (1.0, -10.5, 1.0), 0.2, 0.5,
     "a strong shock that takes many steps to cross a cell (Quirk 1994)"),
    ("slow-moving-shock", (3.86, -0.81, 10.33), (1.0, -3.44, 1.0), 0.2, 0.5,
     "a shock of Mach number 3 that takes many steps to cross a cell (Quirk 1994)"),
)  # fmt: skip

EULER_1D: dict[str, InitialCondition] = {
    condition.name: condition
    for condition in (
        *(tube(name, left, right, time=time, half=half, note=note) for name, left, right, time, half, note in _TUBES),
        InitialCondition(
            "shu-osher",
            _shu_osher,
            lower=(-5.0,),
            upper=(5.0,),
            ends=("outflow",),
            time=1.8,
            jumps=(-4.0,),
            note="a shock of Mach number 3 meets waves of density (Shu and Osher 1989, example 8)",
        ),
        InitialCondition(
            "blast-waves",
            _blast_waves,
            ends=("reflecting",),
            time=0.038,
            jumps=(0.1, 0.9),
            note="two blast waves between walls collide (Woodward and Colella 1984)",
        ),
        InitialCondition(
            "density-wave",
            _density_wave,
            time=1.0,
            reference="translation",
            translation=(1.0,),
            note="a sine of density, carried along once through the domain",
        ),
        InitialCondition(
            "advection",
            _gaussian,
            lower=(-0.5,),
            upper=(0.5,),
            reference="translation",
            translation=(1.0,),
            note="published but out of reach there: a Gaussian of density in a cold stream (width and floor are ours)",
        ),
    )
}


def euler_1d(name: str) -> InitialCondition:
    """The initial condition of that name on a line, ``"slow_shock"`` and ``"slow-shock"`` alike (or ValueError)."""
    return look_up(name, EULER_1D, "the Euler equations on a line")


def riemann_sides(condition: InitialCondition) -> tuple[GasState, GasState, float]:
    """The states ``(rho, v, p)`` left and right of the jump of a Riemann problem, and where it is."""
    if condition.dimensions != 1 or condition.reference != "riemann" or len(condition.jumps) != 1:
        two = ", ".join(sorted(c.name for c in EULER_1D.values() if c.reference == "riemann"))
        raise ValueError(
            f"{condition.name!r} is no Riemann problem of the Euler equations on a line (expected two constant states "
            f"and one jump; it has {len(condition.jumps)} jumps in {condition.dimensions} dimensions and the reference "
            f"{condition.reference!r}): choose one of {two}, or compare with a finer grid"
        )
    (jump,) = condition.jumps
    beside = condition.extent[0]
    left, right = np.asarray(condition(np.array([jump - beside, jump + beside], np.float64)), np.float64).T.tolist()
    if len(left) != 3:
        raise ValueError(f"{condition.name!r}: expected three components (rho, v, p); got {len(left)}")
    return tuple(left), tuple(right), jump


def _quadrants(x: Coordinates, y: Coordinates, *, states: tuple[PlaneState, ...]) -> PlaneField:
    """Upper right, upper left, lower left, lower right of (1/2, 1/2): the order of quadrants in the sources."""
    right, upper = x > 0.5, y > 0.5
    number = np.where(upper, np.where(right, 0, 1), np.where(right, 3, 2))
    return np.asarray(states, np.float64).T[:, number]


def _vortex(x: Coordinates, y: Coordinates) -> PlaneField:
    x, y = x - 10.0 * np.round(x / 10.0), y - 10.0 * np.round(y / 10.0)
    square = x * x + y * y
    turn = VORTEX_STRENGTH / (2.0 * np.pi) * np.exp(0.5 * (1.0 - square))
    # Entropy p / rho^gamma = 1 everywhere, and the pressure holds the rotation: T = 1 - (gamma - 1) turn^2 / 2 gamma.
    temperature = 1.0 - (_GAMMA - 1.0) / (2.0 * _GAMMA) * turn * turn
    rho = temperature ** (1.0 / (_GAMMA - 1.0))
    return np.stack([rho, 1.0 - y * turn, 1.0 + x * turn, rho * temperature])


# Number, usual end, note, states of the quadrants: density, velocity along x and y, pressure (first in the sources).
_CONFIGURATIONS: tuple[tuple[int, float, str, tuple[PlaneState, ...]], ...] = (
    (3, 0.3, "four shocks, with a jet along the diagonal",
     ((1.5, 0.0, 0.0, 1.5), (0.5323, 1.206, 0.0, 0.3), (0.138, 1.206, 1.206, 0.029), (0.5323, 0.0, 1.206, 0.3))),
    (4, 0.25, "four shocks about a lens of dense gas",
     ((1.1, 0.0, 0.0, 1.1), (0.5065, 0.8939, 0.0, 0.35), (1.1, 0.8939, 0.8939, 1.1), (0.5065, 0.0, 0.8939, 0.35))),
    (6, 0.3, "four slip lines that roll up",
     ((1.0, 0.75, -0.5, 1.0), (2.0, 0.75, 0.5, 1.0), (1.0, -0.75, 0.5, 1.0), (3.0, -0.75, -0.5, 1.0))),
    (12, 0.25, "two shocks and two slip lines",
     ((0.5313, 0.0, 0.0, 0.4), (1.0, 0.7276, 0.0, 1.0), (0.8, 0.0, 0.0, 1.0), (1.0, 0.0, 0.7276, 1.0))),
)  # fmt: skip

EULER_2D: dict[str, InitialCondition] = {
    condition.name: condition
    for condition in (
        *(
            InitialCondition(
                f"riemann-{number}",
                partial(_quadrants, states=states),
                lower=(0.0, 0.0),
                upper=(1.0, 1.0),
                ends=("outflow", "outflow"),
                time=time,
                note=f"{note} (Lax and Liu 1998, configuration {number})",
            )
            for number, time, note, states in _CONFIGURATIONS
        ),
        InitialCondition(
            "isentropic-vortex",
            _vortex,
            lower=(-5.0, -5.0),
            upper=(5.0, 5.0),
            ends=("periodic", "periodic"),
            time=10.0,
            reference="translation",
            translation=(1.0, 1.0),
            # At the border the swirl is 2e-5, so the periodic pattern has a kink there of that size.
            note="a vortex carried along the diagonal, once through the domain (Shu 1998, strength 5)",
        ),
    )
}


def euler_2d(name: str) -> InitialCondition:
    """The initial condition of that name in a plane: one of ``EULER_2D``, or ``1d-NAME-x``, ``1d-NAME-y``."""
    others = f"; 1d-NAME-x and 1d-NAME-y with NAME one of {', '.join(EULER_1D)}"
    return along_an_axis(name, EULER_1D) or look_up(name, EULER_2D, "the Euler equations in a plane", others)


_LONGEST = 0.2  # end time of the published shock tubes
_REACH = 0.4  # how far first waves may go from the middle of the domain
_CLOSE = 0.2  # least distance to a named tube: of the logarithms of ratios, and of velocity in sound speeds


def _sound_speed(state: GasState) -> float:
    rho, _, p = state
    return math.sqrt(_GAMMA * p / rho)


def fastest_wave(left: GasState, right: GasState) -> float:
    """An upper bound of the absolute speeds of all waves of a Riemann problem, for gamma up to 5/3.

    At the pressure ``p`` of two rarefactions (Guermond and Popov 2016, J. Comput. Phys. 321, 908-926):
    ``|v_K| + c_K s(p / p_K)`` on either side with ``s(q) = sqrt(1 + (gamma + 1) / (2 gamma) max(q - 1, 0))``.
    """
    (_, v_left, p_left), (_, v_right, p_right) = left, right
    c_left, c_right = _sound_speed(left), _sound_speed(right)
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
    jump = (right[1] - left[1]) / _sound_speed(left)
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


def random_tube(rng: np.random.Generator) -> InitialCondition:
    """A random Riemann problem on [-1/2, 1/2] with its jump at 0, which is nearly none of the named ones.

    It ends at 0.2 at the latest, while the first waves are inside.
    """
    # No vacuum opens: that takes a velocity jump of 5 (c_L + c_R) > 6.4, and jumps are below 2.
    left, right = _random_state(rng), _random_state(rng)
    while resembles_named(left, right):
        left, right = _random_state(rng), _random_state(rng)
    time = min(_LONGEST, _REACH / max(fastest_wave(a, b) for a in (left, right) for b in (left, right)))
    return tube("random-tube", left, right, time=time, note="two random states")
