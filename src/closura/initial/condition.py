"""Named initial conditions of conservation laws: a domain, a boundary, a state at time zero, and its usual end.

Values are computed on the host in float64: an initial condition is evaluated once per grid, and references are
compared with it to the last digits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

End = Literal["periodic", "outflow", "reflecting", "linear", "quadratic"]
"""What lies beyond the ends of an axis.

``periodic``: the other end; ``outflow``: the value of the last cell (zero gradient); ``reflecting``: the mirror
image, with the velocity along the axis turned round; ``linear`` and ``quadratic``: extrapolation from the last two
or three cells.
"""
ENDS: tuple[End, ...] = get_args(End)

Reference = Literal["entropy", "riemann", "translation", "fine"]
"""How the solution is known.

``entropy``: the entropy solution of a scalar law by Lax and Hopf; ``riemann``: the exact Riemann solution;
``translation``: the initial state carried along; ``fine``: a simulation on a finer grid.
"""

Values = Callable[..., Float64[np.ndarray, "component *grid"]]


@dataclass(frozen=True)
class InitialCondition:
    """An initial condition of a conservation law.

    Parameters
    ----------
    values
        ``values(x)`` or ``values(x, y)``: the state at points, arrays of one shape, as ``(component, *shape)`` in
        *primitive* variables (Burgers: u; Euler: rho, v, p, or rho, v_x, v_y, p), float64. Defined for all real
        coordinates where the boundary is not periodic; then values beyond the domain are those that the boundary
        stands for.
    lower, upper, ends
        Ends of the domain along each axis, and what lies beyond them.
    time
        Usual end of a simulation.
    reference
        How the solution is known.
    jumps
        Where values jump inside the domain (one-dimensional conditions).
    translation
        Velocity of the pattern, where the reference is ``translation``.
    note
        One line: what happens.
    """

    name: str
    values: Values
    lower: tuple[float, ...] = (0.0,)
    upper: tuple[float, ...] = (1.0,)
    ends: tuple[End, ...] = ("periodic",)
    time: float = 0.2
    reference: Reference = "fine"
    jumps: tuple[float, ...] = ()
    translation: tuple[float, ...] = ()
    note: str = ""
    shift: tuple[float, ...] = field(default=())

    def __post_init__(self) -> None:
        if not len(self.lower) == len(self.upper) == len(self.ends) or not self.lower:
            raise ValueError(
                f"{self.name}: one lower and upper end and one boundary per axis; got {len(self.lower)}, "
                f"{len(self.upper)} and {len(self.ends)}"
            )
        if any(not low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise ValueError(f"{self.name}: the domain is empty: {self.lower} to {self.upper}")
        unknown = [end for end in self.ends if end not in ENDS]
        if unknown:
            raise ValueError(f"{self.name}: unknown boundary {unknown[0]!r}; valid: {', '.join(ENDS)}")

    @property
    def dimensions(self) -> int:
        """Number of axes."""
        return len(self.lower)

    @property
    def extent(self) -> tuple[float, ...]:
        """Length of the domain along each axis."""
        return tuple(high - low for low, high in zip(self.lower, self.upper, strict=True))

    @property
    def can_be_shifted(self) -> bool:
        """Whether a shift by less than a cell leaves the problem the same: periodic ones, and those with a jump."""
        return bool(self.jumps) or set(self.ends) == {"periodic"}

    def points(self, shape: tuple[int, ...]) -> tuple[Float64[np.ndarray, "*grid"], ...]:
        """Coordinates of the cell centres ``x_i = lower + (i + 1/2) dx``, one array per axis (``indexing="ij"``)."""
        if len(shape) != self.dimensions or min(shape) < 1:
            raise ValueError(f"{self.name} needs {self.dimensions} sizes of a grid; got {shape}")
        axes = [
            low + (np.arange(n, dtype=np.float64) + 0.5) * (length / n)
            for low, length, n in zip(self.lower, self.extent, shape, strict=True)
        ]
        return tuple(np.meshgrid(*axes, indexing="ij"))

    def __call__(self, *coordinates: Float64[np.ndarray, "*grid"]) -> Float64[np.ndarray, "component *grid"]:
        """Primitive state at points, shifted as this condition is."""
        if self.shift:
            coordinates = tuple(x - s for x, s in zip(coordinates, self.shift, strict=True))
        return self.values(*coordinates)

    def shifted(self, *distances: float) -> "InitialCondition":
        """The same pattern moved by a distance along each axis, its jumps with it; the domain stays."""
        if not self.can_be_shifted:
            raise ValueError(f"{self.name} cannot be shifted: it is not periodic and has no jump")
        before = self.shift or (0.0,) * self.dimensions
        shift = tuple(a + b for a, b in zip(before, distances, strict=True))
        jumps = tuple(x + distances[0] for x in self.jumps)
        return replace(self, shift=shift, jumps=jumps)


def look_up(name: str, conditions: Mapping[str, InitialCondition], what: str, others: str = "") -> InitialCondition:
    """The condition of that name; underscores stand for hyphens. ``what`` and ``others`` are words of the error."""
    known = conditions.get(name.replace("_", "-"))
    if known is None:
        raise ValueError(f"unknown initial condition {name!r} of {what}; valid: {', '.join(conditions)}{others}")
    return known


def in_plane(
    x: Float64[np.ndarray, "*grid"],
    y: Float64[np.ndarray, "*grid"],
    *,
    line: Values,
    direction: tuple[int, int],
) -> Float64[np.ndarray, "component *grid"]:
    """Values ``line(a x + b y)`` with ``direction = (a, b)``; a gas flows along the axis, and rests along the other."""
    a, b = direction
    values = line(a * x + b * y)
    if len(values) == 1:
        return values
    rho, v, p = values
    still = np.zeros_like(v)
    return np.stack([rho, still, v, p] if b else [rho, v, still, p])


@lru_cache  # the same object for the same name: references from finer grids are kept by condition
def extended(line: InitialCondition, axis: int) -> InitialCondition:
    """A condition on a line laid along axis 0 (x) or 1 (y) of a square, constant and periodic along the other.

    The square has the line's length along both axes, so that cells are square where the grid is.
    """
    if line.dimensions != 1:
        raise ValueError(f"expected a condition on a line; {line.name!r} has {line.dimensions} dimensions")
    if axis not in (0, 1):
        raise ValueError(f"axis: expected 0 (x) or 1 (y); got {axis}")
    (end,) = line.ends
    speed = line.translation[0] if line.translation else 0.0
    return InitialCondition(
        f"1d-{line.name}-{'xy'[axis]}",
        partial(in_plane, line=line, direction=(1 - axis, axis)),
        lower=line.lower * 2,
        upper=line.upper * 2,
        ends=("periodic", end) if axis else (end, "periodic"),
        time=line.time,
        reference=line.reference,
        translation=((0.0, speed) if axis else (speed, 0.0)) if line.translation else (),
        note=f"along {'xy'[axis]}: {line.note}",
    )


def along_an_axis(name: str, lines: Mapping[str, InitialCondition]) -> InitialCondition | None:
    """The condition of a name ``1d-NAME-x`` or ``1d-NAME-y``; None for other names."""
    plain = name.replace("_", "-")
    if plain.startswith("1d-") and plain[-2:] in ("-x", "-y") and plain[3:-2] in lines:
        return extended(lines[plain[3:-2]], "xy".index(plain[-1]))
    return None


def line_of(condition: InitialCondition) -> tuple[InitialCondition, tuple[int, int]]:
    """The condition on a line that one of the plane is made of, and its direction: ``u(x, y) = line(a x + b y)``."""
    values = condition.values
    if not isinstance(values, partial) or values.func is not in_plane:
        raise ValueError(
            f"{condition.name!r} does not depend on one coordinate alone, as jsz7, 1d-NAME-x and 1d-NAME-y do (such as "
            "1d-sod-x): simulate on a finer grid instead"
        )
    line, direction = values.keywords["line"], values.keywords["direction"]
    if condition.shift:
        line = line.shifted(sum(a * s for a, s in zip(direction, condition.shift, strict=True)))
    return line, direction
