"""Named initial conditions of the Euler equations on a line: shock tubes, blast waves, waves carried along.

Primitive variables ``(rho, v, p)`` of a gas with ratio of heat capacities 1.4, without units. Where a source is given
as "published", the states are those of Way, Kapilavai, Fu and Yu (2022, arXiv 2203.08937) and their code.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
from jaxtyping import Float64

from closura.initial.initial import InitialCondition

Coordinates = Float64[np.ndarray, "*grid"]
Profile = Float64[np.ndarray, "3 *grid"]
GasState = tuple[float, float, float]
"""Density, velocity, pressure."""


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


EULER_1D: dict[str, InitialCondition] = {
    condition.name: condition
    for condition in (
        tube("sod", (1.0, 0.0, 1.0), (0.125, 0.0, 0.1), time=0.2, note="rarefaction, contact, shock (Sod 1978)"),
        tube("sod2", (1.0, 0.0, 1.0), (0.01, 0.0, 0.01), time=0.2, note="Sod's tube with a hundredth on the right"),
        tube(
            "lax",
            (0.445, 0.698, 3.528),
            (0.5, 0.0, 0.571),
            time=0.14,
            note="Lax's tube: a strong contact behind a shock (Lax 1954)",
        ),
        tube(
            "shock-tube",
            (0.445, 0.689, 3.528),
            (0.5, 0.0, 0.571),
            time=0.14,
            note="published: Lax's tube with two digits of the velocity swapped",
        ),
        tube(
            "sonic-rarefaction",
            (3.857, 0.92, 10.333),
            (1.0, 3.55, 1.0),
            time=0.7,
            half=5.0,
            note="published: a rarefaction through the sonic point",
        ),
        tube(
            "double-rarefaction",
            (1.0, -2.0, 0.4),
            (1.0, 2.0, 0.4),
            time=0.15,
            note="two rarefactions, nearly a vacuum between them (Einfeldt et al. 1991)",
        ),
        tube(
            "slow-shock",
            (5.6698, -1.4701, 100.0),
            (1.0, -10.5, 1.0),
            time=0.2,
            note="a strong shock that takes many steps to cross a cell (Quirk 1994)",
        ),
        tube(
            "slow-moving-shock",
            (3.86, -0.81, 10.33),
            (1.0, -3.44, 1.0),
            time=0.2,
            note="a shock of Mach number 3 that takes many steps to cross a cell (Quirk 1994)",
        ),
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


def look_up(name: str, conditions: Mapping[str, InitialCondition], *, others: str = "") -> InitialCondition:
    """The condition of that name; underscores stand for hyphens.

    Parameters
    ----------
    name
        What is looked for.
    conditions
        What there is.
    others
        More valid names, said in words, for the error.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    known = conditions.get(name.replace("_", "-"))
    if known is None:
        valid = ", ".join(sorted(conditions)) + (f"; {others}" if others else "")
        raise ValueError(f"unknown initial condition of the Euler equations {name!r}; valid: {valid}")
    return known


def euler_1d(name: str) -> InitialCondition:
    """The initial condition of that name on a line, ``"slow_shock"`` and ``"slow-shock"`` alike.

    Raises
    ------
    ValueError
        If there is none of that name; the message lists the valid ones.
    """
    return look_up(name, EULER_1D)


def riemann_sides(condition: InitialCondition) -> tuple[GasState, GasState, float]:
    """The states left and right of the jump of a Riemann problem, and where the jump is.

    Parameters
    ----------
    condition
        A condition with one jump on a line, of reference ``"riemann"``; it may have been shifted.

    Returns
    -------
    ``(rho, v, p)`` on the left, the same on the right, and the position of the jump.

    Raises
    ------
    ValueError
        If the condition is no Riemann problem.
    """
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
