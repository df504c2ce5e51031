r"""The continuous ranked probability score (CRPS): of ensembles and of normal distributions.

The score of a distribution ``F`` for a reference ``y`` is ``int (F(x) - 1{x >= y})^2 dx = E|X - y| - E|X - X'| / 2``,
in the unit of the data; smaller is better, and it is the absolute error for a distribution without spread. It is
proper: in the mean over references, none scores better than the distribution that the reference is drawn from.

Of M members ``x_i`` the estimators are

    plain:  1/M sum |x_i - y| - 1/(2 M^2)       sum_ij |x_i - x_j|      (the score of the empirical distribution)
    fair:   1/M sum |x_i - y| - 1/(2 M (M - 1)) sum_ij |x_i - x_j|

The fair one has the same expectation for every M, that of the distribution the members are drawn from, so
ensembles of different sizes can be compared; it may be negative for a single reference. With members in rising order
``sum_ij |x_i - x_j| = 2 sum_i (2i - M - 1) x_(i)``, which costs a sort instead of M^2 differences.

Sources: Gneiting & Raftery (2007), J. Am. Stat. Assoc. 102, 359, equations 20-21 (definition, closed form for a
normal distribution); Ferro (2014), Q. J. R. Meteorol. Soc. 140, 1917 (fair scores).
"""

import math

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr

from closura.arrays import Values, numbers_together, with_mask
from closura.metrics.ensembles._checks import ensemble_of


def crps_ensemble(prediction: Values, reference: Values, *, fair: bool = True) -> Float64[np.ndarray, "*reference"]:
    """CRPS of an ensemble at every point.

    Parameters
    ----------
    prediction
        Members, ``(member, *reference.shape)``.
    reference
        What happened, of any shape; masked (``numpy.ma``) where that is not known.
    fair
        The fair estimator; the plain one where False. Of one member both are the absolute error.

    Returns
    -------
    In the unit of the data, of the reference's shape; masked at points that are masked in the reference or any member,
    so that its mean leaves them out.
    """
    members, actual, mask = ensemble_of(prediction, reference)
    both = crps_of_ordered(in_order(members), actual)
    return with_mask(both[0] if fair else both[1], mask)


def in_order(members: np.ndarray) -> np.ndarray:
    """Members in rising order, as the last axis: ``(member, *points)`` to ``(*points, member)``."""
    # A copy first: sorting along a strided axis takes four times as long as copying and sorting.
    ordered = np.array(np.moveaxis(members, 0, -1), order="C")
    ordered.sort(axis=-1)
    return ordered


def crps_of_ordered(
    ordered: np.ndarray, reference: np.ndarray
) -> tuple[Float64[np.ndarray, "*reference"], Float64[np.ndarray, "*reference"]]:
    """Fair and plain CRPS of members that come last and in rising order, ``(*reference.shape, member)``.

    By hand: scipy has no CRPS, and sorted members cost a product with fixed weights instead of all pairs.
    """
    members = ordered.shape[-1]
    distance = np.asarray(np.abs(np.subtract(ordered, reference[..., None], dtype=np.float64)).mean(axis=-1))
    if members == 1:
        return distance, distance
    # The weights add up to zero, so a large mean of the members costs no digits but those it has cost already.
    pairs = ordered.astype(np.float64) @ (2.0 * np.arange(1, members + 1) - members - 1)
    return np.asarray(distance - pairs / (members * (members - 1))), np.asarray(distance - pairs / members**2)


def crps_normal(mean: Values, std: Values, reference: Values) -> Float64[np.ndarray, "*reference"]:
    r"""CRPS of normal distributions, ``s [z (2 Phi(z) - 1) + 2 phi(z) - 1/sqrt(pi)]``, ``z = (y - m) / s``.

    Parameters
    ----------
    mean, std, reference
        Three arrays of one shape. Where the standard deviation is 0 the score is the absolute error; where one of the
        three is masked (``numpy.ma``) the score is.
    """
    centre, spread, actual, mask = checked_normal(mean, std, reference)
    return with_mask(crps_of_normal(centre, spread, actual), mask)


def crps_of_normal(centre: np.ndarray, spread: np.ndarray, actual: np.ndarray) -> Float64[np.ndarray, "*reference"]:
    """As :func:`crps_normal`, of arrays that were checked."""
    error = np.subtract(actual, centre, dtype=np.float64)
    width = spread.astype(np.float64)
    z = np.divide(error, width, out=np.zeros_like(error), where=width > 0)
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    score = width * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return np.where(width > 0, score, np.abs(error))


def checked_normal(
    mean: Values, std: Values, reference: Values
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Mean, standard deviation, reference and what is masked in any, or a ValueError as :func:`crps_normal` says."""
    arrays, mask = numbers_together((mean, "mean"), (std, "standard deviation"), (reference, "reference"))
    centre, spread, actual = arrays
    if (spread < 0).any():
        raise ValueError(f"standard deviations cannot be negative; the smallest is {spread.min():.3g}")
    return centre, spread, actual, mask
