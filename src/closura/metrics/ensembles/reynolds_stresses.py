r"""Mean profiles and Reynolds stresses across a flow that is statistically the same all along x.

    U(y) = <u>,   V(y) = <v>,      R(y) = (<u'u'>, <u'v'>, <v'v'>),      u' = u - U(y),  v' = v - V(y)

with < > the mean over frames, members and x (Reynolds 1895; Pope, *Turbulent Flows*, 2000, section 4.1). For
Kolmogorov flow y is the axis across which the forcing varies.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

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


def sums_of(velocity: Float64[np.ndarray, "frame component=2 x y"]) -> Float64[np.ndarray, "sum=5 y"]:
    """Sums over frames and x that profiles are made of; those of blocks add up."""
    u, v = velocity[:, 0], velocity[:, 1]
    # Sums of products lose digits where a mean flow dwarfs its fluctuations: of 16, twice those of the ratio.
    return np.stack([part.sum(axis=(0, 1)) for part in (u, v, u * u, u * v, v * v)])


def profiles_of(sums: Float64[np.ndarray, "sum=5 y"], number: int) -> Profiles:
    """Profiles of sums over so many values at each y."""
    u, v, uu, uv, vv = sums / number
    return Profiles(np.stack([u, v]), np.stack([uu - u * u, uv - u * v, vv - v * v]))


def stress_errors(prediction: Profiles, reference: Profiles) -> dict[str, float]:
    """Relative error of the stresses, ``||R - R_true|| / ||R_true||`` over y: of each, and of ``all`` together.

    In ``all``, uv counts twice, as it does in the symmetric tensor. NaN for a stress that is zero in the reference.
    """
    if prediction.stresses.shape != reference.stresses.shape:
        raise ValueError(
            f"profiles need the same points; got {prediction.stresses.shape[1]} and {reference.stresses.shape[1]}"
        )
    error = np.square(prediction.stresses - reference.stresses).sum(axis=1)
    size = np.square(reference.stresses).sum(axis=1)
    twice = np.array([1.0, 2.0, 1.0])
    pairs = [*zip(STRESSES, error, size, strict=True), ("all", (twice * error).sum(), (twice * size).sum())]
    return {name: float(np.sqrt(e / s)) if s > 0 else float("nan") for name, e, s in pairs}
