r"""Mean profiles and Reynolds stresses across a flow that is statistically the same all along x.

    U(y) = <u>,   V(y) = <v>,      R(y) = (<u'u'>, <u'v'>, <v'v'>),      u' = u - U(y),  v' = v - V(y)

with < > the mean over frames, members and x (Reynolds 1895; Pope, *Turbulent Flows*, 2000, section 4.1). For
Kolmogorov flow y is the axis across which the forcing varies.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from closura.arrays import Values
from closura.metrics.ensembles._checks import velocity_of

STRESSES = ("uu", "uv", "vv")
"""Names of the stresses, in the order of their profiles."""


@dataclass(frozen=True)
class Profiles:
    """Profiles across the flow; velocity, and velocity squared.

    Parameters
    ----------
    mean
        ``(component=2, y)``.
    stresses
        ``(stress=3, y)`` in the order of ``STRESSES``.
    """

    mean: Float64[np.ndarray, "component=2 y"]
    stresses: Float64[np.ndarray, "stress=3 y"]


class ReynoldsStresses:
    """Accumulates :class:`Profiles` over blocks of frames."""

    def __init__(self) -> None:
        self._sums: np.ndarray | None = None
        self._number = 0

    def add(self, velocity: Values) -> None:
        """Take frames ``(..., component=2, x, y)``: of one member or all of them.

        Raises
        ------
        ValueError
            If the shape is no velocity's or not that of earlier blocks, or a number is not finite.
        """
        field = velocity_of(velocity)
        field = field.reshape(-1, *field.shape[-3:])
        u, v = field[:, 0], field[:, 1]
        # Sums of products lose digits where a mean flow dwarfs its fluctuations: of 16, twice those of the ratio.
        sums = np.stack([part.sum(axis=(0, 1)) for part in (u, v, u * u, u * v, v * v)])
        self._take(sums, field.shape[0] * field.shape[2])

    def _take(self, sums: np.ndarray, number: int) -> None:
        if self._sums is not None and self._sums.shape != sums.shape:
            raise ValueError(
                f"all blocks need the same number of points along y; got {sums.shape[1]} after {self._sums.shape[1]}"
            )
        self._sums = sums if self._sums is None else self._sums + sums
        self._number += number

    def merge(self, other: "ReynoldsStresses") -> "ReynoldsStresses":
        """Take over what another one has seen, or raise ValueError if the points along y differ."""
        if other._sums is not None:
            self._take(other._sums, other._number)
        return self

    def result(self) -> Profiles:
        """Profiles over everything that was added; ValueError if that is nothing."""
        if self._sums is None:
            raise ValueError("nothing was added yet: call add(velocity) before asking for the result")
        u, v, uu, uv, vv = self._sums / self._number
        return Profiles(np.stack([u, v]), np.stack([uu - u * u, uv - u * v, vv - v * v]))


def stress_errors(prediction: Profiles, truth: Profiles) -> dict[str, float]:
    """Relative error of the stresses, ``||R - R_true|| / ||R_true||`` over y: of each, and of ``all`` together.

    In ``all``, uv counts twice, as it does in the symmetric tensor. NaN for a stress that is zero in the truth.

    Raises
    ------
    ValueError
        If the profiles have different numbers of points.
    """
    if prediction.stresses.shape != truth.stresses.shape:
        raise ValueError(
            f"profiles need the same points; got {prediction.stresses.shape[1]} and {truth.stresses.shape[1]}"
        )
    error = np.square(prediction.stresses - truth.stresses).sum(axis=1)
    size = np.square(truth.stresses).sum(axis=1)
    twice = np.array([1.0, 2.0, 1.0])
    pairs = [*zip(STRESSES, error, size, strict=True), ("all", (twice * error).sum(), (twice * size).sum())]
    return {name: float(np.sqrt(e / s)) if s > 0 else float("nan") for name, e, s in pairs}
