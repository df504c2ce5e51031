r"""Coefficients of weighted essentially non-oscillatory reconstruction of any order, derived exactly.

A stencil of order ``r`` has ``2 r - 1`` cells in upwind order, the cell just upwind of the interface in the middle.
Sub-stencil ``k = 0 .. r - 1`` (0: most upwind) is its cells ``k .. k + r - 1``; the polynomial of degree ``r - 1``
with these cell averages gives

* the candidate value at the interface, ``sum_j c[k][j] s[k + j]``;
* the smoothness ``beta_k = sum_{l=1}^{r-1} int_cell (d^l p / d xi^l)^2 d xi`` over the cell just upwind (Jiang and
  Shu 1996, equation 3.1, in units of the cell), a quadratic form ``s^T B[k] s``.

The optimal weights ``d`` turn the candidates into the reconstruction of order ``2 r - 1`` from the whole stencil.
All of it is computed with fractions, so there is no table to mistype.

.. code-block:: bibtex

    @article{Jiang1996,
      title = {Efficient implementation of weighted {ENO} schemes}, author = {Jiang, Guang-Shan and Shu, Chi-Wang},
      journal = {Journal of Computational Physics}, volume = {126}, number = {1}, pages = {202--228}, year = {1996},
      doi = {10.1006/jcph.1996.0130}
    }
"""

from fractions import Fraction
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

LARGEST_ORDER = 7


@lru_cache
def candidates(r: int) -> Float64[np.ndarray, "r r"]:
    """``c[k, j]``: weight of cell ``k + j`` in the candidate of sub-stencil ``k``."""
    _check(r)
    return np.array([[float(x) for x in _reconstruction(_offsets(r, k))] for k in range(r)])


@lru_cache
def optimal_weights(r: int) -> Float64[np.ndarray, " r"]:
    """``d[k]``: weights that give order ``2 r - 1``; positive, summing to one."""
    _check(r)
    whole = _reconstruction([j - (r - 1) for j in range(2 * r - 1)])
    weights: list[Fraction] = []
    # Cell k belongs to sub-stencils 0 .. k only: the weights follow one after the other.
    for k in range(r):
        rest = whole[k] - sum(weights[m] * _reconstruction(_offsets(r, m))[k - m] for m in range(k))
        weights.append(rest / _reconstruction(_offsets(r, k))[0])
    return np.array([float(x) for x in weights])


@lru_cache
def smoothness_forms(r: int) -> Float64[np.ndarray, "r r r"]:
    """``B[k]``, symmetric: ``beta_k = sum_ij B[k, i, j] s[k + i] s[k + j]``."""
    _check(r)
    return np.array([[[float(x) for x in row] for row in _smoothness(_offsets(r, k))] for k in range(r)])


def _check(r: int) -> None:
    if not 2 <= r <= LARGEST_ORDER:
        raise ValueError(f"WENO stencils have r from 2 to {LARGEST_ORDER} sub-stencils; got r = {r}")


def _offsets(r: int, k: int) -> list[int]:
    """Cells of sub-stencil ``k`` relative to the cell just upwind of the interface."""
    return [k + j - (r - 1) for j in range(r)]


def _basis(offsets: list[int]) -> list[list[Fraction]]:
    """``[j][m]``: coefficient of ``xi^m`` in the polynomial whose average is 1 in cell ``j`` and 0 in the others."""
    n, half = len(offsets), Fraction(1, 2)
    averages = [
        [((o + half) ** (m + 1) - (o - half) ** (m + 1)) / (m + 1) for m in range(n)] for o in map(Fraction, offsets)
    ]
    inverse = _invert(averages)
    return [[inverse[m][j] for m in range(n)] for j in range(n)]


def _reconstruction(offsets: list[int]) -> list[Fraction]:
    """Weights of cell averages in the value at the interface, ``xi = 1/2``."""
    return [sum((a * Fraction(1, 2) ** m for m, a in enumerate(p)), Fraction(0)) for p in _basis(offsets)]


def _smoothness(offsets: list[int]) -> list[list[Fraction]]:
    n, half = len(offsets), Fraction(1, 2)
    derivatives = _basis(offsets)
    form = [[Fraction(0)] * n for _ in range(n)]
    for _ in range(1, n):
        derivatives = [[m * a for m, a in enumerate(p)][1:] for p in derivatives]
        for i in range(n):
            for j in range(n):
                for a, x in enumerate(derivatives[i]):
                    for b, y in enumerate(derivatives[j]):
                        power = a + b + 1
                        form[i][j] += x * y * (half**power - (-half) ** power) / power
    return form


def _invert(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Inverse by elimination; the matrices here are never singular."""
    n = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(n))] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(k for k in range(i, n) if rows[k][i] != 0)
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [x / rows[i][i] for x in rows[i]]
        for k in range(n):
            if k != i and rows[k][i] != 0:
                rows[k] = [x - rows[k][i] * y for x, y in zip(rows[k], rows[i], strict=True)]
    return [row[n:] for row in rows]
