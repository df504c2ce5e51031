r"""Weighted essentially non-oscillatory schemes: how classical methods weigh the candidates of a stencil.

A stencil is an array ``(2 r - 1, ...)`` in upwind order; each scheme answers with weights ``(r, ...)`` that are not
negative and add up to one.

    JS      a_k = d_k / (eps + beta_k^2), eps = 1e-16      Jiang and Shu (1996)
    Z       a_k = d_k (1 + (tau / (beta_k + eps))^2), eps = 1e-40      Borges et al. (2008), Castro et al. (2011)
    TENO    a_k = d_k if chi_k > 1e-5 else 0,  chi_k ~ (1 + tau / (beta_k + eps))^6    Fu, Hu and Adams (2016)
    linear  a_k = d_k                                                          order 2 r - 1; oscillates at shocks

Coefficients are derived exactly, with fractions. Sub-stencil ``k = 0 .. r - 1`` (0: most upwind) of a stencil, whose
middle is the cell just upwind of the interface, is its cells ``k .. k + r - 1``; the polynomial of degree ``r - 1``
with these cell averages gives the candidate value at the interface, ``sum_j c[k][j] s[k + j]``, and the smoothness
``beta_k = sum_{l=1}^{r-1} int_cell (d^l p / d xi^l)^2 d xi`` over the cell just upwind, in units of the cell, a
quadratic form ``s^T B[k] s``. The optimal weights ``d`` turn the candidates into the reconstruction of order ``2 r -
1``.

``tau`` is the global smoothness ``|beta_0 - beta_2|`` for r = 3 and alike for others. JS follows the form of the
BPTTS reference code, in which ``eps`` is added to the square.

Sources: Jiang and Shu, J. Comput. Phys. 126 (1996), doi 10.1006/jcph.1996.0130; Borges et al., J. Comput. Phys. 227
(2008), doi 10.1016/j.jcp.2007.11.038; Castro et al., 230 (2011), doi 10.1016/j.jcp.2010.11.028; Fu, Hu and Adams, 305
(2016), doi 10.1016/j.jcp.2015.10.037.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from closura.numerics._checks import named

LARGEST_ORDER = 7


@lru_cache
def candidates(r: int) -> Float64[np.ndarray, "r r"]:
    """``c[k, j]``: weight of cell ``k + j`` in the candidate of sub-stencil ``k``."""
    _check(r)
    return np.array([_reconstruction(_offsets(r, k)) for k in range(r)], np.float64)


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
    return np.array(weights, np.float64)


@lru_cache
def smoothness_forms(r: int) -> Float64[np.ndarray, "r r r"]:
    """``B[k]``, symmetric: ``beta_k = sum_ij B[k, i, j] s[k + i] s[k + j]``."""
    _check(r)
    return np.array([_smoothness_form(_offsets(r, k)) for k in range(r)], np.float64)


def _check(r: int) -> None:
    if not 2 <= r <= LARGEST_ORDER:
        raise ValueError(f"WENO stencils have r from 2 to {LARGEST_ORDER} sub-stencils; got r = {r}")


def _offsets(r: int, k: int) -> list[int]:
    """Cells of sub-stencil ``k`` relative to the cell just upwind of the interface."""
    return [k + j - (r - 1) for j in range(r)]


def _basis(offsets: list[int]) -> np.ndarray:
    """``[j, m]``: coefficient of ``xi^m`` in the polynomial whose average is 1 in cell ``j`` and 0 in the others."""
    n, edges = len(offsets), [Fraction(2 * cell - 1, 2) for cell in (*offsets, offsets[-1] + 1)]
    lagrange = []
    for here in edges:
        polynomial = np.array([Fraction(1)])
        for other in edges:
            if other != here:
                polynomial = np.convolve(polynomial, [-other, Fraction(1)]) / (here - other)
        lagrange.append(polynomial)
    # The primitive of a cell's polynomial is 0 at the edges before the cell and 1 at those after it.
    return np.array([np.sum(lagrange[j + 1 :], axis=0)[1:] * np.arange(1, n + 1) for j in range(n)])


def _reconstruction(offsets: list[int]) -> np.ndarray:
    """Weights of cell averages in the value at the interface, ``xi = 1/2``."""
    return _basis(offsets) @ np.array([Fraction(1, 2) ** m for m in range(len(offsets))])


def _smoothness_form(offsets: list[int]) -> np.ndarray:
    n, half = len(offsets), Fraction(1, 2)
    integrals = np.array([[(half**k - (-half) ** k) / k for k in range(a, a + n)] for a in range(1, n + 1)])
    derivative, form = _basis(offsets), np.zeros((n, n), object)
    for left in range(n - 1, 0, -1):
        derivative = derivative[:, 1:] * np.arange(1, left + 1)
        form = form + derivative @ integrals[:left, :left] @ derivative.T
    return form


JS_EPSILON = 1e-16
Z_EPSILON = 1e-40
Z_POWER = 2
TENO_POWER = 6
TENO_CUTOFF = 1e-5

_TAU = {2: (1, -1), 3: (1, 0, -1), 4: (1, 3, -3, -1), 5: (1, 2, -6, 2, 1)}
"""Combinations of the smoothness indicators that are small of high order on smooth data (Castro et al., table 1)."""

Stencil = Float[Array, "cell *place"]
Weights = Float[Array, "r *place"]


def order_of(stencil: Stencil) -> int:
    """``r`` of a stencil of ``2 r - 1`` cells."""
    return (stencil.shape[0] + 1) // 2


@jax.custom_vjp
def smoothness(stencil: Stencil) -> Weights:
    """Jiang and Shu's indicators ``beta_k`` of all sub-stencils, ``(r, ...)``, never negative."""
    return _smoothness(stencil)[0]


