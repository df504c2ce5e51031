"""The "analytical" references published with the Burgers conditions: only to reproduce figures made with them.

Where Way et al. (arXiv 2203.08937) use an implicit solution ``u = u0(x - u t)``, a root finder looks for the foot of
one characteristic per point. After a shock has formed, three characteristics reach the points around it, and the root
finder returns any of them: a few cells next to the shock lie on the wrong side, with errors as large as the jump. On
128 cells at t = 0.2 that makes an L2 error of 0.112 for ``other-sine`` and 0.102 for ``gaussian``, more than twice that
of fifth-order WENO. For everything else take :func:`closura.problems.laws.entropy.entropy_solution`.

Which cells are wrong depends on the bracket that the root finder starts from. The brackets here are not those of the
published code but ones that give the errors measured for it on 64, 128 and 256 cells.
"""

import numpy as np
from jaxtyping import Float64
from scipy.optimize import brentq

from closura.arrays import real_numbers
from closura.initial.condition import InitialCondition
from closura.problems.laws.entropy import entropy_solution

Points = Float64[np.ndarray, " point"]

IMPLICIT_REACH: dict[str, float] = {
    "smooth-sine": 2.0,
    "smooth-sine-shift": 2.0,
    "other-sine": 1.0,
    "gaussian": 2.0,
    "smooth-rare": 2.0,
    "random": 1.0,
    "random-many-shocks": 1.0,
    "smooth-rare-random": 2.0,
}
"""Conditions with an implicit published reference, and the half width of the bracket around x, over ``max |u0| t``.

Of the random ones no errors are known: their brackets are those of their like among the others.
"""

FORMULA: tuple[str, ...] = ("rarefaction", "accelshock", "accelshock-random", "tophat", "shock")
"""Conditions whose published reference is a formula that agrees with the entropy solution up to t = 0.2."""


def published_reference(condition: InitialCondition, x: Points, t: float) -> Float64[np.ndarray, "1 point"]:
    """The published reference at points and one time: wrong next to shocks where it is implicit.

    Raises
    ------
    ValueError
        If the condition has no published reference.
    """
    if condition.name in FORMULA or (t == 0 and condition.name in IMPLICIT_REACH):
        return entropy_solution(condition, x, t)
    if condition.name not in IMPLICIT_REACH:
        raise ValueError(
            f"{condition.name} has no published reference; valid: {', '.join((*IMPLICIT_REACH, *FORMULA))}"
        )
    x = real_numbers(x, "the points", finite=False).astype(np.float64)
    fine = np.linspace(condition.lower[0], condition.upper[0], 4097)
    half = IMPLICIT_REACH[condition.name] * t * float(np.abs(condition(fine)).max()) + 1e-9

    def foot(point: float) -> float:
        miss = lambda y: y + t * float(condition(np.array([y]))[0, 0]) - point
        return float(brentq(miss, point - half, point + half))

    return condition(np.array([foot(float(point)) for point in x]))
