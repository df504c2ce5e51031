"""Sparse linear regression on sums over the data: candidates are tried without touching the data again.

Forward selection with backward elimination (stepwise regression, Efroymson 1960): the term that explains most joins;
at the end terms leave whose loss is hardly noticed, such as those that stood in for better ones that came later.

.. code-block:: bibtex

    @incollection{Efroymson1960,
      author = {Efroymson, M. A.}, title = {Multiple regression analysis},
      booktitle = {Mathematical Methods for Digital Computers}, editor = {Ralston, A. and Wilf, H. S.},
      publisher = {Wiley}, year = {1960}, pages = {191--203}
    }
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from closura.arrays import real_numbers


@dataclass(frozen=True)
class Moments:
    """Sums of products of candidates, of the answer (the last but one) and of 1, over any number of points.

    Add them to join data.
    """

    products: Float[np.ndarray, "product product"]

    @staticmethod
    def of(candidates: Float[np.ndarray, "term *grid"], answer: Float[np.ndarray, "*grid"]) -> "Moments":
        """The sums over one field; ValueError if its numbers are masked, not real or not finite."""
        x = real_numbers(candidates, "candidates").reshape(len(candidates), -1).astype(np.float64)
        y = real_numbers(answer, "the answer").ravel().astype(np.float64)
        rows = np.concatenate([x, y[None], np.ones((1, y.size))])
        return Moments(rows @ rows.T)

    @staticmethod
    def join(parts: Sequence["Moments"]) -> "Moments":
        """The sums over all parts."""
        return Moments(np.sum([part.products for part in parts], axis=0))

    def r2(self, chosen: Sequence[int], coefficients: Sequence[float] | np.ndarray) -> float:
        """Share of the answer's variance that an equation explains; NaN where the answer is constant."""
        square, total, points = self.products[-2, -2], self.products[-2, -1], self.products[-1, -1]
        variance = square - total**2 / points
        if not variance > 1e-12 * square:
            return float("nan")
        index, left = [*chosen, -2], np.asarray([*coefficients, -1.0], np.float64)
        return float(1 - max(left @ self.products[np.ix_(index, index)] @ left, 0.0) / variance)


class Fit(NamedTuple):
    """An equation: which candidates, with which coefficients."""

    chosen: tuple[int, ...]
    coefficients: tuple[float, ...]


def least_squares(moments: Moments, chosen: Sequence[int]) -> Fit:
    """The best coefficients of given candidates; of candidates that depend on each other, the shortest vector."""
    index = list(chosen)
    if not index:
        return Fit((), ())
    gram = moments.products[np.ix_(index, index)]
    # Candidates differ by orders of magnitude: equal lengths keep the small ones in the solution.
    length = np.sqrt(np.maximum(np.diag(gram), np.finfo(np.float64).tiny))
    scaled = np.linalg.lstsq(gram / np.outer(length, length), moments.products[-2, index] / length, rcond=1e-13)[0]
    return Fit(tuple(index), tuple((scaled / length).tolist()))


def stepwise(moments: Moments, *, maximum_terms: int = 8, minimum_gain: float = 0.005) -> Fit:
    """A short equation of at most ``maximum_terms`` terms.

    A term is kept if the equation without it, fitted anew, explains at least ``minimum_gain`` of the variance less.
    """
    if maximum_terms < 1 or not minimum_gain > 0:
        raise ValueError(f"need at least one term and a positive gain; got {maximum_terms} and {minimum_gain}")

    def explained(chosen: Sequence[int]) -> float:
        return moments.r2(*least_squares(moments, chosen))

    usable = np.flatnonzero(np.diag(moments.products)[:-2] > 0).tolist()
    chosen: list[int] = []
    reached = explained(chosen)  # negative where a constant is missing
    # Stand-ins need room until the terms that they stand for have come.
    while len(chosen) < min(2 * maximum_terms, len(usable)):
        trials = {i: explained([*chosen, i]) for i in usable if i not in chosen}
        best = max(trials, key=lambda i: trials[i])
        if not trials[best] > reached + 0.1 * minimum_gain:
            break
        chosen, reached = [*chosen, best], trials[best]
    while chosen:
        without = {i: explained([j for j in chosen if j != i]) for i in chosen}
        least = max(without, key=lambda i: without[i])
        if len(chosen) <= maximum_terms and explained(chosen) - without[least] >= minimum_gain:
            break
        chosen.remove(least)
    return least_squares(moments, chosen)
