"""Candidate terms of an equation for the action: products of velocities and derivatives, free of units.

A term is ``(velocities) dt^p h^(m - p) d^m q``: p velocity factors, m derivatives and the spacing h. Each has the
unit of q, so that coefficients are plain numbers which can be compared with the theory's: numerical diffusion of
upwind differences is ``1/2 |u| dt dx q_xx`` on any grid. Terms with a negative power of h are left out: they would
grow as the grid is refined.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from jaxtyping import Float

from closura.core import ClosureSpec
from closura.grids import Grid
from closura.interpretation.truncation import velocity_channels

_MODES = {"periodic": "wrap", "outflow": "edge"}
_LETTERS = "xyz"


@dataclass(frozen=True)
class Factor:
    """An observed channel or a derivative of it.

    ``along`` is the axis of a velocity component, None for other channels; ``derivative`` counts derivatives
    along each axis.
    """

    channel: int
    derivative: tuple[int, ...]
    absolute: bool = False
    along: int | None = None


@dataclass(frozen=True)
class Term:
    """A product: coefficients (velocities, other parameters) and last the field or its derivative.

    ``field`` is None for the constant.
    """

    coefficients: tuple[Factor, ...] = ()
    field: Factor | None = None

    def powers(self, dimensions: int) -> tuple[int, tuple[int, ...]]:
        """Powers of the time step and of each axis' spacing that make the unit that of the field."""
        spacing = [0] * dimensions
        for factor in (*self.coefficients, *((self.field,) if self.field else ())):
            spacing = [a + b for a, b in zip(spacing, factor.derivative, strict=True)]
        velocities = [factor.along for factor in self.coefficients if factor.along is not None]
        for axis in velocities:
            spacing[axis] -= 1
        return len(velocities), tuple(spacing)


def candidate_terms(spec: ClosureSpec, *, order: int = 3) -> list[Term]:
    """All terms that a closure's equation is searched among.

    For each component that the action is subtracted from: the component itself, its derivatives up to ``order``,
    these times a velocity, its size, a product of two velocities or another observed parameter (taken to have no
    unit), and ``c_j (d_j c_i) (d_i q)``, as second derivatives in time contain; and a constant. Channels called u, v, w
    are velocities along x, y, z.
    """
    n = spec.dimensions
    zero = (0,) * n
    try:
        velocities = velocity_channels(spec)
    except ValueError:
        velocities = ()
    fields = sorted(set(spec.acts_on))
    others = [c for c in range(len(spec.observation)) if c not in fields and c not in velocities]
    speeds = [Factor(channel, zero, along=axis) for axis, channel in enumerate(velocities)]
    coefficients: list[tuple[Factor, ...]] = [(s,) for s in speeds]
    coefficients += [(Factor(s.channel, zero, absolute=True, along=s.along),) for s in speeds]
    coefficients += [(Factor(channel, zero),) for channel in others]
    coefficients += list(combinations_with_replacement(speeds, 2))

    derivatives = [d for d in product(range(order + 1), repeat=n) if 1 <= sum(d) <= order]
    derivatives.sort(key=lambda d: (sum(d), [-a for a in d]))
    terms = [Term()]
    for channel in fields:
        terms.append(Term((), Factor(channel, zero)))
        for c in [(), *coefficients]:
            terms += [Term(c, Factor(channel, derivative)) for derivative in derivatives]
        for i, j in product(range(len(velocities)), repeat=2):
            gradient = Factor(velocities[i], _unit(n, j), along=i)
            terms.append(Term((speeds[j], gradient), Factor(channel, _unit(n, i))))
    return [term for term in terms if sum(term.powers(n)[1]) >= 0]


