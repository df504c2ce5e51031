"""Initial conditions of the two-dimensional scalar Burgers equation ``u_t + (u^2/2)_x + (u^2/2)_y = 0``.

The set is that of Way et al. (arXiv 2203.08937); ``jsz7`` is example 7 of Jiang, Shu and Zhang, "An alternative
formulation of finite difference weighted ENO schemes with Lax-Wendroff time discretization" (SIAM J. Sci. Comput. 35,
2013). Besides the named ones, two kinds of names are read: ``1d-<name>-x`` and ``1d-<name>-y``, a one-dimensional
condition along an axis, and ``combo-<name>-<name>``, the sum of one along x and one along y.

A condition that depends on ``s = a x + b y`` only solves ``u_t + (a + b) (u^2/2)_s = 0``, the one-dimensional equation
in the time ``(a + b) t``: such ones have exact solutions.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.initial.burgers_profiles import BURGERS_1D, burgers_1d
from closura.initial.initial import InitialCondition


@dataclass(frozen=True)
class LineOfPlane:
    """A condition of the plane as one of a line: ``u(x, y) = line(a x + b y)`` with ``direction = (a, b)``."""

    line: InitialCondition
    direction: tuple[int, int]


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
        lambda x, y: _diagonal_sine(x + y),
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
    """The condition of this name; names of one-dimensional conditions are written with hyphens or underscores.

    Raises
    ------
    ValueError
        If the name cannot be read; the message lists the forms and names.
    """
    plain = name.replace("_", "-")
    if plain in BURGERS_2D:
        return BURGERS_2D[plain]
    along = _along_axis(plain)
    if along is not None:
        line, axis = along
        # The other axis sees no change: periodic is exact there.
        ends = (line.ends[0], "periodic") if axis == 0 else ("periodic", line.ends[0])
        return InitialCondition(
            plain,
            lambda x, y: line((x, y)[axis]),
            (0.0, 0.0),
            (1.0, 1.0),
            ends,  # type: ignore[arg-type]
            time=line.time,
            reference=line.reference,
            note=f"along {'xy'[axis]}: {line.note}",
        )
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
    raise ValueError(
        f"unknown initial condition {name!r} of the 2-D Burgers equation; valid: {', '.join(BURGERS_2D)}, 1d-NAME-x, "
        f"1d-NAME-y and combo-NAME-NAME, with NAME one of: {', '.join(BURGERS_1D)}"
    )


def line_of_plane(name: str) -> LineOfPlane | None:
    """The condition of a line that the condition of this name stands for, or None where there is none."""
    plain = name.replace("_", "-")
    if plain == "jsz7":
        return LineOfPlane(_JSZ7_LINE, (1, 1))
    along = _along_axis(plain)
    if along is None:
        return None
    line, axis = along
    return LineOfPlane(line, (1, 0) if axis == 0 else (0, 1))


def _along_axis(name: str) -> tuple[InitialCondition, int] | None:
    if name.startswith("1d-") and name[-2:] in ("-x", "-y") and name[3:-2] in BURGERS_1D:
        return burgers_1d(name[3:-2]), "xy".index(name[-1])
    return None


def _sum_of_two(name: str) -> tuple[InitialCondition, InitialCondition] | None:
    """Read ``combo-A-B``; names may hold hyphens, so every hyphen is tried."""
    if not name.startswith("combo-"):
        return None
    words = name.removeprefix("combo-").split("-")
    for count in range(1, len(words)):
        first, second = "-".join(words[:count]), "-".join(words[count:])
        if first in BURGERS_1D and second in BURGERS_1D:
            return burgers_1d(first), burgers_1d(second)
    return None
