"""Named initial conditions of the Euler equations in a plane: Riemann problems of four states, a vortex, tubes.

Primitive variables ``(rho, v_x, v_y, p)`` of a gas with ratio of heat capacities 1.4, without units.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Float64

from closura.initial.gas_profiles import EULER_1D, euler_1d, look_up
from closura.initial.initial import InitialCondition

Plane = Float64[np.ndarray, "*grid"]
PlaneField = Float64[np.ndarray, "4 *grid"]
PlaneState = tuple[float, float, float, float]

VORTEX_STRENGTH = 5.0
_GAMMA = 1.4


def _quadrants(x: Plane, y: Plane, *, states: tuple[PlaneState, ...]) -> PlaneField:
    """Upper right, upper left, lower left, lower right of (1/2, 1/2): the order of quadrants in the sources."""
    right, upper = x > 0.5, y > 0.5
    number = np.where(upper, np.where(right, 0, 1), np.where(right, 3, 2))
    return np.asarray(states, np.float64).T[:, number]


def _riemann(number: int, time: float, note: str, *states: PlaneState) -> InitialCondition:
    return InitialCondition(
        f"riemann-{number}",
        partial(_quadrants, states=states),
        lower=(0.0, 0.0),
        upper=(1.0, 1.0),
        ends=("outflow", "outflow"),
        time=time,
        note=f"{note} (Lax and Liu 1998, configuration {number})",
    )


def _vortex(x: Plane, y: Plane) -> PlaneField:
    x, y = x - 10.0 * np.round(x / 10.0), y - 10.0 * np.round(y / 10.0)
    square = x * x + y * y
    turn = VORTEX_STRENGTH / (2.0 * np.pi) * np.exp(0.5 * (1.0 - square))
    # Entropy p / rho^gamma = 1 everywhere, and the pressure holds the rotation: T = 1 - (gamma - 1) turn^2 / 2 gamma.
    temperature = 1.0 - (_GAMMA - 1.0) / (2.0 * _GAMMA) * turn * turn
    rho = temperature ** (1.0 / (_GAMMA - 1.0))
    return np.stack([rho, 1.0 - y * turn, 1.0 + x * turn, rho * temperature])


# Density, velocity along x and y, pressure; the sources print the pressure first.
EULER_2D: dict[str, InitialCondition] = {
    condition.name: condition
    for condition in (
        _riemann(
            3,
            0.3,
            "four shocks, with a jet along the diagonal",
            (1.5, 0.0, 0.0, 1.5),
            (0.5323, 1.206, 0.0, 0.3),
            (0.138, 1.206, 1.206, 0.029),
            (0.5323, 0.0, 1.206, 0.3),
        ),
        _riemann(
            4,
            0.25,
            "four shocks about a lens of dense gas",
            (1.1, 0.0, 0.0, 1.1),
            (0.5065, 0.8939, 0.0, 0.35),
            (1.1, 0.8939, 0.8939, 1.1),
            (0.5065, 0.0, 0.8939, 0.35),
        ),
        _riemann(
            6,
            0.3,
            "four slip lines that roll up",
            (1.0, 0.75, -0.5, 1.0),
            (2.0, 0.75, 0.5, 1.0),
            (1.0, -0.75, 0.5, 1.0),
            (3.0, -0.75, -0.5, 1.0),
        ),
        _riemann(
            12,
            0.25,
            "two shocks and two slip lines",
            (0.5313, 0.0, 0.0, 0.4),
            (1.0, 0.7276, 0.0, 1.0),
            (0.8, 0.0, 0.0, 1.0),
            (1.0, 0.0, 0.7276, 1.0),
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

_AXES = {"x": 0, "y": 1}


def _lay(x: Plane, y: Plane, *, line: Callable[..., Float64[np.ndarray, "3 *grid"]], axis: int) -> PlaneField:
    rho, v, p = line(y if axis else x)
    still = np.zeros_like(v)
    return np.stack([rho, still, v, p] if axis else [rho, v, still, p])


@lru_cache  # the same object for the same name: references from finer grids are kept by condition
def extended(line: InitialCondition, axis: int) -> InitialCondition:
    """A condition on a line laid along axis 0 (x) or 1 (y) of a square, constant and periodic along the other.

    The square has the line's length along both axes, so that cells are square where the grid is.

    Raises
    ------
    ValueError
        If the condition is not one of a line, or the axis is neither 0 nor 1.
    """
    if line.dimensions != 1:
        raise ValueError(f"expected a condition on a line; {line.name!r} has {line.dimensions} dimensions")
    if axis not in (0, 1):
        raise ValueError(f"axis: expected 0 (x) or 1 (y); got {axis}")
    (end,) = line.ends
    speed = line.translation[0] if line.translation else 0.0
    return InitialCondition(
        f"1d-{line.name}-{'xy'[axis]}",
        partial(_lay, line=line, axis=axis),
        lower=line.lower * 2,
        upper=line.upper * 2,
        ends=("periodic", end) if axis else (end, "periodic"),
        time=line.time,
        reference=line.reference,
        translation=((0.0, speed) if axis else (speed, 0.0)) if line.translation else (),
        note=f"{line.note}; along {'xy'[axis]}",
    )


def line_of(condition: InitialCondition) -> tuple[InitialCondition, int]:
    """The condition on a line and the axis that :func:`extended` made a condition of.

    Raises
    ------
    ValueError
        If it was not made so.
    """
    values = condition.values
    if not isinstance(values, partial) or values.func is not _lay:
        raise ValueError(f"{condition.name!r} is no condition on a line laid in a plane, such as '1d-sod-x'")
    line, axis = values.keywords["line"], values.keywords["axis"]
    return (line.shifted(condition.shift[axis]) if condition.shift else line), axis


def euler_2d(name: str) -> InitialCondition:
    """The initial condition of that name in a plane: one of ``EULER_2D``, or ``1d-NAME-x``, ``1d-NAME-y``.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists the valid ones.
    """
    hyphened = name.replace("_", "-")
    start, _, axis = hyphened.rpartition("-")
    if start.startswith("1d-") and axis in _AXES and start[3:] in EULER_1D:
        return extended(euler_1d(start[3:]), _AXES[axis])
    return look_up(name, EULER_2D, others=f"1d-NAME-x and 1d-NAME-y with NAME one of {', '.join(sorted(EULER_1D))}")