def evaluate_terms(
    terms: Sequence[Term], observation: Float[np.ndarray, "observation *grid"], grid: Grid, time_step: float
) -> Float[np.ndarray, "term *grid"]:
    """Values of terms on a grid, in the unit of the field, in float64.

    Derivatives are compact centred differences of second order; the third ones are centred differences of second
    ones. They follow the grid's boundary.
    """
    known: dict[Factor, np.ndarray] = {}

    def value(factor: Factor) -> np.ndarray:
        if factor not in known:
            field = observation[factor.channel].astype(np.float64)
            for axis, times in enumerate(factor.derivative):
                for _ in range(times // 2):
                    field = _difference(field, axis, grid, second=True)
                if times % 2:
                    field = _difference(field, axis, grid, second=False)
            known[factor] = np.abs(field) if factor.absolute else field
        return known[factor]

    values = []
    for term in terms:
        field = value(term.field) if term.field else np.ones(grid.shape)
        for factor in term.coefficients:
            courant = time_step / grid.spacing[factor.along] if factor.along is not None else 1.0
            field = field * (courant * value(factor))
        values.append(field)
    return np.stack(values)


def write_term(term: Term, spec: ClosureSpec, grid: Grid, *, less_time: int = 0) -> str:
    """A term in words, such as ``|u| dt dx psi_xx``.

    ``less_time`` is taken from the power of the time step, for actions that the dynamics multiply by it.
    """
    time, spacing = term.powers(grid.dimensions)
    words = [_write_factor(factor, spec) for factor in term.coefficients]
    words = [f"{w}^2" if words.count(w) == 2 else w for w in dict.fromkeys(words)]
    symbols = {"dt": time - less_time}
    if len(set(grid.spacing)) == 1:
        symbols["dx"] = sum(spacing)
    else:
        symbols |= {f"d{_LETTERS[axis]}": power for axis, power in enumerate(spacing)}
    words += [_power(symbol, power) for symbol, power in symbols.items() if power > 0]
    if term.field:
        words.append(_write_factor(term.field, spec))
    below = [_power(symbol, -power) for symbol, power in symbols.items() if power < 0]
    return (" ".join(words) or "1") + "".join(f" / {symbol}" for symbol in below)


def write_equation(
    terms: Sequence[Term],
    coefficients: Sequence[float],
    spec: ClosureSpec,
    grid: Grid,
    *,
    name: str = "A",
    less_time: int = 0,
) -> str:
    """``A = 0.48 |u| dt dx psi_xx - 0.2 ...``; an empty equation is ``A = 0``."""
    text = ""
    for term, coefficient in zip(terms, coefficients, strict=True):
        sign = "-" if coefficient < 0 else "+"
        body = f"{abs(coefficient):.3g}"
        if term.field or less_time:
            body += " " + write_term(term, spec, grid, less_time=less_time)
        text += f" {sign} {body}" if text else ("-" if sign == "-" else "") + body
    return f"{name} = {text or '0'}"


def _difference(field: np.ndarray, axis: int, grid: Grid, *, second: bool) -> np.ndarray:
    """An undivided centred difference: the derivative times the spacing, or its square."""
    width = [(0, 0)] * field.ndim
    width[axis] = (1, 1)
    padded = np.moveaxis(np.pad(field, width, mode=_MODES[grid.boundary[axis]]), axis, 0)  # type: ignore[call-overload]
    left, middle, right = padded[:-2], padded[1:-1], padded[2:]
    return np.moveaxis((right - middle) - (middle - left) if second else (right - left) / 2, 0, axis)


def _write_factor(factor: Factor, spec: ClosureSpec) -> str:
    name = spec.observation[factor.channel]
    name = name.split()[0] if factor.along is not None else name
    below = "".join(letter * times for letter, times in zip(_LETTERS, factor.derivative, strict=False))
    text = f"{name}_{below}" if below else name
    return f"|{text}|" if factor.absolute else text


def _power(symbol: str, power: int) -> str:
    return symbol if power == 1 else f"{symbol}^{power}"


def _unit(dimensions: int, axis: int) -> tuple[int, ...]:
    return tuple(int(a == axis) for a in range(dimensions))