def _smoothness(stencil: Stencil) -> tuple[Weights, tuple[Array, Weights]]:
    r = order_of(stencil)
    # Differences first: the forms vanish on constants, and squares of large values would drown the small ones.
    steps = stencil[1:] - stencil[:-1]
    betas = []
    for k, form in enumerate(smoothness_forms(r)):
        by_steps = in_differences(form)
        beta = jnp.zeros_like(stencil[0])
        for i in range(r - 1):
            beta = beta + by_steps[i][i] * steps[k + i] * steps[k + i]
            for j in range(i + 1, r - 1):
                beta = beta + 2 * by_steps[i][j] * steps[k + i] * steps[k + j]
        betas.append(beta)
    raw = jnp.stack(betas)
    return jnp.maximum(raw, 0), (steps, raw)


def _smoothness_back(kept: tuple[Array, Weights], slope: Weights) -> tuple[Stencil]:
    # By hand: the derivative of every slice above is a padded array of its own, some forty of them.
    steps, raw = kept
    r, slope = raw.shape[0], jnp.where(raw > 0, 2 * slope, 0)
    by_step: list[Array] = [jnp.zeros_like(steps[0]) for _ in range(2 * r - 2)]
    for k, form in enumerate(smoothness_forms(r)):
        by_steps = in_differences(form)
        for i in range(r - 1):
            change = sum((by_steps[i][j] * steps[k + j] for j in range(r - 1)), start=jnp.zeros_like(steps[0]))
            by_step[k + i] = by_step[k + i] + slope[k] * change
    inner = [before - after for before, after in pairwise(by_step)]
    return (jnp.stack([-by_step[0], *inner, by_step[-1]]),)


smoothness.defvjp(_smoothness, _smoothness_back)


def tau_weights(r: int) -> tuple[float, ...]:
    """The combination of the indicators that ``tau`` is the size of."""
    return tuple(map(float, _TAU[r]))


def global_smoothness(beta: Weights) -> Float[Array, "*place"]:
    """``tau``: a difference of the indicators that is of higher order than they are on smooth data."""
    combination = _TAU[beta.shape[0]]
    return jnp.abs(sum((c * beta[k] for k, c in enumerate(combination) if c), start=jnp.zeros_like(beta[0])))


@jax.custom_vjp
def interface_value(stencil: Stencil, weights: Weights) -> Float[Array, "*place"]:
    """The weighted sum of the candidates."""
    value = jnp.zeros_like(stencil[0])
    for k, candidate in enumerate(_candidates(stencil)):
        value = value + weights[k] * candidate
    return value


def _candidates(stencil: Stencil) -> list[Float[Array, "*place"]]:
    found = []
    for k, row in enumerate(candidates(order_of(stencil))):
        candidate = row[0] * stencil[k]
        for j in range(1, len(row)):
            candidate = candidate + row[j] * stencil[k + j]
        found.append(candidate)
    return found


def _interface_value(stencil: Stencil, weights: Weights) -> tuple[Float[Array, "*place"], tuple[Stencil, Weights]]:
    return interface_value(stencil, weights), (stencil, weights)


def _interface_value_back(kept: tuple[Stencil, Weights], slope: Float[Array, "*place"]) -> tuple[Stencil, Weights]:
    stencil, weights = kept
    r = order_of(stencil)
    by_cell: list[Array] = [jnp.zeros_like(slope) for _ in range(2 * r - 1)]
    for k, row in enumerate(candidates(r)):
        for j in range(r):
            by_cell[k + j] = by_cell[k + j] + float(row[j]) * weights[k]
    by_weight = jnp.stack([candidate * slope for candidate in _candidates(stencil)])
    return jnp.stack([cell * slope for cell in by_cell]), by_weight


interface_value.defvjp(_interface_value, _interface_value_back)


def linear_weights(stencil: Stencil) -> Weights:
    """The optimal weights everywhere."""
    d = _optimal(stencil)
    return jnp.broadcast_to(d, (d.shape[0], *stencil.shape[1:]))


def js_weights(stencil: Stencil) -> Weights:
    """Jiang and Shu."""
    beta = smoothness(stencil)
    return _normalised(_optimal(stencil) / (JS_EPSILON + beta * beta))


def z_weights(stencil: Stencil) -> Weights:
    """WENO-Z with power 2: order ``2 r - 1`` but at critical points, where it falls (r = 2: to two)."""
    beta = smoothness(stencil)
    ratio = global_smoothness(beta) / (beta + Z_EPSILON)
    return _normalised(_optimal(stencil) * (1 + ratio**Z_POWER))


def teno_weights(stencil: Stencil) -> Weights:
    """Targeted ENO: sub-stencils that a discontinuity crosses are cut off, the others keep their optimal share."""
    beta = smoothness(stencil)
    measure = 1 + global_smoothness(beta) / (beta + Z_EPSILON)
    # By their largest: the sixth power of 1e40 is beyond every number.
    chi = _normalised((measure / jnp.max(measure, axis=0)) ** TENO_POWER)
    return _normalised(jnp.where(chi > TENO_CUTOFF, _optimal(stencil), 0))


def _optimal(stencil: Stencil) -> Float[Array, "r *one"]:
    d = jnp.asarray(optimal_weights(order_of(stencil)), stencil.dtype)
    return d.reshape((-1,) + (1,) * (stencil.ndim - 1))


def _normalised(a: Weights) -> Weights:
    return a / jnp.sum(a, axis=0)


def in_differences(form: Float64[np.ndarray, "r r"]) -> list[list[float]]:
    """A quadratic form that vanishes on constants, written in the differences of neighbours."""
    # s_j = s_0 + sum_{i<j} d_i, so the coefficient of d_i d_l is the sum of the form over j > i, m > l.
    r = form.shape[0]
    return [[float(form[i + 1 :, j + 1 :].sum()) for j in range(r - 1)] for i in range(r - 1)]


@dataclass(frozen=True)
class Weno:
    """A scheme of ``r`` sub-stencils of ``r`` cells; ``weigh(stencil (2 r - 1, ...)) -> weights (r, ...)``."""

    name: str
    r: int
    weigh: Callable[[Stencil], Weights]

    @property
    def order(self) -> int:
        """Order of accuracy on smooth data without critical points."""
        return 2 * self.r - 1


_FAMILIES = (("weno{}-js", js_weights), ("weno{}-z", z_weights), ("linear{}", linear_weights))

WENO_SCHEMES: dict[str, Weno] = {
    name.format(2 * r - 1): Weno(name.format(2 * r - 1), r, weigh) for name, weigh in _FAMILIES for r in (2, 3, 4, 5)
} | {"teno5": Weno("teno5", 3, teno_weights)}


def get_weno(name: str) -> Weno:
    """The scheme of a name."""
    return named("method", WENO_SCHEMES, name)
